//! Which orders may go to a store's fallback, and what is to be done about the entry of those that did.

use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    common::v1::EvidenceKind,
    order::v1::{AttemptOutcome, Order, OrderState},
    store::v1::ProductPolicy,
};

use super::lifecycle::{
    entry::{is_pending, open_entry},
    open_change, submits, was_at_pos,
};

/// The capability by which the platform tells a POS of an order that is cooked already.
pub(crate) const SUBMIT_WITHOUT_TICKET: &str = "SUBMIT_WITHOUT_TICKET";

/// What is to be done about the entry of a diverted order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing by the platform: it is entered, or the staff's, or somebody wishes it back.
    Nothing,
    /// Find out what became of the attempt that is open.
    Settle,
    /// The staff enter it.
    Staff,
    /// It waits until the POS is back.
    AwaitPos,
    /// It waits for the rounds before it.
    AwaitRounds,
    /// The platform enters it.
    Enter,
}

/// What is known of the POS that must be told, and of the order's day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entrance {
    /// It takes an order without printing its ticket.
    pub(crate) takes_entries: bool,
    /// No order comes through to it.
    pub(crate) is_away: bool,
    /// The business day of the order has ended.
    pub(crate) day_is_over: bool,
    /// A round before it has yet to be entered.
    pub(crate) is_behind: bool,
}

/// What to do next about the entry of an order.
pub(crate) fn next_step(order: &Order, pos: Entrance) -> Step {
    if !is_pending(order) || open_change(order).is_some() {
        Step::Nothing
    } else if open_entry(order).is_some() {
        Step::Settle
    } else if !pos.takes_entries || pos.day_is_over {
        Step::Staff
    } else if pos.is_away {
        Step::AwaitPos
    } else if pos.is_behind {
        Step::AwaitRounds
    } else {
        Step::Enter
    }
}

/// The evidence that makes a diverted order PLACED.
pub(crate) fn fallback_evidence(policy: &ProductPolicy) -> Vec<i32> {
    match policy.fallback_evidence.as_slice() {
        [] => vec![EvidenceKind::Printed.into()],
        said => said.to_vec(),
    }
}

/// Whether a fallback can prove what it must.
pub(crate) fn can_prove(descriptor: &AdapterDescriptor, kinds: &[i32]) -> bool {
    kinds.iter().all(|kind| descriptor.evidence.contains(kind))
}

/// Whether nothing of an order is at the POS, nor can be by now, and the fallback has not refused it for good.
pub(crate) fn may_divert(order: &Order) -> bool {
    let left_nothing = |outcome| {
        matches!(outcome, AttemptOutcome::NotHandedOver | AttemptOutcome::RefusedForNow | AttemptOutcome::Absent)
    };
    matches!(order.state(), OrderState::Pending | OrderState::Held)
        && submits(order).all(|attempt| left_nothing(attempt.outcome()))
        && !was_at_pos(order)
        && open_change(order).is_none()
}

#[cfg(test)]
mod tests;
