//! What people lay over catalogs: written, read and listed.

mod listing;
mod prices;
mod request;

use std::sync::Arc;

use posmesh_kit::{Channel, Failure, call, store_cache::StoreCache};
use posmesh_proto::{
    catalog::v1::{DeleteOverlayRequest, GetOverlayRequest, Overlay, PutOverlayRequest},
    store::v1::{GetBrandRequest, Store, store_service_client::StoreServiceClient},
};

pub(crate) use prices::Prices;
use request::{About, Owner};

use crate::{
    error::Error,
    layers::LayerCache,
    menus::Menus,
    request::decision,
    storage::{ScopeKey, Storage, StoreKey, Written},
};

pub(crate) struct Overlays {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) menus: Arc<Menus>,
    pub(crate) layers: Arc<LayerCache>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) stores: StoreCache,
    /// `StoreService`.
    pub(crate) brands: StoreServiceClient<Channel>,
}

impl Overlays {
    pub(crate) async fn put(&self, request: PutOverlayRequest) -> Result<Overlay, Error> {
        let Some(overlay) = request.overlay else {
            return Err(Failure::field("REQUIRED", "overlay", "send the overlay").into());
        };
        let owner = request::owner(overlay.scope.clone(), "overlay.scope")?;
        let about = request::about(&owner, overlay.subject.clone(), "overlay.subject")?;
        let said = decision(overlay.by.clone(), overlay.note.clone())?;
        let scope = match owner {
            Owner::Store(store_id) => {
                let (key, store) = self.store(&store_id).await?;
                request::check(&overlay, about.kind, Some(&store.currency_code))?;
                self.fits_store(&key, store, &about, &overlay).await?;
                ScopeKey::store(&key)
            }
            Owner::Brand(brand_id) => {
                request::check(&overlay, about.kind, None)?;
                self.brand(&brand_id).await?
            }
        };
        let (expected, overlay) = (overlay.revision, Overlay { update_time: said.time, ..overlay });
        let written = self.storage.put_overlay(&scope, &about.key, &overlay).await?;
        self.layers.wrote();
        match written {
            Written::Done(overlay) => {
                tracing::info!(scope = %scope.scope, subject = ?about.key, by = %overlay.by, "overlay written");
                Ok(*overlay)
            }
            Written::Same(overlay) => Ok(*overlay),
            Written::Conflict { current } => Err(Error::OverlayConflict { expected, current }),
            Written::Full => Err(Error::TooManyOverlays),
        }
    }

    pub(crate) async fn get(&self, request: GetOverlayRequest) -> Result<Overlay, Error> {
        let owner = request::owner(request.scope, "scope")?;
        let about = request::about(&owner, request.subject, "subject")?;
        let overlay = self.storage.overlay(&self.scope(&owner).await?, &about.key).await?;
        overlay.ok_or(Error::OverlayNotFound { what: about.kind.word() })
    }

    pub(crate) async fn delete(&self, request: DeleteOverlayRequest) -> Result<(), Error> {
        let DeleteOverlayRequest { scope, subject, revision: expected, by } = request;
        let owner = request::owner(scope, "scope")?;
        let about = request::about(&owner, subject, "subject")?;
        let said = decision(by, String::new())?;
        let scope = self.scope(&owner).await?;
        let conflict = self.storage.delete_overlay(&scope, &about.key, expected).await?;
        self.layers.wrote();
        if let Some(current) = conflict {
            return Err(Error::OverlayConflict { expected, current });
        }
        tracing::info!(scope = %scope.scope, subject = ?about.key, by = %said.by, "overlay deleted");
        Ok(())
    }

    /// The scope of an owner that the caller's tenant has.
    async fn scope(&self, owner: &Owner) -> Result<ScopeKey, Error> {
        match owner {
            Owner::Store(store_id) => Ok(ScopeKey::store(&self.store(store_id).await?.0)),
            Owner::Brand(brand_id) => self.brand(brand_id).await,
        }
    }

    async fn store(&self, store_id: &str) -> Result<(StoreKey, Arc<Store>), Error> {
        let store = self.stores.get(store_id).await?;
        Ok((StoreKey { tenant_id: call::identity().tenant_id, store_id: store_id.into() }, store))
    }

    async fn brand(&self, brand_id: &str) -> Result<ScopeKey, Error> {
        let request = GetBrandRequest { brand_id: brand_id.to_owned() };
        self.brands.clone().get_brand(request).await?;
        Ok(ScopeKey::brand(&call::identity().tenant_id, brand_id))
    }

    /// Whether the store's POS has the thing, and books the prices. What became an orphan since may be changed.
    async fn fits_store(
        &self,
        key: &StoreKey,
        store: Arc<Store>,
        about: &About,
        overlay: &Overlay,
    ) -> Result<(), Error> {
        if overlay.products.iter().any(|rules| rules.price.is_some()) {
            let why = self.prices.refusal(key).await?;
            if !why.is_empty() {
                return Err(Error::PriceOverrideNotSupported { store_id: key.store_id.to_string(), why });
            }
        }
        if self.storage.overlay(&ScopeKey::store(key), &about.key).await?.is_some() {
            return Ok(());
        }
        let store_id = key.store_id.to_string();
        match self.standing(key, store).await?.has(&about.subject) {
            Some(true) => Ok(()),
            Some(false) => Err(Error::OverlaySubjectNotFound { store_id, what: about.kind.word() }),
            None => Err(Error::NotSynced { store_id }),
        }
    }
}
