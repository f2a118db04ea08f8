//! Orders and the menu.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;

use super::inject::IgnoreNotAfter;
use super::{Answer, Asked, Received, asked, page, parse};
use crate::api::{AvailabilityAnswer, Menu, OrderAnswer, OrderList, Refusal, SetAvailability, SubmitOrder, cause};
use crate::app::App;
use crate::rules;

pub(super) async fn submit(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    ignore_not_after: Option<Extension<IgnoreNotAfter>>,
    body: Bytes,
) -> Answer<OrderAnswer> {
    let mut request: SubmitOrder = parse(&body)?;
    if ignore_not_after.is_some() {
        request.not_after = None;
    }
    let decide = move |state: &_, now| rules::submit(state, request, now);
    let (order, duplicate) = app.writer.write(received, decide).await?;
    Ok(Json(app.state.read().await.answer(&order, duplicate)))
}

pub(super) async fn find(State(app): State<App>, Path(reference): Path<String>) -> Answer<OrderAnswer> {
    let state = app.state.read().await;
    let unknown = || Refusal::new(404, cause::ORDER_NOT_FOUND, format!("no order {reference:?} was ever recorded"));
    let order = state.order(&reference).ok_or_else(unknown)?;
    Ok(Json(state.answer(order, true)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOrders {
    since: Option<i64>,
    after: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn list(State(app): State<App>, query: Asked<ListOrders>) -> Answer<OrderList> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let orders = state.orders_after(query.after.unwrap_or(0), query.since.unwrap_or(i64::MIN));
    let (orders, more) = page(orders.map(|order| state.answer(order, true)), query.limit);
    Ok(Json(OrderList { orders, more }))
}

pub(super) async fn menu(State(app): State<App>) -> Json<Menu> {
    Json(app.state.read().await.menu.clone())
}

pub(super) async fn set_availability(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    Path(item_id): Path<String>,
    body: Bytes,
) -> Answer<AvailabilityAnswer> {
    let SetAvailability { available } = parse(&body)?;
    let id = item_id.clone();
    app.writer.write(received, move |state, _| rules::set_availability(state, &id, available)).await?;
    let revision = app.state.read().await.menu.revision;
    Ok(Json(AvailabilityAnswer { item_id, available, revision }))
}
