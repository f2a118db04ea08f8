//! Items that wait until a person has looked at them. They change with a version, in its transaction, and by a person's word.

#[cfg(test)]
mod contract;
mod memory;
pub(super) mod sql;

use posmesh_proto::catalog::v1::{Catalog, ItemToReview};

use super::{
    StorageError, StoreKey,
    rules::{Changed, NewVersion},
};
use crate::domain;

/// What came of a person's word about items.
#[derive(Debug, Clone, PartialEq)]
pub enum Reviewed {
    /// They wait no more, and the offer has moved.
    Done,
    /// None of them waited. Nothing was written.
    Nothing,
    /// One of them has changed since. Nothing was written.
    ChangedSince {
        /// Which one.
        item_id: String,
    },
}

/// The part of the storage that keeps what waits for a review.
#[tonic::async_trait]
pub trait ReviewStorage: Send + Sync {
    /// What waits at a store, by id; without `changes`.
    async fn items_to_review(&self, key: &StoreKey) -> Result<Vec<ItemToReview>, StorageError>;

    /// A person has looked at these items as they are in a version.
    async fn review_items(&self, key: &StoreKey, ids: &[String], version: i64) -> Result<Reviewed, StorageError>;
}

/// Whether the version before the new one has to be read to know what waits with it.
fn needs_current(new: &NewVersion, known: &[ItemToReview]) -> bool {
    match new.changed {
        Changed::Wait => new.version > 1,
        Changed::WaitNoMoreThanBefore => !known.is_empty(),
        Changed::AreSold => false,
    }
}

/// What waits with a new version. `current`: what was current until now, where that has to be known.
fn next(known: &[ItemToReview], new: &NewVersion, current: Option<&Catalog>) -> Vec<ItemToReview> {
    let Some(current) = current else { return Vec::new() };
    let holds_changed = new.changed == Changed::Wait;
    domain::to_review(known, domain::Step { current, next: &new.catalog, version: new.version, holds_changed })
}
