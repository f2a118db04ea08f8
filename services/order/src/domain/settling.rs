//! What can be done about an order of which nobody knows whether the POS has it, by what the vendor promised when it was
//! sent and promises now; the weaker of the two counts.

use std::time::Duration;

use posmesh_kit::time::{from_proto_duration, to_unix_ms};
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, FindKind, Idempotency, IdempotencyKind},
    order::v1::{Attempt, AttemptOutcome, Order, OrderChangeState, OrderState},
};

use super::lifecycle::{
    PLATFORM, Wish, attention, last_submit, of_side, open_attempts_of, open_change, submits, was_at_pos, wish,
};

/// The platform's own times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How long one write may take.
    pub(crate) attempt_timeout: Duration,
    /// How far clocks may differ.
    pub(crate) margin: Duration,
    /// How long it is tried to carry a wish out.
    pub(crate) change_within: Duration,
    /// So long after an order was sent a person is called, though it may have been given more time: it was held before.
    pub(crate) call_within: Duration,
}

/// What is known of the POS that the order was sent to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pos<'a> {
    /// What its adapter can do now.
    pub(crate) descriptor: &'a AdapterDescriptor,
    /// A submit over the connection would go there, as it did then.
    pub(crate) leads_there: bool,
    /// It was asked just now, and shows no such order; or it cannot be asked at all.
    pub(crate) shows_nothing: bool,
    /// It can take an order back.
    pub(crate) can_cancel: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send it once more under the same reference: the vendor recognizes it.
    Replay,
    /// Ask the POS to take back whatever it has of it.
    Compensate,
    /// A person must look.
    TellPerson,
    /// Look again later.
    Wait,
}

/// From when on the POS's word that it has no such order proves that none of these attempts took effect: no writer writes
/// any more, and what was written has taken effect. One that provably never left needs no proof. `None`: never, as far as
/// is known.
pub(crate) fn proof_ms<'a>(
    attempts: impl Iterator<Item = &'a Attempt>,
    max_apply_delay_now: Duration,
    margin: Duration,
) -> Option<i64> {
    let mut latest = None;
    for attempt in attempts.filter(|attempt| attempt.outcome() != AttemptOutcome::NotHandedOver) {
        let then = attempt.max_apply_delay.as_ref().and_then(from_proto_duration)?;
        let not_after_ms = to_unix_ms(attempt.not_after.as_ref()?);
        let proves_ms = not_after_ms.saturating_add(millis(then.max(max_apply_delay_now).saturating_add(margin)));
        latest = Some(latest.map_or(proves_ms, |latest: i64| latest.max(proves_ms)));
    }
    latest
}

/// The longest time after `not_after` in which a write may still take effect, as the adapter says now.
pub(crate) fn max_apply_delay(descriptor: &AdapterDescriptor) -> Duration {
    descriptor.max_apply_delay.as_ref().and_then(from_proto_duration).unwrap_or_default()
}

/// Whether the POS can be asked for an order at all, and its "no" could prove anything, then and now.
pub(crate) fn find_proves(attempt: &Attempt, descriptor: &AdapterDescriptor) -> bool {
    let proves = |find: &posmesh_proto::adapter::v1::Find| find.kind() != FindKind::None && find.authoritative;
    attempt.find.as_ref().is_none_or(proves) && descriptor.find.as_ref().is_none_or(proves)
}

/// What to do about an order in doubt that the POS's own words have not settled.
pub(crate) fn next_step(order: &Order, pos: &Pos<'_>, terms: Terms, now_ms: i64) -> Step {
    let is_late = order.deliver_by.as_ref().is_some_and(|by| to_unix_ms(by) <= now_ms);
    if order.state() != OrderState::InDoubt {
        return Step::Wait;
    }
    if !is_late && may_replay(order, pos, terms, now_ms) {
        return Step::Replay;
    }
    if may_compensate(order, pos, is_late, terms, now_ms) {
        return Step::Compensate;
    }
    let is_told = attention::is_raised(order, attention::IN_DOUBT) || attention::is_seen(order, attention::IN_DOUBT);
    let sent_ms = last_submit(order).and_then(|last| last.begin_time.as_ref()).map_or(i64::MAX, to_unix_ms);
    let is_long = sent_ms.saturating_add(millis(terms.call_within)) <= now_ms;
    if (is_late || is_long) && !is_told { Step::TellPerson } else { Step::Wait }
}

/// A second write under the same reference makes no second order, as long as the vendor remembers the first; and no
/// writer of an earlier attempt is at work any more.
fn may_replay(order: &Order, pos: &Pos<'_>, terms: Terms, now_ms: i64) -> bool {
    let Some(last) = last_submit(order) else { return false };
    let Some(first) = of_side(order, last).next() else { return false };
    if wish(order) != Wish::None || was_at_pos(order) || !pos.leads_there || !pos.shows_nothing {
        return false;
    }
    // Where its "no" is a proof, waiting for it is safer still.
    if find_proves(last, pos.descriptor) {
        return false;
    }
    let then = of_side(order, last).map(|attempt| remembers(attempt.idempotency.as_ref())).min();
    let window = then.unwrap_or_default().min(remembers(pos.descriptor.idempotency.as_ref()));
    let begun_ms = first.begin_time.as_ref().map_or(0, to_unix_ms);
    let free_ms = submits(order).filter_map(|a| a.not_after.as_ref()).map(to_unix_ms).max().unwrap_or(i64::MAX);
    let takes_effect =
        terms.attempt_timeout.saturating_add(max_apply_delay(pos.descriptor)).saturating_add(terms.margin);
    now_ms > free_ms.saturating_add(millis(terms.margin))
        && now_ms.saturating_add(millis(takes_effect)) <= begun_ms.saturating_add(millis(window))
}

/// For how long the vendor recognizes a submit that it has seen before.
fn remembers(idempotency: Option<&Idempotency>) -> Duration {
    match idempotency.map(|i| (i.kind(), i.window.as_ref())) {
        Some((IdempotencyKind::Forever, _)) => Duration::MAX,
        Some((IdempotencyKind::Window, Some(window))) => from_proto_duration(window).unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

/// Somebody wishes it back, or its time is over: the POS is asked to take it back, once nothing can reach it any more.
fn may_compensate(order: &Order, pos: &Pos<'_>, is_late: bool, terms: Terms, now_ms: i64) -> bool {
    let is_wished = match wish(order) {
        Wish::None => is_late && !was_at_pos(order) && !has_refused_platform(order),
        Wish::Caller | Wish::Platform => true,
    };
    let proven = last_submit(order)
        .and_then(|last| proof_ms(of_side(order, last), max_apply_delay(pos.descriptor), terms.margin));
    let is_open_for = |proven_ms: i64| {
        let ends_ms = change_ends_ms(order, terms.change_within);
        open_change(order).is_none() || now_ms < ends_ms.max(proven_ms.saturating_add(millis(terms.change_within)))
    };
    is_wished
        && pos.can_cancel
        && !attention::is_raised(order, attention::DUPLICATE_AT_POS)
        && proven.is_some_and(|proven_ms| now_ms >= proven_ms && is_open_for(proven_ms))
}

fn has_refused_platform(order: &Order) -> bool {
    order.changes.iter().any(|c| c.requested_by == PLATFORM && c.state() == OrderChangeState::Refused)
}

/// When the platform stops trying to carry the open wish out; it is counted from when the POS had the order.
pub(crate) fn change_ends_ms(order: &Order, within: Duration) -> i64 {
    let asked = open_change(order).and_then(|change| change.request_time.as_ref()).map_or(0, to_unix_ms);
    let placed = order.place_time.as_ref().map_or(0, to_unix_ms);
    let first = open_change(order)
        .and_then(|change| order.attempts.iter().find(|attempt| attempt.change_id == change.change_id))
        .and_then(|attempt| attempt.begin_time.as_ref())
        .map_or(0, to_unix_ms);
    asked.max(placed).max(first).saturating_add(millis(within))
}

/// The newest attempt to carry the open wish out of which nobody knows what became.
pub(crate) fn open_change_attempt(order: &Order) -> Option<&Attempt> {
    let change = open_change(order)?;
    open_attempts_of(order, &change.change_id).next_back()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
