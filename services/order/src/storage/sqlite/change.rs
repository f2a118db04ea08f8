//! Changing a batch of orders.

use std::{collections::HashSet, time::Duration};

use posmesh_proto::order::v1::{Check, Order};
use prost::Message as _;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::{
    SqliteStorage, checks,
    write::{hex, insert_events, json, update_check},
};
use crate::storage::{
    Changed, OrderChange, StorageError,
    batch::Failed,
    gates::awaited,
    rounds::{self, CheckRow},
    rows::{self, OrderColumns},
    sql,
};

const UPDATE: &str = "UPDATE orders SET version = new.version, state = new.state, cause = new.cause, \
         lease_owner = new.lease_owner, due_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) + new.due_in_ms, \
         doc = new.doc, attention_ms = new.attention_ms, awaited_connection_id = new.awaited_connection_id \
     FROM (SELECT value ->> 'tenant_id' AS tenant_id, value ->> 'order_id' AS order_id, \
             value ->> 'version' AS version, value ->> 'state' AS state, value ->> 'cause' AS cause, \
             value ->> 'lease_owner' AS lease_owner, value ->> 'due_in_ms' AS due_in_ms, unhex(value ->> 'doc') AS doc, \
             value ->> 'attention_ms' AS attention_ms, \
             value ->> 'awaited_connection_id' AS awaited_connection_id \
         FROM json_each($1)) AS new \
     WHERE orders.tenant_id = new.tenant_id AND orders.order_id = new.order_id AND orders.version = new.version - 1 \
     RETURNING tenant_id, order_id";

/// States PENDING, HELD, SENDING and IN_DOUBT.
const NEXT_ROUND: &str = "SELECT order_id, doc, version, display_number FROM orders \
     WHERE tenant_id = $1 AND check_id = $2 AND state IN (1, 2, 3, 4) ORDER BY round LIMIT 1";

/// What changes in a row of `orders`.
#[derive(Debug, Serialize)]
struct ChangeJson<'a> {
    tenant_id: &'a str,
    order_id: &'a str,
    version: i64,
    state: i32,
    cause: &'a str,
    lease_owner: Option<&'a str>,
    due_in_ms: Option<i64>,
    doc: String,
    attention_ms: Option<i64>,
    awaited_connection_id: Option<&'a str>,
}

/// An order as it shall be, and when it falls due.
type Update<'a> = (&'a str, &'a Order, Option<Duration>);

impl SqliteStorage {
    pub(super) async fn change_once(
        &self,
        batch: &[&OrderChange],
    ) -> Result<Vec<Result<Changed, StorageError>>, Failed> {
        let mut writing = self.write().await?;
        let db = &mut *writing.tx;
        let updates = batch.iter().map(|change| (&*change.tenant_id, &change.order, change.due_in));
        let changed = update(db, updates.collect()).await?;
        let is_changed =
            |change: &OrderChange| changed.contains(&(change.tenant_id.to_string(), change.order.order_id.clone()));
        let ended = batch.iter().filter(|change| rounds::ends_round(change) && is_changed(change));
        let ids = ended.map(|change| (&change.tenant_id, change.order.check_id.as_str()));
        let mut checks = checks(db, ids).await?;
        let mut answers = Vec::with_capacity(batch.len());
        for change in batch {
            if !is_changed(change) {
                answers.push(Ok(missed(db, change).await?));
                continue;
            }
            let check = checks.get_mut(&(change.tenant_id.clone(), change.order.check_id.clone()));
            let next_round = match check.filter(|check| check.is_ended_by(change)) {
                Some(check) => hand_on(db, change, check).await?,
                None => None,
            };
            answers.push(Ok(Changed::Done { next_round: next_round.map(Box::new) }));
        }
        writing.tx.commit().await?;
        Ok(answers)
    }
}

/// Writes those whose version is the one expected, with their events. Returns which.
pub(super) async fn update(
    db: &mut SqliteConnection,
    updates: Vec<Update<'_>>,
) -> Result<HashSet<(String, String)>, Failed> {
    let rows: Vec<ChangeJson<'_>> = updates.iter().map(row).collect();
    let changed: Vec<(String, String)> = sqlx::query_as(UPDATE).bind(json(&rows)?).fetch_all(&mut *db).await?;
    let changed: HashSet<_> = changed.into_iter().collect();
    let is_changed = |update: &&Update<'_>| changed.contains(&(update.0.to_owned(), update.1.order_id.clone()));
    insert_events(db, updates.iter().filter(is_changed).map(|update| (update.0, update.1))).await?;
    Ok(changed)
}

fn row<'a>((tenant_id, order, due_in): &Update<'a>) -> ChangeJson<'a> {
    ChangeJson {
        tenant_id,
        order_id: &order.order_id,
        version: order.version,
        state: order.state,
        cause: &order.cause,
        lease_owner: rows::lease_owner(order, *due_in),
        due_in_ms: due_in.map(rows::millis),
        doc: hex(&order.encode_to_vec()),
        attention_ms: rows::attention_ms(order),
        awaited_connection_id: awaited(order),
    }
}

async fn missed(db: &mut SqliteConnection, change: &OrderChange) -> Result<Changed, Failed> {
    let query = sqlx::query_as(sql::ORDER).bind(&*change.tenant_id).bind(&change.order.order_id);
    let row: Option<OrderColumns> = query.fetch_optional(db).await?;
    Ok(match row {
        Some(row) => Changed::Conflict(Box::new(rows::order(row)?)),
        None => Changed::Missing,
    })
}

/// Ends the turn of a round, and gives it to the next one that waits.
async fn hand_on(
    db: &mut SqliteConnection,
    change: &OrderChange,
    check: &mut CheckRow,
) -> Result<Option<(Order, Check)>, Failed> {
    let (tenant_id, check_id) = (&*change.tenant_id, change.order.check_id.as_str());
    let query = sqlx::query_as(NEXT_ROUND).bind(tenant_id).bind(check_id);
    let waiting: Option<OrderColumns> = query.fetch_optional(&mut *db).await?;
    let waiting = waiting.map(rows::order).transpose()?.filter(|_| check.goes_on(&change.check));
    check.hand_on(&change.check, change.order.update_time, waiting.as_ref());
    update_check(db, tenant_id, check_id, check).await?;
    let Some(waiting) = waiting.filter(rounds::waits) else { return Ok(None) };
    let next_attempt = change.check.next_attempt.as_ref();
    let (next, due_in) = rounds::begin(waiting, next_attempt)?;
    update(db, vec![(tenant_id, &next, Some(due_in))]).await?;
    Ok(next_attempt.map(|_| (next, check.check.clone())))
}
