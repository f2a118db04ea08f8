//! The gRPC surface.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use posmesh_kit::{call, server::MAX_MESSAGE_BYTES, time};
use posmesh_proto::store::v1::{
    Brand, GetBrandRequest, GetBrandResponse, GetStoreRequest, GetStoreResponse, ListBrandsRequest, ListBrandsResponse,
    ListStoresRequest, ListStoresResponse, PutBrandRequest, PutBrandResponse, PutStoreRequest, PutStoreResponse, Store,
    WatchStoresRequest, WatchStoresResponse,
    store_service_server::{StoreService, StoreServiceServer},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    Config, domain,
    error::Error,
    request,
    storage::{Put, Storage},
    watch::Watcher,
};

pub(crate) struct Service {
    storage: Arc<dyn Storage>,
    /// Counts the writes of this process, so that its watches need not wait for their poll.
    written: watch::Sender<u64>,
    poll_interval: Duration,
    stop: CancellationToken,
}

impl Service {
    pub(crate) fn new(config: &Config, storage: Arc<dyn Storage>, stop: CancellationToken) -> Self {
        Self { storage, written: watch::Sender::default(), poll_interval: config.watch_poll_interval, stop }
    }

    pub(crate) fn into_server(self) -> StoreServiceServer<Self> {
        StoreServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn write_brand(&self, brand: Brand) -> Result<Brand, Error> {
        domain::check_brand(&brand).map_err(Error::Invalid)?;
        let (id, expected) = (brand.brand_id.clone(), brand.revision);
        match self.storage.put_brand(&call::identity().tenant_id, brand).await? {
            Put::Written(brand) => {
                tracing::info!(brand.id = %id, revision = brand.revision, "brand {id} is written");
                Ok(brand)
            }
            Put::Conflict { current } => Err(Error::RevisionConflict { id, expected, current }),
            Put::NoSuchBrand => Err(Error::BrandNotFound { brand_id: id }),
        }
    }

    async fn write_store(&self, store: Store) -> Result<Store, Error> {
        domain::check_store(&store).map_err(Error::Invalid)?;
        let (id, brand_id, expected) = (store.store_id.clone(), store.brand_id.clone(), store.revision);
        let store = Store { update_time: Some(time::now()), ..store };
        match self.storage.put_store(&call::identity().tenant_id, store).await? {
            Put::Written(store) => {
                self.written.send_modify(|count| *count = count.wrapping_add(1));
                tracing::info!(store.id = %id, revision = store.revision, "store {id} is written");
                Ok(store)
            }
            Put::Conflict { current } => Err(Error::RevisionConflict { id, expected, current }),
            Put::NoSuchBrand => Err(Error::BrandNotFound { brand_id }),
        }
    }

    async fn read_brand(&self, brand_id: String) -> Result<Brand, Error> {
        let brand = match request::can_exist("brand_id", &brand_id)? {
            true => self.storage.brand(&call::identity().tenant_id, &brand_id).await?,
            false => None,
        };
        brand.ok_or(Error::BrandNotFound { brand_id })
    }

    async fn read_store(&self, store_id: String) -> Result<Store, Error> {
        let store = match request::can_exist("store_id", &store_id)? {
            true => self.storage.store(&call::identity().tenant_id, &store_id).await?,
            false => None,
        };
        store.ok_or(Error::StoreNotFound { store_id })
    }

    async fn page_of_brands(&self, asked: ListBrandsRequest) -> Result<ListBrandsResponse, Error> {
        let size = request::page_size(asked.page_size)?;
        let after = request::page_token("brands", &asked.page_token)?;
        let mut brands = self.storage.brands(&call::identity().tenant_id, &after, size + 1).await?;
        let next_page_token = request::cut_page(&mut brands, size, "brands", |brand| &brand.brand_id);
        Ok(ListBrandsResponse { brands, next_page_token })
    }

    async fn page_of_stores(&self, asked: ListStoresRequest) -> Result<ListStoresResponse, Error> {
        let size = request::page_size(asked.page_size)?;
        let brand_id = Some(asked.brand_id.as_str()).filter(|id| !id.is_empty());
        if let Some(violation) = brand_id.and_then(|id| domain::check_id("brand_id", id)) {
            return Err(violation.into());
        }
        let list = format!("stores/{}", asked.brand_id);
        let after = request::page_token(&list, &asked.page_token)?;
        let mut stores = self.storage.stores(&call::identity().tenant_id, brand_id, &after, size + 1).await?;
        let next_page_token = request::cut_page(&mut stores, size, &list, |store| &store.store_id);
        Ok(ListStoresResponse { stores, next_page_token })
    }

    async fn watcher(&self, asked: WatchStoresRequest) -> Result<Watcher, Error> {
        let tenant_id = call::identity().tenant_id;
        let list = format!("changes/{tenant_id}");
        let after = request::resume_token(&list, &asked.resume_token)?;
        // A place that lies ahead is from before the database was restored from a backup.
        if after > 0 && after > self.storage.last_change(&tenant_id).await? {
            return Err(request::bad_resume_token());
        }
        Ok(Watcher {
            storage: Arc::clone(&self.storage),
            tenant_id,
            list,
            after,
            written: self.written.subscribe(),
            poll_interval: self.poll_interval,
            stop: self.stop.clone(),
            current: false,
        })
    }
}

#[tonic::async_trait]
impl StoreService for Service {
    async fn put_brand(&self, request: Request<PutBrandRequest>) -> Result<Response<PutBrandResponse>, Status> {
        let brand = self.write_brand(request.into_inner().brand.unwrap_or_default()).await?;
        Ok(Response::new(PutBrandResponse { brand: Some(brand) }))
    }

    async fn get_brand(&self, request: Request<GetBrandRequest>) -> Result<Response<GetBrandResponse>, Status> {
        let brand = self.read_brand(request.into_inner().brand_id).await?;
        Ok(Response::new(GetBrandResponse { brand: Some(brand) }))
    }

    async fn list_brands(&self, request: Request<ListBrandsRequest>) -> Result<Response<ListBrandsResponse>, Status> {
        Ok(Response::new(self.page_of_brands(request.into_inner()).await?))
    }

    async fn put_store(&self, request: Request<PutStoreRequest>) -> Result<Response<PutStoreResponse>, Status> {
        let store = self.write_store(request.into_inner().store.unwrap_or_default()).await?;
        Ok(Response::new(PutStoreResponse { store: Some(store) }))
    }

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Result<Response<GetStoreResponse>, Status> {
        let store = self.read_store(request.into_inner().store_id).await?;
        Ok(Response::new(GetStoreResponse { store: Some(store) }))
    }

    async fn list_stores(&self, request: Request<ListStoresRequest>) -> Result<Response<ListStoresResponse>, Status> {
        Ok(Response::new(self.page_of_stores(request.into_inner()).await?))
    }

    type WatchStoresStream = Pin<Box<dyn Stream<Item = Result<WatchStoresResponse, Status>> + Send>>;

    async fn watch_stores(
        &self,
        request: Request<WatchStoresRequest>,
    ) -> Result<Response<Self::WatchStoresStream>, Status> {
        let watcher = self.watcher(request.into_inner()).await?;
        Ok(Response::new(Box::pin(watcher.into_stream())))
    }
}
