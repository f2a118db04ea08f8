//! `bench`: how fast and how large posmesh is, against what its database and its network could do without it. What it
//! prints stands in `docs/performance.md`.

mod echo;
mod growth;
mod http;
mod launch;
mod links;
mod load;
mod machine;
mod memory;
mod menus;
mod mesh;
mod order;
mod pgbench;
mod postgres;
mod report;
mod sqlite;
mod storage;
mod sweep;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{postgres::Server, report::Report};

/// Measures posmesh against its limits, in the same run on the same machine: starts its own PostgreSQL (fsync on) and its
/// own processes, creates its data, prints figures and ratios. Repetitions of us and of the peer take turns; the median of
/// their ratios counts. Build it with --release, and keep the machine quiet.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    options: Options,
}

/// What all measurements share.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// How long each measurement counts, after a second of warming up.
    #[arg(long, global = true, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// How often each is repeated, in turn with its peer.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// Callers that wait for their answer each.
    #[arg(long, global = true, default_value_t = 64)]
    callers: usize,
    /// Stores that the orders are for.
    #[arg(long, global = true, default_value_t = 100)]
    stores: usize,
    /// Stores that `sweep` goes up to, from 10, each step ten times as many.
    #[arg(long, global = true, default_value_t = 10_000)]
    most_stores: usize,
    /// Orders that one caller places in a round of `idle`.
    #[arg(long, global = true, default_value_t = 1000)]
    orders: usize,
    /// Orders that the large table of `growth` comes to.
    #[arg(long, global = true, default_value_t = 10_000_000)]
    table: u64,
    /// Orders that are queued for `memory`.
    #[arg(long, global = true, default_value_t = 100_000)]
    queued: usize,
    /// Watchers for `memory`.
    #[arg(long, global = true, default_value_t = 10_000)]
    watchers: usize,
    /// Stores whose links are watched for `links`, of which a fifth die, and whose menus are read for `menus`.
    #[arg(long, global = true, default_value_t = 10_000)]
    linked: usize,
    /// Print the table as Markdown on standard output; the lines for people go to standard error.
    #[arg(long, global = true)]
    markdown: bool,
}

impl Options {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Every row of the table.
    All,
    /// The order service's storage on PostgreSQL, two durable commits for each order, against pgbench.
    Storage,
    /// The whole mesh, as separate processes and in one, against pgbench.
    Mesh,
    /// One idle order through the whole mesh, against bare echo over the same hops with two commits.
    Idle,
    /// The storage on SQLite, against a transaction for each phase of each order.
    Sqlite,
    /// The storage on PostgreSQL with a large table, against a table that began empty.
    Growth,
    /// The memory of one replica of the order service with many orders queued and many watchers.
    Memory,
    /// One router replica that watches the links of many stores: processor time, lateness, writes; a vendor's budget; a gate.
    Links,
    /// Menus: read over gRPC and HTTP against bare echo, pulled against the POS's own part, the memory of many stores'.
    Menus,
    /// How rates and latencies change with callers, stores and the way in, and when orders come by the clock; not part of
    /// `all`.
    Sweep,
    /// Runs as one process of the echo.
    #[command(hide = true)]
    Hop(echo::HopArguments),
}

impl What {
    fn includes(&self, other: &Self) -> bool {
        matches!(self, Self::All) || std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::default();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&arguments, &mut report)));
    if arguments.options.markdown {
        println!("{}", report.markdown());
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    if let What::Hop(arguments) = &arguments.what {
        return echo::serve(arguments.clone()).await;
    }
    if cfg!(debug_assertions) {
        report.fact("a debug build: the figures mean nothing".to_owned());
    }
    report.fact(machine::description());
    let synced = machine::fdatasync()?;
    report.fact(format!("fdatasync of 8 KiB: p50 {}, p99 {}", report::ms(synced.p50()), report::ms(synced.p99())));
    let (what, options) = (&arguments.what, &arguments.options);
    if what.includes(&What::Sqlite) {
        sqlite::measure(options, report).await?;
    }
    if matches!(what, What::Sqlite) {
        return Ok(());
    }
    let server = Server::start()?;
    report.fact(server.description()?);
    if what.includes(&What::Storage) {
        storage::measure(&server, options, report).await?;
    }
    if what.includes(&What::Growth) {
        growth::measure(&server, options.table, options, report).await?;
    }
    if [What::Mesh, What::Idle, What::Memory, What::Menus, What::Links, What::Sweep]
        .iter()
        .any(|other| what.includes(other))
    {
        launch::build()?;
    }
    if what.includes(&What::Mesh) {
        mesh::measure(&server, options, report).await?;
    }
    if what.includes(&What::Idle) {
        mesh::measure_idle(&server, options, report).await?;
    }
    if matches!(what, What::Sweep) {
        sweep::measure(&server, options, report).await?;
    }
    if what.includes(&What::Links) {
        links::measure(&server, options, report).await?;
    }
    if what.includes(&What::Menus) {
        menus::measure(&server, options, report).await?;
    }
    if what.includes(&What::Memory) {
        memory::measure(&server, options.queued, options.watchers, options, report).await?;
    }
    Ok(())
}
