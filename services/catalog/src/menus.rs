//! What is sold, and menus of it, ready to be answered. What is current at a store is asked of the storage at most once in
//! a while; all callers that come meanwhile share the answer, and each offer and each menu is made once.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_kit::{ambient, byte_cache::ByteCache, menu_time::MenuTime, time};
use posmesh_pricing::CatalogIndex;
use posmesh_proto::{
    catalog::v1::{Catalog, MenuPeriod},
    common::v1::{Product, ServiceMode},
    store::v1::{ChangedItems, Store},
};
use prost::{Message, bytes::Bytes};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Notify, time::Instant};

use crate::{
    config::Config,
    domain::{self, Beside, Question, effective_locale, resolve_menu},
    error::Error,
    layers::{LayerCache, LayersMark},
    reviews::changed_items,
    storage::{OfferHead, Storage, StoreKey},
};

/// Memory for what is said beside the versions, by its encoded size.
const BESIDE_CACHE_BYTES: usize = 16 << 20;
/// Memory for what tells which menu is asked for.
const FACE_CACHE_BYTES: usize = 32 << 20;
/// A catalog that was decoded takes about so many times the bytes of its encoding: each text is a map, each name an
/// allocation.
const DECODED: usize = 12;
/// How long what is sold now is not looked up again where no period is known to begin or end.
const MAX_NOW_MS: i64 = 24 * 3600 * 1000;

/// A menu with its etag.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// A `posmesh.catalog.v1.Menu`, encoded.
    pub(crate) menu: Bytes,
    pub(crate) etag: String,
}

/// A catalog, ready to be read.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) index: Arc<CatalogIndex>,
    locales: Arc<BTreeSet<String>>,
}

/// What is sold in a product.
#[derive(Debug)]
pub(crate) struct Offer {
    mark: OfferMark,
    ready: Ready,
}

/// What tells which of the prepared menus is asked for: the offer itself is needed only to prepare another one.
#[derive(Debug)]
struct Face {
    mark: OfferMark,
    locales: Arc<BTreeSet<String>>,
    periods: Vec<MenuPeriod>,
    now: Mutex<Option<Now>>,
}

/// What is sold now, as long as it stands.
#[derive(Debug)]
struct Now {
    time_zone: String,
    from_ms: i64,
    time: Arc<MenuTime>,
}

impl Face {
    fn new(offer: &Offer) -> Self {
        let periods = offer.catalog().menu_periods.clone();
        Self { mark: offer.mark.clone(), locales: Arc::clone(&offer.ready.locales), periods, now: Mutex::default() }
    }

    fn bytes(&self) -> usize {
        let locales: usize = self.locales.iter().map(String::len).sum();
        size_of::<Self>() + locales + self.periods.iter().map(decoded_bytes).sum::<usize>()
    }

    /// What the menu periods leave to be sold at a moment; without one, now.
    fn time(&self, time_zone: &str, asked_ms: Option<i64>) -> Arc<MenuTime> {
        let periods = &self.periods;
        if periods.is_empty() || asked_ms.is_some() {
            return Arc::new(MenuTime::at(periods, time_zone, asked_ms.unwrap_or_default()));
        }
        let now_ms = time::now_unix_ms();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = |now: &&Now| {
            let until_ms = now.time.until_ms.unwrap_or(now.from_ms.saturating_add(MAX_NOW_MS));
            now.time_zone == time_zone && (now.from_ms..until_ms).contains(&now_ms)
        };
        if let Some(now) = now.as_ref().filter(stands) {
            return Arc::clone(&now.time);
        }
        let time = Arc::new(MenuTime::at(periods, time_zone, now_ms));
        *now = Some(Now { time_zone: time_zone.to_owned(), from_ms: now_ms, time: Arc::clone(&time) });
        time
    }
}

/// Tells one state of what a store sells from any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OfferMark {
    head: OfferHead,
    layers: LayersMark,
    /// Whether the store sells nothing that waits for a review.
    holds_changed: bool,
}

/// Equal for equal offers on every replica.
impl fmt::Display for OfferMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head: OfferHead { version, revision }, layers, holds_changed } = self;
        let held = if *holds_changed { ".held" } else { "" };
        write!(f, "{version}.{revision}.{layers}{held}")
    }
}

#[derive(Debug)]
pub(crate) struct Menus {
    storage: Arc<dyn Storage>,
    layers: Arc<LayerCache>,
    version_max_age: Duration,
    /// Current versions, as the POS gave them.
    catalogs: ByteCache<StoreKey, Ready>,
    /// What is said beside them, at a revision.
    besides: ByteCache<StoreKey, (i64, Arc<Beside>)>,
    /// Where nothing is said beside it, the catalog is the version's own. It counts all the same: it holds the version in
    /// memory when that has made way in its own cache.
    offers: ByteCache<(StoreKey, Product), Offer>,
    faces: ByteCache<(StoreKey, Product), Face>,
    prepared: ByteCache<(StoreKey, OfferMark, Question), Prepared>,
    /// One per store that was asked for; the callers have made sure that it exists.
    gates: Mutex<HashMap<StoreKey, Arc<Gate>>>,
    changed: Arc<Notify>,
}

/// Lets one caller at a time do what the others wait for.
#[derive(Debug, Default)]
struct Gate {
    /// What the storage said, and when it was asked.
    head: tokio::sync::Mutex<Option<(Instant, Option<OfferHead>)>>,
    preparing: tokio::sync::Mutex<()>,
}

impl Ready {
    fn new(catalog: Catalog) -> Result<Self, Error> {
        let locales = Arc::new(domain::locales(&catalog));
        Ok(Self { index: Arc::new(CatalogIndex::new(Arc::new(catalog))?), locales })
    }

    fn version(&self) -> i64 {
        self.index.catalog().version
    }
}

impl Offer {
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        self.ready.index.catalog()
    }
}

impl Menus {
    pub(crate) fn new(config: &Config, storage: Arc<dyn Storage>, layers: Arc<LayerCache>) -> Self {
        Self {
            storage,
            layers,
            version_max_age: config.version_max_age,
            catalogs: ByteCache::new(config.catalog_cache_bytes),
            besides: ByteCache::new(BESIDE_CACHE_BYTES),
            offers: ByteCache::new(config.catalog_cache_bytes),
            faces: ByteCache::new(FACE_CACHE_BYTES),
            prepared: ByteCache::new(config.menu_cache_bytes),
            gates: Mutex::default(),
            changed: Arc::default(),
        }
    }

    /// What is current, `None` before the first version.
    pub(crate) async fn head(&self, key: &StoreKey) -> Result<Option<OfferHead>, Error> {
        let gate = self.gate(key);
        let mut known = gate.head.lock().await;
        if let Some((_, head)) = known.filter(|(asked, _)| asked.elapsed() < self.version_max_age) {
            return Ok(head);
        }
        let asked = Instant::now();
        let head = self.storage.head(key).await?;
        *known = Some((asked, head));
        Ok(head)
    }

    /// The number of the current version, `None` before the first one.
    pub(crate) async fn current_version(&self, key: &StoreKey) -> Result<Option<i64>, Error> {
        Ok(self.head(key).await?.map(|head| head.version))
    }

    /// Asks the storage again next time: what is sold was changed here.
    pub(crate) async fn forget_head(&self, key: &StoreKey) {
        *self.gate(key).head.lock().await = None;
        self.changed.notify_one();
    }

    /// Told whenever this replica has changed what is sold.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// The catalog of a version that is the current one, as the POS gave it.
    pub(crate) async fn catalog(&self, key: &StoreKey, version: i64) -> Result<Arc<Ready>, Error> {
        let cached = || self.catalogs.get(key).filter(|ready| ready.version() == version);
        if let Some(ready) = cached() {
            return Ok(ready);
        }
        let gate = self.gate(key);
        let _preparing = gate.preparing.lock().await;
        if let Some(ready) = cached() {
            return Ok(ready);
        }
        let not_found = || Error::VersionNotFound { store_id: key.store_id.to_string(), version };
        let catalog = self.storage.catalog(key, version).await?.ok_or_else(not_found)?;
        let bytes = decoded_bytes(&catalog);
        let ready = Arc::new(ambient::blocking(move || Ready::new(catalog)).await??);
        self.catalogs.insert(key.clone(), Arc::clone(&ready), bytes);
        Ok(ready)
    }

    /// What is said beside the versions, at this revision or a newer one.
    pub(crate) async fn beside(&self, key: &StoreKey, revision: i64) -> Result<Arc<Beside>, Error> {
        if revision == 0 {
            return Ok(Arc::default());
        }
        if let Some(known) = self.besides.get(key).filter(|known| known.0 == revision) {
            return Ok(Arc::clone(&known.1));
        }
        let availability = self.storage.availability(key).await?;
        let waiting = self.storage.items_to_review(key).await?;
        let to_review: BTreeSet<String> = waiting.into_iter().map(|waits| waits.item_id).collect();
        let bytes =
            availability.iter().map(Message::encoded_len).chain(to_review.iter().map(String::len)).sum::<usize>();
        let (beside, bytes) = (Arc::new(Beside { availability, to_review }), bytes + size_of::<Beside>());
        self.besides.insert(key.clone(), Arc::new((revision, Arc::clone(&beside))), bytes);
        Ok(beside)
    }

    /// The state of what a store sells now.
    pub(crate) async fn mark(&self, key: &StoreKey, store: &Store) -> Result<OfferMark, Error> {
        let not_synced = || Error::NotSynced { store_id: key.store_id.to_string() };
        let head = self.head(key).await?.ok_or_else(not_synced)?;
        let holds_changed = changed_items(store) == ChangedItems::HideUntilReviewed;
        Ok(OfferMark { head, layers: self.layers.mark(key, store).await?, holds_changed })
    }

    /// What a store sells in a product, as it is marked.
    pub(crate) async fn offer(&self, key: &StoreKey, mark: OfferMark, product: Product) -> Result<Arc<Offer>, Error> {
        let (head, holds_changed) = (mark.head, mark.holds_changed);
        let wanted = (key.clone(), product);
        let cached = || self.offers.get(&wanted).filter(|offer| offer.mark == mark);
        if let Some(offer) = cached() {
            return Ok(offer);
        }
        let pos = self.catalog(key, head.version).await?;
        let gate = self.gate(key);
        let _preparing = gate.preparing.lock().await;
        if let Some(offer) = cached() {
            return Ok(offer);
        }
        let beside = self.beside(key, head.revision).await?;
        let layers = self.layers.at(key, &mark.layers).await?;
        let make = move || {
            let mut offered = domain::offer(pos.index.catalog(), &beside);
            let nothing = BTreeSet::new();
            let to_review = if holds_changed { &beside.to_review } else { &nothing };
            if !layers.is_empty() || !to_review.is_empty() {
                let catalog = offered.as_ref().unwrap_or(pos.index.catalog());
                offered = Some(domain::lay_over(catalog, layers.for_domain(to_review), product));
            }
            match offered {
                Some(offered) => Ok(Ready::new(offered)?),
                None => Ok::<_, Error>(pos.as_ref().clone()),
            }
        };
        let offer = Arc::new(Offer { mark, ready: ambient::blocking(make).await?? });
        self.offers.insert(wanted, Arc::clone(&offer), decoded_bytes(offer.catalog().as_ref()));
        Ok(offer)
    }

    /// The current menu of a store for a product at a moment, without one now; and when the next menu period begins or
    /// ends.
    pub(crate) async fn menu(
        &self,
        key: &StoreKey,
        store: &Store,
        (product, mode, locale): (Product, ServiceMode, &str),
        asked_ms: Option<i64>,
    ) -> Result<(Arc<Prepared>, Option<i64>), Error> {
        let mark = self.mark(key, store).await?;
        let face = self.face(key, mark.clone(), product).await?;
        let locale = effective_locale(locale, &store.locales, &face.locales);
        let time = face.time(&store.time_zone, asked_ms);
        let (fallbacks, closed) = (store.locales.clone(), time.closed.keys().cloned().collect());
        let question = Question { product, mode, locale, fallbacks, closed };
        let wanted = (key.clone(), mark.clone(), question);
        if let Some(prepared) = self.prepared.get(&wanted) {
            return Ok((prepared, time.until_ms));
        }
        let offer = self.offer(key, mark, product).await?;
        let gate = self.gate(key);
        let _preparing = gate.preparing.lock().await;
        if let Some(prepared) = self.prepared.get(&wanted) {
            return Ok((prepared, time.until_ms));
        }
        let question = wanted.2.clone();
        let prepared = ambient::blocking(move || Arc::new(prepare(&offer.ready.index, &question))).await?;
        self.prepared.insert(wanted, Arc::clone(&prepared), prepared.menu.len());
        Ok((prepared, time.until_ms))
    }

    async fn face(&self, key: &StoreKey, mark: OfferMark, product: Product) -> Result<Arc<Face>, Error> {
        let wanted = (key.clone(), product);
        if let Some(face) = self.faces.get(&wanted).filter(|face| face.mark == mark) {
            return Ok(face);
        }
        let face = Arc::new(Face::new(self.offer(key, mark, product).await?.as_ref()));
        self.faces.insert(wanted, Arc::clone(&face), face.bytes());
        Ok(face)
    }

    fn gate(&self, key: &StoreKey) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        match gates.get(key) {
            Some(gate) => Arc::clone(gate),
            None => Arc::clone(gates.entry(key.clone()).or_default()),
        }
    }
}

fn decoded_bytes(message: &impl Message) -> usize {
    message.encoded_len().saturating_mul(DECODED)
}

fn prepare(index: &CatalogIndex, question: &Question) -> Prepared {
    // A menu holds no maps, so equal menus have equal encodings.
    let menu = Bytes::from(resolve_menu(index, question).encode_to_vec());
    let digest = Sha256::digest(&menu);
    let etag = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Prepared { menu, etag }
}
