//! When each link is looked at. The links of each vendor wait by themselves. Where it allows only so many probes, those go
//! first that decide something: a failure that waits to be confirmed, a POS that has begun to answer again. The others
//! follow in the order in which they became due.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::Key;

/// Where a link waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::links) struct Place {
    pub(super) at: Instant,
    pub(super) urgent: bool,
}

#[derive(Debug, Default)]
struct Queue {
    urgent: BTreeSet<(Instant, Key)>,
    others: BTreeSet<(Instant, Key)>,
}

impl Queue {
    fn of(&mut self, urgent: bool) -> &mut BTreeSet<(Instant, Key)> {
        if urgent { &mut self.urgent } else { &mut self.others }
    }

    fn first(&self) -> Option<Instant> {
        let first = |links: &BTreeSet<(Instant, Key)>| links.first().map(|(at, _)| *at);
        [&self.urgent, &self.others].into_iter().filter_map(first).min()
    }

    fn pop(&mut self, now: Instant) -> Option<Key> {
        let is_due = |links: &BTreeSet<(Instant, Key)>| links.first().is_some_and(|(at, _)| *at <= now);
        let links = if is_due(&self.urgent) { &mut self.urgent } else { &mut self.others };
        if is_due(links) { links.pop_first().map(|(_, key)| key) } else { None }
    }
}

/// By vendor.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeMap<String, Queue>);

impl Schedule {
    pub(super) fn put(&mut self, vendor: &str, key: &Key, Place { at, urgent }: Place) {
        if !self.0.contains_key(vendor) {
            self.0.insert(vendor.to_owned(), Queue::default());
        }
        if let Some(queue) = self.0.get_mut(vendor) {
            queue.of(urgent).insert((at, key.clone()));
        }
    }

    pub(super) fn remove(&mut self, vendor: &str, key: &Key, Place { at, urgent }: Place) {
        if let Some(queue) = self.0.get_mut(vendor) {
            queue.of(urgent).remove(&(at, key.clone()));
        }
    }

    /// When the next link is due whose vendor allows a probe then. `free_at`: from when on a vendor does; `None`: always.
    pub(super) fn next(&self, free_at: impl Fn(&str) -> Option<Instant>) -> Option<Instant> {
        let next = |(vendor, queue): (&String, &Queue)| {
            queue.first().map(|at| free_at(vendor).map_or(at, |free| at.max(free)))
        };
        self.0.iter().filter_map(next).min()
    }

    /// Takes out a link that is due and whose vendor allows a probe.
    pub(super) fn pop(&mut self, now: Instant, free_at: impl Fn(&str) -> Option<Instant>) -> Option<Key> {
        let allowed = self.0.iter_mut().filter(|(vendor, _)| free_at(vendor).is_none_or(|free| free <= now));
        let waiting = allowed.filter_map(|(_, queue)| Some((queue.first()?, queue)));
        let (_, queue) = waiting.min_by_key(|(at, _)| *at)?;
        queue.pop(now)
    }
}
