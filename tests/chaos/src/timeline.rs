//! What was seen, and when.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lines with their times. Cheap to clone; each line is printed at once.
#[derive(Debug, Clone)]
pub struct Timeline(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    zero: Instant,
    lines: Vec<(Instant, String)>,
}

impl Timeline {
    /// An empty one.
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(Lines { zero: Instant::now(), lines: Vec::new() })))
    }

    /// Notes what happens now.
    pub fn note(&self, what: impl Into<String>) {
        let mut lines = self.lines();
        let (at, what) = (Instant::now(), what.into());
        println!("{}", line(lines.zero, at, &what));
        lines.lines.push((at, what));
    }

    /// Notes what happens now; from here time is counted.
    pub fn begin_again(&self, what: &str) {
        self.lines().zero = Instant::now();
        self.note(what);
    }

    /// From the beginning of the count to the first line that holds this text.
    pub fn first(&self, text: &str) -> Option<Duration> {
        let lines = self.lines();
        let found = lines.lines.iter().find(|(at, what)| *at >= lines.zero && what.contains(text))?;
        Some(found.0.duration_since(lines.zero))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        lines.lines.iter().try_for_each(|(at, what)| writeln!(f, "{}", line(lines.zero, *at, what)))
    }
}

fn line(zero: Instant, at: Instant, what: &str) -> String {
    let seconds = match at.checked_duration_since(zero) {
        Some(after) => after.as_secs_f64(),
        None => -zero.duration_since(at).as_secs_f64(),
    };
    format!("{seconds:>9.3} s  {what}")
}
