//! Taking a batch of orders.

use std::collections::{BTreeMap, HashMap};

use prost::Message as _;
use sqlx::PgConnection;

use super::{
    LOCK_CHECKS, PostgresStorage, checks,
    time::{insert_places, lock_slots},
    update_checks,
};
use crate::storage::{
    NewOrder, Placement, StorageError,
    batch::Failed,
    gates::awaited,
    rounds::{self, Known, Plan, Taking},
    rows::{self, KnownColumns},
    time::Slots,
};

const KNOWN: &str = "SELECT asked.position - 1, o.request_hash, o.order_id, o.doc, o.version, o.display_number \
     FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY \
         AS asked (tenant_id, caller, request_id, position) \
     JOIN orders AS o ON o.tenant_id = asked.tenant_id AND o.caller = asked.caller AND o.request_id = asked.request_id";

/// Everything that belongs to a batch in one statement: one round trip, and by itself one transaction. An order whose
/// request_id is known is left out of the answer; it may use up a display number. The first column of each join differs
/// the most: rows are compared one by one.
const INSERT: &str = "WITH numbers AS ( \
         INSERT INTO display_numbers AS n (tenant_id, store_id, business_date, last) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
         ON CONFLICT (tenant_id, store_id, business_date) DO UPDATE SET last = n.last + excluded.last \
         RETURNING tenant_id, store_id, business_date, last), \
     taken AS ( \
         INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, cause, version, \
             created_ms, display_number, check_id, round, due_ms, lease_owner, doc, complete_ms, \
             awaited_connection_id) \
         SELECT new.tenant_id, order_id, caller, request_id, request_hash, new.store_id, state, cause, version, \
             created_ms, last - later_of_day, check_id, round, \
             (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) + due_in_ms, replica, doc, \
             (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint) + complete_in_ms, awaited_connection_id \
         FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[], $11::text[], \
             $12::smallint[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::int[], \
             $19::bigint[], $20::text[], $21::bytea[], $27::bigint[], $28::text[]) \
         AS new (tenant_id, order_id, caller, request_id, request_hash, store_id, business_date, state, cause, version, \
             created_ms, later_of_day, check_id, round, due_in_ms, replica, doc, complete_in_ms, awaited_connection_id) \
         JOIN numbers AS n ON n.store_id = new.store_id AND n.business_date = new.business_date \
             AND n.tenant_id = new.tenant_id \
         ORDER BY request_id, caller, new.tenant_id \
         ON CONFLICT (tenant_id, caller, request_id) DO NOTHING \
         RETURNING tenant_id, order_id, version, created_ms, state, cause, lease_owner, display_number), \
     events AS ( \
         INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) \
         SELECT tenant_id, order_id, version, created_ms, state, cause, lease_owner FROM taken), \
     contacts AS ( \
         INSERT INTO guest_contacts (tenant_id, contact_id, created_ms, name, phone) \
         SELECT new.tenant_id, contact_id, (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint), name, phone \
         FROM unnest($22::text[], $23::text[], $24::text[], $25::text[], $26::text[]) \
         AS new (tenant_id, order_id, contact_id, name, phone) \
         JOIN taken ON taken.order_id = new.order_id AND taken.tenant_id = new.tenant_id) \
     SELECT tenant_id, order_id, display_number FROM taken";

/// Tenant and order.
type Key = (String, String);

impl PostgresStorage {
    pub(super) async fn place_once(&self, batch: &[&NewOrder]) -> Result<Vec<Result<Placement, StorageError>>, Failed> {
        if batch.iter().any(|new| !new.order.check_id.is_empty() || new.slot.is_some()) {
            return self.place_counted(batch).await;
        }
        let (mut checks, mut slots) = (rounds::Checks::new(), Slots::new());
        let plans: Vec<Plan<'_>> = batch.iter().map(|new| rounds::plan(new, &mut checks, &mut slots)).collect();
        let mut lane = self.lanes.take().await?;
        let mut taken = insert(&mut lane.db, &plans).await?;
        // Those that were taken are durable by now, whatever comes of reading the others.
        let mut known = if taken.len() < batch.len() { known(&mut lane.db, batch).await } else { Ok(HashMap::new()) };
        if known.is_ok() {
            self.lanes.keep(lane);
        }
        let mut answer = |(index, (new, plan)): (usize, (&&NewOrder, Plan<'_>))| {
            if let Some(number) = taken.remove(&key(new)) {
                return Ok(plan.answer(|| number));
            }
            let known = known.as_mut().map_err(|error| error.clone())?.remove(&index);
            let gone = || StorageError::Refused(format!("the order with request_id {} is gone", new.request_id));
            known.ok_or_else(gone)?.answer(new)
        };
        Ok(batch.iter().zip(plans).enumerate().map(&mut answer).collect())
    }

    /// A batch with orders that are counted, rounds or those with a pickup slot: their checks and slots are locked first,
    /// so that each gets its place.
    async fn place_counted(&self, batch: &[&NewOrder]) -> Result<Vec<Result<Placement, StorageError>>, Failed> {
        let mut tx = self.pool.begin().await?;
        let rounds = batch.iter().filter(|new| !new.order.check_id.is_empty());
        let ids = rounds.map(|new| (&new.tenant_id, new.order.check_id.as_str()));
        let mut checks = checks(&mut tx, LOCK_CHECKS, ids).await?;
        let mut slots = lock_slots(&mut tx, batch).await?;
        let mut known = known(&mut tx, batch).await.map_err(Failed::All)?;
        let mut plans = Vec::with_capacity(batch.len());
        for (index, new) in batch.iter().enumerate() {
            plans.push(match known.remove(&index) {
                Some(known) => Plan::Answer(known.answer(new)?),
                None => rounds::plan(new, &mut checks, &mut slots),
            });
        }
        let expected = plans.iter().filter_map(Plan::taking).count();
        let mut taken = insert(&mut tx, &plans).await?;
        if taken.len() < expected {
            // Someone took one of them since; its place on the check must not be used up.
            return Err(Failed::Again("a request_id was used at the same time".to_owned()));
        }
        update_checks(&mut tx, &checks).await?;
        let taking = plans.iter().filter_map(Plan::taking);
        insert_places(&mut tx, taking.filter_map(|taking| Some((taking.new, taking.new.slot?)))).await?;
        tx.commit().await?;
        let mut answers = Vec::with_capacity(batch.len());
        for (new, plan) in batch.iter().zip(plans) {
            let number = taken.remove(&key(new));
            answers.push(Ok(plan.answer(|| number.unwrap_or_default())));
        }
        Ok(answers)
    }
}

fn key(new: &NewOrder) -> Key {
    (new.tenant_id.to_string(), new.order.order_id.clone())
}

/// The orders whose request_id is known, by the index in the batch.
async fn known(db: &mut PgConnection, batch: &[&NewOrder]) -> Result<HashMap<usize, Known>, StorageError> {
    let found: Vec<KnownColumns> = sqlx::query_as(KNOWN)
        .bind(batch.iter().map(|new| &*new.tenant_id).collect::<Vec<_>>())
        .bind(batch.iter().map(|new| &*new.caller).collect::<Vec<_>>())
        .bind(batch.iter().map(|new| &*new.request_id).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    Ok(rows::known(found))
}

/// Inserts what is to be taken. Returns the display numbers of those that were.
async fn insert(db: &mut PgConnection, plans: &[Plan<'_>]) -> Result<HashMap<Key, i64>, Failed> {
    let taking: Vec<&Taking<'_>> = plans.iter().filter_map(Plan::taking).collect();
    if taking.is_empty() {
        return Ok(HashMap::new());
    }
    let orders = || taking.iter().map(|taking| &taking.order);
    let new = || taking.iter().map(|taking| taking.new);
    let (days, later_of_day) = days(&taking);
    let contacts = || taking.iter().filter_map(|taking| Some((taking, taking.new.contact.as_ref()?)));
    let taken: Vec<(String, String, i64)> = sqlx::query_as(INSERT)
        .bind(days.keys().map(|(tenant_id, ..)| *tenant_id).collect::<Vec<_>>())
        .bind(days.keys().map(|(_, store_id, _)| *store_id).collect::<Vec<_>>())
        .bind(days.keys().map(|(.., date)| *date).collect::<Vec<_>>())
        .bind(days.values().copied().collect::<Vec<_>>())
        .bind(new().map(|new| &*new.tenant_id).collect::<Vec<_>>())
        .bind(orders().map(|order| order.order_id.as_str()).collect::<Vec<_>>())
        .bind(new().map(|new| &*new.caller).collect::<Vec<_>>())
        .bind(new().map(|new| new.request_id.as_str()).collect::<Vec<_>>())
        .bind(new().map(|new| new.request_hash.as_slice()).collect::<Vec<_>>())
        .bind(orders().map(|order| order.store_id.as_str()).collect::<Vec<_>>())
        .bind(orders().map(|order| order.business_date.as_str()).collect::<Vec<_>>())
        .bind(orders().map(|order| rows::small(order.state)).collect::<Vec<_>>())
        .bind(orders().map(|order| order.cause.as_str()).collect::<Vec<_>>())
        .bind(orders().map(|order| order.version).collect::<Vec<_>>())
        .bind(orders().map(|order| rows::unix_ms(order.create_time.as_ref())).collect::<Vec<_>>())
        .bind(later_of_day)
        .bind(orders().map(|order| rows::some(&order.check_id)).collect::<Vec<_>>())
        .bind(orders().map(|order| order.round).collect::<Vec<_>>())
        .bind(taking.iter().map(|taking| taking.due_in.map(rows::millis)).collect::<Vec<_>>())
        .bind(orders().map(rows::replica).collect::<Vec<_>>())
        .bind(orders().map(|order| order.encode_to_vec()).collect::<Vec<_>>())
        .bind(contacts().map(|(taking, _)| &*taking.new.tenant_id).collect::<Vec<_>>())
        .bind(contacts().map(|(taking, _)| taking.order.order_id.as_str()).collect::<Vec<_>>())
        .bind(contacts().map(|(taking, _)| taking.order.guest_contact_id.as_str()).collect::<Vec<_>>())
        .bind(contacts().map(|(_, contact)| contact.name.as_str()).collect::<Vec<_>>())
        .bind(contacts().map(|(_, contact)| contact.phone.as_str()).collect::<Vec<_>>())
        .bind(taking.iter().map(|taking| taking.new.complete_in.map(rows::millis)).collect::<Vec<_>>())
        .bind(orders().map(awaited).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    Ok(taken.into_iter().map(|(tenant_id, order_id, number)| ((tenant_id, order_id), number)).collect())
}

/// Tenant, store and business date.
type Day<'a> = (&'a str, &'a str, &'a str);

/// How many orders each day gets, the days sorted as they are locked; and for each order, how many of its day come after
/// it in the batch.
fn days<'a>(taking: &[&'a Taking<'_>]) -> (BTreeMap<Day<'a>, i64>, Vec<i64>) {
    let mut counts = BTreeMap::new();
    let mut later_of_day: Vec<i64> = Vec::with_capacity(taking.len());
    for taking in taking.iter().rev() {
        let count = counts
            .entry((&*taking.new.tenant_id, taking.order.store_id.as_str(), taking.order.business_date.as_str()))
            .or_default();
        later_of_day.push(*count);
        *count += 1;
    }
    later_of_day.reverse();
    (counts, later_of_day)
}
