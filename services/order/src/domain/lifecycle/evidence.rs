//! What proves that the POS has an order. Never thrown away, from whichever attempt and however late it comes.

use posmesh_proto::{
    adapter::v1::{Placed, PosOrderProgress},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{Order, PriceStatus},
};

use super::{
    attention::{self, raise},
    table::Kind,
    told_not_there,
};

/// What a POS repeats without end proves nothing more, and does not grow the order.
const MAX_EVIDENCE: usize = 50;

/// Notes what the POS tells of an order that it has, and says what that is for the table. `seen_now`: it was asked just
/// now; otherwise the news may be older than what is known.
pub(super) fn note(order: &mut Order, placed: Placed, seen_now: bool) -> Kind {
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

/// Whether each kind that the store asks for is proven, or a person has said so.
pub(crate) fn has_enough(order: &Order) -> bool {
    let has = |kind: EvidenceKind| order.evidence.iter().any(|e| e.kind() == kind);
    if has(EvidenceKind::Staff) {
        return true;
    }
    if order.success_evidence.is_empty() {
        return has(EvidenceKind::Pos);
    }
    order.success_evidence().all(has)
}

/// Whether the POS had any of it at some time.
pub(crate) fn was_at_pos(order: &Order) -> bool {
    let partly = |flags: &[String]| flags.iter().any(|flag| flag == attention::PARTLY_AT_POS);
    !order.evidence.is_empty() || partly(&order.attention) || order.resolutions.iter().any(|r| partly(&r.cleared))
}
