//! What surrounds every request: trace, request id, deadline, load shed, panic to 500, CORS.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use opentelemetry::{KeyValue, global, metrics::Histogram};
use posmesh_kit::{
    call::{self, Identity, Scope},
    telemetry,
};
use tokio::time::Instant;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::{Instrument as _, field::Empty};
use uuid::Uuid;

use crate::{app::App, extract, problem::Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_CHARS: usize = 128;
const SHED_RETRY_AFTER: Duration = Duration::from_secs(1);
/// For answering after a peer's deadline has passed.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// Opens a span that continues the caller's trace, gives the request an id, and measures.
pub(crate) async fn observe(State(durations): State<Histogram<f64>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().as_str().to_owned();
    // The template, not the path: few values, and no ids in metrics.
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "request",
        otel.name = %format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = %route,
        url.path = %request.uri().path(),
        request.id = %id.to_str().unwrap_or_default(),
        http.response.status_code = Empty,
    );
    telemetry::adopt_context(&span, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    durations.record(
        begun.elapsed().as_secs_f64(),
        &[
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ],
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // Answers hold tokens and what one guest ordered; only what says otherwise itself may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The metric behind [`observe`].
pub(crate) fn durations() -> Histogram<f64> {
    global::meter("posmesh")
        .f64_histogram("http.server.request.duration")
        .with_unit("s")
        .with_description("Time from a request's arrival to the head of its answer")
        .build()
}

/// The caller's own id if it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        // A UUID is a valid header value.
        HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
    })
}

/// Admits as many requests as may run at once and ends each one that takes too long. Calls to peers inherit the
/// deadline.
pub(crate) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = app.requests.try_acquire() else {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "OVERLOADED",
            "too many requests at once; try again in a moment",
        )
        .retry_after(SHED_RETRY_AFTER)
        .into_response();
    };
    let timeout = app.request_timeout + extract::preferred_wait(request.headers()).unwrap_or_default();
    let deadline = Instant::now() + timeout;
    let scope = Scope { identity: Identity::default(), deadline: Some(deadline) };
    match tokio::time::timeout_at(deadline + ANSWER_MARGIN, call::in_scope(scope, next.run(request))).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "DEADLINE_EXCEEDED",
            "the request was not complete or not answered in time; repeat it, with the same Idempotency-Key if it had one",
        )
        .into_response(),
    }
}

/// 500 for a fault of ours.
pub(crate) fn on_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let what = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = %what, "a request ended in a fault of this server");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "INTERNAL",
        "something went wrong on our side; name the X-Request-Id when you report it",
    )
    .into_response()
}

/// Lets the pages of `origins` call the gateway.
pub(crate) fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    let allowed = if origins == ["*"] { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static("preference-applied"),
            REQUEST_ID,
        ])
        .max_age(PREFLIGHT_MAX_AGE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sane_request_id_is_kept_and_another_is_replaced() {
        let given = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, value.parse().unwrap());
            request_id(&headers)
        };
        assert_eq!(given("web-7f3a"), "web-7f3a");
        for bad in ["", "has space", &"x".repeat(129)] {
            assert!(Uuid::try_parse(given(bad).to_str().unwrap()).is_ok(), "{bad:?}");
        }
    }

    #[test]
    fn a_panic_is_a_problem_that_does_not_tell_what_panicked() {
        let response = on_panic(Box::new("index 7 out of bounds in secret.rs"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
