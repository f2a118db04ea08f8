//! Runs seeds: `simulation --seeds A..B`. The last line is `seeds N, violations V`; exits 1 when V > 0.

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::Parser;
use simulation::{Coverage, Report};

/// Deterministic simulation of the order service, routers, adapters and a POS under faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds to run, the last one excluded.
    #[arg(long, value_parser = seeds, default_value = "0..1000")]
    seeds: (u64, u64),
    /// Prints what happened in each seed, too.
    #[arg(long)]
    trace: bool,
    /// Fails unless every kind of fault and every edge of the state table occurred.
    #[arg(long)]
    coverage: bool,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no range of seeds, e.g. 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from < to { Ok((from, to)) } else { Err(wrong()) }
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    orders: usize,
    faults: usize,
    simulated_ms: u64,
    violated: Vec<u64>,
    coverage: Coverage,
}

impl Sum {
    fn add(&mut self, report: Report, trace: bool) {
        self.seeds += 1;
        self.orders += report.orders;
        self.faults += report.faults;
        self.simulated_ms += report.simulated_ms;
        self.coverage.add(&report.coverage);
        if trace || !report.violations.is_empty() {
            println!("{}", report.trace);
        }
        if trace {
            println!(
                "seed {}: {} orders, {} faults, {} s, trace {:016x}",
                report.seed,
                report.orders,
                report.faults,
                report.simulated_ms / 1000,
                report.trace_hash
            );
        }
        for violation in &report.violations {
            println!("seed {}: {} is broken: {}", report.seed, violation.invariant, violation.what);
        }
        if !report.violations.is_empty() {
            println!("seed {}: repeat with --seeds {}..{} --trace", report.seed, report.seed, report.seed + 1);
            self.violated.push(report.seed);
        }
    }
}

fn main() -> ExitCode {
    let Arguments { seeds: (from, to), trace, coverage } = Arguments::parse();
    let (next, sum, begun) = (AtomicU64::new(from), Mutex::new(Sum::default()), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let report = simulation::run(seed);
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(report, trace);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took_s = begun.elapsed().as_secs_f64();
    let simulated_s = sum.simulated_ms as f64 / 1000.0;
    for (kind, count) in &sum.coverage.faults {
        println!("{count:>8} × {kind}");
    }
    sum.coverage.edges().iter().for_each(|edge| println!("         {edge}"));
    println!(
        "{} orders, {} faults; {simulated_s:.0} s simulated in {took_s:.1} s: {:.0} times as fast as real time",
        sum.orders,
        sum.faults,
        simulated_s / took_s
    );
    let missing = sum.coverage.missing();
    let is_missing = coverage && !missing.is_empty();
    if is_missing {
        println!("never occurred: {}", missing.join(", "));
    }
    println!("seeds {}, violations {}", sum.seeds, sum.violated.len());
    if is_missing || !sum.violated.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
