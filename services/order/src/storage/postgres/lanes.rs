//! Connections for the hot writes. The pool tries each connection that it gets back, a round trip for every batch; these
//! stay with the lanes instead, as long as all goes well.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::time::Instant;

/// At most so many are kept: as many as there are batches at once. Never more than half of the pool's.
const MOST: u32 = 4;
/// One that idled for longer may have been cut meanwhile: it goes back to the pool, which tries it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// Then it goes back to the pool, which renews connections from time to time.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// Gives connections to batches.
#[derive(Debug)]
pub(super) struct Lanes {
    pool: PgPool,
    idle: Mutex<Vec<Lane>>,
}

/// A connection of the pool's.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) db: PoolConnection<Postgres>,
    taken: Instant,
    used: Instant,
}

impl Lanes {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was used a moment ago, or one of the pool's.
    pub(super) async fn take(&self) -> Result<Lane, sqlx::Error> {
        let now = Instant::now();
        let kept = self.idle().pop();
        let trusted = |lane: &Lane| now - lane.used < TRUSTED_IDLE && now - lane.taken < KEPT_FOR;
        match kept.filter(trusted) {
            Some(lane) => Ok(lane),
            None => Ok(Lane { db: self.pool.acquire().await?, taken: now, used: now }),
        }
    }

    /// Keeps one on which nothing is under way, and nothing went wrong; any other is to be dropped.
    pub(super) fn keep(&self, lane: Lane) {
        let most = (self.pool.options().get_max_connections() / 2).min(MOST);
        let mut idle = self.idle();
        if idle.len() < most as usize {
            idle.push(Lane { used: Instant::now(), ..lane });
        }
    }
}
