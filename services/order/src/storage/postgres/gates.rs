//! Gates. Statements over the few orders in trouble are planned each time: a plan kept from when the table was small
//! would read all of it for ever.

use std::time::Duration;

use posmesh_proto::order::v1::Pause;
use prost::Message as _;
use sqlx::PgConnection;

use super::PostgresStorage;
use crate::storage::{
    GateFacts, GateStorage, LetThrough, Offline, Pace, Probation, ProbationClaim, StorageError,
    gates::{self, HeldColumns, OPENED_SHOWN, PauseColumns, ProbationColumns, TroubledColumns},
    rows, sql,
};

/// `$1`: milliseconds.
const PROBATIONS: &str = "SELECT p.tenant_id, p.connection_id, p.offline_version, p.opened_version, p.order_id, \
         p.claimed_version, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - p.claimed_ms, \
         (CASE WHEN o.state IN (5, 6, 7, 8) AND o.due_ms IS NOT NULL THEN 3 ELSE o.state END)::smallint \
     FROM probations AS p LEFT JOIN orders AS o ON o.tenant_id = p.tenant_id AND o.order_id = p.order_id \
     WHERE p.offline_version > p.opened_version \
         OR p.opened_ms > (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) - $1";

const LOCK_PROBATION: &str = "SELECT tenant_id, connection_id, offline_version, opened_version, order_id, claimed_version, \
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint - claimed_ms, NULL::smallint FROM probations \
     WHERE tenant_id = $1 AND connection_id = $2 FOR UPDATE";

const UPDATE_PROBATION: &str = "UPDATE probations SET offline_version = $3, \
         opened_ms = CASE WHEN opened_version = $4 THEN opened_ms \
             ELSE (extract(epoch FROM clock_timestamp()) * 1000)::bigint END, \
         opened_version = $4, order_id = $5, claimed_version = $6, \
         claimed_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $7 \
     WHERE tenant_id = $1 AND connection_id = $2";

const NOTE_OFFLINE: &str = "INSERT INTO probations AS p (tenant_id, connection_id, offline_version, opened_version, \
         claimed_version, claimed_ms) \
     SELECT tenant_id, connection_id, version, 0, 0, 0 FROM unnest($1::text[], $2::text[], $3::bigint[]) \
         AS new (tenant_id, connection_id, version) ORDER BY connection_id, tenant_id \
     ON CONFLICT (connection_id, tenant_id) DO UPDATE SET offline_version = excluded.offline_version \
         WHERE p.offline_version < excluded.offline_version";

const OPEN_PROBATION: &str = "UPDATE probations SET opened_version = $3, \
         opened_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
     WHERE tenant_id = $1 AND connection_id = $2 AND opened_version < $3";

/// `$3` and the next ones: the first one in so many milliseconds, the gap, how many.
const RELEASE: &str = "WITH waiting AS ( \
         SELECT tenant_id, order_id, created_ms FROM orders \
         WHERE awaited_connection_id = $2 AND tenant_id = $1 ORDER BY created_ms, order_id LIMIT $5), \
     ranked AS (SELECT tenant_id, order_id, (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
         + $3 + $4 * (row_number() OVER (ORDER BY created_ms, order_id) - 1) AS due_ms FROM waiting) \
     UPDATE orders AS o SET due_ms = ranked.due_ms FROM ranked \
     WHERE o.tenant_id = ranked.tenant_id AND o.order_id = ranked.order_id AND o.lease_owner IS NULL \
         AND o.awaited_connection_id IS NOT NULL AND o.due_ms > ranked.due_ms";

#[tonic::async_trait]
impl GateStorage for PostgresStorage {
    async fn gate_facts(&self) -> Result<GateFacts, StorageError> {
        let mut db = self.pool.acquire().await?;
        let troubled: Vec<TroubledColumns> = sqlx::query_as(sql::TROUBLED)
            .persistent(false)
            .bind(gates::troubled_since_ms())
            .fetch_all(&mut *db)
            .await?;
        let held: Vec<HeldColumns> = sqlx::query_as(sql::HELD).persistent(false).fetch_all(&mut *db).await?;
        let pauses: Vec<PauseColumns> = sqlx::query_as(sql::PAUSES).fetch_all(&mut *db).await?;
        let probations: Vec<ProbationColumns> =
            sqlx::query_as(PROBATIONS).persistent(false).bind(rows::millis(OPENED_SHOWN)).fetch_all(&mut *db).await?;
        Ok(GateFacts {
            troubled: troubled.into_iter().map(gates::troubled).collect(),
            held: held.into_iter().map(gates::held).collect(),
            pauses: pauses.into_iter().filter_map(gates::pause).collect(),
            probations: probations.into_iter().map(gates::probation).collect(),
        })
    }

    async fn release_held(&self, tenant_id: &str, connection_id: &str, pace: Pace) -> Result<(), StorageError> {
        let release = sqlx::query(RELEASE).persistent(false).bind(tenant_id).bind(connection_id);
        let release = release.bind(rows::millis(pace.first_in)).bind(rows::millis(pace.gap));
        release.bind(rows::row_limit(pace.limit)).execute(&self.pool).await?;
        Ok(())
    }

    async fn note_offline(&self, offline: &[Offline]) -> Result<(), StorageError> {
        sqlx::query(NOTE_OFFLINE)
            .bind(offline.iter().map(|offline| &*offline.tenant_id).collect::<Vec<_>>())
            .bind(offline.iter().map(|offline| offline.connection_id.as_str()).collect::<Vec<_>>())
            .bind(offline.iter().map(|offline| offline.version).collect::<Vec<_>>())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn claim_probation(&self, claim: &ProbationClaim) -> Result<LetThrough, StorageError> {
        self.note_offline(std::slice::from_ref(&claim.offline)).await?;
        let mut tx = self.pool.begin().await?;
        let Some(mut row) = lock(&mut tx, &claim.offline).await? else {
            return Err(StorageError::Refused("a connection's probation is gone".to_owned()));
        };
        let before = row.clone();
        let decided = gates::decide(&mut row, claim);
        if row != before {
            update(&mut tx, &row).await?;
        }
        tx.commit().await?;
        Ok(decided)
    }

    async fn give_back_probation(&self, claim: &ProbationClaim) -> Result<(), StorageError> {
        let give_back = sqlx::query(sql::GIVE_BACK_PROBATION).bind(&*claim.offline.tenant_id);
        give_back.bind(&claim.offline.connection_id).bind(&claim.order_id).execute(&self.pool).await?;
        Ok(())
    }

    async fn open_probation(&self, offline: &Offline) -> Result<(), StorageError> {
        let open = sqlx::query(OPEN_PROBATION).bind(&*offline.tenant_id).bind(&offline.connection_id);
        open.bind(offline.version).execute(&self.pool).await?;
        Ok(())
    }

    async fn put_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        let put = sqlx::query(sql::PUT_PAUSE).bind(tenant_id).bind(&pause.store_id).bind(pause.encode_to_vec());
        put.execute(&self.pool).await?;
        Ok(())
    }

    async fn end_pause(&self, tenant_id: &str, store_id: &str) -> Result<(), StorageError> {
        sqlx::query(sql::END_PAUSE).bind(tenant_id).bind(store_id).execute(&self.pool).await?;
        Ok(())
    }

    async fn forget_pause(&self, tenant_id: &str, pause: &Pause) -> Result<(), StorageError> {
        let forget = sqlx::query(sql::FORGET_PAUSE).bind(tenant_id).bind(&pause.store_id).bind(pause.encode_to_vec());
        forget.execute(&self.pool).await?;
        Ok(())
    }
}

/// The row, held until the transaction ends, with the state that its holder has by then.
async fn lock(db: &mut PgConnection, offline: &Offline) -> Result<Option<Probation>, StorageError> {
    let query = sqlx::query_as(LOCK_PROBATION).bind(&*offline.tenant_id).bind(&offline.connection_id);
    let row: Option<ProbationColumns> = query.fetch_optional(&mut *db).await?;
    let Some(mut row) = row.map(gates::probation) else { return Ok(None) };
    if let Some(holder) = &mut row.holder {
        let state = sqlx::query_scalar(sql::STATE).bind(&*offline.tenant_id).bind(&holder.order_id);
        let state: Option<i16> = state.fetch_optional(db).await?;
        holder.state = state.and_then(|state| i32::from(state).try_into().ok());
    }
    Ok(Some(row))
}

async fn update(db: &mut PgConnection, row: &Probation) -> Result<(), StorageError> {
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
