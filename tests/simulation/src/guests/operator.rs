//! Who sets the store up, keeps its catalog current, and looks through everything at the end.

use std::{collections::BTreeSet, time::Duration};

use posmesh_proto::{
    catalog::v1::{GetCatalogRequest, StartSyncRequest, catalog_service_client::CatalogServiceClient},
    common::v1::{EvidenceKind, LocalizedText, Product},
    order::v1::{GetOrderRequest, get_order_request::Key, order_service_client::OrderServiceClient},
    router::v1::{Connection, ConnectionRole, PutConnectionRequest, router_service_client::RouterServiceClient},
    store::v1::{
        Brand, GatePolicy, ProductPolicy, PutBrandRequest, PutStoreRequest, Store, StoreLifecycle,
        store_service_client::StoreServiceClient,
    },
};
use tonic::{Request, Status};

use super::{Guests, STORE};
use crate::{adapter, cluster, pos};

/// The store's tie to its POS.
pub(super) const CONNECTION: &str = "till";
/// The connection to what stands in for the POS.
pub(crate) const FALLBACK: &str = "printer";
const RETRY: Duration = Duration::from_millis(200);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the store's staff have the menu read from the POS.
const SYNC_INTERVAL: Duration = Duration::from_secs(4);
/// Longer than a guest waits at a table, short enough for a simulation.
const DELIVER_WITHIN_S: i64 = 15;
const HOLD_FOR_S: i64 = 60;
/// How long before its pickup time an order goes to the POS.
pub(super) const PREPARATION_S: i64 = 1_200;
/// How long rounds wait for one in doubt, where they may pass it.
const ROUND_WAIT_S: i64 = 3;

fn text(text: &str) -> Option<LocalizedText> {
    Some(LocalizedText { texts: [("en".to_owned(), text.to_owned())].into() })
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Again and again until it is done: at the begin, services come up in any order.
async fn insist<T, F: Future<Output = Result<T, Status>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(status) => {
                tracing::debug!(%status, "the operator tries again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

pub(super) async fn set_up(guests: &Guests) {
    let store = StoreServiceClient::new(cluster::channel("masters"));
    let brand = Brand { brand_id: "brand".to_owned(), name: text("Brand"), ..Brand::default() };
    insist(|| {
        let request = timed(PutBrandRequest { brand: Some(Brand { revision: -1, ..brand.clone() }) });
        let mut store = store.clone();
        async move { store.put_brand(request).await }
    })
    .await;
    insist(|| {
        let request = timed(PutStoreRequest { store: Some(the_store(guests)) });
        let mut store = store.clone();
        async move { store.put_store(request).await }
    })
    .await;
    put_connection(CONNECTION, adapter::VENDOR, "pos", ConnectionRole::Primary).await;
    if guests.printer.is_some() {
        put_connection(FALLBACK, adapter::PRINTERS, "printer", ConnectionRole::Fallback).await;
    }
    let catalog = CatalogServiceClient::new(cluster::channel("masters"));
    insist(|| {
        let mut catalog = catalog.clone();
        async move {
            let _ = catalog.start_sync(timed(sync_request())).await;
            tokio::time::sleep(RETRY).await;
            let current = GetCatalogRequest { store_id: STORE.to_owned(), ..GetCatalogRequest::default() };
            catalog.get_catalog(timed(current)).await
        }
    })
    .await;
}

/// Ties the store to the device on a host.
async fn put_connection(connection_id: &str, vendor: &str, host: &str, role: ConnectionRole) {
    let router = RouterServiceClient::new(cluster::channel("router"));
    let connection = Connection {
        connection_id: connection_id.to_owned(),
        store_id: STORE.to_owned(),
        vendor: vendor.to_owned(),
        settings_json: format!(r#"{{"base_url":"http://{host}:{}"}}"#, pos::PORT),
        revision: -1,
        role: role.into(),
        ..Connection::default()
    };
    insist(|| {
        let credentials = [("api_key".to_owned(), pos::API_KEY.to_owned())].into();
        let request = timed(PutConnectionRequest { connection: Some(connection.clone()), credentials });
        let mut router = router.clone();
        async move { router.put_connection(request).await }
    })
    .await;
}

fn sync_request() -> StartSyncRequest {
    StartSyncRequest { store_id: STORE.to_owned(), ..StartSyncRequest::default() }
}

fn the_store(guests: &Guests) -> Store {
    let profile = guests.pos.profile;
    let printed = profile.prints_late;
    let rounds_may_pass = profile.breaks_promises || guests.dice("store", 0).one_in(2);
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let evidence = [EvidenceKind::Pos, EvidenceKind::Printed].map(i32::from);
    let policy = |product: Product| ProductPolicy {
        product: product.into(),
        deliver_within: seconds(DELIVER_WITHIN_S),
        success_evidence: if printed { evidence.to_vec() } else { Vec::new() },
        preparation_time: if product == Product::ToGo { seconds(PREPARATION_S) } else { None },
        rounds_may_pass: rounds_may_pass && product == Product::Table,
        // What was kept while the POS was away is decided within the run as well.
        gate: (product == Product::ToGo).then(|| GatePolicy { hold_for: seconds(HOLD_FOR_S), ..GatePolicy::default() }),
        round_wait: seconds(if profile.breaks_promises { 0 } else { ROUND_WAIT_S }),
        ..ProductPolicy::default()
    };
    Store {
        store_id: STORE.to_owned(),
        brand_id: "brand".to_owned(),
        name: text("Izakaya"),
        time_zone: "Asia/Tokyo".to_owned(),
        currency_code: "JPY".to_owned(),
        locales: vec!["en".to_owned()],
        lifecycle: StoreLifecycle::Live.into(),
        product_policies: [Product::Table, Product::ToGo, Product::Kiosk].map(policy).to_vec(),
        revision: -1,
        ..Store::default()
    }
}

/// Prices and sold-out marks of the POS come to the platform with each.
pub(super) async fn sync_again_and_again() {
    let catalog = CatalogServiceClient::new(cluster::channel("masters"));
    loop {
        tokio::time::sleep(SYNC_INTERVAL).await;
        let _ = catalog.clone().start_sync(timed(sync_request())).await;
    }
}

/// Asks every replica about every order that anybody was told of.
pub(super) async fn audit(guests: &Guests) {
    let order_ids: BTreeSet<String> = guests.told.list().iter().map(|t| t.order.order_id.clone()).collect();
    for replica in &guests.replicas {
        let client = OrderServiceClient::new(replica.clone());
        for order_id in &order_ids {
            let answer = insist(|| {
                let request = timed(GetOrderRequest { key: Some(Key::OrderId(order_id.clone())) });
                let mut client = client.clone();
                async move { client.get_order(request).await }
            });
            if let Some(order) = answer.await.into_inner().order {
                guests.told.order("auditor", None, order);
            }
        }
    }
}
