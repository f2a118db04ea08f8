//! How many calls start within a time.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// By how much a window is longer than the vendor's own: calls that start so far apart take unequally long to get there,
/// and whoever counts at the other end must not find one more.
const MARGIN: f64 = 1.05;

/// At most `calls` starts within any `window`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    calls: usize,
    window: Duration,
}

impl Pace {
    /// A rate with a fraction keeps whole calls by another window: 2.5 per second are 2 in 0.8 s, and the margin.
    pub(super) fn new(per_second: f64) -> Option<Self> {
        if per_second.is_nan() || per_second <= 0.0 {
            return None;
        }
        // The cast saturates; a million starts per second is no limit that needs more memory.
        let calls = (per_second.floor() as usize).clamp(1, 1_000_000);
        // An absurdly small rate (beyond years per call) does not fit a Duration; such a descriptor has no usable limit.
        let window = Duration::try_from_secs_f64(calls as f64 / per_second * MARGIN).ok()?;
        Some(Self { calls, window })
    }

    pub(super) fn window(self) -> Duration {
        self.window
    }

    /// How long so many starts take.
    pub(super) fn time_for(self, starts: usize) -> Duration {
        self.window.mul_f64(starts as f64 / self.calls as f64)
    }
}

/// The last starts, planned ones included; never more than a pace's `calls`.
#[derive(Debug, Default)]
pub(super) struct Starts(VecDeque<Instant>);

impl Starts {
    /// When the pace allows the next start.
    pub(super) fn next(&self, pace: Pace, now: Instant) -> Instant {
        // More are remembered than count where the pace was faster before.
        let full = self.0.len().checked_sub(pace.calls).and_then(|oldest| self.0.get(oldest));
        full.map_or(now, |oldest| now.max(*oldest + pace.window))
    }

    /// Books a start.
    pub(super) fn book(&mut self, pace: Pace, start: Instant) {
        while self.0.len() >= pace.calls {
            self.0.pop_front();
        }
        self.0.push_back(start);
    }

    /// Books the next start that the pace allows, or answers how far it is away if that is after the deadline.
    pub(super) fn plan(&mut self, pace: Pace, now: Instant, deadline: Instant) -> Result<Instant, Duration> {
        let start = self.next(pace, now);
        if start > deadline {
            return Err(start - now);
        }
        self.book(pace, start);
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_window_ever_holds_more_starts_than_the_rate_and_the_first_ones_need_not_wait() {
        let (mut starts, pace, begun) = (Starts::default(), Pace::new(20.0).unwrap(), Instant::now());
        // Calls come in bursts, and faster than they may start.
        let arrivals = (0..100).map(|n| begun + Duration::from_millis(n / 10 * 137));
        let starts: Vec<Instant> =
            arrivals.map(|now| starts.plan(pace, now, now + Duration::from_secs(60)).unwrap()).collect();
        assert!(starts.windows(21).all(|few| few[20] - few[0] >= Duration::from_secs(1)));
        assert_eq!(starts[9], begun);
        assert_eq!(starts[20], begun + Duration::from_millis(1050));
    }

    #[test]
    fn a_rate_with_a_fraction_is_kept_by_another_window() {
        let pace = |per_second| Pace::new(per_second).map(|p| (p.calls, p.window));
        assert_eq!(pace(0.5), Some((1, Duration::from_millis(2100))));
        assert_eq!(pace(2.5), Some((2, Duration::from_millis(840))));
        assert_eq!(pace(0.0), None);
        assert_eq!(pace(-1.0), None);
        assert_eq!(pace(f64::NAN), None);
        assert!(pace(f64::INFINITY).is_some_and(|(_, window)| window.is_zero()));
    }

    #[test]
    fn a_turn_that_comes_too_late_is_refused_without_waiting_and_books_nothing() {
        let (mut starts, pace, now) = (Starts::default(), Pace::new(0.5).unwrap(), Instant::now());
        let mut plan = |patience| starts.plan(pace, now, now + Duration::from_secs(patience));
        assert_eq!(plan(1), Ok(now));
        assert_eq!(plan(1), Err(Duration::from_millis(2100)));
        assert_eq!(plan(3), Ok(now + Duration::from_millis(2100)));
    }

    #[test]
    fn a_slower_pace_counts_what_started_before_it() {
        let (mut starts, now) = (Starts::default(), Instant::now());
        let (fast, slow) = (Pace::new(4.0).unwrap(), Pace::new(2.0).unwrap());
        (0..4).for_each(|_| assert_eq!(starts.plan(fast, now, now), Ok(now)));
        assert_eq!(starts.next(slow, now), now + Duration::from_millis(1050));
    }
}
