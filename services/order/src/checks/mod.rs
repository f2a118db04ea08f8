//! Checks: the visits of guests to tables. Opened by us or by the staff at the POS; the POS has the last word on
//! whether one is open, where its guests sit and what stands on it.
//!
//! [`open`] seats guests, [`follow`] does to our check what the staff did to theirs, [`bill`], [`split`] and [`close`] are
//! what the guests and the staff's page ask for, [`sweep`] notices what nobody asked about, and [`finish`] brings the rounds of a
//! check that is over to their end.

mod bill;
mod close;
mod finish;
mod follow;
mod open;
mod pos;
mod split;
mod sweep;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_kit::Failure;
use posmesh_proto::order::v1::{Check, CheckState};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::Code;

use self::pos::Pos;
use crate::{
    clock::Clock,
    domain::accept::can_be_id,
    error::Error,
    ledger::Ledger,
    peers::Reader,
    storage::{CheckChanged, Storage, StorageError},
};

/// A check that the POS was asked about this short ago is not asked about again, whatever it answered.
const VERIFIED_FOR: Duration = Duration::from_secs(5);
const MAX_VERIFIED: usize = 10_000;
/// How often one change is tried again because somebody else changed the check meanwhile.
const MAX_CONFLICTS: usize = 8;
/// How long whoever ended a check has for its rounds before another replica takes over.
const FINISH_LEASE: Duration = Duration::from_secs(15);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    ledger: Ledger,
    reader: Reader,
    pos: Pos,
    /// How often an open check is compared with the POS when nobody asks for it.
    interval: Duration,
    /// While it cannot be trusted, no day ends.
    pub(crate) clock: Clock,
    verified: Arc<Mutex<HashMap<String, Instant>>>,
    /// Connections that the sweep could not ask, and how long it leaves them alone.
    pauses: Arc<Mutex<HashMap<String, Duration>>>,
    tasks: TaskTracker,
}

impl Checks {
    pub(crate) fn new(ledger: Ledger, reader: Reader, interval: Duration, clock: Clock, tasks: TaskTracker) -> Self {
        let pos = Pos::new(reader.adapter.clone());
        Self { ledger, reader, pos, interval, clock, verified: Arc::default(), pauses: Arc::default(), tasks }
    }

    fn storage(&self) -> &Arc<dyn Storage> {
        &self.ledger.storage
    }

    /// A check; brought in line with the POS unless that was done less than a few seconds ago. A POS that does not answer
    /// changes nothing.
    pub(crate) async fn get(&self, tenant_id: &Arc<str>, check_id: &str) -> Result<Check, Error> {
        let check = self.find(tenant_id, check_id).await?;
        if check.pos_check_reference.is_empty() || !self.is_to_be_verified(&check.check_id) {
            return Ok(check);
        }
        self.verify(tenant_id, check).await
    }

    async fn find(&self, tenant_id: &str, check_id: &str) -> Result<Check, Error> {
        if !can_be_id(check_id) {
            return Err(not_found().into());
        }
        let found = self.storage().check(tenant_id, check_id).await.map_err(Error::Read)?;
        found.ok_or_else(|| not_found().into())
    }

    /// Of many guests at the table one asks; and a POS that hangs is not asked by all, because this is noted before.
    fn is_to_be_verified(&self, check_id: &str) -> bool {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.get(check_id).is_some_and(|at| at.elapsed() < VERIFIED_FOR) {
            return false;
        }
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        verified.insert(check_id.to_owned(), Instant::now());
        true
    }

    /// Writes the next version of a check, or returns the one that somebody else wrote meanwhile.
    async fn change(&self, tenant_id: &str, next: Check, due_in: Duration) -> Result<Result<Check, Box<Check>>, Error> {
        match self.storage().change_check(tenant_id, &next, due_in).await? {
            CheckChanged::Done => {
                tracing::info!(
                    check.id = %next.check_id,
                    store.id = %next.store_id,
                    state = ?next.state(),
                    table = %next.table_id,
                    cause = %next.cause,
                    "check changed"
                );
                Ok(Ok(next))
            }
            CheckChanged::Conflict(current) => Ok(Err(current)),
            CheckChanged::Missing => Err(not_found().into()),
        }
    }
}

fn changes_all_the_time(check_id: &str) -> Error {
    StorageError::Refused(format!("the check {check_id} changes all the time")).into()
}

/// The clock was set just now, and only it could tell whether a check on the table is one of an earlier day.
fn clock_not_steady() -> Failure {
    let message = "the platform's clock was set just now, so nobody knows whose check is on the table; try again";
    Failure::new(Code::Unavailable, "CLOCK_NOT_STEADY", message).retry_after(Duration::from_secs(10))
}

/// There is no such check.
pub(crate) fn not_found() -> Failure {
    Failure::new(Code::NotFound, "CHECK_NOT_FOUND", "there is no such check; open one on the table first")
        .violation("check_id", "names no check")
}

/// The check takes no more rounds. Where the staff joined it into another one, that one is named: an order goes on the
/// bill that the guest knows of, or on none.
pub(crate) fn has_ended(check: &Check) -> Failure {
    if check.state() == CheckState::Merged {
        let message = "the staff joined the check into another one; show the guests that one, and order on it";
        return Failure::new(Code::FailedPrecondition, "CHECK_MERGED", message)
            .meta("check_id", &check.check_id)
            .meta("merged_into", &check.merged_into);
    }
    let message = "the check is closed and takes no more rounds; open a new one on the table";
    Failure::new(Code::FailedPrecondition, "CHECK_CLOSED", message).meta("check_id", &check.check_id)
}
