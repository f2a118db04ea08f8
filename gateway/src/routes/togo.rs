//! ToGo: a guest orders ahead for a pickup time.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{ListPickupSlotsRequest, PlaceOrderRequest},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App,
    events,
    extract::{self, Bearer, IdempotencyKey, Path, Query},
    inputs::{self, Text, TogoOrderInput, TogoQuoteInput},
    openapi::{CancelProblems, OrderProblems, PickupProblems, PlaceProblems, StoreProblems},
    orders,
    problem::Problem,
    views::{Order, PickupSlots, Placed, ProductName, Quote},
};

/// What an order would cost now.
#[utoipa::path(post, path = "/togo/v1/stores/{store_id}/quote", tag = "togo",
    params(("store_id" = String, Path),
        ("Accept-Language" = Option<String>, Header, description = "A refusal names items in this language")),
    request_body = TogoQuoteInput, responses((status = OK, body = Quote), StoreProblems))]
pub(crate) async fn quote(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    headers: HeaderMap,
    extract::Json(input): extract::Json<TogoQuoteInput>,
) -> Result<Json<Quote>, Problem> {
    let lines = inputs::lines(input.lines, input.service_mode);
    Ok(Json(orders::quote(&app, ProductName::Togo, store_id, lines, input.pickup_time, &headers).await?))
}

/// What shall be picked up.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PickupQuery {
    /// Ids of the items, separated by commas: some need longer than others.
    #[serde(default)]
    #[param(value_type = String, required = false)]
    items: Text,
    /// At most so many; 1 to 200, default 20.
    #[serde(default)]
    #[param(minimum = 0, maximum = 200)]
    limit: i32,
}

/// The pickup times of this business day that are free.
///
/// A time may be taken by others before the order comes: then the refusal tells the next one as `next_pickup_time`.
#[utoipa::path(get, path = "/togo/v1/stores/{store_id}/pickup-slots", tag = "togo",
    params(("store_id" = String, Path), PickupQuery),
    responses((status = OK, body = PickupSlots), StoreProblems))]
pub(crate) async fn pickup_slots(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    Query(query): Query<PickupQuery>,
) -> Result<Json<PickupSlots>, Problem> {
    let item_ids = query.items.as_str().split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let request = ListPickupSlotsRequest { store_id, item_ids, limit: query.limit };
    let slots = app.orders.clone().list_pickup_slots(request).await?.into_inner().slots;
    Ok(Json(PickupSlots { slots: slots.into_iter().map(Into::into).collect() }))
}

/// Orders ahead.
///
/// Safe when answered. Keep `order_token`: it alone opens the order later. `order.guest_message` tells the guest how far
/// it came; with `Prefer: wait=N` the answer waits up to N seconds for the POS.
#[utoipa::path(post, path = "/togo/v1/stores/{store_id}/orders", tag = "togo",
    params(("store_id" = String, Path),
        ("Idempotency-Key" = String, Header, description = "A new UUID per order, the same one when repeating it",
            min_length = 16, max_length = 255, pattern = "^[!-~]+$"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds (30) for the POS"),
        ("Accept-Language" = Option<String>, Header, description = "A refusal names items in this language"),
    ),
    request_body = TogoOrderInput,
    responses((status = CREATED, body = Placed, headers(("Location" = String, description = "The order"))),
        StoreProblems, PlaceProblems, PickupProblems))]
pub(crate) async fn place_order(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    key: IdempotencyKey,
    headers: HeaderMap,
    extract::Json(input): extract::Json<TogoOrderInput>,
) -> Result<Response, Problem> {
    let request = PlaceOrderRequest {
        request_id: key.request_id(&format!("togo:{store_id}")),
        store_id,
        product: Product::ToGo.into(),
        lines: inputs::lines(input.lines, input.service_mode),
        expected_total: Some(input.expected_total.into()),
        pickup_time: Some(input.pickup_time.into()),
        guest_contact: input.guest_contact.map(Into::into),
        tenders: input.tenders.into_iter().map(Into::into).collect(),
        note: input.note.into_inner(),
        ..Default::default()
    };
    let order = orders::place(&app, request, &headers).await?;
    Ok(orders::created_with_token(&app, ProductName::Togo, order, &headers))
}

/// The order as it is now.
#[utoipa::path(get, path = "/togo/v1/stores/{store_id}/orders/{order_id}", tag = "togo",
    params(("store_id" = String, Path), ("order_id" = String, Path)), security(("order_token" = [])),
    responses((status = OK, body = Order), OrderProblems))]
pub(crate) async fn get_order(
    State(app): State<Arc<App>>,
    Path(path): Path<(String, String)>,
    token: Bearer,
) -> Result<Json<Order>, Problem> {
    Ok(Json(orders::own(&app, ProductName::Togo, path, &token).await?.into()))
}

/// Live status of the order.
///
/// Server-sent events named `order`, each the whole order as JSON. Reconnect with `Last-Event-ID`. The stream ends after
/// the last change; 204 then says that no more will come.
#[utoipa::path(get, path = "/togo/v1/stores/{store_id}/orders/{order_id}/events", tag = "togo",
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
    let order = orders::own(&app, ProductName::Togo, path, &token).await?;
    events::stream_of(&app, order, &headers).await
}

/// Takes the order back.
///
/// At once while nothing was sent; else the store's POS decides, and until then `change.state` is REQUESTED (202). With
/// `Prefer: wait=N` the answer waits up to N seconds for that. REFUSED: the order stays as it is, `change.cause` says why.
#[utoipa::path(post, path = "/togo/v1/stores/{store_id}/orders/{order_id}/cancel", tag = "togo",
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
    let order = orders::own(&app, ProductName::Togo, path, &token).await?;
    orders::cancel(&app, order, &headers).await
}
