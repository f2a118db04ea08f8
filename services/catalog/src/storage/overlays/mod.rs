//! What people lay over the catalogs of a store or of a brand.

#[cfg(test)]
mod contract;
mod memory;
mod sql;

use std::{sync::Arc, time::Duration};

use posmesh_proto::catalog::v1::Overlay;

use super::{StorageError, StoreKey};

pub(super) use memory::Shelf;

/// Most overlays of one store, or of one brand.
pub const MAX_OVERLAYS: usize = 20_000;

/// Whose overlays: a store of a tenant, or a brand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeKey {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// `store/<id>` or `brand/<id>`.
    pub scope: Arc<str>,
}

impl ScopeKey {
    /// A store's own.
    pub fn store(key: &StoreKey) -> Self {
        Self { tenant_id: Arc::clone(&key.tenant_id), scope: format!("store/{}", key.store_id).into() }
    }

    /// A brand's.
    pub fn brand(tenant_id: &Arc<str>, brand_id: &str) -> Self {
        Self { tenant_id: Arc::clone(tenant_id), scope: format!("brand/{brand_id}").into() }
    }
}

/// What is laid over the catalogs of a store or brand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OverlaySet {
    /// Counts the writes; 0: there was none.
    pub revision: i64,
    /// Stores: why orders cannot carry prices of their own to the POS; empty: they can. `None`: nobody has asked yet.
    pub price_refusal: Option<String>,
    /// By subject.
    pub overlays: Vec<(String, Overlay)>,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// As it is kept.
    Done(Box<Overlay>),
    /// The very same is there already. Nothing was written.
    Same(Box<Overlay>),
    /// Another revision is there; 0: none. Nothing was written.
    Conflict {
        /// What is there.
        current: i64,
    },
    /// There are [`MAX_OVERLAYS`]. Nothing was written.
    Full,
}

/// The part of the storage that keeps overlays.
#[tonic::async_trait]
pub trait OverlayStorage: Send + Sync {
    /// Puts what is laid over `subject` in place of `overlay.revision`: 0 for none, -1 for whatever is there.
    async fn put_overlay(&self, scope: &ScopeKey, subject: &str, overlay: &Overlay) -> Result<Written, StorageError>;

    /// Deletes it if it is of this revision; -1: of whichever. `Some`: it is of that one, and nothing was deleted.
    async fn delete_overlay(&self, scope: &ScopeKey, subject: &str, revision: i64)
    -> Result<Option<i64>, StorageError>;

    /// One of them.
    async fn overlay(&self, scope: &ScopeKey, subject: &str) -> Result<Option<Overlay>, StorageError>;

    /// All of them, not older than their revision says.
    async fn overlays(&self, scope: &ScopeKey) -> Result<OverlaySet, StorageError>;

    /// The revisions of a store's and of its brand's.
    async fn overlay_revisions(&self, store: &ScopeKey, brand: &ScopeKey) -> Result<(i64, i64), StorageError>;

    /// The stores and brands, of all tenants, whose revision grew within the last `within` on the storage's clock, a bounded
    /// number, the latest first.
    async fn changed_overlays(&self, within: Duration) -> Result<Vec<(ScopeKey, i64)>, StorageError>;

    /// Notes why orders of a store cannot carry prices of their own; empty: they can.
    async fn note_price_refusal(&self, store: &ScopeKey, refusal: &str) -> Result<(), StorageError>;
}

/// What a put comes to, given what is there and the revision that it would get. `Ok`: this is to be written.
fn judge_put(existing: Option<Overlay>, wanted: &Overlay, next: i64) -> Result<Overlay, Written> {
    let current = existing.as_ref().map_or(0, |existing| existing.revision);
    if let Some(existing) = existing {
        let (update_time, revision) = (existing.update_time, existing.revision);
        if (Overlay { update_time, revision, ..wanted.clone() }) == existing {
            return Err(Written::Same(Box::new(existing)));
        }
    }
    if wanted.revision != -1 && wanted.revision != current {
        return Err(Written::Conflict { current });
    }
    Ok(Overlay { revision: next, ..wanted.clone() })
}
