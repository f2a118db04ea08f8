//! The one writer: decides, records and applies changes in order, several to one sync of the disk.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{Refusal, cause};
use crate::clock::now_ms;
use crate::journal::{Entry, Event, Journal, JournalError};
use crate::rules::Decided;
use crate::state::State;

/// Requests that may wait for the writer; beyond it callers wait to be let in.
const QUEUE: usize = 1024;
/// Most changes that share one sync.
const BATCH: usize = 128;

/// Decides on the state; answers the event to record and how to release the caller once it is durable.
type Decide = Box<dyn FnOnce(&State, i64) -> (Option<Event>, Release) + Send>;
type Release = Box<dyn FnOnce() + Send>;

enum Job {
    Decide { received: Instant, decide: Decide },
    Stop,
}

/// Hands changes to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the writer's thread. It cancels `ended` when it ends, for whatever reason, and stops deciding once
    /// `ended` is cancelled. Readers of `state` wait while a batch is on its way to the disk, so that nobody is told
    /// what a crash could undo.
    pub(crate) fn start(
        journal: Journal,
        state: Arc<RwLock<State>>,
        printed: watch::Sender<u32>,
        ended: CancellationToken,
    ) -> std::io::Result<(Self, JoinHandle<Result<(), JournalError>>)> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("simpos-writer".into()).spawn(move || {
            let _told = ended.clone().drop_guard();
            write_all(queue, journal, &state, &printed, &ended)
        })?;
        Ok((Writer { jobs }, thread))
    }

    /// Has `decide` run on the current state at the moment of recording; answers once its event is durable.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        received: Instant,
        decide: impl FnOnce(&State, i64) -> Decided<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let decide = Box::new(move |state: &State, now: i64| {
            let (event, result) = match decide(state, now) {
                Ok((event, told)) => (event, Ok(told)),
                Err(refusal) => (None, Err(refusal)),
            };
            // A caller that has left needs no answer.
            let release: Release = Box::new(move || drop(answer.send(result)));
            (event, release)
        });
        let stopping =
            || Refusal::for_now(503, cause::STOPPING, "the POS is stopping: find out what it recorded", 1000);
        self.jobs.send(Job::Decide { received, decide }).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// Ends the thread after what was queued before.
    pub(crate) async fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.jobs.send(Job::Stop).await;
    }
}

fn write_all(
    mut queue: mpsc::Receiver<Job>,
    mut journal: Journal,
    shared: &RwLock<State>,
    printed: &watch::Sender<u32>,
    ended: &CancellationToken,
) -> Result<(), JournalError> {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 && !ended.is_cancelled() {
        let mut state = shared.blocking_write();
        let (mut releases, mut recorded, mut stop) = (Vec::with_capacity(batch.len()), Vec::new(), false);
        for job in batch.drain(..) {
            let Job::Decide { received, decide } = job else {
                stop = true;
                break;
            };
            let at = now_ms();
            let (event, release) = decide(&state, at);
            releases.push(release);
            if let Some(event) = event {
                let entry = Entry { seq: state.next_seq(), at, event };
                journal.append(&entry)?;
                recorded.push((entry.seq, received));
                state.apply(entry);
            }
        }
        // On failure memory and file may no longer agree: the thread ends, the server with it, and callers are told
        // that nobody knows.
        journal.sync()?;
        for (seq, received) in recorded {
            state.set_handling(seq, received.elapsed().as_micros() as u64);
        }
        let last_printed = state.last_printed();
        drop(state);
        printed.send_if_modified(|last| std::mem::replace(last, last_printed) != last_printed);
        releases.into_iter().for_each(|release| release());
        // Answers need not wait for it, the next requests do.
        if journal.has_grown() {
            journal.renew(&shared.blocking_read())?;
        }
        if stop {
            break;
        }
    }
    Ok(())
}
