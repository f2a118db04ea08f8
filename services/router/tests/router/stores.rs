//! A store service with one store.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use posmesh_kit::{
    Channel,
    server::{Mounted, ServerConfig},
};
use posmesh_proto::store::v1::{
    GetBrandRequest, GetBrandResponse, GetStoreRequest, GetStoreResponse, ListBrandsRequest, ListBrandsResponse,
    ListStoresRequest, ListStoresResponse, PutBrandRequest, PutBrandResponse, PutStoreRequest, PutStoreResponse, Store,
    WatchStoresRequest, WatchStoresResponse,
    store_service_server::{StoreService, StoreServiceServer},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, service::Routes};

pub(crate) struct Stores(watch::Receiver<Store>);

/// A way to a service with one store, which follows what is sent.
pub(crate) fn stores(store: Store) -> (watch::Sender<Store>, Channel) {
    let (sender, receiver) = watch::channel(store);
    let routes = Routes::new(StoreServiceServer::new(Stores(receiver)));
    (sender, Mounted::new("store", routes, Vec::new()).channel(&ServerConfig::default()))
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl StoreService for Stores {
    type WatchStoresStream = Pin<Box<dyn Stream<Item = Result<WatchStoresResponse, Status>> + Send>>;

    async fn watch_stores(&self, _: Request<WatchStoresRequest>) -> Answer<Self::WatchStoresStream> {
        let changes = futures_util::stream::unfold((self.0.clone(), true), |(mut store, first)| async move {
            if !first && store.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let told = store.borrow_and_update().clone();
            Some((told, (store, false)))
        });
        let messages = changes.map(|store| Ok(WatchStoresResponse { stores: vec![store], ..Default::default() }));
        Ok(Response::new(Box::pin(messages)))
    }

    async fn get_store(&self, _: Request<GetStoreRequest>) -> Answer<GetStoreResponse> {
        Ok(Response::new(GetStoreResponse { store: Some(self.0.borrow().clone()) }))
    }

    async fn put_brand(&self, _: Request<PutBrandRequest>) -> Answer<PutBrandResponse> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn get_brand(&self, _: Request<GetBrandRequest>) -> Answer<GetBrandResponse> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn list_brands(&self, _: Request<ListBrandsRequest>) -> Answer<ListBrandsResponse> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn put_store(&self, _: Request<PutStoreRequest>) -> Answer<PutStoreResponse> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn list_stores(&self, _: Request<ListStoresRequest>) -> Answer<ListStoresResponse> {
        Err(Status::unimplemented("not asked here"))
    }
}
