//! The orders that the POS lists, and what happened to them.

use posmesh_adapter_kit::PosError;
use posmesh_kit::{Failure, cause, time};
use posmesh_proto::{
    adapter::v1::{
        ListPosOrdersRequest, PollEventsRequest, PosEvent, PosEvents, PosOrderProgress, PosOrderRecord,
        PosOrderRecordLine, PosOrders,
    },
    common::v1::{Evidence, EvidenceKind},
};

use crate::{
    order::{money, progress},
    profile::{Device, ListProfile},
    wire,
};

/// The query for one page; the token is the number of the last order before it.
pub(crate) fn list_query(
    request: &ListPosOrdersRequest,
    profile: ListProfile,
) -> Result<Vec<(&'static str, String)>, PosError> {
    let mut query = vec![("limit", request.page_size.to_string())];
    if !request.page_token.is_empty() {
        let after = request.page_token.parse::<u32>().map_err(|_| {
            Failure::field("PAGE_TOKEN_INVALID", "page_token", "take the token from the page before, or leave it empty")
        })?;
        query.push(("after", after.to_string()));
    }
    let wrong = |field: &str, what: &str| PosError::Call(Failure::field("LIST_RANGE_INVALID", field, what));
    match profile {
        ListProfile::None => return Err(PosError::not_supported("list its orders")),
        ListProfile::ByTime => {
            if !request.business_date.is_empty() {
                return Err(wrong("business_date", "this POS lists by time"));
            }
            match (&request.from, &request.before) {
                (None, None) => {}
                (Some(from), Some(before)) => {
                    query.push(("since", time::to_unix_ms(from).to_string()));
                    query.push(("before", time::to_unix_ms(before).to_string()));
                }
                _ => return Err(wrong("from", "give both from and before, or none")),
            }
        }
        ListProfile::ByBusinessDate => {
            if request.from.is_some() || request.before.is_some() || request.business_date.is_empty() {
                return Err(wrong("business_date", "this POS lists by business date: give one, and no times"));
            }
            query.push(("business_date", request.business_date.clone()));
        }
    }
    Ok(query)
}

/// A page as the platform reads it.
pub(crate) fn page(list: &wire::OrderList, request: &ListPosOrdersRequest) -> Result<PosOrders, PosError> {
    let from = request.from.as_ref().map(time::to_unix_ms);
    if let Some(complete_since) = list.complete_since
        && from.is_none_or(|from| from < complete_since)
    {
        let message = format!("the POS keeps no orders from before {complete_since} (unix milliseconds)");
        return Err(PosError::failed(cause::NOT_SUPPORTED, message));
    }
    let last = list.orders.last().filter(|_| list.more);
    Ok(PosOrders {
        orders: list.orders.iter().map(record).collect(),
        next_page_token: last.map(|answer| answer.order.order_number.to_string()).unwrap_or_default(),
    })
}

fn record(answer: &wire::OrderAnswer) -> PosOrderRecord {
    let order = &answer.order;
    let left = |line: &wire::Line| i64::from(line.quantity) - i64::from(answer.voided(&line.reference));
    let line =
        |line: &wire::Line| PosOrderRecordLine { line_id: line.reference.clone(), quantity_milli: left(line) * 1000 };
    let cancelled = answer.cancelled_at.is_some();
    PosOrderRecord {
        pos_order_reference: order.order_number.to_string(),
        reference: order.request.reference.clone(),
        pos_check_reference: answer.check_number.to_string(),
        progress: if cancelled { PosOrderProgress::Cancelled } else { progress(answer.progress) }.into(),
        take_time: Some(time::from_unix_ms(order.recorded_at)),
        display_number: order.display_number.clone(),
        total: Some(money(answer.total)),
        lines: order.lines.iter().map(line).collect(),
    }
}

/// The query for events; nothing where the POS shall tell where to begin.
pub(crate) fn events_query(request: &PollEventsRequest) -> Result<Vec<(&'static str, String)>, PosError> {
    if request.cursor.is_empty() {
        return Ok(Vec::new());
    }
    let after = request.cursor.parse::<u64>().map_err(|_| {
        Failure::field("CURSOR_INVALID", "cursor", "take the cursor from the answer before, or leave it empty")
    })?;
    Ok(vec![("after", after.to_string()), ("limit", request.max_events.to_string())])
}

/// Events as the platform reads them. Lines that the staff made void are told by lists of orders alone.
pub(crate) fn events(list: &wire::EventList, device: Device) -> PosEvents {
    let told = |event: &&wire::OrderEvent| device == Device::Pos || is_of_a_printer(event.kind);
    PosEvents {
        events: list.events.iter().filter(told).filter_map(|told| event(told, device)).collect(),
        cursor: list.cursor.to_string(),
        more: list.more,
    }
}

fn is_of_a_printer(kind: wire::EventKind) -> bool {
    matches!(kind, wire::EventKind::Printed { .. })
}

fn event(event: &wire::OrderEvent, device: Device) -> Option<PosEvent> {
    let time = time::from_unix_ms(event.at);
    let proof = |kind: EvidenceKind, reference: u32| {
        vec![Evidence { kind: kind.into(), reference: reference.to_string(), time: Some(time), ..Evidence::default() }]
    };
    let (progress, evidence) = match event.kind {
        wire::EventKind::Recorded => (PosOrderProgress::Accepted, proof(EvidenceKind::Pos, event.order_number)),
        wire::EventKind::Printed { ticket_number } => {
            // As when it was submitted.
            let reference = if device == Device::Printer { event.order_number } else { ticket_number };
            (PosOrderProgress::Unspecified, proof(EvidenceKind::Printed, reference))
        }
        wire::EventKind::Progressed { to } => (progress(to), Vec::new()),
        wire::EventKind::Cancelled => (PosOrderProgress::Cancelled, Vec::new()),
        wire::EventKind::LinesVoided | wire::EventKind::Other => return None,
    };
    Some(PosEvent {
        event_id: event.number.to_string(),
        time: Some(time),
        reference: event.reference.clone(),
        pos_order_reference: event.order_number.to_string(),
        progress: progress.into(),
        evidence,
    })
}
