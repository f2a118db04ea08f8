//! What a POS reports of its orders: how far they are, and what proves it.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use posmesh_kit::Failure;
use posmesh_proto::{
    adapter::v1::{Placed, PosEvent, PosOrderProgress},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{EventResult, Order, RecordOrderEventsRequest},
};

use crate::{
    dispatch::{Dispatcher, with_connection},
    domain::{
        accept::can_be_id,
        lifecycle::{Event, is_fallback},
    },
    error::Error,
    ledger::Applied,
    storage::Known,
};

const MAX_EVENTS: usize = 500;
/// Orders whose events are written at once.
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
        let mut results = vec![EventResult::OrderNotFound; events.len()];
        let mut by_order: BTreeMap<String, Vec<(usize, PosEvent)>> = BTreeMap::new();
        for (at, event) in events.into_iter().enumerate().filter(|(_, event)| can_be_id(&event.reference)) {
            by_order.entry(event.reference.clone()).or_default().push((at, event));
        }
        let orders = self.sent_over(tenant_id, connection_id, by_order.keys()).await?;
        let of_orders = orders.into_iter().filter_map(|order| Some((by_order.remove(&order.order_id)?, order)));
        let recorded: Vec<Vec<(usize, EventResult)>> = stream::iter(of_orders)
            .map(|(events, order)| self.record_of_order(tenant_id, connection_id, order, events))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        recorded.into_iter().flatten().for_each(|(at, result)| results[at] = result);
        Ok(results)
    }

    /// Those of these orders that events of the connection can be about: they were sent over this very one. In one read:
    /// most of what a POS tells is known already.
    async fn sent_over(
        &self,
        tenant_id: &Arc<str>,
        connection_id: &str,
        order_ids: impl Iterator<Item = &String>,
    ) -> Result<Vec<Order>, Error> {
        let known = |order_id: &String| Known {
            tenant_id: Arc::clone(tenant_id),
            order_id: order_id.as_str().into(),
            version: 0,
        };
        let known: Vec<Known> = order_ids.map(known).collect();
        let mut orders = self.newer(&known).await?;
        orders.retain(|order| order.attempts.iter().any(|attempt| attempt.connection_id == connection_id));
        Ok(orders)
    }

    async fn record_of_order(
        &self,
        tenant_id: &Arc<str>,
        connection_id: &str,
        mut order: Order,
        events: Vec<(usize, PosEvent)>,
    ) -> Result<Vec<(usize, EventResult)>, Error> {
        let mut results = Vec::with_capacity(events.len());
        for (at, event) in events {
            let mut told = reported(event, connection_id);
            if is_fallback(&order, connection_id) {
                // Its own number of the order is none of the POS's.
                told.pos_order_reference.clear();
            }
            let reported = Event::Reported(Box::new(told));
            let (after, result) = match self.apply(tenant_id, order, reported).await? {
                Applied::Changed { order, .. } => (order, EventResult::Applied),
                Applied::Unchanged(order) => (order, EventResult::NoNews),
            };
            order = Arc::unwrap_or_clone(after);
            results.push((at, result));
        }
        Ok(results)
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
