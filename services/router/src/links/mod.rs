//! The links of all connections: what this replica sees of them, what is kept, and who is told.
//!
//! Every replica holds every link. Each connection belongs to one live replica, which probes it; another one probes only
//! to confirm a call that failed on it. What changes is written under the revision that it replaces, and told to watchers
//! when it is read back, so that all replicas tell the same changes in the same order.
//!
//! [`judge`] reads answers, `hours` knows which stores are open, `table` is the state in memory, `prober` looks, `keeper` writes and reads, `watch` tells,
//! `serve` answers calls.

mod hours;
pub(crate) mod judge;
mod keeper;
mod prober;
mod serve;
mod table;
mod vendor;
mod watch;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posmesh_kit::{ambient, store_cache::StoreCache, telemetry::Durations, time};
use posmesh_proto::router::v1::LinkEvidenceKind;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    caller::Caller,
    config::Config,
    domain::link::{Pace, Seen},
    snapshot::Way,
    storage::Storage,
};

use hours::OpeningTimes;
use table::{Key, Noted, Table};

pub(crate) struct Links {
    replica_id: String,
    /// How often the database is read.
    refresh_interval: Duration,
    max_watcher_lag: Duration,
    storage: Arc<dyn Storage>,
    caller: Arc<Caller>,
    table: Mutex<Table>,
    hours: OpeningTimes,
    /// The times at which probes are due have changed.
    replanned: Notify,
    /// There is something to be written.
    dirty: Notify,
    /// One reading of the database at a time, so that changes are taken in their order.
    reading: tokio::sync::Mutex<()>,
    /// How long after they were due probes begin.
    lateness: Durations,
    /// Places for watchers.
    places: Arc<Semaphore>,
    watchers: watch::Watchers,
    stop: CancellationToken,
}

impl Links {
    pub(crate) fn new(
        config: &Config,
        storage: Arc<dyn Storage>,
        caller: Arc<Caller>,
        stores: Option<StoreCache>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let replica_id = ambient::new_id().to_string();
        let pace = Pace { interval: config.probe_interval, timeout: config.probe_timeout };
        Arc::new(Self {
            table: Mutex::new(Table::new(&replica_id, pace)),
            hours: OpeningTimes::new(stores),
            replica_id,
            refresh_interval: config.refresh_interval,
            max_watcher_lag: config.watcher_max_lag,
            storage,
            caller,
            replanned: Notify::new(),
            dirty: Notify::new(),
            reading: tokio::sync::Mutex::default(),
            lateness: Durations::new("router.probe.lateness", "Time from when a probe is due to when it begins"),
            places: Arc::new(Semaphore::new(config.max_watchers)),
            watchers: watch::Watchers::default(),
            stop,
        })
    }

    /// Reads, probes and writes until the router stops.
    pub(crate) fn start(self: &Arc<Self>, tasks: &TaskTracker) {
        tasks.spawn(Arc::clone(self).keep_fresh());
        tasks.spawn(Arc::clone(self).keep_written());
        tasks.spawn(Arc::clone(self).keep_probing(tasks.clone()));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a forwarded call told of a connection.
    pub(crate) fn saw_call(&self, way: &Way, seen: Option<Seen>) {
        if let Some(seen) = seen {
            self.saw(way, LinkEvidenceKind::Call, seen);
        }
    }

    /// Takes in what was seen of a connection, unless it leads to another POS by now.
    fn saw(&self, way: &Way, kind: LinkEvidenceKind, seen: Seen) {
        let key = Key::of(way);
        let noted = self.table().saw(&key, way, kind, seen, time::now_unix_ms(), Instant::now());
        self.noted(noted);
    }

    fn noted(&self, noted: Noted) {
        if noted.changed {
            self.dirty.notify_one();
        }
        if noted.sooner {
            self.replanned.notify_one();
        }
    }
}
