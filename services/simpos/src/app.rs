//! What every request handler shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, RwLock, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{Refusal, Ticket};
use crate::clock::now_ms;
use crate::faults::Faults;
use crate::rules;
use crate::state::State;
use crate::writer::Writer;

/// Slips fetched at a time for a follower, and how many may wait for it.
const FOLLOW_PAGE: usize = 64;

/// How long an order may be overdue to move on by itself.
const KITCHEN_TICK_MS: i64 = 20;

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
    /// Told when orders may have to move on by themselves otherwise than before.
    pub(crate) settings_changed: Notify,
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
        let (settings_changed, faults) = (Notify::new(), Mutex::default());
        App(Arc::new(Inner { api_key, state, writer, printed, crash, shutdown, settings_changed, faults }))
    }

    /// The fault rules. No code panics while it holds them, so that a poisoned lock would still be sound.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings printer and till in line with the standing fault rules.
    pub(crate) async fn apply_conditions(&self, received: Instant) -> Result<(), Refusal> {
        let app = self.clone();
        // Read at the moment of recording, so that of two changes at once the later rules win.
        self.writer
            .write(received, move |state, now| rules::set_conditions(state, app.faults().conditions(), now))
            .await
    }

    /// Moves orders on as the settings say, until the POS stops.
    pub(crate) async fn keep_kitchen_going(&self) {
        loop {
            let (automatic, due) = {
                let state = self.state.read().await;
                (state.settings.progress_after_ms.is_some(), state.next_due())
            };
            if !automatic {
                self.settings_changed.notified().await;
                continue;
            }
            // An order that is recorded meanwhile may be due before the one that is waited for.
            let wait_ms = due.map_or(KITCHEN_TICK_MS, |due| due.saturating_sub(now_ms()).clamp(0, KITCHEN_TICK_MS));
            tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())).await;
            let is_due = due.is_some_and(|due| due <= now_ms());
            if is_due && self.writer.write(Instant::now(), rules::progress_due).await.is_err() {
                return;
            }
        }
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
