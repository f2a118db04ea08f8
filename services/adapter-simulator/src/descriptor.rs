//! What this adapter and simpos can do.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, Capability, CapabilitySupport, CheckOpening, Find, FindKind, Idempotency, IdempotencyKind,
        Limits, ListOrders, PaymentAtSubmit,
    },
    common::v1::{EvidenceKind, Product},
};

use crate::profile::{Device, FindProfile, IdempotencyProfile, ListProfile, Profile};

/// The vendor's id in connections and registrations.
pub const VENDOR: &str = "simulator";

pub(crate) const API_KEY: &str = "api_key";
/// The note shares the POS's 200 characters with the mark of a test order and the guest's name.
pub(crate) const MAX_NOTE_CHARS: usize = 120;

const SETTINGS_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "base_url": {
      "type": "string",
      "pattern": "^https?://[^/]",
      "description": "Where simpos listens, e.g. http://127.0.0.1:8070"
    },
    "external_tender": {
      "type": "string",
      "minLength": 1,
      "default": "external",
      "description": "Id of the POS's tender for payments that were taken elsewhere and name no tender"
    }
  },
  "required": ["base_url"],
  "additionalProperties": false
}"#;

/// How often a POS is polled for events at most.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The note of what a profile leaves out.
const LEFT_OUT: &str = "left out of this simulator";

/// What every device can do.
const OF_ALL: [(&str, &str); 5] = [
    ("SUBMIT_ORDER", ""),
    ("LINE_NOTE", "without characters beyond U+FFFF, such as emoji"),
    ("PICKUP_TIME", ""),
    ("NESTED_MODIFIERS", ""),
    ("PRINT_KITCHEN_TICKET", ""),
];

/// What a till can do besides.
const OF_A_TILL: [(&str, &str); 8] = [
    ("PULL_CATALOG", "does not tell which items are for dine-in only; the POS refuses them for takeaway"),
    ("POLL_CATALOG", ""),
    ("SET_AVAILABILITY", "of items; the POS knows no choices that are sold out"),
    ("LIST_CHECKS", ""),
    ("GET_CHECK", ""),
    ("REQUEST_BILL", "prints the bill; the check takes no round by API until staff enter something"),
    ("TENDER_AT_SUBMIT", "must make exactly the order's total"),
    ("SERVICE_CHARGE", "one, on what is eaten in the restaurant; reckoned again on the whole check"),
];
const NO_TILL: &str = "this is a printer: it has neither menu nor checks nor prices";

const OWN_PRICES: &str = "the POS reckons each order by the prices of its own menu, and refuses one with another total";

/// What a profile may leave out: name, whether it is there, note.
fn optional(profile: &Profile) -> [(&'static str, bool, &'static str); 8] {
    [
        ("FIND_ORDER", profile.find != FindProfile::None, "of an order that the POS still keeps"),
        ("CANCEL_ORDER", profile.cancel_order, "until the kitchen is too far, which the restaurant decides"),
        ("VOID_LINES", profile.void_lines, "until the kitchen is too far, which the restaurant decides"),
        ("LIST_ORDERS", profile.list_orders != ListProfile::None, ""),
        ("POLL_EVENTS", profile.poll_events, ""),
        ("SPLIT_CHECK_EVENLY", profile.splits_checks(), "as amounts: the lines stay on the check that is split"),
        ("SPLIT_CHECK_BY_ITEM", profile.splits_checks(), "by whole units"),
        ("SUBMIT_WITHOUT_TICKET", profile.submits_without_ticket(), "recorded as ever, and on the bill"),
    ]
}

fn capabilities(profile: &Profile) -> Vec<Capability> {
    let capability = |name: &str, support: CapabilitySupport, note: &str| Capability {
        name: name.to_owned(),
        support: support.into(),
        note: note.to_owned(),
    };
    let of_all = OF_ALL.into_iter().map(|(name, note)| capability(name, CapabilitySupport::Native, note));
    let of_a_till = OF_A_TILL.into_iter().map(|(name, note)| match profile.device {
        Device::Pos => capability(name, CapabilitySupport::Native, note),
        Device::Printer => capability(name, CapabilitySupport::Unsupported, NO_TILL),
    });
    let optional = optional(profile).into_iter().map(|(name, is_there, note)| match is_there {
        true => capability(name, CapabilitySupport::Native, note),
        false => capability(name, CapabilitySupport::Unsupported, LEFT_OUT),
    });
    let price_override = capability("PRICE_OVERRIDE", CapabilitySupport::Unsupported, OWN_PRICES);
    of_all.chain(of_a_till).chain(optional).chain([price_override]).collect()
}

pub(crate) fn descriptor(profile: &Profile) -> AdapterDescriptor {
    let window = (profile.idempotency == IdempotencyProfile::Window).then_some(profile.idempotency_window);
    AdapterDescriptor {
        vendor: profile.vendor.clone(),
        adapter_version: env!("CARGO_PKG_VERSION").to_owned(),
        supported_pos_versions: "simpos 0.1".to_owned(),
        capabilities: capabilities(profile),
        limits: Some(Limits {
            max_lines: 200,
            max_reference_chars: 64,
            max_note_chars: MAX_NOTE_CHARS as i32,
            charset: "ucs-2".to_owned(),
            max_concurrent_calls: profile.max_concurrent_calls,
            max_calls_per_second: profile.max_calls_per_second,
            max_calls_per_second_in_all: profile.max_calls_per_second_in_all,
        }),
        idempotency: Some(Idempotency {
            kind: idempotency_kind(profile.idempotency).into(),
            window: window.map(time::to_proto_duration),
        }),
        find: Some(Find {
            kind: if profile.find == FindProfile::None { FindKind::None } else { FindKind::ByReference }.into(),
            authoritative: profile.find == FindProfile::Authoritative,
        }),
        // The POS itself refuses a write whose `not_after` has passed when it records.
        max_apply_delay: Some(time::to_proto_duration(profile.max_apply_delay)),
        evidence: evidence(profile.device),
        check_opening: CheckOpening::WithFirstRound.into(),
        payment_at_submit: payment_at_submit(profile.device).into(),
        settings_schema: SETTINGS_SCHEMA.to_owned(),
        credential_names: vec![API_KEY.to_owned()],
        products: vec![Product::Table.into(), Product::ToGo.into(), Product::Kiosk.into()],
        min_probe_interval: Some(time::to_proto_duration(Duration::from_secs(1))),
        list_orders: list_orders(profile.list_orders).into(),
        min_poll_interval: profile.poll_events.then(|| time::to_proto_duration(MIN_POLL_INTERVAL)),
    }
}

fn evidence(device: Device) -> Vec<i32> {
    match device {
        Device::Pos => vec![EvidenceKind::Pos.into(), EvidenceKind::Printed.into()],
        Device::Printer => vec![EvidenceKind::Printed.into()],
    }
}

fn payment_at_submit(device: Device) -> PaymentAtSubmit {
    match device {
        Device::Pos => PaymentAtSubmit::Optional,
        Device::Printer => PaymentAtSubmit::None,
    }
}

fn idempotency_kind(profile: IdempotencyProfile) -> IdempotencyKind {
    match profile {
        IdempotencyProfile::Forever => IdempotencyKind::Forever,
        IdempotencyProfile::Window => IdempotencyKind::Window,
        IdempotencyProfile::None => IdempotencyKind::None,
    }
}

fn list_orders(profile: ListProfile) -> ListOrders {
    match profile {
        ListProfile::ByTime => ListOrders::ByTime,
        ListProfile::ByBusinessDate => ListOrders::ByBusinessDate,
        ListProfile::None => ListOrders::None,
    }
}
