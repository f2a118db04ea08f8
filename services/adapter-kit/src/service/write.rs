//! Writing to a POS: never late, never torn apart, and told by proof.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, cause, time, time::NotAfter};
use posmesh_proto::adapter::v1::NotHandedOver;
use prost_types::Timestamp;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tracing::Instrument as _;

use super::{Service, caller_deadline};
use crate::{Adapter, Connection, Unplaced, contact::watched, limiter::NoTurn};

/// What became of a write, and how long the adapter took for it.
pub(super) struct Written<T, E> {
    pub(super) result: Result<T, E>,
    pub(super) took: Duration,
    /// The POS has answered something.
    pub(super) heard: bool,
}

impl Service {
    /// Runs one write: turn, deadline. Not past `not_after`, neither by the wall clock nor by this process's
    /// own.
    pub(super) async fn write<T, E, F>(
        &self,
        connection: Connection,
        not_after: Option<Timestamp>,
        work: impl FnOnce(Arc<dyn Adapter>, Connection, Instant) -> F + Send + 'static,
    ) -> Result<Written<T, E>, Status>
    where
        T: Send + 'static,
        E: From<Unplaced> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let not_after = not_after.ok_or_else(|| Failure::field("REQUIRED", "not_after", "is missing"))?;
        let not_after = NotAfter::new(&not_after);
        let deadline = caller_deadline().min(not_after.own());
        if not_after.has_passed() {
            return Ok(not_begun(not_after_passed()));
        }
        let running = match self.turn(&connection, deadline).await {
            Ok(running) => running,
            Err(no) => return Ok(not_begun(no_turn(no))),
        };
        let adapter = Arc::clone(&self.adapter);
        // In a task of its own: a caller that hangs up must not tear a write of several steps apart.
        let task = async move {
            let begun = Instant::now();
            let (result, heard) = if not_after.has_passed() || begun >= deadline {
                (Err(not_after_passed().into()), false)
            } else {
                let (result, heard) = watched(timeout_at(deadline, work(adapter, connection, deadline))).await;
                (result.unwrap_or_else(|_| Err(timed_out().into())), heard)
            };
            drop(running);
            Written { heard: heard || result.is_ok(), result, took: begun.elapsed() }
        };
        let written = self.tasks.spawn(task.in_current_span()).await;
        written.map_err(|fault| Failure::internal("the write ended in a fault of the adapter", fault).into())
    }
}

fn not_begun<T, E: From<Unplaced>>(unplaced: Unplaced) -> Written<T, E> {
    Written { result: Err(unplaced.into()), took: Duration::ZERO, heard: false }
}

fn not_after_passed() -> Unplaced {
    Unplaced::not_handed_over(cause::NOT_AFTER_PASSED, "the time until which the POS may be written to is over")
}

fn timed_out() -> Unplaced {
    Unplaced::in_doubt(cause::TIMED_OUT, "the POS did not answer before the attempt's time was over")
}

fn no_turn(no: NoTurn) -> Unplaced {
    Unplaced::NotHandedOver(NotHandedOver {
        cause: cause::RATE_LIMITED.to_owned(),
        message: no.to_string(),
        retry_after: Some(time::to_proto_duration(no.retry_after())),
    })
}
