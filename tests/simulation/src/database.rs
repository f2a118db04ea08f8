//! The database of the order service: what it holds survives every crash; the way to it fails for one replica at a
//! time. Everything that was ever committed is kept, to compare with what anybody was told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posmesh_order::storage::{
    Changed, CheckChange, CheckChanged, CheckFilter, CheckStorage, Claimed, DueCheck, Heard, Known, MemoryStorage,
    NewOrder, OrderChange, OrderFilter, Placement, Requested, Room, Split, Storage, StorageError, TimeStorage, Turn,
    TurnTaken,
};
use posmesh_proto::order::v1::{Attempt, Check, GuestContact, Order, OrderState};
use prost_types::Timestamp;
use tokio::sync::mpsc;

use crate::{
    chance::{self, Dice},
    planted::Planted,
    trace::{Trace, short},
    world::Now,
};

/// The way from one replica to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Fine,
    /// Every call is refused; nothing is written.
    Refuses,
    /// No call is answered.
    Hangs,
    /// Writes are committed, but an error is answered.
    LosesAnswers,
    /// Writes are lost, and an error is answered that does not say so.
    LosesWrites,
    /// Writes are committed a second and more after an error was answered.
    CommitsLate,
    /// Every call takes up to two seconds longer.
    Slow,
}

impl Way {
    pub(crate) const FAULTS: [(Self, &str); 6] = [
        (Self::Refuses, "database refuses"),
        (Self::Hangs, "database hangs"),
        (Self::LosesAnswers, "database commits but answers an error"),
        (Self::LosesWrites, "database loses writes without saying so"),
        (Self::CommitsLate, "database commits after an error"),
        (Self::Slow, "database is slow"),
    ];
}

/// Everything that the database holds, and ever held. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    inner: Arc<MemoryStorage>,
    shared: Arc<Mutex<Shared>>,
    now: Now,
    trace: Trace,
}

struct Shared {
    ways: Vec<Way>,
    /// Each order in each version, with the time of its commit.
    history: BTreeMap<String, Vec<(u64, Order)>>,
    /// The replica that sends each order, as far as anybody does.
    senders: BTreeMap<String, usize>,
    /// When the way of which replica was not fine, from when until when.
    troubles: Vec<(usize, u64, u64)>,
    listeners: Vec<Option<mpsc::Sender<Heard>>>,
}

impl Database {
    pub(crate) fn new(replicas: usize, now: Now, trace: Trace) -> Self {
        let shared = Shared {
            ways: vec![Way::Fine; replicas],
            history: BTreeMap::new(),
            senders: BTreeMap::new(),
            troubles: Vec::new(),
            listeners: vec![None; replicas],
        };
        Self { inner: Arc::new(MemoryStorage::on_clock(now.clock())), shared: Arc::new(Mutex::new(shared)), now, trace }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_way(&self, replica: usize, way: Way) {
        let (now_ms, mut shared) = (self.now.ms(), self.shared());
        shared.ways[replica] = way;
        match shared.troubles.iter_mut().rfind(|(of, _, until)| *of == replica && *until == u64::MAX) {
            Some((.., until)) if way == Way::Fine => *until = now_ms,
            None if way != Way::Fine => shared.troubles.push((replica, now_ms, u64::MAX)),
            _ => {}
        }
    }

    /// Whether a replica's way was fine all the time.
    pub(crate) fn was_fine(&self, replica: usize, from_ms: u64, until_ms: u64) -> bool {
        let disturbs =
            |(of, begun, ended): &(usize, u64, u64)| *of == replica && *begun <= until_ms && *ended >= from_ms;
        !self.shared().troubles.iter().any(disturbs)
    }

    /// The replica that sends an order, or sent it last.
    pub(crate) fn sender(&self, order_id: &str) -> Option<usize> {
        self.shared().senders.get(order_id).copied()
    }

    /// Each order in each version, oldest first, with the time of its commit.
    pub(crate) fn history(&self) -> BTreeMap<String, Vec<(u64, Order)>> {
        self.shared().history.clone()
    }

    /// Each order as it is now.
    pub(crate) fn orders(&self) -> Vec<Order> {
        self.shared().history.values().filter_map(|versions| Some(versions.last()?.1.clone())).collect()
    }

    /// The storage as one replica reaches it.
    pub(crate) fn reached_by(&self, replica: usize, seed: u64, planted: Option<Planted>) -> Arc<dyn Storage> {
        let dice = Mutex::new(Dice::new(&[seed, chance::text("database"), replica as u64, self.now.ms()]));
        Arc::new(Reached { database: self.clone(), replica, dice, planted })
    }

    fn committed(&self, replica: usize, order: &Order) {
        let last = {
            let mut shared = self.shared();
            if order.state() == OrderState::Sending {
                shared.senders.insert(order.order_id.clone(), replica);
            }
            let versions = shared.history.entry(order.order_id.clone()).or_default();
            versions.push((self.now.ms(), order.clone()));
            versions.len()
        };
        self.trace.tell(&format!("db-{replica}"), || {
            let (id, state) = (short(&order.order_id), order.state().as_str_name());
            let attempts = order.attempts.len();
            let flags = order.attention.join(",");
            format!("{id} v{} {state} attempts {attempts} {} {flags} ({last})", order.version, order.cause)
        });
    }

    /// Places and remembers, in one moment.
    async fn place(&self, replica: usize, orders: Vec<NewOrder>) -> Vec<Result<Placement, StorageError>> {
        let answers = self.inner.place_batch(orders).await;
        for answer in &answers {
            if let Ok(Placement::Taken { order, .. }) = answer {
                self.committed(replica, order);
            }
        }
        answers
    }

    /// Changes and remembers, in one moment.
    async fn change(&self, replica: usize, changes: Vec<OrderChange>) -> Vec<Result<Changed, StorageError>> {
        let orders: Vec<Order> = changes.iter().map(|change| change.order.clone()).collect();
        let answers = self.inner.change_batch(changes.clone()).await;
        for (answer, (order, change)) in answers.iter().zip(orders.iter().zip(&changes)) {
            let Ok(Changed::Done { next_round }) = answer else { continue };
            self.committed(replica, order);
            match next_round {
                Some(round) => self.committed(replica, &round.0),
                None => self.handed_on(replica, change).await,
            }
        }
        answers
    }

    /// A round whose turn came without anybody to send it: it is there in a newer version.
    async fn handed_on(&self, replica: usize, change: &OrderChange) {
        if change.order.check_id.is_empty() {
            return;
        }
        let filter = OrderFilter {
            store_id: change.order.store_id.clone(),
            check_id: change.order.check_id.clone(),
            limit: usize::MAX,
            ..OrderFilter::default()
        };
        let rounds = self.inner.orders(&change.tenant_id, &filter).await.unwrap_or_default();
        let is_newer = |round: &Order| {
            self.shared()
                .history
                .get(&round.order_id)
                .and_then(|v| v.last())
                .is_some_and(|(_, o)| o.version < round.version)
        };
        for round in rounds.into_iter().filter(|round| is_newer(round)) {
            self.committed(replica, &round);
        }
    }
}

/// One replica's storage.
struct Reached {
    database: Database,
    replica: usize,
    dice: Mutex<Dice>,
    planted: Option<Planted>,
}

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reached").field("replica", &self.replica).finish_non_exhaustive()
    }
}

fn refused() -> StorageError {
    StorageError::Refused("the simulation refuses".to_owned())
}

fn ambiguous() -> StorageError {
    StorageError::Ambiguous("the simulation does not say".to_owned())
}

impl Reached {
    fn draw(&self, least: u64, most: u64) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).between(least, most)
    }

    /// The way there: as it is when the call begins.
    async fn go(&self) -> Result<Way, StorageError> {
        let way = self.database.shared().ways[self.replica];
        match way {
            Way::Refuses => return Err(refused()),
            Way::Hangs => std::future::pending().await,
            Way::Slow => tokio::time::sleep(Duration::from_millis(self.draw(100, 2_000))).await,
            _ => tokio::time::sleep(Duration::from_millis(self.draw(1, 4))).await,
        }
        Ok(way)
    }

    /// The way back.
    async fn back(&self) {
        tokio::time::sleep(Duration::from_millis(self.draw(0, 3))).await;
    }

    async fn read<T>(&self, read: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        self.go().await?;
        let answer = read.await;
        self.back().await;
        answer
    }

    /// Lets rounds that wait go at once.
    async fn overtake(
        &self,
        answers: Vec<Result<Placement, StorageError>>,
        attempts: Vec<Vec<Attempt>>,
    ) -> Vec<Result<Placement, StorageError>> {
        let mut overtaken = Vec::new();
        for (answer, attempts) in answers.into_iter().zip(attempts) {
            let waits = matches!(&answer, Ok(Placement::Taken { order, .. }) if order.state() == OrderState::Held);
            let Ok(Placement::Taken { order, check }) = answer else {
                overtaken.push(answer);
                continue;
            };
            let mut order = *order;
            if waits {
                order = Order { attempts, version: order.version + 1, ..order };
                order.set_state(OrderState::Sending);
                let due_in = Some(Duration::from_secs(4));
                let (tenant_id, check) = ("default".into(), CheckChange::default());
                let change = OrderChange { tenant_id, order: order.clone(), due_in, check };
                self.database.change(self.replica, vec![change]).await;
            }
            overtaken.push(Ok(Placement::Taken { order: Box::new(order), check }));
        }
        overtaken
    }

    /// One write: `write` commits when it is first polled.
    async fn attempt<T>(&self, write: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        match self.go().await? {
            Way::LosesWrites => return Err(ambiguous()),
            Way::LosesAnswers | Way::CommitsLate => {
                write.await?;
                return Err(ambiguous());
            }
            _ => {}
        }
        let answer = write.await;
        self.back().await;
        answer
    }

    /// A batch of writes: `write` commits.
    async fn write<T, F>(&self, count: usize, write: impl FnOnce() -> F) -> Vec<Result<T, StorageError>>
    where
        F: Future<Output = Vec<Result<T, StorageError>>> + Send + 'static,
        T: Send + 'static,
    {
        let none = |error: StorageError| (0..count).map(|_| Err(error.clone())).collect();
        match self.go().await {
            Err(error) => return none(error),
            Ok(Way::LosesWrites) => return none(ambiguous()),
            Ok(Way::LosesAnswers) => {
                write().await;
                return none(ambiguous());
            }
            Ok(Way::CommitsLate) => {
                // The database goes on by itself; whoever asked may be gone by then.
                let (later, wait) = (write(), Duration::from_millis(self.draw(500, 3_000)));
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    later.await;
                });
                return none(ambiguous());
            }
            Ok(_) => {}
        }
        let answers = write().await;
        self.back().await;
        answers
    }
}

#[tonic::async_trait]
impl Storage for Reached {
    async fn place_batch(&self, orders: Vec<NewOrder>) -> Vec<Result<Placement, StorageError>> {
        let (database, replica) = (self.database.clone(), self.replica);
        match self.planted {
            Some(Planted::AckBeforeCommit) if orders.iter().all(|new| new.order.check_id.is_empty()) => {
                let taken = |new: &NewOrder| Ok(Placement::Taken { order: Box::new(new.order.clone()), check: None });
                let answers = orders.iter().map(taken).collect();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    database.place(replica, orders).await;
                });
                answers
            }
            Some(Planted::RoundOvertakes) => {
                let attempts = orders.iter().map(|new| new.order.attempts.clone()).collect();
                let answers =
                    self.write(orders.len(), move || async move { database.place(replica, orders).await }).await;
                self.overtake(answers, attempts).await
            }
            _ => self.write(orders.len(), move || async move { database.place(replica, orders).await }).await,
        }
    }

    async fn change_batch(&self, changes: Vec<OrderChange>) -> Vec<Result<Changed, StorageError>> {
        let count = changes.len();
        let (database, replica, planted) = (self.database.clone(), self.replica, self.planted);
        let write = move || async move {
            let mut answers = database.change(replica, changes.clone()).await;
            for (answer, mut change) in answers.iter_mut().zip(changes) {
                let Ok(Changed::Conflict(current)) = answer else { continue };
                match planted {
                    Some(Planted::MissingFence) => {
                        change.order.version = current.version + 1;
                        *answer = database.change(replica, vec![change]).await.remove(0);
                    }
                    Some(Planted::LateAnswerDropped) => *answer = Ok(Changed::Missing),
                    _ => {}
                }
            }
            answers
        };
        self.write(count, write).await
    }

    async fn claim_due(&self, replica: &str, lease: Duration, room: &Room) -> Result<Vec<Claimed>, StorageError> {
        let way = self.go().await?;
        if way == Way::LosesWrites {
            return Err(ambiguous());
        }
        let mut claimed = self.database.inner.claim_due(replica, lease, room).await?;
        for claimed in &claimed {
            self.database.committed(self.replica, &claimed.order);
        }
        if self.planted == Some(Planted::TakeoverSends) {
            let orders = claimed.iter_mut().map(|claimed| &mut claimed.order);
            orders.filter(|o| o.state() == OrderState::Sending).for_each(|o| o.set_state(OrderState::Pending));
        }
        if matches!(way, Way::LosesAnswers | Way::CommitsLate) {
            return Err(ambiguous());
        }
        self.back().await;
        Ok(claimed)
    }

    async fn put_off(
        &self,
        tenant_id: &str,
        order_id: &str,
        version: i64,
        due_in: Duration,
    ) -> Result<bool, StorageError> {
        self.attempt(self.database.inner.put_off(tenant_id, order_id, version, due_in)).await
    }

    async fn order(&self, tenant_id: &str, order_id: &str) -> Result<Option<Order>, StorageError> {
        self.read(self.database.inner.order(tenant_id, order_id)).await
    }

    async fn newer(&self, known: &[Known]) -> Result<Vec<Order>, StorageError> {
        self.read(self.database.inner.newer(known)).await
    }

    async fn attention(&self, tenant_id: &str, limit: usize) -> Result<BTreeMap<Arc<str>, i64>, StorageError> {
        self.read(self.database.inner.attention(tenant_id, limit)).await
    }

    async fn order_by_request(
        &self,
        tenant_id: &str,
        caller: &str,
        request_id: &str,
    ) -> Result<Option<Requested>, StorageError> {
        self.read(self.database.inner.order_by_request(tenant_id, caller, request_id)).await
    }

    async fn orders(&self, tenant_id: &str, filter: &OrderFilter) -> Result<Vec<Order>, StorageError> {
        self.read(self.database.inner.orders(tenant_id, filter)).await
    }

    async fn contact(&self, tenant_id: &str, contact_id: &str) -> Result<Option<GuestContact>, StorageError> {
        self.read(self.database.inner.contact(tenant_id, contact_id)).await
    }

    async fn erase_contacts(&self, age: Duration) -> Result<u64, StorageError> {
        self.read(self.database.inner.erase_contacts(age)).await
    }

    async fn announce(&self, order_ids: &[String]) -> Result<(), StorageError> {
        self.go().await?;
        let shared = self.database.shared();
        for (_, listener) in shared.listeners.iter().enumerate().filter(|(replica, _)| *replica != self.replica) {
            // A replica that is gone, or behind, reads by itself.
            listener.iter().for_each(|l| drop(l.try_send(Heard::Changed(order_ids.to_vec()))));
        }
        Ok(())
    }

    async fn listen(&self) -> Result<Option<mpsc::Receiver<Heard>>, StorageError> {
        self.go().await?;
        let (sender, receiver) = mpsc::channel(1024);
        self.database.shared().listeners[self.replica] = Some(sender);
        Ok(Some(receiver))
    }
}

#[tonic::async_trait]
impl CheckStorage for Reached {
    async fn open_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<Option<Check>, StorageError> {
        self.attempt(self.database.inner.open_check(tenant_id, check, due_in)).await
    }

    async fn check(&self, tenant_id: &str, check_id: &str) -> Result<Option<Check>, StorageError> {
        self.read(self.database.inner.check(tenant_id, check_id)).await
    }

    async fn checks(&self, tenant_id: &str, filter: &CheckFilter) -> Result<Vec<Check>, StorageError> {
        self.read(self.database.inner.checks(tenant_id, filter)).await
    }

    async fn checks_by_reference(
        &self,
        tenant_id: &str,
        connection_id: &str,
        references: &[&str],
    ) -> Result<Vec<Check>, StorageError> {
        self.read(self.database.inner.checks_by_reference(tenant_id, connection_id, references)).await
    }

    async fn change_check(
        &self,
        tenant_id: &str,
        check: &Check,
        due_in: Duration,
    ) -> Result<CheckChanged, StorageError> {
        self.attempt(self.database.inner.change_check(tenant_id, check, due_in)).await
    }

    async fn has_round_in_flight(&self, tenant_id: &str, check_id: &str) -> Result<bool, StorageError> {
        self.read(self.database.inner.has_round_in_flight(tenant_id, check_id)).await
    }

    async fn claim_due_checks(&self, lease: Duration, limit: usize) -> Result<Vec<DueCheck>, StorageError> {
        self.attempt(self.database.inner.claim_due_checks(lease, limit)).await
    }

    async fn put_off_checks(
        &self,
        tenant_id: &str,
        checks: &[(&str, i64)],
        due_in: Option<Duration>,
    ) -> Result<(), StorageError> {
        self.attempt(self.database.inner.put_off_checks(tenant_id, checks, due_in)).await
    }

    async fn begin_split(
        &self,
        tenant_id: &str,
        caller: &str,
        split: &Split,
        lease: Duration,
    ) -> Result<Option<Split>, StorageError> {
        self.attempt(self.database.inner.begin_split(tenant_id, caller, split, lease)).await
    }

    async fn split(&self, tenant_id: &str, caller: &str, request_id: &str) -> Result<Option<Split>, StorageError> {
        self.read(self.database.inner.split(tenant_id, caller, request_id)).await
    }

    async fn open_splits(&self, tenant_id: &str, check_id: &str) -> Result<Vec<Split>, StorageError> {
        self.read(self.database.inner.open_splits(tenant_id, check_id)).await
    }

    async fn end_split(
        &self,
        tenant_id: &str,
        split: &Split,
        new: &[Check],
        due_in: Duration,
    ) -> Result<(), StorageError> {
        self.attempt(self.database.inner.end_split(tenant_id, split, new, due_in)).await
    }
}

#[tonic::async_trait]
impl TimeStorage for Reached {
    async fn now_ms(&self) -> Result<Option<i64>, StorageError> {
        self.go().await?;
        Ok(Some(self.database.now.unix_ms()))
    }

    async fn pickups(
        &self,
        tenant_id: &str,
        store_id: &str,
        from_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<(i64, i64)>, StorageError> {
        self.read(self.database.inner.pickups(tenant_id, store_id, from_ms, until_ms)).await
    }

    async fn forget_pickups(&self, before_ms: i64) -> Result<(), StorageError> {
        self.attempt(self.database.inner.forget_pickups(before_ms)).await
    }

    async fn complete_due(&self, limit: usize, now: Timestamp) -> Result<Vec<(Arc<str>, Order)>, StorageError> {
        let replica = self.replica;
        self.attempt(async {
            let completed = self.database.inner.complete_due(limit, now).await?;
            completed.iter().for_each(|(_, order)| self.database.committed(replica, order));
            Ok(completed)
        })
        .await
    }

    async fn take_turn(&self, turn: Turn) -> Result<TurnTaken, StorageError> {
        let replica = self.replica;
        self.attempt(async {
            let taken = self.database.inner.take_turn(turn).await?;
            match &taken {
                TurnTaken::Begun(begun) => self.database.committed(replica, &begun.0),
                TurnTaken::Waits(order) => self.database.committed(replica, order),
                TurnTaken::Conflict(_) | TurnTaken::Missing => {}
            }
            Ok(taken)
        })
        .await
    }
}
