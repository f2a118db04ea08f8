//! What every request handler shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{RwLock, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{Refusal, Ticket};
use crate::faults::Faults;
use crate::rules;
use crate::state::State;
use crate::writer::Writer;

/// Slips fetched at a time for a follower, and how many may wait for it.
const FOLLOW_PAGE: usize = 64;

/// Handle on the running POS.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) api_key: String,
    pub(crate) state: Arc<RwLock<State>>,
    pub(crate) writer: Writer,
    /// Number of the last printed slip.
    pub(crate) printed: watch::Receiver<u32>,
    /// Cancelled to die: connections break, nothing more is recorded.
    pub(crate) crash: CancellationToken,
    /// Cancelled to stop in good order.
    pub(crate) shutdown: CancellationToken,
    faults: Mutex<Faults>,
}

impl std::ops::Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    pub(crate) fn new(
        api_key: String,
        state: Arc<RwLock<State>>,
        writer: Writer,
        printed: watch::Receiver<u32>,
        crash: CancellationToken,
        shutdown: CancellationToken,
    ) -> Self {
        App(Arc::new(Inner { api_key, state, writer, printed, crash, shutdown, faults: Mutex::default() }))
    }

    /// The fault rules. No code panics while it holds them, so that a poisoned lock would still be sound.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings printer and till in line with the standing fault rules.
    pub(crate) async fn apply_conditions(&self, received: Instant) -> Result<(), Refusal> {
        let app = self.clone();
        // Read at the moment of recording, so that of two changes at once the later rules win.
        self.writer.write(received, move |state, _| rules::set_conditions(state, app.faults().conditions())).await
    }

    /// Slips after a number, as they are printed; ends with the receiver or the POS.
    pub(crate) fn follow_tickets(&self, after: u32) -> mpsc::Receiver<Arc<Ticket>> {
        let (tickets, receiver) = mpsc::channel(FOLLOW_PAGE);
        let (app, mut after) = (self.clone(), after);
        let mut printed = self.printed.clone();
        tokio::spawn(async move {
            loop {
                // Marked as seen before reading, so that no print is missed between.
                printed.borrow_and_update();
                loop {
                    let page: Vec<Arc<Ticket>> =
                        app.state.read().await.printed_after(after).take(FOLLOW_PAGE).cloned().collect();
                    let Some(last) = page.last() else { break };
                    after = last.number;
                    for ticket in page {
                        if tickets.send(ticket).await.is_err() {
                            return;
                        }
                    }
                }
                tokio::select! {
                    changed = printed.changed() => if changed.is_err() { return },
                    () = tickets.closed() => return,
                    () = app.shutdown.cancelled() => return,
                }
            }
        });
        receiver
    }
}
