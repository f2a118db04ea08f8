//! What the probes of one vendor's connections may cost.

use std::time::Duration;

use posmesh_kit::time::from_proto_duration;
use posmesh_proto::adapter::v1::AdapterDescriptor;
use tokio::time::Instant;

use crate::domain::link::Pace;

/// Of what a vendor allows all stores together, probes take at most one call in so many.
const SHARE: f64 = 4.0;
/// Of that, probes that confirm a failure find so much free.
const HEADROOM: f64 = 1.25;

/// The budget of this replica.
#[derive(Debug, Clone)]
pub(super) struct Vendor {
    /// The least time between two probes of one connection.
    pub(super) least: Duration,
    pub(super) pace: Pace,
    /// The least time between two probes of any of its connections; zero: none.
    step: Duration,
    /// When the next one may begin.
    next: Option<Instant>,
}

impl Vendor {
    /// For a vendor with so many connections, which so many replicas probe.
    pub(super) fn new(pace: Pace, descriptor: Option<&AdapterDescriptor>, connections: usize, replicas: usize) -> Self {
        let least = descriptor.and_then(|d| d.min_probe_interval.as_ref()).and_then(from_proto_duration);
        let least = least.unwrap_or_default();
        let allowed = descriptor.and_then(|d| d.limits.as_ref()).map_or(0.0, |l| l.max_calls_per_second_in_all);
        let (mut interval, mut step) = (pace.interval.max(least), Duration::ZERO);
        if allowed.is_finite() && allowed > 0.0 {
            let in_all = SHARE / allowed;
            let of_day = |seconds: f64| Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0));
            step = of_day(in_all * replicas.max(1) as f64);
            interval = interval.max(of_day(in_all * connections as f64 * HEADROOM));
        }
        let interval = if pace.interval.is_zero() { pace.interval } else { interval };
        Self { least, pace: Pace { interval, ..pace }, step, next: None }
    }

    /// The same, after what was spent before.
    pub(super) fn after(self, earlier: Option<&Self>) -> Self {
        Self { next: earlier.and_then(|earlier| earlier.next), ..self }
    }

    /// Whether it allows only so many probes.
    pub(super) fn is_limited(&self) -> bool {
        !self.step.is_zero()
    }

    /// From when on it allows a probe; `None`: it does at any time.
    pub(super) fn free_at(&self) -> Option<Instant> {
        self.next
    }

    /// Spends one probe; or says when there will be one.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Instant> {
        match self.next {
            Some(next) if next > now => Err(next),
            _ => {
                self.next = (!self.step.is_zero()).then(|| now + self.step);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use posmesh_proto::adapter::v1::Limits;

    use super::*;

    #[test]
    fn probes_of_all_connections_take_a_quarter_of_what_the_vendor_allows() {
        let pace = Pace { interval: Duration::from_secs(10), timeout: Duration::from_secs(1) };
        let limits = Limits { max_calls_per_second_in_all: 20.0, ..Limits::default() };
        let descriptor = AdapterDescriptor { limits: Some(limits), ..AdapterDescriptor::default() };
        let mut vendor = Vendor::new(pace, Some(&descriptor), 1000, 2);
        // 5 a second for 1000 connections.
        assert_eq!(vendor.pace.interval, Duration::from_secs(250));
        let begun = Instant::now();
        let (mut now, mut probes) = (begun, 0);
        while now < begun + Duration::from_secs(60) {
            match vendor.spend(now) {
                Ok(()) => probes += 1,
                Err(next) => now = next,
            }
        }
        assert_eq!(probes, 150, "half of 5 a second");
        let free = Vendor::new(pace, None, 1000, 2);
        assert_eq!((free.pace.interval, free.step), (pace.interval, Duration::ZERO));
    }
}
