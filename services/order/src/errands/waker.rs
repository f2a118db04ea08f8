//! Noting reasons for errands. What dispatches orders notes them; a reason that was noted a moment ago is not noted again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use posmesh_kit::{Failure, cause, time};
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    common::v1::{Product, ServiceMode},
    order::v1::{Order, OrderState},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{
        lifecycle::{Event, Outcome, where_it_is},
        pos::service_mode,
    },
    errands::polling::LINGER,
    peers::{Link, Reader},
    storage::{ErrandKind, Storage, Wake},
};

/// How often at most one replica notes that a connection's calls fail.
const FAILING_AGAIN: Duration = Duration::from_secs(5);
/// How soon after a failure a comparison is tried.
const COMPARE_IN: Duration = Duration::from_secs(2);
/// How often at most it notes that there is something to poll for; the errand stays awake for longer.
const POLL_AGAIN: Duration = Duration::from_secs(LINGER.as_secs() / 2);
/// How long it takes for granted that an adapter cannot be polled.
const NO_POLLING: Duration = Duration::from_secs(300);
/// Where the adapter names none.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Connections that are remembered.
const MAX_REMEMBERED: usize = 20_000;
const WAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Noted in one write.
const WAKE_BATCH: usize = 500;
/// They gather this long.
const WAKE_PAUSE: Duration = Duration::from_millis(50);
/// Links that are not known and asked for at once.
const ASK_AT_ONCE: usize = 16;

/// Tenant, connection and errand.
type Key = (Arc<str>, String, ErrandKind);

/// An order that can still progress.
#[derive(Debug)]
struct CanProgress {
    key: Key,
    store_id: String,
    product: Product,
    mode: ServiceMode,
    since_ms: i64,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Waker {
    storage: Arc<dyn Storage>,
    reader: Reader,
    /// How far before the first failure an outage may have begun.
    margin: Duration,
    /// Until when a reason is not noted again.
    noted: Arc<Mutex<BTreeMap<Key, Instant>>>,
    progressing: mpsc::Sender<CanProgress>,
}

impl Waker {
    pub(crate) fn start(
        storage: Arc<dyn Storage>,
        reader: Reader,
        margin: Duration,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (progressing, queue) = mpsc::channel(MAX_REMEMBERED);
        let waker = Self { storage, reader, margin, noted: Arc::default(), progressing };
        tasks.spawn(waker.clone().wake_polls(queue, stop.clone()));
        waker
    }

    /// Before an event of an order is stored: an attempt that failed because of the link makes an outage, which is
    /// durable before the attempt's end is. Whoever dies, the orders are compared when the POS answers again.
    pub(crate) async fn before(&self, tenant_id: &Arc<str>, order: &Order, event: &Event) {
        let Event::Attempted { attempt, outcome } = event else { return };
        let Some(attempt) = order.attempts.iter().find(|a| a.number == *attempt).filter(|_| is_link_failure(outcome))
        else {
            return;
        };
        let begun_ms = attempt.begin_time.as_ref().map_or_else(time::now_unix_ms, time::to_unix_ms);
        self.link_failed(tenant_id, &attempt.connection_id, &order.store_id, begun_ms).await;
    }

    /// The connection's calls fail, since this time at the latest.
    pub(crate) async fn link_failed(&self, tenant_id: &Arc<str>, connection_id: &str, store_id: &str, since_ms: i64) {
        if connection_id.is_empty() {
            return;
        }
        let key = (Arc::clone(tenant_id), connection_id.to_owned(), ErrandKind::Reconcile);
        // Not before it is durable: an attempt that ends meanwhile would be stored as if it were.
        if self.is_noted(&key) {
            return;
        }
        let wake = Wake {
            tenant_id: Arc::clone(tenant_id),
            connection_id: connection_id.to_owned(),
            kind: ErrandKind::Reconcile,
            store_id: store_id.to_owned(),
            since_ms: since_ms.saturating_sub(i64::try_from(self.margin.as_millis()).unwrap_or(i64::MAX)),
            due_in: COMPARE_IN,
        };
        if self.wake(&[(key.clone(), wake)]).await {
            self.remember(key, FAILING_AGAIN);
        }
    }

    /// After an order has changed: one that can still progress at a POS which is polled is polled for.
    pub(crate) fn after(&self, tenant_id: &Arc<str>, order: &Order) {
        let can_progress = matches!(
            order.state(),
            OrderState::InDoubt | OrderState::Placed | OrderState::InPreparation | OrderState::Ready
        );
        let Some(attempt) = where_it_is(order).filter(|a| can_progress && !a.connection_id.is_empty()) else { return };
        let key = (Arc::clone(tenant_id), attempt.connection_id.clone(), ErrandKind::Poll);
        if !self.is_news(&key, POLL_AGAIN) {
            return;
        }
        let order = CanProgress {
            key: key.clone(),
            store_id: order.store_id.clone(),
            product: order.product(),
            mode: service_mode(order),
            since_ms: order.create_time.as_ref().map_or_else(time::now_unix_ms, time::to_unix_ms),
        };
        if self.progressing.try_send(order).is_err() {
            self.forget(&key);
        }
    }

    /// Notes what there is to poll for, many stores' in one write, until `stop`.
    async fn wake_polls(self, mut queue: mpsc::Receiver<CanProgress>, stop: CancellationToken) {
        loop {
            let mut orders = Vec::new();
            tokio::select! {
                () = stop.cancelled() => return,
                count = queue.recv_many(&mut orders, WAKE_BATCH) => if count == 0 { return },
            }
            let wakes: Vec<Option<(Key, Wake)>> =
                stream::iter(orders).map(|order| self.poll_of(order)).buffered(ASK_AT_ONCE).collect().await;
            // Each once, and in the order in which any other replica takes them.
            let wakes: BTreeMap<Key, Wake> = wakes.into_iter().flatten().collect();
            if !wakes.is_empty() {
                self.wake(&wakes.into_iter().collect::<Vec<_>>()).await;
            }
            tokio::time::sleep(WAKE_PAUSE).await;
        }
    }

    /// The errand, if the POS is one that is polled.
    async fn poll_of(&self, order: CanProgress) -> Option<(Key, Wake)> {
        let CanProgress { key, store_id, product, mode, since_ms } = order;
        let link = match self.link(&key.1, &store_id, product, mode).await {
            Ok(link) => link,
            Err(failure) => {
                tracing::debug!(%failure, connection.id = %key.1, "whether it is polled is not known yet");
                self.forget(&key);
                return None;
            }
        };
        if !link.can("POLL_EVENTS") {
            self.remember(key, NO_POLLING);
            return None;
        }
        let wake = Wake {
            tenant_id: Arc::clone(&key.0),
            connection_id: key.1.clone(),
            kind: ErrandKind::Poll,
            store_id,
            since_ms,
            due_in: least_interval(&link.descriptor),
        };
        Some((key, wake))
    }

    /// The link is known, as a rule: an order went over it just now.
    async fn link(
        &self,
        connection_id: &str,
        store_id: &str,
        product: Product,
        mode: ServiceMode,
    ) -> Result<Arc<Link>, Failure> {
        match self.reader.link(store_id, product, mode).await {
            Ok(link) if link.connection.connection_id == connection_id => Ok(link),
            _ => self.reader.link_to(connection_id, 0).await.map(Arc::new),
        }
    }

    /// Returns whether they are noted, durably.
    async fn wake(&self, wakes: &[(Key, Wake)]) -> bool {
        let noted: Vec<Wake> = wakes.iter().map(|(_, wake)| wake.clone()).collect();
        let woken = tokio::time::timeout(WAKE_TIMEOUT, self.storage.wake(&noted)).await;
        if let Ok(Ok(())) = woken {
            return true;
        }
        tracing::warn!(count = wakes.len(), ?woken, "errands could not be noted yet");
        wakes.iter().for_each(|(key, _)| self.forget(key));
        false
    }

    fn is_noted(&self, key: &Key) -> bool {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(key).is_some_and(|until| *until > Instant::now())
    }

    /// Whether this was not noted for a while; then it counts as noted for `again`.
    fn is_news(&self, key: &Key, again: Duration) -> bool {
        if self.is_noted(key) {
            return false;
        }
        self.remember(key.clone(), again);
        true
    }

    fn remember(&self, key: Key, long: Duration) {
        let now = Instant::now();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MAX_REMEMBERED {
            noted.retain(|_, until| *until > now);
        }
        noted.insert(key, now + long);
    }

    fn forget(&self, key: &Key) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The least time between two polls of a connection.
pub(super) fn least_interval(descriptor: &AdapterDescriptor) -> Duration {
    let named = descriptor.min_poll_interval.as_ref().and_then(time::from_proto_duration);
    named.filter(|interval| !interval.is_zero()).unwrap_or(POLL_INTERVAL)
}

/// Whether an attempt ended like this because the way to the POS is broken, or may be.
fn is_link_failure(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::InDoubt(_) => true,
        Outcome::NotHandedOver(why) | Outcome::RefusedForNow(why, _) => is_link_cause(&why.cause),
        _ => false,
    }
}

/// Causes of a link; those of a check or an order say nothing about it.
pub(super) fn is_link_cause(cause: &str) -> bool {
    matches!(
        cause,
        cause::NETWORK_DOWN
            | cause::TIMED_OUT
            | cause::ADAPTER_DOWN
            | cause::VENDOR_SERVICE_DOWN
            | cause::CREDENTIALS_REJECTED
            | cause::POS_APP_NOT_RUNNING
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lifecycle::Why;

    #[test]
    fn only_what_the_link_is_to_blame_for_makes_an_outage() {
        let why = |cause: &str| Why::new(cause, "");
        assert!(is_link_failure(&Outcome::InDoubt(why(cause::UNKNOWN))));
        assert!(is_link_failure(&Outcome::NotHandedOver(why(cause::ADAPTER_DOWN))));
        assert!(is_link_failure(&Outcome::RefusedForNow(why(cause::POS_APP_NOT_RUNNING), None)));
        assert!(!is_link_failure(&Outcome::RefusedForNow(why(cause::TABLE_LOCKED), None)));
        assert!(!is_link_failure(&Outcome::NotHandedOver(why(cause::RATE_LIMITED))));
        assert!(!is_link_failure(&Outcome::Rejected(why(cause::ITEM_SOLD_OUT))));
    }
}
