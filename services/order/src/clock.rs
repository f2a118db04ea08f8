//! This replica's clock, watched.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_kit::time;
use tokio::time::Instant;

use crate::{
    domain::clock::{ClockWatch, Disturbance, Reading},
    storage::Storage,
};

/// Less is the scheduler's doing, not the clock's.
const LEAST_TOLERANCE: Duration = Duration::from_millis(500);

/// Tells whether the clocks can be trusted. While they cannot, nothing is fired or expired by them, and no absence is
/// proven by them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    watch: Arc<Mutex<ClockWatch>>,
    begun: Instant,
}

impl Clock {
    /// Clocks may differ by `tolerance`; after a jump the clock is trusted when it was steady for `calm`.
    pub(crate) fn new(tolerance: Duration, calm: Duration) -> Self {
        let watch = ClockWatch::new(millis(tolerance.max(LEAST_TOLERANCE)), millis(calm));
        let clock = Self { watch: Arc::new(Mutex::new(watch)), begun: Instant::now() };
        clock.note(None);
        clock
    }

    /// Whether the clock can be trusted now.
    pub(crate) fn is_steady(&self) -> bool {
        self.note(None).0
    }

    /// The time for what is begun now. A clock that jumped does not shift what an order promises: until it can be trusted
    /// again, time goes on as this process's own does.
    pub(crate) fn now_unix_ms(&self) -> i64 {
        self.note(None).1
    }

    /// Looks at the database's clock as well. A database that does not answer soon says nothing.
    pub(crate) async fn compare(&self, storage: &dyn Storage) {
        let asked = Instant::now();
        let database_ahead_ms = match tokio::time::timeout(LEAST_TOLERANCE / 2, storage.now_ms()).await {
            Ok(Ok(Some(database_ms))) => Some(database_ms + millis(asked.elapsed() / 2) - time::now_unix_ms()),
            _ => None,
        };
        self.note(database_ahead_ms);
    }

    /// Whether the clock can be trusted, and the time.
    fn note(&self, database_ahead_ms: Option<i64>) -> (bool, i64) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let reading =
            Reading { wall_ms: time::now_unix_ms(), elapsed_ms: millis(self.begun.elapsed()), database_ahead_ms };
        let was_steady = watch.is_steady();
        match watch.note(reading) {
            Some(Disturbance::Jumped(ms)) => {
                tracing::error!(
                    clock.jump_ms = ms,
                    "the clock jumped; firing, expiry and the day's end pause until it is steady again"
                );
            }
            Some(Disturbance::DatabaseJumped(ms)) => {
                tracing::error!(
                    clock.jump_ms = ms,
                    "the database's clock jumped; firing, expiry and the day's end pause until it is steady again"
                );
            }
            None if !was_steady && watch.is_steady() => {
                tracing::warn!("the clocks are steady again; firing, expiry and the day's end go on");
            }
            None => {}
        }
        (watch.is_steady(), watch.time_ms(reading))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
