//! Table: a guest scans the QR at the seat and orders in rounds on one open check.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{
        Check, CheckState, GetCheckRequest, ListOrdersRequest, OpenCheckRequest, Order as ContractOrder,
        PlaceOrderRequest, RequestBillRequest, SplitCheckRequest,
    },
};
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::IntoParams;

use crate::{
    app::{self, App},
    events,
    extract::{self, Guest, IdempotencyKey, Path, Query, Seat},
    inputs::{self, OpenCheckInput, QuoteInput, RoundInput, SplitInput, Text},
    openapi::{CancelProblems, GuestProblems, OpenCheckProblems, PlaceProblems, SplitProblems},
    orders,
    problem::{Place, Problem},
    table_code::CodeError,
    token::GuestClaims,
    views::{CheckAndBill, HeldCheck, OpenedCheck, Order, Placed, ProductName, Quote, Rounds, SplitCheck, given},
};

/// How many checks a check may have been joined into, one after the other.
const MAX_MERGES: usize = 8;

/// Opens the check of a table, or joins the one that is open there.
#[utoipa::path(post, path = "/table/v1/stores/{store_id}/checks", tag = "table",
    params(("store_id" = String, Path)), request_body = OpenCheckInput,
    responses((status = OK, body = OpenedCheck), OpenCheckProblems))]
pub(crate) async fn open_check(
    State(app): State<Arc<App>>,
    Path(store_id): Path<String>,
    extract::Json(input): extract::Json<OpenCheckInput>,
) -> Result<Json<OpenedCheck>, Problem> {
    let table_id =
        app.table_codes.table_id(&store_id, input.table_code.as_str(), app::now_unix_s()).map_err(refused_code)?;
    let request = OpenCheckRequest { store_id: store_id.clone(), table_id, party_size: input.party_size };
    let answer = app.orders.clone().open_check(request).await?.into_inner();
    let check = answer.check.unwrap_or_default();
    let HeldCheck { check, guest_token } = held(&app, &store_id, check);
    Ok(Json(OpenedCheck { check, guest_token, joined: answer.joined }))
}

fn refused_code(error: CodeError) -> Problem {
    let (reason, detail) = match error {
        CodeError::Invalid => ("TABLE_CODE_INVALID", "is not a code of this store; scan the QR at the table"),
        CodeError::Expired => ("TABLE_CODE_EXPIRED", "is too old; scan the QR at the table again"),
    };
    Problem::new(StatusCode::FORBIDDEN, reason, format!("the table code {detail}")).error(
        Place::Body,
        "/table_code",
        detail,
    )
}

/// What to tell with a check.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CheckQuery {
    /// Also what stands on it at the POS, whoever entered it.
    #[serde(default)]
    #[param(required = false)]
    include_bill: bool,
}

/// The guest's check.
///
/// The staff may have moved its guests to another table, or joined it into another check: then `continued_by` is the one
/// to show, and brings the token for it.
#[utoipa::path(get, path = "/table/v1/check", tag = "table", params(CheckQuery), security(("guest_token" = [])),
    responses((status = OK, body = CheckAndBill), GuestProblems))]
pub(crate) async fn get_check(
    State(app): State<Arc<App>>,
    guest: Guest,
    Query(query): Query<CheckQuery>,
) -> Result<Json<CheckAndBill>, Problem> {
    if guest.check.state() == CheckState::Merged {
        let continued_by = Some(continued_by(&app, &guest).await?);
        return Ok(Json(CheckAndBill { check: guest.check.into(), continued_by, bill: None }));
    }
    if !query.include_bill {
        return Ok(Json(CheckAndBill { check: guest.check.into(), continued_by: None, bill: None }));
    }
    let request = GetCheckRequest { check_id: guest.check.check_id, include_bill: true };
    let answer = app.orders.clone().get_check(request).await?.into_inner();
    let check = answer.check.unwrap_or_default().into();
    Ok(Json(CheckAndBill { check, continued_by: None, bill: answer.bill.map(Into::into) }))
}

/// The check that takes the place of one that the staff joined into another, and that perhaps into a third.
async fn continued_by(app: &App, guest: &Guest) -> Result<HeldCheck, Problem> {
    let mut check = guest.check.clone();
    for _ in 0..MAX_MERGES {
        if check.state() != CheckState::Merged {
            break;
        }
        let request = GetCheckRequest { check_id: check.merged_into, include_bill: false };
        check = app.orders.clone().get_check(request).await?.into_inner().check.unwrap_or_default();
    }
    if !matches!(check.state(), CheckState::Open | CheckState::BillRequested) {
        return Err(extract::check_closed());
    }
    Ok(held(app, &guest.store_id, check))
}

fn held(app: &App, store_id: &str, check: Check) -> HeldCheck {
    let claims = GuestClaims { store_id: store_id.to_owned(), check_id: check.check_id.clone() };
    let guest_token = app.signer.seal(claims, app::expiry_unix_s(app.guest_token_ttl));
    HeldCheck { check: check.into(), guest_token }
}

/// What a round would cost now.
#[utoipa::path(post, path = "/table/v1/check/quote", tag = "table", security(("guest_token" = [])),
    params(("Accept-Language" = Option<String>, Header, description = "A refusal names items in this language")),
    request_body = QuoteInput, responses((status = OK, body = Quote), GuestProblems))]
pub(crate) async fn quote(
    State(app): State<Arc<App>>,
    guest: Guest,
    headers: HeaderMap,
    extract::Json(input): extract::Json<QuoteInput>,
) -> Result<Json<Quote>, Problem> {
    let lines = inputs::lines(input.lines, input.service_mode);
    Ok(Json(orders::quote(&app, ProductName::Table, guest.store_id, lines, None, &headers).await?))
}

/// Orders a round.
///
/// Safe when answered. `order.guest_message` tells the guest how far it came; with `Prefer: wait=N` the answer waits up to N
/// seconds for the POS. Repeated, it gives the round that was taken, even after the check was closed.
#[utoipa::path(post, path = "/table/v1/check/rounds", tag = "table", security(("guest_token" = [])),
    params(
        ("Idempotency-Key" = String, Header, description = "A new UUID per round, the same one when repeating it",
            min_length = 16, max_length = 255, pattern = "^[!-~]+$"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds (30) for the POS"),
        ("Accept-Language" = Option<String>, Header, description = "A refusal names items in this language"),
    ),
    request_body = RoundInput,
    responses((status = CREATED, body = Placed, headers(("Location" = String, description = "The round"))),
        GuestProblems, PlaceProblems))]
pub(crate) async fn place_round(
    State(app): State<Arc<App>>,
    Seat(GuestClaims { store_id, check_id }): Seat,
    key: IdempotencyKey,
    headers: HeaderMap,
    extract::Json(input): extract::Json<RoundInput>,
) -> Result<Response, Problem> {
    let request = PlaceOrderRequest {
        request_id: key.request_id(&format!("table:{check_id}")),
        store_id,
        product: Product::Table.into(),
        check_id,
        lines: inputs::lines(input.lines, input.service_mode),
        expected_total: Some(input.expected_total.into()),
        note: input.note.into_inner(),
        ..Default::default()
    };
    let order = orders::place(&app, request, &headers).await?;
    let location = format!("/table/v1/check/rounds/{}", order.order_id);
    Ok(orders::created(Placed { order: order.into(), order_token: None }, &location, &headers))
}

/// Which rounds are asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RoundsQuery {
    /// At most 500; absent or 0: 50.
    #[serde(default, deserialize_with = "page_size")]
    #[param(required = false, minimum = 0, maximum = 500)]
    page_size: i32,
    /// From the answer before.
    #[serde(default)]
    #[param(value_type = String, required = false)]
    page_token: Text,
}

/// ListOrders' limit.
const MAX_PAGE_SIZE: i32 = 500;

fn page_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let size = i32::deserialize(deserializer)?;
    if !(0..=MAX_PAGE_SIZE).contains(&size) {
        return Err(D::Error::custom(format!("is {size}; must be 0 to {MAX_PAGE_SIZE}")));
    }
    Ok(size)
}

/// The rounds of the guest's check, newest first.
#[utoipa::path(get, path = "/table/v1/check/rounds", tag = "table", params(RoundsQuery),
    security(("guest_token" = [])), responses((status = OK, body = Rounds), GuestProblems))]
pub(crate) async fn list_rounds(
    State(app): State<Arc<App>>,
    guest: Guest,
    Query(query): Query<RoundsQuery>,
) -> Result<Json<Rounds>, Problem> {
    let request = ListOrdersRequest {
        store_id: guest.store_id,
        check_id: guest.check.check_id,
        page_size: query.page_size,
        page_token: query.page_token.into_inner(),
        ..Default::default()
    };
    let answer = app.orders.clone().list_orders(request).await?.into_inner();
    let rounds = answer.orders.into_iter().map(Into::into).collect();
    Ok(Json(Rounds { rounds, next_page_token: given(answer.next_page_token) }))
}

/// One round of the guest's check.
#[utoipa::path(get, path = "/table/v1/check/rounds/{order_id}", tag = "table", params(("order_id" = String, Path)),
    security(("guest_token" = [])), responses((status = OK, body = Order), GuestProblems))]
pub(crate) async fn get_round(
    State(app): State<Arc<App>>,
    guest: Guest,
    Path(order_id): Path<String>,
) -> Result<Json<Order>, Problem> {
    Ok(Json(own_round(&app, &guest, order_id).await?.into()))
}

/// Live status of a round.
///
/// Server-sent events named `order`, each the whole round as JSON. Reconnect with `Last-Event-ID`. The stream ends after
/// the last change; 204 then says that no more will come.
#[utoipa::path(get, path = "/table/v1/check/rounds/{order_id}/events", tag = "table",
    params(("order_id" = String, Path), ("Last-Event-ID" = Option<String>, Header, description = "Only newer changes")),
    security(("guest_token" = [])),
    responses((status = OK, body = String, content_type = "text/event-stream",
            example = "event: order\nid: 3\ndata: {\"order_id\":\"…\",\"state\":\"PLACED\"}\n\n"),
        (status = NO_CONTENT, description = "The round has ended and you have its last change"), GuestProblems))]
pub(crate) async fn round_events(
    State(app): State<Arc<App>>,
    guest: Guest,
    Path(order_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order = own_round(&app, &guest, order_id).await?;
    events::stream_of(&app, order, &headers).await
}

/// Takes a round back.
///
/// At once while nothing was sent; else the store's POS decides, and until then `change.state` is REQUESTED (202). With
/// `Prefer: wait=N` the answer waits up to N seconds for that. REFUSED: the round stays as it is, `change.cause` says why.
#[utoipa::path(post, path = "/table/v1/check/rounds/{order_id}/cancel", tag = "table",
    params(("order_id" = String, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds (30) for the POS")),
    security(("guest_token" = [])),
    responses((status = OK, body = Order, description = "Decided: see `state` and `change`"),
        (status = ACCEPTED, body = Order, description = "Not decided yet: watch the round"),
        GuestProblems, CancelProblems))]
pub(crate) async fn cancel_round(
    State(app): State<Arc<App>>,
    guest: Guest,
    Path(order_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let order = own_round(&app, &guest, order_id).await?;
    orders::cancel(&app, order, &headers).await
}

/// Tells the staff that the guests want to pay.
#[utoipa::path(post, path = "/table/v1/check/bill", tag = "table", security(("guest_token" = [])),
    responses((status = OK, body = CheckAndBill), GuestProblems))]
pub(crate) async fn request_bill(State(app): State<Arc<App>>, guest: Guest) -> Result<Json<CheckAndBill>, Problem> {
    let request = RequestBillRequest { check_id: guest.check.check_id };
    let answer = app.orders.clone().request_bill(request).await?.into_inner();
    let check = answer.check.unwrap_or_default().into();
    Ok(Json(CheckAndBill { check, continued_by: None, bill: answer.bill.map(Into::into) }))
}

/// Splits the check at the POS, where the POS can.
///
/// Evenly (`parts`), or by the lines of the bill (`by_item`): each part but what remains becomes a check of its own, with a
/// token of its own. Repeated with the same key, it splits nothing more.
#[utoipa::path(post, path = "/table/v1/check/split", tag = "table", security(("guest_token" = [])),
    params(("Idempotency-Key" = String, Header, description = "A new UUID per split, the same one when repeating it",
        min_length = 16, max_length = 255, pattern = "^[!-~]+$")),
    request_body = SplitInput,
    responses((status = OK, body = SplitCheck), GuestProblems, SplitProblems))]
pub(crate) async fn split_check(
    State(app): State<Arc<App>>,
    Seat(GuestClaims { store_id, check_id }): Seat,
    key: IdempotencyKey,
    extract::Json(input): extract::Json<SplitInput>,
) -> Result<Json<SplitCheck>, Problem> {
    let request_id = key.request_id(&format!("split:{check_id}"));
    let request = SplitCheckRequest { request_id, check_id, how: input.how() };
    let answer = app.orders.clone().split_check(request).await?.into_inner();
    let checks = answer.checks.into_iter().map(|check| held(&app, &store_id, check)).collect();
    Ok(Json(SplitCheck { checks, bills: answer.bills.into_iter().map(Into::into).collect() }))
}

/// A round, if it is one of the guest's check.
async fn own_round(app: &App, guest: &Guest, order_id: String) -> Result<ContractOrder, Problem> {
    let order = orders::read(app, order_id).await?;
    if order.check_id != guest.check.check_id {
        return Err(orders::no_such_order(&order.order_id));
    }
    Ok(order)
}
