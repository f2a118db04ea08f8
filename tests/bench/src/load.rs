//! Callers, and how they are driven: each waits for its answer (closed loop), or they come by the clock (open loop).

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{task::JoinSet, time::Instant};

/// Runs before anything is counted: connections, plans and caches come to be.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

/// Somebody who asks again and again, over a connection of its own or a shared one.
pub(crate) trait Caller: Send + 'static {
    /// What is noted of one answer.
    type Lap: Send + 'static;

    /// Asks once, and waits for the answer.
    fn call(&mut self) -> impl Future<Output = Result<Self::Lap>> + Send;
}

/// What callers noted while it counted.
#[derive(Debug)]
pub(crate) struct Measured<L> {
    /// One for each answer, in no order.
    pub(crate) laps: Vec<L>,
    /// How long it counted.
    pub(crate) took: Duration,
}

impl<L> Measured<L> {
    /// Answers in a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.laps.len() as f64 / self.took.as_secs_f64()
    }

    /// The distribution of one duration of the laps.
    pub(crate) fn latencies(&self, of: impl Fn(&L) -> Duration) -> Latencies {
        Latencies::new(self.laps.iter().map(of).collect())
    }
}

/// Durations in order.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Sorts them.
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The smallest that at least this share of them does not exceed; zero of none. 0.5 is the median.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).or(self.0.last()).copied().unwrap_or_default()
    }

    /// The median.
    pub(crate) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// What one of a hundred exceeds.
    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

/// Each caller asks, waits for the answer, and asks again.
///
/// # Errors
/// The first error of any caller.
pub(crate) async fn closed_loop<C: Caller>(callers: Vec<C>, duration: Duration) -> Result<Measured<C::Lap>> {
    let from = Instant::now() + WARM_UP;
    let until = from + duration;
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        tasks.spawn(async move {
            let mut laps = Vec::new();
            loop {
                let lap = caller.call().await?;
                let ended = Instant::now();
                if ended >= until {
                    return anyhow::Ok(laps);
                }
                if ended >= from {
                    laps.push(lap);
                }
            }
        });
    }
    gather(tasks, duration).await
}

/// One caller asks so many times, after some that do not count.
///
/// # Errors
/// Its first error.
pub(crate) async fn one_by_one<C: Caller>(caller: &mut C, warm_up: usize, count: usize) -> Result<Measured<C::Lap>> {
    for _ in 0..warm_up {
        caller.call().await?;
    }
    let begun = Instant::now();
    let mut laps = Vec::with_capacity(count);
    for _ in 0..count {
        laps.push(caller.call().await?);
    }
    Ok(Measured { laps, took: begun.elapsed() })
}

/// Calls begin by the clock, `per_second` of them, whether or not those before are answered; latencies count from when a
/// call was due. There are never more under way than callers: further ones wait, and their waiting counts.
///
/// # Errors
/// The first error of any caller.
pub(crate) async fn open_loop<C: Caller>(
    callers: Vec<C>,
    per_second: f64,
    duration: Duration,
) -> Result<Measured<(Duration, C::Lap)>> {
    let begun = Instant::now();
    let from = begun + WARM_UP;
    let until = from + duration;
    let tickets = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let tickets = Arc::clone(&tickets);
        tasks.spawn(async move {
            let mut laps = Vec::new();
            loop {
                let ticket = tickets.fetch_add(1, Ordering::Relaxed);
                let due = begun + Duration::from_secs_f64(ticket as f64 / per_second);
                if due >= until {
                    return anyhow::Ok(laps);
                }
                tokio::time::sleep_until(due).await;
                let lap = caller.call().await?;
                if due >= from {
                    laps.push((due.elapsed(), lap));
                }
            }
        });
    }
    gather(tasks, duration).await
}

async fn gather<L: Send + 'static>(mut tasks: JoinSet<Result<Vec<L>>>, took: Duration) -> Result<Measured<L>> {
    let mut laps = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        laps.extend(of_one??);
    }
    anyhow::ensure!(!laps.is_empty(), "nothing was answered while it was measured: give it more --seconds");
    Ok(Measured { laps, took })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let ms = |ms: u64| Duration::from_millis(ms);
        let latencies = Latencies::new((1..=100).rev().map(ms).collect());
        assert_eq!((latencies.p50(), latencies.p99(), latencies.quantile(1.0)), (ms(50), ms(99), ms(100)));
        assert_eq!(Latencies::new(Vec::new()).p99(), Duration::ZERO);
    }

    #[derive(Debug)]
    struct Slow;

    impl Caller for Slow {
        type Lap = ();

        async fn call(&mut self) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_a_free_caller_is_counted_with_its_waiting() {
        let measured = open_loop(vec![Slow], 20.0, Duration::from_secs(1)).await;
        let latencies = measured.map(|m| m.latencies(|(waited, ())| *waited));
        // Twice as many are due as one caller can serve: the last was due almost 1 s before its turn began.
        assert!(latencies.is_ok_and(|l| l.quantile(1.0) > Duration::from_millis(900)));
    }
}
