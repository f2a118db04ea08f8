//! Settings of the order service.

use std::time::Duration;

use serde::Deserialize;

/// Settings of the order service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long one write to a POS may take: nobody writes for it after that. Real POS need up to 30 s.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// How long the lease of an attempt outlives the attempt and the vendor's `max_apply_delay`.
    #[serde(with = "humantime_serde")]
    pub lease_margin: Duration,
    /// How often a replica looks for orders whose owner is gone or whose next step is due.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
    /// The first delay before an order that was refused for now is sent again; doubled up to `retry_cap`.
    #[serde(with = "humantime_serde")]
    pub retry_base: Duration,
    /// The longest delay between two attempts, and between two looks for an order in doubt.
    #[serde(with = "humantime_serde")]
    pub retry_cap: Duration,
    /// Orders that one replica brings to their POS at once; more are refused with OVERLOADED before they are taken.
    pub max_in_flight: usize,
    /// Watch streams that one replica serves at once.
    pub max_watchers: usize,
    /// How old a catalog or connection read from its service may be.
    #[serde(with = "humantime_serde")]
    pub cache_age: Duration,
    /// How long guests' contact data is kept.
    #[serde(with = "humantime_serde")]
    pub contact_retention: Duration,
}
