//! Taking a batch of orders.

use std::collections::{BTreeMap, HashMap};

use prost::Message as _;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::{
    SqliteStorage, checks,
    time::{count_slots, insert_places},
    write::{hex, insert_events, json, update_check},
};
use crate::storage::{
    NewOrder, Placement, StorageError,
    batch::Failed,
    gates::awaited,
    rounds::{self, Checks, Known, Plan, Taking},
    rows::{self, KnownColumns},
};

const KNOWN: &str = "SELECT asked.key, o.request_hash, o.order_id, o.doc, o.version, o.display_number \
     FROM json_each($1) AS asked CROSS JOIN orders AS o \
     ON o.tenant_id = asked.value ->> 0 AND o.caller = asked.value ->> 1 AND o.request_id = asked.value ->> 2";

const NUMBER: &str = "INSERT INTO display_numbers AS numbers (tenant_id, store_id, business_date, last) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($1) WHERE true \
     ON CONFLICT (tenant_id, store_id, business_date) DO UPDATE SET last = numbers.last + excluded.last \
     RETURNING tenant_id, store_id, business_date, last";

const INSERT: &str = "INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, \
         cause, version, created_ms, display_number, check_id, round, due_ms, lease_owner, doc, complete_ms, \
         awaited_connection_id) \
     SELECT value ->> 'tenant_id', value ->> 'order_id', value ->> 'caller', value ->> 'request_id', \
         unhex(value ->> 'request_hash'), value ->> 'store_id', value ->> 'state', value ->> 'cause', \
         value ->> 'version', value ->> 'created_ms', value ->> 'display_number', value ->> 'check_id', \
         value ->> 'round', CAST(unixepoch('subsec') * 1000 AS INTEGER) + (value ->> 'due_in_ms'), \
         value ->> 'lease_owner', unhex(value ->> 'doc'), \
         CAST(unixepoch('subsec') * 1000 AS INTEGER) + (value ->> 'complete_in_ms'), \
         value ->> 'awaited_connection_id' \
     FROM json_each($1)";

const INSERT_CONTACTS: &str = "INSERT INTO guest_contacts (tenant_id, contact_id, created_ms, name, phone) \
     SELECT value ->> 0, value ->> 1, CAST(unixepoch('subsec') * 1000 AS INTEGER), value ->> 2, value ->> 3 \
     FROM json_each($1)";

/// One row of `orders`.
#[derive(Debug, Serialize)]
struct OrderJson<'a> {
    tenant_id: &'a str,
    order_id: &'a str,
    caller: &'a str,
    request_id: &'a str,
    request_hash: String,
    store_id: &'a str,
    state: i32,
    cause: &'a str,
    version: i64,
    created_ms: i64,
    display_number: i64,
    check_id: Option<&'a str>,
    round: i32,
    due_in_ms: Option<i64>,
    lease_owner: Option<&'a str>,
    doc: String,
    complete_in_ms: Option<i64>,
    awaited_connection_id: Option<&'a str>,
}

impl SqliteStorage {
    pub(super) async fn place_once(&self, batch: &[&NewOrder]) -> Result<Vec<Result<Placement, StorageError>>, Failed> {
        let mut writing = self.write().await?;
        let db = &mut *writing.tx;
        let mut known = known(db, batch).await?;
        let rounds = batch.iter().filter(|new| !new.order.check_id.is_empty());
        let ids = rounds.map(|new| (&new.tenant_id, new.order.check_id.as_str()));
        let mut checks = checks(db, ids).await?;
        let mut slots = count_slots(db, batch).await?;
        let mut plans = Vec::with_capacity(batch.len());
        for (index, new) in batch.iter().enumerate() {
            let plan = match known.remove(&index) {
                Some(known) => Plan::Answer(known.answer(new)?),
                None => rounds::plan(new, &mut checks, &mut slots),
            };
            plans.push(plan);
        }
        let taking: Vec<&Taking<'_>> = plans.iter().filter_map(Plan::taking).collect();
        let numbers = if taking.is_empty() { Vec::new() } else { insert(db, &taking, &checks).await? };
        insert_places(db, taking.iter().filter_map(|taking| Some((taking.new, taking.new.slot?)))).await?;
        writing.tx.commit().await?;
        let mut numbers = numbers.into_iter();
        Ok(plans.into_iter().map(|plan| Ok(plan.answer(|| numbers.next().unwrap_or_default()))).collect())
    }
}

/// The orders whose request_id is known, by the index in the batch.
async fn known(db: &mut SqliteConnection, batch: &[&NewOrder]) -> Result<HashMap<usize, Known>, Failed> {
    let asked: Vec<_> = batch.iter().map(|new| (&*new.tenant_id, &*new.caller, &*new.request_id)).collect();
    let found: Vec<KnownColumns> = sqlx::query_as(KNOWN).bind(json(&asked)?).fetch_all(db).await?;
    Ok(rows::known(found))
}

/// Writes the orders with all that belongs to them. Returns their display numbers.
async fn insert(db: &mut SqliteConnection, taking: &[&Taking<'_>], checks: &Checks) -> Result<Vec<i64>, Failed> {
    let numbers = number(db, taking).await?;
    let orders: Vec<OrderJson<'_>> = taking.iter().zip(&numbers).map(|(taking, number)| row(taking, *number)).collect();
    sqlx::query(INSERT).bind(json(&orders)?).execute(&mut *db).await?;
    insert_events(db, taking.iter().map(|taking| (&*taking.new.tenant_id, &taking.order))).await?;
    let contact = |taking: &&Taking<'_>| {
        let contact = taking.new.contact.clone()?;
        Some((taking.new.tenant_id.to_string(), taking.order.guest_contact_id.clone(), contact.name, contact.phone))
    };
    let contacts: Vec<_> = taking.iter().filter_map(contact).collect();
    if !contacts.is_empty() {
        sqlx::query(INSERT_CONTACTS).bind(json(&contacts)?).execute(&mut *db).await?;
    }
    for ((tenant_id, check_id), row) in checks {
        update_check(db, tenant_id, check_id, row).await?;
    }
    Ok(numbers)
}

/// The next numbers of their stores' days.
async fn number(db: &mut SqliteConnection, taking: &[&Taking<'_>]) -> Result<Vec<i64>, Failed> {
    let mut counts: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
    for taking in taking {
        *counts.entry(day(taking)).or_default() += 1;
    }
    let asked: Vec<_> = counts.iter().map(|(day, count)| (day.0, day.1, day.2, count)).collect();
    let last: Vec<(String, String, String, i64)> = sqlx::query_as(NUMBER).bind(json(&asked)?).fetch_all(db).await?;
    let mut next: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
    for (tenant_id, store_id, date, last) in &last {
        let day = (tenant_id.as_str(), store_id.as_str(), date.as_str());
        next.insert(day, last - counts.get(&day).copied().unwrap_or_default());
    }
    let mut numbers = Vec::with_capacity(taking.len());
    for taking in taking {
        let number = next.entry(day(taking)).or_default();
        *number += 1;
        numbers.push(*number);
    }
    Ok(numbers)
}

fn day<'a>(taking: &'a Taking<'_>) -> (&'a str, &'a str, &'a str) {
    (&taking.new.tenant_id, &taking.order.store_id, &taking.order.business_date)
}

fn row<'a>(taking: &'a Taking<'_>, display_number: i64) -> OrderJson<'a> {
    let (new, order) = (taking.new, &taking.order);
    OrderJson {
        tenant_id: &new.tenant_id,
        order_id: &order.order_id,
        caller: &new.caller,
        request_id: &new.request_id,
        request_hash: hex(&new.request_hash),
        store_id: &order.store_id,
        state: order.state,
        cause: &order.cause,
        version: order.version,
        created_ms: rows::unix_ms(order.create_time.as_ref()),
        display_number,
        check_id: rows::some(&order.check_id),
        round: order.round,
        due_in_ms: taking.due_in.map(rows::millis),
        lease_owner: rows::replica(order),
        doc: hex(&order.encode_to_vec()),
        complete_in_ms: new.complete_in.map(rows::millis),
        awaited_connection_id: awaited(order),
    }
}
