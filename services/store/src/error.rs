//! Why a call is refused, and how that is told.

use std::time::Duration;

use posmesh_kit::{Failure, Violation};
use posmesh_kit_db::StorageError;
use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Never empty.
    #[error("{}", Failure::invalid(.0.clone()))]
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
            Error::Invalid(violations) => Failure::invalid(violations),
            Error::BrandNotFound { brand_id } => {
                new(Code::NotFound, "BRAND_NOT_FOUND").meta("brand_id", shortened(&brand_id))
            }
            Error::StoreNotFound { store_id } => {
                new(Code::NotFound, "STORE_NOT_FOUND").meta("store_id", shortened(&store_id))
            }
            Error::RevisionConflict { current, .. } => {
                new(Code::Aborted, "REVISION_CONFLICT").meta("current_revision", current.to_string())
            }
            Error::Stopping => new(Code::Unavailable, "SHUTTING_DOWN").retry_after(Duration::ZERO),
            Error::Storage(error) => error.into(),
        };
        failure.into()
    }
}

/// An id as it may be told: what is none may be of any length.
fn shortened(id: &str) -> String {
    id.chars().take(64).collect()
}
