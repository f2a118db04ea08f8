//! Errors as callers see them: `google.rpc.Status` with a reason, the fields that are wrong and when to try again.

use std::{collections::HashMap, time::Duration};

use prost::{Message as _, Name};
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "posmesh";

/// Violations that one error tells; the message tells how many more there are.
const MAX_VIOLATIONS: usize = 20;
/// Characters of a message.
const MAX_MESSAGE: usize = 500;
/// The details of an error travel in an HTTP header, of which many clients take 8 KiB and no more: what does not fit is
/// left out.
const MAX_DETAILS_BYTES: usize = 5000;

/// Proof that nothing of the call reached the POS.
pub const NOT_HANDED_OVER: &str = "NOT_HANDED_OVER";
/// The connection is another one now than the caller means: the router handed nothing on.
pub const REVISION_CHANGED: &str = "REVISION_CHANGED";
/// The server shed the call before any of its code ran.
pub const OVERLOADED: &str = "OVERLOADED";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// UPPER_SNAKE and stable.
    pub reason: &'static str,
    /// Path in the request, e.g. `store.opening_hours[2].weekday`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Violation {
    /// From its parts.
    pub fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into() }
    }
}

/// What is wrong with an id that a caller chooses: 1 to 64 of `a-z`, `0-9` and `-`.
pub fn check_id(field: &str, id: &str) -> Option<Violation> {
    let well_formed = id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    match id.len() {
        0 => Some(Violation::new("REQUIRED", field, "say which")),
        1..=64 if well_formed => None,
        _ => Some(Violation::new("ID_INVALID", field, "an id is 1 to 64 of a-z, 0-9 and -")),
    }
}

/// An error on its way to a caller. Becomes a [`Status`] with `ErrorInfo` and, where they apply, `BadRequest`,
/// `RetryInfo` and further details.
#[derive(Debug, Clone)]
pub struct Failure(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    reason: String,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<(String, String)>,
    retry_after: Option<Duration>,
    further: Vec<Any>,
}

impl Failure {
    /// `reason` is UPPER_SNAKE and stable: callers branch on it. `message` tells what happened, to which thing, and what
    /// to do.
    pub fn new(code: Code, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason: reason.into(),
            message: message.into(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
            further: Vec::new(),
        }))
    }

    /// INVALID_ARGUMENT about one field of the request, named by its path, e.g. `lines[2].quantity`.
    pub fn field(reason: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let field = field.into();
        Self::new(Code::InvalidArgument, reason, format!("{field}: {message}")).violation(field, message)
    }

    /// INVALID_ARGUMENT about everything that is wrong. Its reason is that of the first; each description begins with its
    /// own.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let reason = violations.first().map_or("INVALID_ARGUMENT", |first| first.reason);
        let told = violations.iter().take(MAX_VIOLATIONS).map(|v| format!("{}: {}", v.field, v.message));
        let mut told: Vec<String> = told.collect();
        if let Some(more) = violations.len().checked_sub(MAX_VIOLATIONS).filter(|more| *more > 0) {
            told.push(format!("and {more} more"));
        }
        let failure = Self::new(Code::InvalidArgument, reason, told.join("; "));
        violations
            .into_iter()
            .take(MAX_VIOLATIONS)
            .fold(failure, |failure, v| failure.violation(v.field, format!("{}: {}", v.reason, v.message)))
    }

    /// INTERNAL: a fault of ours. What went wrong goes to the log, not to the caller.
    pub fn internal(context: &str, error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "{context}");
        Self::new(Code::Internal, "INTERNAL", format!("{context}: internal error, see the server's log"))
    }

    /// UNAVAILABLE with the proof that nothing reached the POS, and the cause.
    pub fn not_handed_over(cause: &str, message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, NOT_HANDED_OVER, message).meta("cause", cause)
    }

    /// Adds a dynamic part of the message for programs.
    pub fn meta(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a field that is wrong.
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.violations.push((field.into(), description.into()));
        self
    }

    /// Says when it makes sense to try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds a message of the contracts as a detail, e.g. the new quote beside PRICE_CHANGED. A large one is left out: who
    /// needs it asks for it.
    pub fn detail<M: Name>(mut self, message: &M) -> Self {
        self.0.further.push(Any { type_url: M::type_url(), value: message.encode_to_vec() });
        self
    }

    /// The stable reason.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut failure = *failure.0;
        if let Some((end, _)) = failure.message.char_indices().nth(MAX_MESSAGE) {
            failure.message.truncate(end);
            failure.message.push('…');
        }
        let mut details = ErrorDetails::new();
        details.set_error_info(failure.reason, DOMAIN, failure.metadata);
        for (field, description) in failure.violations.into_iter().take(MAX_VIOLATIONS) {
            details.add_bad_request_violation(field, description);
        }
        if failure.retry_after.is_some() {
            details.set_retry_info(failure.retry_after);
        }
        let status = Status::with_error_details(failure.code, failure.message, details);
        if failure.further.is_empty() {
            return status;
        }
        // with_error_details has just encoded it: it decodes.
        let mut encoded = tonic_types::Status::decode(status.details()).unwrap_or_default();
        for detail in failure.further {
            if encoded.encoded_len() + detail.encoded_len() <= MAX_DETAILS_BYTES {
                encoded.details.push(detail);
            }
        }
        Status::with_details(failure.code, status.message(), encoded.encode_to_vec().into())
    }
}

/// The reason in a status that a posmesh server sent, or an empty string.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason).unwrap_or_default()
}

/// A dynamic part of a status that a posmesh server sent.
pub fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN)?.metadata.remove(key)
}

/// A message of the contracts that was added with [`Failure::detail`].
pub fn detail<M: Name + Default>(status: &Status) -> Option<M> {
    let encoded = tonic_types::Status::decode(status.details()).ok()?;
    let any = encoded.details.iter().find(|any| any.type_url == M::type_url())?;
    M::decode(any.value.as_slice()).ok()
}

/// When the other side wants to be asked again, if it said so.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Whether a failed call provably never reached the POS.
pub fn is_not_handed_over(status: &Status) -> bool {
    matches!(reason(status).as_str(), NOT_HANDED_OVER | OVERLOADED | REVISION_CHANGED)
}

#[cfg(test)]
mod tests {
    use posmesh_proto::common::v1::Money;

    use super::*;

    #[test]
    fn an_error_about_hundreds_of_fields_still_fits_the_header_that_it_travels_in() {
        let violations =
            (0..500).map(|i| Violation::new("LINE_INVALID", format!("lines[{i}].item_id"), "品切れ ".repeat(10)));
        let large = Money { currency_code: "J".repeat(6000), amount: 1 };
        let status: Status = Failure::invalid(violations.collect()).detail(&large).into();
        assert!(status.details().len() < 6000, "{}", status.details().len());
        assert!(status.message().len() < 2000, "{}", status.message().len());
        assert_eq!(status.get_details_bad_request().map(|bad| bad.field_violations.len()), Some(20));
        assert_eq!((reason(&status).as_str(), detail::<Money>(&status)), ("LINE_INVALID", None));
    }

    #[test]
    fn a_caller_finds_reason_field_retry_and_detail_in_the_status() {
        // Money stands for any message; it has no Name impl of its own unless the contracts are built with one.
        let status: Status = Failure::field("BAD_QUANTITY", "lines[2].quantity", "must be 1 to 999")
            .meta("quantity", "0")
            .retry_after(Duration::from_secs(3))
            .detail(&Money { currency_code: "JPY".into(), amount: 980 })
            .into();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), "BAD_QUANTITY");
        assert_eq!(metadata(&status, "quantity").as_deref(), Some("0"));
        let details = status.get_error_details();
        assert_eq!(details.bad_request().map(|b| b.field_violations[0].field.as_str()), Some("lines[2].quantity"));
        assert_eq!(details.retry_info().and_then(|r| r.retry_delay), Some(Duration::from_secs(3)));
        assert_eq!(detail::<Money>(&status).map(|m| m.amount), Some(980));
    }

    #[test]
    fn only_an_explicit_proof_counts_as_not_handed_over() {
        assert!(is_not_handed_over(&Failure::not_handed_over("NETWORK_DOWN", "refused").into()));
        assert!(!is_not_handed_over(&Status::unavailable("connection refused")));
        assert!(!is_not_handed_over(&Status::deadline_exceeded("")));
    }
}
