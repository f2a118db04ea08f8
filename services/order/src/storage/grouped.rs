//! The hot writes, gathered to batches: many callers share one durable transaction.

use std::{future::Future, sync::Arc, time::Duration};

use posmesh_kit_db::{GroupCommit, Rejected};

use super::{Changed, NewOrder, OrderChange, Placement, Storage, StorageError};

/// Batches of one kind that are written at once. While one commits the other gathers; more only make batches smaller.
const LANES: usize = 2;
/// Writes of one kind that may wait; more are refused at once.
const QUEUE: usize = 8192;
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Takes and changes orders on a storage, batch by batch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GroupedWrites {
    places: GroupCommit<NewOrder, Result<Placement, StorageError>>,
    changes: GroupCommit<OrderChange, Result<Changed, StorageError>>,
}

impl GroupedWrites {
    /// Starts the tasks that write. They end when the last clone is dropped and nothing waits any more.
    pub fn start(storage: &Arc<dyn Storage>) -> Self {
        let (placer, changer) = (Arc::clone(storage), Arc::clone(storage));
        Self {
            places: GroupCommit::start(LANES, QUEUE, move |orders: Vec<NewOrder>| {
                let storage = Arc::clone(&placer);
                async move { in_time(orders.len(), storage.place_batch(orders)).await }
            }),
            changes: GroupCommit::start(LANES, QUEUE, move |changes: Vec<OrderChange>| {
                let storage = Arc::clone(&changer);
                async move { in_time(changes.len(), storage.change_batch(changes)).await }
            }),
        }
    }

    /// Takes an order: durable when it returns.
    ///
    /// # Errors
    /// When it was not let in, or nobody told what became of it.
    pub async fn place(&self, new: NewOrder) -> Result<Result<Placement, StorageError>, Rejected> {
        self.places.submit(new).await
    }

    /// Changes an order: durable when it returns.
    ///
    /// # Errors
    /// As [`GroupedWrites::place`].
    pub async fn change(&self, change: OrderChange) -> Result<Result<Changed, StorageError>, Rejected> {
        self.changes.submit(change).await
    }
}

/// A batch whose answer does not come would hold its lane for ever: after a while nobody knows what became of it.
async fn in_time<T>(
    count: usize,
    write: impl Future<Output = Vec<Result<T, StorageError>>>,
) -> Vec<Result<T, StorageError>> {
    match tokio::time::timeout(WRITE_TIMEOUT, write).await {
        Ok(answers) => answers,
        Err(_) => {
            let silent = || Err(StorageError::Ambiguous(format!("no answer within {WRITE_TIMEOUT:?}")));
            std::iter::repeat_with(silent).take(count).collect()
        }
    }
}
