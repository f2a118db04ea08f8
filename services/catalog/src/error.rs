//! Why a call is refused, and how that is told.

use std::time::Duration;

use posmesh_kit::{Failure, failure::OVERLOADED};
use posmesh_pricing::UnusableCatalog;
use tonic::{Code, Status};

use crate::storage::{MAX_OVERLAYS, StorageError};

/// When to come back after too many syncs at once.
const SYNC_RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {message}")]
    Field { reason: &'static str, field: &'static str, message: String },
    /// From the store cache, ready to be told.
    #[error("{0}")]
    Store(Box<Failure>),
    /// What another service answered.
    #[error("{}", .0.message())]
    Peer(Box<Status>),
    #[error("the product is not sold at {store_id:?}; add a policy for it to the store")]
    ProductNotSold { store_id: String },
    #[error("no catalog of {store_id:?} has been published yet; start a sync and read its report")]
    NotSynced { store_id: String },
    #[error("the menu of {store_id:?} has no {what} {id:?}; `posmesh menu show` prints what it has")]
    ThingNotFound { store_id: String, what: &'static str, id: String },
    #[error("store {store_id:?} has no catalog version {version}")]
    VersionNotFound { store_id: String, version: i64 },
    #[error("there is no sync run {run_id:?}")]
    RunNotFound { run_id: String },
    #[error(
        "what run {run_id:?} pulled does not wait for approval: the run is {state}; list the store's runs for one that does"
    )]
    NotWaiting { run_id: String, state: &'static str },
    #[error("version {version} of {store_id:?} cannot be sold as the store is set up now: {problem}")]
    VersionUnfit { store_id: String, version: i64, problem: String },
    #[error("there is no overlay of this {what} here")]
    OverlayNotFound { what: &'static str },
    #[error("the current version of {store_id:?} has no such {what}; read the catalog for its id")]
    OverlaySubjectNotFound { store_id: String, what: &'static str },
    #[error("the overlay is at revision {current}, not {expected}; read it again and put your change on top")]
    OverlayConflict { expected: i64, current: i64 },
    #[error(
        "item {item_id:?} of {store_id:?} has changed again since version {version}; list what waits for a review and look at it anew"
    )]
    ItemChanged { store_id: String, item_id: String, version: i64 },
    #[error("{store_id:?} cannot sell at another price than its POS asks: {why}")]
    PriceOverrideNotSupported { store_id: String, why: String },
    #[error("there are {MAX_OVERLAYS} overlays already; delete those that are orphaned")]
    TooManyOverlays,
    #[error("this replica has no place for another watcher")]
    TooManyWatchers,
    #[error(
        "this watcher left news unread for more than {max_lag:?} and lost its place; no news are lost: watch again with the last resume_token"
    )]
    WatcherTooSlow { max_lag: Duration },
    #[error("this replica is shutting down; watch again with the last resume_token")]
    Stopping,
    #[error("too many syncs run at once in this server; try again in a moment")]
    TooManySyncs,
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("a published catalog cannot be priced: {0}")]
    Unusable(#[from] UnusableCatalog),
    #[error("work was broken off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Peer(Box::new(status))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Store(Box::new(failure))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let new = |code, reason| Failure::new(code, reason, &message);
        let failure = match error {
            Error::Field { reason, field, message } => Failure::field(reason, field, message),
            Error::Store(failure) => *failure,
            Error::Peer(status) => return *status,
            Error::ProductNotSold { store_id } => {
                new(Code::FailedPrecondition, "PRODUCT_NOT_SOLD").meta("store_id", store_id)
            }
            Error::NotSynced { store_id } => {
                new(Code::FailedPrecondition, "CATALOG_NOT_SYNCED").meta("store_id", store_id)
            }
            Error::ThingNotFound { store_id, what, id } => {
                let reason = if what == "item" { "ITEM_NOT_FOUND" } else { "MODIFIER_NOT_FOUND" };
                new(Code::NotFound, reason).meta("store_id", store_id).meta("id", id)
            }
            Error::VersionNotFound { store_id, version } => new(Code::NotFound, "CATALOG_VERSION_NOT_FOUND")
                .meta("store_id", store_id)
                .meta("version", version.to_string()),
            Error::RunNotFound { run_id } => new(Code::NotFound, "SYNC_RUN_NOT_FOUND").meta("sync_run_id", run_id),
            Error::NotWaiting { run_id, state } => {
                new(Code::FailedPrecondition, "SNAPSHOT_NOT_WAITING").meta("sync_run_id", run_id).meta("state", state)
            }
            Error::VersionUnfit { store_id, version, .. } => new(Code::FailedPrecondition, "CATALOG_VERSION_UNFIT")
                .meta("store_id", store_id)
                .meta("version", version.to_string()),
            Error::OverlayNotFound { .. } => new(Code::NotFound, "OVERLAY_NOT_FOUND"),
            Error::OverlaySubjectNotFound { store_id, .. } => {
                new(Code::NotFound, "OVERLAY_SUBJECT_NOT_FOUND").meta("store_id", store_id)
            }
            Error::OverlayConflict { current, .. } => {
                new(Code::Aborted, "REVISION_CONFLICT").meta("current_revision", current.to_string())
            }
            Error::ItemChanged { store_id, item_id, .. } => {
                new(Code::Aborted, "ITEM_CHANGED").meta("store_id", store_id).meta("item_id", item_id)
            }
            Error::PriceOverrideNotSupported { store_id, why } => {
                new(Code::FailedPrecondition, "PRICE_OVERRIDE_NOT_SUPPORTED")
                    .meta("store_id", store_id)
                    .meta("why", why)
            }
            Error::TooManyOverlays => new(Code::ResourceExhausted, "TOO_MANY_OVERLAYS"),
            Error::TooManyWatchers => {
                new(Code::ResourceExhausted, "TOO_MANY_WATCHERS").retry_after(Duration::from_secs(1))
            }
            Error::WatcherTooSlow { max_lag } => new(Code::Aborted, "WATCHER_TOO_SLOW")
                .meta("max_lag", format!("{max_lag:?}"))
                .retry_after(Duration::from_secs(1)),
            Error::Stopping => new(Code::Unavailable, "SHUTTING_DOWN").retry_after(Duration::from_millis(100)),
            Error::TooManySyncs => new(Code::ResourceExhausted, OVERLOADED).retry_after(SYNC_RETRY_AFTER),
            Error::Storage(error) => error.into(),
            Error::Unusable(error) => Failure::internal("a published catalog", error),
            Error::Broken(error) => Failure::internal("the catalog service", error),
        };
        failure.into()
    }
}
