//! What was measured, as lines for people or as a table of Markdown.

use std::{fmt, time::Duration};

/// What a ratio has to come to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Or more.
    AtLeast(f64),
    /// Or less.
    AtMost(f64),
    /// None: it is told for its own sake.
    None,
}

/// A ratio in repetitions: its median counts.
#[derive(Debug, Clone)]
pub(crate) struct Ratio(Vec<f64>);

impl Ratio {
    /// Of all repetitions.
    pub(crate) fn new(mut of_each: Vec<f64>) -> Self {
        of_each.sort_unstable_by(f64::total_cmp);
        Self(of_each)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}×", self.median())?;
        match (self.0.first(), self.0.last()) {
            (Some(least), Some(most)) if self.0.len() > 1 => write!(f, " ({least:.2} to {most:.2})"),
            _ => Ok(()),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Our figure, with its unit.
    pub(crate) ours: String,
    /// The peer's.
    pub(crate) peer: String,
    /// Ours to the peer's; or any figure that has a target.
    pub(crate) ratio: Ratio,
    /// What was to be reached.
    pub(crate) target: Target,
}

impl Row {
    fn target_and_verdict(&self) -> (String, &'static str) {
        let verdict = |reached: bool| if reached { "yes" } else { "**no**" };
        match self.target {
            Target::AtLeast(least) => (format!("≥ {least}"), verdict(self.ratio.median() >= least)),
            Target::AtMost(most) => (format!("≤ {most}"), verdict(self.ratio.median() <= most)),
            Target::None => (String::new(), ""),
        }
    }
}

/// Everything that a run has to tell.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Of the machine and the run, before the table.
    pub(crate) facts: Vec<String>,
    /// The table.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Notes a fact, and tells it at once.
    pub(crate) fn fact(&mut self, fact: String) {
        eprintln!("{fact}");
        self.facts.push(fact);
    }

    /// Notes a row, and tells it at once.
    pub(crate) fn row(&mut self, row: Row) {
        let (target, verdict) = row.target_and_verdict();
        eprintln!("{}: {} / {} = {} {target} {verdict}", row.what, row.ours, row.peer, row.ratio);
        self.rows.push(row);
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut lines: Vec<String> = self.facts.iter().map(|fact| format!("- {fact}")).collect();
        lines.push(String::new());
        lines.push("| what | posmesh | peer | ratio: median (range) | to reach | reached |".to_owned());
        lines.push("|---|---|---|---|---|---|".to_owned());
        lines.extend(self.rows.iter().map(|row| {
            let (target, verdict) = row.target_and_verdict();
            format!("| {} | {} | {} | {} | {target} | {verdict} |", row.what, row.ours, row.peer, row.ratio)
        }));
        lines.push(String::new());
        lines.join("\n")
    }
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

/// A rate.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

/// The middle one of some figures.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    Ratio::new(figures.into_iter().collect()).median()
}

/// The middle one of some durations.
pub(crate) fn median_duration(durations: impl IntoIterator<Item = Duration>) -> Duration {
    Duration::from_secs_f64(median(durations.into_iter().map(|duration| duration.as_secs_f64())))
}

/// The first to the second.
pub(crate) fn ratio(ours: Duration, peers: Duration) -> f64 {
    ours.as_secs_f64() / peers.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_repetitions_decides() {
        let row = |target| Row {
            what: "x".into(),
            ours: "1".into(),
            peer: "2".into(),
            ratio: Ratio::new(vec![9.0, 4.0, 1.0]),
            target,
        };
        assert_eq!(row(Target::AtLeast(4.0)).target_and_verdict().1, "yes");
        assert_eq!(row(Target::AtMost(3.9)).target_and_verdict().1, "**no**");
        assert_eq!(row(Target::None).ratio.to_string(), "4.00× (1.00 to 9.00)");
    }
}
