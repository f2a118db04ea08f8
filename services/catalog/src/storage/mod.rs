//! What the service keeps: versions, runs, and what is said beside the versions. A trait of intents with three implementations, all held to one contract
//! (`contract.rs`).

#[cfg(test)]
mod contract;
mod memory;
mod overlays;
mod postgres;
mod reviews;
mod rules;
mod sql;
mod sqlite;

use std::{sync::Arc, time::Duration};

pub use posmesh_kit_db::StorageError;
use posmesh_kit_db::{Database, DatabaseConfig, DbError, Script, decode, decode_all, millis, row_limit};
use posmesh_proto::{
    catalog::v1::{Availability, Catalog, CatalogProblem, CatalogVersion, Decision, SyncRun},
    store::v1::ChangedItems,
};
use prost::Message as _;

use crate::domain;

pub use crate::domain::Content;
pub use memory::MemoryStorage;
pub use overlays::{MAX_OVERLAYS, OverlaySet, OverlayStorage, ScopeKey, Written};
use postgres::PostgresStorage;
pub use reviews::{ReviewStorage, Reviewed};
use sqlite::SqliteStorage;

/// The service's schema, step by step.
pub const MIGRATIONS: &[Script] = &[
    Script {
        version: 1,
        name: "versions and runs",
        postgres: include_str!("migrations/0001_postgres.sql"),
        sqlite: include_str!("migrations/0001_sqlite.sql"),
    },
    Script {
        version: 2,
        name: "heads: what waits for approval, and what was refused",
        postgres: include_str!("migrations/0002_postgres.sql"),
        sqlite: include_str!("migrations/0002_sqlite.sql"),
    },
    Script {
        version: 3,
        name: "schedule of syncs",
        postgres: include_str!("migrations/0003_postgres.sql"),
        sqlite: include_str!("migrations/0003_sqlite.sql"),
    },
    Script {
        version: 4,
        name: "availability beside the versions",
        postgres: include_str!("migrations/0004_postgres.sql"),
        sqlite: include_str!("migrations/0004_sqlite.sql"),
    },
    Script {
        version: 5,
        name: "overlays",
        postgres: include_str!("migrations/0005_postgres.sql"),
        sqlite: include_str!("migrations/0005_sqlite.sql"),
    },
    Script {
        version: 6,
        name: "items that wait for a review",
        postgres: include_str!("migrations/0006_postgres.sql"),
        sqlite: include_str!("migrations/0006_sqlite.sql"),
    },
    Script {
        version: 7,
        name: "when overlays changed",
        postgres: include_str!("migrations/0007_postgres.sql"),
        sqlite: include_str!("migrations/0007_sqlite.sql"),
    },
    Script {
        version: 8,
        name: "what was said beside the versions before",
        postgres: include_str!("migrations/0008_postgres.sql"),
        sqlite: include_str!("migrations/0008_sqlite.sql"),
    },
];

/// Most changed stores that one look reads.
const CHANGED_LIMIT: i64 = 10_000;

/// Changes of what is said of a store that are kept, by its revision.
const KEPT_REVISIONS: i64 = 256;

/// Most stores whose words one sweep ends.
const ENDING_LIMIT: i64 = 1_000;

/// Most dead runs that one sweep ends.
const SWEEP_LIMIT: i64 = 100;

/// A store of a tenant: what every row is keyed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreKey {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// Unique in the tenant.
    pub store_id: Arc<str>,
}

/// What stands at the head of what a store sells. A greater one is newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferHead {
    /// The current version of what the POS gave; 0 before the first one.
    pub version: i64,
    /// Grows with each change of what is said beside the versions; 0: nothing was ever said.
    pub revision: i64,
}

/// What came of the wish to begin a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// The run is ours, leased.
    Started,
    /// Another one is under way.
    Running(Box<SyncRun>),
}

/// How content compares with a current version.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// The version that it was compared with; `None`: there was none.
    pub base_version: Option<i64>,
    /// Why it waits for approval; empty: it does not.
    pub suspicions: Vec<CatalogProblem>,
    /// What the store wants for items that change with it.
    pub changed_items: ChangedItems,
}

/// What came of the wish to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Published {
    /// The run, ended: PUBLISHED, UNCHANGED, WAITING_APPROVAL or REJECTED.
    Ended(Box<SyncRun>),
    /// The run has been ended by somebody else. Nothing was written.
    LeaseLost,
    /// Another version is current than the content was compared with. Nothing was written.
    BaseMoved,
}

/// Who says what about availability.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// One thing, by the staff, in the place of what they said of it before; that it is available takes their word back.
    Staff(Box<Availability>),
    /// All that the POS says by now, in the place of all that it said before.
    Pos(Vec<Availability>),
    /// All that the POS counted, in the place of all that it counted before.
    Counted(Vec<Availability>),
}

/// The storage of the catalog service. Leases run on the storage's own clock, so that replicas need not agree on the time.
#[tonic::async_trait]
pub trait Storage: OverlayStorage + ReviewStorage + std::fmt::Debug + 'static {
    /// Records a run as RUNNING and leases the store's one place for it, unless a live run has it. A dead one there is
    /// ended as FAILED first.
    async fn begin_run(&self, key: &StoreKey, run: &SyncRun, lease: Duration) -> Result<Begun, StorageError>;

    /// Prolongs the lease. `false`: the run has been ended by somebody else, and must stop.
    async fn renew_run(&self, key: &StoreKey, run_id: &str, lease: Duration) -> Result<bool, StorageError>;

    /// Records how a run ended that published nothing, and frees its place. `false`: as in `renew_run`, nothing is
    /// recorded.
    async fn end_run(&self, key: &StoreKey, run: &SyncRun) -> Result<bool, StorageError>;

    /// Ends a run whose data is right, and in the same transaction makes the next version of its content, or keeps it for
    /// approval, if it differs from the current one. Whatever waited before is superseded.
    async fn publish(
        &self,
        key: &StoreKey,
        run: &SyncRun,
        content: Content,
        judged: &Judged,
    ) -> Result<Published, StorageError>;

    /// Publishes what waits for approval, with what the store wants for items that change with it, or refuses it. Returns its run; `None`: this run does not wait, and nothing was
    /// written.
    async fn decide(
        &self,
        key: &StoreKey,
        run_id: &str,
        approve: bool,
        decision: &Decision,
        changed_items: ChangedItems,
    ) -> Result<Option<SyncRun>, StorageError>;

    /// Makes the content of a version current again, as the next version, unless it is; what was current is refused until
    /// the POS sends something else. Returns the current version; `None`: there is no such version.
    async fn rollback(
        &self,
        key: &StoreKey,
        version: i64,
        decision: &Decision,
    ) -> Result<Option<CatalogVersion>, StorageError>;

    /// Ends the runs of all tenants whose lease has run out as FAILED, a bounded number at once. Returns how many.
    async fn end_dead_runs(&self) -> Result<u64, StorageError>;

    /// Makes a store's sync due within this time at the latest.
    async fn plan_sync(&self, key: &StoreKey, within: Duration) -> Result<(), StorageError>;

    /// Makes a store's next sync due in this time.
    async fn plan_next_sync(&self, key: &StoreKey, after: Duration) -> Result<(), StorageError>;

    /// Stores whose sync is due, at most `limit`, the longest due first. Nobody else gets them for the time of `lease`;
    /// after that they are due again, unless the next one was planned.
    async fn claim_syncs(&self, limit: usize, lease: Duration) -> Result<Vec<StoreKey>, StorageError>;

    /// Makes a store's POS be asked within this time what is sold out, unless that is planned.
    async fn plan_poll(&self, key: &StoreKey, within: Duration) -> Result<(), StorageError>;

    /// Makes a store's POS be asked next in this time, and notes the fingerprint that was seen.
    async fn plan_next_poll(&self, key: &StoreKey, after: Duration, fingerprint: &str) -> Result<(), StorageError>;

    /// Stores whose POS is to be asked now, at most `limit`, with the fingerprint that was seen last; as `claim_syncs`.
    async fn claim_polls(&self, limit: usize, lease: Duration) -> Result<Vec<(StoreKey, String)>, StorageError>;

    /// Deletes versions and ended runs of a store beyond the newest ones. A run that waits for approval stays.
    async fn prune(&self, key: &StoreKey, versions: u32, runs: u32) -> Result<(), StorageError>;

    /// A run.
    async fn run(&self, tenant_id: &str, run_id: &str) -> Result<Option<SyncRun>, StorageError>;

    /// Runs of a store whose id is less than `before`, newest first.
    async fn runs(&self, key: &StoreKey, before: &str, limit: usize) -> Result<Vec<SyncRun>, StorageError>;

    /// What is current; `None` before the first version.
    async fn head(&self, key: &StoreKey) -> Result<Option<OfferHead>, StorageError>;

    /// The stores, of all tenants, whose head changed within the last `within` on the storage's clock, a bounded number, the
    /// latest first.
    async fn changed_heads(&self, within: Duration) -> Result<Vec<(StoreKey, OfferHead)>, StorageError>;

    /// What is said of a store's items and choices beside the versions, by group and id.
    async fn availability(&self, key: &StoreKey) -> Result<Vec<Availability>, StorageError>;

    /// What was said at the first of two revisions, the second of which is, or was, current. `None`: that is not kept any
    /// more, or in between something else changed than what is said.
    async fn availability_at(
        &self,
        key: &StoreKey,
        revisions: (i64, i64),
    ) -> Result<Option<Vec<Availability>>, StorageError>;

    /// Notes words about availability, and makes the head move. `false`: they are no news, and nothing was written.
    async fn say_availability(&self, key: &StoreKey, said: &Said) -> Result<bool, StorageError>;

    /// Forgets the words of all tenants whose time is over on the storage's clock, those of a bounded number of stores.
    /// Returns the stores.
    async fn end_availability(&self) -> Result<Vec<StoreKey>, StorageError>;

    /// A version.
    async fn catalog(&self, key: &StoreKey, version: i64) -> Result<Option<Catalog>, StorageError>;

    /// Versions of a store less than `before`, newest first.
    async fn versions(&self, key: &StoreKey, before: i64, limit: usize) -> Result<Vec<CatalogVersion>, StorageError>;
}

/// Opens the service's storage on PostgreSQL or SQLite and brings its schema up to date.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Storage>, DbError> {
    Ok(match Database::open(config, "catalog", MIGRATIONS).await? {
        Database::Postgres(pool) => Arc::new(PostgresStorage::new(pool)),
        Database::Sqlite(pool) => Arc::new(SqliteStorage::new(pool)),
    })
}

/// The document of a run that died, ended.
fn interrupted(document: &[u8]) -> Result<Vec<u8>, StorageError> {
    Ok(domain::interrupted(decode(document)?).encode_to_vec())
}
