//! What came of all seeds, for people.

use std::{io, time::Duration};

use simulation::{Coverage, Report};

/// Sums of all runs.
#[derive(Default)]
pub(crate) struct Summary {
    seeds: u64,
    orders: usize,
    faults: usize,
    simulated_ms: u64,
    violations: usize,
    coverage: Coverage,
}

impl Summary {
    /// Adds a run, and says at once what was broken in it.
    pub(crate) fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.orders += report.orders;
        self.faults += report.faults;
        self.simulated_ms += report.simulated_ms;
        self.violations += report.violations.len();
        self.coverage.add(&report.coverage);
        for violation in &report.violations {
            println!("seed {}: {} is broken: {}", report.seed, violation.invariant, violation.what);
        }
        if !report.violations.is_empty() {
            println!("seed {}: see what happened with --seed {}", report.seed, report.seed);
        }
    }

    /// Adds a run that came to no end.
    pub(crate) fn add_failure(&mut self, seed: u64, error: &io::Error) {
        self.seeds += 1;
        self.violations += 1;
        println!("seed {seed}: {error}");
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations == 0
    }

    /// Prints the sums. True if nothing was broken, and, where that is asked for, everything occurred.
    pub(crate) fn conclude(&self, took: Duration, everything: bool) -> bool {
        for (kind, count) in self.coverage.faults.iter().chain(&self.coverage.edges) {
            println!("{count:>8} × {kind}");
        }
        let missing = self.coverage.missing();
        if !missing.is_empty() {
            println!("never occurred: {}", missing.join(", "));
        }
        let simulated_s = self.simulated_ms as f64 / 1000.0;
        println!(
            "{} orders, {} faults; {simulated_s:.0} s simulated in {:.1} s: {:.0} times as fast as real time",
            self.orders,
            self.faults,
            took.as_secs_f64(),
            simulated_s / took.as_secs_f64()
        );
        println!("seeds {}, violations {}", self.seeds, self.violations);
        self.is_clean() && (missing.is_empty() || !everything)
    }
}
