//! What an operator does before a store can sell: the store, its tie to the POS, its menu.

use std::collections::HashMap;

use anyhow::{Context, Result};
use posmesh_proto::{
    catalog::v1::{StartSyncRequest, SyncRun, catalog_service_client::CatalogServiceClient},
    common::v1::{EvidenceKind, LocalizedText, Product},
    router::v1::{Connection, PutConnectionRequest, router_service_client::RouterServiceClient},
    store::v1::{
        Brand, ProductPolicy, PutBrandRequest, PutStoreRequest, Store, StoreLifecycle,
        store_service_client::StoreServiceClient,
    },
};

use crate::{CURRENCY, Mesh, eventually, refusal};

/// Of every store.
pub const BRAND_ID: &str = "e2e";
/// Replaces whatever is there.
pub const ANY_REVISION: i64 = -1;

/// Puts a store of the one brand, as often as wanted.
///
/// # Errors
/// When the store service refuses.
pub async fn put_store(mesh: &Mesh, store: Store) -> Result<()> {
    let mut client = StoreServiceClient::new(mesh.store()?);
    let brand = Brand { brand_id: BRAND_ID.into(), name: Some(text("End to end")), revision: ANY_REVISION };
    client.put_brand(PutBrandRequest { brand: Some(brand) }).await.context("the brand")?;
    client.put_store(PutStoreRequest { store: Some(store) }).await.context("the store")?;
    Ok(())
}

/// Puts a connection with its API key, as soon as the adapter is known to the router.
///
/// # Errors
/// When the router refuses.
pub async fn put_connection(mesh: &Mesh, connection: Connection, api_key: &str) -> Result<()> {
    let client = RouterServiceClient::new(mesh.router()?);
    let credentials = HashMap::from([("api_key".to_owned(), api_key.to_owned())]);
    let put = PutConnectionRequest { connection: Some(connection), credentials };
    let put = async || match client.clone().put_connection(put.clone()).await {
        Ok(_) => Some(Ok(())),
        Err(status) if refusal(&status).0 == "ADAPTER_NOT_REGISTERED" => None,
        Err(status) => Some(Err(status)),
    };
    eventually("the adapter registers", put).await.context("the connection")
}

/// Pulls a store's menu, and tells what came of it.
///
/// # Errors
/// When the catalog refuses.
pub async fn sync(mesh: &Mesh, store_id: &str) -> Result<SyncRun> {
    let request = StartSyncRequest { store_id: store_id.to_owned(), wait: true };
    let answer = CatalogServiceClient::new(mesh.catalog()?).start_sync(request).await.context("the sync")?;
    answer.into_inner().run.context("the catalog told no run")
}

/// A live store in Tokyo that sells through all products.
pub fn store(store_id: &str, success_evidence: &[EvidenceKind]) -> Store {
    let policy = |product: Product| ProductPolicy {
        product: product.into(),
        success_evidence: success_evidence.iter().map(|kind| i32::from(*kind)).collect(),
        ..ProductPolicy::default()
    };
    Store {
        store_id: store_id.to_owned(),
        brand_id: BRAND_ID.into(),
        name: Some(text(store_id)),
        time_zone: "Asia/Tokyo".into(),
        currency_code: CURRENCY.into(),
        locales: ["ja", "en", "ko"].map(Into::into).to_vec(),
        business_day_cutoff_minutes: 300,
        lifecycle: StoreLifecycle::Live.into(),
        product_policies: [Product::Table, Product::ToGo, Product::Kiosk].map(policy).to_vec(),
        revision: ANY_REVISION,
        ..Store::default()
    }
}

fn text(en: &str) -> LocalizedText {
    LocalizedText { texts: [("en".to_owned(), en.to_owned())].into() }
}
