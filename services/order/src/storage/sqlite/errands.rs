//! Errands.

use std::time::Duration;

use super::SqliteStorage;
use crate::storage::{
    StorageError,
    errands::{self, Errand, ErrandColumns, Next, WOKEN_DUE, Wake},
    rows,
};

/// One that is being done is not disturbed: its lease stays. SQLite's `min` is NULL if one of its arguments is.
const WAKE: &str = "INSERT INTO errands (tenant_id, connection_id, kind, store_id, version, since_ms, woken_ms, due_ms, \
         progress, failures) \
     VALUES ($1, $2, $3, $4, 0, $5, $5, CAST(unixepoch('subsec') * 1000 AS INTEGER) + $6, '', 0) \
     ON CONFLICT (tenant_id, connection_id, kind) DO UPDATE SET store_id = excluded.store_id, \
         woken_ms = min(coalesce(woken_ms, excluded.woken_ms), excluded.woken_ms), \
         due_ms = CASE WHEN lease_owner IS NULL THEN min(coalesce(due_ms, excluded.due_ms), excluded.due_ms) ELSE due_ms END";

const DUE: &str = "SELECT tenant_id, connection_id, kind, store_id, version + 1, min(since_ms, coalesce(woken_ms, since_ms)), \
         woken_ms IS NOT NULL, progress, failures FROM errands \
     WHERE due_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER) ORDER BY due_ms LIMIT $1";

const CLAIM: &str = "UPDATE errands SET version = $4, lease_owner = $5, since_ms = $7, woken_ms = NULL, \
         due_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $6 \
     WHERE tenant_id = $1 AND connection_id = $2 AND kind = $3";

/// `$8`: milliseconds from now; `$9`: whether the replica keeps it.
const PUT: &str = "UPDATE errands SET since_ms = $5, progress = $6, failures = $7, \
         lease_owner = CASE WHEN $9 THEN lease_owner END, \
         due_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) \
             + CASE WHEN woken_ms IS NULL OR $9 THEN $8 ELSE min(coalesce($8, $10), $10) END \
     WHERE tenant_id = $1 AND connection_id = $2 AND kind = $3 AND version = $4";

impl SqliteStorage {
    pub(super) async fn wake_errands(&self, wakes: &[Wake]) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        for wake in wakes {
            sqlx::query(WAKE)
                .bind(&*wake.tenant_id)
                .bind(&wake.connection_id)
                .bind(wake.kind as i16)
                .bind(&wake.store_id)
                .bind(wake.since_ms)
                .bind(rows::millis(wake.due_in))
                .execute(&mut *writing.tx)
                .await?;
        }
        Ok(writing.tx.commit().await?)
    }

    /// The one writer's lock is held: what is read is what is claimed.
    pub(super) async fn claim_due_errands(
        &self,
        replica: &str,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Errand>, StorageError> {
        let mut writing = self.write().await?;
        let due: Vec<ErrandColumns> =
            sqlx::query_as(DUE).bind(rows::row_limit(limit)).fetch_all(&mut *writing.tx).await?;
        let claimed: Vec<Errand> = due.into_iter().filter_map(errands::errand).collect();
        for errand in &claimed {
            sqlx::query(CLAIM)
                .bind(&*errand.tenant_id)
                .bind(&errand.connection_id)
                .bind(errand.kind as i16)
                .bind(errand.version)
                .bind(replica)
                .bind(rows::millis(lease))
                .bind(errand.since_ms)
                .execute(&mut *writing.tx)
                .await?;
        }
        writing.tx.commit().await?;
        Ok(claimed)
    }

    pub(super) async fn put_claimed_errand(&self, errand: &Errand, next: Next) -> Result<bool, StorageError> {
        let (due_in_ms, keeps) = next.columns();
        let mut writing = self.write().await?;
        let put = sqlx::query(PUT)
            .bind(&*errand.tenant_id)
            .bind(&errand.connection_id)
            .bind(errand.kind as i16)
            .bind(errand.version)
            .bind(errand.since_ms)
            .bind(&errand.progress)
            .bind(i64::from(errand.failures))
            .bind(due_in_ms)
            .bind(keeps)
            .bind(rows::millis(WOKEN_DUE));
        let put = put.execute(&mut *writing.tx).await?;
        writing.tx.commit().await?;
        Ok(put.rows_affected() == 1)
    }
}
