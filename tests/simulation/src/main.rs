//! Runs seeds: `simulation --seeds A..B`. The last line is `seeds N, violations V`; exits 1 when V > 0.

mod entropy;
mod summary;

use std::{
    io,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use clap::Parser;
use simulation::{Planted, Report, worker};
use summary::Summary;

/// A seed that takes longer, of real time, goes round in circles.
const MAX_REAL_TIME: Duration = Duration::from_secs(300);

/// Deterministic simulation of the order service, routers, adapters and a POS under faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds to run, the last one excluded.
    #[arg(long, value_parser = seeds, default_value = "0..1000")]
    seeds: (u64, u64),
    /// Runs one seed, and prints what happened in it.
    #[arg(long, conflicts_with_all = ["seeds", "coverage"])]
    seed: Option<u64>,
    /// Runs with a bug on purpose.
    #[arg(long, value_enum)]
    plant: Option<Planted>,
    /// Fails unless every kind of fault and every edge of the state table occurred.
    #[arg(long)]
    coverage: bool,
    /// With --seed: writes the services' own log to standard error, as much as this filter lets through.
    #[arg(long, requires = "seed")]
    log: Option<String>,
    /// Runs one seed in this process, and prints its report as JSON.
    #[arg(long, hide = true, requires = "seed")]
    worker: bool,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no range of seeds, e.g. 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from < to { Ok((from, to)) } else { Err(wrong()) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(filter) = &arguments.log {
        let logs = tracing_subscriber::fmt().with_writer(io::stderr).without_time().with_ansi(false);
        logs.with_env_filter(filter).init();
    }
    let done = match arguments.seed {
        Some(seed) if arguments.worker => report(seed, arguments.plant),
        Some(seed) => replay(seed, arguments.plant),
        None => run_all(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a seed on a thread that has drawn no chance yet.
fn run_here(seed: u64, bug: Option<Planted>) -> io::Result<Report> {
    entropy::seed(seed);
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more to one that went round in circles.
        let _ = done.send(simulation::run(seed, bug));
    });
    result.recv_timeout(MAX_REAL_TIME).map_err(|error| io::Error::other(format!("seed {seed} broke off: {error}")))
}

fn report(seed: u64, bug: Option<Planted>) -> io::Result<bool> {
    serde_json::to_writer(io::stdout().lock(), &run_here(seed, bug)?)?;
    Ok(true)
}

fn replay(seed: u64, bug: Option<Planted>) -> io::Result<bool> {
    let report = run_here(seed, bug)?;
    print!("{}", report.trace);
    let mut summary = Summary::default();
    summary.add(&report);
    println!("trace {:016x}", report.trace_hash);
    Ok(summary.is_clean())
}

/// Runs seeds in processes of their own, one for each core at a time.
fn run_all(arguments: &Arguments) -> io::Result<bool> {
    let (program, (from, to)) = (std::env::current_exe()?, arguments.seeds);
    let (next, summary, begun) = (AtomicU64::new(from), Mutex::new(Summary::default()), Instant::now());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= to {
            return;
        }
        let result = worker::run(&program, seed, arguments.plant);
        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(report) => summary.add(&report),
            Err(error) => summary.add_failure(seed, &error),
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)));
    });
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(summary.conclude(begun.elapsed(), arguments.coverage))
}
