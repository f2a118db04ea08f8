//! On SQLite: one file, one writer at a time. Whole batches go in as JSON: one statement each, whatever their size.

mod change;
mod checks;
mod errands;
mod gates;
mod place;
mod time;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posmesh_proto::order::v1::{GuestContact, Order};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, MutexGuard, mpsc};

use self::write::json;
use super::{
    Changed, CheckStorage as _, Claimed, ERASE_LIMIT, Errand, Heard, Known, NewOrder, Next, OrderChange, OrderFilter,
    Placement, Requested, Room, Storage, StorageError, Wake,
    batch::{Batches, Failed},
    rounds::Checks,
    rows::{self, OrderColumns, RequestedColumns, TenantCheckColumns, TenantOrderColumns},
    sql,
};

/// The lock is taken at once: a transaction that reads first and writes later fails if another one wrote in between.
const WRITE: &str = "BEGIN IMMEDIATE";

const CHECKS: &str = "SELECT c.tenant_id, c.check_id, c.doc, c.version, c.rounds, c.in_flight_order_id \
     FROM json_each($1) AS asked CROSS JOIN checks AS c \
     ON c.tenant_id = asked.value ->> 0 AND c.check_id = asked.value ->> 1";

const NEWER: &str = "SELECT o.order_id, o.doc, o.version, o.display_number \
     FROM json_each($1) AS known CROSS JOIN orders AS o \
     ON o.tenant_id = known.value ->> 0 AND o.order_id = known.value ->> 1 AND o.version > known.value ->> 2";

/// `$4`: how many of which store, `$5`: of the others, `$6`: how many are looked at.
const CLAIM: &str = "WITH stores AS ( \
         SELECT value ->> 0 AS tenant_id, value ->> 1 AS store_id, value ->> 2 AS room FROM json_each($4)), \
     found AS ( \
         SELECT rowid AS place, tenant_id, store_id, due_ms FROM orders \
         WHERE due_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER) \
             AND (tenant_id, store_id) NOT IN (SELECT tenant_id, store_id FROM stores WHERE room = 0) \
         ORDER BY due_ms LIMIT $6), \
     ranked AS ( \
         SELECT *, row_number() OVER (PARTITION BY tenant_id, store_id ORDER BY due_ms) AS nth FROM found) \
     UPDATE orders SET version = version + 1, lease_owner = $1, \
         due_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $2 \
     WHERE rowid IN (SELECT place FROM ranked LEFT JOIN stores USING (tenant_id, store_id) \
         WHERE nth <= coalesce(room, $5) ORDER BY due_ms LIMIT $3) \
     RETURNING tenant_id, order_id, doc, version, display_number";

/// `$4`: milliseconds from now.
const PUT_OFF: &str = "UPDATE orders SET due_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $4, lease_owner = NULL \
     WHERE tenant_id = $1 AND order_id = $2 AND version = $3 AND ($4 IS NULL OR due_ms IS NOT NULL)";

const ERASE_CONTACTS: &str = "DELETE FROM guest_contacts WHERE rowid IN (SELECT rowid FROM guest_contacts \
     WHERE created_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1 ORDER BY created_ms LIMIT $2)";

/// The storage on a SQLite file.
#[derive(Debug)]
pub(super) struct SqliteStorage {
    pool: SqlitePool,
    /// Writers of this process queue here, in order; at the file's own lock they would poll.
    writer: Mutex<()>,
}

/// A transaction that may write.
struct Writing<'a> {
    tx: Transaction<'static, Sqlite>,
    _turn: MutexGuard<'a, ()>,
}

impl SqliteStorage {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool, writer: Mutex::new(()) }
    }

    async fn write(&self) -> Result<Writing<'_>, sqlx::Error> {
        let turn = self.writer.lock().await;
        Ok(Writing { tx: self.pool.begin_with(WRITE).await?, _turn: turn })
    }
}

/// The checks among the given ones that exist.
async fn checks<'a>(
    db: &mut SqliteConnection,
    ids: impl Iterator<Item = (&'a Arc<str>, &'a str)>,
) -> Result<Checks, Failed> {
    let ids: Vec<(&str, &str)> = ids.map(|(tenant_id, check_id)| (&**tenant_id, check_id)).collect();
    if ids.is_empty() {
        return Ok(Checks::new());
    }
    let found: Vec<TenantCheckColumns> = sqlx::query_as(CHECKS).bind(json(&ids)?).fetch_all(db).await?;
    Ok(rows::checks(found)?)
}

#[tonic::async_trait]
impl Storage for SqliteStorage {
    async fn place_batch(&self, orders: Vec<NewOrder>) -> Vec<Result<Placement, StorageError>> {
        let mut batches = Batches::new(orders, NewOrder::key);
        while let Some(batch) = batches.next() {
            let outcome = self.place_once(&batch).await;
            batches.done(outcome).await;
        }
        batches.into_answers()
    }

    async fn change_batch(&self, changes: Vec<OrderChange>) -> Vec<Result<Changed, StorageError>> {
        let mut batches = Batches::new(changes, OrderChange::key);
        while let Some(batch) = batches.next() {
            let outcome = self.change_once(&batch).await;
            batches.done(outcome).await;
        }
        batches.into_answers()
    }

    async fn claim_due(&self, replica: &str, lease: Duration, room: &Room) -> Result<Vec<Claimed>, StorageError> {
        let stores: Vec<_> = room.stores.iter().map(|(tenant, store, room)| (&**tenant, store, room)).collect();
        let mut writing = self.write().await?;
        let claimed: Vec<TenantOrderColumns> = sqlx::query_as(CLAIM)
            .bind(replica)
            .bind(rows::millis(lease))
            .bind(rows::row_limit(room.orders))
            .bind(json(&stores)?)
            .bind(rows::row_limit(room.per_store))
            .bind(rows::row_limit(room.look_at()))
            .fetch_all(&mut *writing.tx)
            .await?;
        writing.tx.commit().await?;
        drop(writing._turn);
        let mut answer = Vec::with_capacity(claimed.len());
        for (tenant_id, order) in claimed.into_iter().filter_map(rows::claimed) {
            let check = match order.check_id.as_str() {
                "" => None,
                check_id => self.check(&tenant_id, check_id).await?,
            };
            answer.push(Claimed { tenant_id, order, check });
        }
        Ok(answer)
    }

    async fn put_off(
        &self,
        tenant_id: &str,
        order_id: &str,
        version: i64,
        due_in: Option<Duration>,
    ) -> Result<bool, StorageError> {
        let mut writing = self.write().await?;
        let put_off = sqlx::query(PUT_OFF).bind(tenant_id).bind(order_id).bind(version).bind(due_in.map(rows::millis));
        let put_off = put_off.execute(&mut *writing.tx).await?;
        writing.tx.commit().await?;
        Ok(put_off.rows_affected() == 1)
    }

    async fn order(&self, tenant_id: &str, order_id: &str) -> Result<Option<Order>, StorageError> {
        let row: Option<OrderColumns> =
            sqlx::query_as(sql::ORDER).bind(tenant_id).bind(order_id).fetch_optional(&self.pool).await?;
        row.map(rows::order).transpose()
    }

    async fn newer(&self, known: &[Known]) -> Result<Vec<Order>, StorageError> {
        let known: Vec<_> = known.iter().map(|known| (&*known.tenant_id, &*known.order_id, known.version)).collect();
        let known = json(&known)?;
        let found: Vec<OrderColumns> = sqlx::query_as(NEWER).bind(known).fetch_all(&self.pool).await?;
        found.into_iter().map(rows::order).collect()
    }

    async fn attention(&self, tenant_id: &str, limit: usize) -> Result<BTreeMap<Arc<str>, i64>, StorageError> {
        let query = sqlx::query_as(sql::ATTENTION).bind(tenant_id).bind(rows::row_limit(limit));
        let found: Vec<(String, i64)> = query.fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|(order_id, version)| (order_id.into(), version)).collect())
    }

    async fn order_by_request(
        &self,
        tenant_id: &str,
        caller: &str,
        request_id: &str,
    ) -> Result<Option<Requested>, StorageError> {
        let query = sqlx::query_as(sql::ORDER_BY_REQUEST).bind(tenant_id).bind(caller).bind(request_id);
        let row: Option<RequestedColumns> = query.fetch_optional(&self.pool).await?;
        row.map(rows::requested).transpose()
    }

    async fn orders(&self, tenant_id: &str, filter: &OrderFilter) -> Result<Vec<Order>, StorageError> {
        let (after_ms, after_id) = rows::after(filter.after.as_ref());
        let statement = if filter.needs_person { sql::ORDERS_WITH_ATTENTION } else { sql::ORDERS };
        let found: Vec<OrderColumns> = sqlx::query_as(statement)
            .bind(tenant_id)
            .bind(&filter.store_id)
            .bind(rows::mask(filter.states.iter().map(|state| *state as i32)))
            .bind(filter.created_from_ms.unwrap_or(i64::MIN))
            .bind(filter.created_before_ms.unwrap_or(i64::MAX))
            .bind(&filter.check_id)
            .bind(after_ms)
            .bind(after_id)
            .bind(rows::row_limit(filter.limit))
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(rows::order).collect()
    }

    async fn contact(&self, tenant_id: &str, contact_id: &str) -> Result<Option<GuestContact>, StorageError> {
        let query = sqlx::query_as(sql::CONTACT).bind(tenant_id).bind(contact_id);
        let row: Option<(String, String)> = query.fetch_optional(&self.pool).await?;
        Ok(row.map(|(name, phone)| GuestContact { name, phone }))
    }

    async fn erase_contacts(&self, age: Duration) -> Result<u64, StorageError> {
        let mut writing = self.write().await?;
        let erase = sqlx::query(ERASE_CONTACTS).bind(rows::millis(age)).bind(ERASE_LIMIT);
        let erased = erase.execute(&mut *writing.tx).await?;
        writing.tx.commit().await?;
        Ok(erased.rows_affected())
    }

    async fn wake(&self, wakes: &[Wake]) -> Result<(), StorageError> {
        self.wake_errands(wakes).await
    }

    async fn claim_errands(&self, replica: &str, lease: Duration, limit: usize) -> Result<Vec<Errand>, StorageError> {
        self.claim_due_errands(replica, lease, limit).await
    }

    async fn put_errand(&self, errand: &Errand, next: Next) -> Result<bool, StorageError> {
        self.put_claimed_errand(errand, next).await
    }

    async fn announce(&self, _order_ids: &[String]) -> Result<(), StorageError> {
        Ok(())
    }

    async fn listen(&self) -> Result<Option<mpsc::Receiver<Heard>>, StorageError> {
        Ok(None)
    }
}
