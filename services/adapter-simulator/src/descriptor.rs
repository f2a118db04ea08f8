//! What this adapter and simpos can do.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, Capability, CapabilitySupport, CheckOpening, Find, FindKind, Idempotency, IdempotencyKind,
        Limits, PaymentAtSubmit,
    },
    common::v1::{EvidenceKind, Product},
};

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

const NATIVE: [(&str, &str); 11] = [
    ("SUBMIT_ORDER", ""),
    ("FIND_ORDER", ""),
    ("PULL_CATALOG", "does not tell which items are for dine-in only; the POS refuses them for takeaway"),
    ("LIST_CHECKS", ""),
    ("GET_CHECK", ""),
    ("REQUEST_BILL", "prints the bill; the check takes no round by API until staff enter something"),
    ("LINE_NOTE", "without characters beyond U+FFFF, such as emoji"),
    ("PICKUP_TIME", ""),
    ("TENDER_AT_SUBMIT", "must make exactly the order's total"),
    ("NESTED_MODIFIERS", ""),
    ("PRINT_KITCHEN_TICKET", ""),
];

pub(crate) fn descriptor() -> AdapterDescriptor {
    let capability = |(name, note): (&str, &str)| Capability {
        name: name.to_owned(),
        support: CapabilitySupport::Native.into(),
        note: note.to_owned(),
    };
    AdapterDescriptor {
        vendor: VENDOR.to_owned(),
        adapter_version: env!("CARGO_PKG_VERSION").to_owned(),
        supported_pos_versions: "simpos 0.1".to_owned(),
        capabilities: NATIVE.into_iter().map(capability).collect(),
        limits: Some(Limits {
            max_lines: 200,
            max_reference_chars: 64,
            max_note_chars: MAX_NOTE_CHARS as i32,
            charset: "ucs-2".to_owned(),
            // simpos serves as many connections at once; further ones would wait unseen.
            max_concurrent_calls: 1024,
            ..Limits::default()
        }),
        idempotency: Some(Idempotency { kind: IdempotencyKind::Forever.into(), window: None }),
        find: Some(Find { kind: FindKind::ByReference.into(), authoritative: true }),
        // The POS itself refuses an order whose `not_after` has passed when it records.
        max_apply_delay: Some(time::to_proto_duration(Duration::ZERO)),
        evidence: vec![EvidenceKind::Pos.into(), EvidenceKind::Printed.into()],
        check_opening: CheckOpening::WithFirstRound.into(),
        payment_at_submit: PaymentAtSubmit::Optional.into(),
        settings_schema: SETTINGS_SCHEMA.to_owned(),
        credential_names: vec![API_KEY.to_owned()],
        products: vec![Product::Table.into(), Product::ToGo.into(), Product::Kiosk.into()],
        min_probe_interval: Some(time::to_proto_duration(Duration::from_secs(1))),
        ..AdapterDescriptor::default()
    }
}
