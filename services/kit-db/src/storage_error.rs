//! Why a storage did not do what it was asked, the same for every service.

use std::{sync::Arc, time::Duration};

use posmesh_kit::Failure;
use prost::Message;
use tonic::Code;

use crate::{is_ambiguous, is_unavailable};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why the storage did not do it. The database's own words are for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// It does not answer, now. Nothing is written.
    #[error("the database does not answer: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// It broke off while it committed: whether the write took effect is unknown.
    #[error("the database did not say whether it committed: {0}")]
    OutcomeUnknown(Arc<sqlx::Error>),
    /// It refused: a fault of ours.
    #[error("the database refused: {0}")]
    Refused(Arc<sqlx::Error>),
    /// A stored document cannot be read.
    #[error("a stored document cannot be read: {0}")]
    Unreadable(#[from] prost::DecodeError),
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) { Self::Unavailable(Arc::new(error)) } else { Self::Refused(Arc::new(error)) }
    }
}

impl StorageError {
    /// The error of a commit: where nothing of it was confirmed, nobody knows whether it took effect.
    pub fn of_commit(error: sqlx::Error) -> Self {
        if is_ambiguous(&error) { Self::OutcomeUnknown(Arc::new(error)) } else { error.into() }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(source) => {
                tracing::warn!(error = %source, "the database does not answer");
                let message = "the service's database does not answer; nothing was written, try again";
                Self::new(Code::Unavailable, "DATABASE_UNAVAILABLE", message).retry_after(RETRY_AFTER)
            }
            StorageError::OutcomeUnknown(source) => {
                tracing::warn!(error = %source, "the database broke off during a commit");
                let message = "nobody knows whether this took effect: read it again before you repeat it";
                Self::new(Code::Unavailable, "OUTCOME_UNKNOWN", message).retry_after(RETRY_AFTER)
            }
            refused @ (StorageError::Refused(_) | StorageError::Unreadable(_)) => {
                Self::internal("the service's database", refused)
            }
        }
    }
}

/// A stored document.
pub fn decode<M: Message + Default>(document: &[u8]) -> Result<M, StorageError> {
    Ok(M::decode(document)?)
}

/// The documents of rows that hold nothing else.
pub fn decode_all<M: Message + Default>(rows: Vec<(Vec<u8>,)>) -> Result<Vec<M>, StorageError> {
    rows.iter().map(|(document,)| decode(document)).collect()
}

/// A row count as SQL takes it.
pub fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A duration as SQL takes it, in milliseconds.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
