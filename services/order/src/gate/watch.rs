//! Streams of gates: as they are, then each change. They are pulled, work gates out from memory alone, and cost a slot
//! each while nobody reads them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{Stream, stream};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, WatchGatesResponse},
    store::v1::Store,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use super::{Board, Gates};
use crate::watch::{Ended, Mailbox, why};

/// Gates in one message.
const PAGE: usize = 500;
/// Between two nudges, whatever happens.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// How often watchers are nudged when nothing happens.
const NUDGE: Duration = Duration::from_secs(1);
/// How often a watcher looks for what time alone changes, and for stores that were changed: of one store, and of all.
const TICKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Those who watch gates on this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Watchers(Arc<Mutex<Vec<Weak<Mailbox<()>>>>>);

impl Watchers {
    /// Nudges them at each news, and ends those that leave a nudge unread for longer than `max_lag`; all at `stop`.
    pub(super) fn start(board: Board, max_lag: Duration, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let watchers = Self(Arc::default());
        let (nudger, stop) = (watchers.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = nudger.nudge(board, max_lag) => {}
            }
            nudger.each(|mailbox| mailbox.end(Ended::Stopped));
        });
        watchers
    }

    async fn nudge(&self, board: Board, max_lag: Duration) {
        let mut news = board.news();
        loop {
            let _ = tokio::time::timeout(NUDGE, news.changed()).await;
            let now = Instant::now();
            self.each(|mailbox| {
                mailbox.end_if_slow(now, max_lag);
                mailbox.post(());
            });
            tokio::time::sleep(LEAST_PAUSE).await;
        }
    }

    fn each(&self, tell: impl Fn(&Mailbox<()>)) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.upgrade().inspect(|mailbox| tell(mailbox)).is_some());
    }

    fn seat(&self, place: OwnedSemaphorePermit) -> Arc<Mailbox<()>> {
        let mailbox = Arc::new(Mailbox::new(Some(place)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&mailbox));
        mailbox
    }
}

impl Gates {
    /// The gates as they are, then each change; of one store, or of all if `store_id` is empty.
    pub(crate) fn watch(
        &self,
        tenant_id: &Arc<str>,
        store_id: String,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<WatchGatesResponse, Status>> + Send + use<> {
        let watching = Watching {
            mailbox: self.watchers.seat(place),
            gates: self.clone(),
            tenant_id: Arc::clone(tenant_id),
            store_id,
            told: BTreeMap::new(),
            to_look: VecDeque::new(),
            looked: HashMap::new(),
            ticked: None,
            links_known: false,
            counted: 0,
            current: false,
            ended: false,
        };
        stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) })
    }
}

/// What a store was when its gates were worked out.
#[derive(Debug, Clone, Copy)]
struct Looked {
    revision: i64,
    /// When they may change by time alone.
    until_ms: Option<i64>,
}

/// One stream.
struct Watching {
    gates: Gates,
    tenant_id: Arc<str>,
    store_id: String,
    /// What was told, by store and product.
    told: BTreeMap<(String, i32), Gate>,
    /// Stores whose gates are to be worked out.
    to_look: VecDeque<Arc<Store>>,
    looked: HashMap<String, Looked>,
    /// When it was looked last for what time and the staff changed.
    ticked: Option<Instant>,
    /// Whether what was heard of links held then.
    links_known: bool,
    /// Of the board's news, those that were looked at.
    counted: u64,
    /// Everything that was there was told once.
    current: bool,
    mailbox: Arc<Mailbox<()>>,
    ended: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchGatesResponse, Status>> {
        if self.ended {
            return None;
        }
        if self.ticked.is_none() {
            self.gates.board.until_complete().await;
            self.gather();
        }
        loop {
            if let Some(page) = self.page().await {
                return Some(Ok(page));
            }
            if let Err(ended) = self.mailbox.next().await {
                self.ended = true;
                return Some(Err(why(ended)));
            }
            self.gather();
        }
    }

    /// Notes the stores whose gates may not be as they were told.
    fn gather(&mut self) {
        let (board, stores) = (&self.gates.board, &self.gates.reader.stores);
        let news = *board.news().borrow();
        let since = std::mem::replace(&mut self.counted, news);
        let concerned =
            board.concerned_since(since).into_iter().filter(|id| self.store_id.is_empty() || self.store_id == *id);
        // One that is not cached yet is found by the next tick.
        let mut found: Vec<Arc<Store>> = concerned.filter_map(|store_id| stores.cached(&store_id)).collect();
        let tick = if self.store_id.is_empty() { TICKS.1 } else { TICKS.0 };
        if self.ticked.is_none_or(|ticked| ticked.elapsed() >= tick) {
            self.ticked = Some(Instant::now());
            let links_known = board.are_links_known();
            let is_other_knowledge = std::mem::replace(&mut self.links_known, links_known) != links_known;
            let now_ms = self.gates.clock.now_unix_ms();
            let all = if self.store_id.is_empty() {
                stores.all()
            } else {
                stores.cached(&self.store_id).into_iter().collect()
            };
            let is_due = |store: &Arc<Store>| match self.looked.get(&store.store_id) {
                Some(looked) => {
                    looked.revision != store.revision || looked.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
                }
                None => true,
            };
            found.extend(all.into_iter().filter(|store| is_other_knowledge || is_due(store)));
        }
        let waiting: BTreeSet<String> = self.to_look.iter().map(|store| store.store_id.clone()).collect();
        self.to_look.extend(found.into_iter().filter(|store| !waiting.contains(&store.store_id)));
    }

    /// The next gates that are not as they were told. `None`: there are none, and that was said.
    async fn page(&mut self) -> Option<WatchGatesResponse> {
        let mut gates = Vec::new();
        while gates.len() < PAGE
            && let Some(store) = self.to_look.pop_front()
        {
            self.look(&store, &mut gates);
            // A snapshot of ten thousand stores shall not keep a worker from everybody else.
            tokio::task::yield_now().await;
        }
        if gates.is_empty() && self.current {
            return None;
        }
        self.current |= self.to_look.is_empty();
        Some(WatchGatesResponse { gates, current: self.current })
    }

    fn look(&mut self, store: &Arc<Store>, changed: &mut Vec<Gate>) {
        let now_ms = self.gates.clock.now_unix_ms();
        let until_ms = self.gates.board.next_change_ms(&self.tenant_id, store, now_ms);
        self.looked.insert(store.store_id.clone(), Looked { revision: store.revision, until_ms });
        let of_store = (store.store_id.clone(), i32::MIN)..=(store.store_id.clone(), i32::MAX);
        // One that is sold no more is told as such.
        let told = self.told.range(of_store).map(|((_, product), _)| *product);
        let products: BTreeSet<i32> = told.chain(store.product_policies.iter().map(|policy| policy.product)).collect();
        for product in products.into_iter().filter_map(|product| Product::try_from(product).ok()) {
            let gate = self.gates.shown(&self.tenant_id, store, product);
            let key = (gate.store_id.clone(), gate.product);
            if self.told.get(&key) != Some(&gate) {
                self.told.insert(key, gate.clone());
                changed.push(gate);
            }
        }
    }
}
