//! Wishes to take an order back, or lines of it: each is durable, and wins or loses by proof.

use posmesh_kit::time::to_unix_ms;
use posmesh_proto::{
    adapter::v1::Changed,
    order::v1::{
        Attempt, AttemptKind, AttemptOutcome, Order, OrderChange, OrderChangeKind, OrderChangeState, OrderState,
    },
};
use prost_types::Timestamp;
use uuid::Uuid;

use super::{
    apply::{end_attempt, end_open_submits},
    attention::{self, clear, is_raised, raise},
    entry,
    event::{Outcome, Why},
    evidence,
    history::{
        PLATFORM, is_divert, is_enter, is_open, is_submit, last_attempt_of, last_submit, open_attempts_of, open_change,
        submits, wish,
    },
    is_in_flight,
    table::{Kind, Wish},
    told_not_there,
};

/// Notes a wish. One for the whole order that comes again is the same wish.
pub(super) fn ask(order: &mut Order, change: OrderChange, now: Timestamp) -> Kind {
    let kind = if change.kind() == OrderChangeKind::Cancel { Kind::Cancel } else { Kind::Void };
    // The platform wishes back only what nobody knows of. It may have been settled since it looked.
    if change.requested_by == PLATFORM && order.state() != OrderState::InDoubt {
        return Kind::Busy;
    }
    if told_not_there(order.state()) {
        return kind;
    }
    // The POS is being told of it: what it has afterwards can be taken back then.
    if entry::is_pending(order) && entry::open_entry(order).is_some() {
        return Kind::Busy;
    }
    if let Some(open) = order.changes.iter_mut().find(|c| c.state() == OrderChangeState::Requested) {
        if open.kind() != OrderChangeKind::Cancel || change.kind() != OrderChangeKind::Cancel {
            return Kind::Busy;
        }
        // The guest wishes what the platform tries already: then it is the guest's wish.
        if open.requested_by == PLATFORM && change.requested_by != PLATFORM {
            open.requested_by = change.requested_by;
            open.reason = change.reason;
        }
        return kind;
    }
    push(order, change, now);
    kind
}

/// The platform wishes to take an order back that the guest was told is not there. Once: what the POS refused, or made
/// twice, is for a person.
pub(super) fn compensate(order: &mut Order, now: Timestamp) {
    let asked = order.changes.iter().any(|c| c.requested_by == PLATFORM && c.state() != OrderChangeState::Confirmed);
    if asked || open_change(order).is_some() || is_raised(order, attention::DUPLICATE_AT_POS) {
        return;
    }
    let change = platform_change(order, "the guest was told that the store does not have it");
    push(order, change, now);
}

fn push(order: &mut Order, mut change: OrderChange, now: Timestamp) {
    change.set_state(OrderChangeState::Requested);
    change.request_time = Some(now);
    order.changes.push(change);
}

/// A wish of the platform's own to take the order back. Its id follows from the order, so that it is the same one
/// whoever computes it.
pub(crate) fn platform_change(order: &Order, reason: &str) -> OrderChange {
    let name = format!("{}/change/{}", order.order_id, order.changes.len());
    OrderChange {
        change_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string(),
        kind: OrderChangeKind::Cancel.into(),
        requested_by: PLATFORM.to_owned(),
        reason: reason.to_owned(),
        ..OrderChange::default()
    }
}

/// What the beginning of an attempt is for the table.
pub(super) fn begin(order: &Order, attempt: &Attempt) -> Kind {
    if is_enter(attempt) {
        return entry::begin(order);
    }
    if is_submit(attempt) {
        if order.state() != OrderState::InDoubt {
            return Kind::Begin;
        }
        // Where it may be already, and nowhere else.
        let is_there = last_submit(order).is_none_or(|last| is_divert(last) == is_divert(attempt));
        let is_free = is_there && submits(order).all(|before| is_over(before, attempt));
        return if is_free { Kind::Replay } else { Kind::Busy };
    }
    let is_wished = open_change(order).is_some_and(|change| change.change_id == attempt.change_id);
    let is_free = open_attempts_of(order, &attempt.change_id).all(|before| is_over(before, attempt));
    if is_wished && is_free { Kind::BeginChange } else { Kind::Busy }
}

/// Whether nobody writes for an attempt any more when the next one begins: no two writers at once, not even under one
/// reference.
fn is_over(attempt: &Attempt, next: &Attempt) -> bool {
    let ends_ms = attempt.not_after.as_ref().map_or(0, to_unix_ms);
    next.begin_time.as_ref().is_some_and(|begin| to_unix_ms(begin) > ends_ms)
}

/// Notes what became of an attempt to carry a wish out.
pub(super) fn note_outcome(order: &mut Order, attempt: &Attempt, outcome: Outcome, now: Timestamp) -> Kind {
    let (id, number) = (attempt.change_id.as_str(), attempt.number);
    let is_newest = last_attempt_of(order, id).is_some_and(|last| last.number == number);
    let cancels = attempt.kind() == AttemptKind::Cancel;
    match outcome {
        Outcome::Changed(changed) => {
            end_attempt(order, number, AttemptOutcome::Changed, &confirmed(&changed), now);
            if let Some(total) = changed.total {
                order.pos_total = Some(total);
            }
            confirm(order, id, now);
            if cancels { Kind::Changed } else { Kind::Noted }
        }
        Outcome::CancelledAtPos(placed) => {
            let outcome = if cancels { AttemptOutcome::Changed } else { AttemptOutcome::Rejected };
            end_attempt(order, number, outcome, &Why::new("CANCELLED_AT_POS", ""), now);
            evidence::note_cancelled(order, *placed)
        }
        Outcome::Gone => gone(order, attempt, now),
        Outcome::Rejected(why) => {
            end_attempt(order, number, AttemptOutcome::Rejected, &why, now);
            if is_newest {
                // The order is as it was: none of the earlier ones took effect either.
                end_open_attempts(order, id, now);
                refuse(order, id, &why, now);
            }
            Kind::Noted
        }
        Outcome::RefusedForNow(why, _) => ended(order, number, AttemptOutcome::RefusedForNow, &why, now),
        Outcome::NotHandedOver(why) => ended(order, number, AttemptOutcome::NotHandedOver, &why, now),
        Outcome::InDoubt(why) => ended(order, number, AttemptOutcome::InDoubt, &why, now),
        Outcome::Absent => ended(order, number, AttemptOutcome::Absent, &Why::default(), now),
        Outcome::Placed(_) | Outcome::Partly(_) => Kind::Noted,
    }
}

fn ended(order: &mut Order, number: i32, outcome: AttemptOutcome, why: &Why, now: Timestamp) -> Kind {
    end_attempt(order, number, outcome, why, now);
    Kind::Noted
}

/// The POS provably has no such order any more. Whoever wished it back has what they wished; whoever wished lines back
/// learns that more than that is gone.
fn gone(order: &mut Order, attempt: &Attempt, now: Timestamp) -> Kind {
    let why = Why::new("ORDER_GONE", "the POS does not have the order any more");
    if attempt.kind() != AttemptKind::Cancel {
        end_attempt(order, attempt.number, AttemptOutcome::Rejected, &why, now);
        refuse(order, &attempt.change_id, &why, now);
        raise(order, attention::GONE_FROM_POS);
        return Kind::Noted;
    }
    end_attempt(order, attempt.number, AttemptOutcome::Changed, &why, now);
    if matches!(order.state(), OrderState::Sending | OrderState::InDoubt) {
        if wish(order) == Wish::None && evidence::was_at_pos(order) {
            raise(order, attention::GONE_FROM_POS);
            return Kind::Noted;
        }
        end_open_submits(order, &Why::default(), now);
        return Kind::NotThere;
    }
    confirm(order, &attempt.change_id, now);
    Kind::Changed
}

/// None of the attempts to carry a wish out took effect.
fn end_open_attempts(order: &mut Order, change_id: &str, now: Timestamp) {
    let open: Vec<i32> = open_attempts_of(order, change_id).map(|attempt| attempt.number).collect();
    for number in open {
        end_attempt(order, number, AttemptOutcome::Absent, &Why::default(), now);
    }
}

fn confirmed(changed: &Changed) -> Why {
    let references: Vec<&str> = changed.evidence.iter().map(|e| e.reference.as_str()).collect();
    Why::new("", references.join(", "))
}

fn decide(order: &mut Order, change_id: &str, state: OrderChangeState, why: &Why, now: Timestamp) {
    let Some(change) = order.changes.iter_mut().find(|change| change.change_id == change_id) else { return };
    // Proof that it took effect counts even after somebody had given it up.
    if change.state() == OrderChangeState::Confirmed || change.state() == state {
        return;
    }
    change.set_state(state);
    change.end_time = Some(now);
    change.cause.clone_from(&why.cause);
    change.message.clone_from(&why.message);
    clear(order, &[attention::CHANGE_IN_DOUBT]);
}

fn confirm(order: &mut Order, change_id: &str, now: Timestamp) {
    decide(order, change_id, OrderChangeState::Confirmed, &Why::default(), now);
    let Some(change) = order.changes.iter().find(|change| change.change_id == change_id) else { return };
    for void in change.lines.clone() {
        if let Some(line) = order.lines.iter_mut().find(|line| line.line_id == void.line_id) {
            line.quantity_voided = line.quantity_voided.max(void.quantity_voided);
        }
    }
}

fn refuse(order: &mut Order, change_id: &str, why: &Why, now: Timestamp) {
    decide(order, change_id, OrderChangeState::Refused, why, now);
}

/// The open wish did not take effect, and nothing more is tried.
pub(super) fn give_up(order: &mut Order, why: &Why, now: Timestamp) -> Kind {
    let Some(change_id) = open_change(order).map(|change| change.change_id.clone()) else { return Kind::Noted };
    if is_in_flight(order.state()) || open_attempts_of(order, &change_id).next().is_some() {
        return Kind::Busy;
    }
    refuse(order, &change_id, why, now);
    raise(order, attention::CHANGE_REFUSED);
    Kind::Noted
}

/// What an event decides about the open wish; `entered`: the order entered the state that it is in.
pub(super) fn settle(order: &mut Order, kind: Kind, entered: bool, now: Timestamp) {
    use OrderState as S;
    let taken_back = matches!(kind, Kind::CancelledAtPos | Kind::Changed);
    if told_not_there(order.state()) && taken_back {
        // What the guest was told is true again.
        clear(order, &[attention::CONTRADICTED_END]);
    }
    let Some(change) = open_change(order).cloned() else { return };
    match order.state() {
        S::Rejected | S::Expired | S::Cancelled if entered || taken_back => {
            decide(order, &change.change_id, OrderChangeState::Confirmed, &Why::default(), now);
        }
        S::Placed | S::InPreparation | S::Ready | S::Completed => {
            let is_under_way = open_attempts_of(order, &change.change_id).next().is_some();
            if kind == Kind::AtPos && !entered {
                let why = Why::new("RESOLVED_BY_STAFF", "the staff see it at the POS");
                end_open_attempts(order, &change.change_id, now);
                refuse(order, &change.change_id, &why, now);
            } else if change.requested_by == PLATFORM && !is_under_way {
                let why = Why::new("NOT_NEEDED", "it came about that the POS has it");
                refuse(order, &change.change_id, &why, now);
            }
        }
        _ => {}
    }
}

/// Whether nobody knows the end of a submit that began earlier.
pub(super) fn has_open_submit_before(order: &Order, number: i32) -> bool {
    submits(order).any(|attempt| attempt.number < number && is_open(attempt))
}
