//! Calls that are refused.

use posmesh_kit::failure;
use posmesh_proto::{
    catalog::v1::{
        GetCatalogRequest, GetMenuRequest, GetSyncRunRequest, ListCatalogVersionsRequest, ListSyncRunsRequest,
        StartSyncRequest,
    },
    common::v1::Product,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::mesh::{Mesh, Replica};

/// Code, reason and the first wrong field, if one is named.
fn told(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first()).map(|field| field.field.clone());
    (status.code(), failure::reason(status), field.unwrap_or_default())
}

async fn menu_refusal(replica: &Replica, change: impl FnOnce(&mut GetMenuRequest)) -> (Code, String, String) {
    told(&replica.menu(change).await.unwrap_err())
}

fn is(told: (Code, String, String), code: Code, reason: &str, field: &str) {
    assert_eq!(told, (code, reason.to_owned(), field.to_owned()));
}

#[tokio::test]
async fn a_menu_that_cannot_be_given_is_refused_with_reason_and_field() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    use Code::{FailedPrecondition, InvalidArgument, NotFound};
    is(menu_refusal(&replica, |_| ()).await, FailedPrecondition, "CATALOG_NOT_SYNCED", "");
    let kiosk = |request: &mut GetMenuRequest| request.product = Product::Kiosk.into();
    is(menu_refusal(&replica, kiosk).await, FailedPrecondition, "PRODUCT_NOT_SOLD", "");
    let unknown = |request: &mut GetMenuRequest| request.store_id = "osaka".to_owned();
    is(menu_refusal(&replica, unknown).await, NotFound, "STORE_NOT_FOUND", "store_id");
    let no_store = |request: &mut GetMenuRequest| request.store_id.clear();
    is(menu_refusal(&replica, no_store).await, InvalidArgument, "REQUIRED", "store_id");
    let nul = |request: &mut GetMenuRequest| request.store_id = "shi\0buya".to_owned();
    is(menu_refusal(&replica, nul).await, InvalidArgument, "STORE_ID_INVALID", "store_id");
    let no_product = |request: &mut GetMenuRequest| request.product = 0;
    is(menu_refusal(&replica, no_product).await, InvalidArgument, "REQUIRED", "product");
    let future = |request: &mut GetMenuRequest| request.product = 99;
    is(menu_refusal(&replica, future).await, InvalidArgument, "PRODUCT_UNKNOWN", "product");
    let mode = |request: &mut GetMenuRequest| request.service_mode = 99;
    is(menu_refusal(&replica, mode).await, InvalidArgument, "SERVICE_MODE_UNKNOWN", "service_mode");
    let locale = |request: &mut GetMenuRequest| request.locale = "ja\0".to_owned();
    is(menu_refusal(&replica, locale).await, InvalidArgument, "LOCALE_INVALID", "locale");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let mut client = replica.client.clone();
    let shibuya = || "shibuya".to_owned();

    let request = StartSyncRequest { store_id: "osaka".to_owned(), wait: true };
    is(told(&client.start_sync(request).await.unwrap_err()), Code::NotFound, "STORE_NOT_FOUND", "store_id");
    assert!(mesh.world.pulled().is_empty());

    for sync_run_id in ["0195c2a0-0000-7000-8000-000000000000", "no uuid\0"] {
        let request = GetSyncRunRequest { sync_run_id: sync_run_id.to_owned() };
        is(told(&client.get_sync_run(request).await.unwrap_err()), Code::NotFound, "SYNC_RUN_NOT_FOUND", "");
    }

    let request = GetCatalogRequest { store_id: shibuya(), ..Default::default() };
    let refused = client.get_catalog(request.clone()).await.unwrap_err();
    is(told(&refused), Code::FailedPrecondition, "CATALOG_NOT_SYNCED", "");
    let refused = client.get_catalog(GetCatalogRequest { version: 4, ..request.clone() }).await.unwrap_err();
    is(told(&refused), Code::NotFound, "CATALOG_VERSION_NOT_FOUND", "");
    let refused = client.get_catalog(GetCatalogRequest { version: -1, ..request }).await.unwrap_err();
    is(told(&refused), Code::InvalidArgument, "VERSION_INVALID", "version");
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let mut client = replica.client.clone();
    let shibuya = || "shibuya".to_owned();
    let runs = ListSyncRunsRequest { store_id: shibuya(), page_token: "made up".to_owned(), ..Default::default() };
    let refused = client.list_sync_runs(runs).await.unwrap_err();
    is(told(&refused), Code::InvalidArgument, "PAGE_TOKEN_INVALID", "page_token");
    let versions = ListCatalogVersionsRequest { store_id: shibuya(), page_size: -1, ..Default::default() };
    let refused = client.list_catalog_versions(versions).await.unwrap_err();
    is(told(&refused), Code::InvalidArgument, "PAGE_SIZE_INVALID", "page_size");
}
