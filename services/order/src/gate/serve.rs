//! What is told of gates, and what the staff say.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, stream};
use posmesh_kit::{Failure, time};
use posmesh_pricing::default_service_mode;
use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    order::v1::{Gate, GetGatesResponse, Pause, PauseStoreRequest, PauseStoreResponse, WatchGatesResponse},
    store::v1::Store,
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Gates;
use crate::{
    domain::{accept, gate::Asked, pos::table_mode},
    error::Error,
    watch::shutting_down,
};

const MAX_REASON_CHARS: usize = 200;
const MAX_NAME_CHARS: usize = 100;
/// A pause that is longer is a store that is closed.
const MAX_PAUSE_MS: i64 = 366 * 24 * 3600 * 1000;
/// Gates in one message.
const PAGE: usize = 500;
/// How often it is looked at what time alone changes: the end of a pause, opening and closing; of one store, and of all.
const TICKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Between two looks, whatever happens.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

impl Gates {
    /// The gates of a store, by product.
    pub(crate) async fn get(&self, tenant_id: &Arc<str>, store: &Store) -> GetGatesResponse {
        let pause = self.board.pause(tenant_id, &store.store_id, self.clock.now_unix_ms());
        GetGatesResponse { gates: self.of_store(tenant_id, store).await, pause }
    }

    async fn of_store(&self, tenant_id: &Arc<str>, store: &Store) -> Vec<Gate> {
        let mut products: Vec<Product> = store.product_policies.iter().map(|policy| policy.product()).collect();
        products.sort_unstable();
        let mut gates = Vec::with_capacity(products.len());
        for product in products {
            let mode = if product == Product::Table { table_mode().1 } else { default_service_mode(product) };
            let connection_id = self.connection(&store.store_id, product, mode).await;
            gates.push(self.at(tenant_id, store, (product, mode), connection_id.as_deref(), Asked::Now).await.0);
        }
        gates
    }

    /// The connection that a product's orders go to. Most stores have one; only of others the router is asked.
    async fn connection(&self, store_id: &str, product: Product, mode: ServiceMode) -> Option<String> {
        let known = self.board.connections_of(store_id);
        if known.len() < 2 {
            return known.into_iter().next();
        }
        let link = self.reader.link(store_id, product, mode).await.ok()?;
        Some(link.connection.connection_id.clone())
    }

    /// The staff take no orders of a store for a while.
    pub(crate) async fn pause(
        &self,
        tenant_id: &Arc<str>,
        request: PauseStoreRequest,
    ) -> Result<PauseStoreResponse, Error> {
        let now_ms = self.clock.now_unix_ms();
        let pause = request.pause.unwrap_or_default();
        check_pause(&pause, now_ms)?;
        let store = self.reader.stores.get(&pause.store_id).await?;
        let pause = Pause { pause_time: Some(time::from_unix_ms(now_ms)), ..pause };
        self.storage.put_pause(tenant_id, &pause).await?;
        tracing::info!(store.id = %pause.store_id, by = %pause.paused_by, reason = %pause.reason, "paused");
        self.look().await.map_err(Error::Read)?;
        Ok(PauseStoreResponse { pause: Some(pause), gates: self.of_store(tenant_id, &store).await })
    }

    /// Ends a pause. Returns the gates as they are then.
    pub(crate) async fn resume(&self, tenant_id: &Arc<str>, store_id: &str) -> Result<Vec<Gate>, Error> {
        let store = self.reader.stores.get(store_id).await?;
        self.storage.end_pause(tenant_id, store_id).await?;
        tracing::info!(store.id = store_id, "resumed");
        self.look().await.map_err(Error::Read)?;
        Ok(self.of_store(tenant_id, &store).await)
    }

    /// The gates as they are, then each change; of one store, or of all if `store_id` is empty.
    pub(crate) fn watch(
        &self,
        tenant_id: &Arc<str>,
        store_id: String,
        place: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<WatchGatesResponse, Status>> + Send + use<> {
        let watching = Watching {
            news: self.board.news(),
            gates: self.clone(),
            tenant_id: Arc::clone(tenant_id),
            store_id,
            told: BTreeMap::new(),
            current: false,
            counted: 0,
            looked: None,
            stop,
            ended: false,
            _place: place,
        };
        stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) })
    }
}

/// One stream. It is pulled: nothing is worked out for a watcher that does not read.
struct Watching {
    gates: Gates,
    tenant_id: Arc<str>,
    store_id: String,
    /// What was told, by store and product.
    told: BTreeMap<(String, i32), Gate>,
    /// Everything that was there was told once.
    current: bool,
    news: watch::Receiver<u64>,
    /// Of the news, those that were looked at.
    counted: u64,
    /// When all were looked at.
    looked: Option<Instant>,
    stop: CancellationToken,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchGatesResponse, Status>> {
        while !self.ended {
            let mut changed = self.changed().await;
            let is_last = changed.len() <= PAGE;
            if !is_last {
                // The rest is found again.
                changed.truncate(PAGE);
                self.looked = None;
            }
            if !changed.is_empty() || !self.current {
                self.current |= is_last;
                let key = |gate: &Gate| (gate.store_id.clone(), gate.product);
                self.told.extend(changed.iter().map(|gate| (key(gate), gate.clone())));
                return Some(Ok(WatchGatesResponse { gates: changed, current: self.current }));
            }
            if self.wait().await.is_none() {
                self.ended = true;
                return Some(Err(shutting_down()));
            }
        }
        None
    }

    /// The gates that are not as they were told.
    async fn changed(&mut self) -> Vec<Gate> {
        let mut changed = Vec::new();
        for store in self.concerned().await {
            let gates = self.gates.of_store(&self.tenant_id, &store).await;
            let told = |gate: &Gate| self.told.get(&(gate.store_id.clone(), gate.product)) == Some(gate);
            changed.extend(gates.into_iter().filter(|gate| !told(gate)));
        }
        changed
    }

    /// The stores about which there is news; from time to time all of them.
    async fn concerned(&mut self) -> Vec<Arc<Store>> {
        let since = std::mem::replace(&mut self.counted, *self.news.borrow_and_update());
        let stores = &self.gates.reader.stores;
        if self.looked.is_some_and(|looked| looked.elapsed() < self.tick()) {
            let mut concerned = Vec::new();
            for store_id in self.gates.board.concerned_since(since) {
                if self.store_id.is_empty() || self.store_id == store_id {
                    concerned.extend(stores.get(&store_id).await);
                }
            }
            return concerned;
        }
        self.looked = Some(Instant::now());
        if self.store_id.is_empty() { stores.all() } else { stores.get(&self.store_id).await.into_iter().collect() }
    }

    fn tick(&self) -> Duration {
        if self.store_id.is_empty() { TICKS.1 } else { TICKS.0 }
    }

    /// Until something may have changed. `None`: the service shuts down.
    async fn wait(&mut self) -> Option<()> {
        let tick = self.tick();
        let news = async {
            tokio::time::sleep(LEAST_PAUSE).await;
            let _ = tokio::time::timeout(tick, self.news.changed()).await;
        };
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = news => Some(()),
        }
    }
}

fn check_pause(pause: &Pause, now_ms: i64) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for (i, product) in pause.products.iter().enumerate() {
        let field = format!("pause.products[{i}]");
        match Product::try_from(*product) {
            Ok(Product::Unspecified) => return Err(Failure::field("REQUIRED", field, "say which product")),
            Err(_) => return Err(Failure::field("UNKNOWN_VALUE", field, "is no product of this version")),
            Ok(product) if !seen.insert(product) => {
                return Err(Failure::field("DUPLICATE", field, "stands here twice"));
            }
            Ok(_) => {}
        }
    }
    if let Some(until) = &pause.until {
        let ahead_ms = time::to_unix_ms(until).saturating_sub(now_ms);
        if ahead_ms <= 0 || ahead_ms > MAX_PAUSE_MS {
            let message = "must be in the future and at most a year ahead; leave it out to pause until it is ended";
            return Err(Failure::field("OUT_OF_RANGE", "pause.until", message));
        }
    }
    accept::text("pause.reason", &pause.reason, MAX_REASON_CHARS)?;
    accept::text("pause.paused_by", &pause.paused_by, MAX_NAME_CHARS)
}
