//! Pickup slots, ends by time, and turns of rounds.

use std::{iter, sync::Arc};

use posmesh_proto::order::v1::Order;
use prost_types::Timestamp;
use sqlx::PgConnection;

use super::{LOCK_CHECKS, PUT_OFF, PostgresStorage, change::update, checks, update_checks};
use crate::storage::{
    ERASE_LIMIT, NewOrder, StorageError, TimeStorage, Turn, TurnTaken,
    batch::{Batches, Failed},
    rows::{self, OrderColumns, TenantOrderColumns},
    sql,
    time::{self, Decided, SlotPlace, Slots, slot_key},
};

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Whoever counts what is in a slot waits for whoever does so at the same moment.
const LOCK_SLOTS: &str = "SELECT pg_advisory_xact_lock(hashtextextended(slot, 0)) FROM unnest($1::text[]) AS slot";

const COUNT_SLOTS: &str = "SELECT asked.position - 1, count(o.order_id) \
     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY \
         AS asked (tenant_id, store_id, start_ms, end_ms, position) \
     JOIN pickup_places AS p ON p.tenant_id = asked.tenant_id AND p.store_id = asked.store_id \
         AND p.pickup_ms >= asked.start_ms AND p.pickup_ms < asked.end_ms \
     JOIN orders AS o ON o.tenant_id = p.tenant_id AND o.order_id = p.order_id AND o.state NOT IN (9, 10, 11) \
     GROUP BY asked.position";

const INSERT_PLACES: &str = "INSERT INTO pickup_places (tenant_id, store_id, pickup_ms, order_id) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])";

const FORGET_PLACES: &str = "DELETE FROM pickup_places WHERE ctid IN ( \
         SELECT ctid FROM pickup_places WHERE pickup_ms < $1 ORDER BY pickup_ms LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// States PLACED, IN_PREPARATION and READY; not while an attempt is under way, but also while one of which the POS must be
/// told waits for it.
const OVER: &str = "SELECT tenant_id, order_id, doc, version, display_number FROM orders \
     WHERE state IN (5, 6, 7) AND (due_ms IS NULL OR awaited_connection_id IS NOT NULL AND lease_owner IS NULL) \
         AND complete_ms <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
     ORDER BY complete_ms LIMIT $1 FOR UPDATE SKIP LOCKED";

const LOCK_ORDER: &str =
    "SELECT order_id, doc, version, display_number FROM orders WHERE tenant_id = $1 AND order_id = $2 FOR UPDATE";

#[tonic::async_trait]
impl TimeStorage for PostgresStorage {
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
        let forgotten = sqlx::query(FORGET_PLACES).bind(before_ms).bind(ERASE_LIMIT).execute(&self.pool).await?;
        Ok(forgotten.rows_affected())
    }

    async fn complete_due(&self, limit: usize, now: Timestamp) -> Result<Vec<(Arc<str>, Order)>, StorageError> {
        let mut tx = self.pool.begin().await?;
        let over: Vec<TenantOrderColumns> =
            sqlx::query_as(OVER).bind(rows::row_limit(limit)).fetch_all(&mut *tx).await?;
        let orders = over.into_iter().filter_map(rows::claimed);
        let completed: Vec<(Arc<str>, Order)> =
            orders.filter_map(|(tenant_id, order)| Some((tenant_id, time::complete(order, now)?))).collect();
        update(
            &mut tx,
            completed.iter().map(|(tenant_id, order)| (&**tenant_id, order, time::due_after_end(order))).collect(),
        )
        .await?;
        tx.commit().await?;
        Ok(completed)
    }

    async fn take_turn(&self, turn: Turn) -> Result<TurnTaken, StorageError> {
        let mut batches = Batches::new(vec![turn], Turn::key);
        while let Some(batch) = batches.next() {
            let outcome = match batch.first() {
                Some(turn) => self.take_turn_once(turn).await.map(|taken| vec![Ok(taken)]),
                None => Ok(Vec::new()),
            };
            batches.done(outcome).await;
        }
        batches.into_answers().remove(0)
    }
}

impl PostgresStorage {
    async fn take_turn_once(&self, turn: &Turn) -> Result<TurnTaken, Failed> {
        let (tenant_id, order_id, check_id) = (&turn.tenant_id, &turn.order.order_id, &turn.order.check_id);
        let mut tx = self.pool.begin().await?;
        let mut checks = checks(&mut tx, LOCK_CHECKS, iter::once((tenant_id, check_id.as_str()))).await?;
        let Some(row) = checks.values_mut().next() else { return Ok(TurnTaken::Missing) };
        let Some(current) = lock_order(&mut tx, tenant_id, order_id).await? else { return Ok(TurnTaken::Missing) };
        if current.version != turn.order.version {
            return Ok(TurnTaken::Conflict(Box::new(current)));
        }
        let holder = match row.in_flight.as_deref().filter(|holder| holder != order_id) {
            Some(holder) => lock_order(&mut tx, tenant_id, holder).await?,
            None => None,
        };
        let waits: Option<i32> = sqlx::query_scalar(sql::EARLIER_ROUND_WAITS)
            .bind(&**tenant_id)
            .bind(check_id)
            .bind(turn.order.round)
            .fetch_optional(&mut *tx)
            .await?;
        let Decided { order, due_in, begun } = time::decide(turn, row, holder.as_ref(), waits.is_none())?;
        let check = row.check.clone();
        if order.version == turn.order.version {
            let put_off = sqlx::query(PUT_OFF).bind(&**tenant_id).bind(order_id).bind(order.version);
            put_off.bind(rows::millis(due_in)).execute(&mut *tx).await?;
        } else {
            update(&mut tx, vec![(tenant_id, &order, Some(due_in))]).await?;
            update_checks(&mut tx, &checks).await?;
        }
        tx.commit().await?;
        Ok(if begun { TurnTaken::Begun(Box::new((order, check))) } else { TurnTaken::Waits(Box::new(order)) })
    }
}

async fn lock_order(db: &mut PgConnection, tenant_id: &str, order_id: &str) -> Result<Option<Order>, Failed> {
    let row: Option<OrderColumns> =
        sqlx::query_as(LOCK_ORDER).bind(tenant_id).bind(order_id).fetch_optional(db).await?;
    Ok(row.map(rows::order).transpose()?)
}

/// Counts what is in the slots of a batch; nobody else does until the transaction ends.
pub(super) async fn lock_slots(db: &mut PgConnection, batch: &[&NewOrder]) -> Result<Slots, Failed> {
    let mut slots: Vec<_> = batch.iter().filter_map(|new| slot_key(new)).collect();
    if slots.is_empty() {
        return Ok(Slots::new());
    }
    slots.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    slots.dedup_by(|a, b| a.0 == b.0);
    let names: Vec<String> = slots
        .iter()
        .map(|((tenant_id, store_id, start_ms), _)| format!("slot/{tenant_id}/{store_id}/{start_ms}"))
        .collect();
    sqlx::query(LOCK_SLOTS).bind(names).execute(&mut *db).await?;
    let counts: Vec<(i64, i64)> = sqlx::query_as(COUNT_SLOTS)
        .bind(slots.iter().map(|((tenant_id, ..), _)| &**tenant_id).collect::<Vec<_>>())
        .bind(slots.iter().map(|((_, store_id, _), _)| store_id.as_str()).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, place)| place.start_ms).collect::<Vec<_>>())
        .bind(slots.iter().map(|(_, place)| place.end_ms).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    let mut taken: Slots = slots.iter().map(|(key, _)| (key.clone(), 0)).collect();
    for (position, count) in counts {
        if let Some((key, _)) = usize::try_from(position).ok().and_then(|position| slots.get(position)) {
            taken.insert(key.clone(), count);
        }
    }
    Ok(taken)
}

/// Notes who takes which place.
pub(super) async fn insert_places(
    db: &mut PgConnection,
    taken: impl Iterator<Item = (&NewOrder, SlotPlace)> + Clone,
) -> Result<(), Failed> {
    if taken.clone().next().is_none() {
        return Ok(());
    }
    sqlx::query(INSERT_PLACES)
        .bind(taken.clone().map(|(new, _)| &*new.tenant_id).collect::<Vec<_>>())
        .bind(taken.clone().map(|(new, _)| new.order.store_id.as_str()).collect::<Vec<_>>())
        .bind(taken.clone().map(|(_, place)| place.pickup_ms).collect::<Vec<_>>())
        .bind(taken.map(|(new, _)| new.order.order_id.as_str()).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}
