//! Changing a batch of orders.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use posmesh_proto::order::v1::{Check, Order};
use prost::Message as _;
use sqlx::PgConnection;

use super::{LOCK_CHECKS, PostgresStorage, checks, update_checks};
use crate::storage::{
    Changed, OrderChange, StorageError,
    batch::Failed,
    gates::awaited,
    rounds,
    rows::{self, OrderColumns, TenantOrderColumns},
};

/// Those whose version is the one expected, with their events, in one statement.
const UPDATE: &str = "WITH changed AS ( \
         UPDATE orders AS o SET version = new.version, state = new.state, cause = new.cause, \
             lease_owner = new.lease_owner, \
             due_ms = (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) + new.due_in_ms, doc = new.doc, \
             attention_ms = new.attention_ms, awaited_connection_id = new.awaited_connection_id \
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[], $7::bytea[], \
             $8::bigint[], $9::text[], $10::text[], $11::bigint[], $12::text[]) \
             AS new (tenant_id, order_id, version, state, lease_owner, due_in_ms, doc, at_ms, cause, replica, \
                 attention_ms, awaited_connection_id) \
         WHERE o.tenant_id = new.tenant_id AND o.order_id = new.order_id AND o.version = new.version - 1 \
         RETURNING new.tenant_id, new.order_id, new.version, new.at_ms, new.state, new.cause, new.replica), \
     events AS ( \
         INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) SELECT * FROM changed) \
     SELECT tenant_id, order_id FROM changed";

const CURRENT: &str = "SELECT o.tenant_id, o.order_id, o.doc, o.version, o.display_number \
     FROM unnest($1::text[], $2::text[]) AS asked (tenant_id, order_id) \
     JOIN orders AS o ON o.tenant_id = asked.tenant_id AND o.order_id = asked.order_id";

/// The first round of each check that has not ended (PENDING, HELD, SENDING, IN_DOUBT). Nobody ends it meanwhile: that takes the check's lock.
const NEXT_ROUNDS: &str = "SELECT next.tenant_id, next.check_id, next.order_id, next.doc, next.version, \
         next.display_number \
     FROM unnest($1::text[], $2::text[]) AS asked (tenant_id, check_id) CROSS JOIN LATERAL ( \
         SELECT * FROM orders AS o WHERE o.tenant_id = asked.tenant_id AND o.check_id = asked.check_id \
             AND o.state IN (1, 2, 3, 4) \
         ORDER BY o.round LIMIT 1 FOR UPDATE) AS next";

/// Tenant and order, or tenant and check.
type Key = (Arc<str>, String);

/// An order as it shall be, and when it falls due.
type Update<'a> = (&'a str, &'a Order, Option<Duration>);

impl PostgresStorage {
    pub(super) async fn change_once(
        &self,
        batch: &[&OrderChange],
    ) -> Result<Vec<Result<Changed, StorageError>>, Failed> {
        let updates = batch.iter().map(|change| (&*change.tenant_id, &change.order, change.due_in)).collect();
        let ends_a_round = batch.iter().any(|change| rounds::ends_round(change));
        let (changed, mut next_rounds) = if ends_a_round {
            self.change_rounds(batch, updates).await?
        } else {
            let mut lane = self.lanes.take().await?;
            let changed = update(&mut lane.db, updates).await?;
            self.lanes.keep(lane);
            (changed, HashMap::new())
        };
        let missed: Vec<&OrderChange> = batch.iter().copied().filter(|c| !changed.contains(&c.key())).collect();
        // The others are durable by now, whatever comes of reading these.
        let mut current = if missed.is_empty() { Ok(HashMap::new()) } else { self.current(missed).await };
        let answer = |change: &&OrderChange| {
            let key = change.key();
            if changed.contains(&key) {
                return Ok(Changed::Done { next_round: next_rounds.remove(&key).map(Box::new) });
            }
            match current.as_mut().map_err(|error| error.clone())?.remove(&key) {
                Some(row) => Ok(Changed::Conflict(Box::new(rows::order(row)?))),
                None => Ok(Changed::Missing),
            }
        };
        Ok(batch.iter().map(answer).collect())
    }

    /// A batch that ends rounds: their checks are locked first, so that each turn passes on once. Returns who changed,
    /// and by the order that ended, which round goes next.
    async fn change_rounds(
        &self,
        batch: &[&OrderChange],
        updates: Vec<Update<'_>>,
    ) -> Result<(HashSet<Key>, HashMap<Key, (Order, Check)>), Failed> {
        let mut tx = self.pool.begin().await?;
        let ends = batch.iter().filter(|change| rounds::ends_round(change));
        let ids = ends.map(|change| (&change.tenant_id, change.order.check_id.as_str()));
        let mut checks = checks(&mut tx, LOCK_CHECKS, ids).await?;
        let changed = update(&mut tx, updates).await?;
        // At most one change of the batch ends the turn of each check.
        let mut ended: HashMap<Key, &OrderChange> = HashMap::new();
        for change in batch.iter().filter(|change| changed.contains(&change.key())) {
            let check_key = (Arc::clone(&change.tenant_id), change.order.check_id.clone());
            if checks.get(&check_key).is_some_and(|check| check.is_ended_by(change)) {
                ended.insert(check_key, change);
            }
        }
        checks.retain(|key, _| ended.contains_key(key));
        let mut waiting = next_rounds(&mut tx, checks.keys()).await?;
        let mut begun = Vec::new();
        let mut next_rounds = HashMap::new();
        for (key, check) in &mut checks {
            let Some(change) = ended.get(key) else { continue };
            let next = waiting.remove(key).filter(|_| check.goes_on(&change.check));
            check.hand_on(&change.check, change.order.update_time, next.as_ref());
            let Some(next) = next.filter(rounds::waits) else { continue };
            let next_attempt = change.check.next_attempt.as_ref();
            let (next, due_in) = rounds::begin(next, next_attempt)?;
            if next_attempt.is_some() {
                next_rounds.insert(change.key(), (next.clone(), check.check.clone()));
            }
            begun.push((Arc::clone(&key.0), next, due_in));
        }
        let updates = begun.iter().map(|(tenant_id, order, due_in)| (&**tenant_id, order, Some(*due_in))).collect();
        update(&mut tx, updates).await?;
        update_checks(&mut tx, &checks).await?;
        tx.commit().await?;
        Ok((changed, next_rounds))
    }

    /// The orders as they are, those of them that exist.
    async fn current(&self, missed: Vec<&OrderChange>) -> Result<HashMap<Key, OrderColumns>, StorageError> {
        let found: Vec<TenantOrderColumns> = sqlx::query_as(CURRENT)
            .bind(missed.iter().map(|change| &*change.tenant_id).collect::<Vec<_>>())
            .bind(missed.iter().map(|change| change.order.order_id.as_str()).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        let by_key = |(tenant_id, order_id, doc, version, number): TenantOrderColumns| {
            ((tenant_id.into(), order_id.clone()), (order_id, doc, version, number))
        };
        Ok(found.into_iter().map(by_key).collect())
    }
}

/// Writes those whose version is the one expected, with their events. Returns which.
pub(super) async fn update(db: &mut PgConnection, updates: Vec<Update<'_>>) -> Result<HashSet<Key>, Failed> {
    if updates.is_empty() {
        return Ok(HashSet::new());
    }
    let orders = || updates.iter().map(|(_, order, _)| *order);
    let lease_owner = |(_, order, due_in): &Update<'_>| rows::lease_owner(order, *due_in).map(str::to_owned);
    let changed: Vec<(String, String)> = sqlx::query_as(UPDATE)
        .bind(updates.iter().map(|(tenant_id, ..)| *tenant_id).collect::<Vec<_>>())
        .bind(orders().map(|order| order.order_id.as_str()).collect::<Vec<_>>())
        .bind(orders().map(|order| order.version).collect::<Vec<_>>())
        .bind(orders().map(|order| rows::small(order.state)).collect::<Vec<_>>())
        .bind(updates.iter().map(lease_owner).collect::<Vec<_>>())
        .bind(updates.iter().map(|(.., due_in)| due_in.map(rows::millis)).collect::<Vec<_>>())
        .bind(orders().map(|order| order.encode_to_vec()).collect::<Vec<_>>())
        .bind(orders().map(|order| rows::unix_ms(order.update_time.as_ref())).collect::<Vec<_>>())
        .bind(orders().map(|order| order.cause.as_str()).collect::<Vec<_>>())
        .bind(orders().map(rows::replica).collect::<Vec<_>>())
        .bind(orders().map(rows::attention_ms).collect::<Vec<_>>())
        .bind(orders().map(awaited).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    Ok(changed.into_iter().map(|(tenant_id, order_id)| (tenant_id.into(), order_id)).collect())
}

/// By check, the round that goes next.
async fn next_rounds<'a>(
    db: &mut PgConnection,
    checks: impl Iterator<Item = &'a Key>,
) -> Result<HashMap<Key, Order>, Failed> {
    let (tenant_ids, check_ids): (Vec<&str>, Vec<&str>) = checks.map(|(t, c)| (&**t, c.as_str())).unzip();
    if check_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(String, String, String, Vec<u8>, i64, i64)> =
        sqlx::query_as(NEXT_ROUNDS).bind(tenant_ids).bind(check_ids).fetch_all(db).await?;
    let mut next = HashMap::new();
    for (tenant_id, check_id, order_id, doc, version, number) in found {
        next.insert((tenant_id.into(), check_id), rows::order((order_id, doc, version, number))?);
    }
    Ok(next)
}
