//! A connection's limits: how many calls run at once, and how many start in a second; and the vendor's budget, which all
//! connections share. A call waits for its turn only if its turn comes in time and few of its connection wait already;
//! otherwise it is refused at once, before anything is sent.

mod budget;
mod pace;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use budget::Budget;
use pace::{Pace, Starts};
use posmesh_proto::adapter::v1::Limits;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

/// Calls of one connection that wait for their turn; more are refused.
const MAX_WAITING: usize = 64;
/// Connections whose limits are remembered, unless more are in use at once.
const MAX_CONNECTIONS: usize = 10_000;

/// When to try again where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call got no turn. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTurn {
    #[error("{MAX_WAITING} calls of this connection wait already")]
    QueueFull {
        /// When it makes sense to try again.
        retry_after: Duration,
    },
    #[error("the limits leave no turn before the deadline")]
    TooLate {
        /// When it makes sense to try again.
        retry_after: Duration,
    },
}

impl NoTurn {
    pub(crate) fn retry_after(self) -> Duration {
        let (Self::QueueFull { retry_after } | Self::TooLate { retry_after }) = self;
        retry_after
    }
}

/// How many live instances of the adapter share the vendor's budget; the router tells.
#[derive(Debug)]
pub(crate) struct Instances(AtomicU32);

impl Default for Instances {
    fn default() -> Self {
        Self(AtomicU32::new(1))
    }
}

impl Instances {
    pub(crate) fn set(&self, instances: i32) {
        self.0.store(u32::try_from(instances).unwrap_or(1).max(1), Ordering::Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The turns of all connections. Tenant and connection id name one.
#[derive(Debug)]
pub(crate) struct Limiter {
    max_concurrent: usize,
    pace: Option<Pace>,
    budget: Option<Budget>,
    connections: Mutex<HashMap<Key, Remembered>>,
}

type Key = (String, String);

#[derive(Debug)]
struct Remembered {
    turns: Arc<Turns>,
    used: Instant,
}

#[derive(Debug)]
struct Turns {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    starts: Mutex<Starts>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, instances: Arc<Instances>) -> Self {
        let max_concurrent = usize::try_from(limits.max_concurrent_calls).unwrap_or(0);
        Self {
            max_concurrent: if max_concurrent == 0 { Semaphore::MAX_PERMITS } else { max_concurrent },
            pace: Pace::new(limits.max_calls_per_second),
            budget: Budget::new(limits.max_calls_per_second_in_all, instances),
            connections: Mutex::default(),
        }
    }

    /// Waits for the connection's next turn, at most until `deadline`. The call runs while the permit lives.
    pub(crate) async fn turn(
        &self,
        tenant_id: &str,
        connection_id: &str,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, NoTurn> {
        let key = (tenant_id.to_owned(), connection_id.to_owned());
        let turns = self.turns_of(&key);
        let _waiting =
            turns.waiting.try_acquire().map_err(|_| NoTurn::QueueFull { retry_after: self.drained_after() })?;
        let running = timeout_at(deadline, Arc::clone(&turns.running).acquire_owned());
        // The semaphore is never closed.
        let permit = running.await.ok().and_then(Result::ok).ok_or(NoTurn::TooLate { retry_after: RETRY_AFTER })?;
        if let Some(pace) = self.pace {
            let start =
                turns.starts.lock().unwrap_or_else(PoisonError::into_inner).plan(pace, Instant::now(), deadline);
            sleep_until(start.map_err(|retry_after| NoTurn::TooLate { retry_after })?).await;
        }
        if let Some(budget) = &self.budget {
            budget.turn(key, deadline).await?;
        }
        Ok(permit)
    }

    /// How long a full queue takes at its pace.
    fn drained_after(&self) -> Duration {
        self.pace.map_or(RETRY_AFTER, |pace| pace.time_for(MAX_WAITING))
    }

    fn turns_of(&self, key: &Key) -> Arc<Turns> {
        let now = Instant::now();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = connections.get_mut(key) {
            remembered.used = now;
            return Arc::clone(&remembered.turns);
        }
        if connections.len() >= MAX_CONNECTIONS {
            self.forget_idle(&mut connections, now);
        }
        let turns = Arc::new(Turns {
            running: Arc::new(Semaphore::new(self.max_concurrent)),
            waiting: Semaphore::new(MAX_WAITING),
            starts: Mutex::default(),
        });
        connections.insert(key.clone(), Remembered { turns: Arc::clone(&turns), used: now });
        turns
    }

    /// Forgets the less recently used half of the connections that have no call under way and no start that still
    /// counts: a forgotten limit starts afresh, so it must have nothing to say.
    fn forget_idle(&self, connections: &mut HashMap<Key, Remembered>, now: Instant) {
        let window = self.pace.map_or(Duration::ZERO, Pace::window);
        let is_idle = |r: &Remembered| {
            let none_running = r.turns.running.available_permits() == self.max_concurrent;
            none_running && Arc::strong_count(&r.turns) == 1 && now.duration_since(r.used) >= window
        };
        let mut idle: Vec<Instant> = connections.values().filter(|r| is_idle(r)).map(|r| r.used).collect();
        if idle.is_empty() {
            return;
        }
        let middle = idle.len() / 2;
        let median = *idle.select_nth_unstable(middle).1;
        connections.retain(|_, r| r.used > median || !is_idle(r));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limiter(max_concurrent_calls: i32, max_calls_per_second: f64) -> Arc<Limiter> {
        let limits = Limits { max_concurrent_calls, max_calls_per_second, ..Limits::default() };
        Arc::new(Limiter::new(&limits, Arc::default()))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test]
    async fn a_call_waits_for_the_one_before_it_on_its_own_connection_only() {
        let limiter = limiter(1, 0.0);
        let first = limiter.turn("t", "a", soon()).await.unwrap();
        drop(limiter.turn("t", "b", soon()).await.unwrap());
        drop(limiter.turn("other tenant", "a", soon()).await.unwrap());
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.turn("t", "a", soon()).await }
        });
        let in_a_moment = Instant::now() + Duration::from_millis(20);
        assert_eq!(
            limiter.turn("t", "a", in_a_moment).await.unwrap_err(),
            NoTurn::TooLate { retry_after: RETRY_AFTER }
        );
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let limiter = limiter(1, 0.0);
        let _running = limiter.turn("t", "a", soon()).await.unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                tokio::spawn(async move { limiter.turn("t", "a", soon()).await })
            })
            .collect();
        let key = ("t".to_owned(), "a".to_owned());
        while limiter.turns_of(&key).waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(limiter.turn("t", "a", soon()).await.unwrap_err(), NoTurn::QueueFull { retry_after: RETRY_AFTER });
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn the_limits_of_ten_thousand_idle_connections_make_room_but_those_in_use_stay() {
        let limiter = limiter(1, 0.0);
        let _running = limiter.turn("t", "in use", soon()).await.unwrap();
        for n in 0..MAX_CONNECTIONS + 10 {
            drop(limiter.turn("t", &n.to_string(), soon()).await.unwrap());
        }
        assert!(limiter.connections.lock().unwrap().len() <= MAX_CONNECTIONS);
        let in_a_moment = Instant::now() + Duration::from_millis(5);
        assert_eq!(
            limiter.turn("t", "in use", in_a_moment).await.unwrap_err(),
            NoTurn::TooLate { retry_after: RETRY_AFTER }
        );
    }
}
