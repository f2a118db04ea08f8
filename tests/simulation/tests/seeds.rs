//! The simulation itself: that it is deterministic, and that it finds bugs. Seeds are run by the program, in numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use simulation::{Planted, Report, run, run_with};

/// Seeds within which each planted bug must be found.
const FOUND_WITHIN: u64 = 150;

fn told(report: &Report) -> String {
    let violations: Vec<String> =
        report.violations.iter().map(|v| format!("seed {}: {}: {}", report.seed, v.invariant, v.what)).collect();
    violations.join("\n")
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a release build: tests/run simulation")]
fn the_same_seed_is_the_same_run_on_every_thread() {
    for seed in 0..20 {
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(move || run(seed));
            let two = scope.spawn(move || run(seed));
            (one.join().unwrap(), two.join().unwrap())
        });
        let parting = one.trace.lines().zip(two.trace.lines()).position(|(a, b)| a != b);
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed} parts at line {parting:?}");
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a release build: tests/run simulation")]
fn each_planted_bug_is_found() {
    for bug in Planted::ALL {
        let found = (0..FOUND_WITHIN).map(|seed| run_with(seed, bug)).find(|report| !report.violations.is_empty());
        let found = found.unwrap_or_else(|| panic!("{bug:?} is not found within {FOUND_WITHIN} seeds"));
        println!("{bug:?} is found by {}", told(&found));
    }
}

#[test]
fn a_seed_runs_to_its_end_and_keeps_every_promise() {
    let report = run(1);
    assert_eq!(told(&report), "");
    assert!(report.orders > 0 && report.faults > 0);
}
