//! An order's life: which event moves it from which state to which. The whole table is [`next`]; [`apply`] does what it
//! says to an order.
//!
//! Truth comes first: evidence that the POS has an order is never thrown away, from whichever attempt and however late
//! it comes. Only an answer to the newest attempt can say that the POS does not have it, and only if no earlier attempt
//! is open. A wish to take an order back is durable, and wins or loses by proof.

mod apply;
pub(crate) mod attention;
mod changes;
pub(crate) mod entry;
mod event;
mod evidence;
mod history;
mod table;

use posmesh_proto::order::v1::{Order, OrderState};

pub(crate) use apply::apply;
pub(crate) use changes::platform_change;
pub(crate) use event::{Event, Outcome, Said, Why};
pub(crate) use evidence::{has_enough as has_enough_evidence, was_at_pos};
pub(crate) use history::{
    PLATFORM, is_divert, is_enter, is_fallback, is_open, last_attempt_of, last_submit, of_side, open_attempts_of,
    open_change, ordinal, submits, where_it_is, wish, writes_order,
};
pub(crate) use table::{Wish, edges};

/// Whether an order in this state may still change by itself.
pub(crate) fn is_in_flight(state: OrderState) -> bool {
    matches!(state, OrderState::Pending | OrderState::Held | OrderState::Sending | OrderState::InDoubt)
}

/// Whether nothing happens to the order by itself any more: the POS has it, or it has ended, and nobody wishes it back.
pub(crate) fn needs_no_look(order: &Order) -> bool {
    !is_in_flight(order.state()) && open_change(order).is_none() && !entry::is_pending(order)
}

/// Whether the guest is told that the POS has it.
pub(crate) fn is_there(state: OrderState) -> bool {
    matches!(state, OrderState::Placed | OrderState::InPreparation | OrderState::Ready | OrderState::Completed)
}

/// Whether the order has ended.
pub(crate) fn has_ended(state: OrderState) -> bool {
    state == OrderState::Completed || told_not_there(state)
}

/// Whether nothing more is to be expected: a watch of it may end.
pub(crate) fn is_at_rest(order: &Order) -> bool {
    has_ended(order.state()) && open_change(order).is_none()
}

/// Whether the guest is told that the POS does not have it.
pub(crate) fn told_not_there(state: OrderState) -> bool {
    matches!(state, OrderState::Rejected | OrderState::Expired | OrderState::Cancelled)
}

#[cfg(test)]
mod tests;
