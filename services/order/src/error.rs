//! The one mapping from this crate's errors to what a caller sees.

use std::time::Duration;

use posmesh_kit::{Failure, failure::OVERLOADED};
use posmesh_kit_db::{DbError, Rejected};
use tonic::{Code, Status};

use crate::storage::StorageError;

/// Why the service does not do what it was asked, or cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A named refusal.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The storage did not write it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The storage did not tell it.
    #[error(transparent)]
    Read(StorageError),
    /// The write queue did not take it, or did not answer.
    #[error("the write queue: {0:?}")]
    Queue(Rejected),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Self {
        Self::Queue(rejected)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let failure = match error {
            Error::Refused(failure) => failure,
            Error::Storage(StorageError::Ambiguous(message)) => {
                tracing::warn!(%message, "a write was not confirmed");
                outcome_unknown()
            }
            Error::Queue(Rejected::Unanswered) => outcome_unknown(),
            Error::Read(StorageError::Ambiguous(message) | StorageError::Refused(message)) => {
                tracing::warn!(%message, "a read failed");
                let words = "the database of the order service does not answer; ask again";
                Failure::new(Code::Unavailable, "DATABASE_UNAVAILABLE", words).retry_after(Duration::from_secs(1))
            }
            Error::Storage(StorageError::Refused(message)) => {
                tracing::error!(%message, "the database refused");
                let words = "the database of the order service does not answer; nothing was taken, try again";
                Failure::new(Code::Unavailable, "DATABASE_UNAVAILABLE", words).retry_after(Duration::from_secs(1))
            }
            Error::Storage(corrupt @ StorageError::Corrupt { .. }) | Error::Read(corrupt) => {
                Failure::internal("stored data", corrupt)
            }
            Error::Queue(Rejected::Overloaded) => overloaded(),
            Error::Database(error) => Failure::internal("the database", error),
        };
        failure.into()
    }
}

/// It may have taken effect, or not.
pub(crate) fn outcome_unknown() -> Failure {
    let words = "nobody knows whether this took effect: repeat the call with the same request_id";
    Failure::new(Code::Unavailable, "OUTCOME_UNKNOWN", words).retry_after(Duration::from_secs(1))
}

/// More than this replica brings to one store's POS at once; nothing was taken.
pub(crate) fn store_busy(store_id: &str) -> Failure {
    let message = "too many orders of this store are under way; nothing was taken, try again";
    Failure::new(Code::ResourceExhausted, "STORE_BUSY", message)
        .meta("store_id", store_id)
        .retry_after(Duration::from_secs(2))
}

/// More than this replica can bring to the POS; nothing was taken.
pub(crate) fn overloaded() -> Failure {
    Failure::new(Code::ResourceExhausted, OVERLOADED, "too many orders are under way; nothing was taken, try again")
        .retry_after(Duration::from_secs(1))
}
