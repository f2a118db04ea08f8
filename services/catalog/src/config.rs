//! What can be set.

use std::time::Duration;

use serde::Deserialize;

/// Settings of the catalog service, section `catalog`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A pull that takes longer has failed.
    #[serde(with = "humantime_serde")]
    pub pull_timeout: Duration,
    /// A pull whose pieces are larger in sum is refused. Must stay below what one answer may hold, 32 MiB.
    pub max_pull_bytes: usize,
    /// Runs of syncs at once in this process; further ones are refused with OVERLOADED.
    pub max_concurrent_syncs: usize,
    /// How long a run counts as alive after its last sign of life. It is renewed at a third of it.
    #[serde(with = "humantime_serde")]
    pub run_lease: Duration,
    /// How often a replica looks for stores whose sync is due; zero: it leaves that to the others.
    #[serde(with = "humantime_serde")]
    pub schedule_interval: Duration,
    /// How often the POS of each store is asked what is sold out, where it can be; zero: this replica leaves it to the others.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// Versions of a store that are kept; older ones are deleted.
    pub kept_versions: u32,
    /// Runs of a store that are kept.
    pub kept_runs: u32,
    /// How old the knowledge may be which version is current: a version that another replica published is served after
    /// this at the latest.
    #[serde(with = "humantime_serde")]
    pub version_max_age: Duration,
    /// Memory for current catalogs, and as much again for what is sold of them in the products, in bytes; estimated from
    /// their encoding.
    pub catalog_cache_bytes: usize,
    /// Memory for menus ready to be answered, by their encoded size.
    pub menu_cache_bytes: usize,
    /// Watch streams that one replica serves at once.
    pub max_watchers: usize,
    /// So long a watcher may leave news unread before it loses its place.
    #[serde(with = "humantime_serde")]
    pub watcher_max_lag: Duration,
}
