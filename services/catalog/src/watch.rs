//! Streams of what becomes current. A watcher is a slot that newer heads replace; it has no task and no query of its
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
    diffs::{Diffs, Seen},
    domain::Beside,
    error::Error,
    layers::{LayerCache, LayersMark},
    menus::Menus,
    storage::{OfferHead, ScopeKey, Storage, StorageError, StoreKey},
};

/// How often the storage is looked at for what other replicas published.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How far a look goes back beyond the one before: longer than a publication takes from its time stamp to its commit.
const OVERLAP: Duration = Duration::from_secs(30);

/// How far a store has come: its offer, and the revisions of what it and its brand lay over it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Point {
    head: OfferHead,
    own: i64,
    of_brand: i64,
}

impl Point {
    /// The further of both, in each respect.
    fn max(self, other: Self) -> Self {
        Self {
            head: self.head.max(other.head),
            own: self.own.max(other.own),
            of_brand: self.of_brand.max(other.of_brand),
        }
    }
}

/// Who watches on this replica.
#[derive(Debug)]
pub(crate) struct Watches {
    storage: Arc<dyn Storage>,
    menus: Arc<Menus>,
    layers: Arc<LayerCache>,
    diffs: Arc<Diffs>,
    seats: Mutex<HashMap<StoreKey, Vec<Arc<Seat>>>>,
    /// Somebody came, or this replica has changed what is sold.
    look_now: Arc<Notify>,
    places: Arc<Semaphore>,
    max_lag: Duration,
    stop: CancellationToken,
}

/// A watcher's place on this replica.
#[derive(Debug)]
struct Seat {
    /// Whose overlays lie over the store's catalog.
    brand: ScopeKey,
    slot: Mutex<Slot>,
    news: Notify,
}

#[derive(Debug)]
struct Slot {
    /// What is current.
    point: Point,
    /// Since when there has been one that it did not read.
    unread_since: Option<Instant>,
    /// `None`: it was too slow and has lost it.
    place: Option<OwnedSemaphorePermit>,
}

impl Seat {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, point: Point) {
        let mut slot = self.slot();
        let newest = slot.point.max(point);
        if slot.point != newest {
            slot.point = newest;
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

    /// What is current, which counts as read. `None`: the place is lost.
    fn read(&self) -> Option<Point> {
        let mut slot = self.slot();
        slot.place.as_ref()?;
        slot.unread_since = None;
        Some(slot.point)
    }
}

/// What a watcher wants to know.
pub(crate) struct Wish {
    pub(crate) key: StoreKey,
    pub(crate) store: Arc<Store>,
    pub(crate) locale: String,
    /// What it knows.
    pub(crate) told: Option<Point>,
}

impl Watches {
    /// Looks until the service stops.
    pub(crate) fn start(
        config: &Config,
        storage: Arc<dyn Storage>,
        (menus, layers): (Arc<Menus>, Arc<LayerCache>),
        diffs: Arc<Diffs>,
        mounted: &Mounted,
    ) -> Arc<Self> {
        let watches = Arc::new(Self {
            storage,
            look_now: menus.changed(),
            menus,
            layers,
            diffs,
            seats: Mutex::default(),
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
        let slot = Slot { point: Point::default(), unread_since: None, place: Some(place) };
        let brand = ScopeKey::brand(&wish.key.tenant_id, &wish.store.brand_id);
        let seat = Arc::new(Seat { brand, slot: Mutex::new(slot), news: Notify::new() });
        // Before the head is read: what changes meanwhile must not be missed.
        self.seats().entry(wish.key.clone()).or_default().push(Arc::clone(&seat));
        let mut watching = Watching { watches: Arc::clone(self), seat, wish, seen: None, known: None, ended: false };
        let key = &watching.wish.key;
        let head = self.storage.head(key).await?.unwrap_or_default();
        let (own, of_brand) = self.storage.overlay_revisions(&ScopeKey::store(key), &watching.seat.brand).await?;
        let current = Point { head, own, of_brand };
        watching.seat.tell(current);
        // What is from the future is of a database that was restored since.
        if let Some(told) = watching.wish.told.filter(|told| told.max(current) == current) {
            watching.seen = Some(self.seen_before(&watching.wish, told, current).await?);
            watching.known = Some(told);
        }
        self.look_now.notify_one();
        Ok(stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) }))
    }

    /// What a watcher saw that comes back; where that is not known any more, as a version 0.
    async fn seen_before(&self, wish: &Wish, told: Point, current: Point) -> Result<Seen, Error> {
        let unknown = Seen { head: OfferHead { version: 0, ..told.head }, ..Seen::default() };
        if (told.own, told.of_brand) != (current.own, current.of_brand) {
            return Ok(unknown);
        }
        if told.head.revision == current.head.revision {
            return self.seen(wish, told).await;
        }
        let revisions = (told.head.revision, current.head.revision);
        let Some(availability) = self.storage.availability_at(&wish.key, revisions).await? else { return Ok(unknown) };
        // Nothing but words changed.
        let now = self.seen(wish, current).await?;
        let beside = Arc::new(Beside { availability, ..Beside::clone(&now.beside) });
        Ok(Seen { head: told.head, beside, ..now })
    }

    async fn seen(&self, Wish { key, store, .. }: &Wish, point: Point) -> Result<Seen, Error> {
        let Point { head, own, of_brand } = point;
        let mark = LayersMark { brand_id: store.brand_id.as_str().into(), own, of_brand };
        let beside = self.menus.beside(key, head.revision).await?;
        Ok(Seen { head, beside, layers: self.layers.at(key, &mark).await?, mark: Some(mark) })
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
        let overlaid: HashMap<ScopeKey, i64> = self.storage.changed_overlays(within).await?.into_iter().collect();
        let now = Instant::now();
        let seats = self.seats();
        for (key, head) in changed {
            let point = Point { head, ..Point::default() };
            seats.get(&key).into_iter().flatten().for_each(|seat| seat.tell(point));
        }
        let revision = |scope: &ScopeKey| overlaid.get(scope).copied().unwrap_or_default();
        for (key, seats) in seats.iter().filter(|_| !overlaid.is_empty()) {
            let own = revision(&ScopeKey::store(key));
            for seat in seats {
                seat.tell(Point { own, of_brand: revision(&seat.brand), ..Point::default() });
            }
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
    /// What it was told last.
    seen: Option<Seen>,
    known: Option<Point>,
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
            let point = self.seat.read().ok_or(Error::WatcherTooSlow { max_lag: self.watches.max_lag })?;
            if self.known != Some(point) {
                let now = self.watches.seen(&self.wish, point).await?;
                let response = self.response(&now, point).await?;
                let is_news = self.seen.as_ref().is_none_or(|seen| seen.head != now.head);
                (self.seen, self.known) = (Some(now), Some(point));
                // What changed may be laid over nothing that is there.
                if is_news || !response.changes.is_empty() {
                    return Ok(response);
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.seat.news.notified() => {}
            }
        }
    }

    async fn response(&self, now: &Seen, point: Point) -> Result<WatchCatalogResponse, Error> {
        let Wish { key, store, locale, .. } = &self.wish;
        let version = now.head.version;
        let summary = self.watches.storage.versions(key, version.saturating_add(1), 1).await?.pop();
        let mut response = WatchCatalogResponse {
            version,
            content_hash: summary.filter(|summary| summary.version == version).unwrap_or_default().content_hash,
            resume_token: resume_token(point, &key.store_id),
            ..Default::default()
        };
        if let Some(before) = self.seen.as_ref().filter(|seen| seen.head.version > 0) {
            match self.watches.diffs.of_offers(key, store, (before, now), locale).await {
                Ok(diff) => {
                    response.from_version = before.head.version;
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

fn resume_token(Point { head: OfferHead { version, revision }, own, of_brand }: Point, store_id: &str) -> String {
    format!("{version}-{revision}-{own}-{of_brand}.{store_id}")
}

/// What a watcher of this store knows; `None` without a token. What an old token does not say is taken to be 0.
pub(crate) fn parse_resume_token(token: &str, store_id: &str) -> Result<Option<Point>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    let point = |text: &str| {
        let mut numbers = [0; 4];
        let parts: Vec<&str> = text.split('-').collect();
        for (place, part) in parts.iter().enumerate() {
            *numbers.get_mut(place)? = number(part)?;
        }
        let [version, revision, own, of_brand] = numbers;
        Some(Point { head: OfferHead { version, revision }, own, of_brand })
    };
    let told = token.split_once('.').filter(|(_, id)| *id == store_id).and_then(|(text, _)| point(text));
    told.map(Some).ok_or_else(|| Error::Field {
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
    fn a_token_says_which_offer_was_seen_of_which_store() {
        let point = Point { head: OfferHead { version: 7, revision: 3 }, own: 2, of_brand: 9 };
        assert_eq!(parse_resume_token(&resume_token(point, "ueno"), "ueno").unwrap(), Some(point));
        let of_old = Point { head: OfferHead { version: 7, revision: 0 }, ..Point::default() };
        assert_eq!(parse_resume_token("7.ueno", "ueno").unwrap(), Some(of_old));
        assert_eq!(parse_resume_token("", "ueno").unwrap(), None);
        for bad in ["7-3.shibuya", "7", "-7.ueno", "7--3.ueno", "7-3-2-9-1.ueno", "x.ueno", "."] {
            assert!(parse_resume_token(bad, "ueno").is_err(), "{bad}");
        }
    }

    #[test]
    fn who_leaves_a_version_unread_for_too_long_loses_its_place_and_who_has_read_all_never_does() {
        const LAG: Duration = Duration::from_secs(30);
        let places = Arc::new(Semaphore::new(1));
        let head = |version| Point { head: OfferHead { version, revision: 0 }, ..Point::default() };
        let slot = Slot { point: head(1), unread_since: None, place: Arc::clone(&places).try_acquire_owned().ok() };
        let brand = ScopeKey { tenant_id: "brand".into(), scope: "brand/izakaya".into() };
        let seat = Seat { brand, slot: Mutex::new(slot), news: Notify::new() };
        seat.end_if_slow(Instant::now() + LAG * 100, LAG);
        assert_eq!(seat.read(), Some(head(1)));
        seat.tell(head(2));
        // Newer ones do not make it any faster, older ones are no news.
        seat.tell(head(3));
        seat.tell(head(1));
        seat.end_if_slow(Instant::now() + LAG / 2, LAG);
        assert_eq!((seat.read(), places.available_permits()), (Some(head(3)), 0));
        seat.tell(head(4));
        seat.end_if_slow(Instant::now() + LAG * 2, LAG);
        assert_eq!((seat.read(), places.available_permits()), (None, 1));
    }
}
