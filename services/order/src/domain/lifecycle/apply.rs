//! Does what the table says to an order, and notes what events bring besides.

use posmesh_proto::{
    common::v1::{Evidence, EvidenceKind},
    order::v1::{Attempt, AttemptOutcome, HoldReason, Order, OrderState, Resolution, ResolutionKind},
};
use prost_types::Timestamp;

use super::{
    attention::{self, raise},
    changes, entry,
    event::{Event, Outcome, Said, Why},
    evidence,
    history::{is_divert, is_enter, is_open, is_submit, last_submit, open_change, wish},
    is_in_flight,
    table::{Kind, Next, Wish, next},
};

/// The table refused the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to an order that is {state:?}")]
pub(crate) struct Refused {
    /// The order's state.
    pub(crate) state: OrderState,
    /// What was tried.
    pub(crate) event: Kind,
}

/// What a person's word lets an order that is sent again have: so long the platform tries.
const SEND_AGAIN_WITHIN_S: i64 = 120;

/// Applies an event: moves the state as the table says, notes what the event brings, and counts the version up. Returns
/// whether anything changed; when nothing did, neither did the version.
pub(crate) fn apply(order: &mut Order, event: Event, now: Timestamp) -> Result<bool, Refused> {
    let before = order.clone();
    let state = before.state();
    // As it was before the event: what the event decides about it is the table's to say.
    let wish = wish(order);
    let kind = note(order, event, now);
    let entered = match next(state, kind, wish) {
        Next::Refuse => {
            *order = before;
            return Err(Refused { state, event: kind });
        }
        Next::To(to) => {
            enter(order, to, kind, wish, now);
            true
        }
        Next::Stay => false,
        Next::StayAndFlag(flag) => {
            raise(order, flag);
            changes::compensate(order, now);
            false
        }
    };
    changes::settle(order, kind, entered, now);
    entry::settle(order);
    if *order == before {
        return Ok(false);
    }
    order.attention_time = match (before.attention.is_empty(), order.attention.is_empty()) {
        (_, true) => None,
        (true, false) => Some(now),
        (false, false) => before.attention_time,
    };
    order.version += 1;
    order.update_time = Some(now);
    Ok(true)
}

fn enter(order: &mut Order, to: OrderState, kind: Kind, wish: Wish, now: Timestamp) {
    use OrderState as S;
    let from = order.state();
    order.set_state(to);
    if to != S::Held {
        order.set_hold_reason(HoldReason::Unspecified);
        order.awaited_connection_id.clear();
    }
    match to {
        S::Placed | S::InPreparation | S::Ready | S::Completed => {
            if is_in_flight(from) {
                order.place_time = Some(now);
                because(order, &Why::default());
            }
        }
        S::Cancelled | S::Rejected | S::Expired => {
            if let Some(why) = end(order, to, kind, wish) {
                because(order, &why);
            }
        }
        S::Unspecified | S::Pending | S::Held | S::Sending | S::InDoubt => {}
    }
    attention::settle(order, to);
}

/// Why it ended, where that is not what the POS said.
fn end(order: &Order, to: OrderState, kind: Kind, wish: Wish) -> Option<Why> {
    match (to, kind) {
        (OrderState::Cancelled, Kind::CancelledAtPos) => Some(Why::new("CANCELLED_AT_POS", "")),
        (OrderState::Cancelled, _) if wish == Wish::Platform => Some(Why::new("DEADLINE_PASSED", "it came too late")),
        (OrderState::Cancelled, Kind::NotAtPos) if wish == Wish::None => Some(Why::new("RESOLVED_BY_STAFF", "")),
        (OrderState::Cancelled, _) => Some(Why::new("CANCELLED_BY_CALLER", "")),
        (OrderState::Rejected, Kind::NotAtPos) => Some(Why::new("RESOLVED_BY_STAFF", "")),
        // Why it could not be delivered is worth more than that time ran out.
        (OrderState::Expired, _) if order.cause.is_empty() => {
            Some(Why::new("DEADLINE_PASSED", "the POS could not be reached in time"))
        }
        _ => None,
    }
}

/// Notes what an event brings besides the state, and tells its kind.
fn note(order: &mut Order, event: Event, now: Timestamp) -> Kind {
    match event {
        Event::AttemptBegun(attempt) => {
            let kind = changes::begin(order, &attempt);
            entry::note_begun(order, &attempt);
            let number = order.attempts.iter().map(|a| a.number).max().unwrap_or(0).saturating_add(1);
            order.attempts.push(Attempt { number, ..*attempt });
            kind
        }
        Event::Attempted { attempt, outcome } => {
            let Some(attempt) = order.attempts.iter().find(|a| a.number == attempt).cloned() else {
                return Kind::Noted;
            };
            if is_submit(&attempt) {
                note_submit(order, &attempt, outcome, now)
            } else if is_enter(&attempt) {
                entry::note_outcome(order, attempt.number, outcome, now)
            } else {
                changes::note_outcome(order, &attempt, outcome, now)
            }
        }
        Event::Reported(placed) => evidence::note(order, *placed, false),
        Event::SeenAtPos(placed) => evidence::note(order, *placed, true),
        Event::ChangeAsked(change) => changes::ask(order, *change, now),
        Event::ChangeGivenUp(why) => changes::give_up(order, &why, now),
        Event::DeadlinePassed => Kind::Deadline,
        Event::CheckEnded(why) => {
            because(order, &why);
            Kind::CheckEnded
        }
        Event::Over(why) => {
            because(order, &why);
            Kind::Over
        }
        Event::PersonNeeded(flag) => person_needed(order, flag),
        Event::MustWait => {
            order.set_hold_reason(HoldReason::RoundBefore);
            Kind::Wait
        }
        Event::LinkAwaited { connection_id, deliver_by } => {
            order.set_hold_reason(HoldReason::Link);
            order.awaited_connection_id = connection_id;
            order.deliver_by = Some(deliver_by);
            Kind::Wait
        }
        Event::EntryAwaits(connection_id) => {
            if entry::is_pending(order) {
                order.awaited_connection_id = connection_id;
            }
            Kind::Noted
        }
        Event::Noticed(why) => {
            because(order, &why);
            Kind::Notice
        }
        Event::Resolved(said) => resolve(order, *said, now),
    }
}

fn person_needed(order: &mut Order, flag: &str) -> Kind {
    let in_doubt = matches!(order.state(), OrderState::Sending | OrderState::InDoubt);
    let is_about_doubt = attention::is_about_doubt(flag);
    let is_over = entry::is_about_entry(flag) && !entry::is_due(order);
    if (is_about_doubt && !in_doubt) || is_over || attention::is_seen(order, flag) {
        return Kind::Noted;
    }
    raise(order, flag);
    if is_about_doubt { Kind::Person } else { Kind::Noted }
}

/// Notes what became of an attempt to submit. Only an answer to the newest one can say that the POS does not have the
/// order, and only if the end of each earlier one is known.
fn note_submit(order: &mut Order, attempt: &Attempt, outcome: Outcome, now: Timestamp) -> Kind {
    let number = attempt.number;
    let is_newest = last_submit(order).is_some_and(|last| last.number == number);
    let (kind, ended, why) = match outcome {
        Outcome::Placed(placed) if is_divert(attempt) => {
            if entry::is_at_pos(order) && attempt.outcome() != AttemptOutcome::Placed {
                raise(order, attention::DUPLICATE_AT_POS);
            }
            end_attempt(order, number, AttemptOutcome::Placed, &Why::default(), now);
            return evidence::note_of_fallback(order, *placed, false);
        }
        Outcome::Placed(placed) => {
            end_attempt(order, number, AttemptOutcome::Placed, &Why::default(), now);
            return evidence::note(order, *placed, false);
        }
        Outcome::CancelledAtPos(placed) => {
            end_attempt(order, number, AttemptOutcome::Placed, &Why::default(), now);
            let placed = if is_divert(attempt) { evidence::of_fallback(*placed) } else { *placed };
            return evidence::note_cancelled(order, placed);
        }
        Outcome::Partly(why) => {
            end_attempt(order, number, AttemptOutcome::InDoubt, &why, now);
            raise(order, attention::PARTLY_AT_POS);
            if !super::has_ended(order.state()) {
                because(order, &why);
            }
            return Kind::Partly;
        }
        // What was there once did not get lost on the way: somebody took it out. Sending it again could make it twice.
        // Of an attempt that a newer one has followed it is old news: two replicas may have settled it, and the newer one
        // has brought the order there.
        Outcome::Absent if is_newest && evidence::was_at_pos(order) && wish(order) == Wish::None => {
            raise(order, attention::GONE_FROM_POS);
            return Kind::InDoubt;
        }
        Outcome::Absent => {
            if is_newest {
                end_open_submits(order, &Why::default(), now);
                return Kind::NotThere;
            }
            (Kind::NotThere, AttemptOutcome::Absent, Why::default())
        }
        // No word of the POS, to which the way is still open.
        Outcome::Rejected(why) if is_divert(attempt) => (Kind::NotThere, AttemptOutcome::Rejected, why),
        Outcome::Rejected(why) => (Kind::Rejected, AttemptOutcome::Rejected, why),
        Outcome::RefusedForNow(why, _) => (Kind::NotThere, AttemptOutcome::RefusedForNow, why),
        Outcome::NotHandedOver(why) => (Kind::NotThere, AttemptOutcome::NotHandedOver, why),
        Outcome::InDoubt(why) => (Kind::InDoubt, AttemptOutcome::InDoubt, why),
        // No answers to a submit.
        Outcome::Changed(_) | Outcome::Gone => return Kind::Noted,
    };
    end_attempt(order, number, ended, &why, now);
    if !is_newest {
        return Kind::Noted;
    }
    // Words of an attempt do not overwrite what the order's end says.
    if matches!(order.state(), OrderState::Sending | OrderState::InDoubt) && !why.cause.is_empty() {
        because(order, &why);
    }
    if changes::has_open_submit_before(order, number) { Kind::InDoubt } else { kind }
}

/// Notes an attempt's outcome. A better known one replaces a doubt, never the other way round.
pub(super) fn end_attempt(order: &mut Order, number: i32, outcome: AttemptOutcome, why: &Why, now: Timestamp) {
    let Some(attempt) = order.attempts.iter_mut().find(|a| a.number == number) else { return };
    let took_effect = matches!(outcome, AttemptOutcome::Placed | AttemptOutcome::Changed);
    if attempt.outcome() == outcome || !is_open(attempt) && !took_effect {
        return;
    }
    attempt.set_outcome(outcome);
    attempt.end_time = Some(now);
    attempt.cause.clone_from(&why.cause);
    attempt.message.clone_from(&why.message);
}

/// No submit took effect.
pub(super) fn end_open_submits(order: &mut Order, why: &Why, now: Timestamp) {
    let open = |a: &&Attempt| is_submit(a) && is_open(a);
    let numbers: Vec<i32> = order.attempts.iter().filter(open).map(|a| a.number).collect();
    for number in numbers {
        end_attempt(order, number, AttemptOutcome::Absent, why, now);
    }
}

/// Notes what a person says, and that what was raised has been looked at.
fn resolve(order: &mut Order, said: Said, now: Timestamp) -> Kind {
    let said_kind = said.kind;
    // While a wish is open, it is that which the staff speak of, unless they name the entry.
    let names_entry = said.kind == ResolutionKind::EnteredByStaff;
    let is_about_entry = entry::is_due(order) && (names_entry || open_change(order).is_none());
    if is_about_entry && said.kind != ResolutionKind::Seen && entry::is_under_way(order) {
        return Kind::Busy;
    }
    let kind = match said.kind {
        ResolutionKind::NotAtPos if is_about_entry => Kind::Noted,
        ResolutionKind::AtPos | ResolutionKind::EnteredByStaff => Kind::AtPos,
        ResolutionKind::SendAgain => Kind::SendAgain,
        ResolutionKind::NotAtPos => Kind::NotAtPos,
        ResolutionKind::Seen if order.attention.is_empty() => return Kind::Noted,
        ResolutionKind::Seen | ResolutionKind::Unspecified => Kind::Noted,
    };
    match kind {
        Kind::AtPos => {
            let staff = Evidence {
                kind: EvidenceKind::Staff.into(),
                reference: said.pos_order_reference.clone(),
                time: Some(now),
                ..Evidence::default()
            };
            order.evidence.push(staff);
            if order.pos_order_references.is_empty() && !said.pos_order_reference.is_empty() {
                order.pos_order_references.push(said.pos_order_reference);
            }
        }
        Kind::SendAgain | Kind::NotAtPos => {
            end_open_submits(order, &Why::new("RESOLVED_BY_STAFF", ""), now);
            if kind == Kind::SendAgain {
                order.deliver_by = Some(Timestamp { seconds: now.seconds + SEND_AGAIN_WITHIN_S, nanos: now.nanos });
            }
        }
        _ => {}
    }
    // What they do not speak of stays on their list.
    let is_left = |flag: &String| !is_about_entry && said_kind != ResolutionKind::Seen && entry::is_about_entry(flag);
    let (left, cleared) = std::mem::take(&mut order.attention).into_iter().partition(is_left);
    order.attention = left;
    order.resolutions.push(Resolution {
        kind: said.kind.into(),
        resolved_by: said.by,
        note: said.note,
        time: Some(now),
        cleared,
    });
    if is_about_entry {
        entry::resolve(order, said_kind, now);
    }
    kind
}

pub(super) fn because(order: &mut Order, why: &Why) {
    order.cause.clone_from(&why.cause);
    order.cause_message.clone_from(&why.message);
}
