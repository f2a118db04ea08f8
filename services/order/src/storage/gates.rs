//! What the storage keeps of gates: how much of each store waits or is in doubt, who is paused, and which connections are
//! on probation.

use std::{sync::Arc, time::Duration};

use posmesh_kit::time;
use posmesh_proto::order::v1::{HoldReason, Order, OrderState, Pause};
use prost::Message as _;

use super::StorageError;
use crate::domain::lifecycle::{self, entry};

/// Everything that gates hang on, of all tenants, as it is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GateFacts {
    /// Orders of the last day that are PENDING or IN_DOUBT, by store. Of older ones the staff have been told, and the POS
    /// takes orders all the same.
    pub troubled: Vec<Troubled>,
    /// Orders that wait for their connection.
    pub held: Vec<HeldOrders>,
    /// With their tenants.
    pub pauses: Vec<(Arc<str>, Pause)>,
    /// Of connections that are not open yet, or have been for a short time.
    pub probations: Vec<Probation>,
}

/// So many orders of a store in a state in which none should stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Troubled {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// The store.
    pub store_id: String,
    /// PENDING or IN_DOUBT.
    pub state: OrderState,
    /// How many.
    pub count: i64,
}

/// So many orders of a store wait for a connection: held ones, and such as the kitchen has and the POS must be told of.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOrders {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// The store.
    pub store_id: String,
    /// Of the router.
    pub connection_id: String,
    /// How many are held.
    pub count: i64,
    /// Of how many the POS must be told.
    pub entries: i64,
}

/// A connection that was seen OFFLINE.
#[derive(Debug, Clone, PartialEq)]
pub struct Offline {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// Of the router.
    pub connection_id: String,
    /// The link's, at that time.
    pub version: i64,
}

/// How far a connection is on its way back.
#[derive(Debug, Clone, PartialEq)]
pub struct Probation {
    /// The link's version when it was seen OFFLINE last.
    pub offline: Offline,
    /// It is open again if this is not below `offline.version`.
    pub opened_version: i64,
    /// The order that was let through last.
    pub holder: Option<Holder>,
}

/// An order that was let through alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// Which.
    pub order_id: String,
    /// Of the link, when it was OFFLINE before.
    pub version: i64,
    /// How long ago.
    pub age: Duration,
    /// As it is now; SENDING while the POS must still be told of one that the kitchen has. `None`: it is not stored, or
    /// not yet.
    pub state: Option<OrderState>,
}

impl Holder {
    /// It is there, so the POS takes orders again after this OFFLINE.
    pub fn proves(&self, offline_version: i64) -> bool {
        self.version >= offline_version && self.state.is_some_and(lifecycle::is_there)
    }

    /// Nobody may follow it yet. One that is not stored counts for `lease`.
    pub fn blocks(&self, lease: Duration) -> bool {
        match self.state {
            Some(state) => lifecycle::is_in_flight(state),
            None => self.age < lease,
        }
    }
}

/// The wish to let an order through.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbationClaim {
    /// After which OFFLINE of which connection.
    pub offline: Offline,
    /// The order, which need not be stored yet.
    pub order_id: String,
    /// So long it is waited for if it is not.
    pub lease: Duration,
}

/// What came of the wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetThrough {
    /// It may go, and no other one until it has ended.
    Alone,
    /// Another one is under way.
    NotYet,
    /// One is there by now: nobody needs to ask any more.
    Open,
}

/// How held orders go, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// When the first one falls due.
    pub first_in: Duration,
    /// Between two.
    pub gap: Duration,
    /// At most so many.
    pub limit: usize,
}

/// The part of the storage that is about gates.
#[tonic::async_trait]
pub trait GateStorage: Send + Sync {
    /// Everything that gates hang on.
    async fn gate_facts(&self) -> Result<GateFacts, StorageError>;

    /// Lets orders fall due that wait for a connection, the oldest first; none later than it does already. Those that a
    /// replica has claimed are left alone.
    async fn release_held(&self, tenant_id: &str, connection_id: &str, pace: Pace) -> Result<(), StorageError>;

    /// Notes connections that are OFFLINE. What is known already is not written again.
    async fn note_offline(&self, offline: &[Offline]) -> Result<(), StorageError>;

    /// Lets an order through to a connection on probation, if no other one is under way. Of several at once, one is.
    async fn claim_probation(&self, claim: &ProbationClaim) -> Result<LetThrough, StorageError>;

    /// Gives back a claim whose order was not taken.
    async fn give_back_probation(&self, claim: &ProbationClaim) -> Result<(), StorageError>;

    /// Ends the probation after this OFFLINE.
    async fn open_probation(&self, offline: &Offline) -> Result<(), StorageError>;

    /// Pauses a store, in place of what was said before.
    async fn put_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError>;

    /// Ends the pause of a store, if there is one.
    async fn end_pause(&self, tenant_id: &str, store_id: &str) -> Result<(), StorageError>;

    /// Removes a pause that is over, unless another one has taken its place.
    async fn forget_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError>;
}

/// So long a replica may miss that a connection was opened, and learn it from the table all the same.
pub(super) const OPENED_SHOWN: Duration = Duration::from_secs(60);

/// Older orders in trouble speak against no new ones.
const TROUBLE_COUNTS_MS: i64 = 24 * 3600 * 1000;

pub(super) fn troubled_since_ms() -> i64 {
    time::now_unix_ms() - TROUBLE_COUNTS_MS
}

/// The row that a claim finds, and leaves if it is let through or finds it open.
pub(super) fn decide(row: &mut Probation, claim: &ProbationClaim) -> LetThrough {
    // Another replica may have seen it OFFLINE since.
    row.offline.version = row.offline.version.max(claim.offline.version);
    if row.opened_version >= row.offline.version {
        return LetThrough::Open;
    }
    if let Some(holder) = &row.holder {
        if holder.proves(row.offline.version) {
            row.opened_version = row.offline.version;
            return LetThrough::Open;
        }
        if holder.order_id != claim.order_id && holder.blocks(claim.lease) {
            return LetThrough::NotYet;
        }
    }
    row.holder = Some(Holder {
        order_id: claim.order_id.clone(),
        version: row.offline.version,
        age: Duration::ZERO,
        state: None,
    });
    LetThrough::Alone
}

/// The state of the order that was let through last, as `sql::STATE` tells it: one that falls due although it is placed
/// has yet to be told to the POS, or taken back there.
pub(super) fn holder_state(state: OrderState, falls_due: bool) -> OrderState {
    if lifecycle::is_there(state) && falls_due { OrderState::Sending } else { state }
}

/// The connection that an order waits for.
pub(super) fn awaited(order: &Order) -> Option<&str> {
    let is_held = order.state() == OrderState::Held && order.hold_reason() == HoldReason::Link;
    let waits = is_held || entry::is_pending(order) && entry::open_entry(order).is_none();
    Some(order.awaited_connection_id.as_str()).filter(|id| waits && !id.is_empty())
}

/// `tenant_id, store_id, state, count`
pub(super) type TroubledColumns = (String, String, i16, i64);
/// `tenant_id, store_id, awaited_connection_id`, and how many are held and to be entered
pub(super) type HeldColumns = (String, String, String, i64, i64);
/// `tenant_id, store_id, doc`
pub(super) type PauseColumns = (String, String, Vec<u8>);
/// `tenant_id, connection_id, offline_version, opened_version, order_id, claimed_version, age_ms, state`
pub(super) type ProbationColumns = (String, String, i64, i64, Option<String>, i64, i64, Option<i16>);

pub(super) fn troubled((tenant_id, store_id, state, count): TroubledColumns) -> Troubled {
    let state = OrderState::try_from(i32::from(state)).unwrap_or_default();
    Troubled { tenant_id: tenant_id.into(), store_id, state, count }
}

pub(super) fn held((tenant_id, store_id, connection_id, count, entries): HeldColumns) -> HeldOrders {
    HeldOrders { tenant_id: tenant_id.into(), store_id, connection_id, count, entries }
}

/// One that cannot be read must not keep the others from being known.
pub(super) fn pause((tenant_id, store_id, doc): PauseColumns) -> Option<(Arc<str>, Pause)> {
    match Pause::decode(&*doc) {
        Ok(pause) => Some((tenant_id.into(), pause)),
        Err(error) => {
            tracing::error!(%error, store.id = store_id, "a pause that is stored cannot be read");
            None
        }
    }
}

pub(super) fn probation(columns: ProbationColumns) -> Probation {
    let (tenant_id, connection_id, version, opened_version, order_id, claimed_version, age_ms, state) = columns;
    let holder = order_id.map(|order_id| Holder {
        order_id,
        version: claimed_version,
        age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
        state: state.and_then(|state| OrderState::try_from(i32::from(state)).ok()),
    });
    Probation { offline: Offline { tenant_id: tenant_id.into(), connection_id, version }, opened_version, holder }
}
