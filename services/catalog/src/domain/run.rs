//! How a run of a sync ends.

use posmesh_kit::time;
use posmesh_proto::catalog::v1::{CatalogCounts, CatalogProblem, Decision, SyncFailure, SyncRun, SyncState};

/// The cause of a run whose replica died or stopped. (The other causes are the shared ones.)
const INTERRUPTED: &str = "INTERRUPTED";

/// Longest message that a record keeps of what a vendor said.
const MAX_MESSAGE_CHARS: usize = 1_000;

pub(crate) fn is_running(run: &SyncRun) -> bool {
    run.state() == SyncState::Running
}

/// The pull broke off.
pub(crate) fn failed(run: SyncRun, cause: &str, message: &str) -> SyncRun {
    let message = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let failure = SyncFailure { cause: cause.to_owned(), message };
    SyncRun { failure: Some(failure), ..ended(run, SyncState::Failed) }
}

/// Nobody works on the run any more.
pub(crate) fn interrupted(run: SyncRun) -> SyncRun {
    failed(run, INTERRUPTED, "the server that ran the sync stopped before it ended; start the sync again")
}

/// The data is wrong.
pub(crate) fn quarantined(run: SyncRun, counts: CatalogCounts, problems: Vec<CatalogProblem>) -> SyncRun {
    SyncRun { counts: Some(counts), problems, ..ended(run, SyncState::Quarantined) }
}

/// The data is right: as `version`, which is new or was there before.
pub(crate) fn succeeded(run: SyncRun, counts: CatalogCounts, version: i64, is_new: bool) -> SyncRun {
    let state = if is_new { SyncState::Published } else { SyncState::Unchanged };
    SyncRun { counts: Some(counts), catalog_version: version, ..ended(run, state) }
}

/// The data is what waits for approval already.
pub(crate) fn waits_already(run: SyncRun, counts: CatalogCounts, version: i64, waiting_run_id: &str) -> SyncRun {
    SyncRun { waiting_sync_run_id: waiting_run_id.to_owned(), ..succeeded(run, counts, version, false) }
}

/// The data changes more than the store lets pass.
pub(crate) fn waiting(run: SyncRun, counts: CatalogCounts, suspicions: Vec<CatalogProblem>) -> SyncRun {
    let mut run = SyncRun { counts: Some(counts), ..ended(run, SyncState::WaitingApproval) };
    // Why it waits comes before what is wrong with it.
    run.problems.splice(0..0, suspicions);
    run
}

/// A person refused the data, of this run or of an earlier one.
pub(crate) fn rejected(run: SyncRun, counts: CatalogCounts, decision: &Decision) -> SyncRun {
    SyncRun { counts: Some(counts), decision: Some(decision.clone()), ..ended(run, SyncState::Rejected) }
}

/// A person decided about a run that waited.
pub(crate) fn decided(run: SyncRun, decision: Decision, published: Option<i64>) -> SyncRun {
    let state = if published.is_some() { SyncState::Published } else { SyncState::Rejected };
    SyncRun { state: state.into(), catalog_version: published.unwrap_or_default(), decision: Some(decision), ..run }
}

/// Something newer took the place of a run that waited.
pub(crate) fn superseded(run: SyncRun, by_run_id: &str) -> SyncRun {
    SyncRun { state: SyncState::Superseded.into(), superseded_by_run_id: by_run_id.to_owned(), ..run }
}

fn ended(run: SyncRun, state: SyncState) -> SyncRun {
    SyncRun { state: state.into(), end_time: Some(time::now()), ..run }
}
