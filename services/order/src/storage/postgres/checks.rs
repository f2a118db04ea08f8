//! Checks, one at a time.

use std::time::Duration;

use posmesh_proto::order::v1::Check;
use prost::Message as _;
use sqlx::PgConnection;

use super::PostgresStorage;
use crate::storage::{
    CheckChanged, CheckFilter, CheckStorage, DueCheck, Split, StorageError,
    rows::{self, CheckColumns, SplitColumns, TenantCheckColumns},
    sql,
};

/// Who opens a check on a table waits for whoever does so at the same moment.
const LOCK_TABLE: &str = "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', $1, $2, $3), 0))";

const INSERT: &str = "INSERT INTO checks (tenant_id, check_id, store_id, table_id, state, version, opened_ms, rounds, \
         connection_id, pos_check_reference, doc, due_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $12) ON CONFLICT (tenant_id, check_id) DO NOTHING";

const CHANGE: &str = "UPDATE checks SET table_id = $4, state = $5, version = $3, connection_id = $6, \
         pos_check_reference = $7, doc = $8, due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $9 \
     WHERE tenant_id = $1 AND check_id = $2 AND version = $3 - 1";

const BY_REFERENCE: &str = "SELECT check_id, doc, version, rounds, in_flight_order_id FROM checks \
     WHERE tenant_id = $1 AND connection_id = $2 AND pos_check_reference = ANY ($3::text[]) \
     ORDER BY opened_ms DESC, check_id DESC";

const CLAIM: &str = "WITH due AS ( \
         SELECT tenant_id, check_id FROM checks \
         WHERE due_ms <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
         ORDER BY due_ms LIMIT $2 FOR UPDATE SKIP LOCKED) \
     UPDATE checks AS c SET due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1 \
     FROM due WHERE c.tenant_id = due.tenant_id AND c.check_id = due.check_id \
     RETURNING c.tenant_id, c.check_id, c.doc, c.version, c.rounds, c.in_flight_order_id";

const PUT_OFF: &str = "UPDATE checks AS c SET due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $4 \
     FROM unnest($2::text[], $3::bigint[]) AS seen (check_id, version) \
     WHERE c.tenant_id = $1 AND c.check_id = seen.check_id AND c.version = seen.version";

/// `$3`: milliseconds from now. Sooner is better.
const DUE_AT_LATEST: &str = "UPDATE checks SET due_ms = least(coalesce(due_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3), (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3) \
     WHERE tenant_id = $1 AND check_id = $2";

const BEGIN_SPLIT: &str = "INSERT INTO check_splits (tenant_id, caller, request_id, split_id, check_id, begun_ms, request) \
     VALUES ($1, $2, $3, $4, $5, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, $6) ON CONFLICT (tenant_id, caller, request_id) DO NOTHING";

const SPLIT: &str = "SELECT split_id, request, answer, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - begun_ms \
     FROM check_splits WHERE tenant_id = $1 AND caller = $2 AND request_id = $3";

const OPEN_SPLITS: &str = "SELECT split_id, request, answer, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - begun_ms \
     FROM check_splits WHERE tenant_id = $1 AND check_id = $2 AND answer IS NULL";

const END_SPLIT: &str = "UPDATE check_splits SET answer = $4 \
     WHERE tenant_id = $1 AND check_id = $2 AND split_id = $3 AND answer IS NULL";

const FORGET_SPLIT: &str = "DELETE FROM check_splits \
     WHERE tenant_id = $1 AND check_id = $2 AND split_id = $3 AND answer IS NULL";

#[tonic::async_trait]
impl CheckStorage for PostgresStorage {
    async fn open_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<Option<Check>, StorageError> {
        let mut tx = self.pool.begin().await?;
        let (store_id, table_id) = (&check.store_id, &check.table_id);
        sqlx::query(LOCK_TABLE).bind(tenant_id).bind(store_id).bind(table_id).execute(&mut *tx).await?;
        let query = sqlx::query_as(sql::CHECK_ON_TABLE).bind(tenant_id).bind(store_id).bind(table_id);
        let on_table: Option<CheckColumns> =
            query.bind(rows::some(&check.pos_check_reference)).fetch_optional(&mut *tx).await?;
        if let Some(row) = on_table {
            return Ok(Some(rows::check(row)?.check));
        }
        insert(&mut tx, tenant_id, check, due_in).await?;
        tx.commit().await?;
        Ok(None)
    }

    async fn check(&self, tenant_id: &str, check_id: &str) -> Result<Option<Check>, StorageError> {
        let row: Option<CheckColumns> =
            sqlx::query_as(sql::CHECK).bind(tenant_id).bind(check_id).fetch_optional(&self.pool).await?;
        Ok(row.map(rows::check).transpose()?.map(|row| row.check))
    }

    async fn checks(&self, tenant_id: &str, filter: &CheckFilter) -> Result<Vec<Check>, StorageError> {
        let (after_ms, after_id) = rows::after(filter.after.as_ref());
        let found: Vec<CheckColumns> = sqlx::query_as(sql::CHECKS)
            .bind(tenant_id)
            .bind(&filter.store_id)
            .bind(&filter.table_id)
            .bind(rows::mask(filter.states.iter().map(|state| *state as i32)))
            .bind(after_ms)
            .bind(after_id)
            .bind(rows::row_limit(filter.limit))
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(|row| Ok(rows::check(row)?.check)).collect()
    }

    async fn checks_by_reference(
        &self,
        tenant_id: &str,
        connection_id: &str,
        references: &[&str],
    ) -> Result<Vec<Check>, StorageError> {
        let query = sqlx::query_as(BY_REFERENCE).bind(tenant_id).bind(connection_id).bind(references);
        let found: Vec<CheckColumns> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(|row| Ok(rows::check(row)?.check)).collect()
    }

    async fn change_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<CheckChanged, StorageError> {
        let changed = sqlx::query(CHANGE)
            .bind(tenant_id)
            .bind(&check.check_id)
            .bind(check.version)
            .bind(&check.table_id)
            .bind(rows::small(check.state))
            .bind(rows::some(&check.connection_id))
            .bind(rows::some(&check.pos_check_reference))
            .bind(check.encode_to_vec())
            .bind(rows::millis(due_in))
            .execute(&self.pool)
            .await?;
        if changed.rows_affected() == 1 {
            return Ok(CheckChanged::Done);
        }
        let current = self.check(tenant_id, &check.check_id).await?;
        Ok(current.map_or(CheckChanged::Missing, |current| CheckChanged::Conflict(Box::new(current))))
    }

    async fn has_round_in_flight(&self, tenant_id: &str, check_id: &str) -> Result<bool, StorageError> {
        let query = sqlx::query(sql::ROUND_IN_FLIGHT).bind(tenant_id).bind(check_id);
        Ok(query.fetch_optional(&self.pool).await?.is_some())
    }

    async fn claim_due_checks(&self, lease: Duration, limit: usize) -> Result<Vec<DueCheck>, StorageError> {
        let claim = sqlx::query_as(CLAIM).bind(rows::millis(lease)).bind(rows::row_limit(limit));
        let found: Vec<TenantCheckColumns> = claim.fetch_all(&self.pool).await?;
        Ok(rows::due_checks(found))
    }

    async fn put_off_checks(
        &self,
        tenant_id: &str,
        checks: &[(&str, i64)],
        due_in: Option<Duration>,
    ) -> Result<(), StorageError> {
        let (check_ids, versions): (Vec<&str>, Vec<i64>) = checks.iter().copied().unzip();
        let put_off = sqlx::query(PUT_OFF).bind(tenant_id).bind(check_ids).bind(versions);
        put_off.bind(due_in.map(rows::millis)).execute(&self.pool).await?;
        Ok(())
    }

    async fn begin_split(
        &self,
        tenant_id: &str,
        caller: &str,
        split: &Split,
        lease: Duration,
    ) -> Result<Option<Split>, StorageError> {
        let mut tx = self.pool.begin().await?;
        let begun = sqlx::query(BEGIN_SPLIT)
            .bind(tenant_id)
            .bind(caller)
            .bind(&split.request.request_id)
            .bind(&split.split_id)
            .bind(&split.request.check_id)
            .bind(split.request.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        if begun.rows_affected() == 0 {
            drop(tx);
            return self.split(tenant_id, caller, &split.request.request_id).await;
        }
        let due = sqlx::query(DUE_AT_LATEST).bind(tenant_id).bind(&split.request.check_id);
        due.bind(rows::millis(lease)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(None)
    }

    async fn split(&self, tenant_id: &str, caller: &str, request_id: &str) -> Result<Option<Split>, StorageError> {
        let query = sqlx::query_as(SPLIT).bind(tenant_id).bind(caller).bind(request_id);
        let row: Option<SplitColumns> = query.fetch_optional(&self.pool).await?;
        row.map(rows::split).transpose()
    }

    async fn open_splits(&self, tenant_id: &str, check_id: &str) -> Result<Vec<Split>, StorageError> {
        let query = sqlx::query_as(OPEN_SPLITS).bind(tenant_id).bind(check_id);
        let found: Vec<SplitColumns> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(rows::split).collect()
    }

    async fn end_split(
        &self,
        tenant_id: &str,
        split: &Split,
        new: &[Check],
        due_in: Duration,
    ) -> Result<(), StorageError> {
        let mut tx = self.pool.begin().await?;
        let check_id = &split.request.check_id;
        match &split.answer {
            Some(answer) => {
                let end = sqlx::query(END_SPLIT).bind(tenant_id).bind(check_id).bind(&split.split_id);
                end.bind(answer.encode_to_vec()).execute(&mut *tx).await?;
            }
            None => {
                let forget = sqlx::query(FORGET_SPLIT).bind(tenant_id).bind(check_id).bind(&split.split_id);
                forget.execute(&mut *tx).await?;
            }
        }
        for check in new {
            insert(&mut tx, tenant_id, check, due_in).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn insert(db: &mut PgConnection, tenant_id: &str, check: &Check, due_in: Duration) -> Result<(), StorageError> {
    sqlx::query(INSERT)
        .bind(tenant_id)
        .bind(&check.check_id)
        .bind(&check.store_id)
        .bind(&check.table_id)
        .bind(rows::small(check.state))
        .bind(check.version)
        .bind(rows::unix_ms(check.open_time.as_ref()))
        .bind(check.rounds)
        .bind(rows::some(&check.connection_id))
        .bind(rows::some(&check.pos_check_reference))
        .bind(check.encode_to_vec())
        .bind(rows::millis(due_in))
        .execute(db)
        .await?;
    Ok(())
}
