//! In memory: for simulations and tests. Keeps nothing beyond the process.

mod checks;
mod gates;
mod time;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posmesh_kit_db::Clock;
use posmesh_proto::order::v1::{Check, GuestContact, Order, Pause};
use tokio::sync::mpsc;

use super::{
    Changed, Claimed, Errand, ErrandKind, Heard, Known, NewOrder, Next, OrderChange, OrderFilter, Placement, Requested,
    Room, Split, Storage, StorageError, Wake,
    errands::WOKEN_DUE,
    rounds::{self, Checks, Plan},
    rows,
};
use crate::domain::{lifecycle::is_in_flight, visit::is_open};

/// Tenant and id.
type Key = (String, String);

/// The storage as plain maps.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    orders: BTreeMap<Key, OrderRow>,
    /// Tenant, caller and request_id, to the order's id.
    requests: BTreeMap<(String, String, String), String>,
    checks: Checks,
    /// When checks fall due, by tenant and id.
    due_checks: BTreeMap<Key, Duration>,
    /// With the time of their beginning, by tenant, caller and request_id.
    splits: BTreeMap<(String, String, String), (Split, Duration)>,
    /// Tenant, store and business date.
    display_numbers: BTreeMap<(String, String, String), i64>,
    errands: BTreeMap<(String, String, ErrandKind), ErrandRow>,
    /// By tenant and store.
    pauses: BTreeMap<Key, Pause>,
    /// By tenant and connection.
    probations: BTreeMap<Key, gates::ProbationRow>,
    /// With the time of its creation.
    contacts: BTreeMap<Key, (Duration, GuestContact)>,
}

#[derive(Debug)]
struct OrderRow {
    order: Order,
    request_hash: Vec<u8>,
    due: Option<Duration>,
    /// A replica has claimed it until then.
    is_leased: bool,
    complete: Option<Duration>,
    /// It takes a place in the slot of this time.
    pickup_ms: Option<i64>,
}

#[derive(Debug)]
struct ErrandRow {
    errand: Errand,
    woken_ms: Option<i64>,
    due: Option<Duration>,
    is_leased: bool,
}

impl ErrandRow {
    fn new(wake: &Wake, due: Duration) -> Self {
        let errand = Errand {
            tenant_id: Arc::clone(&wake.tenant_id),
            connection_id: wake.connection_id.clone(),
            kind: wake.kind,
            store_id: wake.store_id.clone(),
            version: 0,
            since_ms: wake.since_ms,
            woken: false,
            progress: String::new(),
            failures: 0,
        };
        Self { errand, woken_ms: None, due: Some(due), is_leased: false }
    }

    fn claim(&mut self, lease_end: Duration) -> Errand {
        self.errand.version += 1;
        self.errand.woken = self.woken_ms.is_some();
        let since_ms = self.errand.since_ms;
        self.errand.since_ms = self.woken_ms.take().map_or(since_ms, |woken_ms| woken_ms.min(since_ms));
        self.due = Some(lease_end);
        self.is_leased = true;
        self.errand.clone()
    }

    fn put(&mut self, errand: &Errand, next: Next, now: Duration) {
        self.errand = errand.clone();
        let (due_in, keeps) = match next {
            Next::GoOn(lease) => (Some(lease), true),
            Next::Again(after) => (Some(after), false),
            Next::Rest => (None, false),
        };
        let woken_due = self.woken_ms.filter(|_| !keeps).map(|_| WOKEN_DUE);
        self.due = due_in.into_iter().chain(woken_due).min().map(|due_in| now + due_in);
        self.is_leased = keeps;
    }
}

fn key(tenant_id: &str, id: &str) -> Key {
    (tenant_id.to_owned(), id.to_owned())
}

fn check_key(tenant_id: &str, check_id: &str) -> (Arc<str>, String) {
    (tenant_id.into(), check_id.to_owned())
}

impl MemoryStorage {
    /// An empty storage on a given clock.
    pub fn on_clock(clock: Clock) -> Self {
        Self { state: Mutex::default(), clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&mut self, now: Duration, new: &NewOrder) -> Result<Placement, StorageError> {
        let request = (new.tenant_id.to_string(), new.caller.to_string(), new.request_id.clone());
        if let Some(row) = self.requests.get(&request).and_then(|id| self.orders.get(&key(&new.tenant_id, id))) {
            return Ok(rounds::known(new, row.order.clone(), &row.request_hash));
        }
        let id = key(&new.tenant_id, &new.order.order_id);
        if self.orders.contains_key(&id) {
            return Err(StorageError::Refused(format!("the order_id {} is in use", new.order.order_id)));
        }
        let mut slots = self.count_slot(new);
        let taking = match rounds::plan(new, &mut self.checks, &mut slots) {
            Plan::Answer(answer) => return Ok(answer),
            Plan::Take(taking) => taking,
        };
        let day = (id.0.clone(), new.order.store_id.clone(), new.order.business_date.clone());
        let last = self.display_numbers.entry(day).or_default();
        *last += 1;
        if let Some(contact) = &new.contact {
            let created = (now, contact.clone());
            self.contacts.insert(key(&new.tenant_id, &new.order.guest_contact_id), created);
        }
        let due = taking.due_in.map(|due_in| now + due_in);
        let placement = taking.taken(*last);
        if let Placement::Taken { order, .. } = &placement {
            self.requests.insert(request, order.order_id.clone());
            let complete = new.complete_in.map(|complete_in| now + complete_in);
            let pickup_ms = new.slot.map(|place| place.pickup_ms);
            let request_hash = new.request_hash.clone();
            let is_leased = !order.attempts.is_empty();
            let order = Order::clone(order);
            self.orders.insert(id, OrderRow { order, request_hash, due, is_leased, complete, pickup_ms });
        }
        Ok(placement)
    }

    fn change(&mut self, now: Duration, change: OrderChange) -> Result<Changed, StorageError> {
        let Some(row) = self.orders.get_mut(&key(&change.tenant_id, &change.order.order_id)) else {
            return Ok(Changed::Missing);
        };
        if row.order.version != change.order.version - 1 {
            return Ok(Changed::Conflict(Box::new(row.order.clone())));
        }
        row.order = change.order.clone();
        row.is_leased = rows::lease_owner(&change.order, change.due_in).is_some();
        row.due = change.due_in.map(|due_in| now + due_in);
        let next_round = self.hand_on(now, &change)?;
        Ok(Changed::Done { next_round: next_round.map(Box::new) })
    }

    /// After a change that may have ended a round.
    fn hand_on(&mut self, now: Duration, change: &OrderChange) -> Result<Option<(Order, Check)>, StorageError> {
        let (tenant_id, check_id) = (&change.tenant_id, &change.order.check_id);
        let check = self.checks.get_mut(&check_key(tenant_id, check_id));
        let Some(check) = check.filter(|check| check.is_ended_by(change)) else { return Ok(None) };
        let waiting = self.orders.iter_mut().filter(|(id, row)| {
            id.0 == **tenant_id && row.order.check_id == *check_id && is_in_flight(row.order.state())
        });
        let goes_on = check.goes_on(&change.check);
        let next = waiting.map(|(_, row)| row).min_by_key(|row| row.order.round).filter(|_| goes_on);
        check.hand_on(&change.check, change.order.update_time, next.as_ref().map(|row| &row.order));
        if !is_open(&check.check) {
            self.due_checks.insert(key(tenant_id, check_id), now);
        }
        let Some(row) = next.filter(|row| rounds::waits(&row.order)) else { return Ok(None) };
        let next_attempt = change.check.next_attempt.as_ref();
        let (order, due_in) = rounds::begin(row.order.clone(), next_attempt)?;
        row.order = order;
        row.due = Some(now + due_in);
        Ok(next_attempt.map(|_| (row.order.clone(), check.check.clone())))
    }

    fn claim(&mut self, now: Duration, lease: Duration, room: &Room) -> Vec<Claimed> {
        let mut due: Vec<_> =
            self.orders.iter_mut().filter_map(|(id, row)| Some((row.due.filter(|d| *d <= now)?, id, row))).collect();
        due.sort_by_key(|(due, ..)| *due);
        let mut of_store: HashMap<Key, usize> = HashMap::new();
        due.retain(|(_, (tenant_id, _), row)| {
            let store_id = &row.order.store_id;
            let count = of_store.entry(key(tenant_id, store_id)).or_default();
            *count += 1;
            *count <= room.of_store(tenant_id, store_id)
        });
        let checks = &self.checks;
        let claim = |(_, (tenant_id, _), row): (Duration, &Key, &mut OrderRow)| {
            row.order.version += 1;
            row.due = Some(now + lease);
            row.is_leased = true;
            let check = checks.get(&check_key(tenant_id, &row.order.check_id)).map(|row| row.check.clone());
            Claimed { tenant_id: tenant_id.as_str().into(), order: row.order.clone(), check }
        };
        due.into_iter().take(room.orders).map(claim).collect()
    }
}

impl OrderFilter {
    fn takes(&self, order: &Order) -> bool {
        let created_ms = created_ms(order);
        order.store_id == self.store_id
            && (self.states.is_empty() || self.states.contains(&order.state()))
            && self.created_from_ms.is_none_or(|from| created_ms >= from)
            && self.created_before_ms.is_none_or(|before| created_ms < before)
            && (self.check_id.is_empty() || order.check_id == self.check_id)
            && !(self.needs_person && order.attention.is_empty())
            && self.after.as_ref().is_none_or(|after| (created_ms, &order.order_id) < (after.0, &after.1))
    }
}

fn created_ms(order: &Order) -> i64 {
    rows::unix_ms(order.create_time.as_ref())
}

#[tonic::async_trait]
impl Storage for MemoryStorage {
    async fn place_batch(&self, orders: Vec<NewOrder>) -> Vec<Result<Placement, StorageError>> {
        let mut state = self.state();
        orders.into_iter().map(|new| state.place(self.clock.now(), &new)).collect()
    }

    async fn change_batch(&self, changes: Vec<OrderChange>) -> Vec<Result<Changed, StorageError>> {
        let mut state = self.state();
        changes.into_iter().map(|change| state.change(self.clock.now(), change)).collect()
    }

    async fn claim_due(&self, _replica: &str, lease: Duration, room: &Room) -> Result<Vec<Claimed>, StorageError> {
        Ok(self.state().claim(self.clock.now(), lease, room))
    }

    async fn put_off(
        &self,
        tenant_id: &str,
        order_id: &str,
        version: i64,
        due_in: Option<Duration>,
    ) -> Result<bool, StorageError> {
        let mut state = self.state();
        let row = state.orders.get_mut(&key(tenant_id, order_id)).filter(|row| row.order.version == version);
        let Some(row) = row.filter(|row| due_in.is_none() || row.due.is_some()) else { return Ok(false) };
        row.due = due_in.map(|due_in| self.clock.now() + due_in);
        row.is_leased = false;
        Ok(true)
    }

    async fn order(&self, tenant_id: &str, order_id: &str) -> Result<Option<Order>, StorageError> {
        Ok(self.state().orders.get(&key(tenant_id, order_id)).map(|row| row.order.clone()))
    }

    async fn newer(&self, known: &[Known]) -> Result<Vec<Order>, StorageError> {
        let state = self.state();
        let newer = |known: &Known| {
            let row = state.orders.get(&key(&known.tenant_id, &known.order_id))?;
            (row.order.version > known.version).then(|| row.order.clone())
        };
        Ok(known.iter().filter_map(newer).collect())
    }

    async fn attention(&self, tenant_id: &str, limit: usize) -> Result<BTreeMap<Arc<str>, i64>, StorageError> {
        let state = self.state();
        let of_tenant = state.orders.iter().filter(|(id, _)| id.0 == tenant_id).map(|(_, row)| &row.order);
        let mut waiting: Vec<_> =
            of_tenant.filter_map(|order| Some((rows::attention_ms(order)?, &order.order_id, order.version))).collect();
        waiting.sort();
        let known = |(_, order_id, version): (i64, &String, i64)| (order_id.as_str().into(), version);
        Ok(waiting.into_iter().take(limit).map(known).collect())
    }

    async fn order_by_request(
        &self,
        tenant_id: &str,
        caller: &str,
        request_id: &str,
    ) -> Result<Option<Requested>, StorageError> {
        let state = self.state();
        let order_id = state.requests.get(&(tenant_id.to_owned(), caller.to_owned(), request_id.to_owned()));
        let row = order_id.and_then(|id| state.orders.get(&key(tenant_id, id)));
        Ok(row.map(|row| Requested { order: row.order.clone(), request_hash: row.request_hash.clone() }))
    }

    async fn orders(&self, tenant_id: &str, filter: &OrderFilter) -> Result<Vec<Order>, StorageError> {
        let state = self.state();
        let of_tenant = state.orders.iter().filter(|(id, _)| id.0 == tenant_id).map(|(_, row)| &row.order);
        let mut orders: Vec<Order> = of_tenant.filter(|order| filter.takes(order)).cloned().collect();
        orders.sort_by(|a, b| (created_ms(b), &b.order_id).cmp(&(created_ms(a), &a.order_id)));
        orders.truncate(filter.limit);
        Ok(orders)
    }

    async fn contact(&self, tenant_id: &str, contact_id: &str) -> Result<Option<GuestContact>, StorageError> {
        Ok(self.state().contacts.get(&key(tenant_id, contact_id)).map(|(_, contact)| contact.clone()))
    }

    async fn erase_contacts(&self, age: Duration) -> Result<u64, StorageError> {
        let mut state = self.state();
        let before = state.contacts.len();
        state.contacts.retain(|_, (created, _)| self.clock.now().saturating_sub(*created) < age);
        Ok((before - state.contacts.len()) as u64)
    }

    async fn wake(&self, wakes: &[Wake]) -> Result<(), StorageError> {
        let now = self.clock.now();
        let mut state = self.state();
        for wake in wakes {
            let due = now + wake.due_in;
            let key = (wake.tenant_id.to_string(), wake.connection_id.clone(), wake.kind);
            let row = state.errands.entry(key).or_insert_with(|| ErrandRow::new(wake, due));
            row.errand.store_id.clone_from(&wake.store_id);
            row.woken_ms = Some(row.woken_ms.map_or(wake.since_ms, |woken_ms| woken_ms.min(wake.since_ms)));
            if !row.is_leased {
                row.due = Some(row.due.map_or(due, |before| before.min(due)));
            }
        }
        Ok(())
    }

    async fn claim_errands(&self, _replica: &str, lease: Duration, limit: usize) -> Result<Vec<Errand>, StorageError> {
        let now = self.clock.now();
        let mut state = self.state();
        let mut due: Vec<_> =
            state.errands.values_mut().filter_map(|row| Some((row.due.filter(|due| *due <= now)?, row))).collect();
        due.sort_by_key(|(due, _)| *due);
        Ok(due.into_iter().take(limit).map(|(_, row)| row.claim(now + lease)).collect())
    }

    async fn put_errand(&self, errand: &Errand, next: Next) -> Result<bool, StorageError> {
        let now = self.clock.now();
        let mut state = self.state();
        let key = (errand.tenant_id.to_string(), errand.connection_id.clone(), errand.kind);
        let row = state.errands.get_mut(&key).filter(|row| row.errand.version == errand.version);
        Ok(row.map(|row| row.put(errand, next, now)).is_some())
    }

    async fn announce(&self, _order_ids: &[String]) -> Result<(), StorageError> {
        Ok(())
    }

    async fn listen(&self) -> Result<Option<mpsc::Receiver<Heard>>, StorageError> {
        Ok(None)
    }
}
