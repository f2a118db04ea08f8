//! Kiosk: a guest orders and pays at a terminal in the store.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use posmesh_proto::{common::v1::Product, order::v1::PlaceOrderRequest};

use crate::{
    app::App,
    events,
    extract::{self, Bearer, IdempotencyKey, Path},
    inputs::{self, KioskOrderInput, QuoteInput},
    openapi::{CancelProblems, OrderProblems, PlaceProblems, StoreProblems},
    orders,
    problem::Problem,
    views::{Order, Placed, ProductName, Quote},
};

/// What an order would cost now.
#[utoipa::path(post, path = "/kiosk/v1/stores/{store_id}/quote", tag = "kiosk",
    params(("store_id" = String, Path),
        ("Accept-Language" = Option<String>, Header, description = "A refusal names items in this language")),
    request_body = QuoteInput, responses((status = OK, body = Quote), StoreProblems))]
pub(crate) async fn quote(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    headers: HeaderMap,
    extract::Json(input): extract::Json<QuoteInput>,
) -> Result<Json<Quote>, Problem> {
    let lines = inputs::lines(input.lines, input.service_mode);
    Ok(Json(orders::quote(&app, ProductName::Kiosk, store_id, lines, None, &headers).await?))
}

/// Orders at the terminal.
///
/// Safe when answered. Keep `order_token`: it alone opens the order later. `order.guest_message` tells the guest how far
/// it came; with `Prefer: wait=N` the answer waits up to N seconds for the POS.
#[utoipa::path(post, path = "/kiosk/v1/stores/{store_id}/orders", tag = "kiosk",
    params(("store_id" = String, Path),
        ("Idempotency-Key" = String, Header, description = "A new UUID per order, the same one when repeating it",
            min_length = 16, max_length = 255, pattern = "^[!-~]+$"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds (30) for the POS"),
        ("Accept-Language" = Option<String>, Header, description = "A refusal names items in this language"),
    ),
    request_body = KioskOrderInput,
    responses((status = CREATED, body = Placed, headers(("Location" = String, description = "The order"))),
        StoreProblems, PlaceProblems))]
pub(crate) async fn place_order(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    key: IdempotencyKey,
    headers: HeaderMap,
    extract::Json(input): extract::Json<KioskOrderInput>,
) -> Result<Response, Problem> {
    let request = PlaceOrderRequest {
        request_id: key.request_id(&format!("kiosk:{store_id}")),
        store_id,
        product: Product::Kiosk.into(),
        lines: inputs::lines(input.lines, Some(input.service_mode)),
        expected_total: Some(input.expected_total.into()),
        pager_number: input.pager_number.into_inner(),
        tenders: input.tenders.into_iter().map(Into::into).collect(),
        note: input.note.into_inner(),
        ..Default::default()
    };
    let order = orders::place(&app, request, &headers).await?;
    Ok(orders::created_with_token(&app, ProductName::Kiosk, order, &headers))
}

/// The order as it is now.
#[utoipa::path(get, path = "/kiosk/v1/stores/{store_id}/orders/{order_id}", tag = "kiosk",
    params(("store_id" = String, Path), ("order_id" = String, Path)), security(("order_token" = [])),
    responses((status = OK, body = Order), OrderProblems))]
pub(crate) async fn get_order(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    token: Bearer,
) -> Result<Json<Order>, Problem> {
    Ok(Json(orders::own(&app, ProductName::Kiosk, path, &token).await?.into()))
}

/// Live status of the order.
///
/// Server-sent events named `order`, each the whole order as JSON. Reconnect with `Last-Event-ID`. The stream ends after
/// the last change; 204 then says that no more will come.
#[utoipa::path(get, path = "/kiosk/v1/stores/{store_id}/orders/{order_id}/events", tag = "kiosk",
    params(("store_id" = String, Path), ("order_id" = String, Path),
        ("Last-Event-ID" = Option<String>, Header, description = "Only newer changes")),
    security(("order_token" = [])),
    responses((status = OK, body = String, content_type = "text/event-stream",
            example = "event: order\nid: 3\ndata: {\"order_id\":\"…\",\"state\":\"PLACED\"}\n\n"),
        (status = NO_CONTENT, description = "The order has ended and you have its last change"), OrderProblems))]
pub(crate) async fn order_events(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    token: Bearer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order = orders::own(&app, ProductName::Kiosk, path, &token).await?;
    events::stream_of(&app, order, &headers).await
}

/// Takes the order back.
///
/// At once while nothing was sent; else the store's POS decides, and until then `change.state` is REQUESTED (202). With
/// `Prefer: wait=N` the answer waits up to N seconds for that. REFUSED: the order stays as it is, `change.cause` says why.
#[utoipa::path(post, path = "/kiosk/v1/stores/{store_id}/orders/{order_id}/cancel", tag = "kiosk",
    params(("store_id" = String, Path), ("order_id" = String, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds (30) for the POS")),
    security(("order_token" = [])),
    responses((status = OK, body = Order, description = "Decided: see `state` and `change`"),
        (status = ACCEPTED, body = Order, description = "Not decided yet: watch the order"),
        OrderProblems, CancelProblems))]
pub(crate) async fn cancel_order(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    token: Bearer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order = orders::own(&app, ProductName::Kiosk, path, &token).await?;
    orders::cancel(&app, order, &headers).await
}
