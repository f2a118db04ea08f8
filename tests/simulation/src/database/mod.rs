//! The database of the order service: what it holds survives every crash; the way to it fails for one replica at a
//! time. Everything that was ever committed is kept, to compare with what anybody was told.

mod checks;
mod gates;
mod replica;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use posmesh_order::storage::{
    Changed, Heard, MemoryStorage, NewOrder, OrderChange, OrderFilter, Placement, Storage, StorageError,
};
use posmesh_proto::order::v1::{Attempt, AttemptKind, AttemptOutcome, Order, OrderState};
use tokio::sync::mpsc;

use crate::{
    chance::{self, Dice},
    planted::Planted,
    trace::{Trace, short},
    world::Now,
};
use replica::Reached;

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

    /// An order as it is now.
    pub(crate) fn order(&self, order_id: &str) -> Option<Order> {
        self.shared().history.get(order_id).and_then(|versions| versions.last()).map(|(_, order)| order.clone())
    }

    /// The storage as one replica reaches it.
    pub(crate) fn reached_by(&self, replica: usize, seed: u64, planted: Option<Planted>) -> Arc<dyn Storage> {
        let dice = Mutex::new(Dice::new(&[seed, chance::text("database"), replica as u64, self.now.ms()]));
        Arc::new(Reached::new(self.clone(), replica, dice, planted))
    }

    fn committed(&self, replica: usize, order: &Order) {
        let last = {
            let mut shared = self.shared();
            let is_entered =
                |last: &Attempt| last.kind() == AttemptKind::Enter && last.outcome() == AttemptOutcome::Unspecified;
            if order.state() == OrderState::Sending || order.attempts.last().is_some_and(is_entered) {
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
