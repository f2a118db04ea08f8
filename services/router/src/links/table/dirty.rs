//! Links that wait to be written: changes of state and cause before mere counts, each in the order in which they came.

use std::collections::{BTreeMap, VecDeque};

use super::Key;

#[derive(Debug, Default)]
pub(super) struct Dirty {
    changes: VecDeque<Key>,
    counts: VecDeque<Key>,
    /// Which of the two each waits in; what is not here any more has only left its place there.
    waiting: BTreeMap<Key, bool>,
}

impl Dirty {
    /// Adds a link, or moves it among the changes.
    pub(super) fn add(&mut self, key: &Key, is_change: bool) {
        if self.waiting.get(key).is_some_and(|was_change| *was_change || !is_change) {
            return;
        }
        self.waiting.insert(key.clone(), is_change);
        let queue = if is_change { &mut self.changes } else { &mut self.counts };
        queue.push_back(key.clone());
    }

    /// Whether it waited.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        self.waiting.remove(key).is_some()
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        loop {
            let change = self.changes.pop_front().map(|key| (key, true));
            let (key, is_change) = change.or_else(|| self.counts.pop_front().map(|key| (key, false)))?;
            if self.waiting.get(&key) == Some(&is_change) {
                self.waiting.remove(&key);
                return Some(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_written_before_counts_and_each_in_their_order() {
        let key = |id: &str| Key::new("t", id);
        let mut dirty = Dirty::default();
        for (id, is_change) in
            [("z", false), ("m", false), ("y", true), ("b", true), ("m", true), ("y", false), ("x", true)]
        {
            dirty.add(&key(id), is_change);
        }
        assert!(dirty.remove(&key("b")) && !dirty.remove(&key("nobody")));
        dirty.add(&key("a"), true);
        let written: Vec<Key> = std::iter::from_fn(|| dirty.pop()).collect();
        assert_eq!(written, ["y", "m", "x", "a", "z"].map(key));
    }
}
