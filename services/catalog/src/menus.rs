//! Menus that are ready to be answered. Which version of a store is current is asked of the storage at most once in a
//! while per store; all callers that come meanwhile share the answer, and each menu is resolved once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_kit::{ambient, byte_cache::ByteCache};
use posmesh_pricing::CatalogIndex;
use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    store::v1::Store,
};
use prost::{Message as _, bytes::Bytes};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Notify, time::Instant};

use crate::{
    config::Config,
    domain::{self, Question, effective_locale, resolve_menu},
    error::Error,
    storage::{Storage, StoreKey},
};

/// A menu with its etag.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// A `posmesh.catalog.v1.Menu`, encoded.
    pub(crate) menu: Bytes,
    pub(crate) etag: String,
}

/// The current catalog of a store.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) index: CatalogIndex,
    locales: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Menus {
    storage: Arc<dyn Storage>,
    version_max_age: Duration,
    catalogs: ByteCache<StoreKey, Current>,
    prepared: ByteCache<(StoreKey, i64, Question), Prepared>,
    /// One per store that was asked for; the callers have made sure that it exists.
    gates: Mutex<HashMap<StoreKey, Arc<Gate>>>,
    published: Arc<Notify>,
}

/// Lets one caller at a time do what the others wait for.
#[derive(Debug, Default)]
struct Gate {
    /// What the storage said, and when it was asked.
    current: tokio::sync::Mutex<Option<(Instant, Option<i64>)>>,
    preparing: tokio::sync::Mutex<()>,
}

impl Menus {
    pub(crate) fn new(config: &Config, storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            version_max_age: config.version_max_age,
            catalogs: ByteCache::new(config.catalog_cache_bytes),
            prepared: ByteCache::new(config.menu_cache_bytes),
            gates: Mutex::default(),
            published: Arc::default(),
        }
    }

    /// The number of the current version, `None` before the first one.
    pub(crate) async fn current_version(&self, key: &StoreKey) -> Result<Option<i64>, Error> {
        let gate = self.gate(key);
        let mut current = gate.current.lock().await;
        if let Some((_, version)) = current.filter(|(asked, _)| asked.elapsed() < self.version_max_age) {
            return Ok(version);
        }
        let asked = Instant::now();
        let version = self.storage.current_version(key).await?;
        *current = Some((asked, version));
        Ok(version)
    }

    /// Asks the storage again next time: a version was published here.
    pub(crate) async fn forget_version(&self, key: &StoreKey) {
        *self.gate(key).current.lock().await = None;
        self.published.notify_one();
    }

    /// Told whenever this replica has published.
    pub(crate) fn published(&self) -> Arc<Notify> {
        Arc::clone(&self.published)
    }

    /// The catalog of a version that is the current one.
    pub(crate) async fn catalog(&self, key: &StoreKey, version: i64) -> Result<Arc<Current>, Error> {
        let cached = || self.catalogs.get(key).filter(|current| current.index.catalog().version == version);
        if let Some(current) = cached() {
            return Ok(current);
        }
        let gate = self.gate(key);
        let _preparing = gate.preparing.lock().await;
        if let Some(current) = cached() {
            return Ok(current);
        }
        let not_found = || Error::VersionNotFound { store_id: key.store_id.to_string(), version };
        let catalog = self.storage.catalog(key, version).await?.ok_or_else(not_found)?;
        let bytes = catalog.encoded_len();
        let prepare = || {
            let locales = domain::locales(&catalog);
            Ok::<_, Error>(Current { index: CatalogIndex::new(Arc::new(catalog))?, locales })
        };
        let current = Arc::new(ambient::blocking(prepare).await??);
        self.catalogs.insert(key.clone(), Arc::clone(&current), bytes);
        Ok(current)
    }

    /// The current menu of a store for a product.
    pub(crate) async fn menu(
        &self,
        key: &StoreKey,
        store: &Store,
        (product, mode, locale): (Product, ServiceMode, &str),
    ) -> Result<Arc<Prepared>, Error> {
        let not_synced = || Error::NotSynced { store_id: key.store_id.to_string() };
        let version = self.current_version(key).await?.ok_or_else(not_synced)?;
        let current = self.catalog(key, version).await?;
        let locale = effective_locale(locale, &store.locales, &current.locales);
        let question = Question { product, mode, locale, fallbacks: store.locales.clone() };
        let wanted = (key.clone(), version, question);
        if let Some(prepared) = self.prepared.get(&wanted) {
            return Ok(prepared);
        }
        let gate = self.gate(key);
        let _preparing = gate.preparing.lock().await;
        if let Some(prepared) = self.prepared.get(&wanted) {
            return Ok(prepared);
        }
        let question = wanted.2.clone();
        let prepared = ambient::blocking(move || Arc::new(prepare(&current.index, &question))).await?;
        self.prepared.insert(wanted, Arc::clone(&prepared), prepared.menu.len());
        Ok(prepared)
    }

    fn gate(&self, key: &StoreKey) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        match gates.get(key) {
            Some(gate) => Arc::clone(gate),
            None => Arc::clone(gates.entry(key.clone()).or_default()),
        }
    }
}

fn prepare(index: &CatalogIndex, question: &Question) -> Prepared {
    // A menu holds no maps, so equal menus have equal encodings.
    let menu = Bytes::from(resolve_menu(index, question).encode_to_vec());
    let digest = Sha256::digest(&menu);
    let etag = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Prepared { menu, etag }
}
