//! Orders and the menu.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;

use super::inject::IgnoreNotAfter;
use super::{Answer, Asked, Received, asked, page, parse};
use crate::api::{
    AvailabilityAnswer, CancelOrder, EventList, Menu, OrderAnswer, OrderList, Refusal, SetAvailability, SubmitOrder,
    VoidLines, cause,
};
use crate::app::App;
use crate::clock::business_date;
use crate::rules::{self, By};

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
    let (number, duplicate) = app.writer.write(received, decide).await?;
    answer(&app, number, duplicate).await
}

pub(super) async fn cancel(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    ignore_not_after: Option<Extension<IgnoreNotAfter>>,
    Path(reference): Path<String>,
    body: Bytes,
) -> Answer<OrderAnswer> {
    let mut request: CancelOrder = parse(&body)?;
    if ignore_not_after.is_some() {
        request.not_after = None;
    }
    let decide = move |state: &_, now| rules::cancel(state, &reference, &request, &By::Api, now);
    let (number, duplicate) = app.writer.write(received, decide).await?;
    answer(&app, number, duplicate).await
}

pub(super) async fn void(
    State(app): State<App>,
    Extension(Received(received)): Extension<Received>,
    ignore_not_after: Option<Extension<IgnoreNotAfter>>,
    Path(reference): Path<String>,
    body: Bytes,
) -> Answer<OrderAnswer> {
    let mut request: VoidLines = parse(&body)?;
    if ignore_not_after.is_some() {
        request.not_after = None;
    }
    let decide = move |state: &_, now| rules::void(state, &reference, &request, &By::Api, now);
    let (number, duplicate) = app.writer.write(received, decide).await?;
    answer(&app, number, duplicate).await
}

/// The order as it is now. One that was recorded is not forgotten before it is answered.
async fn answer(app: &App, number: u32, duplicate: bool) -> Answer<OrderAnswer> {
    let state = app.state.read().await;
    let gone = || Refusal::new(404, cause::ORDER_NOT_FOUND, format!("order {number} is forgotten"));
    Ok(Json(state.answer(state.order(number).ok_or_else(gone)?, duplicate)))
}

pub(super) async fn find(State(app): State<App>, Path(reference): Path<String>) -> Answer<OrderAnswer> {
    let state = app.state.read().await;
    let order = state.orders(&reference).next_back().ok_or_else(|| rules::unknown_order(&state, &reference))?;
    Ok(Json(state.answer(order, true)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOrders {
    since: Option<i64>,
    before: Option<i64>,
    business_date: Option<String>,
    after: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn list(State(app): State<App>, query: Asked<ListOrders>) -> Answer<OrderList> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let (since, before) = (query.since.unwrap_or(i64::MIN), query.before.unwrap_or(i64::MAX));
    let orders = state.orders_after(query.after.unwrap_or(0)).filter(|record| {
        let at = record.order.recorded_at;
        let day_fits = query.business_date.as_ref().is_none_or(|date| business_date(at) == *date);
        (since..before).contains(&at) && day_fits
    });
    let (orders, more) = page(orders.map(|record| state.answer(record, true)), query.limit);
    Ok(Json(OrderList { orders, more, complete_since: state.complete_since }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    after: Option<u64>,
    limit: Option<usize>,
}

/// Without `after` it tells where to begin.
pub(super) async fn events(State(app): State<App>, query: Asked<Events>) -> Answer<EventList> {
    let query = asked(query)?;
    let state = app.state.read().await;
    let Some(after) = query.after else {
        return Ok(Json(EventList { events: Vec::new(), cursor: state.last_event(), more: false }));
    };
    let kept = state.events_after(after).ok_or_else(|| cursor_too_old(after))?;
    let (events, more) = page(kept.cloned(), query.limit);
    Ok(Json(EventList { cursor: events.last().map_or(after, |event| event.number), events, more }))
}

pub(super) fn cursor_too_old(after: u64) -> Refusal {
    let message = format!("what came after {after} is not kept, or was never there: begin anew");
    Refusal::new(410, cause::CURSOR_TOO_OLD, message)
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
    let set: SetAvailability = parse(&body)?;
    let id = item_id.clone();
    let set = app.writer.write(received, move |state, _| rules::set_availability(state, &id, &set));
    let (available, remaining) = set.await?;
    let revision = app.state.read().await.menu.revision;
    Ok(Json(AvailabilityAnswer { item_id, available, remaining, revision }))
}
