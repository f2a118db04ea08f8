//! The stream of changes. A watcher reads the table when its consumer takes the next message: however slow it is, it costs
//! a list of keys at most, and one that leaves news unread for too long loses its place.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use futures_util::{Stream, stream};
use posmesh_kit::Violation;
use posmesh_proto::router::v1::WatchLinksResponse;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};
use tonic::Status;

use super::{
    Links,
    table::{Entry, Key, Table},
};
use crate::error::Error;

/// Links in one message.
const PAGE: usize = 100;
/// What resume tokens of this stream begin with.
const TOKEN: &str = "links";

/// A place in the changes: of links, and of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    links: i64,
    connections: i64,
}

impl Position {
    fn token(self) -> String {
        BASE64.encode(format!("{TOKEN}\n{}\n{}", self.links, self.connections))
    }

    /// `None`: everything from the beginning.
    fn of_token(token: &str) -> Result<Option<Self>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let read = || {
            let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
            let (links, connections) = text.strip_prefix(TOKEN)?.strip_prefix('\n')?.split_once('\n')?;
            let at = Self { links: links.parse().ok()?, connections: connections.parse().ok()? };
            (at.links >= 0 && at.connections >= 0).then_some(at)
        };
        read().map(Some).ok_or_else(bad_token)
    }

    fn is_reached(self, table: &Table) -> bool {
        self.links <= table.last_change && self.connections <= table.connections.last_change
    }
}

fn bad_token() -> Error {
    let message = "take the token from an earlier answer, or leave it empty for everything";
    Violation::new("RESUME_TOKEN_INVALID", "resume_token", message).into()
}

/// A watcher's place on this replica.
#[derive(Debug)]
struct Seat {
    slot: Mutex<Slot>,
    news: Notify,
}

#[derive(Debug)]
struct Slot {
    /// Since when there have been news that it did not read.
    unread_since: Option<Instant>,
    /// `None`: it was too slow and has lost it.
    place: Option<OwnedSemaphorePermit>,
}

impl Seat {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who watches on this replica.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    seats: Mutex<Vec<Arc<Seat>>>,
}

impl Watchers {
    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There are news.
    pub(super) fn tell(&self, now: Instant) {
        for seat in self.seats().iter() {
            seat.slot().unread_since.get_or_insert(now);
            seat.news.notify_one();
        }
    }

    /// Takes their place from those who have left news unread for too long.
    pub(super) fn end_slow(&self, now: Instant, max_lag: Duration) {
        for seat in self.seats().iter() {
            let mut slot = seat.slot();
            if slot.unread_since.is_some_and(|since| now.saturating_duration_since(since) > max_lag) {
                slot.place = None;
                seat.news.notify_one();
            }
        }
    }
}

/// One stream.
struct Watching {
    links: Arc<Links>,
    tenant_id: Arc<str>,
    seat: Arc<Seat>,
    /// Everything up to there was told.
    told: Position,
    /// What is to be told to come to `next`.
    queue: VecDeque<Key>,
    deleted: Vec<String>,
    next: Position,
    /// Everything that was there was told once.
    current: bool,
    ended: bool,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.links.watchers.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

impl Links {
    /// All links of a tenant, or what changed since a token; then each change.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        tenant_id: Arc<str>,
        token: &str,
    ) -> Result<impl Stream<Item = Result<WatchLinksResponse, Status>> + Send + use<>, Error> {
        let from = Position::of_token(token)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::TooManyWatchers)?;
        if from.is_some_and(|from| !from.is_reached(&self.table())) {
            // Another replica has read what this one has not. What none has, an older database has never had.
            self.caller.directory.refresh().await;
            self.catch_up().await;
            if from.is_some_and(|from| !from.is_reached(&self.table())) {
                return Err(bad_token());
            }
        }
        let slot = Slot { unread_since: Some(Instant::now()), place: Some(place) };
        let seat = Arc::new(Seat { slot: Mutex::new(slot), news: Notify::new() });
        self.watchers.seats().push(Arc::clone(&seat));
        let told = from.unwrap_or_default();
        let watching = Watching {
            links: Arc::clone(self),
            tenant_id,
            seat,
            told,
            queue: VecDeque::new(),
            deleted: Vec::new(),
            next: told,
            current: false,
            ended: false,
        };
        Ok(stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) }))
    }
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchLinksResponse, Status>> {
        if self.ended {
            return None;
        }
        let item = self.next_page().await;
        self.ended = item.is_err();
        Some(item.map_err(Status::from))
    }

    async fn next_page(&mut self) -> Result<WatchLinksResponse, Error> {
        loop {
            if self.links.stop.is_cancelled() {
                return Err(Error::Stopping);
            }
            if self.seat.slot().place.is_none() {
                return Err(Error::WatcherTooSlow { max_lag: self.links.max_watcher_lag });
            }
            if self.queue.is_empty() {
                self.gather();
            }
            if !self.queue.is_empty() || !self.deleted.is_empty() || !self.current {
                return Ok(self.page());
            }
            tokio::select! {
                () = self.links.stop.cancelled() => {}
                () = self.seat.news.notified() => {}
            }
        }
    }

    /// Notes all that changed since what was told.
    fn gather(&mut self) {
        // Before the look: news that come during it are news.
        self.seat.slot().unread_since = None;
        let table = self.links.table();
        let is_news = |entry: &Entry| entry.way.change > self.told.connections || entry.change() > self.told.links;
        let news = table.of_tenant(&self.tenant_id, "").filter(|(_, entry)| is_news(entry));
        self.queue = news.map(|(key, _)| key.clone()).collect();
        self.deleted = table.connections.deleted_after(&self.tenant_id, self.told.connections);
        self.next = Position { links: table.last_change, connections: table.connections.last_change };
        if self.queue.is_empty() && self.deleted.is_empty() {
            self.told = self.next;
        }
    }

    fn page(&mut self) -> WatchLinksResponse {
        let keys: Vec<Key> = self.queue.drain(..self.queue.len().min(PAGE)).collect();
        let table = self.links.table();
        let links = keys.iter().filter_map(|key| table.shown(key)).collect();
        drop(table);
        if self.queue.is_empty() {
            self.told = self.next;
            self.current = true;
        }
        WatchLinksResponse {
            links,
            deleted_connection_ids: std::mem::take(&mut self.deleted),
            resume_token: self.told.token(),
            current: self.current,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::StreamExt as _;

    use super::*;

    #[test]
    fn only_a_token_of_this_stream_is_taken() {
        let at = Position { links: 7, connections: 9 };
        assert_eq!(Position::of_token(&at.token()).unwrap(), Some(at));
        assert_eq!(Position::of_token("").unwrap(), None);
        let other = BASE64.encode("stores\n7\n9");
        let negative = Position { links: -1, connections: 0 }.token();
        for bad in ["x", "bGlua3M", &other, &negative, "\u{0}"] {
            assert!(Position::of_token(bad).is_err(), "{bad}");
        }
    }

    async fn links() -> Arc<Links> {
        let config = crate::Config {
            lease: Duration::from_secs(60),
            refresh_interval: Duration::from_secs(10),
            probe_interval: Duration::ZERO,
            probe_timeout: Duration::from_secs(1),
            max_watchers: 1,
            watcher_max_lag: Duration::from_secs(30),
            sealing_keys: crate::SealingKeys::generate("k1"),
        };
        let storage: Arc<dyn crate::storage::Storage> = Arc::new(crate::storage::MemoryStorage::default());
        let directory = Arc::new(crate::directory::Directory::open(Arc::clone(&storage)).await.unwrap());
        let vault = Arc::new(crate::sealing::Vault::new(&config.sealing_keys).unwrap());
        let caller = Arc::new(crate::caller::Caller { directory, vault });
        Links::new(&config, storage, caller, None, tokio_util::sync::CancellationToken::new())
    }

    #[tokio::test]
    async fn a_watcher_that_leaves_news_unread_for_too_long_loses_its_place_and_hears_why() {
        let links = links().await;
        let mut slow = Box::pin(links.watch("t".into(), "").await.unwrap());
        assert!(slow.next().await.unwrap().unwrap().current);
        let now = Instant::now();
        let lag = Duration::from_secs(30);
        links.watchers.end_slow(now + Duration::from_secs(3600), lag);
        assert_eq!(links.places.available_permits(), 0, "without news there is nothing to read");
        links.watchers.tell(now);
        links.watchers.end_slow(now + lag, lag);
        assert_eq!(links.places.available_permits(), 0);
        links.watchers.end_slow(now + lag + Duration::from_millis(1), lag);
        assert_eq!(links.places.available_permits(), 1);
        let status = slow.next().await.unwrap().unwrap_err();
        assert_eq!(posmesh_kit::failure::reason(&status), "WATCHER_TOO_SLOW");
        assert!(slow.next().await.is_none());
    }
}
