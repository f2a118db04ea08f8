//! What this replica knows that gates hang on, in memory: asking it costs an order no I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use posmesh_kit::{
    hours::{Hours, Opening},
    time,
};
use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    order::v1::{Attempt, AttemptOutcome, Gate, HoldReason, Order, OrderState, Pause},
    router::v1::{ConnectionRole, Link, LinkState, WatchLinksResponse},
    store::v1::Store,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    domain::{
        gate::{self, Asked, Facts, Load},
        lifecycle::{self, submits},
    },
    storage::{GateFacts, Holder, Offline},
};

/// So long the last that was heard of links holds while the router is away.
const LINKS_LAST: Duration = Duration::from_secs(30);
/// Without any order, so many good probes open a connection that was away.
const PROBES_TO_OPEN: i32 = 3;
/// So long a replica that starts waits for what it does not know yet before it answers.
const START_GRACE: Duration = Duration::from_secs(3);
/// A store that is always open is looked at again after this.
const LONGEST_OPENING_MS: i64 = 24 * 3600 * 1000;

/// Tenant and store.
type StoreKey = (Arc<str>, String);

/// What is known of links, stores' loads and pauses. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    links: RwLock<Links>,
    stores: RwLock<Arc<Stores>>,
    reopenings: Mutex<Reopenings>,
    /// Connections whose POS must be told of orders that the kitchen has.
    entering: Mutex<BTreeSet<String>>,
    openings: Mutex<HashMap<String, OpeningNow>>,
    started: Instant,
    learned: watch::Sender<Learned>,
    /// So long an order that was let through alone counts as under way if it is not stored.
    claim_lease: Duration,
    /// Counts what was learned.
    news: watch::Sender<u64>,
    /// The stores that were concerned, by the count at that time.
    concerned: Mutex<HashMap<String, u64>>,
    /// Something happened that the storage counts.
    look: Notify,
}

/// What was learned since this replica has started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Learned {
    /// What the storage tells.
    storage: bool,
    /// The router was asked for its links, and has told them or failed.
    router: bool,
    /// All links were told.
    links: bool,
}

/// Where the orders of a product go, by the links that are known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// Nobody knows.
    Unknown,
    /// The store has no connection for them.
    Nowhere,
    /// Over this connection.
    Over(String),
}

#[derive(Debug, Default)]
struct Links {
    by_id: BTreeMap<String, Arc<Link>>,
    /// The connections of each store.
    of_store: HashMap<String, BTreeSet<String>>,
    /// Since when nothing is heard of them.
    lost: Option<Instant>,
    /// All of them were told once.
    was_told: bool,
    /// Those that the snapshot under way has told. `None`: none is under way.
    told: Option<BTreeSet<String>>,
}

impl Links {
    fn are_known(&self) -> bool {
        self.lost.is_none_or(|since| since.elapsed() < LINKS_LAST)
    }

    /// The links of a store that serve a product.
    fn serving(&self, store_id: &str, product: Product) -> impl Iterator<Item = &Arc<Link>> {
        let of_store = self.of_store.get(store_id).into_iter().flatten().filter_map(|id| self.by_id.get(id));
        of_store.filter(move |link| link.products.is_empty() || link.products.contains(&product.into()))
    }

    /// Returns the store that the connection is taken from, if it was another one's.
    fn put(&mut self, link: Link) -> Option<String> {
        let before = self.remove(&link.connection_id).filter(|before| *before != link.store_id);
        self.of_store.entry(link.store_id.clone()).or_default().insert(link.connection_id.clone());
        self.by_id.insert(link.connection_id.clone(), Arc::new(link));
        before
    }

    /// Returns its store.
    fn remove(&mut self, connection_id: &str) -> Option<String> {
        let link = self.by_id.remove(connection_id)?;
        if let Some(connections) = self.of_store.get_mut(&link.store_id) {
            connections.remove(connection_id);
            if connections.is_empty() {
                self.of_store.remove(&link.store_id);
            }
        }
        Some(link.store_id.clone())
    }
}

fn serves(link: &Link, mode: ServiceMode) -> bool {
    link.service_modes.is_empty() || link.service_modes.contains(&mode.into())
}

/// Whether a gate may be another one by what a link says now.
fn differs(before: &Link, now: &Link) -> bool {
    // How it came to this is no gate's business.
    let said = |link: &Link| {
        let (evidence, pos_latency, healthy_since) = (None, None, None);
        let probes_passed = i32::from(is_shown_well(link));
        Link { evidence, pos_latency, healthy_since, probes_passed, ..link.clone() }
    };
    said(before) != said(now)
}

/// It is up, and its probes alone may open it.
fn is_shown_well(link: &Link) -> bool {
    matches!(link.state(), LinkState::Online | LinkState::Degraded) && link.probes_passed >= PROBES_TO_OPEN
}

#[derive(Debug, Default)]
struct Stores {
    loads: HashMap<StoreKey, Load>,
    pauses: HashMap<StoreKey, Pause>,
    /// Of any tenant, those that have a load.
    troubled: HashSet<String>,
}

impl Stores {
    /// Those that are not the same in both.
    fn differ(&self, other: &Self) -> BTreeSet<String> {
        let keys = |stores: &Self| stores.loads.keys().chain(stores.pauses.keys()).cloned().collect::<Vec<_>>();
        let differs = |key: &StoreKey| {
            self.loads.get(key) != other.loads.get(key) || self.pauses.get(key) != other.pauses.get(key)
        };
        keys(self).into_iter().chain(keys(other)).filter(differs).map(|(_, store_id)| store_id).collect()
    }
}

/// A connection that was seen OFFLINE, by its link's versions.
#[derive(Debug, Clone, Default)]
struct Reopening {
    offline: i64,
    opened: i64,
    /// Up to which version the storage knows of it.
    noted: i64,
    holder: Option<Holder>,
}

impl Reopening {
    fn is_open(&self) -> bool {
        self.opened >= self.offline
    }

    fn in_doubt(&self) -> Option<&str> {
        let holder = self.holder.as_ref().filter(|holder| holder.state == Some(OrderState::InDoubt))?;
        Some(&holder.order_id)
    }
}

#[derive(Debug, Default)]
struct Reopenings {
    by_connection: BTreeMap<String, Reopening>,
    /// The connections of the orders that were let through alone.
    holders: HashMap<String, String>,
}

impl Reopenings {
    /// Returns whether the storage should be looked at for what a link says.
    fn hear(&mut self, link: &Link) -> bool {
        if gate::is_away(link) {
            let known = self.by_connection.entry(link.connection_id.clone()).or_default();
            let is_news = link.version > known.offline;
            known.offline = known.offline.max(link.version);
            return is_news;
        }
        is_shown_well(link) && self.by_connection.get(&link.connection_id).is_some_and(|known| !known.is_open())
    }

    /// That order is let through to a connection, and no other one.
    fn hold(&mut self, connection_id: &str, holder: Option<Holder>) {
        let Some(known) = self.by_connection.get_mut(connection_id) else { return };
        if let Some(before) = known.holder.take() {
            self.holders.remove(&before.order_id);
        }
        if let Some(holder) = &holder {
            self.holders.insert(holder.order_id.clone(), connection_id.to_owned());
        }
        known.holder = holder;
    }
}

#[derive(Debug, Clone, Copy)]
struct OpeningNow {
    revision: i64,
    from_ms: i64,
    until_ms: i64,
    opening: Opening,
}

impl Board {
    /// Nothing is known yet. `claim_lease`: so long an order that was let through counts as under way if it is not stored.
    pub(crate) fn new(claim_lease: Duration) -> Self {
        let links = Links { lost: Some(Instant::now()), ..Links::default() };
        Self(Arc::new(Inner {
            links: RwLock::new(links),
            stores: RwLock::default(),
            reopenings: Mutex::default(),
            entering: Mutex::default(),
            openings: Mutex::default(),
            started: Instant::now(),
            learned: watch::Sender::default(),
            claim_lease,
            news: watch::Sender::new(0),
            concerned: Mutex::default(),
            look: Notify::new(),
        }))
    }

    /// The gate of a store's product, whose orders go to this connection, as far as that is known; `can_divert`: or to a
    /// fallback that can be reached.
    pub(crate) fn gate(
        &self,
        tenant_id: &Arc<str>,
        store: &Store,
        product: Product,
        (connection_id, can_divert): (Option<&str>, bool),
        (asked, now_ms): (Asked, i64),
    ) -> Gate {
        let link = connection_id.and_then(|id| self.link(id));
        let is_reopening = connection_id.is_some_and(|id| self.is_reopening(id));
        let in_doubt = connection_id.filter(|_| is_reopening).and_then(|id| self.in_doubt(id));
        let stores = Arc::clone(&self.0.stores.read().unwrap_or_else(PoisonError::into_inner));
        let key = (Arc::clone(tenant_id), store.store_id.clone());
        let facts = Facts {
            store,
            product,
            opening: self.opening(store, now_ms),
            way: gate::Way { link: link.as_deref(), is_reopening, in_doubt: in_doubt.as_deref(), can_divert },
            load: stores.loads.get(&key).copied().unwrap_or_default(),
            pause: stores.pauses.get(&key),
            now_ms,
        };
        gate::gate(&facts, asked)
    }

    /// The pause of a store, unless it is over.
    pub(crate) fn pause(&self, tenant_id: &Arc<str>, store_id: &str, now_ms: i64) -> Option<Pause> {
        let stores = Arc::clone(&self.0.stores.read().unwrap_or_else(PoisonError::into_inner));
        let pause = stores.pauses.get(&(Arc::clone(tenant_id), store_id.to_owned()))?;
        (!gate::is_over(pause, now_ms)).then(|| pause.clone())
    }

    /// Whether a connection's POS was away, as long as anybody remembers.
    pub(crate) fn was_away(&self, connection_id: &str) -> bool {
        self.reopenings().by_connection.contains_key(connection_id) || self.entering().contains(connection_id)
    }

    /// When a gate of a store may be another one by time alone.
    pub(crate) fn next_change_ms(&self, tenant_id: &Arc<str>, store: &Store, now_ms: i64) -> Option<i64> {
        let until_ms = self.pause(tenant_id, &store.store_id, now_ms).and_then(|pause| pause.until);
        let of_hours_ms = self.opening(store, now_ms).until_ms();
        until_ms.map(|until| time::to_unix_ms(&until)).into_iter().chain(of_hours_ms).min()
    }

    /// A connection's link as it was heard of last. `None`: that is too long ago, or never.
    pub(crate) fn link(&self, connection_id: &str) -> Option<Arc<Link>> {
        let links = self.links();
        links.are_known().then(|| links.by_id.get(connection_id).cloned())?
    }

    /// Whether what was heard of links still holds.
    pub(crate) fn are_links_known(&self) -> bool {
        self.links().are_known()
    }

    /// Whether nothing is heard of links at the moment; `once_known`: though it was before.
    pub(crate) fn has_lost_links(&self, once_known: bool) -> bool {
        let links = self.links();
        links.lost.is_some() && (links.was_told || !once_known)
    }

    /// Whether a store's orders of a product go over a connection.
    pub(crate) fn serves(&self, store_id: &str, connection_id: &str, product: Product) -> bool {
        let links = self.links();
        let is_it = |link: &Arc<Link>| link.connection_id == connection_id && link.role() != ConnectionRole::Fallback;
        links.serving(store_id, product).any(is_it)
    }

    /// The connection that such orders go over, if that is known for certain.
    pub(crate) fn connection(&self, store_id: &str, product: Product, mode: ServiceMode) -> Option<String> {
        let Way::Over(connection_id) = self.way(store_id, product, mode) else { return None };
        self.link(&connection_id).filter(|link| serves(link, mode)).map(|_| connection_id)
    }

    /// Where a store's orders of a product go. Where several connections share a product's modes, the one that serves
    /// `mode` stands for it.
    pub(crate) fn way(&self, store_id: &str, product: Product, mode: ServiceMode) -> Way {
        let links = self.links();
        if !links.was_told || !links.are_known() {
            return Way::Unknown;
        }
        let found = links.serving(store_id, product).filter(|link| link.role() != ConnectionRole::Fallback);
        let found = found.max_by_key(|link| serves(link, mode));
        found.map_or(Way::Nowhere, |link| Way::Over(link.connection_id.clone()))
    }

    /// The link of what stands in for the POS of such orders.
    pub(crate) fn fallback_of(&self, store_id: &str, product: Product, mode: ServiceMode) -> Option<Arc<Link>> {
        let links = self.links();
        let mut fallbacks = links.serving(store_id, product).filter(|link| link.role() == ConnectionRole::Fallback);
        fallbacks.find(|link| serves(link, mode)).filter(|_| links.are_known()).cloned()
    }

    /// Waits until an order can be judged, or long enough.
    pub(crate) async fn until_judging(&self) {
        self.until(|learned| learned.storage && learned.router).await;
    }

    /// Waits until gates can be shown, or long enough.
    pub(crate) async fn until_complete(&self) {
        self.until(|learned| learned.storage && learned.links).await;
    }

    async fn until(&self, is_enough: fn(&Learned) -> bool) {
        if is_enough(&self.0.learned.borrow()) {
            return;
        }
        let mut learned = self.0.learned.subscribe();
        let _ = tokio::time::timeout_at(self.0.started + START_GRACE, learned.wait_for(is_enough)).await;
    }

    /// Counts up when anything was learned.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// Returns when the storage should be looked at at once.
    pub(crate) async fn wanted(&self) {
        self.0.look.notified().await;
    }

    /// The last OFFLINE of a connection.
    pub(crate) fn offline(&self, tenant_id: &Arc<str>, connection_id: &str) -> Offline {
        let version = self.reopenings().by_connection.get(connection_id).map_or(0, |known| known.offline);
        Offline { tenant_id: Arc::clone(tenant_id), connection_id: connection_id.to_owned(), version }
    }

    fn links(&self) -> RwLockReadGuard<'_, Links> {
        self.0.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn links_mut(&self) -> RwLockWriteGuard<'_, Links> {
        self.0.links.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopenings(&self) -> MutexGuard<'_, Reopenings> {
        self.0.reopenings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entering(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.entering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was learned about these stores.
    fn tell(&self, stores: BTreeSet<String>) {
        if stores.is_empty() {
            return;
        }
        let mut concerned = self.0.concerned.lock().unwrap_or_else(PoisonError::into_inner);
        let count = *self.0.news.borrow() + 1;
        concerned.extend(stores.into_iter().map(|store_id| (store_id, count)));
        // Whoever sees the count finds the stores.
        self.0.news.send_replace(count);
    }

    /// The stores about which something was learned since the count was this.
    pub(crate) fn concerned_since(&self, count: u64) -> Vec<String> {
        let concerned = self.0.concerned.lock().unwrap_or_else(PoisonError::into_inner);
        concerned.iter().filter(|(_, at)| **at > count).map(|(store_id, _)| store_id.clone()).collect()
    }

    /// The store of a connection.
    fn store_of(&self, connection_id: &str) -> Option<String> {
        self.links().by_id.get(connection_id).map(|link| link.store_id.clone())
    }

    /// Whether a connection's POS was away, and neither an order that is there nor its probes have opened it since.
    pub(crate) fn is_reopening(&self, connection_id: &str) -> bool {
        self.reopenings().by_connection.get(connection_id).is_some_and(|known| !known.is_open())
    }

    /// The order that was let through to a connection and is in doubt.
    fn in_doubt(&self, connection_id: &str) -> Option<String> {
        self.reopenings().by_connection.get(connection_id)?.in_doubt().map(str::to_owned)
    }

    /// The store's hours now; worked out again when they change.
    fn opening(&self, store: &Store, now_ms: i64) -> Opening {
        if store.opening_hours.is_empty() && store.special_days.is_empty() {
            return Opening::Open { until_ms: None };
        }
        let mut openings = self.0.openings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = openings.get(&store.store_id)
            && known.revision == store.revision
            && (known.from_ms..known.until_ms).contains(&now_ms)
        {
            return known.opening;
        }
        // A zone that is unknown here is for the order's own checks to tell.
        let opening = Hours::of(store).map_or(Opening::Open { until_ms: None }, |hours| hours.at(now_ms));
        let until_ms = opening.until_ms().unwrap_or(i64::MAX).min(now_ms.saturating_add(LONGEST_OPENING_MS));
        let known = OpeningNow { revision: store.revision, from_ms: now_ms, until_ms, opening };
        openings.insert(store.store_id.clone(), known);
        opening
    }
}

/// Whether an attempt began after the POS of a link had come back.
fn is_sent_since_back(attempt: &Attempt, link: &Link) -> bool {
    let (Some(begun), Some(back)) = (&attempt.begin_time, &link.healthy_since) else { return false };
    matches!(link.state(), LinkState::Online | LinkState::Degraded) && time::to_unix_ms(begun) > time::to_unix_ms(back)
}

/// What is learned from the router.
impl Board {
    /// A stream begins; `all`: with every link there is.
    pub(crate) fn begin(&self, all: bool) {
        self.links_mut().told = all.then(BTreeSet::new);
    }

    /// The stream broke, or there was none.
    pub(crate) fn lose(&self) {
        self.links_mut().lost.get_or_insert_with(Instant::now);
        self.0.learned.send_if_modified(|learned| !std::mem::replace(&mut learned.router, true));
    }

    /// Takes what the router tells.
    pub(crate) fn hear(&self, told: WatchLinksResponse) {
        let mut is_urgent = false;
        let mut concerned = BTreeSet::new();
        let mut links = self.links_mut();
        for link in told.links {
            if let Some(told) = &mut links.told {
                told.insert(link.connection_id.clone());
            }
            is_urgent |= self.reopenings().hear(&link);
            if links.by_id.get(&link.connection_id).is_none_or(|before| differs(before, &link)) {
                concerned.insert(link.store_id.clone());
            }
            concerned.extend(links.put(link));
        }
        for connection_id in told.deleted_connection_ids {
            concerned.extend(links.remove(&connection_id));
        }
        if told.current {
            links.lost = None;
            links.was_told = true;
            if let Some(told) = links.told.take() {
                let gone = links.by_id.keys().filter(|connection_id| !told.contains(*connection_id));
                let gone: Vec<String> = gone.cloned().collect();
                concerned.extend(gone.iter().filter_map(|connection_id| links.remove(connection_id)));
            }
        }
        drop(links);
        self.tell(concerned);
        if told.current {
            let all = |learned: &mut Learned| {
                let before = (learned.router, learned.links);
                (learned.router, learned.links) = (true, true);
                before != (true, true)
            };
            self.0.learned.send_if_modified(all);
        }
        if is_urgent {
            self.0.look.notify_one();
        }
    }
}

/// What is learned from orders and from the storage.
impl Board {
    /// An order that this replica has changed.
    pub(crate) fn observe(&self, order: &Order) {
        let is_held = order.state() == OrderState::Held && order.hold_reason() == HoldReason::Link;
        let is_troubled = matches!(order.state(), OrderState::Pending | OrderState::InDoubt) || is_held;
        if is_troubled || self.has_load(&order.store_id) {
            self.0.look.notify_one();
        }
        if lifecycle::is_there(order.state()) && !lifecycle::entry::is_pending(order) {
            self.open_by(order);
        }
    }

    fn has_load(&self, store_id: &str) -> bool {
        self.0.stores.read().unwrap_or_else(PoisonError::into_inner).troubled.contains(store_id)
    }

    /// An order is there: its connection is open if it was let through alone, or was sent after the POS had come back.
    fn open_by(&self, order: &Order) {
        let links = self.links();
        let mut reopenings = self.reopenings();
        let held = reopenings.holders.remove(&order.order_id);
        let is_held = held.is_some();
        let placed = || submits(order).rev().find(|attempt| attempt.outcome() == AttemptOutcome::Placed);
        let sent = if is_held { None } else { placed() };
        let Some(connection_id) = held.or_else(|| sent.map(|attempt| attempt.connection_id.clone())) else { return };
        let Some(known) = reopenings.by_connection.get_mut(&connection_id).filter(|known| !known.is_open()) else {
            return;
        };
        let is_after = match sent {
            Some(attempt) => links.by_id.get(&connection_id).is_some_and(|link| is_sent_since_back(attempt, link)),
            None => known.holder.as_ref().is_some_and(|holder| holder.version >= known.offline),
        };
        if !is_after {
            return;
        }
        known.opened = known.offline;
        drop((reopenings, links));
        self.tell(self.store_of(&connection_id).into_iter().collect());
        self.0.look.notify_one();
    }

    /// This replica has let an order through.
    pub(crate) fn let_through(&self, offline: &Offline, order_id: &str) {
        let version = offline.version;
        let holder = Holder { order_id: order_id.to_owned(), version, age: Duration::ZERO, state: None };
        self.reopenings().hold(&offline.connection_id, Some(holder));
    }

    /// An order that this replica has let through was not taken.
    pub(crate) fn give_back(&self, connection_id: &str, order_id: &str) {
        let mut reopenings = self.reopenings();
        if reopenings.holders.get(order_id).is_some_and(|held| held == connection_id) {
            reopenings.hold(connection_id, None);
        }
    }

    /// A connection is open again after this OFFLINE.
    pub(crate) fn open(&self, offline: &Offline) {
        if let Some(known) = self.reopenings().by_connection.get_mut(&offline.connection_id) {
            known.opened = known.opened.max(offline.version);
        }
        self.tell(self.store_of(&offline.connection_id).into_iter().collect());
    }

    /// The connections that were away and that good probes alone may open by now, with the versions of their last
    /// OFFLINE. To be asked for before the storage is read, which then knows each order that was let through till now.
    pub(crate) fn shown_well(&self) -> HashMap<String, i64> {
        let links = self.links();
        if links.lost.is_some() {
            return HashMap::new();
        }
        let reopenings = self.reopenings();
        let is_well = |(connection_id, known): &(&String, &Reopening)| {
            !known.is_open() && links.by_id.get(*connection_id).is_some_and(|link| is_shown_well(link))
        };
        let well = reopenings.by_connection.iter().filter(is_well);
        well.map(|(connection_id, known)| (connection_id.clone(), known.offline)).collect()
    }

    /// Connections that are OFFLINE, and of which the storage does not know it yet.
    pub(crate) fn to_note(&self, tenant_id: &Arc<str>) -> Vec<Offline> {
        let reopenings = self.reopenings();
        let unknown = reopenings.by_connection.iter().filter(|(_, known)| known.noted < known.offline);
        let to_note = |(connection_id, known): (&String, &Reopening)| Offline {
            tenant_id: Arc::clone(tenant_id),
            connection_id: connection_id.clone(),
            version: known.offline,
        };
        unknown.map(to_note).collect()
    }

    /// The storage knows of these.
    pub(crate) fn noted(&self, offline: &[Offline]) {
        let mut reopenings = self.reopenings();
        for offline in offline {
            if let Some(known) = reopenings.by_connection.get_mut(&offline.connection_id) {
                known.noted = known.noted.max(offline.version);
            }
        }
    }

    /// Takes what the storage tells, and what [`Board::shown_well`] said before. Returns the connections that are open by
    /// it, which the storage shall know.
    pub(crate) fn learn(&self, facts: &GateFacts, shown_well: &HashMap<String, i64>) -> Vec<Offline> {
        let mut stores = Stores::default();
        for troubled in &facts.troubled {
            let load = stores.loads.entry((Arc::clone(&troubled.tenant_id), troubled.store_id.clone())).or_default();
            match troubled.state {
                OrderState::InDoubt => load.in_doubt += troubled.count,
                _ => load.waiting += troubled.count,
            }
        }
        for held in facts.held.iter().filter(|held| held.count > 0) {
            stores.loads.entry((Arc::clone(&held.tenant_id), held.store_id.clone())).or_default().held += held.count;
        }
        let to_enter = facts.held.iter().filter(|held| held.entries > 0);
        *self.entering() = to_enter.map(|held| held.connection_id.clone()).collect();
        stores.troubled = stores.loads.keys().map(|(_, store_id)| store_id.clone()).collect();
        let key = |tenant_id: &Arc<str>, pause: &Pause| (Arc::clone(tenant_id), pause.store_id.clone());
        stores.pauses = facts.pauses.iter().map(|(tenant, pause)| (key(tenant, pause), pause.clone())).collect();
        let mut known = self.0.stores.write().unwrap_or_else(PoisonError::into_inner);
        let mut concerned = known.differ(&stores);
        *known = Arc::new(stores);
        drop(known);
        let opened = self.learn_probations(facts, shown_well, &mut concerned);
        self.tell(concerned);
        self.0.learned.send_if_modified(|learned| !std::mem::replace(&mut learned.storage, true));
        opened
    }

    /// The connections that the storage shall know to be open.
    fn learn_probations(
        &self,
        facts: &GateFacts,
        shown_well: &HashMap<String, i64>,
        concerned: &mut BTreeSet<String>,
    ) -> Vec<Offline> {
        let mut reopenings = self.reopenings();
        let mut opened = Vec::new();
        let mut changed = Vec::new();
        for probation in &facts.probations {
            let connection_id = &probation.offline.connection_id;
            let known = reopenings.by_connection.entry(connection_id.clone()).or_default();
            let before = (known.is_open(), known.in_doubt().map(str::to_owned));
            known.offline = known.offline.max(probation.offline.version);
            known.noted = known.noted.max(probation.offline.version);
            known.opened = known.opened.max(probation.opened_version);
            let holder = probation.holder.as_ref();
            // One order that is not known to be there, or not to be there, keeps it on probation.
            let is_blocked = holder.is_some_and(|holder| holder.blocks(self.0.claim_lease));
            let is_well = shown_well.get(connection_id).is_some_and(|version| *version >= known.offline);
            if is_well && !is_blocked || holder.is_some_and(|holder| holder.proves(known.offline)) {
                known.opened = known.offline;
            }
            if probation.opened_version < known.opened {
                opened.push(Offline { version: known.opened, ..probation.offline.clone() });
            }
            reopenings.hold(connection_id, probation.holder.clone());
            let now = reopenings.by_connection.get(connection_id);
            if now.is_some_and(|known| before != (known.is_open(), known.in_doubt().map(str::to_owned))) {
                changed.push(connection_id);
            }
        }
        drop(reopenings);
        concerned.extend(changed.into_iter().filter_map(|connection_id| self.store_of(connection_id)));
        opened
    }
}

#[cfg(test)]
mod tests;
