//! The stream of changes. It reads the storage again and again from where it stands, and only when its consumer takes
//! the next message: a slow consumer costs one page of memory, however much changes meanwhile.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use posmesh_kit::backoff;
use posmesh_proto::store::v1::WatchStoresResponse;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    error::Error,
    request::Token,
    storage::{ChangedStore, Storage, StorageError},
};

/// Stores in one message.
const BATCH: usize = 50;

/// One consumer's place in the changes of its tenant.
pub(crate) struct Watcher {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) tenant_id: Arc<str>,
    /// Names the tenant's changes in resume tokens.
    pub(crate) list: String,
    /// The change that was sent last.
    pub(crate) after: i64,
    /// Told of each write of this process.
    pub(crate) written: watch::Receiver<u64>,
    pub(crate) poll_interval: Duration,
    pub(crate) stop: CancellationToken,
    /// Whether the consumer has been told that it is current.
    pub(crate) current: bool,
}

impl Watcher {
    /// Everything after the place, then each change. Ends with the error that ended it.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<WatchStoresResponse, Status>> {
        stream::unfold(Some(self), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(message) => Some((Ok(message), Some(watcher))),
                Err(error) => Some((Err(error.into()), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<WatchStoresResponse, Error> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Stopping),
            message = self.next_change() => Ok(message?),
        }
    }

    async fn next_change(&mut self) -> Result<WatchStoresResponse, StorageError> {
        loop {
            // Before the read: a write during it must not be missed.
            self.written.mark_unchanged();
            let changed = self.storage.changed_stores(&self.tenant_id, self.after, BATCH).await?;
            if !changed.is_empty() || !self.current {
                return Ok(self.message(changed));
            }
            let jittered = backoff::delay_after(self.poll_interval, self.poll_interval, 0);
            tokio::select! {
                // An error means that nobody writes in this process any more; the poll goes on.
                Ok(()) = self.written.changed() => {}
                () = tokio::time::sleep(jittered) => {}
            }
        }
    }

    fn message(&mut self, changed: Vec<ChangedStore>) -> WatchStoresResponse {
        self.current |= changed.len() < BATCH;
        self.after = changed.last().map_or(self.after, |last| last.change);
        WatchStoresResponse {
            stores: changed.into_iter().map(|changed| changed.store).collect(),
            resume_token: Token { list: &self.list, place: &self.after.to_string() }.encode(),
            current: self.current,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::store::v1::{Brand, Store};

    use super::*;
    use crate::storage::MemoryStorage;

    fn watcher(storage: &Arc<dyn Storage>, written: &watch::Sender<u64>) -> Watcher {
        Watcher {
            storage: Arc::clone(storage),
            tenant_id: "t".into(),
            list: String::new(),
            after: 0,
            written: written.subscribe(),
            poll_interval: Duration::from_secs(3600),
            stop: CancellationToken::new(),
            current: false,
        }
    }

    async fn write(storage: &Arc<dyn Storage>, written: &watch::Sender<u64>) {
        storage.put_brand("t", Brand { revision: -1, ..Default::default() }).await.unwrap();
        storage.put_store("t", Store { revision: -1, ..Default::default() }).await.unwrap();
        written.send_modify(|count| *count += 1);
    }

    #[tokio::test]
    async fn a_slow_consumer_gets_one_message_with_the_last_state_and_not_every_step() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let written = watch::Sender::default();
        let mut watcher = watcher(&storage, &written);
        watcher.next().await.unwrap();
        for _ in 0..1000 {
            write(&storage, &written).await;
        }
        let message = watcher.next().await.unwrap();
        assert_eq!(message.stores.iter().map(|store| store.revision).collect::<Vec<_>>(), [1000]);
    }

    #[tokio::test]
    async fn a_write_that_nobody_told_of_is_found_by_polling() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let written = watch::Sender::default();
        let mut watcher = Watcher { poll_interval: Duration::from_millis(5), ..watcher(&storage, &written) };
        watcher.next().await.unwrap();
        // By another replica, which tells its own watches alone.
        write(&storage, &watch::Sender::default()).await;
        let message = tokio::time::timeout(Duration::from_secs(5), watcher.next()).await.unwrap().unwrap();
        assert_eq!(message.stores.len(), 1);
    }
}
