//! Checks, and what goes by time, on the way to the database.

use std::{sync::Arc, time::Duration};

use posmesh_order::storage::{
    CheckChanged, CheckFilter, CheckStorage, DueCheck, Split, StorageError, TimeStorage, Turn, TurnTaken,
};
use posmesh_proto::order::v1::{Check, Order};
use prost_types::Timestamp;

use super::replica::Reached;

#[tonic::async_trait]
impl CheckStorage for Reached {
    async fn open_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<Option<Check>, StorageError> {
        self.attempt(self.database.inner.open_check(tenant_id, check, due_in)).await
    }

    async fn check(&self, tenant_id: &str, check_id: &str) -> Result<Option<Check>, StorageError> {
        self.read(self.database.inner.check(tenant_id, check_id)).await
    }

    async fn checks(&self, tenant_id: &str, filter: &CheckFilter) -> Result<Vec<Check>, StorageError> {
        self.read(self.database.inner.checks(tenant_id, filter)).await
    }

    async fn checks_by_reference(
        &self,
        tenant_id: &str,
        connection_id: &str,
        references: &[&str],
    ) -> Result<Vec<Check>, StorageError> {
        self.read(self.database.inner.checks_by_reference(tenant_id, connection_id, references)).await
    }

    async fn change_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<CheckChanged, StorageError> {
        self.attempt(self.database.inner.change_check(tenant_id, check, due_in)).await
    }

    async fn has_round_in_flight(&self, tenant_id: &str, check_id: &str) -> Result<bool, StorageError> {
        self.read(self.database.inner.has_round_in_flight(tenant_id, check_id)).await
    }

    async fn claim_due_checks(&self, lease: Duration, limit: usize) -> Result<Vec<DueCheck>, StorageError> {
        self.attempt(self.database.inner.claim_due_checks(lease, limit)).await
    }

    async fn put_off_checks(
        &self,
        tenant_id: &str,
        checks: &[(&str, i64)],
        due_in: Option<Duration>,
    ) -> Result<(), StorageError> {
        self.attempt(self.database.inner.put_off_checks(tenant_id, checks, due_in)).await
    }

    async fn begin_split(
        &self,
        tenant_id: &str,
        caller: &str,
        split: &Split,
        lease: Duration,
    ) -> Result<Option<Split>, StorageError> {
        self.attempt(self.database.inner.begin_split(tenant_id, caller, split, lease)).await
    }

    async fn split(&self, tenant_id: &str, caller: &str, request_id: &str) -> Result<Option<Split>, StorageError> {
        self.read(self.database.inner.split(tenant_id, caller, request_id)).await
    }

    async fn open_splits(&self, tenant_id: &str, check_id: &str) -> Result<Vec<Split>, StorageError> {
        self.read(self.database.inner.open_splits(tenant_id, check_id)).await
    }

    async fn end_split(
        &self,
        tenant_id: &str,
        split: &Split,
        new: &[Check],
        due_in: Duration,
    ) -> Result<(), StorageError> {
        self.attempt(self.database.inner.end_split(tenant_id, split, new, due_in)).await
    }
}

#[tonic::async_trait]
impl TimeStorage for Reached {
    async fn now_ms(&self) -> Result<Option<i64>, StorageError> {
        self.go().await?;
        Ok(Some(self.database.now.unix_ms()))
    }

    async fn pickups(
        &self,
        tenant_id: &str,
        store_id: &str,
        from_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<(i64, i64)>, StorageError> {
        self.read(self.database.inner.pickups(tenant_id, store_id, from_ms, until_ms)).await
    }

    async fn forget_pickups(&self, before_ms: i64) -> Result<u64, StorageError> {
        self.attempt(self.database.inner.forget_pickups(before_ms)).await
    }

    async fn complete_due(&self, limit: usize, now: Timestamp) -> Result<Vec<(Arc<str>, Order)>, StorageError> {
        let replica = self.replica;
        self.attempt(async {
            let completed = self.database.inner.complete_due(limit, now).await?;
            completed.iter().for_each(|(_, order)| self.database.committed(replica, order));
            Ok(completed)
        })
        .await
    }

    async fn take_turn(&self, turn: Turn) -> Result<TurnTaken, StorageError> {
        let replica = self.replica;
        self.attempt(async {
            let taken = self.database.inner.take_turn(turn).await?;
            match &taken {
                TurnTaken::Begun(begun) => self.database.committed(replica, &begun.0),
                TurnTaken::Waits(order) => self.database.committed(replica, order),
                TurnTaken::Conflict(_) | TurnTaken::Missing => {}
            }
            Ok(taken)
        })
        .await
    }
}
