use std::pin::Pin;

use posmesh_kit::Failure;
use posmesh_proto::{
    common::v1::{LocalizedText, Product},
    store::v1::{store_service_server::StoreService, *},
};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use super::unused;

/// Two stores: `shibuya` sells through everything, `ginza` through Table alone.
#[derive(Clone, Default)]
pub struct FakeStores;

fn store(store_id: &str) -> Option<Store> {
    let products = match store_id {
        "shibuya" => vec![Product::Table, Product::ToGo, Product::Kiosk],
        "ginza" => vec![Product::Table],
        _ => return None,
    };
    let name = [("ja".to_owned(), "渋谷店".to_owned()), ("en".to_owned(), "Shibuya".to_owned())];
    Some(Store {
        store_id: store_id.to_owned(),
        name: Some(LocalizedText { texts: name.into() }),
        time_zone: "Asia/Tokyo".to_owned(),
        currency_code: "JPY".to_owned(),
        locales: vec!["ja".to_owned(), "en".to_owned()],
        product_policies: products
            .into_iter()
            .map(|product| ProductPolicy { product: product.into(), ..Default::default() })
            .collect(),
        revision: 1,
        ..Default::default()
    })
}

#[tonic::async_trait]
impl StoreService for FakeStores {
    type WatchStoresStream = Pin<Box<dyn Stream<Item = Result<WatchStoresResponse, Status>> + Send>>;

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Result<Response<GetStoreResponse>, Status> {
        match store(&request.into_inner().store_id) {
            Some(store) => Ok(Response::new(GetStoreResponse { store: Some(store) })),
            None => Err(Failure::new(Code::NotFound, "STORE_NOT_FOUND", "there is no such store").into()),
        }
    }

    async fn list_stores(&self, _: Request<ListStoresRequest>) -> Result<Response<ListStoresResponse>, Status> {
        Ok(Response::new(ListStoresResponse { stores: store("shibuya").into_iter().collect(), ..Default::default() }))
    }

    async fn watch_stores(&self, _: Request<WatchStoresRequest>) -> Result<Response<Self::WatchStoresStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    unused! {
        put_brand(PutBrandRequest) -> PutBrandResponse;
        get_brand(GetBrandRequest) -> GetBrandResponse;
        list_brands(ListBrandsRequest) -> ListBrandsResponse;
        put_store(PutStoreRequest) -> PutStoreResponse;
    }
}
