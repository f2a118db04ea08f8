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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{tax::Rate, till::tests::till};

    fn line(uuid: &str, unit_price: i64) -> NewLine {
        NewLine {
            uuid: uuid.to_owned(),
            product_id: 161,
            quantity: 1,
            unit_price,
            price_extra: 0,
            rate: Rate { tax_id: Some(1), rate_ppm: 150_000, included: false },
            attribute_value_ids: vec![79],
            name: "Bacon Burger".to_owned(),
            note: "no ice".to_owned(),
            part_of: None,
        }
    }

    fn fields() -> Map<String, Value> {
        object(json!({"table_id": 4, "customer_count": 2}))
    }

    #[test]
    fn a_check_is_created_with_its_table_and_recomputed_by_odoo_in_one_call() {
        let body = create("check", 5, &till(), &fields(), &[line("l1", 1550)], &[]);
        let [creation, change] = body["orders"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert_eq!((&creation["table_id"], &creation["state"]), (&json!(4), &json!("draft")));
        let dict = &creation["lines"][0][2];
        assert_eq!((&dict["price_subtotal"], &dict["price_subtotal_incl"]), (&json!(15.5), &json!(17.83)));
        assert_eq!((&dict["tax_ids"], &dict["customer_note"]), (&json!([[6, 0, [1]]]), &json!("no ice")));
        // Without amounts it can only change what is there, and without the table only this very order.
        assert!(change.get("amount_total").is_none() && change.get("table_id").is_none());
        assert_eq!((&change["uuid"], &change["payment_ids"]), (&json!("check"), &json!([[3, 0, 0]])));
    }

    #[test]
    fn a_prepaid_order_at_a_table_never_meets_the_tables_draft() {
        let payment = Payment { uuid: "p1".into(), method_id: 2, amount: 1783, reference: "tx-1".into() };
        let body = create("order", 5, &till(), &fields(), &[line("l1", 1550)], &[payment]);
        let [creation, change] = body["orders"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert!(creation.get("table_id").is_none());
        assert_eq!((&change["state"], &change["table_id"]), (&json!("paid"), &json!(4)));
        assert_eq!(change["payment_ids"][0][2]["amount"], json!(17.83));
    }

    #[test]
    fn a_later_round_names_the_draft_and_neither_table_nor_amounts() {
        let mut part = line("l2", 855);
        part.part_of = Some(("l1".to_owned(), 14));
        let body = add("draft", 5, &till(), &Map::new(), &[line("l1", 0), part]);
        let change = &body["orders"][0];
        for key in ["table_id", "amount_total", "amount_paid", "amount_return"] {
            assert!(change.get(key).is_none(), "{key}");
        }
        let parts = &change["relations_uuid_mapping"]["pos.order.line"];
        assert_eq!(parts, &json!({"l2": {"combo_parent_id": "l1"}}));
        assert_eq!(change["lines"][1][2]["combo_item_id"], 14);
    }
}
