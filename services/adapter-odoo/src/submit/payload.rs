//! What goes to `pos.order/sync_from_ui`: pure.

use serde_json::{Map, Value, json};

use crate::{orders::OUR_MARK, tax, till::Till};

use super::lines::NewLine;

/// Odoo's command "forget record 0": it changes nothing, but makes Odoo compute the order's amounts from its lines.
pub(crate) const RECOMPUTE: [i64; 3] = [3, 0, 0];

/// A payment taken elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Payment {
    pub(super) uuid: String,
    pub(super) method_id: i64,
    pub(super) amount: i64,
    pub(super) reference: String,
}

/// Creates an order, and updates it within the same transaction.
///
/// The creation leaves the amounts at zero; the update makes Odoo compute them, takes the payments, and is what fails if
/// the creation was merged into a draft of the staff's: then there is no order of this uuid, and an order cannot be
/// created without amounts.
pub(super) fn create(
    uuid: &str,
    session_id: i64,
    till: &Till,
    fields: &Map<String, Value>,
    lines: &[NewLine],
    payments: &[Payment],
) -> Value {
    let mut creation = fields.clone();
    // A draft with a table may be merged; a paid order has no business with the table's draft and gets it afterwards.
    let table_id = if payments.is_empty() { None } else { creation.remove("table_id") };
    creation.extend(object(json!({
        "uuid": uuid, "session_id": session_id, "company_id": till.company_id, "state": "draft", "access_token": "",
        "amount_total": 0, "amount_tax": 0, "amount_paid": 0, "amount_return": 0, "payment_ids": [],
        // The lines bear their final taxes; Odoo would map them once more.
        "fiscal_position_id": false,
        "lines": commands(lines, till),
    })));
    let mut change = object(json!({
        "uuid": uuid, "session_id": session_id, "access_token": "", "lines": [],
        "state": if payments.is_empty() { "draft" } else { "paid" },
        "payment_ids": if payments.is_empty() { json!([RECOMPUTE]) } else { payment_commands(payments, till) },
    }));
    if !payments.is_empty() {
        change.insert("amount_return".into(), json!(0));
    }
    change.extend(table_id.map(|id| ("table_id".to_owned(), id)));
    change.extend(parts(lines));
    json!({"orders": [creation, change], "context": till.scope(None).context()})
}

/// Adds lines to a draft. Without its table: Odoo would add them to whatever draft that table has by now.
pub(super) fn add(
    draft_uuid: &str,
    session_id: i64,
    till: &Till,
    fields: &Map<String, Value>,
    lines: &[NewLine],
) -> Value {
    let mut change = fields.clone();
    change.extend(object(json!({
        "uuid": draft_uuid, "session_id": session_id, "state": "draft", "access_token": "",
        "payment_ids": [RECOMPUTE], "lines": commands(lines, till),
    })));
    change.extend(parts(lines));
    json!({"orders": [change], "context": till.scope(None).context()})
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn commands(lines: &[NewLine], till: &Till) -> Value {
    lines.iter().map(|line| json!([0, 0, line_dict(line, till)])).collect()
}

fn line_dict(line: &NewLine, till: &Till) -> Value {
    let priced = line.priced();
    let tax = tax::tax_of(priced, line.rate);
    let (net, gross) = if line.rate.included { (priced - tax, priced) } else { (priced, priced + tax) };
    let tax_ids: Vec<i64> = line.rate.tax_id.into_iter().collect();
    let mut dict = object(json!({
        "uuid": line.uuid,
        "product_id": line.product_id,
        "qty": line.quantity,
        "price_unit": till.to_float(line.unit_price),
        "price_extra": till.to_float(line.price_extra),
        "price_subtotal": till.to_float(net),
        "price_subtotal_incl": till.to_float(gross),
        "discount": 0,
        "tax_ids": [[6, 0, tax_ids]],
        "attribute_value_ids": [[6, 0, line.attribute_value_ids]],
        "full_product_name": line.name,
        "notice": OUR_MARK,
    }));
    if !line.note.is_empty() {
        dict.insert("customer_note".into(), json!(line.note));
    }
    if let Some((_, combo_item_id)) = &line.part_of {
        dict.insert("combo_item_id".into(), json!(combo_item_id));
    }
    Value::Object(dict)
}

/// Which lines are parts of which combo: Odoo links them after all lines exist.
fn parts(lines: &[NewLine]) -> Option<(String, Value)> {
    let of = |line: &NewLine| {
        let (combo, _) = line.part_of.as_ref()?;
        Some((line.uuid.clone(), json!({"combo_parent_id": combo})))
    };
    let parts: Map<String, Value> = lines.iter().filter_map(of).collect();
    (!parts.is_empty()).then(|| ("relations_uuid_mapping".to_owned(), json!({"pos.order.line": parts})))
}

fn payment_commands(payments: &[Payment], till: &Till) -> Value {
    let command = |payment: &Payment| {
        json!([0, 0, {
            "uuid": payment.uuid,
            "name": "posmesh",
            "amount": till.to_float(payment.amount),
            "payment_method_id": payment.method_id,
            "transaction_id": payment.reference,
        }])
    };
    payments.iter().map(command).collect()
}
