//! The command `chaos`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use chaos::{Settings, fallback, outage, timeline::Timeline};
use clap::{Parser, Subcommand};

/// Breaks a whole mesh under load, and proves what became of every order. Exits 1 when something happened that must not.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    only: Option<Only>,
    /// Minutes of load under faults.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Decides faults and callers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Callers who order Kiosk and ToGo.
    #[arg(long, default_value_t = 16)]
    persons: usize,
    /// Tables with a party of two each.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(0..=12))]
    parties: u8,
    /// Faults in each minute.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=600))]
    faults_per_minute: u32,
    /// Folder to copy the logs of all processes to.
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Whether the store has a printer that stands in for its POS. By default every second seed has one.
    #[arg(long)]
    fallback: Option<bool>,
}

/// One thing alone.
#[derive(Debug, Subcommand)]
enum Only {
    /// The POS dies under load and comes back: prints a timeline of link and gates.
    Outage {
        /// Seconds that the POS is away.
        #[arg(long, default_value_t = 20)]
        away: u64,
        /// Decides the callers.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Callers who order Kiosk and ToGo.
        #[arg(long, default_value_t = 8)]
        persons: usize,
    },
    /// The POS dies under load, and a printer stands in for it: prints a timeline, and audits both.
    Fallback {
        /// Seconds that the POS is away.
        #[arg(long, default_value_t = 120)]
        away: u64,
        /// Decides the callers.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Callers who order Kiosk and ToGo.
        #[arg(long, default_value_t = 4)]
        persons: usize,
        /// Tables with a party of two each.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=12))]
        parties: u8,
        /// The POS prints a ticket of everything: the staff enter what the fallback printed.
        #[arg(long)]
        staff: bool,
        /// Answers are lost at both, and order replicas killed meanwhile.
        #[arg(long)]
        faults: bool,
        /// Folder to copy the logs of all processes to.
        #[arg(long)]
        logs: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match args.only {
        Some(Only::Outage { away, seed, persons }) => {
            build_programs()?;
            return outage(&outage::Settings { seed, persons, away: Duration::from_secs(away) }).await;
        }
        Some(Only::Fallback { away, seed, persons, parties, staff, faults, logs }) => {
            build_programs()?;
            let (away, parties) = (Duration::from_secs(away), parties.into());
            return fallback(&fallback::Settings { seed, persons, parties, away, staff, faults, logs }).await;
        }
        None => {}
    }
    let duration = Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes must be a length of time")?;
    build_programs()?;
    let report = chaos::run(&Settings {
        seed: args.seed,
        duration,
        persons: args.persons,
        parties: args.parties.into(),
        faults_per_minute: args.faults_per_minute,
        fallback: args.fallback.unwrap_or(args.seed.is_multiple_of(2)),
        logs: args.logs,
    })
    .await?;
    print!("{report}");
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn outage(settings: &outage::Settings) -> Result<ExitCode> {
    let outcome = outage::run(settings).await?;
    let (held, delivered) = outcome.held;
    let after = |text: &str| after(&outcome.timeline, text);
    println!("from the death of the POS to OFFLINE              {}", after("router: link OFFLINE"));
    println!("from the death of the POS to open again           {}", after("every gate is open"));
    println!("orders acknowledged                               {}", outcome.findings.acknowledged);
    println!("requests that the gate refused                    {}", outcome.refused);
    println!("orders kept for the POS, of these delivered       {held}, {delivered}");
    for violation in &outcome.findings.violations {
        println!("{violation}");
    }
    println!("violations                                        {}", outcome.findings.violations.len());
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn fallback(settings: &fallback::Settings) -> Result<ExitCode> {
    let outcome = fallback::run(settings).await?;
    let after = |text: &str| after(&outcome.timeline, text);
    println!("from the death of the POS to OFFLINE              {}", after("router: link OFFLINE"));
    println!("to every gate DIVERTED                            {}", after("every gate is DIVERTED"));
    println!("to the first ticket of the fallback               {}", after("the first ticket"));
    println!("to the POS's start                                {}", after("the POS is started"));
    println!("to the first order of which it is told            {}", after("told of the first"));
    println!("to the last one                                   {}", after("told of all"));
    println!("to every gate OPEN                                {}", after("every gate is OPEN"));
    println!("orders acknowledged                               {}", outcome.findings.acknowledged);
    println!("requests that the gate refused                    {}", outcome.refused);
    println!("orders that the fallback printed                  {}", outcome.count.in_all());
    println!("  of these                                        {}", outcome.count);
    for (mark, count) in &outcome.findings.by_attention {
        println!("  {:<47} {count}", format!("before a person: {mark}"));
    }
    for process in &outcome.panicked {
        println!("panicked                                          {process}");
    }
    for violation in &outcome.findings.violations {
        println!("{violation}");
    }
    println!("violations                                        {}", outcome.findings.violations.len());
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// When something was seen first, from the count's beginning.
fn after(timeline: &Timeline, text: &str) -> String {
    match timeline.first(text) {
        Some(after) => format!("{:.3} s", after.as_secs_f64()),
        None => "never".to_owned(),
    }
}

/// `cargo run` builds this program alone; what it breaks must be as new.
fn build_programs() -> Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let program = std::env::current_exe()?;
    let is_release = program.parent().is_some_and(|profile| profile.ends_with(Path::new("release")));
    let mut build = std::process::Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--bins"]);
    build
        .args(["posmesh", "posmesh-simpos", "posmesh-adapter-simulator"].map(|package| format!("--package={package}")));
    if is_release {
        build.arg("--release");
    }
    let status = build.status().context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "the programs under test cannot be built");
    Ok(())
}
