//! A connection's limits: how many calls run at once, and how many start in a second. A call waits for its turn only if
//! its turn comes in time and few wait already; otherwise it is refused at once, before anything is sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_proto::adapter::v1::Limits;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

/// Calls of one connection that wait for their turn; more are refused.
const MAX_WAITING: usize = 64;
/// Connections whose limits are remembered, unless more are in use at once.
const MAX_CONNECTIONS: usize = 10_000;

/// Why a call got no turn. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTurn {
    #[error("{MAX_WAITING} calls of this connection wait already")]
    QueueFull,
    #[error("the connection's limits leave no turn before the deadline")]
    TooLate,
}

/// The turns of all connections. Tenant and connection id name one.
#[derive(Debug)]
pub(crate) struct Limiter {
    max_concurrent: usize,
    pace: Option<Pace>,
    connections: Mutex<HashMap<(String, String), Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    turns: Arc<Turns>,
    used: Instant,
}

/// At most `calls` starts within any `window`.
#[derive(Debug, Clone, Copy)]
struct Pace {
    calls: usize,
    window: Duration,
}

impl Pace {
    /// A rate with a fraction keeps whole calls by another window: 2.5 per second are 2 in 0.8 s.
    fn new(per_second: f64) -> Option<Self> {
        if per_second.is_nan() || per_second <= 0.0 {
            return None;
        }
        // The cast saturates; a million starts per second is no limit that needs more memory.
        let calls = (per_second.floor() as usize).clamp(1, 1_000_000);
        // An absurdly small rate (beyond years per call) does not fit a Duration; such a descriptor has no usable limit.
        let window = Duration::try_from_secs_f64(calls as f64 / per_second).ok()?;
        Some(Self { calls, window })
    }
}

#[derive(Debug)]
struct Turns {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    /// The last starts, planned ones included; never more than the pace's `calls`.
    starts: Mutex<VecDeque<Instant>>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let max_concurrent = usize::try_from(limits.max_concurrent_calls).unwrap_or(0);
        Self {
            max_concurrent: if max_concurrent == 0 { Semaphore::MAX_PERMITS } else { max_concurrent },
            pace: Pace::new(limits.max_calls_per_second),
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
        let turns = self.turns_of(tenant_id, connection_id);
        let _waiting = turns.waiting.try_acquire().map_err(|_| NoTurn::QueueFull)?;
        let running = timeout_at(deadline, Arc::clone(&turns.running).acquire_owned());
        // The semaphore is never closed.
        let permit = running.await.ok().and_then(Result::ok).ok_or(NoTurn::TooLate)?;
        if let Some(pace) = self.pace {
            sleep_until(turns.plan_start(pace, Instant::now(), deadline)?).await;
        }
        Ok(permit)
    }

    fn turns_of(&self, tenant_id: &str, connection_id: &str) -> Arc<Turns> {
        let key = (tenant_id.to_owned(), connection_id.to_owned());
        let now = Instant::now();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = connections.get_mut(&key) {
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
        connections.insert(key, Remembered { turns: Arc::clone(&turns), used: now });
        turns
    }

    /// Forgets the less recently used half of the connections that have no call under way and no start that still
    /// counts: a forgotten limit starts afresh, so it must have nothing to say.
    fn forget_idle(&self, connections: &mut HashMap<(String, String), Remembered>, now: Instant) {
        let window = self.pace.map_or(Duration::ZERO, |pace| pace.window);
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

impl Turns {
    /// Books the next start that the pace allows, or nothing if that is after the deadline.
    fn plan_start(&self, pace: Pace, now: Instant, deadline: Instant) -> Result<Instant, NoTurn> {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = starts.len() >= pace.calls;
        let start = match starts.front() {
            Some(oldest) if full => now.max(*oldest + pace.window),
            _ => now,
        };
        if start > deadline {
            return Err(NoTurn::TooLate);
        }
        if full {
            starts.pop_front();
        }
        starts.push_back(start);
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limiter(max_concurrent_calls: i32, max_calls_per_second: f64) -> Arc<Limiter> {
        Arc::new(Limiter::new(&Limits { max_concurrent_calls, max_calls_per_second, ..Limits::default() }))
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
        assert_eq!(limiter.turn("t", "a", in_a_moment).await.unwrap_err(), NoTurn::TooLate);
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
        while limiter.turns_of("t", "a").waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(limiter.turn("t", "a", soon()).await.unwrap_err(), NoTurn::QueueFull);
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    fn turns() -> Turns {
        Turns { running: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(1), starts: Mutex::default() }
    }

    #[test]
    fn no_window_ever_holds_more_starts_than_the_rate_and_the_first_ones_need_not_wait() {
        let (turns, pace, begun) = (turns(), Pace::new(20.0).unwrap(), Instant::now());
        // Calls come in bursts, and faster than they may start.
        let arrivals = (0..100).map(|n| begun + Duration::from_millis(n / 10 * 137));
        let starts: Vec<Instant> =
            arrivals.map(|now| turns.plan_start(pace, now, now + Duration::from_secs(60)).unwrap()).collect();
        assert!(starts.windows(21).all(|few| few[20] - few[0] >= Duration::from_secs(1)));
        assert_eq!(starts[9], begun);
        assert_eq!(starts[20], begun + Duration::from_secs(1));
    }

    #[test]
    fn a_rate_with_a_fraction_is_kept_by_another_window() {
        let pace = |per_second| Pace::new(per_second).map(|p| (p.calls, p.window));
        assert_eq!(pace(0.5), Some((1, Duration::from_secs(2))));
        assert_eq!(pace(2.5), Some((2, Duration::from_millis(800))));
        assert_eq!(pace(0.0), None);
        assert_eq!(pace(-1.0), None);
        assert_eq!(pace(f64::NAN), None);
        assert!(pace(f64::INFINITY).is_some_and(|(_, window)| window.is_zero()));
    }

    #[test]
    fn a_turn_that_comes_too_late_is_refused_without_waiting_and_books_nothing() {
        let (turns, pace, now) = (turns(), Pace::new(0.5).unwrap(), Instant::now());
        let plan = |patience| turns.plan_start(pace, now, now + Duration::from_secs(patience));
        assert_eq!(plan(1), Ok(now));
        assert_eq!(plan(1), Err(NoTurn::TooLate));
        assert_eq!(plan(3), Ok(now + Duration::from_secs(2)));
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
        assert_eq!(limiter.turn("t", "in use", in_a_moment).await.unwrap_err(), NoTurn::TooLate);
    }
}
