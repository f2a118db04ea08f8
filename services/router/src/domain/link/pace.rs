//! When to look again.

use std::time::Duration;

use posmesh_kit::{ambient, backoff};

use super::{PROBES_COUNTED, Tracker, Weight};

/// While something may be about to change: the shortest pause between two probes.
const SOON: Duration = Duration::from_secs(1);

/// A store that is closed, or a POS that may not be asked, is looked at so rarely.
const RARELY: Duration = Duration::from_secs(600);

/// The shortest time that a confirming probe is waited for: with the pause before it and the time until everybody knows,
/// it stays within a second.
const LEAST_TIMEOUT: Duration = Duration::from_millis(600);

/// A POS that has always answered fast, and does not answer after so many times as long, is not just slow.
const LATENCIES: u32 = 4;

/// How often a connection is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// While nothing is wrong. Zero: nobody is asked.
    pub(crate) interval: Duration,
    /// The longest that an answer is waited for.
    pub(crate) timeout: Duration,
}

impl Pace {
    /// The pause after what was just seen.
    pub(crate) fn pause(&self, tracker: &Tracker) -> Duration {
        if self.interval.is_zero() || !tracker.is_askable() {
            return jittered(RARELY.max(self.interval));
        }
        if tracker.is_suspected() {
            let (least, most) = match tracker.last_failure {
                // An order has just failed: nobody waits.
                Some(Weight::Call) => return Duration::ZERO,
                Some(Weight::Lost) => (0.3, 0.5),
                _ => (0.1, 0.3),
            };
            return Duration::from_secs_f64(ambient::jitter(least, most));
        }
        if !tracker.is_awake() {
            return jittered(RARELY.max(self.interval));
        }
        if tracker.is_offline() {
            let cap = self.interval.max(SOON);
            return if tracker.is_returning() { SOON } else { backoff::delay_after(SOON, cap, tracker.in_vain) };
        }
        let passed = tracker.link().probes_passed;
        if passed < PROBES_COUNTED {
            // It was away, or nothing was known of it: whether it stays is soon known.
            let doublings = u32::try_from(passed.saturating_sub(1)).unwrap_or(0);
            return jittered(SOON.saturating_mul(1 << doublings).min(self.interval));
        }
        jittered(self.interval)
    }

    /// How long the next answer is waited for.
    pub(crate) fn timeout(&self, tracker: &Tracker) -> Duration {
        if !tracker.is_suspected() {
            return self.timeout;
        }
        let usual = tracker.latency().unwrap_or_default();
        usual.saturating_mul(LATENCIES).max(LEAST_TIMEOUT).min(self.timeout)
    }
}

/// A little less, so that many do not come at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(ambient::jitter(0.8, 1.0))
}
