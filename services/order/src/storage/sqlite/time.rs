//! Pickup slots, ends by time, and turns of rounds.

use std::{iter, sync::Arc};

use posmesh_proto::order::v1::Order;
use prost_types::Timestamp;
use sqlx::SqliteConnection;

use super::{PUT_OFF, SqliteStorage, change::update, checks, write::json, write::update_check};
use crate::storage::{
    ERASE_LIMIT, NewOrder, StorageError, TimeStorage, Turn, TurnTaken,
    batch::Failed,
    rows::{self, OrderColumns, TenantOrderColumns},
    sql,
    time::{self, Decided, SlotPlace, Slots, slot_key},
};

const NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";

const COUNT_SLOT: &str = "SELECT count(*) FROM pickup_places AS p \
     JOIN orders AS o ON o.tenant_id = p.tenant_id AND o.order_id = p.order_id AND o.state NOT IN (9, 10, 11) \
     WHERE p.tenant_id = $1 AND p.store_id = $2 AND p.pickup_ms >= $3 AND p.pickup_ms < $4";

const INSERT_PLACES: &str = "INSERT INTO pickup_places (tenant_id, store_id, pickup_ms, order_id) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($1)";

const FORGET_PLACES: &str = "DELETE FROM pickup_places WHERE (tenant_id, store_id, pickup_ms, order_id) IN ( \
         SELECT tenant_id, store_id, pickup_ms, order_id FROM pickup_places \
         WHERE pickup_ms < $1 ORDER BY pickup_ms LIMIT $2)";

/// States PLACED, IN_PREPARATION and READY; not while an attempt is under way, but also while one of which the POS must be
/// told waits for it.
const OVER: &str = "SELECT tenant_id, order_id, doc, version, display_number FROM orders \
     WHERE state IN (5, 6, 7) AND (due_ms IS NULL OR awaited_connection_id IS NOT NULL AND lease_owner IS NULL) AND complete_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER) \
     ORDER BY complete_ms LIMIT $1";

#[tonic::async_trait]
impl TimeStorage for SqliteStorage {
    async fn now_ms(&self) -> Result<Option<i64>, StorageError> {
        Ok(Some(sqlx::query_scalar(NOW).fetch_one(&self.pool).await?))
    }

    async fn pickups(
        &self,
        tenant_id: &str,
        store_id: &str,
        from_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<(i64, i64)>, StorageError> {
        let query = sqlx::query_as(sql::PICKUPS).bind(tenant_id).bind(store_id).bind(from_ms).bind(until_ms);
        Ok(query.fetch_all(&self.pool).await?)
    }

    async fn forget_pickups(&self, before_ms: i64) -> Result<u64, StorageError> {
        let mut writing = self.write().await?;
        let forget = sqlx::query(FORGET_PLACES).bind(before_ms).bind(ERASE_LIMIT);
        let forgotten = forget.execute(&mut *writing.tx).await?;
        writing.tx.commit().await?;
        Ok(forgotten.rows_affected())
    }

    async fn complete_due(&self, limit: usize, now: Timestamp) -> Result<Vec<(Arc<str>, Order)>, StorageError> {
        let mut writing = self.write().await?;
        let over: Vec<TenantOrderColumns> =
            sqlx::query_as(OVER).bind(rows::row_limit(limit)).fetch_all(&mut *writing.tx).await?;
        let orders = over.into_iter().filter_map(rows::claimed);
        let completed: Vec<(Arc<str>, Order)> =
            orders.filter_map(|(tenant_id, order)| Some((tenant_id, time::complete(order, now)?))).collect();
        if !completed.is_empty() {
            let updates =
                completed.iter().map(|(tenant_id, order)| (&**tenant_id, order, time::due_after_end(order))).collect();
            update(&mut writing.tx, updates).await?;
        }
        writing.tx.commit().await?;
        Ok(completed)
    }

    async fn take_turn(&self, turn: Turn) -> Result<TurnTaken, StorageError> {
        Ok(self.take_turn_once(&turn).await?)
    }
}

impl SqliteStorage {
    async fn take_turn_once(&self, turn: &Turn) -> Result<TurnTaken, Failed> {
        let (tenant_id, order_id, check_id) = (&turn.tenant_id, &turn.order.order_id, &turn.order.check_id);
        let mut writing = self.write().await?;
        let db = &mut *writing.tx;
        let mut checks = checks(db, iter::once((tenant_id, check_id.as_str()))).await?;
        let Some(row) = checks.values_mut().next() else { return Ok(TurnTaken::Missing) };
        let Some(current) = order(db, tenant_id, order_id).await? else { return Ok(TurnTaken::Missing) };
        if current.version != turn.order.version {
            return Ok(TurnTaken::Conflict(Box::new(current)));
        }
        let holder = match row.in_flight.as_deref().filter(|holder| holder != order_id) {
            Some(holder) => order(db, tenant_id, holder).await?,
            None => None,
        };
        let waits: Option<i32> = sqlx::query_scalar(sql::EARLIER_ROUND_WAITS)
            .bind(&**tenant_id)
            .bind(check_id)
            .bind(turn.order.round)
            .fetch_optional(&mut *db)
            .await?;
        let Decided { order, due_in, begun } = time::decide(turn, row, holder.as_ref(), waits.is_none())?;
        if order.version == turn.order.version {
            let put_off = sqlx::query(PUT_OFF).bind(&**tenant_id).bind(order_id).bind(order.version);
            put_off.bind(rows::millis(due_in)).execute(&mut *db).await?;
        } else {
            update(db, vec![(tenant_id, &order, Some(due_in))]).await?;
            update_check(db, tenant_id, check_id, row).await?;
        }
        let check = row.check.clone();
        writing.tx.commit().await?;
        Ok(if begun { TurnTaken::Begun(Box::new((order, check))) } else { TurnTaken::Waits(Box::new(order)) })
    }
}

async fn order(db: &mut SqliteConnection, tenant_id: &str, order_id: &str) -> Result<Option<Order>, Failed> {
    let row: Option<OrderColumns> =
        sqlx::query_as(sql::ORDER).bind(tenant_id).bind(order_id).fetch_optional(db).await?;
    Ok(row.map(rows::order).transpose()?)
}

/// Counts what is in the slots of a batch.
pub(super) async fn count_slots(db: &mut SqliteConnection, batch: &[&NewOrder]) -> Result<Slots, Failed> {
    let mut slots = Slots::new();
    for (key, place) in batch.iter().filter_map(|new| slot_key(new)) {
        if slots.contains_key(&key) {
            continue;
        }
        let query = sqlx::query_scalar(COUNT_SLOT).bind(&*key.0).bind(&key.1).bind(place.start_ms).bind(place.end_ms);
        let count: i64 = query.fetch_one(&mut *db).await?;
        slots.insert(key, count);
    }
    Ok(slots)
}

/// Notes who takes which place.
pub(super) async fn insert_places(
    db: &mut SqliteConnection,
    taken: impl Iterator<Item = (&NewOrder, SlotPlace)>,
) -> Result<(), Failed> {
    let place = |(new, place): (&NewOrder, SlotPlace)| {
        (new.tenant_id.to_string(), new.order.store_id.clone(), place.pickup_ms, new.order.order_id.clone())
    };
    let places: Vec<_> = taken.map(place).collect();
    if !places.is_empty() {
        sqlx::query(INSERT_PLACES).bind(json(&places)?).execute(db).await?;
    }
    Ok(())
}
