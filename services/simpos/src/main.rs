//! The binary `simpos`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use posmesh_simpos::{Config, RunError, Simpos};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Exit code when a fault rule crashes the POS.
const EXIT_CRASHED: u8 = 70;

/// A small POS to test against, with a durable journal and injectable faults.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// File of the journal, created if missing; without it everything is kept in memory.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Key that requests must carry as `Authorization: Bearer KEY`.
    #[arg(long)]
    api_key: String,
    /// Show each slip as it is printed.
    #[arg(long)]
    print_tickets: bool,
    /// What nothing has changed within so many entries of the journal is forgotten.
    #[arg(long, default_value_t = 100_000)]
    keep_entries: u64,
    /// The journal's file begins anew beyond this length; the one before is kept beside it.
    #[arg(long, default_value_t = 512 << 20)]
    max_journal_bytes: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    // Logs go to standard error: standard output holds the ready line and the slips.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let shutdown = CancellationToken::new();
    let config = Config {
        journal: args.journal,
        print_tickets: args.print_tickets,
        keep_entries: args.keep_entries,
        max_journal_bytes: args.max_journal_bytes,
        ..Config::new(args.api_key)
    };
    let simpos = Simpos::open(config, shutdown.clone()).await?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("simpos ready on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        shutdown.cancel();
    });
    match simpos.serve(listener).await {
        Err(RunError::Crashed) => std::process::exit(EXIT_CRASHED.into()),
        ended => Ok(ended.map(|()| ExitCode::SUCCESS)?),
    }
}
