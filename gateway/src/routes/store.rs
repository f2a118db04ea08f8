//! What all products ask about a store before anything is ordered.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use posmesh_kit::Failure;
use posmesh_proto::{
    catalog::v1::GetMenuRequest,
    common::v1::{self as common, Product},
};
use serde::Deserialize;
use tonic::Code;
use utoipa::IntoParams;

use crate::{
    app::App,
    extract::{self, Path, Query},
    gates::Gate,
    inputs::Text,
    menu::{Bootstrap, Menu},
    openapi::StoreProblems,
    problem::Problem,
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
}

/// The menu with prices as the guest pays them, and whether the store takes orders now.
///
/// Ask again with the `ETag` in `If-None-Match`: 304 while nothing has changed.
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
    let held = extract::if_none_match(&headers);
    let gate = app.gates.get(&store_id, product);
    let gate_tag = gate_tag(gate.as_ref());
    // What stands behind the tag's last dot is ours.
    let menu_tag = held.first().map(|tag| tag.rsplit_once('.').map_or(tag.as_str(), |(menu, _)| menu).to_owned());
    let request = GetMenuRequest {
        store_id,
        product: Product::from(product).into(),
        locale: query.locale.into_inner(),
        service_mode: query.service_mode.map_or(common::ServiceMode::Unspecified, Into::into).into(),
        // Where the gate has changed, the menu is sent with it.
        if_none_match: menu_tag.filter(|_| held.iter().any(|tag| is_of(tag, &gate_tag))).unwrap_or_default(),
    };
    let answer = app.catalog.clone().get_menu(request).await?.into_inner();
    let etag = format!("{}.{gate_tag}", answer.etag);
    let mut response = match answer.menu {
        Some(menu) if !held.iter().any(|tag| *tag == etag || tag == "*") => {
            let default_mode = query.service_mode.unwrap_or(match product {
                ProductName::Togo => ServiceMode::TakeAway,
                ProductName::Table | ProductName::Kiosk => ServiceMode::EatIn,
            });
            Json(Menu::new(menu, product, default_mode, gate)).into_response()
        }
        _ => StatusCode::NOT_MODIFIED.into_response(),
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(format!("\"{etag}\"")) {
        headers.insert(header::ETAG, etag);
    }
    // Keep it, but ask each time whether it still stands: a stock-out must show at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Equal as long as the gate is.
fn gate_tag(gate: Option<&Gate>) -> String {
    let mut hasher = DefaultHasher::new();
    gate.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

fn is_of(tag: &str, gate_tag: &str) -> bool {
    tag == "*" || tag.rsplit_once('.').is_some_and(|(_, of_gate)| of_gate == gate_tag)
}
