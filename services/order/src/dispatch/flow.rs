//! How much one replica has under way: in all, and for each store, so that a slow store never takes the places of another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::storage::Room;

/// Tenant and store.
type StoreKey = (Arc<str>, String);

/// Places for work, so many in all and so many for each store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    all: Arc<Semaphore>,
    per_store: usize,
    /// Only stores that have something under way.
    stores: Arc<Mutex<HashMap<StoreKey, usize>>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The replica has enough to do.
    Replica,
    /// This store has enough under way.
    Store,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    flow: Flow,
    key: StoreKey,
    _of_all: OwnedSemaphorePermit,
}

impl Flow {
    pub(crate) fn new(all: usize, per_store: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_store, stores: Arc::default() }
    }

    /// A place for an order of a store, if there is one at once.
    pub(crate) fn enter(&self, tenant_id: &Arc<str>, store_id: &str) -> Result<Place, Full> {
        let key = (Arc::clone(tenant_id), store_id.to_owned());
        let mut stores = self.stores();
        let count = stores.get(&key).copied().unwrap_or(0);
        if count >= self.per_store {
            return Err(Full::Store);
        }
        let of_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Full::Replica)?;
        stores.insert(key.clone(), count + 1);
        Ok(Place { flow: self.clone(), key, _of_all: of_all })
    }

    /// What could be taken up now, at most `most` at once.
    pub(crate) fn room(&self, most: usize) -> Room {
        let stores = self.stores();
        let room = |(key, count): (&StoreKey, &usize)| {
            (Arc::clone(&key.0), key.1.clone(), self.per_store.saturating_sub(*count))
        };
        Room {
            orders: self.all.available_permits().min(most),
            per_store: self.per_store,
            stores: stores.iter().map(room).collect(),
        }
    }

    fn stores(&self) -> MutexGuard<'_, HashMap<StoreKey, usize>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut stores = self.flow.stores();
        if let Some(count) = stores.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                stores.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_store_that_has_enough_under_way_leaves_the_rest_to_others_and_nothing_is_kept_of_it() {
        let flow = Flow::new(3, 2);
        let tenant: Arc<str> = "brand".into();
        let busy = [flow.enter(&tenant, "busy").unwrap(), flow.enter(&tenant, "busy").unwrap()];
        assert_eq!(flow.enter(&tenant, "busy").unwrap_err(), Full::Store);
        assert_eq!(flow.room(10), Room { orders: 1, per_store: 2, stores: vec![(tenant.clone(), "busy".into(), 0)] });
        let calm = flow.enter(&tenant, "calm").unwrap();
        assert_eq!(flow.enter(&tenant, "third").unwrap_err(), Full::Replica);
        drop((busy, calm));
        assert_eq!(flow.room(2), Room { orders: 2, per_store: 2, stores: Vec::new() });
    }
}
