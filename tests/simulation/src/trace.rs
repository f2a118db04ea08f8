//! What happened, in order: kept for the reader when something is wrong, and hashed so that two runs can be compared.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{chance, world::Now};

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Trace {
    now: Now,
    lines: Arc<Mutex<String>>,
}

impl Trace {
    pub(crate) fn new(now: Now) -> Self {
        Self { now, lines: Arc::default() }
    }

    /// Notes what somebody did or was told.
    pub(crate) fn tell(&self, who: &str, what: impl FnOnce() -> String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.now.ms();
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{:>4}.{:03} {who:<10} {}", now_ms / 1000, now_ms % 1000, what());
    }

    pub(crate) fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn hash(&self) -> u64 {
        chance::text(&self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The end of an id: what tells ids apart that were made at about the same time.
pub(crate) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(6)..).unwrap_or(id)
}
