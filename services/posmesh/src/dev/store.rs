//! The store that a mesh on one machine has: an izakaya in Tokyo with all three products, tied to the simulated POS.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, bail};
use posmesh_kit::{Channel, backoff::Backoff, failure};
use posmesh_proto::{
    catalog::v1::{CatalogCounts, StartSyncRequest, SyncState, catalog_service_client::CatalogServiceClient},
    common::v1::{LocalizedText, Product},
    router::v1::{Connection, PutConnectionRequest, router_service_client::RouterServiceClient},
    store::v1::{
        Brand, ProductPolicy, PutBrandRequest, PutStoreRequest, Store, StoreLifecycle,
        store_service_client::StoreServiceClient,
    },
};
use tokio::time::Instant;
use tonic::Request;

/// The store's id.
pub(crate) const STORE_ID: &str = "shibuya";
const BRAND_ID: &str = "izakaya-sakura";
const CONNECTION_ID: &str = "shibuya-pos";
/// Replaces whatever an earlier run left.
const ANY_REVISION: i64 = -1;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the adapter may take to become known to the router.
const ADAPTER_PATIENCE: Duration = Duration::from_secs(10);

/// Puts the brand and the store.
pub(super) async fn put_store(stores: Channel) -> anyhow::Result<()> {
    let mut client = StoreServiceClient::new(stores);
    let name = text("居酒屋さくら", "이자카야 사쿠라", "Izakaya Sakura");
    let brand = Brand { brand_id: BRAND_ID.into(), name: Some(name), revision: ANY_REVISION };
    client.put_brand(request(PutBrandRequest { brand: Some(brand) })).await.context("cannot put the brand")?;
    client.put_store(request(PutStoreRequest { store: Some(store()) })).await.context("cannot put the store")?;
    Ok(())
}

fn store() -> Store {
    let policy = |product: Product| ProductPolicy { product: product.into(), ..ProductPolicy::default() };
    Store {
        store_id: STORE_ID.into(),
        brand_id: BRAND_ID.into(),
        name: Some(text("居酒屋さくら 渋谷店", "이자카야 사쿠라 시부야점", "Izakaya Sakura Shibuya")),
        time_zone: "Asia/Tokyo".into(),
        currency_code: "JPY".into(),
        locales: ["ja", "en", "ko"].map(Into::into).to_vec(),
        business_day_cutoff_minutes: 300,
        lifecycle: StoreLifecycle::Live.into(),
        tax_registration: "T1234567890123".into(),
        product_policies: [Product::Table, Product::ToGo, Product::Kiosk].map(policy).to_vec(),
        revision: ANY_REVISION,
        ..Store::default()
    }
}

/// Ties the store to the POS at `pos_url`, as soon as its adapter has registered.
pub(super) async fn put_connection(router: Channel, pos_url: &str, pos_api_key: &str) -> anyhow::Result<()> {
    let mut client = RouterServiceClient::new(router);
    let connection = Connection {
        connection_id: CONNECTION_ID.into(),
        store_id: STORE_ID.into(),
        vendor: posmesh_adapter_simulator::VENDOR.into(),
        settings_json: serde_json::json!({ "base_url": pos_url }).to_string(),
        revision: ANY_REVISION,
        ..Connection::default()
    };
    let put = PutConnectionRequest {
        connection: Some(connection),
        credentials: HashMap::from([("api_key".to_owned(), pos_api_key.to_owned())]),
    };
    let deadline = Instant::now() + ADAPTER_PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
    loop {
        match client.put_connection(request(put.clone())).await {
            Ok(_) => return Ok(()),
            Err(status) if failure::reason(&status) == "ADAPTER_NOT_REGISTERED" && Instant::now() < deadline => {
                tokio::time::sleep(backoff.next_delay()).await;
            }
            Err(status) => return Err(status).context("cannot put the connection to the POS"),
        }
    }
}

/// Pulls the menu from the POS; tells what it holds.
pub(super) async fn sync_menu(catalog: Channel) -> anyhow::Result<CatalogCounts> {
    let sync = StartSyncRequest { store_id: STORE_ID.into(), wait: true };
    let answer = CatalogServiceClient::new(catalog).start_sync(request(sync)).await.context("cannot sync the menu")?;
    let run = answer.into_inner().run.context("the catalog answered without a run")?;
    match run.state() {
        SyncState::Published | SyncState::Unchanged => Ok(run.counts.unwrap_or_default()),
        state => bail!("the sync of the menu ended {}: {:?} {:?}", state.as_str_name(), run.failure, run.problems),
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

fn text(ja: &str, ko: &str, en: &str) -> LocalizedText {
    let texts = [("ja", ja), ("ko", ko), ("en", en)];
    LocalizedText { texts: texts.map(|(locale, text)| (locale.to_owned(), text.to_owned())).into() }
}
