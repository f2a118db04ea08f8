//! What a run came to, as a table.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    audit::{Findings, Kind},
    faults::Exit,
};

/// Lines of violations that are printed in full.
const MAX_LINES: usize = 200;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// By which it can be run again.
    pub seed: u64,
    /// How long faults were injected under load.
    pub duration: Duration,
    /// From the last fault's end until every order was at rest.
    pub rest: Duration,
    /// Requests that callers made, each once, however often it was repeated.
    pub requests: usize,
    /// Answers that callers got, or gave up waiting for.
    pub words: usize,
    /// The highest version of an order, and which.
    pub most_changed: (i64, String),
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// Processes that ended by themselves.
    pub exits: BTreeMap<Exit, usize>,
    /// Processes in whose log a panic stands.
    pub panicked: Vec<String>,
    /// What the audit found.
    pub findings: Findings,
}

impl Report {
    /// Whether nothing happened that must not.
    pub fn is_clean(&self) -> bool {
        self.findings.violations.is_empty() && self.panicked.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = &self.findings;
        for violation in findings.violations.iter().take(MAX_LINES) {
            writeln!(f, "{violation}")?;
        }
        let mut row = |name: &str, value: String| writeln!(f, "{name:<44}{value:>12}");
        row("seed", self.seed.to_string())?;
        row("minutes of load under faults", format!("{:.1}", self.duration.as_secs_f64() / 60.0))?;
        row("seconds from the last fault to rest", format!("{:.1}", self.rest.as_secs_f64()))?;
        row("requests", self.requests.to_string())?;
        row("answers, or their lack", self.words.to_string())?;
        row("orders acknowledged", findings.acknowledged.to_string())?;
        for (state, count) in &findings.by_state {
            row(&format!("  {state}"), count.to_string())?;
        }
        for (mark, count) in &findings.by_attention {
            row(&format!("  before a person: {mark}"), count.to_string())?;
        }
        for (entry, count) in &findings.by_entry {
            row(&format!("  printed by the fallback, entry {entry}"), count.to_string())?;
        }
        row("orders taken, of which no caller was told", findings.taken_unknown.to_string())?;
        row("requests that were refused, or never answered", findings.refused.to_string())?;
        let (changes, order_id) = &self.most_changed;
        row(&format!("changes of {order_id}"), changes.to_string())?;
        row("faults", self.faults.values().sum::<usize>().to_string())?;
        for (fault, count) in &self.faults {
            row(&format!("  {fault}"), count.to_string())?;
        }
        for (exit, count) in &self.exits {
            row(&format!("ended by itself: {} ({})", exit.process, exit.status), count.to_string())?;
        }
        for process in &self.panicked {
            row(&format!("panicked: {process}"), "1".to_owned())?;
        }
        for kind in Kind::ALL {
            let count = findings.violations.iter().filter(|violation| violation.kind == kind).count();
            row(&kind.name().to_lowercase().replace('_', " "), count.to_string())?;
        }
        Ok(())
    }
}
