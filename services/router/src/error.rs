//! Why a call is refused, and how that is told.

use std::time::Duration;

use posmesh_kit::{Failure, Violation, cause, failure};
use posmesh_kit_db::StorageError;
use tonic::{Code, Status};

use crate::sealing::SealError;

const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Never empty.
    #[error("the request is wrong in {} places", .0.len())]
    Invalid(Vec<Violation>),
    #[error("the context is the router's to set; name a target instead")]
    ContextNotAllowed,
    #[error("there is no connection {0}")]
    ConnectionNotFound(String),
    #[error("no adapter of the vendor {vendor:?} has ever registered; start one first")]
    AdapterNotRegistered { vendor: String },
    #[error(
        "the connection {connection_id:?} is at revision {current}, not {expected}; read it again and put your change on top"
    )]
    RevisionConflict { connection_id: String, expected: i64, current: i64 },
    #[error(
        "the connection {connection_id:?} is at revision {current}, not {expected}, and leads to another POS now. Nothing was handed on"
    )]
    RevisionChanged { connection_id: String, expected: i64, current: i64 },
    #[error(
        "the connection {connection_id:?} already serves that product and mode in the store; change or delete it first"
    )]
    Overlaps { connection_id: String },
    #[error("no instance of the adapter {vendor:?} is alive that serves the connection {connection_id:?}")]
    AdapterDown { vendor: String, connection_id: String },
    #[error("the vendor's limits allow the next probe of the connection in {after:?}")]
    ProbedTooOften { after: Duration },
    #[error("this replica has no place for another watcher")]
    TooManyWatchers,
    #[error(
        "this watcher left news unread for more than {max_lag:?} and lost its place; no news are lost: watch again, with the last resume_token"
    )]
    WatcherTooSlow { max_lag: Duration },
    #[error("this replica is shutting down; watch again, with the last resume_token")]
    Stopping,
    #[error("the router cannot read its database to find out: try again")]
    Unread,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}

impl From<Vec<Violation>> for Error {
    fn from(violations: Vec<Violation>) -> Self {
        Self::Invalid(violations)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let new = |code, reason| Failure::new(code, reason, &message);
        let failure = match error {
            Error::Invalid(violations) => Failure::invalid(violations),
            Error::ContextNotAllowed => Failure::field("CONTEXT_NOT_ALLOWED", "context", message),
            Error::ConnectionNotFound(_) => new(Code::NotFound, "CONNECTION_NOT_FOUND"),
            Error::AdapterNotRegistered { vendor } => {
                new(Code::FailedPrecondition, "ADAPTER_NOT_REGISTERED").meta("vendor", vendor)
            }
            Error::RevisionConflict { current, .. } => {
                new(Code::Aborted, "REVISION_CONFLICT").meta("current_revision", current.to_string())
            }
            Error::RevisionChanged { current, .. } => {
                new(Code::FailedPrecondition, failure::REVISION_CHANGED).meta("current_revision", current.to_string())
            }
            Error::Overlaps { connection_id } => {
                new(Code::AlreadyExists, "CONNECTION_OVERLAPS").meta("connection_id", connection_id)
            }
            Error::AdapterDown { .. } => {
                Failure::not_handed_over(cause::ADAPTER_DOWN, message).retry_after(RETRY_AFTER)
            }
            Error::ProbedTooOften { after } => new(Code::ResourceExhausted, "PROBED_TOO_OFTEN").retry_after(after),
            Error::TooManyWatchers => new(Code::ResourceExhausted, "TOO_MANY_WATCHERS").retry_after(RETRY_AFTER),
            Error::WatcherTooSlow { max_lag } => {
                new(Code::Aborted, "WATCHER_TOO_SLOW").meta("max_lag", format!("{max_lag:?}")).retry_after(RETRY_AFTER)
            }
            Error::Stopping => new(Code::Unavailable, "SHUTTING_DOWN").retry_after(Duration::from_millis(100)),
            Error::Unread => Failure::not_handed_over(cause::UNKNOWN, message).retry_after(RETRY_AFTER),
            Error::Seal(error) => {
                tracing::error!(%error, "credentials cannot be used");
                Failure::not_handed_over(cause::MISCONFIGURED, message)
            }
            Error::Storage(error) => error.into(),
        };
        failure.into()
    }
}

/// A name as it may be told: what is none may be of any length.
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
