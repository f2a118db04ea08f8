//! Which links there are, and which of them this replica probes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use posmesh_kit::ambient;
use tokio::time::Instant;

use super::{Entry, Key, Table, tracker};
use crate::{
    domain,
    links::vendor::Vendor,
    snapshot::{Snapshot, Way},
};

/// When something has changed for a link (its vendor's adapters, its key), it is looked at within this.
const HASTE: Duration = Duration::from_secs(1);

impl Table {
    /// Brings the table in line with the connections, instances and replicas that there are. Returns whether a probe may
    /// be due earlier.
    pub(in crate::links) fn sync(&mut self, snapshot: &Snapshot, replicas: Option<Vec<String>>, now: Instant) -> bool {
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
        let (new, rewritten) = if new_connections { self.take_connections() } else { Default::default() };
        let vendors = self.take_instances(snapshot, new_connections || new_replicas);
        if new_replicas {
            self.deal(self.entries.keys().cloned().collect(), now);
        } else {
            self.deal(new, now);
        }
        self.hasten(rewritten, now);
        if !vendors.is_empty() {
            let of_vendors = self.entries.iter().filter(|(_, entry)| vendors.contains(entry.way.vendor()));
            self.hasten(of_vendors.map(|(key, _)| key.clone()).collect(), now);
        }
        new_connections || new_replicas || !vendors.is_empty()
    }

    /// Returns those that are to be dealt: new ones, and those that lead to another POS; and those that were written again
    /// and lead where they led, with another key perhaps.
    fn take_connections(&mut self) -> (Vec<Key>, Vec<Key>) {
        let (mut new, mut rewritten) = (Vec::new(), Vec::new());
        let connections = Arc::clone(&self.connections);
        let mut gone: BTreeSet<Key> = self.entries.keys().cloned().collect();
        for way in connections.all() {
            let key = Key::of(way);
            gone.remove(&key);
            match self.entries.get_mut(&key) {
                Some(entry) if Arc::ptr_eq(&entry.way, way) => {}
                Some(entry) if leads_as(&entry.way, way) => {
                    entry.way = Arc::clone(way);
                    rewritten.push(key);
                }
                Some(_) => {
                    self.put_off(&key, None);
                    if let Some(entry) = self.entries.get_mut(&key) {
                        entry.way = Arc::clone(way);
                        // Of that POS nothing is known.
                        entry.tracker = tracker(way, entry.stored.as_ref());
                    }
                    new.push(key);
                }
                None => {
                    let stored = self.unclaimed.remove(&key);
                    let entry = Entry {
                        tracker: tracker(way, stored.as_ref()),
                        way: Arc::clone(way),
                        stored,
                        mine: false,
                        due: None,
                        waits_since: None,
                        last_probe: None,
                        probing: false,
                        not_before: None,
                        sent: None,
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
        (new, rewritten)
    }

    /// Looks at each vendor again. Returns those whose last instance has gone, or whose first one has come.
    fn take_instances(&mut self, snapshot: &Snapshot, anew: bool) -> BTreeSet<String> {
        let mut alive: BTreeMap<String, usize> = BTreeMap::new();
        for instance in snapshot.instances.values() {
            let vendor = instance.registration.descriptor.as_ref().map(|d| d.vendor.clone()).unwrap_or_default();
            *alive.entry(vendor).or_default() += 1;
        }
        let changed = |vendor: &String| alive.contains_key(vendor) != self.alive.contains_key(vendor);
        let all: BTreeSet<&String> = alive.keys().chain(self.alive.keys()).collect();
        let hastened: BTreeSet<String> = all.into_iter().filter(|vendor| changed(vendor)).cloned().collect();
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
        let is_blind = self.is_blind();
        for key in keys {
            let mut ranked: Vec<&String> = self.replicas.iter().collect();
            domain::rank(&mut ranked, |id| id.as_str(), &key.0, &key.1);
            let mine = ranked.first().is_some_and(|first| **first == self.replica_id);
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let is_new = mine && entry.due.is_none() && !entry.probing;
            entry.mine = mine;
            if is_new && !is_blind {
                // Spread over an interval; of what nothing is known, or what is away, within a second.
                let settled = entry.tracker.link().healthy_since.is_some();
                let spread = if settled { self.pace.interval } else { HASTE };
                self.put_off(&key, Some(now + spread.mul_f64(ambient::jitter(0.0, 1.0))));
            } else if is_new || !mine {
                self.plan(&key, now, None);
            }
        }
    }

    /// Puts the next probes of those that this replica looks at to a moment within a second.
    fn hasten(&mut self, keys: Vec<Key>, now: Instant) {
        for key in keys {
            let soon = now + HASTE.mul_f64(ambient::jitter(0.0, 1.0));
            let looked_at = self.entries.get(&key).filter(|entry| entry.mine);
            if looked_at.and_then(|entry| entry.due).is_some_and(|place| place.at > soon) {
                self.put_off(&key, Some(soon));
            }
        }
    }
}

/// Whether a connection leads to the same POS, of the same store, as it did.
fn leads_as(before: &Way, now: &Way) -> bool {
    let (before, now) = (&before.stored.connection, &now.stored.connection);
    domain::pos_revision(before) == domain::pos_revision(now) && before.store_id == now.store_id
}
