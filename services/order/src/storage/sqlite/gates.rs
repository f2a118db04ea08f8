//! Gates.

use std::time::Duration;

use posmesh_proto::order::v1::Pause;
use prost::Message as _;
use sqlx::SqliteConnection;

use super::SqliteStorage;
use crate::storage::{
    GateFacts, GateStorage, LetThrough, Offline, Pace, Probation, ProbationClaim, StorageError,
    gates::{self, HeldColumns, OPENED_SHOWN, PauseColumns, ProbationColumns, TroubledColumns},
    rows, sql,
};

/// `$1`: milliseconds.
const PROBATIONS: &str = "SELECT p.tenant_id, p.connection_id, p.offline_version, p.opened_version, p.order_id, \
         p.claimed_version, CAST(unixepoch('subsec') * 1000 AS INTEGER) - p.claimed_ms, \
         (CASE WHEN o.state IN (5, 6, 7, 8) AND o.due_ms IS NOT NULL THEN 3 ELSE o.state END) \
     FROM probations AS p LEFT JOIN orders AS o ON o.tenant_id = p.tenant_id AND o.order_id = p.order_id \
     WHERE p.offline_version > p.opened_version \
         OR p.opened_ms > CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1";

const PROBATION: &str = "SELECT tenant_id, connection_id, offline_version, opened_version, order_id, claimed_version, \
         CAST(unixepoch('subsec') * 1000 AS INTEGER) - claimed_ms, NULL FROM probations \
     WHERE tenant_id = $1 AND connection_id = $2";

const UPDATE_PROBATION: &str = "UPDATE probations SET offline_version = $3, \
         opened_ms = CASE WHEN opened_version = $4 THEN opened_ms \
             ELSE CAST(unixepoch('subsec') * 1000 AS INTEGER) END, \
         opened_version = $4, order_id = $5, claimed_version = $6, \
         claimed_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) - $7 \
     WHERE tenant_id = $1 AND connection_id = $2";

const NOTE_OFFLINE: &str = "INSERT INTO probations (tenant_id, connection_id, offline_version, opened_version, \
         claimed_version, claimed_ms) \
     VALUES ($1, $2, $3, 0, 0, 0) \
     ON CONFLICT (connection_id, tenant_id) DO UPDATE SET offline_version = excluded.offline_version \
         WHERE offline_version < excluded.offline_version";

const OPEN_PROBATION: &str = "UPDATE probations SET opened_version = $3, \
         opened_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) \
     WHERE tenant_id = $1 AND connection_id = $2 AND opened_version < $3";

/// `$3` and the next ones: the first one in so many milliseconds, the gap, how many.
const RELEASE: &str = "UPDATE orders SET due_ms = ranked.due_ms \
     FROM (SELECT waiting.place, CAST(unixepoch('subsec') * 1000 AS INTEGER) \
             + $3 + $4 * (row_number() OVER (ORDER BY created_ms, order_id) - 1) AS due_ms \
         FROM (SELECT rowid AS place, created_ms, order_id FROM orders \
             WHERE awaited_connection_id = $2 AND tenant_id = $1 ORDER BY created_ms, order_id LIMIT $5) \
         AS waiting) AS ranked \
     WHERE orders.rowid = ranked.place AND lease_owner IS NULL AND orders.due_ms > ranked.due_ms";

#[tonic::async_trait]
impl GateStorage for SqliteStorage {
    async fn gate_facts(&self) -> Result<GateFacts, StorageError> {
        let mut db = self.pool.acquire().await?;
        let troubled: Vec<TroubledColumns> =
            sqlx::query_as(sql::TROUBLED).bind(gates::troubled_since_ms()).fetch_all(&mut *db).await?;
        let held: Vec<HeldColumns> = sqlx::query_as(sql::HELD).fetch_all(&mut *db).await?;
        let pauses: Vec<PauseColumns> = sqlx::query_as(sql::PAUSES).fetch_all(&mut *db).await?;
        let probations: Vec<ProbationColumns> =
            sqlx::query_as(PROBATIONS).bind(rows::millis(OPENED_SHOWN)).fetch_all(&mut *db).await?;
        Ok(GateFacts {
            troubled: troubled.into_iter().map(gates::troubled).collect(),
            held: held.into_iter().map(gates::held).collect(),
            pauses: pauses.into_iter().filter_map(gates::pause).collect(),
            probations: probations.into_iter().map(gates::probation).collect(),
        })
    }

    async fn release_held(&self, tenant_id: &str, connection_id: &str, pace: Pace) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        let release = sqlx::query(RELEASE).bind(tenant_id).bind(connection_id);
        let release = release.bind(rows::millis(pace.first_in)).bind(rows::millis(pace.gap));
        release.bind(rows::row_limit(pace.limit)).execute(&mut *writing.tx).await?;
        Ok(writing.tx.commit().await?)
    }

    async fn note_offline(&self, offline: &[Offline]) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        for offline in offline {
            note_offline(&mut writing.tx, offline).await?;
        }
        Ok(writing.tx.commit().await?)
    }

    /// The one writer's lock is held: what is read is what is claimed.
    async fn claim_probation(&self, claim: &ProbationClaim) -> Result<LetThrough, StorageError> {
        let mut writing = self.write().await?;
        note_offline(&mut writing.tx, &claim.offline).await?;
        let Some(mut row) = probation(&mut writing.tx, &claim.offline).await? else {
            return Err(StorageError::Refused("a connection's probation is gone".to_owned()));
        };
        let decided = gates::decide(&mut row, claim);
        update(&mut writing.tx, &row).await?;
        writing.tx.commit().await?;
        Ok(decided)
    }

    async fn give_back_probation(&self, claim: &ProbationClaim) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        let give_back = sqlx::query(sql::GIVE_BACK_PROBATION).bind(&*claim.offline.tenant_id);
        give_back.bind(&claim.offline.connection_id).bind(&claim.order_id).execute(&mut *writing.tx).await?;
        Ok(writing.tx.commit().await?)
    }

    async fn open_probation(&self, offline: &Offline) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        let open = sqlx::query(OPEN_PROBATION).bind(&*offline.tenant_id).bind(&offline.connection_id);
        open.bind(offline.version).execute(&mut *writing.tx).await?;
        Ok(writing.tx.commit().await?)
    }

    async fn put_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        let put = sqlx::query(sql::PUT_PAUSE).bind(tenant_id).bind(&pause.store_id).bind(pause.encode_to_vec());
        put.execute(&mut *writing.tx).await?;
        Ok(writing.tx.commit().await?)
    }

    async fn end_pause(&self, tenant_id: &str, store_id: &str) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        sqlx::query(sql::END_PAUSE).bind(tenant_id).bind(store_id).execute(&mut *writing.tx).await?;
        Ok(writing.tx.commit().await?)
    }

    async fn forget_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        let mut writing = self.write().await?;
        let forget = sqlx::query(sql::FORGET_PAUSE).bind(tenant_id).bind(&pause.store_id).bind(pause.encode_to_vec());
        forget.execute(&mut *writing.tx).await?;
        Ok(writing.tx.commit().await?)
    }
}

async fn note_offline(db: &mut SqliteConnection, offline: &Offline) -> Result<(), StorageError> {
    let note = sqlx::query(NOTE_OFFLINE).bind(&*offline.tenant_id).bind(&offline.connection_id);
    note.bind(offline.version).execute(db).await?;
    Ok(())
}

async fn probation(db: &mut SqliteConnection, offline: &Offline) -> Result<Option<Probation>, StorageError> {
    let query = sqlx::query_as(PROBATION).bind(&*offline.tenant_id).bind(&offline.connection_id);
    let row: Option<ProbationColumns> = query.fetch_optional(&mut *db).await?;
    let Some(mut row) = row.map(gates::probation) else { return Ok(None) };
    if let Some(holder) = &mut row.holder {
        let state = sqlx::query_scalar(sql::STATE).bind(&*offline.tenant_id).bind(&holder.order_id);
        let state: Option<i16> = state.fetch_optional(db).await?;
        holder.state = state.and_then(|state| i32::from(state).try_into().ok());
    }
    Ok(Some(row))
}

async fn update(db: &mut SqliteConnection, row: &Probation) -> Result<(), StorageError> {
    let holder = row.holder.as_ref();
    sqlx::query(UPDATE_PROBATION)
        .bind(&*row.offline.tenant_id)
        .bind(&row.offline.connection_id)
        .bind(row.offline.version)
        .bind(row.opened_version)
        .bind(holder.map(|holder| holder.order_id.as_str()))
        .bind(holder.map_or(0, |holder| holder.version))
        .bind(holder.map_or(0, |holder| rows::millis(holder.age.min(Duration::from_secs(86_400)))))
        .execute(db)
        .await?;
    Ok(())
}
