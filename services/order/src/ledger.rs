//! Every write of orders: group-committed, told to those who watch, here and on the other replicas.

use std::{sync::Arc, time::Duration};

use posmesh_kit::time;
use posmesh_proto::order::v1::{Check, Order};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::lifecycle::{self, Event},
    error::Error,
    gate::Board,
    storage::{Changed, CheckChange, GroupedWrites, Heard, NewOrder, OrderChange, Placement, Storage, StorageError},
    watch::Hub,
};

/// How often one change is tried again because somebody else changed the order meanwhile.
const MAX_CONFLICTS: usize = 16;
const ANNOUNCE_QUEUE: usize = 8192;
const ANNOUNCE_BATCH: usize = 500;
/// Announcements gather this long: a lock of the whole database is taken for each.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(20);

/// What came of an event.
#[derive(Debug)]
pub(crate) enum Applied {
    /// It is durable.
    Changed {
        order: Arc<Order>,
        /// The round that it let go, to be dispatched by us.
        next_round: Option<Box<(Order, Check)>>,
    },
    /// It brought nothing new, or cannot happen to the order as it is.
    Unchanged(Arc<Order>),
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) hub: Hub,
    board: Board,
    writes: GroupedWrites,
    announcements: mpsc::Sender<String>,
}

impl Ledger {
    pub(crate) fn start(
        storage: Arc<dyn Storage>,
        board: Board,
        watcher_max_lag: Duration,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (announcements, queue) = mpsc::channel(ANNOUNCE_QUEUE);
        let writes = GroupedWrites::start(&storage);
        let ledger = Self { hub: Hub::new(watcher_max_lag), board, writes, announcements, storage };
        let stopped = stop.clone();
        tasks.spawn(announce(Arc::clone(&ledger.storage), queue, stopped));
        tasks.spawn(ledger.hub.clone().run(Arc::clone(&ledger.storage), stop.clone()));
        let (listener, stopped) = (ledger.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = listener.listen() => {}
            }
        });
        ledger
    }

    /// Takes an order: durable when it returns.
    pub(crate) async fn place(&self, new: NewOrder) -> Result<Placement, Error> {
        Ok(self.writes.place(new).await??)
    }

    /// Applies an event to an order, again and again if somebody else changes it meanwhile. `due` says when the changed
    /// order shall be looked at again; one that needs no look never is.
    pub(crate) async fn apply(
        &self,
        tenant_id: &Arc<str>,
        order: Order,
        event: Event,
        check: CheckChange,
        due: impl Fn(&Order) -> Option<Duration>,
    ) -> Result<Applied, Error> {
        let order_id = order.order_id.clone();
        let mut order = order;
        for _ in 0..MAX_CONFLICTS {
            match lifecycle::apply(&mut order, event.clone(), time::now()) {
                Ok(true) => {}
                // It is as it was.
                Ok(false) | Err(_) => return Ok(Applied::Unchanged(Arc::new(order))),
            }
            match self.write(tenant_id, order, check.clone(), &due).await? {
                Ok(applied) => return Ok(applied),
                Err(current) => order = *current,
            }
        }
        Err(StorageError::Refused(format!("the order {order_id} changes all the time")).into())
    }

    async fn write(
        &self,
        tenant_id: &Arc<str>,
        next: Order,
        check: CheckChange,
        due: &impl Fn(&Order) -> Option<Duration>,
    ) -> Result<Result<Applied, Box<Order>>, Error> {
        let due_in = due(&next).filter(|_| !lifecycle::needs_no_look(&next));
        let change = OrderChange { tenant_id: Arc::clone(tenant_id), order: next.clone(), due_in, check };
        match self.writes.change(change).await?? {
            Changed::Done { next_round } => {
                let order = Arc::new(next);
                self.tell(&order);
                if let Some(round) = &next_round {
                    self.tell(&Arc::new(round.0.clone()));
                }
                Ok(Ok(Applied::Changed { order, next_round }))
            }
            Changed::Conflict(current) => Ok(Err(current)),
            Changed::Missing => {
                Err(StorageError::Corrupt { what: next.order_id, message: "it is gone".to_owned() }.into())
            }
        }
    }

    /// Tells everybody who watches the order.
    pub(crate) fn tell(&self, order: &Arc<Order>) {
        self.hub.publish(order);
        self.board.observe(order);
        // A full queue loses nothing: other replicas also read what is watched from time to time.
        let _ = self.announcements.try_send(order.order_id.clone());
    }

    async fn listen(&self) {
        loop {
            match self.storage.listen().await {
                Ok(None) => return,
                Ok(Some(mut heard)) => {
                    while let Some(heard) = heard.recv().await {
                        match heard {
                            Heard::Changed(order_ids) => self.hub.touch(&order_ids),
                            Heard::Gap => self.hub.touch_all(),
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot hear the other replicas; watchers read by themselves"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn announce(storage: Arc<dyn Storage>, mut queue: mpsc::Receiver<String>, stop: CancellationToken) {
    loop {
        let mut order_ids = Vec::new();
        tokio::select! {
            () = stop.cancelled() => return,
            count = queue.recv_many(&mut order_ids, ANNOUNCE_BATCH) => if count == 0 { return },
        }
        order_ids.sort_unstable();
        order_ids.dedup();
        if let Err(error) = storage.announce(&order_ids).await {
            tracing::warn!(%error, "the other replicas could not be told of changed orders");
        }
        tokio::time::sleep(ANNOUNCE_PAUSE).await;
    }
}
