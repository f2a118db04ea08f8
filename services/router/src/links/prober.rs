//! Looks at links when they are due. The scheduling is one task; each probe is one of its own, so a slow one delays none.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posmesh_kit::{ambient, time};
use posmesh_proto::{
    adapter::v1::{ProbeLinkRequest, ProbeLinkResponse},
    router::v1::LinkEvidenceKind,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tonic::{Request, Status};

use super::{
    Links, judge,
    table::{Begun, Key, Noted, Table},
};
use crate::{
    caller::{Client, Repeat, Route},
    domain::link::Seen,
    outcome::no_answer,
    snapshot::{Instance, Way},
};

/// Probes under way at once on one adapter instance: of links that are not OFFLINE, and of those that are. A slow adapter
/// holds up its own probes alone, and the dead none of the living.
const LIVING_AT_ONCE: usize = 512;
const DEAD_AT_ONCE: usize = 512;
/// Who finds no place comes back after about this; the dead, of whom there may be thousands, do not keep asking.
const NO_PLACE_FOR_LIVING: Duration = Duration::from_millis(100);
const NO_PLACE_FOR_DEAD: Duration = Duration::from_secs(1);
/// Probes begun before others get the table.
const BATCH: usize = 100;
/// Beyond a probe's own time, for the answer to be told.
const MARGIN: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Places {
    living: Arc<Semaphore>,
    dead: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self { living: Arc::new(Semaphore::new(LIVING_AT_ONCE)), dead: Arc::new(Semaphore::new(DEAD_AT_ONCE)) }
    }
}

/// A probe that may begin.
pub(super) struct Probe {
    pub(super) key: Key,
    way: Arc<Way>,
    instances: Vec<Arc<Instance>>,
    timeout: Duration,
    _place: Option<OwnedSemaphorePermit>,
}

impl Links {
    /// Probes until the router stops.
    pub(super) async fn keep_probing(self: Arc<Self>, tasks: TaskTracker) {
        let mut places = BTreeMap::new();
        loop {
            let due = self.table().next_due();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = wait => {}
                () = self.replanned.notified() => {}
            }
            for probe in self.begin_due(&mut places) {
                let links = Arc::clone(&self);
                tasks.spawn(async move {
                    tokio::select! {
                        () = links.stop.cancelled() => {}
                        () = links.probe(probe) => {}
                    }
                });
            }
        }
    }

    fn begin_due(&self, places: &mut BTreeMap<String, Places>) -> Vec<Probe> {
        let now = Instant::now();
        let mut table = self.table();
        if table.is_blind() {
            let due: Vec<Key> = std::iter::from_fn(|| table.pop_due(now)).take(BATCH).collect();
            let aged: Vec<Noted> = due.iter().map(|key| table.age(key, time::now_unix_ms(), now)).collect();
            drop(table);
            aged.into_iter().for_each(|noted| self.noted(noted));
            return Vec::new();
        }
        let mut begun = Vec::new();
        for _ in 0..BATCH {
            let Some(key) = table.pop_due(now) else { break };
            begun.extend(self.begin(&mut table, places, key, now));
        }
        drop(table);
        let live = self.caller.directory.snapshot();
        places.retain(|id, _| live.instances.contains_key(id));
        begun
    }

    /// Begins the probe of a link that is due, if there is a place for it.
    fn begin(&self, table: &mut Table, places: &mut BTreeMap<String, Places>, key: Key, now: Instant) -> Option<Probe> {
        let entry = table.entries.get(&key)?;
        let (way, is_dead) = (Arc::clone(&entry.way), entry.tracker.is_offline());
        let instances = self.caller.directory.known_instances(&way);
        let place = match instances.first() {
            None => None,
            Some(instance) => {
                let places = places.entry(instance.id().to_owned()).or_default();
                let place = Arc::clone(if is_dead { &places.dead } else { &places.living }).try_acquire_owned();
                let Ok(place) = place else {
                    let later = if is_dead { NO_PLACE_FOR_DEAD } else { NO_PLACE_FOR_LIVING };
                    table.put_off(&key, Some(now + later.mul_f64(ambient::jitter(0.5, 1.5))));
                    return None;
                };
                Some(place)
            }
        };
        if let Err(next) = spend(table, &way, now) {
            table.put_off(&key, Some(next));
            return None;
        }
        let Begun { way, timeout, late } = table.begin(&key, now)?;
        let label = ("link", if is_dead { "offline" } else { "living" });
        late.into_iter().for_each(|late| self.lateness.record(late, label));
        Some(Probe { key, way, instances, timeout, _place: place })
    }

    /// A probe of a link now, if the vendor allows it; else how long until it does.
    pub(super) fn begin_now(&self, key: &Key) -> Result<Probe, Duration> {
        const BUSY: Duration = Duration::from_secs(1);
        let (mut table, now) = (self.table(), Instant::now());
        let way = table.entries.get(key).map(|entry| Arc::clone(&entry.way)).ok_or(BUSY)?;
        if let Some(at) = table.may_be_probed_at(key).filter(|at| *at > now) {
            return Err(at - now);
        }
        spend(&mut table, &way, now).map_err(|next| next - now)?;
        let Begun { way, timeout, .. } = table.begin(key, now).ok_or(BUSY)?;
        table.put_off(key, None);
        drop(table);
        let instances = self.caller.directory.known_instances(&way);
        Ok(Probe { key: key.clone(), way, instances, timeout, _place: None })
    }

    /// Asks, and takes in the answer.
    pub(super) async fn probe(&self, probe: Probe) {
        let Probe { key, way, instances, timeout, _place } = probe;
        // Should this not come to its end, the link is looked at all the same.
        let ended = Ended { links: self, key: &key };
        let (kind, seen) = if instances.is_empty() {
            (LinkEvidenceKind::Registration, Ok(judge::no_adapter(way.vendor())))
        } else {
            (LinkEvidenceKind::Probe, self.ask(&way, instances, timeout).await)
        };
        match seen {
            Ok(seen) => {
                drop(ended);
                self.saw(&way, kind, seen);
            }
            Err(pause) => self.table().turned_away(&key, Instant::now() + pause.mul_f64(ambient::jitter(1.0, 1.2))),
        }
    }

    /// What a POS answers; or how long it is left alone.
    async fn ask(&self, way: &Arc<Way>, instances: Vec<Arc<Instance>>, timeout: Duration) -> Result<Seen, Duration> {
        let begun = Instant::now();
        let answer = tokio::time::timeout(timeout + MARGIN, self.call_probe(way, instances, timeout)).await;
        let mut seen = judge::probe(answer.unwrap_or_else(|_| Err(no_answer())), way.id())?;
        if let Seen::Well { latency, .. } = &mut seen {
            latency.get_or_insert(begun.elapsed());
        }
        Ok(seen)
    }

    async fn call_probe(
        &self,
        way: &Arc<Way>,
        instances: Vec<Arc<Instance>>,
        timeout: Duration,
    ) -> Result<ProbeLinkResponse, Status> {
        let context = self.caller.context(way)?;
        let request = ProbeLinkRequest { target: None, context: Some(context.clone()) };
        let route = Route { way: Arc::clone(way), context, instances };
        let call = |mut client: Client, request| async move {
            let mut request = Request::new(request);
            request.set_timeout(timeout);
            client.probe_link(request).await
        };
        Ok(self.caller.call(&route, Repeat::Probe, request, call).await?.0)
    }
}

/// Ends a probe, also one that is broken off.
struct Ended<'a> {
    links: &'a Links,
    key: &'a Key,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.links.table().end(self.key, Instant::now());
        self.links.replanned.notify_one();
    }
}

fn spend(table: &mut Table, way: &Way, now: Instant) -> Result<(), Instant> {
    table.vendors.get_mut(way.vendor()).map_or(Ok(()), |vendor| vendor.spend(now))
}
