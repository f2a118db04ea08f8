//! An order in the words of the adapters.

use posmesh_proto::{
    adapter::v1::{
        FindOrderRequest, PosCheckRef, PosLine, PosLineVoid, PosModifier, PosOrder, PosOrderFacts, PosTarget, PosTender,
    },
    common::v1::{EvidenceKind, Product, ServiceMode},
    order::v1::{Attempt, Check, LineModifier, Order, OrderChange, OrderLine, OrderPurpose},
};

use super::lifecycle::{is_enter, is_fallback, is_in_flight, writes_order};

/// The mode that selects the connection: that of the table, else of the first line.
pub(crate) fn service_mode(order: &Order) -> ServiceMode {
    if order.product() == Product::Table {
        return table_mode().1;
    }
    order.lines.first().map_or(ServiceMode::Unspecified, |line| line.service_mode())
}

/// Table orders are about a table, not about a line.
pub(crate) fn table_mode() -> (Product, ServiceMode) {
    (Product::Table, ServiceMode::DineIn)
}

/// Where an attempt goes: the very connection that it is pinned to, as it was then.
pub(crate) fn to_target(order: &Order, attempt: &Attempt) -> PosTarget {
    PosTarget {
        store_id: order.store_id.clone(),
        product: order.product,
        service_mode: service_mode(order).into(),
        connection_id: attempt.connection_id.clone(),
        connection_revision: attempt.connection_revision,
    }
}

/// Whether an attempt to change an order goes to the POS that the order was sent to, and that has told so itself if it
/// counts as being there.
pub(crate) fn is_where_it_was_sent(order: &Order, attempt: &Attempt) -> bool {
    let went_there = order.attempts.iter().filter(|attempt| writes_order(attempt)).any(|submit| {
        (&submit.connection_id, submit.connection_revision) == (&attempt.connection_id, attempt.connection_revision)
    });
    let told =
        order.evidence.iter().any(|e| e.kind() != EvidenceKind::Staff && e.connection_id == attempt.connection_id);
    went_there && (told || is_in_flight(order.state()))
}

/// By what the POS that an attempt goes to knows the order again.
pub(crate) fn to_pos_facts(order: &Order, check: Option<&Check>, attempt: &Attempt) -> PosOrderFacts {
    let there = &attempt.connection_id;
    let pos_order_references = if is_fallback(order, there) {
        let told = order.evidence.iter().filter(|e| e.connection_id == *there && !e.reference.is_empty());
        told.map(|evidence| evidence.reference.clone()).collect()
    } else {
        order.pos_order_references.clone()
    };
    PosOrderFacts {
        reference: order.order_id.clone(),
        line_ids: order.lines.iter().map(|l| l.line_id.clone()).collect(),
        check: check_ref(order, check, attempt),
        place_time: order.create_time,
        business_date: order.business_date.clone(),
        pos_order_references,
    }
}

/// What a wish for lines asks of the POS.
pub(crate) fn to_pos_voids(change: &OrderChange) -> Vec<PosLineVoid> {
    let void = |void: &posmesh_proto::order::v1::LineVoid| PosLineVoid {
        line_id: void.line_id.clone(),
        quantity_voided: void.quantity_voided,
    };
    change.lines.iter().map(void).collect()
}

/// The order as an attempt shall bring it to its POS. `check` is the check that it is a round of, `guest_name` for the slip.
pub(crate) fn to_pos_order(order: &Order, check: Option<&Check>, guest_name: &str, attempt: &Attempt) -> PosOrder {
    PosOrder {
        reference: order.order_id.clone(),
        product: order.product,
        test: order.purpose() == OrderPurpose::Test,
        display_number: order.display_number.clone(),
        business_date: order.business_date.clone(),
        check: check_ref(order, check, attempt),
        lines: order.lines.iter().map(to_pos_line).collect(),
        tenders: order
            .tenders
            .iter()
            .map(|t| PosTender {
                tender_id: t.tender_id.clone(),
                amount: t.amount.clone(),
                reference: t.reference.clone(),
            })
            .collect(),
        expected_total: order.price.as_ref().and_then(|p| p.total.clone()),
        place_time: order.create_time,
        pickup_time: order.pickup_time,
        note: order.note.clone(),
        guest_name: guest_name.to_owned(),
        pager_number: order.pager_number.clone(),
        without_ticket: is_enter(attempt),
    }
}

/// The facts by which the order is found again at the POS. Lines that are void in all are not looked for.
pub(crate) fn to_find_request(order: &Order, check: Option<&Check>, attempt: &Attempt) -> FindOrderRequest {
    let is_left = |line: &&OrderLine| line.quantity_voided < line.quantity;
    FindOrderRequest {
        target: Some(to_target(order, attempt)),
        context: None,
        reference: order.order_id.clone(),
        line_ids: order.lines.iter().filter(is_left).map(|l| l.line_id.clone()).collect(),
        check: check_ref(order, check, attempt),
        place_time: order.create_time,
        business_date: order.business_date.clone(),
    }
}

/// The fallback knows nothing of the POS's checks.
fn check_ref(order: &Order, check: Option<&Check>, attempt: &Attempt) -> Option<PosCheckRef> {
    let at_pos = check.filter(|_| !is_fallback(order, &attempt.connection_id));
    (!order.check_id.is_empty()).then(|| PosCheckRef {
        table_id: order.table_id.clone(),
        pos_check_reference: at_pos.map(|c| c.pos_check_reference.clone()).unwrap_or_default(),
        round: order.round,
        party_size: order.party_size,
        check_id: order.check_id.clone(),
    })
}

fn to_pos_line(line: &OrderLine) -> PosLine {
    PosLine {
        line_id: line.line_id.clone(),
        item_id: line.item_id.clone(),
        name: line.name.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price.clone(),
        modifiers: line.modifiers.iter().map(to_pos_modifier).collect(),
        service_mode: line.service_mode,
        note: line.note.clone(),
    }
}

fn to_pos_modifier(modifier: &LineModifier) -> PosModifier {
    PosModifier {
        group_id: modifier.group_id.clone(),
        modifier_id: modifier.modifier_id.clone(),
        name: modifier.name.clone(),
        quantity: modifier.quantity,
        price: modifier.price.clone(),
        modifiers: modifier.modifiers.iter().map(to_pos_modifier).collect(),
    }
}
