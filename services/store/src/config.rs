//! What can be set.

use std::time::Duration;

use serde::Deserialize;

/// Settings of the store service, section `store`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How often a watch looks for what other replicas wrote; jittered down to half of it. What this replica wrote is
    /// sent at once.
    #[serde(with = "humantime_serde")]
    pub watch_poll_interval: Duration,
}
