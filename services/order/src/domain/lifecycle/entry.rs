//! The way of a diverted order into the POS. The kitchen cooks it by the fallback's ticket: whatever comes of its entry
//! changes nothing about the meal.

use posmesh_proto::{
    common::v1::EvidenceKind,
    order::v1::{Attempt, AttemptOutcome, Order, OrderState, PosEntry, ResolutionKind},
};
use prost_types::Timestamp;

use super::{
    apply::{because, end_attempt},
    attention::{self, clear, raise},
    event::{Outcome, Why},
    evidence,
    history::{is_divert, is_enter, is_fallback, is_open, is_submit, open_change, writes_order},
    is_there,
    table::Kind,
    told_not_there,
};

/// By these an order is on the staff's list.
const ON_LIST: [&str; 3] = [attention::POS_ENTRY_DUE, attention::POS_ENTRY_REFUSED, attention::POS_ENTRY_IN_DOUBT];

/// Whether this is about an order that the POS must be told of.
pub(super) fn is_about_entry(flag: &str) -> bool {
    ON_LIST.contains(&flag)
}

/// Whether the kitchen has the order, and the POS must still be told of it.
pub(crate) fn is_due(order: &Order) -> bool {
    order.pos_entry() == PosEntry::Due && is_there(order.state())
}

/// Whether the staff see to the entry: it is on their list, or was. The platform enters nothing that they may be entering.
pub(crate) fn is_staffs(order: &Order) -> bool {
    let on_list = |flags: &[String]| flags.iter().any(|flag| is_about_entry(flag));
    on_list(&order.attention) || order.resolutions.iter().any(|resolution| on_list(&resolution.cleared))
}

/// The newest attempt to enter the order of which nobody knows what became.
pub(crate) fn open_entry(order: &Order) -> Option<&Attempt> {
    order.attempts.iter().rev().find(|attempt| is_enter(attempt) && is_open(attempt))
}

/// Whether an attempt to enter the order has begun, and its answer is still to come.
pub(super) fn is_under_way(order: &Order) -> bool {
    open_entry(order).is_some_and(|attempt| attempt.outcome() == AttemptOutcome::Unspecified)
}

/// Whether the platform has yet to see to the entry.
pub(crate) fn is_pending(order: &Order) -> bool {
    is_due(order) && (!is_staffs(order) || open_entry(order).is_some())
}

/// Whether the platform has yet to see to the entry, or will have to as soon as the fallback has printed the order, which
/// may be at any moment.
pub(crate) fn is_coming(order: &Order) -> bool {
    let is_printing = |attempt: &Attempt| is_divert(attempt) && attempt.outcome() == AttemptOutcome::Unspecified;
    let will_be_due = order.state() == OrderState::Sending && order.attempts.last().is_some_and(is_printing);
    will_be_due || is_pending(order) && !is_staffs(order)
}

/// Whether the POS itself has the order.
pub(crate) fn is_at_pos(order: &Order) -> bool {
    let took_effect =
        |attempt: &Attempt| writes_order(attempt) && !is_divert(attempt) && attempt.outcome() == AttemptOutcome::Placed;
    let proves = |kind| matches!(kind, EvidenceKind::Pos | EvidenceKind::Kitchen | EvidenceKind::Printed);
    order.attempts.iter().any(took_effect)
        || order.evidence.iter().any(|e| proves(e.kind()) && !is_fallback(order, &e.connection_id))
}

/// What the beginning of an attempt to enter the order is for the table. One at a time, and none while somebody wishes the
/// order back.
pub(super) fn begin(order: &Order) -> Kind {
    let is_free = is_pending(order) && open_entry(order).is_none() && open_change(order).is_none();
    if is_free && !is_staffs(order) { Kind::BeginChange } else { Kind::Busy }
}

/// Notes that an attempt to write the order begins.
pub(super) fn note_begun(order: &mut Order, attempt: &Attempt) {
    if is_divert(attempt) {
        order.set_pos_entry(PosEntry::NotDue);
    } else if is_submit(attempt) && order.pos_entry() == PosEntry::NotDue {
        // Nothing of it is at the fallback: it comes to the POS by itself again.
        order.set_pos_entry(PosEntry::Unspecified);
    } else if is_enter(attempt) {
        order.awaited_connection_id.clear();
    }
}

/// Notes what became of an attempt to enter the order.
pub(super) fn note_outcome(order: &mut Order, number: i32, outcome: Outcome, now: Timestamp) -> Kind {
    let (ended, why) = match outcome {
        Outcome::Placed(placed) => {
            end_attempt(order, number, AttemptOutcome::Placed, &Why::default(), now);
            return evidence::note(order, *placed, false);
        }
        Outcome::CancelledAtPos(_) => {
            let why = Why::new("CANCELLED_AT_POS", "the POS had it, and somebody took it out");
            refuse(order, &why);
            (AttemptOutcome::Rejected, why)
        }
        Outcome::Rejected(why) => {
            refuse(order, &why);
            (AttemptOutcome::Rejected, why)
        }
        Outcome::Partly(why) => {
            if order.pos_entry() == PosEntry::Due {
                raise(order, attention::POS_ENTRY_IN_DOUBT);
                because(order, &why);
            }
            (AttemptOutcome::InDoubt, why)
        }
        Outcome::Absent => {
            if attention::is_raised(order, attention::POS_ENTRY_IN_DOUBT) {
                // Somebody may be entering it by now.
                clear(order, &ON_LIST);
                raise(order, attention::POS_ENTRY_DUE);
            }
            (AttemptOutcome::Absent, Why::default())
        }
        Outcome::InDoubt(why) => (AttemptOutcome::InDoubt, why),
        Outcome::RefusedForNow(why, _) => (AttemptOutcome::RefusedForNow, why),
        Outcome::NotHandedOver(why) => (AttemptOutcome::NotHandedOver, why),
        Outcome::Changed(_) | Outcome::Gone => return Kind::Noted,
    };
    end_attempt(order, number, ended, &why, now);
    Kind::Noted
}

/// The POS does not take it from the platform: the staff see to it. The guest eats.
pub(super) fn refuse(order: &mut Order, why: &Why) {
    if order.pos_entry() == PosEntry::Due {
        raise(order, attention::POS_ENTRY_REFUSED);
        because(order, why);
    }
}

/// Notes what a person said about the entry of an order that the kitchen has.
pub(super) fn resolve(order: &mut Order, kind: ResolutionKind, now: Timestamp) {
    match kind {
        ResolutionKind::AtPos | ResolutionKind::EnteredByStaff => leave(order, PosEntry::ByStaff),
        ResolutionKind::NotAtPos => {
            let numbers: Vec<i32> =
                order.attempts.iter().filter(|a| is_enter(a) && is_open(a)).map(|a| a.number).collect();
            for number in numbers {
                end_attempt(order, number, AttemptOutcome::Absent, &Why::new("RESOLVED_BY_STAFF", ""), now);
            }
            raise(order, attention::POS_ENTRY_DUE);
        }
        ResolutionKind::SendAgain | ResolutionKind::Seen | ResolutionKind::Unspecified => {}
    }
}

/// What follows for the entry from how the order is now.
pub(super) fn settle(order: &mut Order) {
    match order.pos_entry() {
        PosEntry::NotDue if is_there(order.state()) => {
            let by_hand = order.resolutions.last().is_some_and(|r| r.kind() == ResolutionKind::EnteredByStaff);
            order.set_pos_entry(match (by_hand, is_at_pos(order)) {
                (true, _) => PosEntry::ByStaff,
                (false, true) => PosEntry::Entered,
                (false, false) => PosEntry::Due,
            });
        }
        // Nothing is left to be entered.
        PosEntry::NotDue | PosEntry::Due if told_not_there(order.state()) => leave(order, PosEntry::Unspecified),
        PosEntry::Due if is_at_pos(order) => leave(order, PosEntry::Entered),
        _ => {}
    }
}

fn leave(order: &mut Order, entry: PosEntry) {
    order.set_pos_entry(entry);
    order.awaited_connection_id.clear();
    clear(order, &ON_LIST);
}
