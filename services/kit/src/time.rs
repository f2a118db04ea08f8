//! Wall-clock time in the contracts' form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;
use tokio::time::Instant;

use crate::ambient;

/// Now, by the wall clock.
pub fn now() -> Timestamp {
    from_unix_ms(now_unix_ms())
}

/// Now, in milliseconds since the Unix epoch; 0 for a clock that stands before it.
pub fn now_unix_ms() -> i64 {
    if let Some(unix_ms) = ambient::unix_ms() {
        return unix_ms;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// From milliseconds since the Unix epoch.
pub fn from_unix_ms(unix_ms: i64) -> Timestamp {
    // The remainder of a division by 1000 is below 1000 and times 1e6 below 1e9: it fits.
    let nanos = (unix_ms.rem_euclid(1000) * 1_000_000) as i32;
    Timestamp { seconds: unix_ms.div_euclid(1000), nanos }
}

/// To milliseconds since the Unix epoch, saturating.
pub fn to_unix_ms(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

/// How long until `time`, by the wall clock; zero when it has passed.
pub fn until(time: &Timestamp) -> Duration {
    let left_ms = to_unix_ms(time).saturating_sub(now_unix_ms());
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

/// Until when something may be written: a moment of the wall clock, and no longer from now than that is away, by this
/// process's own clock. So neither a clock that is set nor a process that was stopped makes a write late.
#[derive(Debug, Clone, Copy)]
pub struct NotAfter {
    unix_ms: i64,
    own: Instant,
}

impl NotAfter {
    /// Begins to count now.
    pub fn new(time: &Timestamp) -> Self {
        Self { unix_ms: to_unix_ms(time), own: Instant::now() + until(time) }
    }

    /// Whether nothing may be written any more.
    pub fn has_passed(&self) -> bool {
        now_unix_ms() >= self.unix_ms || Instant::now() >= self.own
    }

    /// The moment by this process's own clock.
    pub fn own(&self) -> Instant {
        self.own
    }
}

/// A `Duration` of the contracts.
pub fn to_proto_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // subsec_nanos is below 1e9: it fits.
        nanos: duration.subsec_nanos() as i32,
    }
}

/// A contract's `Duration`; `None` when it is negative.
pub fn from_proto_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_the_round_trip_before_and_after_the_epoch() {
        for ms in [-1_500, -1, 0, 1, 1_763_800_000_123] {
            assert_eq!(to_unix_ms(&from_unix_ms(ms)), ms, "{ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_may_be_written_after_the_moment_or_after_the_time_that_it_was_away() {
        assert!(NotAfter::new(&from_unix_ms(now_unix_ms() - 1)).has_passed());
        let soon = NotAfter::new(&from_unix_ms(now_unix_ms() + 60_000));
        assert!(!soon.has_passed());
        // The wall clock stands still here; the process's own does not.
        tokio::time::advance(Duration::from_millis(60_001)).await;
        assert!(soon.has_passed());
    }

    #[test]
    fn a_negative_duration_is_not_a_duration() {
        assert_eq!(from_proto_duration(&prost_types::Duration { seconds: -1, nanos: 0 }), None);
    }
}
