//! An order in the words of the adapters.

use posmesh_proto::{
    adapter::v1::{FindOrderRequest, PosCheckRef, PosLine, PosModifier, PosOrder, PosTarget, PosTender},
    order::v1::{Check, LineModifier, Order, OrderPurpose},
};

/// The order as the POS shall take it. `check` is the check that it is a round of, `guest_name` for the slip.
pub(crate) fn to_pos_order(order: &Order, check: Option<&Check>, guest_name: &str) -> PosOrder {
    PosOrder {
        reference: order.order_id.clone(),
        product: order.product,
        test: order.purpose() == OrderPurpose::Test,
        display_number: order.display_number.clone(),
        business_date: order.business_date.clone(),
        check: check_ref(order, check),
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
    }
}

/// The facts by which the order is found again at the POS.
pub(crate) fn to_find_request(order: &Order, check: Option<&Check>, connection_id: &str) -> FindOrderRequest {
    FindOrderRequest {
        target: Some(PosTarget {
            store_id: order.store_id.clone(),
            connection_id: connection_id.to_owned(),
            ..PosTarget::default()
        }),
        context: None,
        reference: order.order_id.clone(),
        line_ids: order.lines.iter().map(|l| l.line_id.clone()).collect(),
        check: check_ref(order, check),
        place_time: order.create_time,
        business_date: order.business_date.clone(),
    }
}

fn check_ref(order: &Order, check: Option<&Check>) -> Option<PosCheckRef> {
    (!order.check_id.is_empty()).then(|| PosCheckRef {
        table_id: order.table_id.clone(),
        pos_check_reference: check.map(|c| c.pos_check_reference.clone()).unwrap_or_default(),
        round: order.round,
        party_size: order.party_size,
        check_id: order.check_id.clone(),
    })
}

fn to_pos_line(line: &posmesh_proto::order::v1::OrderLine) -> PosLine {
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
