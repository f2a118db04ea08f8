//! Questions about what was tried and wished so far.

use posmesh_proto::order::v1::{
    Attempt, AttemptKind, AttemptOutcome, Order, OrderChange, OrderChangeKind, OrderChangeState,
};

use super::table::Wish;

/// As `requested_by` of a change: nobody asked for it but the platform.
pub(crate) const PLATFORM: &str = "PLATFORM";

/// Whether an attempt writes the order so that the kitchen cooks it: at the POS, or at what stands in for it.
pub(crate) fn is_submit(attempt: &Attempt) -> bool {
    matches!(attempt.kind(), AttemptKind::Submit | AttemptKind::Unspecified | AttemptKind::Divert)
}

/// Whether it does so at the store's fallback.
pub(crate) fn is_divert(attempt: &Attempt) -> bool {
    attempt.kind() == AttemptKind::Divert
}

/// Whether an attempt tells the POS of an order that the kitchen has already.
pub(crate) fn is_enter(attempt: &Attempt) -> bool {
    attempt.kind() == AttemptKind::Enter
}

/// Whether an attempt writes the whole order, with a ticket or without one.
pub(crate) fn writes_order(attempt: &Attempt) -> bool {
    is_submit(attempt) || is_enter(attempt)
}

/// The attempts to write the order at the side that an attempt writes at: the POS or the fallback. What one side says is
/// no word about the other.
pub(crate) fn of_side<'a>(order: &'a Order, attempt: &Attempt) -> impl DoubleEndedIterator<Item = &'a Attempt> {
    let diverts = is_divert(attempt);
    order.attempts.iter().filter(move |other| writes_order(other) && is_divert(other) == diverts)
}

/// Whether a connection leads to what stood in for the POS, and not to the POS.
pub(crate) fn is_fallback(order: &Order, connection_id: &str) -> bool {
    let mut went_there =
        order.attempts.iter().filter(|a| writes_order(a) && a.connection_id == connection_id).peekable();
    went_there.peek().is_some() && went_there.all(is_divert)
}

/// The attempt by which the order is where a wish about it is decided: at the POS if it was entered there, else where it
/// went last.
pub(crate) fn where_it_is(order: &Order) -> Option<&Attempt> {
    let took_effect = |attempt: &&Attempt| attempt.outcome() == AttemptOutcome::Placed;
    let entered = order.attempts.iter().rev().find(|attempt| is_enter(attempt) && took_effect(attempt));
    entered.or_else(|| submits(order).rev().find(took_effect)).or_else(|| last_submit(order))
}

/// Whether nobody knows yet what became of an attempt.
pub(crate) fn is_open(attempt: &Attempt) -> bool {
    matches!(attempt.outcome(), AttemptOutcome::Unspecified | AttemptOutcome::InDoubt)
}

/// The attempts to submit, oldest first.
pub(crate) fn submits(order: &Order) -> impl DoubleEndedIterator<Item = &Attempt> {
    order.attempts.iter().filter(|attempt| is_submit(attempt))
}

/// The newest attempt to submit.
pub(crate) fn last_submit(order: &Order) -> Option<&Attempt> {
    submits(order).next_back()
}

/// The wish that is not decided yet; at most one.
pub(crate) fn open_change(order: &Order) -> Option<&OrderChange> {
    order.changes.iter().rev().find(|change| change.state() == OrderChangeState::Requested)
}

/// The newest attempt to carry out a wish.
pub(crate) fn last_attempt_of<'a>(order: &'a Order, change_id: &str) -> Option<&'a Attempt> {
    order.attempts.iter().rev().find(|attempt| !writes_order(attempt) && attempt.change_id == change_id)
}

/// The attempts to carry out a wish of which nobody knows what became, oldest first.
pub(crate) fn open_attempts_of<'a>(order: &'a Order, change_id: &str) -> impl DoubleEndedIterator<Item = &'a Attempt> {
    order.attempts.iter().filter(move |a| !writes_order(a) && a.change_id == change_id && is_open(a))
}

/// Whether somebody wishes to take the whole order back.
pub(crate) fn wish(order: &Order) -> Wish {
    match open_change(order).filter(|change| change.kind() == OrderChangeKind::Cancel) {
        None => Wish::None,
        Some(change) if change.requested_by == PLATFORM => Wish::Platform,
        Some(_) => Wish::Caller,
    }
}

/// The number of an attempt among those of its side, or of its change, from 1.
pub(crate) fn ordinal(order: &Order, attempt: &Attempt) -> i32 {
    let alike = |other: &&Attempt| {
        other.number <= attempt.number
            && writes_order(other) == writes_order(attempt)
            && is_divert(other) == is_divert(attempt)
            && other.change_id == attempt.change_id
    };
    i32::try_from(order.attempts.iter().filter(alike).count()).unwrap_or(i32::MAX)
}
