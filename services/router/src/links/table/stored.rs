//! What is durable of the links: read back, to be written, and shown.

use posmesh_proto::router::v1::{Link, LinkEvent};
use tokio::time::Instant;

use super::{Key, Table, tracker};
use crate::{
    domain::{self, link::of_connection},
    storage::{NewLink, StoredLink},
};

impl Table {
    /// Takes in a link that was read.
    pub(in crate::links) fn read(&mut self, stored: StoredLink, now: Instant) {
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
    pub(in crate::links) fn take_dirty(&mut self, limit: usize) -> Vec<(Key, NewLink)> {
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
