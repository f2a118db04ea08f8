//! In memory.

use posmesh_proto::catalog::v1::{Catalog, ItemToReview};

use super::{NewVersion, ReviewStorage, Reviewed, StorageError, StoreKey, needs_current, next};
use crate::{
    domain,
    storage::{MemoryStorage, memory::State},
};

#[tonic::async_trait]
impl ReviewStorage for MemoryStorage {
    async fn items_to_review(&self, key: &StoreKey) -> Result<Vec<ItemToReview>, StorageError> {
        Ok(self.state().waiting(key))
    }

    async fn review_items(&self, key: &StoreKey, ids: &[String], version: i64) -> Result<Reviewed, StorageError> {
        let mut state = self.state();
        let known = state.waiting(key);
        Ok(match domain::reviewed(&known, ids, version) {
            Err(item_id) => Reviewed::ChangedSince { item_id },
            Ok(waiting) if waiting.len() == known.len() => Reviewed::Nothing,
            Ok(waiting) => {
                state.set_waiting(key, waiting);
                Reviewed::Done
            }
        })
    }
}

impl State {
    fn waiting(&self, key: &StoreKey) -> Vec<ItemToReview> {
        self.to_review.get(&of_store(key)).cloned().unwrap_or_default()
    }

    fn set_waiting(&mut self, key: &StoreKey, waiting: Vec<ItemToReview>) {
        self.to_review.insert(of_store(key), waiting);
        self.move_offer(key);
    }

    /// Writes what waits with a new version, given the one that it takes the place of.
    pub(in crate::storage) fn follow(&mut self, key: &StoreKey, new: &NewVersion, current: Option<&Catalog>) {
        let known = self.waiting(key);
        let current = current.filter(|_| needs_current(new, &known));
        let waiting = next(&known, new, current);
        if waiting != known {
            self.set_waiting(key, waiting);
        }
    }
}

fn of_store(key: &StoreKey) -> (String, String) {
    (key.tenant_id.to_string(), key.store_id.to_string())
}
