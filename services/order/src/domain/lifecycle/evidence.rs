//! What proves that the POS has an order. Never thrown away, from whichever attempt and however late it comes.

use posmesh_proto::{
    adapter::v1::{Placed, PosOrderProgress},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{Order, PosEntry, PriceStatus, ResolutionKind},
};

use super::{
    attention::{self, raise},
    entry,
    event::Why,
    history::{is_divert, is_enter, is_fallback, last_submit, submits},
    is_there,
    table::Kind,
    told_not_there,
};

/// What a POS repeats without end proves nothing more, and does not grow the order.
const MAX_EVIDENCE: usize = 50;

/// Notes what the POS, or what stands in for it, tells of an order that it has, and says what that is for the table.
/// `seen_now`: it was asked just now; otherwise the news may be older than what is known.
pub(super) fn note(order: &mut Order, placed: Placed, seen_now: bool) -> Kind {
    if placed.evidence.iter().any(|e| is_fallback(order, &e.connection_id)) {
        return note_of_fallback(order, placed, seen_now);
    }
    let entry = order.pos_entry();
    if entry == PosEntry::Unspecified {
        return note_placed(order, placed, seen_now);
    }
    if placed.progress() == PosOrderProgress::Cancelled && entry != PosEntry::Entered {
        entry::refuse(order, &Why::new("CANCELLED_AT_POS", "the POS had it, and somebody took it out"));
        return Kind::Noted;
    }
    if is_second(order, &placed.pos_order_reference) {
        raise(order, attention::DUPLICATE_AT_POS);
    }
    // The number on the kitchen's slip is the fallback's.
    note_placed(order, Placed { display_number: String::new(), ..placed }, seen_now)
}

/// [`note`] of what the fallback tells: that the kitchen has the order, and under which number. What it calls the order and
/// its check, and what it comes to there, is no word of the POS.
pub(super) fn note_of_fallback(order: &mut Order, placed: Placed, seen_now: bool) -> Kind {
    if placed.progress() == PosOrderProgress::Cancelled && is_there(order.state()) {
        // The ticket is out: whether it is cooked, only the kitchen knows.
        raise(order, attention::GONE_FROM_POS);
        return Kind::Noted;
    }
    let is_told = order.evidence.iter().any(|e| is_fallback(order, &e.connection_id));
    let went_on = last_submit(order).is_some_and(|last| !is_divert(last)) && !told_not_there(order.state());
    if went_on && !is_told {
        // It had proved not to have it.
        raise(order, attention::DUPLICATE_AT_POS);
    }
    note_placed(order, of_fallback(placed), seen_now)
}

pub(super) fn of_fallback(placed: Placed) -> Placed {
    Placed { pos_order_reference: String::new(), pos_check_reference: String::new(), total: None, ..placed }
}

/// Whether the POS has it besides the kitchen's ticket of the fallback, or what the staff have entered, and nobody entered
/// this one without a ticket.
fn is_second(order: &Order, reference: &str) -> bool {
    let is_new = reference.is_empty() || order.pos_order_references.iter().all(|known| known != reference);
    match order.pos_entry() {
        PosEntry::Due => is_new && !order.attempts.iter().any(is_enter),
        PosEntry::ByStaff => is_new && order.resolutions.iter().any(|r| r.kind() == ResolutionKind::EnteredByStaff),
        PosEntry::NotDue | PosEntry::Entered | PosEntry::Unspecified => false,
    }
}

fn note_placed(order: &mut Order, placed: Placed, seen_now: bool) -> Kind {
    let is_news = seen_now || !is_known(order, &placed.pos_order_reference);
    let progress = placed.progress();
    if progress == PosOrderProgress::Cancelled {
        return note_cancelled(order, placed);
    }
    add(order, placed);
    if told_not_there(order.state()) && !is_news {
        return Kind::Noted;
    }
    if !has_enough(order) {
        return Kind::PlacedWithout;
    }
    match progress {
        PosOrderProgress::InPreparation => Kind::InPreparation,
        PosOrderProgress::Ready => Kind::Ready,
        PosOrderProgress::Completed => Kind::Completed,
        PosOrderProgress::Unspecified | PosOrderProgress::Accepted | PosOrderProgress::Cancelled => Kind::Placed,
    }
}

/// The POS shows an order of ours as cancelled. Where it had made the order twice, that is no word about the other one.
pub(super) fn note_cancelled(order: &mut Order, placed: Placed) -> Kind {
    let references = &order.pos_order_references;
    let is_the_one = match references.as_slice() {
        [] => true,
        [known] => placed.pos_order_reference.is_empty() || *known == placed.pos_order_reference,
        _ => false,
    };
    if !is_the_one {
        return Kind::Noted;
    }
    add(order, Placed { total: None, ..placed });
    Kind::CancelledAtPos
}

/// Whether the POS's order was known to us before.
fn is_known(order: &Order, reference: &str) -> bool {
    if reference.is_empty() {
        return !order.evidence.is_empty();
    }
    order.pos_order_references.iter().any(|known| known == reference)
}

fn add(order: &mut Order, placed: Placed) {
    for evidence in placed.evidence {
        let known = |e: &Evidence| {
            (e.kind, &e.reference, &e.connection_id) == (evidence.kind, &evidence.reference, &evidence.connection_id)
        };
        let has_place = order.evidence.len() < MAX_EVIDENCE || order.evidence.iter().all(|e| e.kind != evidence.kind);
        if !order.evidence.iter().any(known) && has_place {
            order.evidence.push(evidence);
        }
    }
    let reference = placed.pos_order_reference;
    let has_place = order.pos_order_references.len() < MAX_EVIDENCE;
    if !reference.is_empty() && !order.pos_order_references.contains(&reference) && has_place {
        order.pos_order_references.push(reference);
        if order.pos_order_references.len() > 1 {
            raise(order, attention::DUPLICATE_AT_POS);
        }
    }
    if !placed.display_number.is_empty() {
        order.display_number = placed.display_number;
    }
    if let Some(total) = placed.total {
        let agreed = order.price.as_ref().and_then(|p| p.total.as_ref());
        let is_whole = order.lines.iter().all(|line| line.quantity_voided == 0);
        if is_whole && agreed.is_some_and(|agreed| *agreed != total) {
            raise(order, attention::TOTAL_DIFFERS);
        } else if is_whole
            && order.check_id.is_empty()
            && let Some(price) = &mut order.price
        {
            // A round's tax stays an estimate until the whole check's receipt.
            price.set_status(PriceStatus::Final);
        }
        order.pos_total = Some(total);
    }
}

/// Whether each kind that the store asks for is proven, by the POS or by what stands in for it, or a person has said so.
pub(crate) fn has_enough(order: &Order) -> bool {
    let at_pos = |kind| order.evidence.iter().any(|e| e.kind() == kind && !is_fallback(order, &e.connection_id));
    if at_pos(EvidenceKind::Staff) {
        return true;
    }
    let is_placed = match order.success_evidence.as_slice() {
        [] => at_pos(EvidenceKind::Pos),
        _ => order.success_evidence().all(at_pos),
    };
    is_placed || has_enough_of_fallback(order)
}

fn has_enough_of_fallback(order: &Order) -> bool {
    let Some(divert) = submits(order).rev().find(|attempt| is_divert(attempt)) else { return false };
    let is_there = |kind| order.evidence.iter().any(|e| e.kind() == kind && is_fallback(order, &e.connection_id));
    !divert.success_evidence.is_empty() && divert.success_evidence().all(is_there)
}

/// Whether the POS had any of it at some time.
pub(crate) fn was_at_pos(order: &Order) -> bool {
    let partly = |flags: &[String]| flags.iter().any(|flag| flag == attention::PARTLY_AT_POS);
    !order.evidence.is_empty() || partly(&order.attention) || order.resolutions.iter().any(|r| partly(&r.cleared))
}
