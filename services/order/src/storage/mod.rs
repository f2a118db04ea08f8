//! What the service keeps: orders, their events, checks, guests' contacts. A trait of intents with three
//! implementations, all held to one contract (`contract.rs`).
//!
//! One number fences everything: an order's `version`. Whoever wants to change an order names the version that it read;
//! a claim by another replica counts it up, so the old owner's write fails.
//!
//! An order's `due` is the moment after which any replica may claim it: for an attempt under way the end of its lease,
//! otherwise the time of its next step. It runs on the storage's own clock.

mod batch;
mod checks;
#[cfg(test)]
mod contract;
mod errands;
mod gates;
mod grouped;
mod memory;
mod postgres;
mod rounds;
mod rows;
mod sql;
mod sqlite;
mod time;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posmesh_kit_db::{Database, DatabaseConfig, DbError, Script};
use posmesh_proto::order::v1::{Attempt, Check, GuestContact, Order, OrderState};

pub use checks::{CheckChanged, CheckFilter, CheckStorage, DueCheck, Split};
pub use errands::{Errand, ErrandKind, Next, Wake};
pub use gates::{
    GateFacts, GateStorage, HeldOrders, Holder, LetThrough, Offline, Pace, Probation, ProbationClaim, Troubled,
};
pub use grouped::GroupedWrites;
pub use memory::MemoryStorage;
use postgres::PostgresStorage;
use sqlite::SqliteStorage;
pub use time::{SlotPlace, TimeStorage, Turn, TurnTaken};

/// The service's schema, step by step.
pub const MIGRATIONS: &[Script] = &[
    Script {
        version: 1,
        name: "orders and checks",
        postgres: include_str!("migrations/0001_postgres.sql"),
        sqlite: include_str!("migrations/0001_sqlite.sql"),
    },
    Script {
        version: 2,
        name: "orders that need a person",
        postgres: include_str!("migrations/0002_postgres.sql"),
        sqlite: include_str!("migrations/0002_sqlite.sql"),
    },
    Script {
        version: 3,
        name: "checks at the POS",
        postgres: include_str!("migrations/0003_postgres.sql"),
        sqlite: include_str!("migrations/0003_sqlite.sql"),
    },
    Script {
        version: 4,
        name: "pickup slots and completion by time",
        postgres: include_str!("migrations/0004_postgres.sql"),
        sqlite: include_str!("migrations/0004_sqlite.sql"),
    },
    Script {
        version: 5,
        name: "errands",
        postgres: include_str!("migrations/0005_postgres.sql"),
        sqlite: include_str!("migrations/0005_sqlite.sql"),
    },
    Script {
        version: 6,
        name: "indexes that begin with what differs",
        postgres: include_str!("migrations/0006_postgres.sql"),
        sqlite: include_str!("migrations/0006_sqlite.sql"),
    },
    Script {
        version: 7,
        name: "gates",
        postgres: include_str!("migrations/0007_postgres.sql"),
        sqlite: include_str!("migrations/0007_sqlite.sql"),
    },
];

/// Contacts that one call erases.
const ERASE_LIMIT: i64 = 1000;

/// An order to be taken.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// Who placed it. With `request_id` unique in the tenant.
    pub caller: Arc<str>,
    /// Chosen by the caller.
    pub request_id: String,
    /// Of the normalized command; the same request_id with another one is refused.
    pub request_hash: Vec<u8>,
    /// Version 1. The storage sets `display_number`, and for a round `round`, `table_id`, `party_size`. A round's state
    /// and first attempt are set as if it could be sent at once; the storage makes it HELD, without an attempt, if the
    /// round before it is still in flight.
    pub order: Order,
    /// When it falls due as it is: the length of its attempt's lease, or the time until it fires.
    pub lease: Duration,
    /// When it falls due if it must wait for the round before it.
    pub hold: Duration,
    /// When it is over if the POS has it by then and tells no end. `None`: never by itself.
    pub complete_in: Option<Duration>,
    /// The place that it needs in its pickup slot.
    pub slot: Option<SlotPlace>,
    /// Kept apart from the order, under its `guest_contact_id`.
    pub contact: Option<GuestContact>,
}

impl NewOrder {
    /// Unique to a command.
    fn key(&self) -> (Arc<str>, Arc<str>, String) {
        (Arc::clone(&self.tenant_id), Arc::clone(&self.caller), self.request_id.clone())
    }
}

/// What came of the wish to take an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Placement {
    /// It is durable. A round comes with its check.
    Taken {
        /// As it was stored.
        order: Box<Order>,
        /// The check that it is a round of.
        check: Option<Box<Check>>,
    },
    /// The request_id is known.
    Known {
        /// The order that has it, as it is now.
        order: Box<Order>,
        /// Whether the command is the same. True for an order that was cancelled before it was seen.
        same_request: bool,
    },
    /// There is no such check.
    CheckNotFound,
    /// The check takes no more rounds.
    CheckClosed(Box<Check>),
    /// The check stands at another POS than the order would go to.
    CheckElsewhere(Box<Check>),
    /// There is no place left in its pickup slot.
    SlotFull,
}

/// The order that has a request_id.
#[derive(Debug, Clone, PartialEq)]
pub struct Requested {
    /// As it is now.
    pub order: Order,
    /// Of the command that it was placed by. Empty: it was cancelled before it was seen.
    pub request_hash: Vec<u8>,
}

impl Requested {
    /// Whether a command with this hash is the one that the order was placed by, or that was cancelled before.
    pub fn is_same(&self, request_hash: &[u8]) -> bool {
        self.request_hash.is_empty() || self.request_hash == request_hash
    }
}

/// A change of one order.
#[derive(Debug, Clone)]
pub struct OrderChange {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// The order as it shall be; its `version` is one above the version that it replaces.
    pub order: Order,
    /// When any replica may claim it; `None`: never again by itself.
    pub due_in: Option<Duration>,
    /// For a round: what to do with its check when it is no longer in flight.
    pub check: CheckChange,
}

impl OrderChange {
    /// Unique to an order.
    fn key(&self) -> (Arc<str>, String) {
        (Arc::clone(&self.tenant_id), self.order.order_id.clone())
    }
}

/// What the end of a round does to its check.
#[derive(Debug, Clone, Default)]
pub struct CheckChange {
    /// The POS's id of the check, noted if the check has none.
    pub pos_check_reference: String,
    /// The connection that the reference belongs to.
    pub connection_id: String,
    /// The POS says that the check is closed.
    pub closed_at_pos: bool,
    /// How the next round that waits is begun: its first attempt, numbered by the storage, and its lease. Without it the
    /// turn passes on all the same: the next round stays HELD and falls due at once.
    pub next_attempt: Option<(Attempt, Duration)>,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// It is durable. If the end of this round let the next one go: that one, SENDING with its attempt, with the check.
    Done {
        /// The next round.
        next_round: Option<Box<(Order, Check)>>,
    },
    /// The order has another version by now: this one.
    Conflict(Box<Order>),
    /// There is no such order.
    Missing,
}

/// An order that fell due, claimed by this replica: its version has been counted up.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// The order.
    pub order: Order,
    /// The check that it is a round of.
    pub check: Option<Check>,
}

/// What a reader knows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// Which.
    pub order_id: Arc<str>,
    /// Of these, the version that was read; 0: none.
    pub version: i64,
}

/// How many orders a replica can take up. One store's many never take the places of another's few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub orders: usize,
    /// Of each store that is not among `stores`.
    pub per_store: usize,
    /// Tenants and stores of which some are under way, and how many more there is room for.
    pub stores: Vec<(Arc<str>, String, usize)>,
}

impl Room {
    /// For so many, of whichever stores.
    pub fn of(orders: usize) -> Self {
        Self { orders, per_store: orders, stores: Vec::new() }
    }

    /// How many are looked at, to find some of stores that have room.
    fn look_at(&self) -> usize {
        self.orders.saturating_mul(4)
    }

    fn of_store(&self, tenant_id: &str, store_id: &str) -> usize {
        let known = self.stores.iter().find(|(tenant, store, _)| (&**tenant, store.as_str()) == (tenant_id, store_id));
        known.map_or(self.per_store, |(.., room)| *room)
    }
}

/// Which orders to list; all conditions together.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// The store.
    pub store_id: String,
    /// Empty: all.
    pub states: Vec<OrderState>,
    /// Inclusive, milliseconds since the epoch.
    pub created_from_ms: Option<i64>,
    /// Exclusive, likewise.
    pub created_before_ms: Option<i64>,
    /// Empty: all.
    pub check_id: String,
    /// Only those that need a person.
    pub needs_person: bool,
    /// Continue after this one: its creation time in milliseconds and its id.
    pub after: Option<(i64, String)>,
    /// At most so many.
    pub limit: usize,
}

/// Why the storage did not do it.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StorageError {
    /// Nothing was written.
    #[error("the database refused: {0}")]
    Refused(String),
    /// The write may have taken effect.
    #[error("the database did not confirm: {0}")]
    Ambiguous(String),
    /// What is stored cannot be read.
    #[error("what is stored about {what} cannot be read: {message}")]
    Corrupt {
        /// The order or check.
        what: String,
        /// Why.
        message: String,
    },
}

/// The storage of the order service.
#[tonic::async_trait]
pub trait Storage: CheckStorage + TimeStorage + GateStorage {
    /// Takes orders: each is inserted with its event, its number, its place among the rounds of its check and its
    /// lease, in one transaction. One answer for each, in order. Two of one batch with the same request_id: the first is
    /// taken, the second is Known.
    async fn place_batch(&self, orders: Vec<NewOrder>) -> Vec<Result<Placement, StorageError>>;

    /// Changes orders, each if its version is the one expected, and adds an event. When a round is no longer in flight
    /// its check lets the next HELD one go, in the same transaction. One answer for each, in order.
    async fn change_batch(&self, changes: Vec<OrderChange>) -> Vec<Result<Changed, StorageError>>;

    /// Claims orders of any tenant that fell due, as many as there is room for, oldest first, for `lease`. Never two
    /// replicas the same.
    async fn claim_due(&self, replica: &str, lease: Duration, room: &Room) -> Result<Vec<Claimed>, StorageError>;

    /// Leaves an order as it is, gives up its lease, and lets it fall due later, or never (`None`); only if its version is
    /// this one, and it has not been laid to rest. Returns whether it was.
    async fn put_off(
        &self,
        tenant_id: &str,
        order_id: &str,
        version: i64,
        due_in: Option<Duration>,
    ) -> Result<bool, StorageError>;

    /// An order.
    async fn order(&self, tenant_id: &str, order_id: &str) -> Result<Option<Order>, StorageError>;

    /// Those of these orders that have a newer version by now, in any order.
    async fn newer(&self, known: &[Known]) -> Result<Vec<Order>, StorageError>;

    /// The orders of a tenant that need a person, with their versions, by id. At most `limit`: those that wait longest.
    async fn attention(&self, tenant_id: &str, limit: usize) -> Result<BTreeMap<Arc<str>, i64>, StorageError>;

    /// The order that was placed with a request_id.
    async fn order_by_request(
        &self,
        tenant_id: &str,
        caller: &str,
        request_id: &str,
    ) -> Result<Option<Requested>, StorageError>;

    /// Newest first.
    async fn orders(&self, tenant_id: &str, filter: &OrderFilter) -> Result<Vec<Order>, StorageError>;

    /// A guest's contact.
    async fn contact(&self, tenant_id: &str, contact_id: &str) -> Result<Option<GuestContact>, StorageError>;

    /// Erases contacts older than `age`, of all tenants, a bounded number at once. Returns how many.
    async fn erase_contacts(&self, age: Duration) -> Result<u64, StorageError>;

    /// Notes reasons to do errands, each another one, by ascending tenant, connection and kind. One that rests falls due;
    /// one that is done just now is done again afterwards.
    async fn wake(&self, wakes: &[Wake]) -> Result<(), StorageError>;

    /// Claims errands of any tenant that fell due, at most `limit`, oldest first, for `lease`. Never two replicas the same.
    async fn claim_errands(&self, replica: &str, lease: Duration, limit: usize) -> Result<Vec<Errand>, StorageError>;

    /// Stores how far a claimed errand came (`since_ms`, `progress`, `failures`) and what becomes of it; only while nobody
    /// else has claimed it since. Returns whether that was so.
    async fn put_errand(&self, errand: &Errand, next: Next) -> Result<bool, StorageError>;

    /// Tells the other replicas that orders changed, as far as the database can.
    async fn announce(&self, order_ids: &[String]) -> Result<(), StorageError>;

    /// Hears what other replicas announce, until the returned receiver is dropped. `None` where there are no others.
    async fn listen(&self) -> Result<Option<tokio::sync::mpsc::Receiver<Heard>>, StorageError>;
}

/// Heard from another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These orders changed.
    Changed(Vec<String>),
    /// The connection broke for a while: anything may have changed.
    Gap,
}

/// Opens the storage that the URL names, with its schema up to date.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Storage>, DbError> {
    Ok(match Database::open(config, "order", MIGRATIONS).await? {
        Database::Postgres(pool) => Arc::new(PostgresStorage::new(pool)),
        Database::Sqlite(pool) => Arc::new(SqliteStorage::new(pool)),
    })
}
