//! Whether the gateway runs, and whether it can work.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use posmesh_proto::{
    catalog::v1::GetCatalogRequest,
    order::v1::{GetOrderRequest, get_order_request::Key},
    store::v1::ListStoresRequest,
};
use serde::Serialize;
use tonic::{Code, Status};
use utoipa::ToSchema;

use crate::app::App;

const PEER_TIMEOUT: Duration = Duration::from_secs(2);
/// An id that nothing has: the peer looks it up and says so.
const NOTHING: &str = "00000000-0000-0000-0000-000000000000";

/// Whether the gateway can work.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"ready": true, "peers": {"order": true, "catalog": true, "store": true}}))]
pub(crate) struct Readiness {
    ready: bool,
    /// Which peers answer.
    #[schema(value_type = BTreeMap<String, bool>)]
    peers: BTreeMap<&'static str, bool>,
}

/// Live: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = OK, description = "It runs")))]
pub(crate) async fn healthz() -> StatusCode {
    StatusCode::OK
}

/// Ready: every peer answers, and no shutdown has begun.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = OK, description = "Ready", body = Readiness),
    (status = SERVICE_UNAVAILABLE, description = "A peer does not answer, or the gateway is shutting down", body = Readiness),
))]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let (mut orders, mut catalog, mut stores) = (app.orders.clone(), app.catalog.clone(), app.store_service.clone());
    let (order, catalog, store) = tokio::join!(
        answers(orders.get_order(GetOrderRequest { key: Some(Key::OrderId(NOTHING.to_owned())) })),
        answers(catalog.get_catalog(GetCatalogRequest { store_id: NOTHING.to_owned(), ..Default::default() })),
        answers(stores.list_stores(ListStoresRequest { page_size: 1, ..Default::default() })),
    );
    let ready = order && catalog && store && !app.stop.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let peers = [("order", order), ("catalog", catalog), ("store", store)].into();
    (status, Json(Readiness { ready, peers })).into_response()
}

/// Any answer counts that only a working service can give.
async fn answers<T>(call: impl Future<Output = Result<T, Status>>) -> bool {
    match tokio::time::timeout(PEER_TIMEOUT, call).await {
        Ok(Ok(_)) => true,
        Ok(Err(status)) => {
            matches!(status.code(), Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument)
        }
        Err(_) => false,
    }
}
