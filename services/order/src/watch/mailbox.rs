//! What waits for one watcher: the newest news alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::{Duration, Instant},
};

/// Why a watcher gets no more news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It left news unread for longer than this.
    TooSlow(Duration),
    /// This replica is shutting down.
    Stopped,
}

/// One slot: newer news replace what was not read yet, so a watcher costs the same however slow it is.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    slot: Mutex<Slot<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct Slot<T> {
    news: Option<T>,
    /// Since when there have been news that nobody read.
    unread_since: Option<Instant>,
    ended: Option<Ended>,
    /// Its place among the watchers of this replica; given up when it ends. `None`: whoever reads it needs none, and is
    /// never too slow.
    place: Option<OwnedSemaphorePermit>,
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub(crate) fn new(place: Option<OwnedSemaphorePermit>) -> Self {
        let slot = Slot { news: None, unread_since: None, ended: None, place };
        Self { slot: Mutex::new(slot), changed: Notify::new() }
    }

    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves news, in place of older ones.
    pub(crate) fn post(&self, news: T) {
        let mut slot = self.slot();
        if slot.ended.is_none() {
            slot.news = Some(news);
            slot.unread_since.get_or_insert_with(Instant::now);
            self.changed.notify_one();
        }
    }

    /// Waits for the next news. For one reader.
    pub(crate) async fn next(&self) -> Result<T, Ended> {
        loop {
            {
                let mut slot = self.slot();
                if let Some(ended) = slot.ended {
                    return Err(ended);
                }
                if let Some(news) = slot.news.take() {
                    slot.unread_since = None;
                    return Ok(news);
                }
            }
            self.changed.notified().await;
        }
    }

    /// Ends a watcher that has left news unread for longer than `max_lag`.
    pub(crate) fn end_if_slow(&self, now: Instant, max_lag: Duration) {
        let lags = self.slot().unread_since.is_some_and(|since| now.saturating_duration_since(since) > max_lag);
        if lags {
            self.end(Ended::TooSlow(max_lag));
        }
    }

    /// Ends a watcher, unless nobody counts it as one.
    pub(crate) fn end(&self, why: Ended) {
        let mut slot = self.slot();
        if slot.place.take().is_some() {
            slot.ended = Some(why);
            slot.news = None;
            slot.unread_since = None;
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    const LAG: Duration = Duration::from_secs(30);

    fn watcher() -> (Arc<Semaphore>, Mailbox<u32>) {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        (places, Mailbox::new(Some(place)))
    }

    #[tokio::test]
    async fn only_the_newest_news_wait() {
        let (_, mailbox) = watcher();
        (1..=1000).for_each(|news| mailbox.post(news));
        assert_eq!(mailbox.next().await, Ok(1000));
        assert!(tokio::time::timeout(Duration::from_millis(5), mailbox.next()).await.is_err());
    }

    #[tokio::test]
    async fn who_leaves_news_unread_for_too_long_loses_its_place_and_is_told_why() {
        let (places, mailbox) = watcher();
        let posted = Instant::now();
        mailbox.post(1);
        let posted_by = Instant::now();
        // Newer ones do not make it any faster.
        mailbox.post(2);
        mailbox.end_if_slow(posted + LAG, LAG);
        assert_eq!(places.available_permits(), 0);
        mailbox.end_if_slow(posted_by + LAG + Duration::from_nanos(1), LAG);
        assert_eq!(places.available_permits(), 1);
        mailbox.post(3);
        assert_eq!(mailbox.next().await, Err(Ended::TooSlow(LAG)));
    }

    #[tokio::test]
    async fn who_has_read_everything_may_wait_for_ever() {
        let (places, mailbox) = watcher();
        mailbox.post(1);
        assert_eq!(mailbox.next().await, Ok(1));
        mailbox.end_if_slow(Instant::now() + LAG * 100, LAG);
        mailbox.post(2);
        assert_eq!(mailbox.next().await, Ok(2));
        assert_eq!(places.available_permits(), 0);
    }
}
