//! What is laid over the catalog of a store, ready to be applied. Whether anything changed is asked of the storage at most
//! once in a while per store, and at once after this replica wrote; the sets themselves are read only when it did, and one
//! brand's is shared by all of its stores.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use posmesh_kit::byte_cache::ByteCache;
use posmesh_proto::store::v1::Store;
use prost::Message as _;
use tokio::time::Instant;

use crate::{
    domain::{self, OverlayMap},
    error::Error,
    storage::{ScopeKey, Storage, StoreKey},
};

/// Memory for overlays, by their encoded size.
const CACHE_BYTES: usize = 64 << 20;

/// What is laid over the catalogs of a store or a brand.
#[derive(Debug, Default)]
pub(crate) struct Set {
    revision: i64,
    price_refusal: Option<String>,
    pub(crate) overlays: OverlayMap,
}

/// What is laid over the catalog of one store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    store: Arc<Set>,
    brand: Arc<Set>,
}

/// Tells one state of a store's layers from any other: its brand, and the revisions of its own and of the brand's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LayersMark {
    pub(crate) brand_id: Arc<str>,
    pub(crate) own: i64,
    pub(crate) of_brand: i64,
}

/// Equal on every replica.
impl fmt::Display for LayersMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brand_id, own, of_brand } = self;
        write!(f, "{own}.{brand_id}.{of_brand}")
    }
}

impl Layers {
    /// The store's own, and the brand's.
    pub(crate) fn maps(&self) -> [&OverlayMap; 2] {
        [&self.store.overlays, &self.brand.overlays]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.store.overlays.is_empty() && self.brand.overlays.is_empty()
    }

    /// Why orders cannot carry prices of their own to the store's POS; empty: they can.
    pub(crate) fn price_refusal(&self) -> &str {
        self.store.price_refusal.as_deref().unwrap_or("the POS has not been asked yet; sync the store")
    }

    /// With the items that wait for a review.
    pub(crate) fn for_domain<'a>(&'a self, to_review: &'a BTreeSet<String>) -> domain::Layers<'a> {
        domain::Layers {
            store: &self.store.overlays,
            brand: &self.brand.overlays,
            carries_prices: self.price_refusal().is_empty(),
            to_review,
        }
    }
}

#[derive(Debug)]
pub(crate) struct LayerCache {
    storage: Arc<dyn Storage>,
    max_age: Duration,
    sets: ByteCache<ScopeKey, Set>,
    nothing: Arc<Set>,
    /// One per store that was asked for; the callers have made sure that it exists.
    asked: Mutex<HashMap<StoreKey, Arc<tokio::sync::Mutex<Option<Asked>>>>>,
    /// Counts what this replica wrote.
    writes: AtomicU64,
}

/// The last answer of the storage.
#[derive(Debug)]
struct Asked {
    at: Instant,
    /// [`LayerCache::writes`] before it was asked.
    writes: u64,
    mark: LayersMark,
}

impl LayerCache {
    pub(crate) fn new(storage: Arc<dyn Storage>, max_age: Duration) -> Self {
        Self {
            storage,
            max_age,
            sets: ByteCache::new(CACHE_BYTES),
            nothing: Arc::default(),
            asked: Mutex::default(),
            writes: AtomicU64::new(0),
        }
    }

    /// Asks the storage again next time: something was written here.
    pub(crate) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Release);
    }

    /// What is laid over a store's catalog, as it is marked or newer.
    pub(crate) async fn at(&self, key: &StoreKey, mark: &LayersMark) -> Result<Layers, Error> {
        let brand = ScopeKey::brand(&key.tenant_id, &mark.brand_id);
        Ok(Layers {
            store: self.set(&ScopeKey::store(key), mark.own).await?,
            brand: self.set(&brand, mark.of_brand).await?,
        })
    }

    /// The state of a store's layers.
    pub(crate) async fn mark(&self, key: &StoreKey, store: &Store) -> Result<LayersMark, Error> {
        let asked = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            match asked.get(key) {
                Some(asked) => Arc::clone(asked),
                None => Arc::clone(asked.entry(key.clone()).or_default()),
            }
        };
        let mut asked = asked.lock().await;
        let writes = self.writes.load(Ordering::Acquire);
        let is_fresh = |asked: &&Asked| {
            let same = asked.writes == writes && *asked.mark.brand_id == *store.brand_id;
            same && asked.at.elapsed() < self.max_age
        };
        if let Some(asked) = asked.as_ref().filter(is_fresh) {
            return Ok(asked.mark.clone());
        }
        let at = Instant::now();
        let brand = ScopeKey::brand(&key.tenant_id, &store.brand_id);
        let (own, of_brand) = self.storage.overlay_revisions(&ScopeKey::store(key), &brand).await?;
        let mark = LayersMark { brand_id: store.brand_id.as_str().into(), own, of_brand };
        *asked = Some(Asked { at, writes, mark: mark.clone() });
        Ok(mark)
    }

    /// The set of this revision, or a newer one.
    async fn set(&self, scope: &ScopeKey, revision: i64) -> Result<Arc<Set>, Error> {
        if revision == 0 {
            return Ok(Arc::clone(&self.nothing));
        }
        if let Some(set) = self.sets.get(scope).filter(|set| set.revision >= revision) {
            return Ok(set);
        }
        let read = self.storage.overlays(scope).await?;
        let bytes = read.overlays.iter().map(|(subject, overlay)| subject.len() + overlay.encoded_len()).sum::<usize>();
        let overlays = read.overlays.into_iter().collect();
        let set = Arc::new(Set { revision: read.revision, price_refusal: read.price_refusal, overlays });
        self.sets.insert(scope.clone(), Arc::clone(&set), bytes + size_of::<Set>());
        Ok(set)
    }
}
