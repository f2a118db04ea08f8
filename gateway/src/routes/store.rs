//! What all products ask about a store before anything is ordered.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use posmesh_kit::Failure;
use posmesh_proto::common::v1::Product;
use serde::Deserialize;
use tonic::Code;
use utoipa::IntoParams;

use crate::{
    app::App,
    extract::{self, Path, Query},
    inputs::{Text, Time},
    menu::{Bootstrap, Menu},
    openapi::StoreProblems,
    problem::Problem,
    rendered::Question,
    views::{ProductName, ServiceMode},
};

/// Name, locales, currency, time and limits of a store.
#[utoipa::path(get, path = "/{product}/v1/stores/{store_id}/bootstrap", tag = "store",
    params(("product" = ProductName, Path), ("store_id" = String, Path)),
    responses((status = OK, body = Bootstrap), StoreProblems))]
pub(crate) async fn bootstrap(
    State(app): State<Arc<App>>,
    Path((product, store_id)): Path<(ProductName, String)>,
) -> Result<Json<Bootstrap>, Problem> {
    let store = app.stores.get(&store_id).await?;
    let sold = store.product_policies.iter().any(|policy| policy.product() == Product::from(product));
    if !sold {
        let message = format!("store {store_id:?} does not sell through {}", product.as_str());
        return Err(Failure::new(Code::FailedPrecondition, "PRODUCT_NOT_SOLD", message).into());
    }
    Ok(Json(Bootstrap::new(&store, product, app.body_limit_bytes, extract::MAX_WAIT.as_secs())))
}

/// Which menu is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MenuQuery {
    /// BCP 47 tag. Falls back to its language, then to the store's first locale.
    #[serde(default)]
    #[param(value_type = String, required = false)]
    locale: Text,
    /// Whose prices are shown. Absent: the product's own (ToGo `take_away`, else `eat_in`).
    service_mode: Option<ServiceMode>,
    /// RFC 3339: what is sold then, for ToGo at the pickup time. Absent: now.
    #[param(value_type = Option<String>, format = DateTime)]
    time: Option<Time>,
}

/// The menu with prices as the guest pays them, and whether the store takes orders now.
///
/// Ask again with the `ETag` in `If-None-Match`: 304 while nothing has changed. It comes compressed to whoever accepts gzip.
#[utoipa::path(get, path = "/{product}/v1/stores/{store_id}/menu", tag = "store",
    params(("product" = ProductName, Path), ("store_id" = String, Path), MenuQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer")),
    responses(
        (status = OK, body = Menu, headers(("ETag" = String, description = "Equal as long as the menu and its gate are"))),
        (status = NOT_MODIFIED, description = "The menu is the one that you have"),
        StoreProblems))]
pub(crate) async fn menu(
    State(app): State<Arc<App>>,
    Path((product, store_id)): Path<(ProductName, String)>,
    Query(query): Query<MenuQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let gate = app.gates.get(&store_id, product);
    let (locale, service_mode) = (query.locale.into_inner(), query.service_mode);
    let question = Question { store_id, product, locale, service_mode, time: query.time.map(Into::into) };
    app.menus.answer(question, gate, &headers).await
}
