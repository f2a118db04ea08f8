//! Questions about what was tried and wished so far.

use posmesh_proto::order::v1::{
    Attempt, AttemptKind, AttemptOutcome, Order, OrderChange, OrderChangeKind, OrderChangeState,
};

use super::table::Wish;

/// As `requested_by` of a change: nobody asked for it but the platform.
pub(crate) const PLATFORM: &str = "PLATFORM";

/// Whether an attempt writes the order itself.
pub(crate) fn is_submit(attempt: &Attempt) -> bool {
    matches!(attempt.kind(), AttemptKind::Submit | AttemptKind::Unspecified)
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
    order.attempts.iter().rev().find(|attempt| !is_submit(attempt) && attempt.change_id == change_id)
}

/// The attempts to carry out a wish of which nobody knows what became, oldest first.
pub(crate) fn open_attempts_of<'a>(order: &'a Order, change_id: &str) -> impl DoubleEndedIterator<Item = &'a Attempt> {
    order.attempts.iter().filter(move |a| !is_submit(a) && a.change_id == change_id && is_open(a))
}

/// Whether somebody wishes to take the whole order back.
pub(crate) fn wish(order: &Order) -> Wish {
    match open_change(order).filter(|change| change.kind() == OrderChangeKind::Cancel) {
        None => Wish::None,
        Some(change) if change.requested_by == PLATFORM => Wish::Platform,
        Some(_) => Wish::Caller,
    }
}

/// The number of an attempt among those of its kind and change, from 1.
pub(crate) fn ordinal(order: &Order, attempt: &Attempt) -> i32 {
    let alike = |other: &&Attempt| {
        other.number <= attempt.number && is_submit(other) == is_submit(attempt) && other.change_id == attempt.change_id
    };
    i32::try_from(order.attempts.iter().filter(alike).count()).unwrap_or(i32::MAX)
}
