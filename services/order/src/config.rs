//! Settings of the order service.

use std::time::Duration;

use posmesh_kit::config::ConfigError;
use serde::Deserialize;

/// Settings of the order service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long one write to a POS may take: nobody writes for it after that. Real POS need up to 30 s.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// How long the lease of an attempt outlives it; and how far clocks may differ: only so long after the attempt's time,
    /// and the vendor's `max_apply_delay`, does an order's absence from the POS prove anything.
    #[serde(with = "humantime_serde")]
    pub lease_margin: Duration,
    /// How often a replica looks for orders whose owner is gone or whose next step is due.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
    /// How often an open check is compared with the POS when nobody asks for it; more rarely where the vendor's limits ask
    /// for it, never where the POS cannot list its checks.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// The first delay before an order that was refused for now is sent again; doubled up to `retry_cap`.
    #[serde(with = "humantime_serde")]
    pub retry_base: Duration,
    /// The longest delay between two attempts, and between two looks for an order in doubt.
    #[serde(with = "humantime_serde")]
    pub retry_cap: Duration,
    /// Orders that one replica brings to their POS at once; more are refused with OVERLOADED before they are taken.
    pub max_in_flight: usize,
    /// Of these, those of one store; more are refused with STORE_BUSY.
    pub max_in_flight_per_store: usize,
    /// Watch streams that one replica serves at once.
    pub max_watchers: usize,
    /// Connections that one replica polls for events, or compares the orders of, at once. 0: it leaves that to the others.
    pub errands_at_once: usize,
    /// So long a watcher may leave news unread before its stream is ended and its place goes to another one.
    #[serde(with = "humantime_serde")]
    pub watcher_max_lag: Duration,
    /// How old a catalog or connection read from its service may be.
    #[serde(with = "humantime_serde")]
    pub cache_age: Duration,
    /// How long guests' contact data is kept.
    #[serde(with = "humantime_serde")]
    pub contact_retention: Duration,
}

impl Config {
    /// Refuses values with which no order could be brought to its POS; they stand in the section `order`.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |key: &str, value: Duration, least: Duration, most: Duration| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::invalid(&format!("order.{key}"), format!("must be {least:?} to {most:?}")))
        };
        let ms = Duration::from_millis;
        let (hour, year) = (ms(3_600_000), ms(366 * 86_400_000));
        within("attempt_timeout", self.attempt_timeout, ms(100), hour)?;
        within("lease_margin", self.lease_margin, ms(10), hour)?;
        within("sweep_interval", self.sweep_interval, ms(10), hour)?;
        within("check_interval", self.check_interval, ms(10), hour)?;
        within("retry_base", self.retry_base, ms(1), hour)?;
        within("retry_cap", self.retry_cap, self.retry_base, hour)?;
        within("watcher_max_lag", self.watcher_max_lag, ms(10), hour)?;
        within("cache_age", self.cache_age, Duration::ZERO, hour)?;
        within("contact_retention", self.contact_retention, ms(60_000), 10 * year)?;
        for (key, value) in [
            ("max_in_flight", self.max_in_flight),
            ("max_in_flight_per_store", self.max_in_flight_per_store),
            ("max_watchers", self.max_watchers),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return Err(ConfigError::invalid(&format!("order.{key}"), "must be 1 to 1000000"));
            }
        }
        if self.errands_at_once > 10_000 {
            return Err(ConfigError::invalid("order.errands_at_once", "must be 0 to 10000"));
        }
        Ok(())
    }
}
