//! A cache that is bounded by the bytes of what it holds.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keeps what was used last.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    max_bytes: usize,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    last_use: u64,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::new(State { entries: HashMap::new(), bytes: 0, uses: 0 }) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut state = self.state();
        state.uses += 1;
        let now = state.uses;
        let entry = state.entries.get_mut(key)?;
        entry.last_use = now;
        Some(Arc::clone(&entry.value))
    }

    /// Replaces what was there. The new value itself always stays, even if it alone is above the limit.
    pub(crate) fn insert(&self, key: K, value: Arc<V>, bytes: usize) {
        let mut state = self.state();
        state.uses += 1;
        let entry = Entry { value, bytes, last_use: state.uses };
        state.bytes += bytes;
        if let Some(replaced) = state.entries.insert(key, entry) {
            state.bytes -= replaced.bytes;
        }
        while state.bytes > self.max_bytes && state.entries.len() > 1 {
            state.evict_oldest();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone, V> State<K, V> {
    /// Looks at every entry: they are few and large, and one is made far less often than it is read.
    fn evict_oldest(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone());
        if let Some(evicted) = oldest.and_then(|key| self.entries.remove(&key)) {
            self.bytes -= evicted.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_within_the_limit() {
        let cache = Lru::new(100);
        cache.insert("a", Arc::new(1), 40);
        cache.insert("b", Arc::new(2), 40);
        assert_eq!(cache.get(&"a").as_deref(), Some(&1));
        cache.insert("c", Arc::new(3), 40);
        assert_eq!(["a", "b", "c"].map(|key| cache.get(&key).is_some()), [true, false, true]);
        cache.insert("c", Arc::new(4), 60);
        assert_eq!(["a", "c"].map(|key| cache.get(&key).map(|v| *v)), [Some(1), Some(4)]);
    }

    #[test]
    fn one_that_is_larger_than_the_limit_is_kept_alone() {
        let cache = Lru::new(100);
        cache.insert("a", Arc::new(1), 40);
        cache.insert("huge", Arc::new(2), 1_000);
        assert_eq!(["a", "huge"].map(|key| cache.get(&key).is_some()), [false, true]);
    }
}
