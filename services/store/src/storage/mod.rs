//! What the service keeps: brands and stores. A trait of intents with three implementations, all held to one contract
//! (`contract.rs`).

#[cfg(test)]
mod contract;
mod memory;
mod postgres;
mod sql;
mod sqlite;

use std::sync::Arc;

pub use posmesh_kit_db::StorageError;
use posmesh_kit_db::{Database, DatabaseConfig, DbError, Script, decode, decode_all, row_limit};
use posmesh_proto::store::v1::{Brand, Store};

pub use memory::MemoryStorage;
use postgres::PostgresStorage;
use sqlite::SqliteStorage;

/// The service's schema, step by step.
pub const MIGRATIONS: &[Script] = &[Script {
    version: 1,
    name: "brands and stores",
    postgres: include_str!("migrations/0001_postgres.sql"),
    sqlite: include_str!("migrations/0001_sqlite.sql"),
}];

/// What came of the wish to write a brand or a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Put<T> {
    /// It is durable, as returned: with its new revision.
    Written(T),
    /// Its revision is another one than the writer thinks. Nothing is written.
    Conflict {
        /// The revision that is there; 0 if nothing is.
        current: i64,
    },
    /// The brand that the store names is not there. Nothing is written.
    NoSuchBrand,
}

/// A store and the number of the change that made it what it is. Numbers ascend within a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedStore {
    /// From 1. Not every number belongs to a store.
    pub change: i64,
    /// As it is now.
    pub store: Store,
}

/// The storage of the store service. Everything belongs to a tenant.
#[tonic::async_trait]
pub trait Storage: Send + Sync + std::fmt::Debug + 'static {
    /// Creates or replaces a brand, if the revision in it allows that: 0 creates, -1 replaces whatever is there, another
    /// one must be the current.
    async fn put_brand(&self, tenant_id: &str, brand: Brand) -> Result<Put<Brand>, StorageError>;

    /// A brand.
    async fn brand(&self, tenant_id: &str, brand_id: &str) -> Result<Option<Brand>, StorageError>;

    /// Brands whose id is greater than `after`, by id.
    async fn brands(&self, tenant_id: &str, after: &str, limit: usize) -> Result<Vec<Brand>, StorageError>;

    /// Creates or replaces a store, as `put_brand`, and gives it the tenant's next change number. Changes become visible
    /// in the order of their numbers.
    async fn put_store(&self, tenant_id: &str, store: Store) -> Result<Put<Store>, StorageError>;

    /// A store.
    async fn store(&self, tenant_id: &str, store_id: &str) -> Result<Option<Store>, StorageError>;

    /// Stores, of one brand or all, whose id is greater than `after`, by id.
    async fn stores(
        &self,
        tenant_id: &str,
        brand_id: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Store>, StorageError>;

    /// Stores whose change number is greater than `after`, by that number; each store once, as it is now. Fewer than
    /// `limit`: these are all.
    async fn changed_stores(
        &self,
        tenant_id: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ChangedStore>, StorageError>;

    /// The greatest change number given so far; 0 before the first.
    async fn last_change(&self, tenant_id: &str) -> Result<i64, StorageError>;
}

/// Opens the service's storage on PostgreSQL or SQLite and brings its schema up to date.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Storage>, DbError> {
    Ok(match Database::open(config, "store", MIGRATIONS).await? {
        Database::Postgres(pool) => Arc::new(PostgresStorage::new(pool)),
        Database::Sqlite(pool) => Arc::new(SqliteStorage::new(pool)),
    })
}

/// The rule of revisions: the next one, or the current one in conflict with what the writer thinks. 0 is nothing there.
fn next_revision(current: i64, expected: i64) -> Result<i64, i64> {
    if expected == -1 || expected == current { Ok(current + 1) } else { Err(current) }
}

fn decode_one<M: prost::Message + Default>(row: Option<(Vec<u8>,)>) -> Result<Option<M>, StorageError> {
    row.map(|(document,)| decode(&document)).transpose()
}

fn decode_changed(rows: Vec<(i64, Vec<u8>)>) -> Result<Vec<ChangedStore>, StorageError> {
    rows.into_iter().map(|(change, document)| Ok(ChangedStore { change, store: decode(&document)? })).collect()
}
