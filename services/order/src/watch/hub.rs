//! Who waits for news of which order on this replica, and the one task that reads for all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use posmesh_kit::backoff;
use posmesh_proto::order::v1::Order;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::mailbox::{Ended, Mailbox};
use crate::storage::{Known, Storage};

/// An order of which nothing was heard is read again after this at the latest, in case no news reached this replica.
const READ_AFTER: Duration = Duration::from_secs(5);
/// How often this task looks for such orders, and for watchers that are too slow.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Orders that one statement asks for.
const READ_LIMIT: usize = 500;
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Hands news of orders to whoever waits for them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
    /// So long a watcher may leave news unread.
    max_lag: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There are orders to be read at once.
    must_read: Notify,
}

/// Sorted, so that whoever waits is served in the same order in each run.
#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<Arc<str>, Topic>,
    /// The orders among them that must be read: they changed elsewhere, or nothing was heard of them for a while.
    must_read: BTreeSet<Arc<str>>,
}

/// An order that somebody waits for.
#[derive(Debug)]
struct Topic {
    tenant_id: Arc<str>,
    /// The newest version that was seen here.
    version: i64,
    /// When it is read if no news come before.
    read_at: Instant,
    mailboxes: Vec<Arc<Mailbox<Arc<Order>>>>,
}

impl Hub {
    /// Without anybody who waits.
    pub(crate) fn new(max_lag: Duration) -> Self {
        Self { shared: Arc::default(), max_lag }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for news of an order that this caller is about to change.
    pub(crate) fn subscribe(&self, tenant_id: &Arc<str>, order_id: &str) -> Subscription {
        self.state().subscribe(self.clone(), tenant_id, order_id, Mailbox::new(None))
    }

    /// Begins to wait for news of an order that was read a moment ago. It is read again, together with others: what
    /// changed in between is not missed. `place`: that of a watcher, which may be ended for being slow.
    pub(crate) fn watch(
        &self,
        tenant_id: &Arc<str>,
        order: &Order,
        place: Option<OwnedSemaphorePermit>,
    ) -> Subscription {
        let mut state = self.state();
        let news = state.subscribe(self.clone(), tenant_id, &order.order_id, Mailbox::new(place));
        if let Some(topic) = state.topics.get_mut(&news.order_id) {
            // Others may have seen newer ones by now: the read must bring those to this one as well.
            let is_first = topic.mailboxes.len() == 1;
            topic.version = if is_first { order.version } else { topic.version.min(order.version) };
        }
        state.must_read.insert(Arc::clone(&news.order_id));
        self.shared.must_read.notify_one();
        news
    }

    /// The order is like this now.
    pub(crate) fn publish(&self, order: &Arc<Order>) {
        if let Some(topic) = self.state().topics.get_mut(&*order.order_id)
            && topic.version < order.version
        {
            topic.version = order.version;
            topic.read_at = Instant::now() + read_after();
            topic.mailboxes.iter().for_each(|mailbox| mailbox.post(Arc::clone(order)));
        }
    }

    /// These orders changed elsewhere.
    pub(crate) fn touch(&self, order_ids: &[String]) {
        let mut state = self.state();
        let State { topics, must_read } = &mut *state;
        must_read
            .extend(order_ids.iter().filter_map(|id| topics.get_key_value(id.as_str())).map(|(id, _)| Arc::clone(id)));
        if !must_read.is_empty() {
            self.shared.must_read.notify_one();
        }
    }

    /// Any order may have changed elsewhere.
    pub(crate) fn touch_all(&self) {
        let mut state = self.state();
        let State { topics, must_read } = &mut *state;
        must_read.extend(topics.keys().cloned());
        self.shared.must_read.notify_one();
    }

    /// Reads what changed elsewhere, for all who wait, until `stop`; then ends all watchers.
    pub(crate) async fn run(self, storage: Arc<dyn Storage>, stop: CancellationToken) {
        let work = async {
            loop {
                let pause = jittered(LOOK_INTERVAL);
                if tokio::time::timeout(pause, self.shared.must_read.notified()).await.is_err() {
                    self.look_around(Instant::now());
                }
                self.read(&*storage).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
        let state = self.state();
        state.mailboxes().for_each(|mailbox| mailbox.end(Ended::Stopped));
    }

    /// Ends watchers that are too slow, and finds orders of which nothing was heard for a while.
    fn look_around(&self, now: Instant) {
        let mut state = self.state();
        state.mailboxes().for_each(|mailbox| mailbox.end_if_slow(now, self.max_lag));
        let State { topics, must_read } = &mut *state;
        let silent = topics.iter().filter(|(_, topic)| topic.read_at <= now).map(|(order_id, _)| Arc::clone(order_id));
        must_read.extend(silent);
    }

    async fn read(&self, storage: &dyn Storage) {
        loop {
            let known = self.take_known();
            if known.is_empty() {
                return;
            }
            match tokio::time::timeout(READ_TIMEOUT, storage.newer(&known)).await {
                Ok(Ok(orders)) => orders.into_iter().for_each(|order| self.publish(&Arc::new(order))),
                // They are due again after a while: pause enough for the database.
                Ok(Err(error)) => return tracing::warn!(%error, "watched orders could not be read"),
                Err(_) => return tracing::warn!("watched orders could not be read: the database does not answer"),
            }
        }
    }

    /// What is known of the next orders to be read, as many as one statement asks for.
    fn take_known(&self) -> Vec<Known> {
        let now = Instant::now();
        let mut state = self.state();
        let State { topics, must_read } = &mut *state;
        let mut known = Vec::new();
        while known.len() < READ_LIMIT
            && let Some(order_id) = must_read.pop_first()
        {
            // Nobody may wait for it any more.
            let Some(topic) = topics.get_mut(&order_id) else { continue };
            topic.read_at = now + read_after();
            known.push(Known { tenant_id: Arc::clone(&topic.tenant_id), order_id, version: topic.version });
        }
        known
    }
}

impl State {
    fn subscribe(
        &mut self,
        hub: Hub,
        tenant_id: &Arc<str>,
        order_id: &str,
        mailbox: Mailbox<Arc<Order>>,
    ) -> Subscription {
        let order_id: Arc<str> =
            self.topics.get_key_value(order_id).map_or_else(|| order_id.into(), |(id, _)| Arc::clone(id));
        let topic = || Topic {
            tenant_id: Arc::clone(tenant_id),
            version: 0,
            read_at: Instant::now() + read_after(),
            mailboxes: Vec::with_capacity(1),
        };
        let mailbox = Arc::new(mailbox);
        self.topics.entry(Arc::clone(&order_id)).or_insert_with(topic).mailboxes.push(Arc::clone(&mailbox));
        Subscription { hub, order_id, mailbox }
    }

    fn mailboxes(&self) -> impl Iterator<Item = &Mailbox<Arc<Order>>> {
        self.topics.values().flat_map(|topic| &topic.mailboxes).map(|mailbox| &**mailbox)
    }
}

/// Orders that were read together are not read together for ever.
fn read_after() -> Duration {
    jittered(READ_AFTER)
}

/// From half of it to all of it.
fn jittered(duration: Duration) -> Duration {
    backoff::delay_after(duration, duration, 0)
}

/// Waits for news of one order.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Hub,
    order_id: Arc<str>,
    mailbox: Arc<Mailbox<Arc<Order>>>,
}

impl Subscription {
    /// The order as it is now, after it has changed. It may skip states, never the last one.
    pub(crate) async fn next(&self) -> Result<Arc<Order>, Ended> {
        self.mailbox.next().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let topics = &mut self.hub.state().topics;
        if let Some(topic) = topics.get_mut(&self.order_id) {
            topic.mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
            if topic.mailboxes.is_empty() {
                topics.remove(&self.order_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::Semaphore;

    use super::*;
    use crate::storage::MemoryStorage;

    const LAG: Duration = Duration::from_secs(30);

    fn order(version: i64) -> Arc<Order> {
        Arc::new(Order { order_id: "o".into(), version, ..Order::default() })
    }

    fn subscribe(hub: &Hub) -> Subscription {
        hub.subscribe(&"brand".into(), "o")
    }

    fn versions(known: &[Known]) -> Vec<i64> {
        known.iter().map(|known| known.version).collect()
    }

    #[tokio::test]
    async fn who_begins_with_an_older_state_than_others_have_seen_is_brought_up_to_date() {
        let hub = Hub::new(LAG);
        let first = subscribe(&hub);
        hub.publish(&order(2));
        let late = hub.watch(&"brand".into(), &order(1), None);
        assert_eq!(versions(&hub.take_known()), [1]);
        hub.publish(&order(2));
        assert_eq!(late.next().await.map(|o| o.version), Ok(2));
        assert_eq!(first.next().await.map(|o| o.version), Ok(2));
    }

    #[tokio::test]
    async fn a_watcher_gets_the_newest_state_and_never_an_older_one() {
        let hub = Hub::new(LAG);
        let watcher = subscribe(&hub);
        hub.publish(&order(3));
        hub.publish(&order(2));
        assert_eq!(watcher.next().await.unwrap().version, 3);
    }

    #[tokio::test]
    async fn nothing_is_kept_once_nobody_watches() {
        let hub = Hub::new(LAG);
        let (first, second) = (subscribe(&hub), subscribe(&hub));
        drop(first);
        assert_eq!(hub.state().topics.len(), 1);
        drop(second);
        assert_eq!(hub.state().topics.len(), 0);
    }

    #[tokio::test]
    async fn an_order_is_read_when_it_is_watched_when_it_was_touched_and_now_and_then() {
        let hub = Hub::new(LAG);
        let places = Arc::new(Semaphore::new(1));
        let watcher = hub.watch(&"brand".into(), &order(7), places.try_acquire_owned().ok());
        assert_eq!(versions(&hub.take_known()), [7]);
        assert_eq!(hub.take_known(), []);
        hub.publish(&order(8));
        hub.touch(&["o".to_owned(), "another".to_owned()]);
        assert_eq!(versions(&hub.take_known()), [8]);
        hub.look_around(Instant::now());
        assert_eq!(hub.take_known(), []);
        hub.look_around(Instant::now() + READ_AFTER);
        assert_eq!(versions(&hub.take_known()), [8]);
        hub.touch_all();
        assert_eq!(versions(&hub.take_known()), [8]);
        drop(watcher);
    }

    #[tokio::test]
    async fn a_thousand_silent_orders_are_read_by_two_statements_and_not_again_at_once() {
        let hub = Hub::new(LAG);
        let subscribe = |number: usize| hub.subscribe(&"brand".into(), &number.to_string());
        let watchers: Vec<Subscription> = (0..1000).map(subscribe).collect();
        hub.look_around(Instant::now() + READ_AFTER);
        let statements: Vec<_> = std::iter::repeat_with(|| hub.take_known().len()).take_while(|len| *len > 0).collect();
        assert_eq!(statements, [500, 500]);
        hub.look_around(Instant::now());
        assert_eq!(hub.take_known(), []);
        drop(watchers);
    }

    #[tokio::test]
    async fn a_replica_that_stops_ends_its_watchers_and_no_one_else() {
        let hub = Hub::new(LAG);
        let places = Arc::new(Semaphore::new(1));
        let watcher = hub.watch(&"brand".into(), &order(1), places.try_acquire_owned().ok());
        let caller = subscribe(&hub);
        let stop = CancellationToken::new();
        stop.cancel();
        hub.clone().run(Arc::new(MemoryStorage::default()), stop).await;
        assert_eq!(watcher.next().await, Err(Ended::Stopped));
        hub.publish(&order(2));
        assert_eq!(caller.next().await.unwrap().version, 2);
    }
}
