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
        Ok(())
    }
}
