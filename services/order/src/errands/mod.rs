//! Work on connections that goes on whoever dies: polling a POS for events, and comparing orders after an outage. Any
//! replica takes up what fell due, one at a time each.

mod outage;
mod polling;
mod waker;

use std::{sync::Arc, time::Duration};

use posmesh_kit::backoff;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    dispatch::Dispatcher,
    peers::Reader,
    reconcile::Reconciler,
    storage::{Errand, ErrandKind, Next, Storage},
};

pub(crate) use waker::Waker;

/// How long an errand belongs to its replica, which renews it as it goes on.
const LEASE: Duration = Duration::from_secs(60);
const STORAGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Does errands. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Errands {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) reader: Reader,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) reconciler: Reconciler,
    pub(crate) waker: Waker,
    pub(crate) replica: Arc<str>,
    /// How often this replica looks for what fell due.
    pub(crate) interval: Duration,
    /// Errands that it does at once; 0: none.
    pub(crate) at_once: usize,
}

impl Errands {
    /// Looks for errands until `stop`.
    pub(crate) fn start(self, tasks: &TaskTracker, stop: &CancellationToken) {
        let (inner, stop) = (tasks.clone(), stop.clone());
        if self.at_once == 0 {
            return;
        }
        tasks.spawn(async move {
            let places = Arc::new(Semaphore::new(self.at_once));
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(backoff::delay_after(self.interval, self.interval, 0)) => {}
                }
                while self.take_up(&places, &inner, &stop).await {}
            }
        });
    }

    /// Claims as many errands as there is room for. Returns whether there may be more.
    async fn take_up(&self, places: &Arc<Semaphore>, tasks: &TaskTracker, stop: &CancellationToken) -> bool {
        let room = places.available_permits();
        if room == 0 || stop.is_cancelled() {
            return false;
        }
        let claim = self.storage.claim_errands(&self.replica, LEASE, room);
        let claimed = match tokio::time::timeout(STORAGE_TIMEOUT, claim).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(error)) => {
                tracing::warn!(%error, "errands could not be claimed");
                return false;
            }
            Err(_) => {
                tracing::warn!("errands could not be claimed: the database does not answer");
                return false;
            }
        };
        let is_full = claimed.len() == room;
        for errand in claimed {
            let place = Arc::clone(places).try_acquire_owned();
            let (errands, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                errands.see_to(errand, stop).await;
                drop(place);
            });
        }
        is_full
    }

    async fn see_to(&self, mut errand: Errand, stop: CancellationToken) {
        let next = tokio::select! {
            // Another replica goes on with it at once, from where it is.
            () = stop.cancelled() => Some(Next::Again(Duration::ZERO)),
            next = self.turn(&mut errand) => next,
        };
        if let Some(next) = next {
            self.put(&errand, next).await;
        }
    }

    /// Does an errand's next turn. `None`: another replica has it by now.
    async fn turn(&self, errand: &mut Errand) -> Option<Next> {
        match errand.kind {
            ErrandKind::Poll => self.poll(errand).await,
            ErrandKind::Reconcile => self.compare_after_outage(errand).await,
        }
    }

    /// Stores how far an errand came. Returns whether it is still this replica's.
    async fn put(&self, errand: &Errand, next: Next) -> bool {
        let connection_id = &errand.connection_id;
        match tokio::time::timeout(STORAGE_TIMEOUT, self.storage.put_errand(errand, next)).await {
            Ok(Ok(is_ours)) => return is_ours,
            Ok(Err(error)) => tracing::warn!(%error, connection.id = %connection_id, "an errand could not be stored"),
            Err(_) => tracing::warn!(connection.id = %connection_id, "an errand could not be stored: no answer"),
        }
        // Its lease ends, and then it is done again from where it was.
        false
    }
}
