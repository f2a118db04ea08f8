//! What clients send: JSON bodies, turned into the contracts' messages. Rules about them are the order service's.

use posmesh_kit::time;
use posmesh_proto::{common::v1 as common, order::v1 as order};
use prost_types::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::ToSchema;

use crate::views::{Money, ServiceMode};

/// A text without control characters: databases and slip printers choke on them.
#[derive(Clone, Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn into_inner(self) -> String {
        self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match refused_character(&text) {
            Some(problem) => Err(D::Error::custom(problem)),
            None => Ok(Self(text)),
        }
    }
}

/// What is wrong with a text that holds a control character, line breaks included; the rule of every service behind.
pub(crate) fn refused_character(text: &str) -> Option<String> {
    let found = text.chars().find(|c| c.is_control())?;
    Some(format!("holds the control character U+{:04X}; leave it out", u32::from(found)))
}

/// A time as of RFC 3339 with its offset, e.g. `2026-11-22T18:30:00+09:00`.
#[derive(Clone, Copy)]
pub(crate) struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = text.parse::<jiff::Timestamp>().ok().map(|time| time::from_unix_ms(time.as_millisecond()));
        time.map(Self).ok_or_else(|| D::Error::custom("is no RFC 3339 time like 2026-11-22T18:30:00+09:00"))
    }
}

/// A line to order.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"item_id": "yakitori", "quantity": 2, "modifiers": [
    {"group_id": "seasoning", "modifier_id": "salt"}]}))]
pub(crate) struct LineInput {
    /// From the menu.
    #[schema(value_type = String)]
    item_id: Text,
    /// 1 to 999.
    #[schema(minimum = 1, maximum = 999)]
    quantity: i32,
    #[serde(default)]
    modifiers: Vec<ModifierInput>,
    /// Absent: as the order says.
    service_mode: Option<ServiceMode>,
    /// For the kitchen; at most 200 characters.
    #[serde(default)]
    #[schema(value_type = String, max_length = 200)]
    note: Text,
}

/// A choice on a line.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModifierInput {
    #[schema(value_type = String)]
    group_id: Text,
    #[schema(value_type = String)]
    modifier_id: Text,
    /// Per unit of the line.
    #[serde(default = "one")]
    #[schema(minimum = 1, default = 1)]
    quantity: i32,
    /// Choices about this choice.
    #[serde(default)]
    #[schema(no_recursion)]
    modifiers: Vec<ModifierInput>,
}

fn one() -> i32 {
    1
}

impl From<ModifierInput> for order::ModifierInput {
    fn from(modifier: ModifierInput) -> Self {
        Self {
            group_id: modifier.group_id.into_inner(),
            modifier_id: modifier.modifier_id.into_inner(),
            quantity: modifier.quantity,
            modifiers: modifier.modifiers.into_iter().map(Into::into).collect(),
        }
    }
}

/// The contract's lines; `order_mode` is for those that name no service mode of their own.
pub(crate) fn lines(lines: Vec<LineInput>, order_mode: Option<ServiceMode>) -> Vec<order::OrderLineInput> {
    let lines = lines.into_iter().map(|line| order::OrderLineInput {
        item_id: line.item_id.into_inner(),
        quantity: line.quantity,
        modifiers: line.modifiers.into_iter().map(Into::into).collect(),
        service_mode: line.service_mode.or(order_mode).map_or(common::ServiceMode::Unspecified, Into::into).into(),
        note: line.note.into_inner(),
    });
    lines.collect()
}

/// Lines to price.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"item_id": "yakitori", "quantity": 2}]}))]
pub(crate) struct QuoteInput {
    /// 1 to 500.
    #[schema(min_items = 1, max_items = 500)]
    pub(crate) lines: Vec<LineInput>,
    /// For lines that name none. Absent: the product's own (ToGo `take_away`, else `eat_in`).
    pub(crate) service_mode: Option<ServiceMode>,
}

/// Lines to price for a pickup.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"item_id": "yakitori", "quantity": 2}],
    "pickup_time": "2026-11-22T18:30:00+09:00"}))]
pub(crate) struct TogoQuoteInput {
    /// 1 to 500.
    #[schema(min_items = 1, max_items = 500)]
    pub(crate) lines: Vec<LineInput>,
    /// For lines that name none; absent: `take_away`.
    pub(crate) service_mode: Option<ServiceMode>,
    /// RFC 3339; in the future, at most 7 days: what is sold then counts. Absent: what is sold now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) pickup_time: Option<Time>,
}

/// Opens or joins the check of a table.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"table_code": "dDE.41214.AbCdEfGhIjKlMnOpQrStUv", "party_size": 2}))]
pub(crate) struct OpenCheckInput {
    /// From the QR at the table.
    #[schema(value_type = String)]
    pub(crate) table_code: Text,
    /// Absent or 0: unknown; at most 999.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 999)]
    pub(crate) party_size: i32,
}

/// How to split a check: into equal parts, or by the lines of its bill.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"by_item": [{"lines": [{"pos_line_reference": "412", "quantity_milli": 1000}]}]}))]
pub(crate) struct SplitInput {
    /// Into so many equal parts, 2 to 99. Not together with `by_item`.
    #[schema(minimum = 2, maximum = 99)]
    parts: Option<i32>,
    /// What leaves the check, one entry for each new one.
    by_item: Option<Vec<PartInput>>,
}

/// The lines of one new check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartInput {
    lines: Vec<ShareInput>,
}

/// A line of the bill, or a part of its quantity.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareInput {
    /// From the bill.
    #[schema(value_type = String)]
    pos_line_reference: Text,
    /// In thousandths.
    #[schema(minimum = 1)]
    quantity_milli: i64,
}

impl SplitInput {
    /// By item where both are given: the order service says what is missing where neither is.
    pub(crate) fn how(self) -> Option<order::split_check_request::How> {
        use order::split_check_request::How;
        let share = |line: ShareInput| order::BillLineShare {
            pos_line_reference: line.pos_line_reference.into_inner(),
            quantity_milli: line.quantity_milli,
        };
        let part = |part: PartInput| order::BillPart { lines: part.lines.into_iter().map(share).collect() };
        match (self.parts, self.by_item) {
            (parts, None) => parts.map(How::Parts),
            (_, Some(parts)) => Some(How::ByItem(order::BillSplit { parts: parts.into_iter().map(part).collect() })),
        }
    }
}

/// A round of a table.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"item_id": "yakitori", "quantity": 2}],
    "expected_total": {"currency": "JPY", "amount": 980}}))]
pub(crate) struct RoundInput {
    /// 1 to 500.
    #[schema(min_items = 1, max_items = 500)]
    pub(crate) lines: Vec<LineInput>,
    /// What the guest agreed to pay: the quote's `price.total`.
    pub(crate) expected_total: Money,
    /// For lines that name none; absent: `eat_in`.
    pub(crate) service_mode: Option<ServiceMode>,
    /// For the kitchen; at most 200 characters.
    #[serde(default)]
    #[schema(value_type = String, max_length = 200)]
    pub(crate) note: Text,
}

/// A ToGo order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"item_id": "yakitori", "quantity": 2}],
    "expected_total": {"currency": "JPY", "amount": 962}, "pickup_time": "2026-11-22T18:30:00+09:00",
    "guest_contact": {"name": "Sato", "phone": "+819012345678"},
    "tenders": [{"amount": {"currency": "JPY", "amount": 962}, "reference": "pay_8Xk2"}]}))]
pub(crate) struct TogoOrderInput {
    /// 1 to 500.
    #[schema(min_items = 1, max_items = 500)]
    pub(crate) lines: Vec<LineInput>,
    /// What the guest agreed to pay: the quote's `price.total`.
    pub(crate) expected_total: Money,
    /// RFC 3339; in the future, at most 7 days.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) pickup_time: Time,
    pub(crate) guest_contact: Option<ContactInput>,
    /// Payments already taken; together the total. Empty: paid at the counter.
    #[serde(default)]
    pub(crate) tenders: Vec<TenderInput>,
    /// For lines that name none; absent: `take_away`.
    pub(crate) service_mode: Option<ServiceMode>,
    /// For the kitchen; at most 200 characters.
    #[serde(default)]
    #[schema(value_type = String, max_length = 200)]
    pub(crate) note: Text,
}

/// An order of a kiosk.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"lines": [{"item_id": "yakitori", "quantity": 2}],
    "expected_total": {"currency": "JPY", "amount": 980}, "service_mode": "eat_in", "pager_number": "17",
    "tenders": [{"amount": {"currency": "JPY", "amount": 980}, "reference": "term-4-001923"}]}))]
pub(crate) struct KioskOrderInput {
    /// 1 to 500.
    #[schema(min_items = 1, max_items = 500)]
    pub(crate) lines: Vec<LineInput>,
    /// What the guest agreed to pay: the quote's `price.total`.
    pub(crate) expected_total: Money,
    /// What the guest chose; a line may say otherwise.
    pub(crate) service_mode: ServiceMode,
    /// The pager that the guest took along; at most 8 characters.
    #[serde(default)]
    #[schema(value_type = String, max_length = 8)]
    pub(crate) pager_number: Text,
    /// The terminal's payment; together the total.
    #[serde(default)]
    pub(crate) tenders: Vec<TenderInput>,
    /// For the kitchen; at most 200 characters.
    #[serde(default)]
    #[schema(value_type = String, max_length = 200)]
    pub(crate) note: Text,
}

/// How to reach a guest. Kept apart from the order and erased later.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactInput {
    /// Goes on the slip; at most 64 characters.
    #[serde(default)]
    #[schema(value_type = String, max_length = 64)]
    name: Text,
    /// E.164, e.g. `+819012345678`.
    #[serde(default)]
    #[schema(value_type = String)]
    phone: Text,
}

impl From<ContactInput> for order::GuestContact {
    fn from(contact: ContactInput) -> Self {
        Self { name: contact.name.into_inner(), phone: contact.phone.into_inner() }
    }
}

/// A payment that the product took elsewhere.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenderInput {
    /// Absent: as the store's connection is set up.
    #[serde(default)]
    #[schema(value_type = String)]
    tender_id: Text,
    amount: Money,
    /// The taker's id of the payment; 1 to 128 characters.
    #[schema(value_type = String, max_length = 128)]
    reference: Text,
}

impl From<TenderInput> for order::ExternalTender {
    fn from(tender: TenderInput) -> Self {
        Self {
            tender_id: tender.tender_id.into_inner(),
            amount: Some(tender.amount.into()),
            reference: tender.reference.into_inner(),
        }
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        time.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn time(text: &str) -> Option<Timestamp> {
        serde_json::from_value::<Time>(text.into()).ok().map(Into::into)
    }

    #[test]
    fn a_time_needs_its_hour_and_its_offset() {
        assert_eq!(time("1970-01-01T09:00:01+09:00"), Some(Timestamp { seconds: 1, nanos: 0 }));
        for bad in ["2026-11-22", "2026-11-22T18:30:00", "18:30", "tomorrow", "", "2026-13-01T00:00:00Z"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_text_with_a_control_character_is_refused_a_line_break_too() {
        let text = |t: &str| serde_json::from_value::<Text>(t.into()).map(Text::into_inner);
        assert_eq!(text("no onions, please 玉ねぎ").unwrap(), "no onions, please 玉ねぎ");
        for bad in ["a\0", "\u{1b}@", "tab\t", "no onions\nplease", "a\u{85}"] {
            assert!(text(bad).unwrap_err().to_string().contains("control character"), "{bad:?}");
        }
    }

    #[test]
    fn a_line_goes_by_its_own_service_mode_else_by_the_orders() {
        let input: QuoteInput = serde_json::from_value(serde_json::json!({
            "service_mode": "eat_in",
            "lines": [{"item_id": "a", "quantity": 1}, {"item_id": "b", "quantity": 1, "service_mode": "take_away"}]
        }))
        .unwrap();
        let modes: Vec<_> = lines(input.lines, input.service_mode).iter().map(|line| line.service_mode()).collect();
        assert_eq!(modes, [common::ServiceMode::DineIn, common::ServiceMode::Takeaway]);
    }
}
