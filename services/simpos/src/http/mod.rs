//! The HTTP surface.

mod checks;
mod control;
mod inject;
mod orders;
mod tickets;

use axum::body::Bytes;
use axum::extract::{Query, Request, State, rejection::QueryRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use std::time::Instant;
use subtle::ConstantTimeEq;

pub(crate) use inject::HangUp;

use crate::api::control::Endpoint;
use crate::api::{Refusal, RefusalBody, cause};
use crate::app::App;

/// Largest body taken.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// Entries of a page, if not asked otherwise, and at most.
const DEFAULT_PAGE: usize = 200;
const MAX_PAGE: usize = 1000;

/// When the request arrived.
#[derive(Clone, Copy)]
struct Received(Instant);

type Answer<T> = Result<Json<T>, Refusal>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let on = |endpoint: Endpoint, route: MethodRouter<App>| -> MethodRouter<App> {
        route.layer(from_fn_with_state((app.clone(), endpoint), inject::inject))
    };
    let api = Router::new()
        .route("/api/orders", on(Endpoint::Submit, post(orders::submit)))
        .route("/api/orders", on(Endpoint::ListOrders, get(orders::list)))
        .route("/api/orders/{reference}", on(Endpoint::Find, get(orders::find)))
        .route("/api/orders/{reference}/cancel", on(Endpoint::Cancel, post(orders::cancel)))
        .route("/api/orders/{reference}/void", on(Endpoint::Void, post(orders::void)))
        .route("/api/events", on(Endpoint::Events, get(orders::events)))
        .route("/api/checks", on(Endpoint::OpenCheck, post(checks::open)))
        .route("/api/checks", on(Endpoint::GetChecks, get(checks::list)))
        .route("/api/checks/{number}", on(Endpoint::GetChecks, get(checks::find)))
        .route("/api/checks/{number}/bill", on(Endpoint::Bill, post(checks::bill)))
        .route("/api/checks/{number}/split", on(Endpoint::Split, post(checks::split)))
        .route("/api/checks/{number}/close", on(Endpoint::Close, post(checks::close)))
        .route("/api/staff/checks/{number}/lines", on(Endpoint::StaffLines, post(checks::enter_by_staff)))
        .route("/api/menu", on(Endpoint::Menu, get(orders::menu)))
        .route("/api/items/{id}/availability", on(Endpoint::Availability, put(orders::set_availability)))
        .route("/api/tickets", on(Endpoint::Tickets, get(tickets::list)))
        .route("/api/tickets/stream", on(Endpoint::Tickets, get(tickets::stream)))
        .route("/api/tickets/{number}/reprint", on(Endpoint::Tickets, post(tickets::reprint)))
        .route("/api/status", on(Endpoint::Status, get(tickets::status)));
    let control = Router::new()
        .route("/control/faults", get(control::list_faults).post(control::add_fault).delete(control::delete_faults))
        .route("/control/faults/{id}", delete(control::delete_fault))
        .route("/control/settings", get(control::settings).put(control::set_settings))
        .route("/control/staff", post(control::staff))
        .route("/control/journal", get(control::journal))
        .route("/control/master", post(control::replace_master).delete(control::restore_master));
    api.merge(control)
        .fallback(async || Refusal::new(404, cause::PATH_UNKNOWN, "there is no such path"))
        .layer(from_fn_with_state(app.clone(), authenticate))
        .layer(from_fn(measure))
        .with_state(app)
}

/// Notes the arrival and tells the own time.
async fn measure(mut request: Request, next: Next) -> Response {
    let received = Instant::now();
    request.extensions_mut().insert(Received(received));
    let mut response = next.run(request).await;
    let timing = format!("pos;dur={:.3}", received.elapsed().as_secs_f64() * 1000.0);
    if let Ok(timing) = HeaderValue::try_from(timing) {
        response.headers_mut().insert(HeaderName::from_static("server-timing"), timing);
    }
    response
}

async fn authenticate(State(app): State<App>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let key = header.strip_prefix(b"Bearer ").unwrap_or_default();
    // Compares in constant time; only the key's length can show.
    if bool::from(key.ct_eq(app.api_key.as_bytes())) {
        return next.run(request).await;
    }
    let message = "the API key is missing or wrong: send the header `Authorization: Bearer KEY`";
    Refusal::new(401, cause::UNAUTHORIZED, message).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = self.retry_after_ms.map(|ms| ms.div_ceil(1000).to_string());
        let mut response = (status, Json(RefusalBody { error: self })).into_response();
        if let Some(value) = retry_after_s.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// Reads a JSON body, whatever its content type.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(400, cause::INVALID_REQUEST, format!("body: {error}")))
}

/// Reads the query string.
fn asked<T>(query: Asked<T>) -> Result<T, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::new(400, cause::INVALID_REQUEST, error.body_text()))?;
    Ok(query)
}

/// Takes one page of an iterator and tells whether there is more.
fn page<T>(mut items: impl Iterator<Item = T>, limit: Option<usize>) -> (Vec<T>, bool) {
    let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let page = items.by_ref().take(limit).collect();
    (page, items.next().is_some())
}
