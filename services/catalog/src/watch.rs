//! Streams of what becomes current. A watcher is a slot that newer versions replace; it has no task and no query of its
//! own. One task per replica looks at what changed, whichever replica published it, and only while somebody watches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, stream};
use posmesh_kit::{backoff, server::Mounted};
use posmesh_proto::{catalog::v1::WatchCatalogResponse, store::v1::Store};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    config::Config,
    diffs::Diffs,
    error::Error,
    storage::{Storage, StorageError, StoreKey},
};

/// How often the storage is looked at for what other replicas published.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How far a look goes back beyond the one before: longer than a publication takes from its time stamp to its commit.
const OVERLAP: Duration = Duration::from_secs(30);

/// Who watches on this replica.
#[derive(Debug)]
pub(crate) struct Watches {
    storage: Arc<dyn Storage>,
    diffs: Arc<Diffs>,
    seats: Mutex<HashMap<StoreKey, Vec<Arc<Seat>>>>,
    /// Somebody came, or this replica has published.
    look_now: Arc<Notify>,
    places: Arc<Semaphore>,
    max_lag: Duration,
    stop: CancellationToken,
}

/// A watcher's place on this replica.
#[derive(Debug)]
struct Seat {
    slot: Mutex<Slot>,
    news: Notify,
}

#[derive(Debug)]
struct Slot {
    /// The current version; 0 before the first one.
    version: i64,
    /// Since when there has been a version that it did not read.
    unread_since: Option<Instant>,
    /// `None`: it was too slow and has lost it.
    place: Option<OwnedSemaphorePermit>,
}

impl Seat {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, version: i64) {
        let mut slot = self.slot();
        if slot.version < version {
            slot.version = version;
            slot.unread_since.get_or_insert_with(Instant::now);
            self.news.notify_one();
        }
    }

    fn end_if_slow(&self, now: Instant, max_lag: Duration) {
        let mut slot = self.slot();
        if slot.unread_since.is_some_and(|since| now.saturating_duration_since(since) > max_lag) {
            slot.place = None;
            self.news.notify_one();
        }
    }

    /// The current version, which counts as read. `None`: the place is lost.
    fn read(&self) -> Option<i64> {
        let mut slot = self.slot();
        slot.place.as_ref()?;
        slot.unread_since = None;
        Some(slot.version)
    }
}

/// What a watcher wants to know.
pub(crate) struct Wish {
    pub(crate) key: StoreKey,
    pub(crate) store: Arc<Store>,
    pub(crate) locale: String,
    /// The version that it knows.
    pub(crate) told: Option<i64>,
}

impl Watches {
    /// Looks until the service stops. `look_now` is told of each publication of this replica.
    pub(crate) fn start(
        config: &Config,
        storage: Arc<dyn Storage>,
        diffs: Arc<Diffs>,
        look_now: Arc<Notify>,
        mounted: &Mounted,
    ) -> Arc<Self> {
        let watches = Arc::new(Self {
            storage,
            diffs,
            seats: Mutex::default(),
            look_now,
            places: Arc::new(Semaphore::new(config.max_watchers.min(Semaphore::MAX_PERMITS))),
            max_lag: config.watcher_max_lag,
            stop: mounted.stop.clone(),
        });
        let looker = Arc::clone(&watches);
        mounted.background.spawn(async move {
            tokio::select! {
                () = looker.stop.cancelled() => {}
                () = looker.look_again_and_again() => {}
            }
        });
        watches
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<StoreKey, Vec<Arc<Seat>>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which version is current, unless it is the one that the watcher knows; then each change.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        wish: Wish,
    ) -> Result<impl Stream<Item = Result<WatchCatalogResponse, Status>> + Send + use<>, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::TooManyWatchers)?;
        let slot = Slot { version: 0, unread_since: None, place: Some(place) };
        let seat = Arc::new(Seat { slot: Mutex::new(slot), news: Notify::new() });
        // Before the version is read: what is published meanwhile must not be missed.
        self.seats().entry(wish.key.clone()).or_default().push(Arc::clone(&seat));
        let mut watching = Watching { watches: Arc::clone(self), seat, wish, ended: false };
        let current = self.storage.current_version(&watching.wish.key).await?.unwrap_or_default();
        watching.seat.tell(current);
        // A version from the future is one of a database that was restored since.
        watching.wish.told = watching.wish.told.filter(|told| *told <= current);
        self.look_now.notify_one();
        Ok(stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) }))
    }

    async fn look_again_and_again(&self) {
        let mut looked = Instant::now();
        loop {
            if self.seats().is_empty() {
                self.look_now.notified().await;
            }
            let began = Instant::now();
            match tokio::time::timeout(LOOK_TIMEOUT, self.look(OVERLAP + looked.elapsed())).await {
                Ok(Ok(())) => looked = began,
                Ok(Err(error)) => tracing::warn!(%error, "what was published could not be looked for"),
                Err(_) => tracing::warn!("what was published could not be looked for: no answer"),
            }
            let pause = backoff::delay_after(LOOK_INTERVAL, LOOK_INTERVAL, 0);
            let _ = tokio::time::timeout(pause, self.look_now.notified()).await;
        }
    }

    /// Tells what became current, and ends those who do not listen.
    async fn look(&self, within: Duration) -> Result<(), StorageError> {
        let changed = self.storage.changed_heads(within).await?;
        let now = Instant::now();
        let seats = self.seats();
        for (key, version) in changed {
            seats.get(&key).into_iter().flatten().for_each(|seat| seat.tell(version));
        }
        seats.values().flatten().for_each(|seat| seat.end_if_slow(now, self.max_lag));
        Ok(())
    }
}

/// One stream.
struct Watching {
    watches: Arc<Watches>,
    seat: Arc<Seat>,
    wish: Wish,
    ended: bool,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut seats = self.watches.seats();
        if let Some(of_store) = seats.get_mut(&self.wish.key) {
            of_store.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
            if of_store.is_empty() {
                seats.remove(&self.wish.key);
            }
        }
    }
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchCatalogResponse, Status>> {
        if self.ended {
            return None;
        }
        let item = self.next_change().await;
        self.ended = item.is_err();
        Some(item.map_err(Status::from))
    }

    async fn next_change(&mut self) -> Result<WatchCatalogResponse, Error> {
        let stop = self.watches.stop.clone();
        loop {
            if stop.is_cancelled() {
                return Err(Error::Stopping);
            }
            let version = self.seat.read().ok_or(Error::WatcherTooSlow { max_lag: self.watches.max_lag })?;
            if self.wish.told != Some(version) {
                let response = self.response(version).await?;
                self.wish.told = Some(version);
                return Ok(response);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.seat.news.notified() => {}
            }
        }
    }

    async fn response(&self, version: i64) -> Result<WatchCatalogResponse, Error> {
        let Wish { key, store, locale, told } = &self.wish;
        let summary = self.watches.storage.versions(key, version.saturating_add(1), 1).await?.pop();
        let mut response = WatchCatalogResponse {
            version,
            content_hash: summary.filter(|summary| summary.version == version).unwrap_or_default().content_hash,
            resume_token: resume_token(version, &key.store_id),
            ..Default::default()
        };
        if let Some(from) = told.filter(|told| *told > 0) {
            match self.watches.diffs.get(key, store, (from, version), locale).await {
                Ok(diff) => {
                    response.from_version = from;
                    response.changes.clone_from(&diff.changes);
                    response.omitted_changes = i32::try_from(diff.omitted).unwrap_or(i32::MAX);
                }
                // The version that the watcher knew is not kept any more: it reads the whole.
                Err(Error::VersionNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(response)
    }
}

fn resume_token(version: i64, store_id: &str) -> String {
    format!("{version}.{store_id}")
}

/// The version that a watcher of this store knows; `None` without a token.
pub(crate) fn parse_resume_token(token: &str, store_id: &str) -> Result<Option<i64>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let version = token.split_once('.').filter(|(_, id)| *id == store_id).and_then(|(version, _)| version.parse().ok());
    version.filter(|version| *version >= 0).map(Some).ok_or_else(|| Error::Field {
        reason: "RESUME_TOKEN_INVALID",
        field: "resume_token",
        message: "is not from an earlier answer about this store; watch without it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_says_which_version_was_seen_of_which_store() {
        assert_eq!(parse_resume_token(&resume_token(7, "ueno"), "ueno").unwrap(), Some(7));
        assert_eq!(parse_resume_token("", "ueno").unwrap(), None);
        for bad in ["7.shibuya", "7", "-7.ueno", "x.ueno", "."] {
            assert!(parse_resume_token(bad, "ueno").is_err(), "{bad}");
        }
    }

    #[test]
    fn who_leaves_a_version_unread_for_too_long_loses_its_place_and_who_has_read_all_never_does() {
        const LAG: Duration = Duration::from_secs(30);
        let places = Arc::new(Semaphore::new(1));
        let slot = Slot { version: 1, unread_since: None, place: Arc::clone(&places).try_acquire_owned().ok() };
        let seat = Seat { slot: Mutex::new(slot), news: Notify::new() };
        seat.end_if_slow(Instant::now() + LAG * 100, LAG);
        assert_eq!(seat.read(), Some(1));
        seat.tell(2);
        // Newer ones do not make it any faster, older ones are no news.
        seat.tell(3);
        seat.tell(1);
        seat.end_if_slow(Instant::now() + LAG / 2, LAG);
        assert_eq!((seat.read(), places.available_permits()), (Some(3), 0));
        seat.tell(4);
        seat.end_if_slow(Instant::now() + LAG * 2, LAG);
        assert_eq!((seat.read(), places.available_permits()), (None, 1));
    }
}
