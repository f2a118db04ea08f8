//! What can be set.

use std::time::Duration;

use posmesh_kit::config::ConfigError;
use serde::Deserialize;

pub use crate::sealing::SealingKeys;

/// Settings of the router, section `router`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long an adapter's instance stays in the routing after it was last heard of. It renews at about a third.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often a replica looks for what other replicas wrote. What it wrote itself, and what it misses, it reads at
    /// once.
    #[serde(with = "humantime_serde")]
    pub refresh_interval: Duration,
    /// How often each connection's POS is probed while nothing is wrong with it. More rarely where the vendor's limits
    /// ask for it. Zero: not at all; links are then known by orders, and by what vendors tell.
    #[serde(with = "humantime_serde")]
    pub probe_interval: Duration,
    /// How long the answer to a probe is waited for; one that confirms a failure may wait less.
    #[serde(with = "humantime_serde")]
    pub probe_timeout: Duration,
    /// Streams of links that this replica serves at once.
    pub max_watchers: usize,
    /// A watcher that leaves news unread for longer loses its place.
    #[serde(with = "humantime_serde")]
    pub watcher_max_lag: Duration,
    /// The keys that seal credentials in the database: `ID:BASE64` of 32 bytes, separated by commas. The first seals, all
    /// open. Without one the router does not start.
    pub sealing_keys: SealingKeys,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(Duration::from_millis(500)..=Duration::from_secs(300)).contains(&self.lease) {
            return Err(ConfigError::invalid("router.lease", "must be 500ms to 5min"));
        }
        if !(Duration::from_millis(20)..=Duration::from_secs(10)).contains(&self.refresh_interval) {
            return Err(ConfigError::invalid("router.refresh_interval", "must be 20ms to 10s"));
        }
        let probes = Duration::from_millis(100)..=Duration::from_secs(3600);
        if !self.probe_interval.is_zero() && !probes.contains(&self.probe_interval) {
            return Err(ConfigError::invalid("router.probe_interval", "must be 100ms to 1h, or 0s for no probes"));
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(30)).contains(&self.probe_timeout) {
            return Err(ConfigError::invalid("router.probe_timeout", "must be 50ms to 30s"));
        }
        if self.max_watchers == 0 {
            return Err(ConfigError::invalid("router.max_watchers", "must be at least 1"));
        }
        if self.watcher_max_lag < Duration::from_millis(100) {
            return Err(ConfigError::invalid("router.watcher_max_lag", "must be at least 100ms"));
        }
        Ok(())
    }
}
