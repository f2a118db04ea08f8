//! What is durable of the links: read back, to be written, and shown.

use posmesh_kit::time;
use posmesh_proto::router::v1::{Link, LinkEvent};
use tokio::time::Instant;

use super::{Key, Table, tracker};
use crate::{
    domain::{
        self,
        link::{Tracker, of_connection},
    },
    storage::{NewLink, StoredLink},
};

/// A write of this replica.
#[derive(Debug)]
pub(super) struct Sent {
    revision: i64,
    link: Link,
    /// It is known to be durable.
    written: bool,
}

impl Table {
    /// Takes in a link that was read.
    pub(in crate::links) fn read(&mut self, stored: StoredLink, now: Instant) {
        self.last_change = stored.change;
        let key = Key::new(&stored.tenant_id, &stored.link.connection_id);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.unclaimed.insert(key, stored);
            return;
        };
        let current = domain::pos_revision(&entry.way.stored.connection);
        let same_pos = stored.pos_revision == current;
        let sent = entry.sent.take();
        // By what was written then: what was seen since is newer than that, not another's.
        let is_own = sent.as_ref().is_some_and(|sent| sent.revision == stored.revision && sent.link == stored.link);
        let is_lost = !is_own && sent.is_some_and(|sent| !sent.written);
        // Of another POS, it was no news of this one.
        let is_unwritten = is_lost && stored.pos_revision < current;
        if same_pos && !is_own {
            let unsaved = self.dirty.remove(&key) || is_lost;
            entry.tracker.adopt(stored.link.clone(), unsaved);
        }
        entry.stored = Some(stored);
        if is_unwritten {
            self.mark(&key);
        }
        if same_pos && !is_own {
            self.plan(&key, now, None);
        }
    }

    /// Notes which of the links that were taken to be written are durable now.
    pub(in crate::links) fn written(&mut self, keys: &[Key], changes: &[Option<i64>]) {
        for (key, _) in keys.iter().zip(changes).filter(|(_, change)| change.is_some()) {
            if let Some(sent) = self.entries.get_mut(key).and_then(|entry| entry.sent.as_mut()) {
                sent.written = true;
            }
        }
    }

    /// Nobody knows which of the links that were taken to be written are durable: they are written again.
    pub(in crate::links) fn unwritten(&mut self, keys: Vec<Key>) {
        keys.iter().for_each(|key| self.mark(key));
    }

    /// A link must be written.
    pub(super) fn mark(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get(key) {
            self.dirty.add(key, entry.tracker.link().version > entry.known_version());
        }
    }

    /// What is to be written, a part of it at a time.
    pub(in crate::links) fn take_dirty(&mut self, limit: usize) -> Vec<(Key, NewLink)> {
        let keys: Vec<Key> = std::iter::from_fn(|| self.dirty.pop()).take(limit).collect();
        let new = keys.into_iter().filter_map(|key| {
            let entry = self.entries.get_mut(&key)?;
            let link = entry.tracker.link().clone();
            let new = NewLink {
                tenant_id: entry.way.tenant_id.clone(),
                replaces: entry.stored.as_ref().map_or(0, |stored| stored.revision),
                pos_revision: domain::pos_revision(&entry.way.stored.connection),
                event: (link.version > entry.known_version()).then(|| event(&entry.tracker)),
                link,
            };
            entry.sent = Some(Sent { revision: new.replaces + 1, link: new.link.clone(), written: false });
            Some((key, new))
        });
        new.collect()
    }

    /// What others are told of a link: what is durable, with the newest evidence that this replica has.
    pub(in crate::links) fn shown(&self, key: &Key) -> Option<Link> {
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
        Some(of_connection(link, &entry.way.stored.connection))
    }
}

fn event(tracker: &Tracker) -> LinkEvent {
    let link = tracker.link();
    LinkEvent {
        time: Some(time::from_unix_ms(tracker.changed_ms())),
        version: link.version,
        state: link.state,
        failing_hop: link.failing_hop.clone(),
        cause: link.cause.clone(),
        message: link.message.clone(),
        evidence: link.evidence.as_ref().map_or(0, |evidence| evidence.kind),
    }
}
