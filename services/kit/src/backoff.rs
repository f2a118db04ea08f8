//! Waiting longer after each failure, with jitter so that many callers do not come back at once.

use std::time::Duration;

use crate::ambient;

/// Exponential backoff between `base` and `cap`, doubled each time, with full jitter in its upper half.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff that has seen no failure yet.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = delay_after(self.base, self.cap, self.failures);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Forgets the failures after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The delay after the given number of earlier failures: between half of and the whole of `base * 2^failures`, at most
/// `cap`.
pub fn delay_after(base: Duration, cap: Duration, failures: u32) -> Duration {
    let full = base.saturating_mul(1u32 << failures.min(20)).min(cap);
    full.mul_f64(ambient::jitter(0.5, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_below_the_cap() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(2));
        for failures in 0..40 {
            let delay = delay_after(base, cap, failures);
            let full = (base * 2u32.pow(failures.min(10))).min(cap);
            assert!(delay >= full / 2 && delay <= full, "{failures}: {delay:?}");
        }
    }
}
