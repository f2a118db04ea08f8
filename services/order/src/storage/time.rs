//! What the storage does about time: places in pickup slots, ends that nobody tells, and rounds that want their turn.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posmesh_kit::time::to_unix_ms;
use posmesh_proto::order::v1::{Attempt, AttemptOutcome, Check, Order, OrderState};
use prost_types::Timestamp;

use super::{NewOrder, StorageError, rounds::CheckRow};
use crate::domain::lifecycle::{self, Event, Why};

/// A place in a stretch of time in which only so many orders are picked up. All times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotPlace {
    /// When the order is picked up: in the slot.
    pub pickup_ms: i64,
    /// Where the slot begins.
    pub start_ms: i64,
    /// Where it ends, exclusive.
    pub end_ms: i64,
    /// Orders that it takes. Those that were refused, that expired or were cancelled do not count.
    pub capacity: i64,
}

/// A round that wants its turn at the POS.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// PENDING or HELD, as it was read.
    pub order: Order,
    /// Begun if it is its turn; numbered by the storage.
    pub attempt: Attempt,
    /// Of the attempt.
    pub lease: Duration,
    /// When it falls due if it must go on waiting.
    pub hold: Duration,
    /// It may pass a round that has been in doubt since then, in milliseconds since the epoch. `None`: never.
    pub passes_doubt_before_ms: Option<i64>,
    /// Now.
    pub now: Timestamp,
}

impl Turn {
    /// Unique to an order.
    pub(super) fn key(&self) -> (Arc<str>, String) {
        (Arc::clone(&self.tenant_id), self.order.order_id.clone())
    }
}

/// What came of the wish.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnTaken {
    /// It is SENDING; with its check.
    Begun(Box<(Order, Check)>),
    /// Another one is in flight: it is HELD.
    Waits(Box<Order>),
    /// The order has another version by now: this one.
    Conflict(Box<Order>),
    /// There is no such order, or no such check.
    Missing,
}

/// The part of the storage that is about time.
#[tonic::async_trait]
pub trait TimeStorage: Send + Sync {
    /// The clock that due times and leases run on, in milliseconds since the epoch; `None` where it only tells what has
    /// elapsed.
    async fn now_ms(&self) -> Result<Option<i64>, StorageError>;

    /// How many orders that hold a [`SlotPlace`] are picked up when, in `from_ms..until_ms`.
    async fn pickups(
        &self,
        tenant_id: &str,
        store_id: &str,
        from_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<(i64, i64)>, StorageError>;

    /// Forgets places whose pickup time was before `before_ms`, of all tenants, a bounded number at once.
    async fn forget_pickups(&self, before_ms: i64) -> Result<u64, StorageError>;

    /// Completes orders that the POS has, of which it tells no end, and whose time is over; at most `limit` of all
    /// tenants, longest over first. Never two replicas the same. Returns them as they are now.
    async fn complete_due(&self, limit: usize, now: Timestamp) -> Result<Vec<(Arc<str>, Order)>, StorageError>;

    /// Gives a round its turn, and begins its attempt, if no other round of its check is in flight, or if it may pass
    /// that one. Decided under the check's lock.
    async fn take_turn(&self, turn: Turn) -> Result<TurnTaken, StorageError>;
}

/// Tenant, store and where the slot begins.
pub(super) type SlotKey = (Arc<str>, String, i64);

/// How many orders there are in the slots that a batch is about.
pub(super) type Slots = HashMap<SlotKey, i64>;

/// The slot that an order wants a place in.
pub(super) fn slot_key(new: &NewOrder) -> Option<(SlotKey, SlotPlace)> {
    let place = new.slot?;
    Some(((Arc::clone(&new.tenant_id), new.order.store_id.clone(), place.start_ms), place))
}

/// Takes the place that an order wants; `false` when the slot is full.
pub(super) fn take_place(slots: &mut Slots, new: &NewOrder) -> bool {
    let Some((key, place)) = slot_key(new) else { return true };
    let taken = slots.entry(key).or_default();
    let is_free = *taken < place.capacity;
    *taken += i64::from(is_free);
    is_free
}

/// What becomes of a round that wants its turn: as it shall be stored, when it falls due, and whether it is sent.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) order: Order,
    pub(super) due_in: Duration,
    pub(super) begun: bool,
}

/// Decides about a turn. `holder` is the round that has it, if another one has; `is_first`: no round before it waits.
pub(super) fn decide(
    turn: &Turn,
    row: &mut CheckRow,
    holder: Option<&Order>,
    is_first: bool,
) -> Result<Decided, StorageError> {
    let mut order = turn.order.clone();
    let is_mine = row.in_flight.as_deref().is_none_or(|id| id == order.order_id);
    let passes = !is_mine && is_first && holder.is_some_and(|holder| may_pass(holder, turn.passes_doubt_before_ms));
    let begun = is_mine || passes;
    let event = if begun {
        order.passed_doubtful_round |= passes;
        row.in_flight = Some(order.order_id.clone());
        Event::AttemptBegun(Box::new(turn.attempt.clone()))
    } else {
        Event::MustWait
    };
    match lifecycle::apply(&mut order, event, turn.now) {
        Ok(_) => Ok(Decided { order, due_in: if begun { turn.lease } else { turn.hold }, begun }),
        Err(refused) => Err(StorageError::Corrupt { what: order.order_id, message: refused.to_string() }),
    }
}

fn may_pass(holder: &Order, before_ms: Option<i64>) -> bool {
    let Some(before_ms) = before_ms.filter(|_| holder.state() == OrderState::InDoubt) else { return false };
    let doubts = lifecycle::submits(holder).filter(|a| a.outcome() == AttemptOutcome::InDoubt);
    let since = doubts.filter_map(|a| a.end_time.as_ref()).map(to_unix_ms).min();
    since.or_else(|| holder.update_time.as_ref().map(to_unix_ms)).is_some_and(|since_ms| since_ms <= before_ms)
}

/// When an order that was completed falls due: the POS must be told of one that it does not know of yet.
pub(super) fn due_after_end(order: &Order) -> Option<Duration> {
    (!lifecycle::needs_no_look(order)).then_some(Duration::ZERO)
}

/// Completes an order whose time is over; `None` if it cannot be.
pub(super) fn complete(mut order: Order, now: Timestamp) -> Option<Order> {
    let cause = if order.pickup_time.is_some() { "PICKUP_TIME_PASSED" } else { "BUSINESS_DAY_ENDED" };
    match lifecycle::apply(&mut order, Event::Over(Why::new(cause, "the POS told no end")), now) {
        Ok(true) => Some(order),
        Ok(false) | Err(_) => None,
    }
}
