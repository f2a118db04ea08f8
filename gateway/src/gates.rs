//! The gates of all stores, kept current by one watch: shown beside the menu, before a guest chooses.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use posmesh_kit::{Channel, backoff::Backoff};
use posmesh_proto::order::v1::{
    Gate as Known, GateReason, GateState, WatchGatesRequest, order_service_client::OrderServiceClient,
};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa::ToSchema;

use crate::{
    views::ProductName,
    words::{self, GuestMessage},
};

/// So long the last that was heard serves while the order service is away.
const LASTS: Duration = Duration::from_secs(30);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Whether the store takes orders of the product now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub(crate) struct Gate {
    state: State,
    /// Why it is not open, e.g. `LINK_OFFLINE`, `OUTSIDE_HOURS`, `PAUSED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// When it opens (RFC 3339), where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_time: Option<String>,
    /// What the staff say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// What to tell the guest before the guest chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_message: Option<GuestMessage>,
}

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It is taken and sent.
    Open,
    /// It is taken, kept, and sent when the store can be reached again.
    Hold,
    /// It is refused.
    Closed,
    /// It may be refused: the store was away, and takes one at a time until one is there.
    Probation,
    /// It is taken, and goes to the kitchen beside the POS.
    Diverted,
}

impl Gate {
    fn new(gate: &Known) -> Option<Self> {
        let state = match gate.state() {
            GateState::Unspecified => return None,
            GateState::Open => State::Open,
            GateState::Hold => State::Hold,
            GateState::Closed => State::Closed,
            GateState::Probation => State::Probation,
            GateState::Diverted => State::Diverted,
        };
        let reason = gate.reason();
        let name = reason.as_str_name();
        let is_paused = reason == GateReason::Paused && !gate.message.is_empty();
        Some(Self {
            state,
            reason: (reason != GateReason::Unspecified).then(|| name.strip_prefix("GATE_REASON_").unwrap_or(name)),
            open_time: gate.open_time.as_ref().map(ToString::to_string),
            note: is_paused.then(|| gate.message.clone()),
            guest_message: words::gate(gate.state(), reason),
        })
    }
}

#[derive(Debug, Default)]
struct Heard {
    /// By store and product.
    gates: HashMap<(String, i32), Gate>,
    /// Since when nothing is heard. `None`: all is.
    lost: Option<Instant>,
}

/// What is known of gates. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gates(Arc<RwLock<Heard>>);

impl Gates {
    /// Watches on `tasks` until `stop`.
    pub(crate) fn start(orders: Channel, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let gates = Self(Arc::default());
        let (watcher, stop) = (gates.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watcher.watch(OrderServiceClient::new(orders)) => {}
            }
        });
        gates
    }

    /// The gate of a store's product. `None`: nothing is known of it now; that closes no gate.
    pub(crate) fn get(&self, store_id: &str, product: ProductName) -> Option<Gate> {
        let heard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if heard.lost.is_some_and(|since| since.elapsed() > LASTS) {
            return None;
        }
        let product = posmesh_proto::common::v1::Product::from(product);
        heard.gates.get(&(store_id.to_owned(), product.into())).cloned()
    }

    async fn watch(&self, mut orders: OrderServiceClient<Channel>) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            match orders.watch_gates(WatchGatesRequest::default()).await {
                Ok(stream) => {
                    let mut stream = stream.into_inner();
                    let mut complete = HashMap::new();
                    let mut current = false;
                    while let Ok(Some(page)) = stream.message().await {
                        backoff.reset();
                        let told = page
                            .gates
                            .iter()
                            .filter_map(|gate| Some(((gate.store_id.clone(), gate.product), Gate::new(gate)?)));
                        if current {
                            self.heard().gates.extend(told);
                            continue;
                        }
                        complete.extend(told);
                        if page.current {
                            *self.heard() = Heard { gates: std::mem::take(&mut complete), lost: None };
                            current = true;
                        }
                    }
                }
                Err(status) => tracing::debug!(%status, "the gates cannot be watched"),
            }
            self.heard().lost.get_or_insert_with(Instant::now);
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn heard(&self) -> std::sync::RwLockWriteGuard<'_, Heard> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_guest_is_told_why_nothing_is_taken_and_an_open_gate_needs_no_words() {
        let of = |state: GateState, reason: GateReason| {
            let known = Known { state: state.into(), reason: reason.into(), message: "m".into(), ..Known::default() };
            Gate::new(&known).map(|gate| (gate.reason, gate.note, gate.guest_message.map(|message| message.code)))
        };
        assert_eq!(of(GateState::Open, GateReason::Unspecified), Some((None, None, None)));
        let paused = Some((Some("PAUSED"), Some("m".to_owned()), Some("ORDERS_PAUSED")));
        assert_eq!(of(GateState::Closed, GateReason::Paused), paused);
        // Without a word of theirs nothing is told as the staff's own.
        let silent = Known { state: GateState::Closed.into(), reason: GateReason::Paused.into(), ..Known::default() };
        assert_eq!(Gate::new(&silent).unwrap().note, None);
        // What is wrong with the POS is for the staff.
        let held = Some((Some("LINK_OFFLINE"), None, Some("ORDERS_HELD")));
        assert_eq!(of(GateState::Hold, GateReason::LinkOffline), held);
        assert_eq!(of(GateState::Unspecified, GateReason::Unspecified), None);
    }
}
