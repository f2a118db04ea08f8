//! Why a call is refused, and how that is told.

use std::time::Duration;

use posmesh_kit::Failure;
use tonic::{Code, Status};

use crate::{domain::Violation, storage::StorageError};

const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Never empty.
    #[error("{}", told(.0))]
    Invalid(Vec<Violation>),
    #[error("there is no brand {:?}", shortened(.brand_id))]
    BrandNotFound { brand_id: String },
    #[error("there is no store {:?}", shortened(.store_id))]
    StoreNotFound { store_id: String },
    #[error("{id:?} is at revision {current}, not {expected}; read it again and put your change on top")]
    RevisionConflict { id: String, expected: i64, current: i64 },
    #[error("this server stops; watch again with the last resume token")]
    Stopping,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let new = |code, reason| Failure::new(code, reason, &message);
        let failure = match error {
            Error::Invalid(violations) => invalid(violations),
            Error::BrandNotFound { brand_id } => {
                new(Code::NotFound, "BRAND_NOT_FOUND").meta("brand_id", shortened(&brand_id))
            }
            Error::StoreNotFound { store_id } => {
                new(Code::NotFound, "STORE_NOT_FOUND").meta("store_id", shortened(&store_id))
            }
            Error::RevisionConflict { current, .. } => {
                new(Code::Aborted, "REVISION_CONFLICT").meta("current_revision", current.to_string())
            }
            Error::Stopping => new(Code::Unavailable, "STOPPING").retry_after(Duration::ZERO),
            Error::Storage(StorageError::Unavailable(source)) => {
                tracing::warn!(error = %source, "the store service's database does not answer");
                let message = "the store service's database does not answer; nothing was written";
                Failure::new(Code::Unavailable, "DATABASE_UNAVAILABLE", message).retry_after(RETRY_AFTER)
            }
            Error::Storage(StorageError::OutcomeUnknown(source)) => {
                tracing::warn!(error = %source, "the store service's database broke off during a commit");
                let message = "whether this was written is unknown; read it again before you repeat it";
                Failure::new(Code::Unavailable, "OUTCOME_UNKNOWN", message).retry_after(RETRY_AFTER)
            }
            Error::Storage(error @ (StorageError::Refused(_) | StorageError::Unreadable(_))) => {
                Failure::internal("the store service's database", error)
            }
        };
        failure.into()
    }
}

/// One failure for all violations. Its reason is that of the first; each description begins with its own.
fn invalid(violations: Vec<Violation>) -> Failure {
    let first = violations.first().map_or("INVALID_ARGUMENT", |first| first.reason);
    let failure = Failure::new(Code::InvalidArgument, first, told(&violations));
    violations
        .into_iter()
        .fold(failure, |failure, v| failure.violation(v.field, format!("{}: {}", v.reason, v.message)))
}

fn told(violations: &[Violation]) -> String {
    let each: Vec<String> = violations.iter().map(|v| format!("{}: {}", v.field, v.message)).collect();
    each.join("; ")
}

/// An id as it may be told: what is none may be of any length.
fn shortened(id: &str) -> String {
    id.chars().take(64).collect()
}
