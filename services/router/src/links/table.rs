//! All links in memory, and when each is looked at next. `deal` says which links there are and who probes them, `stored`
//! what of them is durable.

mod deal;
mod dirty;
mod schedule;
mod stored;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use posmesh_proto::router::v1::{Link, LinkEvidenceKind};
use tokio::time::Instant;

use self::{
    dirty::Dirty,
    schedule::{Place, Schedule},
    stored::Sent,
};
use super::vendor::Vendor;
use crate::{
    domain::{
        self,
        link::{Pace, Seen, Tracker, first_version, of_connection},
    },
    snapshot::{Connections, Way},
    storage::StoredLink,
};

/// A POS that takes orders is probed all the same after so many intervals: an order does not tell of the printer.
const LONGEST_WITHOUT_PROBE: u32 = 6;

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
    due: Option<Place>,
    /// Since when its probe has been due and found no place.
    waits_since: Option<Instant>,
    last_probe: Option<Instant>,
    /// A probe is under way.
    probing: bool,
    /// Until then nobody there wants to be asked.
    not_before: Option<Instant>,
    /// What was written, until it is read back.
    sent: Option<Sent>,
}

impl Entry {
    /// The number of the last change of the link that is durable; 0: there is none.
    pub(super) fn change(&self) -> i64 {
        self.stored.as_ref().map_or(0, |stored| stored.change)
    }

    /// The version that is durable; where nothing is of this POS, the one that everybody begins with.
    fn known_version(&self) -> i64 {
        let connection = &self.way.stored.connection;
        let stored = self.stored.as_ref().filter(|stored| stored.pos_revision == domain::pos_revision(connection));
        stored.map_or_else(|| first_version(connection), |stored| stored.link.version)
    }

    /// As this replica sees it, durable or not.
    pub(super) fn seen(&self) -> Link {
        of_connection(self.tracker.link().clone(), &self.way.stored.connection)
    }
}

/// A probe that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) way: Arc<Way>,
    /// How long its answer is waited for.
    pub(super) timeout: Duration,
    /// How long after it was due; `None`: somebody asked for it.
    pub(super) late: Option<Duration>,
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
    due: Schedule,
    dirty: Dirty,
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
            due: Schedule::default(),
            dirty: Dirty::default(),
            connections: Arc::default(),
            last_change: 0,
            replicas: vec![replica_id.to_owned()],
        }
    }

    /// Whether no POS is asked but by hand.
    pub(super) fn is_blind(&self) -> bool {
        self.pace.interval.is_zero()
    }

    /// Nobody has looked at a link for a while.
    pub(super) fn age(&mut self, key: &Key, now_ms: i64, now: Instant) -> Noted {
        let Some(entry) = self.entries.get_mut(key) else { return Noted::default() };
        let changed = entry.tracker.age(now_ms);
        if changed {
            self.mark(key);
        }
        Noted { changed, sooner: self.plan(key, now, None) }
    }

    /// When the next probe is due, and its vendor allows it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.next(|vendor| self.vendors.get(vendor)?.free_at())
    }

    /// Takes out one link that is due, and whose vendor allows a probe.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let key = self.due.pop(now, |vendor| self.vendors.get(vendor)?.free_at())?;
        if let Some(entry) = self.entries.get_mut(&key)
            && let Some(place) = entry.due.take()
        {
            entry.waits_since.get_or_insert(place.at);
        }
        Some(key)
    }

    /// Puts the next probe of a link to a moment.
    pub(super) fn put_off(&mut self, key: &Key, due: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(old) = entry.due.take() {
            self.due.remove(entry.way.vendor(), key, old);
        }
        if let Some(at) = due {
            // Without limits all that is due begins: then nobody may overtake, lest the others never come.
            let is_limited = self.vendors.get(entry.way.vendor()).is_some_and(Vendor::is_limited);
            let decides = entry.tracker.is_suspected() || entry.tracker.is_returning();
            let place = Place { at, urgent: is_limited && decides && entry.not_before.is_none() };
            entry.due = Some(place);
            self.due.put(entry.way.vendor(), key, place);
        }
    }

    /// A probe begins, if none is under way. Returns what it needs.
    pub(super) fn begin(&mut self, key: &Key, now: Instant) -> Option<Begun> {
        let entry = self.entries.get_mut(key).filter(|entry| !entry.probing)?;
        entry.probing = true;
        entry.last_probe = Some(now);
        let pace = self.vendors.get(entry.way.vendor()).map_or(self.pace, |vendor| vendor.pace);
        let late = entry.waits_since.take().map(|since| now.saturating_duration_since(since));
        Some(Begun { way: Arc::clone(&entry.way), timeout: pace.timeout(&entry.tracker), late })
    }

    /// A probe has ended without telling anything.
    pub(super) fn end(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.probing = false;
        }
        self.plan(key, now, None);
    }

    /// A probe was turned away: the next one comes after a while, whatever is suspected.
    pub(super) fn turned_away(&mut self, key: &Key, until: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.not_before = Some(until);
        }
    }

    /// The earliest moment at which a connection may be probed again.
    pub(super) fn may_be_probed_at(&self, key: &Key) -> Option<Instant> {
        let entry = self.entries.get(key)?;
        let least = self.vendors.get(entry.way.vendor()).map_or(Duration::ZERO, |vendor| vendor.least);
        entry.last_probe.map(|last| last + least).max(entry.not_before)
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
            entry.not_before = None;
        }
        let failed = matches!(seen, Seen::Failed { .. });
        let changed = entry.tracker.observe(kind, seen, now_ms);
        // A failed call makes the next probe earlier, never later.
        let is_call = matches!(kind, LinkEvidenceKind::Call | LinkEvidenceKind::Heartbeat);
        let latest = entry.due.filter(|_| failed && is_call).map(|place| place.at);
        if changed {
            self.mark(key);
        }
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
            self.mark(key);
        }
        Noted { changed, sooner: self.plan(key, now, None) }
    }

    /// Sets when a link is looked at next, after what was just seen. Returns whether a probe is due earlier than before.
    fn plan(&mut self, key: &Key, now: Instant, latest: Option<Instant>) -> bool {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.waits_since = None;
        }
        let Some(entry) = self.entries.get(key) else { return false };
        let vendor = self.vendors.get(entry.way.vendor());
        let pace = vendor.map_or(self.pace, |vendor| vendor.pace);
        let wanted = if self.is_blind() {
            // It is not asked, but does not stay so for ever.
            entry.mine && entry.tracker.is_offline()
        } else {
            entry.mine || entry.tracker.is_suspected()
        };
        if !wanted || entry.probing {
            self.put_off(key, None);
            return false;
        }
        let mut due = now + pace.pause(&entry.tracker);
        due = latest.map_or(due, |latest| due.min(latest));
        let is_looked_at = !self.is_blind() && entry.tracker.is_awake() && entry.tracker.is_askable();
        if let Some(last) = entry.last_probe.filter(|_| is_looked_at) {
            due = due.min(last + pace.interval.saturating_mul(LONGEST_WITHOUT_PROBE));
        }
        let due = self.may_be_probed_at(key).map_or(due, |least| due.max(least));
        let before = self.next_due();
        self.put_off(key, Some(due.max(now)));
        self.next_due().is_some_and(|first| before.is_none_or(|before| first < before))
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
        _ => Tracker::unknown(connection),
    }
}
