//! This replica's clock, watched.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use posmesh_kit::time;
use tokio::time::Instant;

use crate::{
    domain::clock::{BELIEVED_AFTER_MS, ClockWatch, Disturbance, Reading},
    storage::Storage,
};

/// Less is the scheduler's doing, not the clock's.
const LEAST_TOLERANCE: Duration = Duration::from_millis(500);
/// A process does not begin to take orders by a clock that is farther from the database's.
const ABOUT_THE_SAME_MS: i64 = 60_000;

/// Tells whether the clocks can be trusted. While they cannot, nothing is fired or expired by them, and no absence is
/// proven by them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    watch: Arc<Mutex<ClockWatch>>,
    begun: Instant,
    /// Whether the database's clock was ever about the same.
    agreed: Arc<AtomicBool>,
}

impl Clock {
    /// Clocks may differ by `tolerance`; after a jump the clock is trusted when it was steady for `calm`.
    pub(crate) fn new(tolerance: Duration, calm: Duration) -> Self {
        let watch = ClockWatch::new(millis(tolerance.max(LEAST_TOLERANCE)), millis(calm));
        let clock = Self { watch: Arc::new(Mutex::new(watch)), begun: Instant::now(), agreed: Arc::default() };
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

    /// Whether the time can be told. A clock that was set before this process began is not seen to jump; until it was about
    /// the same as the database's, no order is promised by it: others would wait for the end of an attempt that lies hours
    /// ahead. After a while it is believed all the same.
    pub(crate) async fn is_known(&self, storage: &dyn Storage) -> bool {
        if !self.agreed.load(Ordering::Relaxed) {
            self.compare(storage).await;
        }
        self.agreed.load(Ordering::Relaxed) || millis(self.begun.elapsed()) >= BELIEVED_AFTER_MS
    }

    /// Looks at the database's clock as well. A database that does not answer soon says nothing.
    pub(crate) async fn compare(&self, storage: &dyn Storage) {
        let asked = Instant::now();
        let told = tokio::time::timeout(LEAST_TOLERANCE / 2, storage.now_ms()).await;
        let database_ahead_ms = match told {
            Ok(Ok(Some(database_ms))) => Some(database_ms + millis(asked.elapsed() / 2) - time::now_unix_ms()),
            _ => None,
        };
        let agrees = database_ahead_ms.map_or(matches!(told, Ok(Ok(None))), |ms| ms.abs() <= ABOUT_THE_SAME_MS);
        if !agrees && !self.agreed.load(Ordering::Relaxed) {
            tracing::warn!(
                ?database_ahead_ms,
                "the time is not known yet by the database's clock: no orders are taken"
            );
        }
        self.agreed.fetch_or(agrees, Ordering::Relaxed);
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
