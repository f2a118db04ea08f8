//! What a POS reports of its orders: how far they are, and what proves it.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use posmesh_kit::Failure;
use posmesh_proto::{
    adapter::v1::{Placed, PosEvent, PosOrderProgress},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{EventResult, RecordOrderEventsRequest},
};

use crate::{
    dispatch::{Dispatcher, with_connection},
    domain::{accept::can_be_id, lifecycle::Event},
    error::Error,
    ledger::Applied,
};

const MAX_EVENTS: usize = 500;
/// Events of one call that are written at once.
const AT_ONCE: usize = 32;

/// 1 to 500 events of a named connection.
pub(crate) fn check_request(request: &RecordOrderEventsRequest) -> Result<(), Failure> {
    if request.connection_id.is_empty() {
        return Err(Failure::field("REQUIRED", "connection_id", "say where the events come from"));
    }
    if !(1..=MAX_EVENTS).contains(&request.events.len()) {
        return Err(Failure::field("OUT_OF_RANGE", "events", format!("must be 1 to {MAX_EVENTS}")));
    }
    Ok(())
}

impl Dispatcher {
    /// Notes events that a POS reported over a connection, in any order and repeated: an order never goes back. One
    /// result for each, in order. What was stored stays stored when a later one fails: report them all again.
    pub(crate) async fn record_events(
        &self,
        tenant_id: &Arc<str>,
        connection_id: &str,
        events: Vec<PosEvent>,
    ) -> Result<Vec<EventResult>, Error> {
        stream::iter(events)
            .map(|event| self.record_event(tenant_id, connection_id, event))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Notes one event. Only an order that was sent over this very connection can have anything to do with it.
    async fn record_event(
        &self,
        tenant_id: &Arc<str>,
        connection_id: &str,
        event: PosEvent,
    ) -> Result<EventResult, Error> {
        if !can_be_id(&event.reference) {
            return Ok(EventResult::OrderNotFound);
        }
        let found = self.order(tenant_id, &event.reference).await?;
        let ran_there = |order: &posmesh_proto::order::v1::Order| {
            order.attempts.iter().any(|attempt| attempt.connection_id == connection_id)
        };
        let Some(order) = found.filter(ran_there) else { return Ok(EventResult::OrderNotFound) };
        let reported = Event::Reported(Box::new(reported(event, connection_id)));
        Ok(match self.apply(tenant_id, order, reported).await? {
            Applied::Changed { .. } => EventResult::Applied,
            Applied::Unchanged(_) => EventResult::NoNews,
        })
    }
}

/// The event as the POS's word about the order. Progress at the POS proves that the POS has it.
fn reported(event: PosEvent, connection_id: &str) -> Placed {
    let progress = event.progress();
    let mut evidence = event.evidence;
    let is_there = !matches!(progress, PosOrderProgress::Unspecified);
    if is_there && evidence.iter().all(|e| e.kind() != EvidenceKind::Pos) {
        evidence.push(Evidence {
            kind: EvidenceKind::Pos.into(),
            reference: event.pos_order_reference.clone(),
            time: event.time,
            ..Evidence::default()
        });
    }
    Placed {
        evidence: with_connection(evidence, connection_id),
        pos_order_reference: event.pos_order_reference,
        progress: progress.into(),
        ..Placed::default()
    }
}
