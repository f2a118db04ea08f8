//! The OpenAPI 3.1 document, made from the handlers' own annotations.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::json;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, Response, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::problem::{FieldError, Place, ProblemBody};

/// The parts of the document that no handler knows.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "posmesh gateway",
        description = "Orders from Table, ToGo and Kiosk into the POS of every store.\n\n\
            An order is safe when it is answered, and told as placed only when the POS has it. Every error is a problem \
            (RFC 9457) whose `reason` is the same as over gRPC. Amounts are in minor units, times are RFC 3339."
    ),
    tags(
        (name = "store", description = "Bootstrap and menu, for every product"),
        (name = "table", description = "QR code at the seat; rounds on one open check"),
        (name = "togo", description = "Order ahead for a pickup time"),
        (name = "kiosk", description = "Self-service terminal in the store"),
        (name = "ops", description = "For the store's own tools"),
        (name = "health", description = "For whoever runs the gateway"),
    ),
    components(schemas(ProblemBody, FieldError, Place)),
    modifiers(&Tokens)
)]
pub(crate) struct Document;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, description) in [
            ("guest_token", "From opening or joining a check. Dies with the check."),
            ("order_token", "From placing a ToGo or Kiosk order. Opens that order alone."),
            ("ops_token", "From the gateway's configuration."),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// What goes for every operation: an id that no other has, a description of each answer, and the problems that any
/// request can meet (404, 405, 413, 415, 500, 502, 503, 504).
pub(crate) struct Operations;

impl Modify for Operations {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                finish(operation);
            }
        }
    }
}

fn finish(operation: &mut Operation) {
    if let (Some(tag), Some(id)) = (operation.tags.iter().flatten().next(), &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            // Required by the standard; what the body is tells its schema.
            let status = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
            response.description = status.unwrap_or("An answer").to_owned();
        }
    }
    let response = problem_response("Any other problem", None);
    operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(response));
}

fn problem_response(description: &str, reason: Option<(u16, &str)>) -> Response {
    let example = reason.map(|(status, reason)| {
        let title = crate::problem::title(reason);
        json!({"type": format!("/problems/{reason}"), "title": title, "status": status, "reason": reason,
            "detail": "what happened, and what to do"})
    });
    let content = Content::builder().schema(Some(Ref::from_schema_name("Problem"))).example(example).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// Declares the problems of a kind of route: status => its reasons.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal => $($reason:literal),+;)+ })+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(($status, [$($reason),+].as_slice())),+].into_iter().map(described).collect()
            }
        }
    )+};
}

fn described((status, reasons): (u16, &[&str])) -> (String, RefOr<Response>) {
    let example = reasons.first().map(|reason| (status, *reason));
    (status.to_string(), RefOr::T(problem_response(&reasons.join(", "), example)))
}

problems! {
    /// Of every route below a store.
    StoreProblems {
        400 => "INVALID_PARAMETER", "INVALID_BODY", "MALFORMED_JSON", "and the reasons of the order service";
        404 => "STORE_NOT_FOUND";
        409 => "PRODUCT_NOT_SOLD", "CATALOG_NOT_SYNCED", "ITEM_UNAVAILABLE", "NOT_ENOUGH_LEFT", "ITEM_NOT_SOLD_NOW";
    }
    OpenCheckProblems {
        400 => "INVALID_BODY", "MALFORMED_JSON";
        403 => "TABLE_CODE_INVALID", "TABLE_CODE_EXPIRED";
        404 => "STORE_NOT_FOUND", "TABLE_NOT_FOUND";
        409 => "SEVERAL_CHECKS_OPEN", "CHECK_NOT_OPENED_AT_POS", "TABLE_NOT_FREE";
        503 => "POS_UNREACHABLE", "CLOCK_NOT_STEADY";
    }
    /// Of every route that needs a guest token.
    GuestProblems {
        400 => "INVALID_PARAMETER", "INVALID_BODY", "MALFORMED_JSON";
        401 => "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REQUIRED";
        404 => "ORDER_NOT_FOUND", "CHECK_NOT_FOUND";
        409 => "NOTHING_ORDERED", "BILL_NOT_SUPPORTED", "ITEM_UNAVAILABLE", "NOT_ENOUGH_LEFT", "ITEM_NOT_SOLD_NOW", "CHECK_MERGED";
        410 => "CHECK_CLOSED";
    }
    /// Of placing.
    PlaceProblems {
        400 => "IDEMPOTENCY_KEY_REQUIRED", "INVALID_IDEMPOTENCY_KEY", "INVALID_BODY", "MALFORMED_JSON";
        409 => "PRICE_CHANGED", "ITEM_UNAVAILABLE", "NOT_ENOUGH_LEFT", "ITEM_NOT_SOLD_NOW", "REQUEST_ID_REUSED", "PRODUCT_NOT_SOLD", "STORE_NOT_LIVE",
            "CATALOG_NOT_SYNCED", "NO_CONNECTION";
        503 => "GATE_CLOSED", "OUTCOME_UNKNOWN", "OVERLOADED", "STORE_BUSY", "NOT_HANDED_OVER";
        504 => "OUTCOME_UNKNOWN";
    }
    /// Of placing for a pickup time.
    PickupProblems {
        409 => "PICKUP_SLOT_FULL", "PICKUP_TOO_EARLY", "PICKUP_OUTSIDE_HOURS", "PRICE_CHANGED", "ITEM_UNAVAILABLE", "NOT_ENOUGH_LEFT", "ITEM_NOT_SOLD_NOW",
            "REQUEST_ID_REUSED", "PRODUCT_NOT_SOLD", "STORE_NOT_LIVE", "CATALOG_NOT_SYNCED", "NO_CONNECTION";
    }
    /// Of every route that needs an order token.
    OrderProblems {
        401 => "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REQUIRED";
        404 => "ORDER_NOT_FOUND";
    }
    CancelProblems {
        409 => "CANCEL_TOO_LATE", "CANCEL_NOT_SUPPORTED", "CHANGE_UNDER_WAY";
    }
    /// Of splitting a check.
    SplitProblems {
        400 => "IDEMPOTENCY_KEY_REQUIRED", "INVALID_IDEMPOTENCY_KEY", "INVALID_BODY", "LINE_NOT_FOUND", "OUT_OF_RANGE";
        409 => "SPLIT_NOT_SUPPORTED", "NOTHING_ORDERED", "ROUND_UNDER_WAY", "CHECK_MERGED", "REQUEST_ID_REUSED";
        503 => "OUTCOME_UNKNOWN", "POS_UNREACHABLE";
    }
    ReleaseProblems {
        401 => "TOKEN_INVALID", "TOKEN_REQUIRED";
        404 => "STORE_NOT_FOUND", "TABLE_NOT_FOUND";
        409 => "ROUND_UNDER_WAY";
    }
    OpsProblems {
        401 => "TOKEN_INVALID", "TOKEN_REQUIRED";
        404 => "STORE_NOT_FOUND";
        409 => "CATALOG_NOT_SYNCED";
    }
}
