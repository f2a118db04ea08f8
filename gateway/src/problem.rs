//! Errors as HTTP clients see them: RFC 9457 problems with the reasons of the gRPC contracts.

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use posmesh_kit::{Failure, call, failure};
use posmesh_proto::order::v1 as order;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use utoipa::ToSchema;

use crate::views::Quote;

/// The store takes no such orders now: no fault of the platform's.
const GATE_CLOSED: &str = "GATE_CLOSED";
/// How much earlier than ours a peer's clock may end a call.
const DEADLINE_SLACK: Duration = Duration::from_millis(50);

/// Something that went wrong, on its way to an HTTP client.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    reason: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    quote: Option<Box<Quote>>,
    more: Option<Box<More>>,
}

/// What a few problems tell besides.
#[derive(Debug)]
struct More {
    next_pickup_time: Option<String>,
    gate_reason: Option<String>,
    remaining: Option<i32>,
}

/// `application/problem+json` (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/problems/PRICE_CHANGED", "title": "Price changed", "status": 409, "reason": "PRICE_CHANGED",
    "detail": "the order costs 1100 JPY now, not 980"
}))]
pub(crate) struct ProblemBody<'a> {
    /// Names the kind of problem: `/problems/` and the reason.
    #[serde(rename = "type")]
    kind: String,
    /// The reason in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time, and what to do.
    detail: &'a str,
    /// Stable name of the problem, the same as over gRPC. Branch on it.
    reason: &'a str,
    /// What in the request is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// Seconds after which trying again makes sense; also in the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// With PRICE_CHANGED and ITEM_UNAVAILABLE: what the order would cost now.
    #[serde(skip_serializing_if = "Option::is_none")]
    quote: Option<&'a Quote>,
    /// With PICKUP_SLOT_FULL, PICKUP_TOO_EARLY and PICKUP_OUTSIDE_HOURS: the next one that is free (RFC 3339), if any is.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_pickup_time: Option<&'a str>,
    /// With GATE_CLOSED: why no orders are taken, as in the menu's `gate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate_reason: Option<&'a str>,
    /// With NOT_ENOUGH_LEFT: how many of the item are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<i32>,
}

/// One thing that is wrong in the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"in": "body", "field": "/lines/0/quantity", "detail": "must be 1 to 999"}))]
pub(crate) struct FieldError {
    /// Where it stands.
    #[serde(rename = "in")]
    pub(crate) place: Place,
    /// In the body a JSON pointer (RFC 6901), else the name of the header or parameter.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) detail: String,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    Body,
    Header,
    Path,
    Query,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(reason),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            quote: None,
            more: None,
        }
    }

    /// 400 about one part of the request.
    pub(crate) fn field(reason: &'static str, place: Place, field: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(StatusCode::BAD_REQUEST, reason, format!("{field}: {detail}")).error(place, field, detail)
    }

    pub(crate) fn error(mut self, place: Place, field: &str, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { place, field: field.to_owned(), detail: detail.into() });
        self
    }

    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retry_after = self.retry_after.map(whole_seconds);
        let body = ProblemBody {
            kind: format!("/problems/{}", self.reason),
            title: title(&self.reason),
            status: self.status.as_u16(),
            detail: &self.detail,
            reason: &self.reason,
            errors: &self.errors,
            retry_after,
            quote: self.quote.as_deref(),
            next_pickup_time: self.more.as_ref().and_then(|more| more.next_pickup_time.as_deref()),
            gate_reason: self.more.as_ref().and_then(|more| more.gate_reason.as_deref()),
            remaining: self.more.as_ref().and_then(|more| more.remaining),
        };
        // Plain structs of strings and numbers: serializing them cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Status::from(failure).into()
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason = Some(failure::reason(&status)).filter(|r| !r.is_empty());
        let code = code(&status);
        let http = http_status(code, reason.as_deref().unwrap_or_default());
        if http.is_server_error() && reason.as_deref() != Some(GATE_CLOSED) {
            tracing::warn!(%status, "a peer failed");
        }
        let violations = details.bad_request().map(|b| b.field_violations.as_slice()).unwrap_or_default();
        Self {
            status: http,
            detail: detail(code, &status, reason.is_some()),
            reason: reason.map_or(Cow::Borrowed(code_name(code)), Cow::Owned),
            errors: violations.iter().map(|v| field_error(&v.field, &v.description)).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            quote: failure::detail::<order::Quote>(&status).map(|quote| Box::new(quote.into())),
            more: Some(Box::new(More {
                next_pickup_time: failure::metadata(&status, "next_pickup_time"),
                gate_reason: failure::metadata(&status, "gate_reason"),
                remaining: failure::metadata(&status, "remaining").and_then(|left| left.parse().ok()),
            })),
        }
    }
}

/// A server of tonic answers CANCELLED when a call's own deadline passes; which end notices first is a race.
pub(crate) fn code(status: &Status) -> Code {
    match status.code() {
        Code::Cancelled if call::time_left().is_some_and(|left| left < DEADLINE_SLACK) => Code::DeadlineExceeded,
        code => code,
    }
}

/// The HTTP status of a gRPC error.
fn http_status(code: Code, reason: &str) -> StatusCode {
    match (code, reason) {
        // A check that is over is gone for good, whoever found out.
        (Code::FailedPrecondition, "CHECK_CLOSED") => StatusCode::GONE,
        // Not this client's doing.
        (Code::ResourceExhausted, failure::OVERLOADED | "STORE_BUSY") => StatusCode::SERVICE_UNAVAILABLE,
        (Code::InvalidArgument | Code::OutOfRange, _) => StatusCode::BAD_REQUEST,
        (Code::NotFound, _) => StatusCode::NOT_FOUND,
        (Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition, _) => StatusCode::CONFLICT,
        (Code::PermissionDenied, _) => StatusCode::FORBIDDEN,
        (Code::ResourceExhausted, _) => StatusCode::TOO_MANY_REQUESTS,
        (Code::Unimplemented, _) => StatusCode::NOT_IMPLEMENTED,
        (Code::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Code::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        // How a connection that broke shows itself.
        (Code::Unknown | Code::Cancelled, _) => StatusCode::BAD_GATEWAY,
        // UNAUTHENTICATED is about the gateway's own identity, never about its client's.
        (Code::Ok | Code::Internal | Code::DataLoss | Code::Unauthenticated, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A peer's words go on to the client where they are about the client's request; what broke inside stays inside.
fn detail(code: Code, status: &Status, has_reason: bool) -> String {
    match code {
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::FailedPrecondition
        | Code::ResourceExhausted
            if has_reason =>
        {
            status.message().to_owned()
        }
        Code::Unavailable if failure::reason(status) == GATE_CLOSED => status.message().to_owned(),
        Code::Unavailable => "a part of the platform cannot be reached; try again in a moment".to_owned(),
        Code::DeadlineExceeded => "the platform did not answer in time; try again".to_owned(),
        Code::Unimplemented => "the platform does not offer this".to_owned(),
        Code::PermissionDenied => "this is not allowed".to_owned(),
        Code::ResourceExhausted => "too many requests; try again in a moment".to_owned(),
        _ => "something went wrong on our side; try again, and name the X-Request-Id when you report it".to_owned(),
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument | Code::OutOfRange => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::Aborted => "ABORTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Unavailable | Code::Unknown | Code::Cancelled => "UNAVAILABLE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::Ok | Code::Internal | Code::DataLoss | Code::Unauthenticated => "INTERNAL",
    }
}

/// Where a field of a gRPC request stands in the HTTP request that it was made from.
fn field_error(grpc_path: &str, description: &str) -> FieldError {
    let (place, field) = match grpc_path {
        "request_id" => (Place::Header, "Idempotency-Key".to_owned()),
        "wait" => (Place::Header, "Prefer".to_owned()),
        "store_id" | "order_id" => (Place::Path, grpc_path.to_owned()),
        "locale" | "limit" | "page_size" | "page_token" => (Place::Query, grpc_path.to_owned()),
        "table_id" => (Place::Body, "/table_code".to_owned()),
        "how" => (Place::Body, String::new()),
        "expected_total.currency_code" => (Place::Body, "/expected_total/currency".to_owned()),
        path => (Place::Body, json_pointer(path)),
    };
    FieldError { place, field, detail: description.to_owned() }
}

/// `lines[2].quantity` becomes `/lines/2/quantity`.
fn json_pointer(path: &str) -> String {
    let mut pointer = String::with_capacity(path.len() + 1);
    // The parts of a split stand in the body without a message of their own.
    let path = path.replace("by_item.parts", "by_item");
    for segment in path.split(['.', '[']).map(|s| s.trim_end_matches(']')).filter(|s| !s.is_empty()) {
        pointer.push('/');
        pointer.push_str(if segment == "currency_code" { "currency" } else { segment });
    }
    pointer
}

/// `PRICE_CHANGED` becomes `Price changed`.
pub(crate) fn title(reason: &str) -> String {
    let mut title = reason.replace('_', " ").to_lowercase();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_contract_is_named_by_its_place_in_the_http_request() {
        let cases = [
            ("lines[2].quantity", Place::Body, "/lines/2/quantity"),
            ("lines[0].modifiers[1].group_id", Place::Body, "/lines/0/modifiers/1/group_id"),
            ("guest_contact.phone", Place::Body, "/guest_contact/phone"),
            ("tenders[0].amount.currency_code", Place::Body, "/tenders/0/amount/currency"),
            ("expected_total.currency_code", Place::Body, "/expected_total/currency"),
            ("table_id", Place::Body, "/table_code"),
            ("request_id", Place::Header, "Idempotency-Key"),
            ("store_id", Place::Path, "store_id"),
            ("", Place::Body, ""),
        ];
        for (path, place, field) in cases {
            let error = field_error(path, "wrong");
            assert_eq!((error.place, error.field.as_str()), (place, field), "{path}");
        }
    }

    #[test]
    fn what_broke_inside_stays_inside() {
        for code in (1..=16).map(Code::from_i32) {
            let told = Problem::from(Status::new(code, "connect to 10.1.2.3:5432 failed"));
            assert!(!told.detail.contains("10.1.2.3"), "{code:?}: {}", told.detail);
        }
        let reasoned = Failure::new(Code::Unavailable, "NOT_HANDED_OVER", "order at 10.1.2.3 refused");
        let told = Problem::from(reasoned);
        assert_eq!(told.reason, "NOT_HANDED_OVER");
        assert!(!told.detail.contains("10.1.2.3"));
    }

    #[test]
    fn a_retry_delay_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn a_reason_becomes_a_readable_title() {
        assert_eq!(title("PRICE_CHANGED"), "Price changed");
        assert_eq!(title(""), "");
    }
}
