//! Orders that need a person. One task looks for them in the database, for all who watch on this replica, and only while
//! somebody does: whatever any replica wrote is seen a moment later, and no crash loses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, stream};
use posmesh_kit::backoff;
use posmesh_proto::order::v1::{Order, WatchAttentionResponse};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use super::{
    fingerprint,
    mailbox::{Ended, Mailbox},
    why,
};
use crate::storage::{Known, Storage, StorageError};

/// How often the database is asked while somebody watches.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// Orders of one tenant that are told at once: those that wait longest. More than any staff can see to.
const MAX_ORDERS: usize = 5000;
/// Orders that one statement reads.
const READ_LIMIT: usize = 500;
/// Orders in one message.
const PAGE: usize = 100;

/// An order, and what tells its states apart.
#[derive(Debug, Clone)]
struct Entry {
    order: Arc<Order>,
    /// In the database; may be above the order's where only its owner changed.
    version: i64,
    print: u64,
}

/// By order id.
type View = BTreeMap<Arc<str>, Entry>;

/// The watchers of a tenant.
#[derive(Debug, Default)]
struct Feed {
    /// What was found last. `None`: nobody has looked yet.
    view: Option<Arc<View>>,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    /// Empty: all stores.
    store_id: Arc<str>,
    mailbox: Arc<Mailbox<Arc<View>>>,
}

impl Watcher {
    fn post(&self, view: &Arc<View>) {
        let news = if self.store_id.is_empty() {
            Arc::clone(view)
        } else {
            let of_store = view.iter().filter(|(_, entry)| *entry.order.store_id == *self.store_id);
            Arc::new(of_store.map(|(order_id, entry)| (Arc::clone(order_id), entry.clone())).collect())
        };
        self.mailbox.post(news);
    }
}

/// Who watches for orders that need a person. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    storage: Arc<dyn Storage>,
    /// By tenant.
    feeds: Arc<Mutex<BTreeMap<Arc<str>, Feed>>>,
    somebody_came: Arc<Notify>,
    /// So long a watcher may leave news unread.
    max_lag: Duration,
}

impl Attention {
    /// Looks until `stop`.
    pub(crate) fn start(
        storage: Arc<dyn Storage>,
        max_lag: Duration,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let attention = Self { storage, feeds: Arc::default(), somebody_came: Arc::default(), max_lag };
        let (looker, stop) = (attention.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = looker.look_again_and_again() => {}
            }
            looker.feeds().values().flat_map(|feed| &feed.watchers).for_each(|w| w.mailbox.end(Ended::Stopped));
        });
        attention
    }

    fn feeds(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Feed>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that need a person, then what changes.
    pub(crate) fn watch(
        &self,
        tenant_id: &Arc<str>,
        store_id: &str,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<WatchAttentionResponse, Status>> + Send + use<> {
        let mailbox = Arc::new(Mailbox::new(Some(place)));
        let watcher = Watcher { store_id: store_id.into(), mailbox: Arc::clone(&mailbox) };
        let mut feeds = self.feeds();
        let feed = feeds.entry(Arc::clone(tenant_id)).or_default();
        if let Some(view) = &feed.view {
            watcher.post(view);
        }
        feed.watchers.push(watcher);
        drop(feeds);
        self.somebody_came.notify_one();
        let seat = Seat { attention: self.clone(), tenant_id: Arc::clone(tenant_id), mailbox };
        let watching = Watching { seat, view: None, told: BTreeMap::new(), current: false, ended: false };
        stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) })
    }

    async fn look_again_and_again(&self) {
        loop {
            let pause = backoff::delay_after(LOOK_INTERVAL, LOOK_INTERVAL, 0);
            let _ = tokio::time::timeout(pause, self.somebody_came.notified()).await;
            let tenants: Vec<Arc<str>> = self.feeds().keys().cloned().collect();
            for tenant_id in tenants {
                match tokio::time::timeout(LOOK_TIMEOUT, self.look(&tenant_id)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "orders that need a person could not be read"),
                    Err(_) => tracing::warn!("orders that need a person could not be read: no answer"),
                }
            }
        }
    }

    /// Finds what needs a person now, and tells the watchers whom it concerns.
    async fn look(&self, tenant_id: &Arc<str>) -> Result<(), StorageError> {
        let Some(before) = self.feeds().get(tenant_id).map(|feed| feed.view.clone()) else { return Ok(()) };
        let view = Arc::new(self.find(tenant_id, before.as_deref()).await?);
        let mut feeds = self.feeds();
        let Some(feed) = feeds.get_mut(tenant_id) else { return Ok(()) };
        let now = Instant::now();
        feed.watchers.iter().for_each(|watcher| watcher.mailbox.end_if_slow(now, self.max_lag));
        let changed = before.as_deref().map(|before| stores_that_differ(before, &view));
        let concerns = |watcher: &&Watcher| match &changed {
            None => true,
            Some(stores) => stores.contains(&*watcher.store_id) || watcher.store_id.is_empty() && !stores.is_empty(),
        };
        // Whoever came since got what was found before, and gets this as well.
        feed.watchers.iter().filter(concerns).for_each(|watcher| watcher.post(&view));
        feed.view = Some(view);
        Ok(())
    }

    async fn find(&self, tenant_id: &Arc<str>, before: Option<&View>) -> Result<View, StorageError> {
        let found = self.storage.attention(tenant_id, MAX_ORDERS).await?;
        let mut view = View::new();
        let mut to_read = Vec::new();
        for (order_id, version) in found {
            match before.and_then(|before| before.get(&order_id)) {
                Some(entry) if entry.version == version => {
                    view.insert(order_id, entry.clone());
                }
                _ => to_read.push(Known { tenant_id: Arc::clone(tenant_id), order_id, version: 0 }),
            }
        }
        for known in to_read.chunks(READ_LIMIT) {
            // Settled in between, it is left out.
            for order in self.storage.newer(known).await?.into_iter().filter(|order| !order.attention.is_empty()) {
                let entry = Entry { version: order.version, print: fingerprint(&order), order: Arc::new(order) };
                view.insert(entry.order.order_id.as_str().into(), entry);
            }
        }
        Ok(view)
    }
}

fn stores_that_differ<'a>(before: &'a View, after: &'a View) -> BTreeSet<&'a str> {
    let differs = |from: &'a View, to: &'a View| {
        let changed = move |(order_id, entry): &(&'a Arc<str>, &'a Entry)| {
            to.get(*order_id).is_none_or(|other| other.print != entry.print)
        };
        from.iter().filter(changed).map(|(_, entry)| entry.order.store_id.as_str())
    };
    differs(before, after).chain(differs(after, before)).collect()
}

/// A watcher's place in its feed.
#[derive(Debug)]
struct Seat {
    attention: Attention,
    tenant_id: Arc<str>,
    mailbox: Arc<Mailbox<Arc<View>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut feeds = self.attention.feeds();
        if let Some(feed) = feeds.get_mut(&self.tenant_id) {
            feed.watchers.retain(|watcher| !Arc::ptr_eq(&watcher.mailbox, &self.mailbox));
            if feed.watchers.is_empty() {
                feeds.remove(&self.tenant_id);
            }
        }
    }
}

/// One stream.
struct Watching {
    seat: Seat,
    /// What is there to be told. `None`: nobody has looked yet.
    view: Option<Arc<View>>,
    /// What was told, by order id.
    told: BTreeMap<Arc<str>, u64>,
    /// Everything that was there was told once.
    current: bool,
    ended: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchAttentionResponse, Status>> {
        while !self.ended {
            if let Some(page) = self.view.clone().and_then(|view| self.next_page(&view)) {
                return Some(Ok(page));
            }
            match self.seat.mailbox.next().await {
                Ok(view) => self.view = Some(view),
                Err(ended) => {
                    self.ended = true;
                    return Some(Err(why(ended)));
                }
            }
        }
        None
    }

    /// The next page of what is there and was not told. `None` when all was.
    fn next_page(&mut self, view: &View) -> Option<WatchAttentionResponse> {
        let told = &mut self.told;
        let settled: Vec<Arc<str>> = told.keys().filter(|order_id| !view.contains_key(*order_id)).cloned().collect();
        told.retain(|order_id, _| view.contains_key(order_id));
        let is_news = |(order_id, entry): &(&Arc<str>, &Entry)| told.get(*order_id) != Some(&entry.print);
        let mut page: Vec<_> = view.iter().filter(is_news).take(PAGE + 1).collect();
        let is_last = page.len() <= PAGE;
        page.truncate(PAGE);
        if page.is_empty() && settled.is_empty() && self.current {
            return None;
        }
        told.extend(page.iter().map(|(order_id, entry)| (Arc::clone(order_id), entry.print)));
        self.current |= is_last;
        Some(WatchAttentionResponse {
            orders: page.into_iter().map(|(_, entry)| Order::clone(&entry.order)).collect(),
            settled_order_ids: settled.iter().map(|order_id| order_id.to_string()).collect(),
            current: self.current,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::Semaphore;

    use super::*;
    use crate::storage::MemoryStorage;

    fn watching() -> Watching {
        let attention = Attention {
            storage: Arc::new(MemoryStorage::default()),
            feeds: Arc::default(),
            somebody_came: Arc::default(),
            max_lag: Duration::from_secs(30),
        };
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let seat = Seat { attention, tenant_id: "brand".into(), mailbox: Arc::new(Mailbox::new(Some(place))) };
        Watching { seat, view: None, told: BTreeMap::new(), current: false, ended: false }
    }

    fn view(orders: impl IntoIterator<Item = (usize, i64)>) -> View {
        let entry = |(number, version): (usize, i64)| {
            let order_id = format!("{number:04}");
            let order = Order { order_id: order_id.clone(), round: version as i32, ..Order::default() };
            (order_id.into(), Entry { version, print: fingerprint(&order), order: Arc::new(order) })
        };
        orders.into_iter().map(entry).collect()
    }

    fn told(page: &WatchAttentionResponse) -> (Vec<&str>, Vec<&str>, bool) {
        let orders = page.orders.iter().map(|order| order.order_id.as_str()).collect();
        (orders, page.settled_order_ids.iter().map(String::as_str).collect(), page.current)
    }

    #[test]
    fn a_snapshot_of_nothing_is_told_at_once() {
        let mut watching = watching();
        let page = watching.next_page(&view([])).unwrap();
        assert_eq!(told(&page), (vec![], vec![], true));
        assert_eq!(watching.next_page(&view([])), None);
    }

    #[test]
    fn a_long_snapshot_comes_in_pages_of_which_the_last_completes_it() {
        let mut watching = watching();
        let all = view((0..PAGE * 2 + 1).map(|number| (number, 1)));
        let pages: Vec<_> = std::iter::from_fn(|| watching.next_page(&all)).collect();
        let shape: Vec<_> = pages.iter().map(|page| (page.orders.len(), page.current)).collect();
        assert_eq!(shape, [(PAGE, false), (PAGE, false), (1, true)]);
    }

    #[test]
    fn only_what_is_new_changed_or_settled_is_told() {
        let mut watching = watching();
        watching.next_page(&view([(1, 1), (2, 1), (3, 1)])).unwrap();
        let page = watching.next_page(&view([(1, 1), (3, 2), (4, 1)])).unwrap();
        assert_eq!(told(&page), (vec!["0003", "0004"], vec!["0002"], true));
        assert_eq!(watching.next_page(&view([(1, 1), (3, 2), (4, 1)])), None);
    }

    #[test]
    fn a_store_is_concerned_by_its_own_orders_alone() {
        let of = |store: &str, number, version| {
            let mut view = view([(number, version)]);
            for entry in view.values_mut() {
                entry.order = Arc::new(Order { store_id: store.into(), ..Order::clone(&entry.order) });
            }
            view
        };
        let both = |ueno| of("shibuya", 1, 1).into_iter().chain(of("ueno", 2, ueno)).collect::<View>();
        assert_eq!(stores_that_differ(&both(1), &both(2)), BTreeSet::from(["ueno"]));
        assert_eq!(stores_that_differ(&both(1), &of("ueno", 2, 1)), BTreeSet::from(["shibuya"]));
        assert_eq!(stores_that_differ(&both(1), &both(1)), BTreeSet::new());
    }
}
