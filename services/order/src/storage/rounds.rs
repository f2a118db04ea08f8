//! The rounds of a check: one at a time is in flight to the POS, later ones wait for it in order. The same rules on
//! every storage; each applies them to a check that nobody else can change meanwhile.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posmesh_proto::order::v1::{Attempt, Check, CheckState, HoldReason, Order, OrderState, PosEntry};
use prost_types::Timestamp;

use super::{
    CheckChange, NewOrder, OrderChange, Placement, StorageError,
    rows::{self, OrderColumns},
    time::{Slots, take_place},
};
use crate::domain::{
    lifecycle::{self, Event},
    visit::{ended, is_open},
};

/// A check as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CheckRow {
    pub(super) check: Check,
    /// The round whose turn it is.
    pub(super) in_flight: Option<String>,
}

impl CheckRow {
    /// Gives an order the next place among the rounds. Returns whether it must wait for its turn.
    pub(super) fn add_round(&mut self, order: &mut Order) -> bool {
        self.check.rounds += 1;
        self.check.version += 1;
        order.round = self.check.rounds;
        order.table_id.clone_from(&self.check.table_id);
        order.party_size = self.check.party_size;
        let waits = self.in_flight.is_some();
        if waits {
            order.set_state(OrderState::Held);
            order.set_hold_reason(HoldReason::RoundBefore);
            order.set_pos_entry(PosEntry::Unspecified);
            order.attempts.clear();
        } else {
            self.in_flight = Some(order.order_id.clone());
        }
        waits
    }

    /// Whether this change ends the round whose turn it is.
    pub(super) fn is_ended_by(&self, change: &OrderChange) -> bool {
        ends_round(change) && self.in_flight.as_deref() == Some(change.order.order_id.as_str())
    }

    /// Whether the end of a round lets the next one go. A check that has ended lets none go: nothing of it may reach the
    /// bill of other guests.
    pub(super) fn goes_on(&self, change: &CheckChange) -> bool {
        is_open(&self.check) && !self.is_closed_by(change)
    }

    /// A check of which nothing is at the POS cannot be closed there: the refusal is about something else.
    fn is_closed_by(&self, change: &CheckChange) -> bool {
        change.closed_at_pos && !self.check.pos_check_reference.is_empty()
    }

    /// Notes what the end of a round tells of the check, and gives the turn to `next`, the first round that has not ended.
    pub(super) fn hand_on(&mut self, change: &CheckChange, now: Option<Timestamp>, next: Option<&Order>) {
        let before = self.check.clone();
        if self.check.pos_check_reference.is_empty() && !change.pos_check_reference.is_empty() {
            self.check.pos_check_reference.clone_from(&change.pos_check_reference);
            self.check.connection_id.clone_from(&change.connection_id);
        }
        if self.is_closed_by(change) && is_open(&self.check) {
            self.check.set_state(CheckState::Closed);
            self.check.cause = ended::CLOSED_AT_POS.to_owned();
            self.check.close_time = now;
        }
        if self.check != before {
            self.check.version += 1;
        }
        self.in_flight = next.map(|order| order.order_id.clone());
    }
}

/// Whether a change takes a round out of flight.
pub(super) fn ends_round(change: &OrderChange) -> bool {
    !change.order.check_id.is_empty() && !lifecycle::is_in_flight(change.order.state())
}

/// Whether a round that gets the turn waited for it. Another one was passed while it was in doubt: it gets the turn as it
/// is, so that later rounds pass it only as the store's policy says.
pub(super) fn waits(round: &Order) -> bool {
    round.state() == OrderState::Held
}

/// The round that the turn passes to as it shall be stored, and when it falls due: with its next attempt begun, or,
/// where none is given, at once for whoever claims it. Later rounds wait for it either way.
pub(super) fn begin(
    mut round: Order,
    next_attempt: Option<&(Attempt, Duration)>,
) -> Result<(Order, Duration), StorageError> {
    let Some((template, lease)) = next_attempt else {
        round.version += 1;
        return Ok((round, Duration::ZERO));
    };
    let number = i32::try_from(round.attempts.len()).unwrap_or(i32::MAX).saturating_add(1);
    let attempt = Attempt { number, ..template.clone() };
    let begin_time = attempt.begin_time.unwrap_or_default();
    match lifecycle::apply(&mut round, Event::AttemptBegun(Box::new(attempt)), begin_time) {
        Ok(_) => Ok((round, *lease)),
        Err(refused) => Err(StorageError::Corrupt { what: round.order_id, message: refused.to_string() }),
    }
}

/// The checks that a batch is about, by tenant and id.
pub(super) type Checks = HashMap<(Arc<str>, String), CheckRow>;

/// What a batch does with one order that is not known yet.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    /// Not take it.
    Answer(Placement),
    /// Take it.
    Take(Box<Taking<'a>>),
}

/// An order to be inserted.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    pub(super) new: &'a NewOrder,
    /// As it is stored, but for its display number.
    pub(super) order: Order,
    /// `None`: it has ended already, as one does that was cancelled before it was seen.
    pub(super) due_in: Option<Duration>,
    check: Option<Box<Check>>,
}

/// Decides about an order and gives it its place: a round on its check, another one in its pickup slot.
pub(super) fn plan<'a>(new: &'a NewOrder, checks: &mut Checks, slots: &mut Slots) -> Plan<'a> {
    let mut order = Order { display_number: String::new(), ..new.order.clone() };
    if order.check_id.is_empty() {
        if !take_place(slots, new) {
            return Plan::Answer(Placement::SlotFull);
        }
        let due_in = lifecycle::is_in_flight(order.state()).then_some(new.lease);
        return Plan::Take(Box::new(Taking { new, order, due_in, check: None }));
    }
    let Some(row) = checks.get_mut(&(Arc::clone(&new.tenant_id), order.check_id.clone())) else {
        return Plan::Answer(Placement::CheckNotFound);
    };
    if row.check.store_id != order.store_id {
        return Plan::Answer(Placement::CheckNotFound);
    }
    if !is_open(&row.check) {
        return Plan::Answer(Placement::CheckClosed(Box::new(row.check.clone())));
    }
    let to_pos = order.attempts.last().filter(|attempt| !lifecycle::is_divert(attempt));
    let sent_to = to_pos.map_or("", |attempt| attempt.connection_id.as_str());
    if !row.check.connection_id.is_empty() && !sent_to.is_empty() && row.check.connection_id != sent_to {
        return Plan::Answer(Placement::CheckElsewhere(Box::new(row.check.clone())));
    }
    let due_in = Some(if row.add_round(&mut order) { new.hold } else { new.lease });
    Plan::Take(Box::new(Taking { new, order, due_in, check: Some(Box::new(row.check.clone())) }))
}

impl<'a> Plan<'a> {
    /// What is to be inserted.
    pub(super) fn taking(&self) -> Option<&Taking<'a>> {
        match self {
            Self::Answer(_) => None,
            Self::Take(taking) => Some(taking),
        }
    }

    /// The answer, once it is durable. `number` gives the display number of the next one that was taken.
    pub(super) fn answer(self, number: impl FnOnce() -> i64) -> Placement {
        match self {
            Self::Answer(answer) => answer,
            Self::Take(taking) => taking.taken(number()),
        }
    }
}

impl Taking<'_> {
    /// The answer, once it is durable.
    pub(super) fn taken(self, number: i64) -> Placement {
        let order = Order { display_number: rows::display_number(number), ..self.order };
        Placement::Taken { order: Box::new(order), check: self.check }
    }
}

/// The order that has a request_id already, as it stands in its row.
#[derive(Debug)]
pub(super) struct Known {
    /// Of its command. Empty: it was cancelled before it was seen.
    pub(super) request_hash: Vec<u8>,
    pub(super) order: OrderColumns,
}

impl Known {
    /// The answer to a command that comes again.
    pub(super) fn answer(self, new: &NewOrder) -> Result<Placement, StorageError> {
        Ok(known(new, rows::order(self.order)?, &self.request_hash))
    }
}

/// The answer for an order whose request_id is known.
pub(super) fn known(new: &NewOrder, order: Order, request_hash: &[u8]) -> Placement {
    let same_request = request_hash.is_empty() || request_hash == new.request_hash;
    Placement::Known { order: Box::new(order), same_request }
}
