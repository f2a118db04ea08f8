//! Writes what changed here, and reads what changed anywhere.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{
    backoff::{self, Backoff},
    time,
};
use posmesh_kit_db::StorageError;
use tokio::time::Instant;

use super::Links;

/// How long a replica counts as alive after it was last heard of; its connections are then probed by the others.
const LEASE: Duration = Duration::from_secs(5);
const RENEW_EVERY: Duration = Duration::from_millis(1500);
/// How often the stores' opening hours are looked at.
const LOOK_AT_HOURS_EVERY: Duration = Duration::from_secs(5);
/// Links that one statement reads, or one transaction writes.
const PAGE: usize = 500;
const WRITE_BATCH: usize = 500;
/// A database that does not answer for so long is asked anew.
const PATIENCE: Duration = Duration::from_secs(10);

impl Links {
    /// Reads again and again, and says that this replica lives.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        let mut renewed: Option<Instant> = None;
        let mut looked: Option<Instant> = None;
        loop {
            if renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                let begun = Instant::now();
                match tokio::time::timeout(PATIENCE, self.storage.renew_replica(&self.replica_id, LEASE)).await {
                    Ok(Ok(replicas)) => {
                        renewed = Some(begun);
                        self.sync(Some(replicas));
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "the router's replicas cannot be read"),
                    Err(_) => tracing::warn!("the router's replicas cannot be read: no answer"),
                }
            }
            self.refresh().await;
            if looked.is_none_or(|at| at.elapsed() >= LOOK_AT_HOURS_EVERY) {
                looked = Some(Instant::now());
                self.look_at_hours();
            }
            self.watchers.end_slow(Instant::now(), self.max_watcher_lag);
            let pause = backoff::delay_after(self.refresh_interval, self.refresh_interval, 0);
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Its connections go to the others at once. If this fails they go when the lease ends.
        let _ = tokio::time::timeout(RENEW_EVERY, self.storage.drop_replica(&self.replica_id)).await;
    }

    /// Takes in the connections and instances that the directory knows, and what is stored of links since the last look.
    pub(crate) async fn refresh(&self) {
        self.follow();
        match tokio::time::timeout(PATIENCE, self.read()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "links cannot be read; the router goes on with what it knows"),
            Err(_) => tracing::warn!("links cannot be read: no answer"),
        }
    }

    /// Reads, and knows then how far the numbers of changes have come: the newest may be of links that are no more.
    pub(super) async fn catch_up(&self) {
        self.follow();
        let read = async {
            let last = self.storage.last_link_change().await?;
            self.read().await?;
            let mut table = self.table();
            table.last_change = table.last_change.max(last);
            Ok::<_, StorageError>(())
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "links cannot be read; the router goes on with what it knows"),
            Err(_) => tracing::warn!("links cannot be read: no answer"),
        }
    }

    /// Wakes the links of stores that are about to open, and lets those of closed ones rest.
    fn look_at_hours(&self) {
        let (own, now_ms) = (self.table().own(), time::now_unix_ms());
        let known = own.into_iter().filter_map(|(key, way)| {
            let awake = self.hours.is_awake(&way.stored.connection.store_id, now_ms)?;
            Some((key, awake))
        });
        for (key, awake) in known.collect::<Vec<_>>() {
            let noted = self.table().set_awake(&key, awake, now_ms, Instant::now());
            self.noted(noted);
        }
    }

    /// Takes in the connections and instances that the directory knows.
    pub(crate) fn follow(&self) {
        self.sync(None);
    }

    fn sync(&self, replicas: Option<Vec<String>>) {
        let snapshot = self.caller.directory.snapshot();
        let (sooner, connections_changed) = {
            let mut table = self.table();
            let before = table.connections.last_change;
            let sooner = table.sync(&snapshot, replicas, Instant::now());
            (sooner, table.connections.last_change != before)
        };
        if sooner {
            self.replanned.notify_one();
        }
        if connections_changed {
            self.watchers.tell(Instant::now());
        }
    }

    async fn read(&self) -> Result<(), StorageError> {
        let _one_at_a_time = self.reading.lock().await;
        loop {
            let after = self.table().last_change;
            let changed = self.storage.changed_links(after, PAGE).await?;
            let (is_last, is_news) = (changed.len() < PAGE, !changed.is_empty());
            {
                let (mut table, now) = (self.table(), Instant::now());
                changed.into_iter().for_each(|stored| table.read(stored, now));
            }
            if is_news {
                self.replanned.notify_one();
                self.watchers.tell(Instant::now());
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Writes what changed, many links in one transaction.
    pub(super) async fn keep_written(self: Arc<Self>) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let batch = self.table().take_dirty(WRITE_BATCH);
            if batch.is_empty() {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.dirty.notified() => continue,
                }
            }
            let (keys, links): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let written = tokio::time::timeout(PATIENCE, self.storage.put_links(&links)).await;
            match written {
                // What another replica has written meanwhile is read, and judged anew.
                Ok(Ok(changes)) => {
                    backoff.reset();
                    self.table().written(&keys, &changes);
                    self.refresh().await;
                }
                failed => {
                    match failed {
                        Ok(Err(error)) => tracing::warn!(%error, "links cannot be written; they are written later"),
                        _ => tracing::warn!("links cannot be written: no answer"),
                    }
                    // If it was written all the same, reading tells.
                    self.table().unwritten(keys);
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = tokio::time::sleep(backoff.next_delay()) => {}
                    }
                    self.refresh().await;
                }
            }
        }
    }
}
