//! Errands.

use std::time::Duration;

use sqlx::PgPool;

use crate::storage::{
    StorageError,
    errands::{self, Errand, ErrandColumns, Next, WOKEN_DUE, Wake},
    rows,
};

/// One that is being done is not disturbed: its lease stays.
const WAKE: &str = "INSERT INTO errands AS e (tenant_id, connection_id, kind, store_id, version, since_ms, woken_ms, due_ms, \
         progress, failures) \
     SELECT w.tenant_id, w.connection_id, w.kind, w.store_id, 0, w.since_ms, w.since_ms, \
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint + w.due_in_ms, '', 0 \
     FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[]) \
         AS w (tenant_id, connection_id, kind, store_id, since_ms, due_in_ms) \
     ON CONFLICT (tenant_id, connection_id, kind) DO UPDATE SET store_id = excluded.store_id, \
         woken_ms = least(e.woken_ms, excluded.woken_ms), \
         due_ms = CASE WHEN e.lease_owner IS NULL THEN least(e.due_ms, excluded.due_ms) ELSE e.due_ms END";

/// The clock is read in a subquery: as a volatile function it would keep the index from being used.
const CLAIM: &str = "WITH due AS ( \
         SELECT tenant_id, connection_id, kind, woken_ms FROM errands \
         WHERE due_ms <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
         ORDER BY due_ms LIMIT $3 FOR UPDATE SKIP LOCKED) \
     UPDATE errands AS e SET version = e.version + 1, lease_owner = $1, since_ms = least(e.since_ms, e.woken_ms), \
         woken_ms = NULL, due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2 \
     FROM due \
     WHERE e.tenant_id = due.tenant_id AND e.connection_id = due.connection_id AND e.kind = due.kind \
     RETURNING e.tenant_id, e.connection_id, e.kind, e.store_id, e.version, e.since_ms, \
         (due.woken_ms IS NOT NULL)::int::bigint, e.progress, e.failures";

/// `$8`: milliseconds from now; `$9`: whether the replica keeps it.
const PUT: &str = "UPDATE errands SET since_ms = $5, progress = $6, failures = $7, \
         lease_owner = CASE WHEN $9 THEN lease_owner END, \
         due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
             + CASE WHEN woken_ms IS NULL OR $9 THEN $8 ELSE least($8, $10) END \
     WHERE tenant_id = $1 AND connection_id = $2 AND kind = $3 AND version = $4";

pub(super) async fn wake(pool: &PgPool, wakes: &[Wake]) -> Result<(), StorageError> {
    sqlx::query(WAKE)
        .bind(wakes.iter().map(|wake| &*wake.tenant_id).collect::<Vec<_>>())
        .bind(wakes.iter().map(|wake| wake.connection_id.as_str()).collect::<Vec<_>>())
        .bind(wakes.iter().map(|wake| wake.kind as i16).collect::<Vec<_>>())
        .bind(wakes.iter().map(|wake| wake.store_id.as_str()).collect::<Vec<_>>())
        .bind(wakes.iter().map(|wake| wake.since_ms).collect::<Vec<_>>())
        .bind(wakes.iter().map(|wake| rows::millis(wake.due_in)).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(())
}

pub(super) async fn claim(
    pool: &PgPool,
    replica: &str,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Errand>, StorageError> {
    let query = sqlx::query_as(CLAIM).bind(replica).bind(rows::millis(lease)).bind(rows::row_limit(limit));
    let found: Vec<ErrandColumns> = query.fetch_all(pool).await?;
    Ok(found.into_iter().filter_map(errands::errand).collect())
}

pub(super) async fn put(pool: &PgPool, errand: &Errand, next: Next) -> Result<bool, StorageError> {
    let (due_in_ms, keeps) = next.columns();
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
    Ok(put.execute(pool).await?.rows_affected() == 1)
}
