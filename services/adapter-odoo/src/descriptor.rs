//! What this adapter, and Odoo behind it, can and cannot do.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, Capability, CapabilitySupport, CheckOpening, Find, FindKind, Idempotency, IdempotencyKind,
        Limits, ListOrders, PaymentAtSubmit,
    },
    common::v1::{EvidenceKind, Product},
};

use crate::settings::{API_KEY, SCHEMA};

/// Nothing of a request lands later than some 240 s after it began, and a margin. Odoo's threaded server (`workers` 0, the
/// default) does not end a request at `limit_time_real`, 120 s unless changed: it looks once a minute, and then waits up
/// to a minute more for other requests before it reloads (`odoo/service/server.py`).
const MAX_APPLY_DELAY: Duration = Duration::from_secs(300);
/// A probe costs Odoo 40 ms of processor time (the till 20, its company and currency 18, the version 2), and all tills of a
/// server share one core. So often only a till is asked that has just failed, or is just back; the others by the router's
/// own interval.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// An order of so many lines took 1.4 s on two cores.
const MAX_LINES: i32 = 500;
/// The longest note that was stored and read back.
const MAX_NOTE_CHARS: i32 = 5_000;
/// A UUID.
const MAX_REFERENCE_CHARS: i32 = 36;
/// Reads run beside each other; writes to one till run one by one in any case.
const MAX_CONCURRENT_CALLS: i32 = 4;

/// The facts, constant for the life of the process.
pub(crate) fn descriptor() -> AdapterDescriptor {
    AdapterDescriptor {
        vendor: "odoo".to_owned(),
        adapter_version: env!("CARGO_PKG_VERSION").to_owned(),
        supported_pos_versions: "Odoo 19 (Community or Enterprise) with the modules point_of_sale and pos_restaurant"
            .to_owned(),
        capabilities: capabilities(),
        limits: Some(Limits {
            max_lines: MAX_LINES,
            max_reference_chars: MAX_REFERENCE_CHARS,
            max_note_chars: MAX_NOTE_CHARS,
            charset: "utf-8".to_owned(),
            max_concurrent_calls: MAX_CONCURRENT_CALLS,
            ..Limits::default()
        }),
        idempotency: Some(Idempotency { kind: IdempotencyKind::Forever.into(), window: None }),
        find: Some(Find { kind: FindKind::ByReference.into(), authoritative: true }),
        max_apply_delay: Some(time::to_proto_duration(MAX_APPLY_DELAY)),
        evidence: vec![EvidenceKind::Pos.into()],
        check_opening: CheckOpening::WithFirstRound.into(),
        payment_at_submit: PaymentAtSubmit::Optional.into(),
        settings_schema: SCHEMA.to_owned(),
        credential_names: vec![API_KEY.to_owned()],
        products: vec![Product::Table.into(), Product::ToGo.into(), Product::Kiosk.into()],
        min_probe_interval: Some(time::to_proto_duration(MIN_PROBE_INTERVAL)),
        list_orders: ListOrders::None.into(),
        ..AdapterDescriptor::default()
    }
}

fn capabilities() -> Vec<Capability> {
    use CapabilitySupport::{Emulated, Manual, Native, Unsupported};
    let capability = |name: &str, support: CapabilitySupport, note: &str| Capability {
        name: name.to_owned(),
        support: support.into(),
        note: note.to_owned(),
    };
    vec![
        capability(
            "SUBMIT_ORDER",
            Native,
            "Odoo keeps the prices that it is sent: an order is booked at the prices of the menu that it was made from, \
             and refused if Odoo's taxes of now make another total of them",
        ),
        capability(
            "SERVICE_CHARGE",
            Unsupported,
            "Odoo adds nothing to its bills by itself; the staff enter such a product on the order",
        ),
        capability("PRICE_OVERRIDE", Native, "a line is booked at the price that it is sent with"),
        capability("FIND_ORDER", Native, "by the uuid of each line, unique in the whole database"),
        capability(
            "PULL_CATALOG",
            Native,
            "left out, with a warning: products by weight, several or fixed taxes on one product, choices that exclude \
             each other or ask for a text, combos of differently taxed parts",
        ),
        capability(
            "POLL_CATALOG",
            Native,
            "sold out is what is switched off for self-ordering, archived or taken out of the point of sale",
        ),
        capability(
            "SET_AVAILABILITY",
            Manual,
            "the staff switch the product off at the till: press and hold it, Availability; or in Products, Point of Sale, \
             Self-Ordering",
        ),
        capability("LIST_CHECKS", Native, ""),
        capability("GET_CHECK", Native, ""),
        capability(
            "REQUEST_BILL",
            Emulated,
            "as an internal note on the order, which the till shows and counts as a change of the table; Odoo has no \
             request of its own. If staff send the change to the kitchen, the note prints there too",
        ),
        capability("LINE_NOTE", Native, "as the line's customer note, printed on the kitchen ticket"),
        capability(
            "PICKUP_TIME",
            Native,
            "as the time of the order's preset; set takeaway_preset to one that uses time",
        ),
        capability(
            "TENDER_AT_SUBMIT",
            Native,
            "booked on external_payment_method; the tenders must settle the whole order",
        ),
        capability("NESTED_MODIFIERS", Native, "combos: the attributes of the chosen products; two levels, no more"),
        capability(
            "PRINT_KITCHEN_TICKET",
            Manual,
            "Tickets are printed by the till's browser alone: an order shows at the till at once, and a person presses \
             Order there to print it",
        ),
        capability(
            "CANCEL_ORDER",
            Manual,
            "the staff open the order at the till and press Actions, Cancel Order; the platform notices by itself",
        ),
        capability(
            "SUBMIT_WITHOUT_TICKET",
            Unsupported,
            "the server prints no ticket that could be left out: the till prints what it finds new when the staff press \
             \"Order\"",
        ),
        capability("VOID_LINES", Manual, "the staff open the order at the till and take the lines off"),
        capability("LIST_ORDERS", Unsupported, "each order is looked for by itself"),
        capability("POLL_EVENTS", Unsupported, "an order's end is seen when it is looked for"),
        capability("SPLIT_CHECK_BY_ITEM", Manual, "the staff open the table at the till and press Actions, Split"),
        capability("SPLIT_CHECK_EVENLY", Manual, "the staff take several payments for one order at the till"),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_settings_schema_is_json_and_names_every_setting() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let named: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let whole = serde_json::json!({
            "base_url": "http://pos", "database": "d", "pos_config": 4, "external_payment_method": "Card",
            "languages": {"ja_JP": "ja"}, "takeaway_fiscal_position": 2, "takeaway_preset": 2, "bill_request_text": "会計"
        });
        let mut ours: Vec<&String> = whole.as_object().unwrap().keys().collect();
        ours.sort();
        let mut named = named.clone();
        named.sort();
        assert_eq!(named, ours);
        // The type refuses what it does not know, so this proves that the schema holds nothing else.
        let _: crate::settings::Settings = serde_json::from_value(whole).unwrap();
    }

    #[test]
    fn what_staff_must_do_or_see_is_told() {
        for capability in descriptor().capabilities {
            let native = capability.support() == CapabilitySupport::Native;
            assert!(native || !capability.note.is_empty(), "{}", capability.name);
        }
    }
}
