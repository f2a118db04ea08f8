//! On PostgreSQL: any number of replicas on one database. A batch is a statement or two over arrays, so that its cost
//! hardly depends on its size.
//!
//! Locks are taken in one order, checks before display numbers before orders, each sorted. Batches that meet on orders
//! in another order are retried.

mod announce;
mod change;
mod checks;
mod errands;
mod gates;
mod lanes;
mod place;
mod time;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posmesh_proto::order::v1::{GuestContact, Order};
use prost::Message as _;
use sqlx::{PgConnection, PgPool};
use tokio::sync::mpsc;

use self::lanes::Lanes;
use super::{
    Changed, Claimed, ERASE_LIMIT, Errand, Heard, Known, NewOrder, Next, OrderChange, OrderFilter, Placement,
    Requested, Room, Storage, StorageError, Wake,
    batch::{Batches, Failed},
    rounds::Checks,
    rows::{self, OrderColumns, RequestedColumns, TenantCheckColumns, TenantOrderColumns},
    sql,
};

const CHECKS: &str = "SELECT c.tenant_id, c.check_id, c.doc, c.version, c.rounds, c.in_flight_order_id \
     FROM unnest($1::text[], $2::text[]) AS asked (tenant_id, check_id) \
     JOIN checks AS c ON c.tenant_id = asked.tenant_id AND c.check_id = asked.check_id";

const LOCK_CHECKS: &str = "SELECT tenant_id, check_id, doc, version, rounds, in_flight_order_id FROM checks \
     WHERE (tenant_id, check_id) IN (SELECT * FROM unnest($1::text[], $2::text[])) \
     ORDER BY tenant_id, check_id FOR UPDATE";

/// One that ends thereby (states CLOSED and MERGED) falls due at once: its rounds are to be ended.
const UPDATE_CHECKS: &str = "UPDATE checks AS c SET version = new.version, rounds = new.rounds, state = new.state, \
         in_flight_order_id = new.in_flight_order_id, doc = new.doc, connection_id = new.connection_id, \
         pos_check_reference = new.pos_check_reference, \
         due_ms = CASE WHEN new.state IN (3, 4) AND c.state NOT IN (3, 4) THEN 0 ELSE c.due_ms END \
     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::smallint[], $6::text[], $7::bytea[], \
         $8::text[], $9::text[]) AS new (tenant_id, check_id, version, rounds, state, in_flight_order_id, doc, \
         connection_id, pos_check_reference) \
     WHERE c.tenant_id = new.tenant_id AND c.check_id = new.check_id";

const NEWER: &str = "SELECT o.order_id, o.doc, o.version, o.display_number \
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS known (tenant_id, order_id, version) \
     JOIN orders AS o ON o.tenant_id = known.tenant_id AND o.order_id = known.order_id AND o.version > known.version";

/// The clock is read in a subquery: as a volatile function it would keep the index from being used. `$4` and the next
/// ones: how many of which store, `$7`: of the others, `$8`: how many are looked at.
pub(super) const CLAIM: &str = "WITH stores AS ( \
         SELECT * FROM unnest($4::text[], $5::text[], $6::bigint[]) AS stores (tenant_id, store_id, room)), \
     found AS ( \
         SELECT tenant_id, order_id, store_id, due_ms FROM orders \
         WHERE due_ms <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
             AND (tenant_id, store_id) NOT IN (SELECT tenant_id, store_id FROM stores WHERE room = 0) \
         ORDER BY due_ms LIMIT $8 FOR UPDATE SKIP LOCKED), \
     ranked AS ( \
         SELECT found.*, row_number() OVER (PARTITION BY tenant_id, store_id ORDER BY due_ms) AS nth FROM found), \
     due AS ( \
         SELECT tenant_id, order_id FROM ranked LEFT JOIN stores USING (tenant_id, store_id) \
         WHERE nth <= coalesce(room, $7) ORDER BY due_ms LIMIT $3) \
     UPDATE orders AS o SET version = o.version + 1, lease_owner = $1, \
         due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2 \
     FROM due WHERE o.tenant_id = due.tenant_id AND o.order_id = due.order_id \
     RETURNING o.tenant_id, o.order_id, o.doc, o.version, o.display_number";

/// `$4`: milliseconds from now.
const PUT_OFF: &str = "UPDATE orders SET due_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $4, lease_owner = NULL \
     WHERE tenant_id = $1 AND order_id = $2 AND version = $3 AND ($4 IS NULL OR due_ms IS NOT NULL)";

const ERASE_CONTACTS: &str = "DELETE FROM guest_contacts WHERE (tenant_id, contact_id) IN ( \
         SELECT tenant_id, contact_id FROM guest_contacts \
         WHERE created_ms <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1) \
         ORDER BY created_ms LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// The storage on a PostgreSQL schema.
#[derive(Debug)]
pub(super) struct PostgresStorage {
    pool: PgPool,
    lanes: Lanes,
    /// Tells this one's announcements from those of others.
    id: String,
}

impl PostgresStorage {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { lanes: Lanes::new(pool.clone()), pool, id: uuid::Uuid::now_v7().to_string() }
    }
}

/// The checks among the given ones that exist, locked until the transaction ends if `statement` says so.
async fn checks<'a>(
    db: &mut PgConnection,
    statement: &'static str,
    ids: impl Iterator<Item = (&'a Arc<str>, &'a str)>,
) -> Result<Checks, Failed> {
    let (tenant_ids, check_ids): (Vec<&str>, Vec<&str>) = ids.map(|(tenant, check)| (&**tenant, check)).unzip();
    if check_ids.is_empty() {
        return Ok(Checks::new());
    }
    let found: Vec<TenantCheckColumns> =
        sqlx::query_as(statement).bind(tenant_ids).bind(check_ids).fetch_all(db).await?;
    Ok(rows::checks(found)?)
}

/// Writes checks that this transaction has locked.
async fn update_checks(db: &mut PgConnection, checks: &Checks) -> Result<(), Failed> {
    if checks.is_empty() {
        return Ok(());
    }
    let (tenant_ids, check_ids): (Vec<&str>, Vec<&str>) = checks.keys().map(|(t, c)| (&**t, c.as_str())).unzip();
    let all = || checks.values();
    sqlx::query(UPDATE_CHECKS)
        .bind(tenant_ids)
        .bind(check_ids)
        .bind(all().map(|row| row.check.version).collect::<Vec<_>>())
        .bind(all().map(|row| row.check.rounds).collect::<Vec<_>>())
        .bind(all().map(|row| rows::small(row.check.state)).collect::<Vec<_>>())
        .bind(all().map(|row| row.in_flight.as_deref()).collect::<Vec<_>>())
        .bind(all().map(|row| row.check.encode_to_vec()).collect::<Vec<_>>())
        .bind(all().map(|row| rows::some(&row.check.connection_id)).collect::<Vec<_>>())
        .bind(all().map(|row| rows::some(&row.check.pos_check_reference)).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl Storage for PostgresStorage {
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
        let mut db = self.pool.acquire().await?;
        let found: Vec<TenantOrderColumns> = sqlx::query_as(CLAIM)
            .bind(replica)
            .bind(rows::millis(lease))
            .bind(rows::row_limit(room.orders))
            .bind(room.stores.iter().map(|(tenant_id, ..)| &**tenant_id).collect::<Vec<_>>())
            .bind(room.stores.iter().map(|(_, store_id, _)| store_id.as_str()).collect::<Vec<_>>())
            .bind(room.stores.iter().map(|(.., room)| rows::row_limit(*room)).collect::<Vec<_>>())
            .bind(rows::row_limit(room.per_store))
            .bind(rows::row_limit(room.look_at()))
            .fetch_all(&mut *db)
            .await?;
        let claimed: Vec<(Arc<str>, Order)> = found.into_iter().filter_map(rows::claimed).collect();
        let of_check = claimed.iter().filter(|(_, order)| !order.check_id.is_empty());
        let ids = of_check.map(|(tenant_id, order)| (tenant_id, order.check_id.as_str()));
        let checks = checks(&mut db, CHECKS, ids).await?;
        let with_check = |(tenant_id, order): (Arc<str>, Order)| {
            let check = checks.get(&(Arc::clone(&tenant_id), order.check_id.clone())).map(|row| row.check.clone());
            Claimed { tenant_id, order, check }
        };
        Ok(claimed.into_iter().map(with_check).collect())
    }

    async fn put_off(
        &self,
        tenant_id: &str,
        order_id: &str,
        version: i64,
        due_in: Option<Duration>,
    ) -> Result<bool, StorageError> {
        let put_off = sqlx::query(PUT_OFF).bind(tenant_id).bind(order_id).bind(version).bind(due_in.map(rows::millis));
        Ok(put_off.execute(&self.pool).await?.rows_affected() == 1)
    }

    async fn order(&self, tenant_id: &str, order_id: &str) -> Result<Option<Order>, StorageError> {
        let row: Option<OrderColumns> =
            sqlx::query_as(sql::ORDER).bind(tenant_id).bind(order_id).fetch_optional(&self.pool).await?;
        row.map(rows::order).transpose()
    }

    async fn newer(&self, known: &[Known]) -> Result<Vec<Order>, StorageError> {
        let found: Vec<OrderColumns> = sqlx::query_as(NEWER)
            .bind(known.iter().map(|known| &*known.tenant_id).collect::<Vec<_>>())
            .bind(known.iter().map(|known| &*known.order_id).collect::<Vec<_>>())
            .bind(known.iter().map(|known| known.version).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
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
        let erase = sqlx::query(ERASE_CONTACTS).bind(rows::millis(age)).bind(ERASE_LIMIT);
        Ok(erase.execute(&self.pool).await?.rows_affected())
    }

    async fn wake(&self, wakes: &[Wake]) -> Result<(), StorageError> {
        errands::wake(&self.pool, wakes).await
    }

    async fn claim_errands(&self, replica: &str, lease: Duration, limit: usize) -> Result<Vec<Errand>, StorageError> {
        errands::claim(&self.pool, replica, lease, limit).await
    }

    async fn put_errand(&self, errand: &Errand, next: Next) -> Result<bool, StorageError> {
        errands::put(&self.pool, errand, next).await
    }

    async fn announce(&self, order_ids: &[String]) -> Result<(), StorageError> {
        announce::announce(&self.pool, &self.id, order_ids).await
    }

    async fn listen(&self) -> Result<Option<mpsc::Receiver<Heard>>, StorageError> {
        announce::listen(&self.pool, &self.id).await.map(Some)
    }
}
