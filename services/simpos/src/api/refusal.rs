//! How the API says no.

use serde::{Deserialize, Serialize};

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalBody {
    /// What was refused and why.
    pub error: Refusal,
}

/// Why a request was refused. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// HTTP status; not part of the body.
    #[serde(skip)]
    pub status: u16,
    /// One of [`cause`], or what a fault rule was given.
    pub cause: String,
    /// For people.
    pub message: Box<str>,
    /// Path of the field at fault, such as `lines[2].item_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The item at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<Box<str>>,
    /// True when the same request will be refused again; false when it may be taken later.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// `ORDER_NOT_FOUND`: orders recorded before this moment are forgotten. None: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_since: Option<i64>,
    /// When to try again; in the `Retry-After` header too, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Causes of refusals. The number is the HTTP status.
pub mod cause {
    /// 401: the API key is missing or wrong.
    pub const UNAUTHORIZED: &str = "UNAUTHORIZED";
    /// 404: no such path.
    pub const PATH_UNKNOWN: &str = "PATH_UNKNOWN";
    /// 404: no order is recorded under this reference. Authoritative for orders since `complete_since`.
    pub const ORDER_NOT_FOUND: &str = "ORDER_NOT_FOUND";
    /// 404: no such check.
    pub const CHECK_NOT_FOUND: &str = "CHECK_NOT_FOUND";
    /// 410: what happened after this cursor is not kept any more, or it is none of ours: begin anew.
    pub const CURSOR_TOO_OLD: &str = "CURSOR_TOO_OLD";
    /// 404: no such ticket.
    pub const TICKET_NOT_FOUND: &str = "TICKET_NOT_FOUND";
    /// 400: malformed JSON, a missing, unknown or out-of-range field.
    pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
    /// 400: text with control characters or characters that the printer cannot print.
    pub const TEXT_NOT_PRINTABLE: &str = "TEXT_NOT_PRINTABLE";
    /// 409: the reference is recorded with another order, or change.
    pub const REFERENCE_REUSED: &str = "REFERENCE_REUSED";
    /// 413: the body is larger than 2 MiB.
    pub const BODY_TOO_LARGE: &str = "BODY_TOO_LARGE";
    /// 422: `not_after` has passed.
    pub const EXPIRED: &str = "EXPIRED";
    /// 422: no such item on the menu (404 where the item is in the path).
    pub const ITEM_UNKNOWN: &str = "ITEM_UNKNOWN";
    /// 422: the item is sold out.
    pub const ITEM_SOLD_OUT: &str = "ITEM_SOLD_OUT";
    /// 422: the item is not sold for takeaway.
    pub const ITEM_NOT_FOR_TAKEAWAY: &str = "ITEM_NOT_FOR_TAKEAWAY";
    /// 422: no such modifier for this item or option.
    pub const MODIFIER_UNKNOWN: &str = "MODIFIER_UNKNOWN";
    /// 422: fewer or more modifiers than the group wants.
    pub const MODIFIER_COUNT: &str = "MODIFIER_COUNT";
    /// 422: the menu itself is broken at this item (a tax class is missing, a price is negative).
    pub const MASTER_BROKEN: &str = "MASTER_BROKEN";
    /// 422: no such table.
    pub const TABLE_UNKNOWN: &str = "TABLE_UNKNOWN";
    /// 422: the check is at another table.
    pub const TABLE_MISMATCH: &str = "TABLE_MISMATCH";
    /// 422: the table has several open checks: name one.
    pub const CHECK_AMBIGUOUS: &str = "CHECK_AMBIGUOUS";
    /// 409: several orders are recorded under this reference.
    pub const REFERENCE_AMBIGUOUS: &str = "REFERENCE_AMBIGUOUS";
    /// 422: the order is cancelled.
    pub const ORDER_CANCELLED: &str = "ORDER_CANCELLED";
    /// 422: the order is too far to be changed by API: ask the staff.
    pub const TOO_LATE: &str = "TOO_LATE";
    /// 422: the order or check has no such line, or not so much of it.
    pub const LINE_UNKNOWN: &str = "LINE_UNKNOWN";
    /// 422: the check was joined into another one.
    pub const CHECK_MERGED: &str = "CHECK_MERGED";
    /// 422: the check is closed.
    pub const CHECK_CLOSED: &str = "CHECK_CLOSED";
    /// 422: the bill of the check has been printed.
    pub const CHECK_AWAITING_PAYMENT: &str = "CHECK_AWAITING_PAYMENT";
    /// 422: no such tender.
    pub const TENDER_UNKNOWN: &str = "TENDER_UNKNOWN";
    /// 422: the tenders do not make the total.
    pub const TENDER_MISMATCH: &str = "TENDER_MISMATCH";
    /// 422: the total is not the expected one.
    pub const PRICE_CHANGED: &str = "PRICE_CHANGED";
    /// 429: too many requests.
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    /// 503: the till's day is not open.
    pub const BUSINESS_DAY_NOT_OPEN: &str = "BUSINESS_DAY_NOT_OPEN";
    /// 503: master data is being loaded.
    pub const MASTER_UPDATING: &str = "MASTER_UPDATING";
    /// 503: the POS is stopping; whether the request was recorded is not known.
    pub const STOPPING: &str = "STOPPING";
}

impl Refusal {
    /// A refusal that the same request meets again.
    pub fn new(status: u16, cause: &str, message: impl Into<String>) -> Self {
        Refusal {
            status,
            cause: cause.to_owned(),
            message: message.into().into(),
            field: None,
            item_id: None,
            is_final: true,
            complete_since: None,
            retry_after_ms: None,
        }
    }

    /// A refusal for now.
    pub fn for_now(status: u16, cause: &str, message: impl Into<String>, retry_after_ms: u64) -> Self {
        Refusal { is_final: false, retry_after_ms: Some(retry_after_ms), ..Refusal::new(status, cause, message) }
    }

    /// Names the field at fault.
    pub fn at(self, field: impl Into<String>) -> Self {
        Refusal { field: Some(field.into()), ..self }
    }

    /// Names the item at fault.
    pub fn item(self, item_id: &str) -> Self {
        Refusal { item_id: Some(item_id.into()), ..self }
    }
}
