//! What the service keeps about checks.

use std::{fmt::Debug, sync::Arc, time::Duration};

use posmesh_proto::order::v1::{Check, CheckState, SplitCheckRequest, SplitCheckResponse};

use super::StorageError;

/// Which checks to list; all conditions together.
#[derive(Debug, Clone, Default)]
pub struct CheckFilter {
    /// The store.
    pub store_id: String,
    /// Empty: all.
    pub table_id: String,
    /// Empty: all.
    pub states: Vec<CheckState>,
    /// Continue after this one: its opening time in milliseconds and its id.
    pub after: Option<(i64, String)>,
    /// At most so many.
    pub limit: usize,
}

/// What came of a change of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckChanged {
    /// It is durable.
    Done,
    /// It has another version by now: this one.
    Conflict(Box<Check>),
    /// There is no such check.
    Missing,
}

/// A check that fell due, claimed by this replica. Its version is as it was: whatever is found out about it is written
/// to the version that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct DueCheck {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// The check.
    pub check: Check,
}

/// A split of a check that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Under which the POS recognizes it.
    pub split_id: String,
    /// What was asked for.
    pub request: SplitCheckRequest,
    /// What the POS made of it; `None`: nobody knows yet.
    pub answer: Option<SplitCheckResponse>,
    /// How long ago it was begun. Not stored.
    pub age: Duration,
}

/// The part of the storage that keeps checks.
///
/// A check's `due` is the moment after which any replica may look after it: compare it with the POS while it is open,
/// bring its rounds to their end when it has ended.
#[tonic::async_trait]
pub trait CheckStorage: Send + Sync + Debug + 'static {
    /// Opens a check, to fall due after `due_in`, unless one is open on its table already: then returns that one. Two may
    /// be open on one table only where the POS tells them apart: both have a `pos_check_reference`, and not the same.
    async fn open_check(&self, tenant_id: &str, check: &Check, due_in: Duration)
    -> Result<Option<Check>, StorageError>;

    /// A check.
    async fn check(&self, tenant_id: &str, check_id: &str) -> Result<Option<Check>, StorageError>;

    /// Newest first.
    async fn checks(&self, tenant_id: &str, filter: &CheckFilter) -> Result<Vec<Check>, StorageError>;

    /// The checks, in whatever state, that stand for one of these at the POS. Newest first.
    async fn checks_by_reference(
        &self,
        tenant_id: &str,
        connection_id: &str,
        references: &[&str],
    ) -> Result<Vec<Check>, StorageError>;

    /// Replaces a check by one whose version is one above, to fall due after `due_in`; `rounds` is kept as it is stored.
    async fn change_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<CheckChanged, StorageError>;

    /// Whether a round of the check is in flight.
    async fn has_round_in_flight(&self, tenant_id: &str, check_id: &str) -> Result<bool, StorageError>;

    /// Claims checks of any tenant that fell due, at most `limit`, oldest first, for `lease`. Never two replicas the same.
    async fn claim_due_checks(&self, lease: Duration, limit: usize) -> Result<Vec<DueCheck>, StorageError>;

    /// Lets checks that still have these versions fall due after `due_in`; `None`: never again.
    async fn put_off_checks(
        &self,
        tenant_id: &str,
        checks: &[(&str, i64)],
        due_in: Option<Duration>,
    ) -> Result<(), StorageError>;

    /// Begins a split, unless one with its request_id was begun by the caller before: then returns that one. The check
    /// falls due after `lease` at the latest, so that another replica takes it up.
    async fn begin_split(
        &self,
        tenant_id: &str,
        caller: &str,
        split: &Split,
        lease: Duration,
    ) -> Result<Option<Split>, StorageError>;

    /// The split that was begun with a request_id.
    async fn split(&self, tenant_id: &str, caller: &str, request_id: &str) -> Result<Option<Split>, StorageError>;

    /// The splits of a check of which nobody knows what the POS made of them.
    async fn open_splits(&self, tenant_id: &str, check_id: &str) -> Result<Vec<Split>, StorageError>;

    /// Ends a split that is open: with its answer and the checks that came of it, those of them that are not there yet, to
    /// fall due after `due_in`; without an answer, it is forgotten: the POS refused.
    async fn end_split(
        &self,
        tenant_id: &str,
        split: &Split,
        new: &[Check],
        due_in: Duration,
    ) -> Result<(), StorageError>;
}
