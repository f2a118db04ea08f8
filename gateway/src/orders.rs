//! Placing, reading and cancelling: what the products have in common.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use posmesh_kit::{failure, time};
use posmesh_proto::order::v1::{
    CancelOrderRequest, GetOrderRequest, Order, OrderChangeState, OrderLineInput, PlaceOrderRequest, QuoteOrderRequest,
    get_order_request::Key,
};
use tonic::{Code, Status};

use crate::{
    app::{self, App},
    extract::{self, Bearer},
    inputs::Time,
    problem::{self, Problem},
    token::OrderClaims,
    views::{Placed, ProductName, Quote},
};

/// What the lines would cost now.
pub(crate) async fn quote(
    app: &App,
    product: ProductName,
    store_id: String,
    lines: Vec<OrderLineInput>,
    pickup_time: Option<Time>,
    headers: &HeaderMap,
) -> Result<Quote, Problem> {
    let product = posmesh_proto::common::v1::Product::from(product).into();
    let (pickup_time, locale) = (pickup_time.map(Into::into), extract::language(headers));
    let request = QuoteOrderRequest { store_id, product, lines, pickup_time, locale };
    Ok(app.orders.clone().quote_order(request).await?.into_inner().quote.unwrap_or_default().into())
}

/// Places an order, waiting as long as the `Prefer` header asks; a refusal speaks the guest's language.
pub(crate) async fn place(app: &App, mut request: PlaceOrderRequest, headers: &HeaderMap) -> Result<Order, Problem> {
    request.wait = extract::preferred_wait(headers).map(time::to_proto_duration);
    request.locale = extract::language(headers);
    let answer = app.orders.clone().place_order(request).await.map_err(place_failure)?;
    answer.into_inner().order.ok_or_else(|| outcome_unknown(StatusCode::BAD_GATEWAY))
}

/// An error that does not prove the order untaken says so: only a repetition with the same key is safe.
fn place_failure(status: Status) -> Problem {
    let spoken = !failure::reason(&status).is_empty();
    match problem::code(&status) {
        Code::DeadlineExceeded => outcome_unknown(StatusCode::GATEWAY_TIMEOUT),
        Code::Internal | Code::DataLoss | Code::Unknown | Code::Cancelled => {
            tracing::warn!(%status, "placing an order ended without a certain outcome");
            outcome_unknown(StatusCode::BAD_GATEWAY)
        }
        Code::Unavailable if !spoken || failure::reason(&status) == OUTCOME_UNKNOWN => {
            outcome_unknown(StatusCode::SERVICE_UNAVAILABLE)
        }
        _ => status.into(),
    }
}

const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

fn outcome_unknown(status: StatusCode) -> Problem {
    Problem::new(
        status,
        OUTCOME_UNKNOWN,
        "the order may have been taken; repeat the same request with the same Idempotency-Key to find out",
    )
    .retry_after(Duration::from_secs(1))
}

/// 201 with the place at which the order lives.
pub(crate) fn created(placed: Placed, location: &str, headers: &HeaderMap) -> Response {
    let mut response = (StatusCode::CREATED, axum::Json(placed)).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    preference_applied(&mut response, headers);
    response
}

fn preference_applied(response: &mut Response, headers: &HeaderMap) {
    let applied = extract::preferred_wait(headers).map(|wait| format!("wait={}", wait.as_secs()));
    if let Some(Ok(applied)) = applied.map(HeaderValue::try_from) {
        response.headers_mut().insert("preference-applied", applied);
    }
}

/// 201 for an order whose guest has nothing but its token.
pub(crate) fn created_with_token(app: &App, product: ProductName, order: Order, headers: &HeaderMap) -> Response {
    let location = format!("/{}/v1/stores/{}/orders/{}", product.as_str(), order.store_id, order.order_id);
    let claims = OrderClaims { product, store_id: order.store_id.clone(), order_id: order.order_id.clone() };
    let token = app.signer.seal(claims, app::expiry_unix_s(app.order_token_ttl));
    created(Placed { order: order.into(), order_token: Some(token) }, &location, headers)
}

/// The order at a path, for the holder of its token.
pub(crate) async fn own(
    app: &App,
    product: ProductName,
    (store_id, order_id): (String, String),
    token: &Bearer,
) -> Result<Order, Problem> {
    let asked = OrderClaims { product, store_id, order_id };
    if token.open::<OrderClaims>(app)? != asked {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_INVALID", "this token is for another order"));
    }
    read(app, asked.order_id).await
}

/// The order as it is now.
pub(crate) async fn read(app: &App, order_id: String) -> Result<Order, Problem> {
    let request = GetOrderRequest { key: Some(Key::OrderId(order_id.clone())) };
    let order = app.orders.clone().get_order(request).await?.into_inner().order;
    order.ok_or_else(|| no_such_order(&order_id))
}

/// Takes an order back, waiting as long as the `Prefer` header asks: 200 once that is decided, 202 while it is not.
pub(crate) async fn cancel(app: &App, order: Order, headers: &HeaderMap) -> Result<Response, Problem> {
    let request = CancelOrderRequest {
        key: Some(posmesh_proto::order::v1::cancel_order_request::Key::OrderId(order.order_id.clone())),
        store_id: order.store_id,
        product: order.product,
        reason: String::new(),
        wait: extract::preferred_wait(headers).map(time::to_proto_duration),
    };
    let answer = app.orders.clone().cancel_order(request).await?.into_inner().order;
    let order = answer.ok_or_else(|| no_such_order(&order.order_id))?;
    let is_undecided = order.changes.iter().any(|change| change.state() == OrderChangeState::Requested);
    let status = if is_undecided { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = (status, axum::Json(crate::views::Order::from(order))).into_response();
    preference_applied(&mut response, headers);
    Ok(response)
}

/// 404; the same whether it does not exist or is somebody else's.
pub(crate) fn no_such_order(order_id: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "ORDER_NOT_FOUND", format!("there is no order {order_id:?} here"))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use posmesh_kit::Failure;

    use super::*;

    fn told(status: Status) -> (u16, bool) {
        let response = place_failure(status).into_response();
        (response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER))
    }

    #[test]
    fn an_error_without_proof_is_told_as_an_unknown_outcome_to_be_repeated() {
        for (code, http) in [
            (Code::Unknown, 502),
            (Code::Cancelled, 502),
            (Code::Internal, 502),
            (Code::DeadlineExceeded, 504),
            (Code::Unavailable, 503),
        ] {
            assert_eq!(told(Status::new(code, "connection reset")), (http, true), "{code:?}");
        }
    }

    #[test]
    fn a_refusal_and_a_proof_that_nothing_was_sent_keep_their_own_reason() {
        for failure in [
            Failure::not_handed_over("NETWORK_DOWN", "refused"),
            Failure::new(Code::FailedPrecondition, "PRICE_CHANGED", "it costs more now"),
        ] {
            let reason = failure.reason().to_owned();
            let problem = format!("{:?}", place_failure(failure.into()));
            assert!(problem.contains(&reason) && !problem.contains(OUTCOME_UNKNOWN), "{problem}");
        }
    }
}
