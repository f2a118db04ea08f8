//! Gates, on the way to the database.

use posmesh_order::storage::{GateFacts, GateStorage, LetThrough, Offline, Pace, ProbationClaim, StorageError};
use posmesh_proto::order::v1::Pause;

use super::replica::Reached;

#[tonic::async_trait]
impl GateStorage for Reached {
    async fn gate_facts(&self) -> Result<GateFacts, StorageError> {
        self.read(self.database.inner.gate_facts()).await
    }

    async fn release_held(&self, tenant_id: &str, connection_id: &str, pace: Pace) -> Result<(), StorageError> {
        self.attempt(self.database.inner.release_held(tenant_id, connection_id, pace)).await
    }

    async fn note_offline(&self, offline: &[Offline]) -> Result<(), StorageError> {
        self.attempt(self.database.inner.note_offline(offline)).await
    }

    async fn claim_probation(&self, claim: &ProbationClaim) -> Result<LetThrough, StorageError> {
        self.attempt(self.database.inner.claim_probation(claim)).await
    }

    async fn give_back_probation(&self, claim: &ProbationClaim) -> Result<(), StorageError> {
        self.attempt(self.database.inner.give_back_probation(claim)).await
    }

    async fn open_probation(&self, offline: &Offline) -> Result<(), StorageError> {
        self.attempt(self.database.inner.open_probation(offline)).await
    }

    async fn put_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        self.attempt(self.database.inner.put_pause(tenant_id, pause)).await
    }

    async fn end_pause(&self, tenant_id: &str, store_id: &str) -> Result<(), StorageError> {
        self.attempt(self.database.inner.end_pause(tenant_id, store_id)).await
    }

    async fn forget_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        self.attempt(self.database.inner.forget_pause(tenant_id, pause)).await
    }
}
