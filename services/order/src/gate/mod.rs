//! Gates at work: what the router and the storage tell is kept in memory ([`board`]), orders are judged by it, held ones
//! let go, and connections that were away opened again, one order at a time.

mod board;
mod fallback;
mod follow;
mod keep;
mod serve;
mod watch;

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, ambient, time};
use posmesh_pricing::default_service_mode;
use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    order::v1::{Gate, GateReason, GateState},
    router::v1::router_service_client::RouterServiceClient,
    store::v1::Store,
};
use tokio::sync::{Mutex, watch as latest};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Code;

pub(crate) use board::Board;
pub(crate) use fallback::Fallback;

use self::{board::Way, keep::ToDo, watch::Watchers};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        gate::{Asked, unconnected},
        pos::table_mode,
    },
    error::Error,
    peers::Reader,
    storage::{LetThrough, ProbationClaim, Storage},
};

/// How soon who was refused may try again where nobody knows when it opens.
const RETRY: Duration = Duration::from_secs(10);
/// On probation it may open at any moment.
const RETRY_SOON: Duration = Duration::from_secs(3);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// The gates of all stores. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    board: Board,
    storage: Arc<dyn Storage>,
    pub(crate) reader: Reader,
    clock: Clock,
    /// So long an order that was let through alone is waited for if it is not stored.
    claim_lease: Duration,
    /// Held by whoever reads the storage for the board: what was read before never replaces what was read after it.
    reading: Arc<Mutex<()>>,
    /// What follows from the last read.
    to_do: latest::Sender<Arc<ToDo>>,
    watchers: Watchers,
}

impl Gates {
    /// Follows the router and the storage until `stop`.
    pub(crate) fn start(
        board: Board,
        storage: Arc<dyn Storage>,
        reader: Reader,
        clock: Clock,
        config: &Config,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Self {
        let router: RouterServiceClient<_> = reader.router.clone();
        let watchers = Watchers::start(board.clone(), config.watcher_max_lag, tasks, stop);
        let gates = Self {
            board: board.clone(),
            storage,
            reader,
            clock,
            claim_lease: config.attempt_timeout + config.lease_margin,
            reading: Arc::default(),
            to_do: latest::Sender::default(),
            watchers,
        };
        let (keeper, doer, stopped) = (gates.clone(), gates.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = follow::follow(router, board) => {}
            }
        });
        let stopped = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = keeper.keep() => {}
            }
        });
        let stopped = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = doer.act() => {}
            }
        });
        gates
    }

    /// Returns when a replica that has just started knows what an order is judged by, or has waited long enough for it.
    pub(crate) async fn until_judging(&self) {
        self.board.until_judging().await;
    }

    /// The gate that an order comes to, and what stands in for the POS where that matters. Without I/O, unless the POS
    /// cannot have the order and a fallback may.
    pub(crate) async fn at(
        &self,
        tenant_id: &Arc<str>,
        store: &Store,
        (product, mode): (Product, ServiceMode),
        connection_id: Option<&str>,
        asked: Asked,
    ) -> (Gate, Option<Fallback>) {
        let now_ms = self.clock.now_unix_ms();
        let gate =
            |can_divert| self.board.gate(tenant_id, store, product, (connection_id, can_divert), (asked, now_ms));
        let alone = gate(false);
        if !matches!(alone.reason(), GateReason::LinkOffline | GateReason::Printer | GateReason::LinkReopening) {
            return (alone, None);
        }
        match self.fallback(store, product, mode).await {
            Some(fallback) => (gate(true), Some(fallback)),
            None => (alone, None),
        }
    }

    /// The gate of a product as it is shown: of the connections that its orders go to by what is known in memory.
    fn shown(&self, tenant_id: &Arc<str>, store: &Store, product: Product) -> Gate {
        let mode = shown_mode(product);
        let now_ms = self.clock.now_unix_ms();
        let gate = |over: Option<&str>| {
            let over = (over, self.may_divert(store, product, mode));
            self.board.gate(tenant_id, store, product, over, (Asked::Now, now_ms))
        };
        match self.board.way(&store.store_id, product, mode) {
            Way::Over(connection_id) => gate(Some(&connection_id)),
            Way::Unknown => gate(None),
            Way::Nowhere => unconnected(store, product),
        }
    }

    /// Refuses an order whose gate is closed by what is known in memory: nobody needs to be asked for that.
    pub(crate) fn refuse_at_once(
        &self,
        tenant_id: &Arc<str>,
        store: &Store,
        (product, mode): (Product, ServiceMode),
        asked: Asked,
    ) -> Result<(), Failure> {
        let now_ms = self.clock.now_unix_ms();
        let connection_id = self.board.connection(&store.store_id, product, mode);
        let over = (connection_id.as_deref(), self.may_divert(store, product, mode));
        let gate = self.board.gate(tenant_id, store, product, over, (asked, now_ms));
        // The router may know more of it.
        let is_unsure = connection_id.is_none() && gate.reason() == GateReason::LinkUnknown;
        if gate.state() == GateState::Closed && !is_unsure { Err(closed(&gate, now_ms)) } else { Ok(()) }
    }

    /// Lets an order through to a connection on probation, unless another one is under way.
    pub(crate) async fn let_through(
        &self,
        tenant_id: &Arc<str>,
        connection_id: &str,
        order_id: &str,
    ) -> Result<bool, Error> {
        let claim = self.claim(tenant_id, connection_id, order_id);
        match self.storage.claim_probation(&claim).await? {
            LetThrough::Alone => self.board.let_through(&claim.offline, order_id),
            LetThrough::Open => self.board.open(&claim.offline),
            LetThrough::NotYet => return Ok(false),
        }
        Ok(true)
    }

    /// An order that was let through was not taken.
    pub(crate) async fn give_back(&self, tenant_id: &Arc<str>, connection_id: &str, order_id: &str) {
        let claim = self.claim(tenant_id, connection_id, order_id);
        self.board.give_back(connection_id, order_id);
        if let Err(error) = self.storage.give_back_probation(&claim).await {
            tracing::warn!(%error, connection.id = connection_id, "the next order waits until a claim ends by itself");
        }
    }

    fn claim(&self, tenant_id: &Arc<str>, connection_id: &str, order_id: &str) -> ProbationClaim {
        ProbationClaim {
            offline: self.board.offline(tenant_id, connection_id),
            order_id: order_id.to_owned(),
            lease: self.claim_lease,
        }
    }
}

/// The service mode whose gate stands for its product's.
fn shown_mode(product: Product) -> ServiceMode {
    if product == Product::Table { table_mode().1 } else { default_service_mode(product) }
}

/// The refusal at a gate. Nothing was taken.
pub(crate) fn closed(gate: &Gate, now_ms: i64) -> Failure {
    let why = match gate.reason() {
        GateReason::LinkOffline => "the store's POS cannot be reached",
        GateReason::LinkUnknown => "nobody knows whether the store's POS can be reached",
        GateReason::Printer => "no ticket comes out in the store's kitchen",
        GateReason::LinkReopening => "the store's POS was away, and takes one order at a time until one is there",
        GateReason::OutsideHours => "the store is closed now",
        GateReason::Paused => "the staff take no orders for now",
        GateReason::TooManyInDoubt => "of too many orders nobody knows whether the store's POS has them",
        GateReason::TooManyWaiting => "too many orders wait for the store's POS",
        GateReason::NotSold | GateReason::Unspecified => "the store does not take such orders now",
    };
    // Guests read it: what the staff say is for them, what an adapter says is not.
    let words = match gate.reason() {
        GateReason::Paused if !gate.message.is_empty() => format!("{why}: {}", gate.message),
        _ => why.to_owned(),
    };
    let name = gate.reason().as_str_name();
    let failure = Failure::new(Code::Unavailable, "GATE_CLOSED", format!("{words}; nothing was taken"))
        .meta("gate_reason", name.strip_prefix("GATE_REASON_").unwrap_or(name))
        .meta("store_id", &gate.store_id)
        .retry_after(retry_after(gate, now_ms));
    let with = |failure: Failure, key, value: &str| {
        if value.is_empty() { failure } else { failure.meta(key, value) }
    };
    with(with(failure, "cause", &gate.cause), "failing_hop", &gate.failing_hop)
}

fn retry_after(gate: &Gate, now_ms: i64) -> Duration {
    let opens_in = gate.open_time.as_ref().map(|at| time::to_unix_ms(at).saturating_sub(now_ms));
    match opens_in.and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => Duration::from_millis(ms).clamp(Duration::from_secs(1), LONGEST_RETRY),
        None if gate.state() == GateState::Probation => RETRY_SOON,
        // Whole seconds, as HTTP tells them.
        None => Duration::from_secs(RETRY.mul_f64(ambient::jitter(0.5, 1.5)).as_secs().max(1)),
    }
}
