//! On PostgreSQL and SQLite, whose statements differ only in how a transaction locks a scope: whoever writes holds the
//! scope's row, so that two who change the same thing at once do so one after the other.

use std::time::Duration;

use posmesh_proto::catalog::v1::Overlay;
use prost::Message as _;
use sqlx::{PgConnection, SqliteConnection};

use super::{MAX_OVERLAYS, OverlaySet, OverlayStorage, ScopeKey, StorageError, Written, judge_put};
use crate::storage::{CHANGED_LIMIT, decode, millis, postgres::PostgresStorage, sqlite::SqliteStorage};

const ENSURE_SCOPE: &str =
    "INSERT INTO overlay_scopes (tenant_id, scope, revision) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";

const SCOPE: &str = "SELECT revision, price_refusal FROM overlay_scopes WHERE tenant_id = $1 AND scope = $2";

/// SQLite's transactions hold the only write lock from their beginning.
const LOCK_SQLITE: &str = "SELECT revision FROM overlay_scopes WHERE tenant_id = $1 AND scope = $2";
const LOCK_POSTGRES: &str = "SELECT revision FROM overlay_scopes WHERE tenant_id = $1 AND scope = $2 FOR UPDATE";

const OVERLAY: &str = "SELECT overlay FROM overlays WHERE tenant_id = $1 AND scope = $2 AND subject = $3";

const OVERLAYS: &str = "SELECT subject, overlay FROM overlays WHERE tenant_id = $1 AND scope = $2 ORDER BY subject";

const COUNT: &str = "SELECT count(*) FROM overlays WHERE tenant_id = $1 AND scope = $2";

const PUT: &str = "INSERT INTO overlays (tenant_id, scope, subject, overlay) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant_id, scope, subject) DO UPDATE SET overlay = excluded.overlay";

const DELETE: &str = "DELETE FROM overlays WHERE tenant_id = $1 AND scope = $2 AND subject = $3";

const REVISIONS: &str = "SELECT scope, revision FROM overlay_scopes WHERE tenant_id = $1 AND scope IN ($2, $3)";

macro_rules! on_database {
    ($storage:ty, $connection:ty, $begin:literal, $lock:expr, $now_ms:literal) => {
        const _: () = {
            const SET_REVISION: &str = concat!(
                "UPDATE overlay_scopes SET revision = $3, changed_ms = ",
                $now_ms,
                " WHERE tenant_id = $1 AND scope = $2"
            );

            const NOTE_PRICE_REFUSAL: &str = concat!(
                "INSERT INTO overlay_scopes (tenant_id, scope, revision, price_refusal, changed_ms) VALUES ($1, $2, 1, $3, ",
                $now_ms,
                ") ON CONFLICT (tenant_id, scope) DO UPDATE SET revision = overlay_scopes.revision + 1, price_refusal = $3, \
                 changed_ms = excluded.changed_ms \
                 WHERE overlay_scopes.price_refusal IS NULL OR overlay_scopes.price_refusal <> $3"
            );

            const CHANGED: &str = concat!(
                "SELECT tenant_id, scope, revision FROM overlay_scopes WHERE changed_ms >= ",
                $now_ms,
                " - $1 ORDER BY changed_ms DESC LIMIT $2"
            );

            // The scope's revision, which nobody else changes before this transaction ends.
            async fn lock(db: &mut $connection, scope: &ScopeKey) -> Result<i64, StorageError> {
                sqlx::query(ENSURE_SCOPE).bind(&*scope.tenant_id).bind(&*scope.scope).execute(&mut *db).await?;
                let query = sqlx::query_as($lock).bind(&*scope.tenant_id).bind(&*scope.scope);
                let (revision,): (i64,) = query.fetch_one(db).await?;
                Ok(revision)
            }

            async fn set_revision(db: &mut $connection, scope: &ScopeKey, revision: i64) -> Result<(), StorageError> {
                let query = sqlx::query(SET_REVISION).bind(&*scope.tenant_id).bind(&*scope.scope).bind(revision);
                query.execute(db).await?;
                Ok(())
            }

            async fn one(
                db: &mut $connection,
                scope: &ScopeKey,
                subject: &str,
            ) -> Result<Option<Overlay>, StorageError> {
                let query = sqlx::query_as(OVERLAY).bind(&*scope.tenant_id).bind(&*scope.scope).bind(subject);
                let row: Option<(Vec<u8>,)> = query.fetch_optional(db).await?;
                row.map(|(document,)| decode(&document)).transpose()
            }

            #[tonic::async_trait]
            impl OverlayStorage for $storage {
                async fn put_overlay(
                    &self,
                    scope: &ScopeKey,
                    subject: &str,
                    overlay: &Overlay,
                ) -> Result<Written, StorageError> {
                    let mut tx = self.pool.begin_with($begin).await?;
                    let revision = lock(&mut tx, scope).await?;
                    let existing = one(&mut tx, scope, subject).await?;
                    let is_new = existing.is_none();
                    let overlay = match judge_put(existing, overlay, revision + 1) {
                        Ok(overlay) => overlay,
                        Err(written) => return Ok(written),
                    };
                    if is_new {
                        let count = sqlx::query_as(COUNT).bind(&*scope.tenant_id).bind(&*scope.scope);
                        let (count,): (i64,) = count.fetch_one(&mut *tx).await?;
                        if count >= MAX_OVERLAYS as i64 {
                            return Ok(Written::Full);
                        }
                    }
                    let put = sqlx::query(PUT).bind(&*scope.tenant_id).bind(&*scope.scope).bind(subject);
                    put.bind(overlay.encode_to_vec()).execute(&mut *tx).await?;
                    set_revision(&mut tx, scope, overlay.revision).await?;
                    tx.commit().await?;
                    Ok(Written::Done(Box::new(overlay)))
                }

                async fn delete_overlay(
                    &self,
                    scope: &ScopeKey,
                    subject: &str,
                    revision: i64,
                ) -> Result<Option<i64>, StorageError> {
                    let mut tx = self.pool.begin_with($begin).await?;
                    let of_scope = lock(&mut tx, scope).await?;
                    let Some(existing) = one(&mut tx, scope, subject).await? else { return Ok(None) };
                    if revision != -1 && revision != existing.revision {
                        return Ok(Some(existing.revision));
                    }
                    let delete = sqlx::query(DELETE).bind(&*scope.tenant_id).bind(&*scope.scope).bind(subject);
                    delete.execute(&mut *tx).await?;
                    set_revision(&mut tx, scope, of_scope + 1).await?;
                    tx.commit().await?;
                    Ok(None)
                }

                async fn overlay(&self, scope: &ScopeKey, subject: &str) -> Result<Option<Overlay>, StorageError> {
                    let mut db = self.pool.acquire().await?;
                    one(&mut db, scope, subject).await
                }

                async fn overlays(&self, scope: &ScopeKey) -> Result<OverlaySet, StorageError> {
                    // The revision first: what is written in between is then read again, and never missed.
                    let query = sqlx::query_as(SCOPE).bind(&*scope.tenant_id).bind(&*scope.scope);
                    let row: Option<(i64, Option<String>)> = query.fetch_optional(&self.pool).await?;
                    let Some((revision, price_refusal)) = row else { return Ok(OverlaySet::default()) };
                    let query = sqlx::query_as(OVERLAYS).bind(&*scope.tenant_id).bind(&*scope.scope);
                    let rows: Vec<(String, Vec<u8>)> = query.fetch_all(&self.pool).await?;
                    let overlay = |(subject, document): (String, Vec<u8>)| Ok((subject, decode(&document)?));
                    let overlays = rows.into_iter().map(overlay).collect::<Result<_, StorageError>>()?;
                    Ok(OverlaySet { revision, price_refusal, overlays })
                }

                async fn overlay_revisions(
                    &self,
                    store: &ScopeKey,
                    brand: &ScopeKey,
                ) -> Result<(i64, i64), StorageError> {
                    let query = sqlx::query_as(REVISIONS).bind(&*store.tenant_id);
                    let query = query.bind(&*store.scope).bind(&*brand.scope);
                    let rows: Vec<(String, i64)> = query.fetch_all(&self.pool).await?;
                    let of = |key: &ScopeKey| {
                        rows.iter().find(|(scope, _)| **scope == *key.scope).map_or(0, |(_, revision)| *revision)
                    };
                    Ok((of(store), of(brand)))
                }

                async fn changed_overlays(&self, within: Duration) -> Result<Vec<(ScopeKey, i64)>, StorageError> {
                    let query = sqlx::query_as(CHANGED).bind(millis(within)).bind(CHANGED_LIMIT);
                    let rows: Vec<(String, String, i64)> = query.fetch_all(&self.pool).await?;
                    let changed = |(tenant_id, scope, revision): (String, String, i64)| {
                        (ScopeKey { tenant_id: tenant_id.into(), scope: scope.into() }, revision)
                    };
                    Ok(rows.into_iter().map(changed).collect())
                }

                async fn note_price_refusal(&self, store: &ScopeKey, refusal: &str) -> Result<(), StorageError> {
                    let note = sqlx::query(NOTE_PRICE_REFUSAL).bind(&*store.tenant_id).bind(&*store.scope);
                    note.bind(refusal).execute(&self.pool).await?;
                    Ok(())
                }
            }
        };
    };
}

on_database!(
    SqliteStorage,
    SqliteConnection,
    "BEGIN IMMEDIATE",
    LOCK_SQLITE,
    "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
);
on_database!(
    PostgresStorage,
    PgConnection,
    "BEGIN",
    LOCK_POSTGRES,
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
);
