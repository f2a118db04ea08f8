//! All links in memory, and when each is looked at next.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use posmesh_kit::ambient;
use posmesh_proto::router::v1::{Link, LinkEvent, LinkEvidenceKind};
use tokio::time::Instant;

use super::vendor::Vendor;
use crate::{
    domain::{
        self,
        link::{Pace, Seen, Tracker},
    },
    snapshot::{Connections, Snapshot, Way},
    storage::{NewLink, StoredLink},
};

/// A POS that takes orders is probed all the same after so many intervals: an order does not tell of the printer.
const LONGEST_WITHOUT_PROBE: u32 = 6;
/// When the adapters of a vendor come or go, its links are looked at within this.
const HASTE: Duration = Duration::from_secs(1);

/// Tenant and connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Arc<str>, pub(super) Arc<str>);

impl Key {
    pub(super) fn of(way: &Way) -> Self {
        Self::new(&way.tenant_id, way.id())
    }

    pub(super) fn new(tenant_id: &str, connection_id: &str) -> Self {
        Self(tenant_id.into(), connection_id.into())
    }
}

/// One link.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) way: Arc<Way>,
    pub(super) tracker: Tracker,
    /// What is durable, if anything is.
    stored: Option<StoredLink>,
    /// Whether this replica probes it.
    mine: bool,
    due: Option<Instant>,
    last_probe: Option<Instant>,
    /// A probe is under way.
    probing: bool,
}

impl Entry {
    /// The number of the last change of the link that is durable; 0: there is none.
    pub(super) fn change(&self) -> i64 {
        self.stored.as_ref().map_or(0, |stored| stored.change)
    }
}

/// What became of something that was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// It must be written.
    pub(super) changed: bool,
    /// The next probe of some link is due earlier than before.
    pub(super) sooner: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    replica_id: String,
    pace: Pace,
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Stored links whose connection has not been read yet.
    unclaimed: BTreeMap<Key, StoredLink>,
    pub(super) vendors: BTreeMap<String, Vendor>,
    /// Instances of each vendor when it was looked at last.
    alive: BTreeMap<String, usize>,
    due: BTreeSet<(Instant, Key)>,
    pub(super) dirty: BTreeSet<Key>,
    pub(super) connections: Arc<Connections>,
    /// The number of the last change that was read.
    pub(super) last_change: i64,
    replicas: Vec<String>,
}

impl Table {
    pub(super) fn new(replica_id: &str, pace: Pace) -> Self {
        Self {
            replica_id: replica_id.to_owned(),
            pace,
            entries: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            vendors: BTreeMap::new(),
            alive: BTreeMap::new(),
            due: BTreeSet::new(),
            dirty: BTreeSet::new(),
            connections: Arc::default(),
            last_change: 0,
            replicas: vec![replica_id.to_owned()],
        }
    }

    /// When the next probe is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes out one link that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.due = None;
        }
        Some(key)
    }

    /// Puts the next probe of a link to a moment.
    pub(super) fn put_off(&mut self, key: &Key, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(old) = entry.due.take() {
            self.due.remove(&(old, key.clone()));
        }
        if let Some(due) = due {
            entry.due = Some(due);
            self.due.insert((due, key.clone()));
        }
    }

    /// A probe begins, if none is under way. Returns what it needs.
    pub(super) fn begin(&mut self, key: &Key, now: Instant) -> Option<(Arc<Way>, Duration)> {
        let entry = self.entries.get_mut(key).filter(|entry| !entry.probing)?;
        entry.probing = true;
        entry.last_probe = Some(now);
        let pace = self.vendors.get(entry.way.vendor()).map_or(self.pace, |vendor| vendor.pace);
        Some((Arc::clone(&entry.way), pace.timeout(&entry.tracker)))
    }

    /// A probe has ended without telling anything.
    pub(super) fn end(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.probing = false;
        }
        self.plan(key, now, None);
    }

    /// The earliest moment at which a connection may be probed again.
    pub(super) fn may_be_probed_at(&self, key: &Key) -> Option<Instant> {
        let entry = self.entries.get(key)?;
        Some(entry.last_probe? + self.vendors.get(entry.way.vendor())?.least)
    }

    /// Takes in what was seen, unless the connection leads to another POS by now.
    pub(super) fn saw(
        &mut self,
        key: &Key,
        way: &Way,
        kind: LinkEvidenceKind,
        seen: Seen,
        now_ms: i64,
        now: Instant,
    ) -> Noted {
        let Some(entry) = self.entries.get_mut(key) else { return Noted::default() };
        if domain::pos_revision(&entry.way.stored.connection) != domain::pos_revision(&way.stored.connection) {
            return Noted::default();
        }
        if kind == LinkEvidenceKind::Probe {
            entry.probing = false;
        }
        let failed = matches!(seen, Seen::Failed { .. });
        let changed = entry.tracker.observe(kind, seen, now_ms);
        if changed {
            self.dirty.insert(key.clone());
        }
        // A failed call makes the next probe earlier, never later.
        let is_call = matches!(kind, LinkEvidenceKind::Call | LinkEvidenceKind::Heartbeat);
        let latest = entry.due.filter(|_| failed && is_call);
        Noted { changed, sooner: self.plan(key, now, latest) }
    }

    /// The links that this replica probes, and their stores.
    pub(super) fn own(&self) -> Vec<(Key, Arc<Way>)> {
        let own = self.entries.iter().filter(|(_, entry)| entry.mine);
        own.map(|(key, entry)| (key.clone(), Arc::clone(&entry.way))).collect()
    }

    /// The opening time of a link's store began or ended.
    pub(super) fn set_awake(&mut self, key: &Key, awake: bool, now_ms: i64, now: Instant) -> Noted {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.tracker.is_awake() != awake) else {
            return Noted::default();
        };
        let changed = entry.tracker.set_awake(awake, now_ms);
        if changed {
            self.dirty.insert(key.clone());
        }
        Noted { changed, sooner: self.plan(key, now, None) }
    }

    /// Sets when a link is looked at next, after what was just seen. Returns whether that is the first of all.
    fn plan(&mut self, key: &Key, now: Instant, latest: Option<Instant>) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        let vendor = self.vendors.get(entry.way.vendor());
        let (pace, least) = vendor.map_or((self.pace, Duration::ZERO), |vendor| (vendor.pace, vendor.least));
        let wanted = entry.mine || entry.tracker.is_suspected();
        if self.pace.interval.is_zero() || !wanted || entry.probing {
            self.put_off(key, None);
            return false;
        }
        let mut due = now + pace.pause(&entry.tracker);
        due = latest.map_or(due, |latest| due.min(latest));
        if let Some(last) = entry.last_probe {
            if entry.tracker.is_awake() && entry.tracker.is_askable() {
                due = due.min(last + pace.interval.saturating_mul(LONGEST_WITHOUT_PROBE));
            }
            due = due.max(last + least);
        }
        self.put_off(key, Some(due.max(now)));
        self.due.first().is_some_and(|(_, first)| first == key)
    }

    /// Brings the table in line with the connections, instances and replicas that there are. Returns whether a probe may
    /// be due earlier.
    pub(super) fn sync(&mut self, snapshot: &Snapshot, replicas: Option<Vec<String>>, now: Instant) -> bool {
        let mut replicas = replicas.unwrap_or_else(|| self.replicas.clone());
        if !replicas.contains(&self.replica_id) {
            replicas.push(self.replica_id.clone());
            replicas.sort();
        }
        let new_replicas = replicas != self.replicas;
        let new_connections = !Arc::ptr_eq(&snapshot.connections, &self.connections);
        self.replicas = replicas;
        if new_connections {
            self.connections = Arc::clone(&snapshot.connections);
        }
        let new = if new_connections { self.take_connections() } else { Vec::new() };
        let hastened = self.take_instances(snapshot, new_connections || new_replicas);
        if new_replicas {
            self.deal(self.entries.keys().cloned().collect(), now);
        } else {
            self.deal(new, now);
        }
        for vendor in &hastened {
            self.hasten(vendor, now);
        }
        new_connections || new_replicas || !hastened.is_empty()
    }

    /// Returns those that are to be dealt: new ones, and those that lead to another POS.
    fn take_connections(&mut self) -> Vec<Key> {
        let mut new = Vec::new();
        let connections = Arc::clone(&self.connections);
        let mut gone: BTreeSet<Key> = self.entries.keys().cloned().collect();
        for way in connections.all() {
            let key = Key::of(way);
            gone.remove(&key);
            match self.entries.get_mut(&key) {
                Some(entry) if Arc::ptr_eq(&entry.way, way) => {}
                Some(entry) => {
                    let connection = |way: &Way| domain::pos_revision(&way.stored.connection);
                    let is_same = connection(&entry.way) == connection(way)
                        && entry.way.stored.connection.store_id == way.stored.connection.store_id;
                    entry.way = Arc::clone(way);
                    if !is_same {
                        // Of that POS nothing is known.
                        entry.tracker = tracker(way, entry.stored.as_ref());
                        self.put_off(&key, None);
                        new.push(key);
                    }
                }
                None => {
                    let stored = self.unclaimed.remove(&key);
                    let entry = Entry {
                        tracker: tracker(way, stored.as_ref()),
                        way: Arc::clone(way),
                        stored,
                        mine: false,
                        due: None,
                        last_probe: None,
                        probing: false,
                    };
                    self.entries.insert(key.clone(), entry);
                    new.push(key);
                }
            }
        }
        for key in gone {
            self.put_off(&key, None);
            self.entries.remove(&key);
            self.dirty.remove(&key);
        }
        new
    }

    /// Looks at each vendor again. Returns those whose last instance has gone, or whose first one has come.
    fn take_instances(&mut self, snapshot: &Snapshot, anew: bool) -> Vec<String> {
        let mut alive: BTreeMap<String, usize> = BTreeMap::new();
        for instance in snapshot.instances.values() {
            let vendor = instance.registration.descriptor.as_ref().map(|d| d.vendor.clone()).unwrap_or_default();
            *alive.entry(vendor).or_default() += 1;
        }
        let changed = |vendor: &String| alive.contains_key(vendor) != self.alive.contains_key(vendor);
        let all: BTreeSet<&String> = alive.keys().chain(self.alive.keys()).collect();
        let hastened: Vec<String> = all.into_iter().filter(|vendor| changed(vendor)).cloned().collect();
        let anew = anew || alive != self.alive;
        self.alive = alive;
        if anew {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for way in self.connections.all() {
                *counts.entry(way.vendor()).or_default() += 1;
            }
            let vendors = counts.into_iter().map(|(vendor, count)| {
                let new = Vendor::new(self.pace, snapshot.descriptors.get(vendor), count, self.replicas.len());
                (vendor.to_owned(), new.after(self.vendors.get(vendor)))
            });
            self.vendors = vendors.collect();
        }
        hastened
    }

    /// Deals connections to the replicas.
    fn deal(&mut self, keys: Vec<Key>, now: Instant) {
        for key in keys {
            let mut ranked: Vec<&String> = self.replicas.iter().collect();
            domain::rank(&mut ranked, |id| id.as_str(), &key.0, &key.1);
            let mine = ranked.first().is_some_and(|first| **first == self.replica_id);
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let is_new = mine && entry.due.is_none() && !entry.probing;
            entry.mine = mine;
            if is_new && !self.pace.interval.is_zero() {
                // Spread over an interval; of what nothing is known, or what is away, within a second.
                let settled = entry.tracker.link().healthy_since.is_some();
                let spread = if settled { self.pace.interval } else { HASTE };
                self.put_off(&key, Some(now + spread.mul_f64(ambient::jitter(0.0, 1.0))));
            } else if !mine {
                self.plan(&key, now, None);
            }
        }
    }

    fn hasten(&mut self, vendor: &str, now: Instant) {
        let of_vendor = self.entries.iter().filter(|(_, entry)| entry.mine && entry.way.vendor() == vendor);
        let keys: Vec<Key> = of_vendor.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let soon = now + HASTE.mul_f64(ambient::jitter(0.0, 1.0));
            let due = self.entries.get(&key).and_then(|entry| entry.due);
            if due.is_some_and(|due| due > soon) {
                self.put_off(&key, Some(soon));
            }
        }
    }

    /// Takes in a link that was read.
    pub(super) fn read(&mut self, stored: StoredLink, now: Instant) {
        self.last_change = stored.change;
        let key = Key::new(&stored.tenant_id, &stored.link.connection_id);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.unclaimed.insert(key, stored);
            return;
        };
        let same_pos = stored.pos_revision == domain::pos_revision(&entry.way.stored.connection);
        let is_own = *entry.tracker.link() == stored.link;
        if same_pos && !is_own {
            entry.tracker.adopt(stored.link.clone(), self.dirty.remove(&key));
        }
        entry.stored = Some(stored);
        if same_pos && !is_own {
            self.plan(&key, now, None);
        }
    }

    /// What is to be written, a part of it at a time.
    pub(super) fn take_dirty(&mut self, limit: usize) -> Vec<(Key, NewLink)> {
        let keys: Vec<Key> = self.dirty.iter().take(limit).cloned().collect();
        let new = keys.into_iter().filter_map(|key| {
            self.dirty.remove(&key);
            let entry = self.entries.get(&key)?;
            let link = entry.tracker.link().clone();
            let known = entry.stored.as_ref().map_or(0, |stored| stored.link.version);
            let new = NewLink {
                tenant_id: entry.way.tenant_id.clone(),
                replaces: entry.stored.as_ref().map_or(0, |stored| stored.revision),
                pos_revision: domain::pos_revision(&entry.way.stored.connection),
                event: (link.version > known).then(|| event(&link)),
                link,
            };
            Some((key, new))
        });
        new.collect()
    }

    /// What others are told of a link: what is durable, with the newest evidence that this replica has.
    pub(super) fn shown(&self, key: &Key) -> Option<Link> {
        let entry = self.entries.get(key)?;
        let current = domain::pos_revision(&entry.way.stored.connection);
        let stored = entry.stored.as_ref().filter(|stored| stored.pos_revision == current);
        let own = entry.tracker.link();
        let Some(stored) = stored else {
            let mut unknown = tracker(&entry.way, entry.stored.as_ref()).link().clone();
            unknown.evidence = own.evidence;
            return Some(unknown);
        };
        let mut link = stored.link.clone();
        if entry.mine {
            link.evidence = own.evidence;
            link.pos_latency = own.pos_latency;
        }
        Some(link)
    }

    /// The links of a tenant after a connection (empty: all), by connection.
    pub(super) fn of_tenant(&self, tenant_id: &str, after: &str) -> impl Iterator<Item = (&Key, &Entry)> {
        let first = Key::new(tenant_id, after);
        let from = self.entries.range((Bound::Excluded(first.clone()), Bound::Unbounded));
        from.take_while(move |(key, _)| key.0 == first.0)
    }
}

/// Goes on from what is stored, if that is about the POS to which the connection leads.
fn tracker(way: &Way, stored: Option<&StoredLink>) -> Tracker {
    let connection = &way.stored.connection;
    match stored {
        Some(stored) if stored.pos_revision == domain::pos_revision(connection) => Tracker::new(stored.link.clone()),
        earlier => Tracker::unknown(connection, earlier.map_or(0, |earlier| earlier.link.version)),
    }
}

fn event(link: &Link) -> LinkEvent {
    LinkEvent {
        time: link.since,
        version: link.version,
        state: link.state,
        failing_hop: link.failing_hop.clone(),
        cause: link.cause.clone(),
        message: link.message.clone(),
        evidence: link.evidence.as_ref().map_or(0, |evidence| evidence.kind),
    }
}
