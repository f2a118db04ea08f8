//! The simulation itself: that it is deterministic, and that it finds bugs. Seeds are run by the program, in numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use clap::ValueEnum as _;
use simulation::{Planted, Report, worker};

/// Each bug, and the seeds within which it must be found.
const FOUND_WITHIN: [(Planted, u64); 12] = [
    (Planted::BlindRetry, 60),
    (Planted::TakeoverSends, 60),
    // Where retries wait for the way to the POS, few writes come late.
    (Planted::NotAfterIgnored, 1200),
    (Planted::AckBeforeCommit, 10),
    (Planted::MissingFence, 60),
    (Planted::ReplayOutsideWindow, 60),
    (Planted::LateAnswerDropped, 300),
    (Planted::RoundOvertakes, 20),
    (Planted::DivertsInDoubt, 200),
    (Planted::SendsBesideDivert, 200),
    (Planted::EntersWithTicket, 60),
    (Planted::EntersTwice, 100),
];

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
    assert!(Planted::value_variants().iter().all(|bug| FOUND_WITHIN.iter().any(|(known, _)| known == bug)));
    std::thread::scope(|scope| {
        for (bug, within) in FOUND_WITHIN {
            scope.spawn(move || {
                let found = (0..within).map(|seed| run(seed, Some(bug))).find(|report| !report.violations.is_empty());
                let found = found.unwrap_or_else(|| panic!("{bug:?} is not found within {within} seeds"));
                println!("{bug:?} is found by {}", told(&found));
            });
        }
    });
}

#[test]
fn a_seed_runs_to_its_end_and_keeps_every_promise() {
    let report = run(1, None);
    assert_eq!(told(&report), "");
    assert!(report.orders > 0 && report.faults > 0);
}
