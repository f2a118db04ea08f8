//! Orders and lines as Odoo holds them.

use posmesh_adapter_kit::Unplaced;
use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::Placed,
    common::v1::{Evidence, EvidenceKind},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{Api, ApiError},
    tax::{self, Taxes},
    till::Till,
    wire::{self, Link},
};

/// Marks our lines in the field "Discount Notice", which only the back office shows: a line's uuid alone does not tell
/// who made it.
pub(crate) const OUR_MARK: &str = "posmesh";

const ORDER_FIELDS: [&str; 13] = [
    "uuid",
    "state",
    "pos_reference",
    "tracking_number",
    "amount_total",
    "amount_tax",
    "lines",
    "table_id",
    "customer_count",
    "date_order",
    "internal_note",
    "general_customer_note",
    "fiscal_position_id",
];

const LINE_FIELDS: [&str; 12] = [
    "uuid",
    "order_id",
    "product_id",
    "qty",
    "price_unit",
    "discount",
    "price_subtotal_incl",
    "tax_ids",
    "combo_parent_id",
    "full_product_name",
    "customer_note",
    "notice",
];

/// A `pos.order`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderRecord {
    pub(crate) id: i64,
    pub(crate) uuid: String,
    pub(crate) state: String,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) pos_reference: String,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) tracking_number: String,
    pub(crate) amount_total: f64,
    pub(crate) amount_tax: f64,
    pub(crate) lines: Vec<i64>,
    /// Absent where the till is no restaurant.
    #[serde(default, deserialize_with = "wire::link")]
    pub(crate) table_id: Option<Link>,
    #[serde(default)]
    pub(crate) customer_count: i32,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) date_order: String,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) internal_note: String,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) general_customer_note: String,
    #[serde(deserialize_with = "wire::link")]
    pub(crate) fiscal_position_id: Option<Link>,
}

impl OrderRecord {
    /// Whether lines can still be added.
    pub(crate) fn is_draft(&self) -> bool {
        self.state == "draft"
    }

    /// Whether it is paid, posted to the books or not.
    pub(crate) fn is_paid(&self) -> bool {
        matches!(self.state.as_str(), "paid" | "done")
    }

    /// Whether the staff cancelled it. Odoo keeps its lines.
    fn is_cancelled(&self) -> bool {
        self.state == "cancel"
    }
}

/// A `pos.order.line`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LineRecord {
    pub(crate) id: i64,
    pub(crate) uuid: String,
    #[serde(deserialize_with = "wire::link")]
    order_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    product_id: Option<Link>,
    pub(crate) qty: f64,
    pub(crate) price_unit: f64,
    discount: f64,
    pub(crate) price_subtotal_incl: f64,
    pub(crate) tax_ids: Vec<i64>,
    #[serde(deserialize_with = "wire::link")]
    combo_parent_id: Option<Link>,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) full_product_name: String,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) customer_note: String,
    #[serde(deserialize_with = "wire::text")]
    notice: String,
}

impl LineRecord {
    pub(crate) fn order_id(&self) -> i64 {
        self.order_id.as_ref().map_or(0, |link| link.0)
    }

    pub(crate) fn product_id(&self) -> i64 {
        self.product_id.as_ref().map_or(0, |link| link.0)
    }

    /// The combo that this line is a part of.
    pub(crate) fn combo_parent_id(&self) -> Option<i64> {
        self.combo_parent_id.as_ref().map(|link| link.0)
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.notice == OUR_MARK
    }
}

/// The orders of any till that match.
pub(crate) async fn orders(api: &Api<'_>, till: &Till, domain: Value) -> Result<Vec<OrderRecord>, ApiError> {
    // A till without restaurant mode has no tables in its orders.
    let without = ["table_id", "customer_count"];
    let restaurant = till.config.module_pos_restaurant;
    let fields: Vec<&str> =
        ORDER_FIELDS.iter().copied().filter(|field| restaurant || !without.contains(field)).collect();
    api.search_read("pos.order", domain, &fields, &till.scope(None)).await
}

/// The order with this uuid, if this till has it.
pub(crate) async fn order_by_uuid(api: &Api<'_>, till: &Till, uuid: &str) -> Result<Option<OrderRecord>, ApiError> {
    let domain = json!([["uuid", "=", uuid], ["config_id", "=", till.config.id]]);
    Ok(orders(api, till, domain).await?.into_iter().next())
}

/// The lines of an order.
pub(crate) async fn lines_of(api: &Api<'_>, till: &Till, order: &OrderRecord) -> Result<Vec<LineRecord>, ApiError> {
    let domain = json!([["order_id", "=", order.id]]);
    api.search_read("pos.order.line", domain, &LINE_FIELDS, &till.scope(None)).await
}

/// What Odoo holds of an order of ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Our lines and the parts of our combos.
    pub(crate) lines: Vec<LineRecord>,
    /// The orders that they are on.
    pub(crate) orders: Vec<OrderRecord>,
}

/// Looks for lines by their uuids. Authoritative: a line's uuid is unique in the whole database.
pub(crate) async fn held(api: &Api<'_>, till: &Till, line_uuids: &[&str]) -> Result<Held, ApiError> {
    let domain = json!(["|", ["uuid", "in", line_uuids], ["combo_parent_id.uuid", "in", line_uuids]]);
    let lines: Vec<LineRecord> = api.search_read("pos.order.line", domain, &LINE_FIELDS, &till.scope(None)).await?;
    if lines.is_empty() {
        return Ok(Held::default());
    }
    let ids: Vec<i64> = lines.iter().map(LineRecord::order_id).collect();
    let orders = orders(api, till, json!([["id", "in", ids]])).await?;
    Ok(Held { lines, orders })
}

impl Held {
    /// Which of the uuids are there, and which are not.
    pub(crate) fn split<'u>(&self, uuids: &[&'u str]) -> (Vec<&'u str>, Vec<&'u str>) {
        uuids.iter().partition(|uuid| self.lines.iter().any(|line| line.uuid == **uuid))
    }

    /// Whether each order that the lines are on was cancelled.
    pub(crate) fn all_cancelled(&self) -> bool {
        !self.orders.is_empty() && self.orders.iter().all(OrderRecord::is_cancelled)
    }

    /// What to tell the staff where an order that the lines are on was cancelled. Such an order takes no more lines, and
    /// where the lines are on others as well, only a person knows what became of them.
    pub(crate) fn cancelled(&self) -> Option<String> {
        let order = self.orders.iter().find(|order| order.is_cancelled())?;
        let reference = &order.pos_reference;
        Some(format!("order {reference} was cancelled at the till; ask the staff what became of it"))
    }

    /// The answer for an order that is there and not [`Held::cancelled`]. `None` where no line is.
    pub(crate) async fn placed(&self, api: &Api<'_>, till: &Till) -> Result<Option<Placed>, ApiError> {
        let order = self.lines.first().and_then(|line| self.orders.iter().find(|o| o.id == line.order_id()));
        let Some(order) = order else { return Ok(None) };
        let alone = self.orders.len() == 1 && order.lines.iter().all(|id| self.lines.iter().any(|l| l.id == *id));
        let total = if alone {
            till.to_minor(order.amount_total)
        } else {
            // The check's total is of everybody's lines; ours are summed up by the same rule.
            total_of(till, &Taxes::read(api, till).await?, &self.lines)
        };
        Ok(Some(Placed {
            evidence: vec![Evidence {
                kind: EvidenceKind::Pos.into(),
                reference: order.pos_reference.clone(),
                time: Some(time::now()),
                ..Evidence::default()
            }],
            pos_order_reference: order.uuid.clone(),
            pos_check_reference: order.uuid.clone(),
            display_number: order.tracking_number.clone(),
            total: total.map(|total| till.money(total)),
            ..Placed::default()
        }))
    }
}

/// What lines come to together, tax included, in minor units by the till's own rule. `None` if they bear a tax that is no
/// single percentage.
pub(crate) fn total_of<'l>(till: &Till, taxes: &Taxes, lines: impl IntoIterator<Item = &'l LineRecord>) -> Option<i64> {
    let priced = |line: &LineRecord| {
        let amount = till.to_minor(line.price_unit * line.qty * (1.0 - line.discount / 100.0))?;
        Some((amount, taxes.rate(&line.tax_ids).ok()?))
    };
    let lines: Vec<_> = lines.into_iter().map(priced).collect::<Option<_>>()?;
    Some(tax::total(lines, till.rounding))
}

/// Odoo's UTC time without a zone, e.g. `2026-11-22 15:33:20`.
pub(crate) fn to_timestamp(text: &str) -> Option<prost_types::Timestamp> {
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(prost_types::Timestamp { seconds: zoned.timestamp().as_second(), nanos: 0 })
}

/// Odoo's form of a time, in UTC.
pub(crate) fn from_timestamp(time: &prost_types::Timestamp) -> Option<String> {
    let timestamp = jiff::Timestamp::from_second(time.seconds).ok()?;
    Some(timestamp.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Odoo refuses a NUL with a fault of its own.
pub(crate) fn check_text(what: &str, text: &str) -> Result<(), Unplaced> {
    if text.contains('\0') {
        let message = format!("{what} holds a NUL character, which Odoo cannot store");
        return Err(Unplaced::rejected(cause::TEXT_NOT_REPRESENTABLE, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_utc_both_ways() {
        let time = to_timestamp("2026-11-22 15:33:20").unwrap();
        assert_eq!(time.seconds, 1_795_361_600);
        assert_eq!(from_timestamp(&time).unwrap(), "2026-11-22 15:33:20");
        assert_eq!(to_timestamp(""), None);
    }

    #[test]
    fn a_text_with_nul_is_refused_before_anything_is_sent() {
        assert!(check_text("note", "no ice\n氷なし 🧊").is_ok());
        assert!(
            matches!(check_text("note", "a\0b"), Err(Unplaced::Rejected(r)) if r.cause == cause::TEXT_NOT_REPRESENTABLE)
        );
    }

    fn held_in(states: &[&str]) -> Held {
        let order = |state: &&str| {
            serde_json::from_value(json!({"id": 1, "uuid": "u", "state": state, "pos_reference": "Order 7",
                "tracking_number": "7", "amount_total": 2.53, "amount_tax": 0.33, "lines": [1], "date_order": false,
                "internal_note": false, "general_customer_note": false, "fiscal_position_id": false}))
            .unwrap()
        };
        Held { lines: Vec::new(), orders: states.iter().map(order).collect() }
    }

    #[test]
    fn one_cancelled_order_among_those_that_hold_the_lines_is_told_by_name() {
        for states in [&["cancel"][..], &["draft", "cancel"], &["cancel", "paid"]] {
            let message = held_in(states).cancelled().unwrap();
            assert!(message.contains("Order 7 was cancelled at the till"), "{message}");
        }
        assert_eq!(held_in(&["draft", "paid", "done"]).cancelled(), None);
        assert!(held_in(&["cancel", "cancel"]).all_cancelled());
        assert!(!held_in(&["draft", "cancel"]).all_cancelled() && !Held::default().all_cancelled());
        assert_eq!(Held::default().cancelled(), None);
    }
}
