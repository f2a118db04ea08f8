//! What the service keeps: adapter instances under their leases, what their vendors can do, connections and their links. A trait of
//! intents with three implementations, all held to one contract (`contract.rs`).

#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_links;
mod links;
mod memory;
mod postgres;
mod sql;
mod sqlite;

use std::{sync::Arc, time::Duration};

use posmesh_kit_db::{Database, DatabaseConfig, DbError, Script, StorageError, decode};
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    router::v1::{Connection, LinkEvent, RegisterAdapterRequest},
};

use crate::{domain, sealing::Sealed};

pub use links::{NewLink, StoredLink};

pub use memory::MemoryStorage;
use postgres::PostgresStorage;
use sqlite::SqliteStorage;

/// The service's schema, step by step.
pub const MIGRATIONS: &[Script] = &[
    Script {
        version: 1,
        name: "instances and connections",
        postgres: include_str!("migrations/0001_postgres.sql"),
        sqlite: include_str!("migrations/0001_sqlite.sql"),
    },
    Script {
        version: 2,
        name: "former connections",
        postgres: include_str!("migrations/0002_postgres.sql"),
        sqlite: include_str!("migrations/0002_sqlite.sql"),
    },
    Script {
        version: 3,
        name: "links",
        postgres: include_str!("migrations/0003_postgres.sql"),
        sqlite: include_str!("migrations/0003_sqlite.sql"),
    },
];

/// How long an instance is kept whose lease has ended: long enough to be looked at, not to pile up.
const KEEP_DEAD_INSTANCES: Duration = Duration::from_secs(3600);

/// How long the way to a POS is kept that a connection does not lead to any more: longer than an order is unsettled.
const KEEP_FORMER_CONNECTIONS: Duration = Duration::from_secs(7 * 24 * 3600);

/// An instance whose lease has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveInstance {
    /// What it said of itself last.
    pub registration: RegisterAdapterRequest,
    /// Counts its registrations: a greater one is a later one.
    pub renewals: i64,
    /// When its lease ends, by the database's clock.
    pub lease_expire_ms: i64,
}

/// A connection as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConnection {
    /// Without credentials.
    pub connection: Connection,
    /// `None`: it holds no credentials.
    pub credentials: Option<Sealed>,
}

/// A connection that was written, and the number of that change. Numbers ascend over all tenants.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedConnection {
    /// From 1. Not every number belongs to a connection.
    pub change: i64,
    /// The brand owner.
    pub tenant_id: String,
    /// Unique in the tenant.
    pub connection_id: String,
    /// As it is now; `None`: deleted.
    pub stored: Option<StoredConnection>,
}

/// What came of the wish to write a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Put {
    /// It is durable, as returned: with its new revision.
    Written(Connection),
    /// Its revision is another one than the writer thinks. Nothing is written.
    Conflict {
        /// The revision that is there; 0 if nothing is.
        current: i64,
    },
    /// Another connection of the store serves the same product and mode. Nothing is written.
    Overlaps {
        /// That one.
        connection_id: String,
    },
}

/// The storage of the router. Instances belong to the platform, connections to a tenant. Leases run on the database's
/// clock, so that replicas need not agree on the time.
#[tonic::async_trait]
pub trait Storage: Send + Sync + std::fmt::Debug + 'static {
    /// Adds an instance, or renews it, for `lease` from now; and remembers its descriptor as the vendor's. The request
    /// has a descriptor.
    async fn register(&self, registration: &RegisterAdapterRequest, lease: Duration) -> Result<(), StorageError>;

    /// Takes an instance out. An unknown one is no error.
    async fn deregister(&self, instance_id: &str) -> Result<(), StorageError>;

    /// Instances whose lease has not ended, by id.
    async fn live_instances(&self) -> Result<Vec<LiveInstance>, StorageError>;

    /// The last descriptor of every vendor that ever registered.
    async fn descriptors(&self) -> Result<Vec<AdapterDescriptor>, StorageError>;

    /// Writes a connection if the one that is there has the revision in it (0: none is there) and no other of its store
    /// overlaps it. Its revision becomes the next one, also over a deletion; `pos_revision` follows if it leads to another
    /// POS, and what it was is kept for a while. Changes become visible in the order of their numbers.
    async fn put_connection(&self, tenant_id: &str, stored: StoredConnection) -> Result<Put, StorageError>;

    /// Deletes a connection and its link; what it was is kept for a while. `false`: there is none.
    async fn delete_connection(&self, tenant_id: &str, connection_id: &str) -> Result<bool, StorageError>;

    /// A connection.
    async fn connection(&self, tenant_id: &str, connection_id: &str) -> Result<Option<StoredConnection>, StorageError>;

    /// What a connection was at a revision, if it has led to another POS since, or to none, and not for too long.
    async fn former_connection(
        &self,
        tenant_id: &str,
        connection_id: &str,
        revision: i64,
    ) -> Result<Option<StoredConnection>, StorageError>;

    /// Connections, of one store or all (empty), whose id is greater than `after`, by id.
    async fn connections(
        &self,
        tenant_id: &str,
        store_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Connection>, StorageError>;

    /// Connections of all tenants whose change number is greater than `after`, by that number; each once, as it is now.
    /// Fewer than `limit`: these are all.
    async fn changed_connections(&self, after: i64, limit: usize) -> Result<Vec<ChangedConnection>, StorageError>;

    /// Writes each link if what is there is what it replaces, and its connection exists; none is given twice. Answers for each, in order, with
    /// the number of its change, `None` where it was not written. Changes become visible in the order of their numbers.
    async fn put_links(&self, links: &[NewLink]) -> Result<Vec<Option<i64>>, StorageError>;

    /// Links of all tenants whose change number is greater than `after`, by that number; each once, as it is now. Fewer
    /// than `limit`: these are all. A link that went with its connection is not told.
    async fn changed_links(&self, after: i64, limit: usize) -> Result<Vec<StoredLink>, StorageError>;

    /// The last change number of links that was given, whether or not that link is still there; 0: none was. All up to it
    /// can be read.
    async fn last_link_change(&self) -> Result<i64, StorageError>;

    /// The changes of a link below a version, the newest first.
    async fn link_events(
        &self,
        tenant_id: &str,
        connection_id: &str,
        below: i64,
        limit: usize,
    ) -> Result<Vec<LinkEvent>, StorageError>;

    /// Says that a replica of the router lives, for `lease` from now. Returns those that do, by id.
    async fn renew_replica(&self, replica_id: &str, lease: Duration) -> Result<Vec<String>, StorageError>;

    /// Takes a replica out. An unknown one is no error.
    async fn drop_replica(&self, replica_id: &str) -> Result<(), StorageError>;
}

/// Opens the service's storage on PostgreSQL or SQLite and brings its schema up to date.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Storage>, DbError> {
    Ok(match Database::open(config, "router", MIGRATIONS).await? {
        Database::Postgres(pool) => Arc::new(PostgresStorage::new(pool)),
        Database::Sqlite(pool) => Arc::new(SqliteStorage::new(pool)),
    })
}

/// The rule of writing, the same on every storage: what is to be written, or why nothing is. `last` is the last revision
/// under the id, `live` what is there now; `others` are the live connections of the store, maybe with this one among
/// them.
fn next_connection(connection: Connection, last: i64, live: Option<&Connection>, others: &[Connection]) -> Put {
    let current = live.map_or(0, |live| live.revision);
    if connection.revision != current {
        return Put::Conflict { current };
    }
    let overlapping = others
        .iter()
        .find(|other| other.connection_id != connection.connection_id && domain::overlaps(other, &connection));
    match overlapping {
        Some(other) => Put::Overlaps { connection_id: other.connection_id.clone() },
        None => {
            let revision = last + 1;
            let same = live.filter(|live| domain::is_same_pos(live, &connection));
            Put::Written(Connection {
                revision,
                pos_revision: same.map_or(revision, domain::pos_revision),
                ..connection
            })
        }
    }
}

/// What is there under an id, and whether a write makes it a former one.
fn becomes_former(live: Option<StoredConnection>, written: &Connection) -> Option<StoredConnection> {
    live.filter(|live| domain::pos_revision(&live.connection) != domain::pos_revision(written))
}

type Row = (i64, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);

/// The last revision under an id, and what is live there.
fn last_and_live(row: Option<Row>) -> Result<(i64, Option<StoredConnection>), StorageError> {
    let Some((last, document, key, sealed)) = row else { return Ok((0, None)) };
    Ok((last, document.map(|document| stored((document, key, sealed))).transpose()?))
}

type ConnectionRow = (Vec<u8>, Option<String>, Option<Vec<u8>>);
type ChangedRow = (i64, String, String, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);

fn stored((document, key_id, ciphertext): ConnectionRow) -> Result<StoredConnection, StorageError> {
    let credentials = key_id.zip(ciphertext).map(|(key_id, ciphertext)| Sealed { key_id, ciphertext });
    Ok(StoredConnection { connection: decode(&document)?, credentials })
}

fn changed(
    (change, tenant_id, connection_id, document, key, sealed): ChangedRow,
) -> Result<ChangedConnection, StorageError> {
    let stored = document.map(|document| stored((document, key, sealed))).transpose()?;
    Ok(ChangedConnection { change, tenant_id, connection_id, stored })
}

fn live((document, renewals, lease_expire_ms): (Vec<u8>, i64, i64)) -> Result<LiveInstance, StorageError> {
    Ok(LiveInstance { registration: decode(&document)?, renewals, lease_expire_ms })
}
