//! Steps between versions and offers, ready to be told: each is made once, however many ask.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use posmesh_kit::{ambient, byte_cache::ByteCache};
use posmesh_proto::{catalog::v1::Catalog, store::v1::Store};

use crate::{
    domain::{self, Beside, Diff},
    error::Error,
    layers::{Layers, LayersMark},
    menus::Menus,
    storage::{OfferHead, Storage, StoreKey},
};

/// Memory for steps, by their encoded size.
const CACHE_BYTES: usize = 8 << 20;
/// Steps that are made at once.
const GATES: usize = 16;

/// Store, what was seen of it and what is, language.
type Step = (StoreKey, Mark, Mark, String);
type Mark = (OfferHead, Option<LayersMark>);

/// An offer that somebody has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) head: OfferHead,
    pub(crate) beside: Arc<Beside>,
    /// `None`: what is laid over it does not count.
    pub(crate) mark: Option<LayersMark>,
    pub(crate) layers: Layers,
}

#[derive(Debug)]
pub(crate) struct Diffs {
    storage: Arc<dyn Storage>,
    menus: Arc<Menus>,
    cache: ByteCache<Step, Diff>,
    /// Who asks for the same step waits for the same gate.
    gates: Vec<tokio::sync::Mutex<()>>,
}

impl Diffs {
    pub(crate) fn new(storage: Arc<dyn Storage>, menus: Arc<Menus>) -> Self {
        let gates = (0..GATES).map(|_| tokio::sync::Mutex::default()).collect();
        Self { storage, menus, cache: ByteCache::new(CACHE_BYTES), gates }
    }

    /// What leads from one version to another, as the POS gave them, named in `locale` if it can be, else in the store's own.
    /// Before the first version, 0, there was nothing.
    ///
    /// # Errors
    ///
    /// One of the versions is not kept.
    pub(crate) async fn of_versions(
        &self,
        key: &StoreKey,
        store: &Store,
        (from, to): (i64, i64),
        locale: &str,
    ) -> Result<Arc<Diff>, Error> {
        let seen = |version| Seen { head: OfferHead { version, revision: 0 }, ..Seen::default() };
        self.of_offers(key, store, (&seen(from), &seen(to)), locale).await
    }

    /// What leads from one offer to another, as far as they are the same in all products, and over which things something
    /// else is laid.
    ///
    /// # Errors
    ///
    /// One of the versions is not kept.
    pub(crate) async fn of_offers(
        &self,
        key: &StoreKey,
        store: &Store,
        (from, to): (&Seen, &Seen),
        locale: &str,
    ) -> Result<Arc<Diff>, Error> {
        let mark = |seen: &Seen| (seen.head, seen.mark.clone());
        let step = (key.clone(), mark(from), mark(to), locale.to_owned());
        if let Some(diff) = self.cache.get(&step) {
            return Ok(diff);
        }
        let mut hasher = DefaultHasher::new();
        step.hash(&mut hasher);
        let gate = usize::try_from(hasher.finish() % GATES as u64).unwrap_or_default();
        let _making = self.gates[gate].lock().await;
        if let Some(diff) = self.cache.get(&step) {
            return Ok(diff);
        }
        let after = self.catalog(key, to.head.version).await?;
        let before = match from.head.version {
            0 => Arc::new(Catalog {
                currency_code: after.currency_code.clone(),
                tax_rounding: after.tax_rounding,
                ..Default::default()
            }),
            version if version == to.head.version => Arc::clone(&after),
            version => self.catalog(key, version).await?,
        };
        let (before, after) = ((before, Arc::clone(&from.beside)), (after, Arc::clone(&to.beside)));
        let (laid, lies) = (from.layers.clone(), to.layers.clone());
        let locales: Vec<String> = std::iter::once(locale.to_owned()).chain(store.locales.iter().cloned()).collect();
        let make = move || {
            let mut diff = domain::diff(&sold(&before), &sold(&after), &locales);
            let reviewed = (&before.1.to_review, &after.1.to_review);
            diff.add(domain::review_lines(reviewed, &after.0, &locales));
            diff.add(domain::overlay_lines(laid.maps(), lies.maps(), &after.0, &locales));
            Arc::new(diff)
        };
        let diff = ambient::blocking(make).await?;
        let bytes = diff.changes.iter().map(prost::Message::encoded_len).sum::<usize>() + size_of::<Step>();
        self.cache.insert(step, Arc::clone(&diff), bytes);
        Ok(diff)
    }

    async fn catalog(&self, key: &StoreKey, version: i64) -> Result<Arc<Catalog>, Error> {
        if self.menus.current_version(key).await? == Some(version) {
            return Ok(Arc::clone(self.menus.catalog(key, version).await?.index.catalog()));
        }
        let not_found = || Error::VersionNotFound { store_id: key.store_id.to_string(), version };
        Ok(Arc::new(self.storage.catalog(key, version).await?.ok_or_else(not_found)?))
    }
}

/// As far as it is the same in all products.
fn sold((catalog, beside): &(Arc<Catalog>, Arc<Beside>)) -> Cow<'_, Catalog> {
    let offered = domain::offer(catalog, beside);
    offered.map_or(Cow::Borrowed(catalog.as_ref()), Cow::Owned)
}
