//! The storage as one replica reaches it: real, behind a way that fails.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_order::storage::{
    Changed, CheckChange, Claimed, Errand, Heard, Known, NewOrder, Next, OrderChange, OrderFilter, Placement,
    Requested, Room, Storage, StorageError, Wake,
};
use posmesh_proto::order::v1::{Attempt, GuestContact, Order, OrderState};
use tokio::sync::mpsc;

use super::{Database, Way};
use crate::{chance::Dice, planted::Planted};

/// One replica's storage.
pub(super) struct Reached {
    pub(super) database: Database,
    pub(super) replica: usize,
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
    pub(super) fn new(database: Database, replica: usize, dice: Mutex<Dice>, planted: Option<Planted>) -> Self {
        Self { database, replica, dice, planted }
    }

    fn draw(&self, least: u64, most: u64) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).between(least, most)
    }

    /// The way there: as it is when the call begins.
    pub(super) async fn go(&self) -> Result<Way, StorageError> {
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

    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
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
    pub(super) async fn attempt<T>(
        &self,
        write: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
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
        due_in: Option<Duration>,
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

    async fn wake(&self, wakes: &[Wake]) -> Result<(), StorageError> {
        self.attempt(self.database.inner.wake(wakes)).await
    }

    async fn claim_errands(&self, replica: &str, lease: Duration, limit: usize) -> Result<Vec<Errand>, StorageError> {
        self.attempt(self.database.inner.claim_errands(replica, lease, limit)).await
    }

    async fn put_errand(&self, errand: &Errand, next: Next) -> Result<bool, StorageError> {
        self.attempt(self.database.inner.put_errand(errand, next)).await
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
