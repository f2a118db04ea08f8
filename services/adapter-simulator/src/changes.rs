//! Orders that are taken back.

use std::time::Duration;

use posmesh_adapter_kit::{Unchanged, Unplaced};
use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{CancelOrderRequest, Changed, NotFound, PosOrderFacts, VoidLinesRequest},
    common::v1::{Evidence, EvidenceKind},
};

use crate::{
    order::{absence_is_proof, money},
    profile::{Device, Profile},
    refusal, wire,
};

/// Longer ones are cut on the slip.
const MAX_REASON_CHARS: usize = 200;

/// The order's reference and the change, as the POS takes it.
pub(crate) fn cancel(request: &CancelOrderRequest, not_after_ms: i64) -> (String, wire::CancelOrder) {
    let cancel = wire::CancelOrder {
        change_reference: request.change_reference.clone(),
        not_after: not_after_ms,
        reason: reason(&request.reason),
    };
    (reference(request.order.as_ref()), cancel)
}

/// The order's reference and the change, as the POS takes it.
pub(crate) fn void(request: &VoidLinesRequest, not_after_ms: i64) -> Result<(String, wire::VoidLines), Unchanged> {
    let mut lines = Vec::with_capacity(request.lines.len());
    for line in &request.lines {
        let quantity_voided = u32::try_from(line.quantity_voided).map_err(|_| {
            let message = format!("{} units of a line cannot be void", line.quantity_voided);
            Unplaced::rejected(cause::NOT_SUPPORTED, message)
        })?;
        lines.push(wire::LineVoid { reference: line.line_id.clone(), quantity_voided });
    }
    let void = wire::VoidLines {
        change_reference: request.change_reference.clone(),
        not_after: not_after_ms,
        reason: reason(&request.reason),
        lines,
    };
    Ok((reference(request.order.as_ref()), void))
}

fn reference(order: Option<&PosOrderFacts>) -> String {
    order.map(|order| order.reference.clone()).unwrap_or_default()
}

/// The printer knows neither control characters nor anything beyond the Basic Multilingual Plane; a reason is for people,
/// and never keeps an order from being taken back.
fn reason(reason: &str) -> Option<String> {
    let printable = reason.chars().filter(|c| !c.is_control() && u32::from(*c) <= 0xFFFF);
    Some(printable.take(MAX_REASON_CHARS).collect()).filter(|reason: &String| !reason.is_empty())
}

/// What the device's confirmation proves: a printer's, that the void slip is made.
pub(crate) fn changed(answer: &wire::OrderAnswer, device: Device) -> Changed {
    let kind = match device {
        Device::Pos => EvidenceKind::Pos,
        Device::Printer => EvidenceKind::Printed,
    };
    let evidence = Evidence {
        kind: kind.into(),
        reference: answer.order.order_number.to_string(),
        time: Some(answer.cancelled_at.map_or_else(time::now, time::from_unix_ms)),
        ..Evidence::default()
    };
    Changed { evidence: vec![evidence], total: (device == Device::Pos).then(|| money(answer.total)) }
}

/// What the refusal of a change means. A refusal is the POS's proof that it changed nothing, with two exceptions.
pub(crate) fn unchanged(refusal: &wire::Refusal, order: Option<&PosOrderFacts>, profile: &Profile) -> Unchanged {
    let (cause, message) = (refusal::shared_cause(refusal), refusal::message(refusal));
    match refusal.cause.as_str() {
        wire::ORDER_NOT_FOUND => {
            let placed = order.and_then(|order| order.place_time.as_ref());
            Unchanged::NotFound(NotFound { authoritative: absence_is_proof(profile, refusal, placed) })
        }
        // It stops, and does not know itself; or it made another change under our reference.
        "STOPPING" | "REFERENCE_REUSED" => Unplaced::in_doubt(cause, message).into(),
        // Final for this attempt, not for the change.
        "EXPIRED" => Unplaced::refused_for_now(cause, message, None).into(),
        _ if refusal.is_final => Unplaced::rejected(cause, message).into(),
        _ => Unplaced::refused_for_now(cause, message, refusal.retry_after_ms.map(Duration::from_millis)).into(),
    }
}
