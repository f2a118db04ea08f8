//! The simulation itself: that it is deterministic, and that it finds bugs. Seeds are run by the program, in numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use clap::ValueEnum as _;
use simulation::{Planted, Report, worker};

/// Seeds within which each planted bug must be found.
const FOUND_WITHIN: u64 = 150;

fn run(seed: u64, bug: Option<Planted>) -> Report {
    worker::run(Path::new(env!("CARGO_BIN_EXE_simulation")), seed, bug).unwrap()
}

fn told(report: &Report) -> String {
    let violations: Vec<String> =
        report.violations.iter().map(|v| format!("seed {}: {}: {}", report.seed, v.invariant, v.what)).collect();
    violations.join("\n")
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a release build: tests/run simulation")]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let (one, two) = (run(seed, None), run(seed, None));
        let parting = one.trace.lines().zip(two.trace.lines()).position(|(a, b)| a != b);
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed} parts at line {parting:?}");
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a release build: tests/run simulation")]
fn each_planted_bug_is_found() {
    for bug in Planted::value_variants() {
        let found = (0..FOUND_WITHIN).map(|seed| run(seed, Some(*bug))).find(|report| !report.violations.is_empty());
        let found = found.unwrap_or_else(|| panic!("{bug:?} is not found within {FOUND_WITHIN} seeds"));
        println!("{bug:?} is found by {}", told(&found));
    }
}

#[test]
fn a_seed_runs_to_its_end_and_keeps_every_promise() {
    let report = run(1, None);
    assert_eq!(told(&report), "");
    assert!(report.orders > 0 && report.faults > 0);
}
