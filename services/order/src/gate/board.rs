//! What this replica knows that gates hang on, in memory: asking it costs an order no I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use posmesh_kit::hours::{Hours, Opening};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, HoldReason, Order, OrderState, Pause},
    router::v1::{Link, LinkState, WatchLinksResponse},
    store::v1::Store,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    domain::{
        gate::{self, Asked, Facts, Load, Way},
        lifecycle,
    },
    storage::{GateFacts, Holder, Offline},
};

/// So long the last that was heard of links holds while the router is away.
const LINKS_LAST: Duration = Duration::from_secs(30);
/// Without any order, so many good probes open a connection that was away.
const PROBES_TO_OPEN: i32 = 3;
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
    reopening: Mutex<BTreeMap<String, Reopening>>,
    /// Connections whose POS must be told of orders that the kitchen has.
    entering: Mutex<BTreeSet<String>>,
    openings: Mutex<HashMap<String, OpeningNow>>,
    /// Counts what was learned.
    news: watch::Sender<u64>,
    /// The stores that were concerned, by the count at that time.
    concerned: Mutex<HashMap<String, u64>>,
    /// Something happened that the storage counts.
    look: Notify,
}

#[derive(Debug, Default)]
struct Links {
    by_id: BTreeMap<String, Arc<Link>>,
    /// The connections of each store.
    of_store: HashMap<String, BTreeSet<String>>,
    /// Since when nothing is heard of them.
    lost: Option<Instant>,
    /// Those that the snapshot under way has told. `None`: none is under way.
    told: Option<BTreeSet<String>>,
}

impl Links {
    fn put(&mut self, link: Link) {
        let _ = self.remove(&link.connection_id);
        self.of_store.entry(link.store_id.clone()).or_default().insert(link.connection_id.clone());
        self.by_id.insert(link.connection_id.clone(), Arc::new(link));
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

/// Whether a gate may be another one by what a link says now.
fn differs(before: &Link, now: &Link) -> bool {
    let said = |link: &Link| {
        let Link { failing_hop, cause, message, .. } = link;
        let shown_well = link.probes_passed >= PROBES_TO_OPEN;
        (link.state, link.version, link.since, shown_well, failing_hop.clone(), cause.clone(), message.clone())
    };
    said(before) != said(now)
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
}

#[derive(Debug, Clone, Copy)]
struct OpeningNow {
    revision: i64,
    from_ms: i64,
    until_ms: i64,
    opening: Opening,
}

impl Board {
    pub(crate) fn new() -> Self {
        let links = Links { lost: Some(Instant::now()), ..Links::default() };
        Self(Arc::new(Inner {
            links: RwLock::new(links),
            stores: RwLock::default(),
            reopening: Mutex::default(),
            entering: Mutex::default(),
            openings: Mutex::default(),
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
        let is_reopening = link.as_deref().is_some_and(|link| self.is_reopening(link));
        let stores = Arc::clone(&self.0.stores.read().unwrap_or_else(PoisonError::into_inner));
        let key = (Arc::clone(tenant_id), store.store_id.clone());
        let facts = Facts {
            store,
            product,
            opening: self.opening(store, now_ms),
            way: Way { link: link.as_deref(), is_reopening, can_divert },
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

    /// Whether a connection's POS was away, and no order has arrived there since.
    pub(crate) fn is_on_probation(&self, connection_id: &str) -> bool {
        self.link(connection_id).is_some_and(|link| self.is_reopening(&link))
    }

    /// Whether a connection's POS was away, as long as anybody remembers.
    pub(crate) fn was_away(&self, connection_id: &str) -> bool {
        self.reopening().contains_key(connection_id) || self.entering().contains(connection_id)
    }

    /// A connection's link as it was heard of last. `None`: that is too long ago, or never.
    pub(crate) fn link(&self, connection_id: &str) -> Option<Arc<Link>> {
        let links = self.links();
        links.lost.is_none_or(|since| since.elapsed() < LINKS_LAST).then(|| links.by_id.get(connection_id).cloned())?
    }

    /// The connections of a store that are known.
    pub(crate) fn connections_of(&self, store_id: &str) -> Vec<String> {
        self.links().of_store.get(store_id).into_iter().flatten().cloned().collect()
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
        let version = self.reopening().get(connection_id).map_or(0, |known| known.offline);
        Offline { tenant_id: Arc::clone(tenant_id), connection_id: connection_id.to_owned(), version }
    }

    fn links(&self) -> RwLockReadGuard<'_, Links> {
        self.0.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn links_mut(&self) -> RwLockWriteGuard<'_, Links> {
        self.0.links.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopening(&self) -> MutexGuard<'_, BTreeMap<String, Reopening>> {
        self.0.reopening.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// It was away, no order is there since, and probes alone have not shown that it is well.
    fn is_reopening(&self, link: &Link) -> bool {
        let reopening = self.reopening();
        let Some(known) = reopening.get(&link.connection_id) else { return false };
        !known.is_open() && !is_shown_well(known, link)
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

/// Its probes have opened it. One order that is not known to be there, or not to be there, keeps it on probation.
fn is_shown_well(known: &Reopening, link: &Link) -> bool {
    let is_blocked = known.holder.as_ref().is_some_and(|holder| holder.blocks(Duration::ZERO));
    let is_up = matches!(link.state(), LinkState::Online | LinkState::Degraded);
    is_up && link.probes_passed >= PROBES_TO_OPEN && !is_blocked
}

/// What is learned from the router.
impl Board {
    /// A stream begins; `all`: with every link there is.
    pub(crate) fn begin(&self, all: bool) {
        self.links_mut().told = all.then(BTreeSet::new);
    }

    /// The stream broke.
    pub(crate) fn lose(&self) {
        self.links_mut().lost.get_or_insert_with(Instant::now);
    }

    /// Takes what the router tells.
    pub(crate) fn hear(&self, told: WatchLinksResponse) {
        let mut offline = false;
        let mut concerned = BTreeSet::new();
        let mut links = self.links_mut();
        for link in told.links {
            if let Some(told) = &mut links.told {
                told.insert(link.connection_id.clone());
            }
            if link.state() == LinkState::Offline {
                let mut reopening = self.reopening();
                let known = reopening.entry(link.connection_id.clone()).or_default();
                offline |= link.version > known.offline;
                known.offline = known.offline.max(link.version);
            }
            if links.by_id.get(&link.connection_id).is_none_or(|before| differs(before, &link)) {
                concerned.insert(link.store_id.clone());
            }
            links.put(link);
        }
        for connection_id in told.deleted_connection_ids {
            concerned.extend(links.remove(&connection_id));
        }
        if told.current {
            links.lost = None;
            if let Some(told) = links.told.take() {
                let gone = links.by_id.keys().filter(|connection_id| !told.contains(*connection_id));
                let gone: Vec<String> = gone.cloned().collect();
                concerned.extend(gone.iter().filter_map(|connection_id| links.remove(connection_id)));
            }
        }
        drop(links);
        self.tell(concerned);
        if offline {
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
            self.open_by(&order.order_id);
        }
    }

    fn has_load(&self, store_id: &str) -> bool {
        self.0.stores.read().unwrap_or_else(PoisonError::into_inner).troubled.contains(store_id)
    }

    /// An order is there: if it was let through alone, its connection is open.
    fn open_by(&self, order_id: &str) {
        let mut reopening = self.reopening();
        let holds = |known: &Reopening| {
            let holder = known.holder.as_ref();
            !known.is_open() && holder.is_some_and(|h| h.order_id == order_id && h.version >= known.offline)
        };
        let Some((connection_id, known)) = reopening.iter_mut().find(|(_, known)| holds(known)) else { return };
        known.opened = known.offline;
        let connection_id = connection_id.clone();
        drop(reopening);
        self.tell(self.store_of(&connection_id).into_iter().collect());
        self.0.look.notify_one();
    }

    /// This replica has let an order through.
    pub(crate) fn let_through(&self, offline: &Offline, order_id: &str) {
        if let Some(known) = self.reopening().get_mut(&offline.connection_id) {
            let version = offline.version;
            known.holder = Some(Holder { order_id: order_id.to_owned(), version, age: Duration::ZERO, state: None });
        }
    }

    /// A connection is open again after this OFFLINE.
    pub(crate) fn open(&self, offline: &Offline) {
        if let Some(known) = self.reopening().get_mut(&offline.connection_id) {
            known.opened = known.opened.max(offline.version);
        }
        self.tell(self.store_of(&offline.connection_id).into_iter().collect());
    }

    /// Connections that are OFFLINE, and of which the storage does not know it yet.
    pub(crate) fn to_note(&self, tenant_id: &Arc<str>) -> Vec<Offline> {
        let reopening = self.reopening();
        let unknown = reopening.iter().filter(|(_, known)| known.noted < known.offline);
        let to_note = |(connection_id, known): (&String, &Reopening)| Offline {
            tenant_id: Arc::clone(tenant_id),
            connection_id: connection_id.clone(),
            version: known.offline,
        };
        unknown.map(to_note).collect()
    }

    /// The storage knows of these.
    pub(crate) fn noted(&self, offline: &[Offline]) {
        let mut reopening = self.reopening();
        for offline in offline {
            if let Some(known) = reopening.get_mut(&offline.connection_id) {
                known.noted = known.noted.max(offline.version);
            }
        }
    }

    /// Takes what the storage tells. Returns the connections that are open by it, which the storage shall know.
    pub(crate) fn learn(&self, facts: &GateFacts) -> Vec<Offline> {
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
        let opened = self.learn_probations(facts, &mut concerned);
        self.tell(concerned);
        opened
    }

    /// The connections that the storage shall know to be open.
    fn learn_probations(&self, facts: &GateFacts, concerned: &mut BTreeSet<String>) -> Vec<Offline> {
        let links = self.links();
        let mut reopening = self.reopening();
        let mut opened = Vec::new();
        for probation in &facts.probations {
            let known = reopening.entry(probation.offline.connection_id.clone()).or_default();
            let was_open = known.is_open();
            known.offline = known.offline.max(probation.offline.version);
            known.noted = known.noted.max(probation.offline.version);
            known.opened = known.opened.max(probation.opened_version);
            known.holder.clone_from(&probation.holder);
            let is_proven = known.holder.as_ref().is_some_and(|holder| holder.proves(known.offline));
            let link = links.by_id.get(&probation.offline.connection_id);
            if is_proven || link.is_some_and(|link| is_shown_well(known, link)) {
                known.opened = known.offline;
            }
            if was_open != known.is_open() {
                concerned.extend(link.map(|link| link.store_id.clone()));
            }
            if probation.opened_version < known.opened {
                opened.push(Offline { version: known.opened, ..probation.offline.clone() });
            }
        }
        opened
    }
}
