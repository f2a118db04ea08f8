//! What the service keeps: versions and runs. A trait of intents with three implementations, all held to one contract
//! (`contract.rs`).

#[cfg(test)]
mod contract;
mod memory;
mod postgres;
mod sql;
mod sqlite;

use std::{sync::Arc, time::Duration};

use posmesh_kit::time;
pub use posmesh_kit_db::StorageError;
use posmesh_kit_db::{Database, DatabaseConfig, DbError, Script, decode, decode_all, millis, row_limit};
use posmesh_proto::catalog::v1::{Catalog, CatalogVersion, SyncRun};
use prost::Message as _;

use crate::domain;

pub use crate::domain::Content;
pub use memory::MemoryStorage;
use postgres::PostgresStorage;
use sqlite::SqliteStorage;

/// The service's schema, step by step.
pub const MIGRATIONS: &[Script] = &[Script {
    version: 1,
    name: "versions and runs",
    postgres: include_str!("migrations/0001_postgres.sql"),
    sqlite: include_str!("migrations/0001_sqlite.sql"),
}];

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

/// What came of the wish to begin a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// The run is ours, leased.
    Started,
    /// Another one is under way.
    Running(Box<SyncRun>),
}

/// The storage of the catalog service. Leases run on the storage's own clock, so that replicas need not agree on the time.
#[tonic::async_trait]
pub trait Storage: Send + Sync + std::fmt::Debug + 'static {
    /// Records a run as RUNNING and leases the store's one place for it, unless a live run has it. A dead one there is
    /// ended as FAILED first.
    async fn begin_run(&self, key: &StoreKey, run: &SyncRun, lease: Duration) -> Result<Begun, StorageError>;

    /// Prolongs the lease. `false`: the run has been ended by somebody else, and must stop.
    async fn renew_run(&self, key: &StoreKey, run_id: &str, lease: Duration) -> Result<bool, StorageError>;

    /// Records how a run ended that published nothing, and frees its place. `false`: as in `renew_run`, nothing is
    /// recorded.
    async fn end_run(&self, key: &StoreKey, run: &SyncRun) -> Result<bool, StorageError>;

    /// Ends a run whose data is right, and in the same transaction makes the next version of its content if it differs
    /// from the current one. Returns the ended run; `None` as `false` in `renew_run`, nothing is published.
    async fn publish(&self, key: &StoreKey, run: &SyncRun, content: Content) -> Result<Option<SyncRun>, StorageError>;

    /// Ends the runs of all tenants whose lease has run out as FAILED, a bounded number at once. Returns how many.
    async fn end_dead_runs(&self) -> Result<u64, StorageError>;

    /// A run.
    async fn run(&self, tenant_id: &str, run_id: &str) -> Result<Option<SyncRun>, StorageError>;

    /// Runs of a store whose id is less than `before`, newest first.
    async fn runs(&self, key: &StoreKey, before: &str, limit: usize) -> Result<Vec<SyncRun>, StorageError>;

    /// The number of the current version.
    async fn current_version(&self, key: &StoreKey) -> Result<Option<i64>, StorageError>;

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

/// What a publication writes: the ended run and, where the content is new, the version.
struct Publication {
    run: SyncRun,
    version: Option<NewVersion>,
}

struct NewVersion {
    version: i64,
    summary: CatalogVersion,
    catalog: Catalog,
    hash: Vec<u8>,
}

/// The rule of publishing, the same on every storage: `current` is the newest version with its hash.
fn publication(run: &SyncRun, content: Content, current: Option<(i64, Vec<u8>)>) -> Publication {
    let counts = domain::counts(&content.catalog);
    let latest = match current {
        Some((version, hash)) if hash == content.hash => {
            return Publication { run: domain::succeeded(run.clone(), counts, version, false), version: None };
        }
        Some((version, _)) => version,
        None => 0,
    };
    let version = latest + 1;
    let publish_time = Some(time::now());
    let summary = CatalogVersion { version, publish_time, sync_run_id: run.sync_run_id.clone(), counts: Some(counts) };
    let catalog = Catalog { version, publish_time, ..content.catalog };
    Publication {
        run: domain::succeeded(run.clone(), counts, version, true),
        version: Some(NewVersion { version, summary, catalog, hash: content.hash }),
    }
}

/// The document of a run that died, ended.
fn interrupted(document: &[u8]) -> Result<Vec<u8>, StorageError> {
    Ok(domain::interrupted(decode(document)?).encode_to_vec())
}
