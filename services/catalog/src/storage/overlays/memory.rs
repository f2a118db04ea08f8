//! In memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posmesh_proto::catalog::v1::Overlay;
use tokio::time::Instant;

use super::{MAX_OVERLAYS, OverlaySet, OverlayStorage, ScopeKey, StorageError, Written, judge_put};
use crate::storage::MemoryStorage;

/// The overlays of all stores and brands.
#[derive(Debug, Default)]
pub(in crate::storage) struct Shelf(Mutex<BTreeMap<ScopeKey, Scope>>);

#[derive(Debug, Default)]
struct Scope {
    revision: i64,
    /// When that grew.
    changed: Option<Instant>,
    price_refusal: Option<String>,
    overlays: BTreeMap<String, Overlay>,
}

impl Scope {
    fn move_on(&mut self) {
        self.revision += 1;
        self.changed = Some(Instant::now());
    }
}

impl MemoryStorage {
    fn scopes(&self) -> MutexGuard<'_, BTreeMap<ScopeKey, Scope>> {
        self.overlays.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl OverlayStorage for MemoryStorage {
    async fn put_overlay(&self, scope: &ScopeKey, subject: &str, overlay: &Overlay) -> Result<Written, StorageError> {
        let mut scopes = self.scopes();
        let scope = scopes.entry(scope.clone()).or_default();
        let existing = scope.overlays.get(subject).cloned();
        let is_new = existing.is_none();
        Ok(match judge_put(existing, overlay, scope.revision + 1) {
            Err(written) => written,
            Ok(_) if is_new && scope.overlays.len() >= MAX_OVERLAYS => Written::Full,
            Ok(overlay) => {
                scope.move_on();
                scope.overlays.insert(subject.to_owned(), overlay.clone());
                Written::Done(Box::new(overlay))
            }
        })
    }

    async fn delete_overlay(
        &self,
        scope: &ScopeKey,
        subject: &str,
        revision: i64,
    ) -> Result<Option<i64>, StorageError> {
        let mut scopes = self.scopes();
        let Some(scope) = scopes.get_mut(scope) else { return Ok(None) };
        let Some(current) = scope.overlays.get(subject).map(|existing| existing.revision) else { return Ok(None) };
        if revision != -1 && revision != current {
            return Ok(Some(current));
        }
        scope.move_on();
        scope.overlays.remove(subject);
        Ok(None)
    }

    async fn overlay(&self, scope: &ScopeKey, subject: &str) -> Result<Option<Overlay>, StorageError> {
        Ok(self.scopes().get(scope).and_then(|scope| scope.overlays.get(subject)).cloned())
    }

    async fn overlays(&self, scope: &ScopeKey) -> Result<OverlaySet, StorageError> {
        let scopes = self.scopes();
        let set = |scope: &Scope| OverlaySet {
            revision: scope.revision,
            price_refusal: scope.price_refusal.clone(),
            overlays: scope.overlays.iter().map(|(subject, overlay)| (subject.clone(), overlay.clone())).collect(),
        };
        Ok(scopes.get(scope).map(set).unwrap_or_default())
    }

    async fn overlay_revisions(&self, store: &ScopeKey, brand: &ScopeKey) -> Result<(i64, i64), StorageError> {
        let scopes = self.scopes();
        let revision = |scope| scopes.get(scope).map_or(0, |scope| scope.revision);
        Ok((revision(store), revision(brand)))
    }

    async fn changed_overlays(&self, within: Duration) -> Result<Vec<(ScopeKey, i64)>, StorageError> {
        let scopes = self.scopes();
        let recent = |scope: &Scope| scope.changed.is_some_and(|changed| changed.elapsed() <= within);
        let changed = scopes.iter().filter(|(_, scope)| recent(scope));
        Ok(changed.map(|(key, scope)| (key.clone(), scope.revision)).collect())
    }

    async fn note_price_refusal(&self, store: &ScopeKey, refusal: &str) -> Result<(), StorageError> {
        let mut scopes = self.scopes();
        let scope = scopes.entry(store.clone()).or_default();
        if scope.price_refusal.as_deref() != Some(refusal) {
            scope.move_on();
            scope.price_refusal = Some(refusal.to_owned());
        }
        Ok(())
    }
}
