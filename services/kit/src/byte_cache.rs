//! A cache that is bounded by the bytes of what it holds.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;

/// Keeps what was used last.
#[derive(Debug)]
pub struct ByteCache<K: Hash + Eq, V> {
    max_bytes: usize,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K: Hash + Eq, V> {
    /// Values with their bytes.
    entries: LruCache<K, (Arc<V>, usize)>,
    bytes: usize,
}

impl<K: Hash + Eq, V> ByteCache<K, V> {
    /// An empty one that holds so many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::new(State { entries: LruCache::unbounded(), bytes: 0 }) }
    }

    /// What was kept under the key, which counts as a use.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entries.get(key).map(|(value, _)| Arc::clone(value))
    }

    /// Keeps a value that takes so many bytes, in place of what was kept under the key; what was used least recently makes
    /// way. The value itself stays, even if it alone is above the limit.
    pub fn insert(&self, key: K, value: Arc<V>, bytes: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes;
        if let Some((_, replaced)) = state.entries.put(key, (value, bytes)) {
            state.bytes -= replaced;
        }
        while state.bytes > self.max_bytes && state.entries.len() > 1 {
            let Some((_, (_, evicted))) = state.entries.pop_lru() else { break };
            state.bytes -= evicted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_within_the_limit() {
        let cache = ByteCache::new(100);
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
        let cache = ByteCache::new(100);
        cache.insert("a", Arc::new(1), 40);
        cache.insert("huge", Arc::new(2), 1_000);
        assert_eq!(["a", "huge"].map(|key| cache.get(&key).is_some()), [false, true]);
    }
}
