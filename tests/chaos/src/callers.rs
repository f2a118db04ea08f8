//! The load: product backends, guests' pages, parties at tables. They give up, ask again under the same key, cancel, watch,
//! and write down every word that they are told.

pub mod backend;
pub mod draft;
pub mod gateway;
pub mod party;
pub mod person;
pub mod staff;
mod watchers;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use posmesh_e2e::{Http, Mesh, Pos};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{OrderLineInput, QuoteOrderRequest, order_service_client::OrderServiceClient},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Channel, Endpoint};

use crate::book::Book;

/// Watchers at once; who finds no place does not watch.
const MAX_WATCHERS: usize = 200;
/// How long callers pause between two orders, milliseconds: a rush hour.
pub const BRISK: Range<u64> = 50..500;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What every caller needs.
#[derive(Debug)]
pub struct World {
    /// The store that all order at.
    pub store_id: String,
    /// The gateway.
    pub http: Http,
    /// The order replicas as product backends reach them, without a proxy.
    pub replicas: Vec<OrderServiceClient<Channel>>,
    /// What was told.
    pub book: Book,
    /// What guests order.
    pub baskets: Vec<Basket>,
    /// ISO 4217.
    pub currency: &'static str,
    /// Begins every key.
    pub seed: u64,
    /// How long each caller pauses between two orders, milliseconds.
    pub pause_ms: Range<u64>,
    /// From then on nobody begins anything new.
    pub closing: CancellationToken,
    /// From then on nobody watches any more.
    pub over: CancellationToken,
    /// Everybody.
    pub tasks: TaskTracker,
    watchers: Arc<Semaphore>,
    keys: AtomicU64,
}

/// Something to order, and what it costs, whatever sells it.
#[derive(Debug, Clone)]
pub struct Basket {
    /// Items and how many of each.
    pub lines: Vec<(String, i32)>,
    /// Minor units.
    pub total: i64,
}

/// How many different ones there are.
const BASKETS: usize = 16;

impl World {
    /// A store in a mesh that sells `items` without choices.
    ///
    /// # Errors
    /// When the items are not sold.
    pub async fn new(
        mesh: &Mesh,
        store_id: &str,
        items: &[&str],
        currency: &'static str,
        seed: u64,
        pause_ms: Range<u64>,
    ) -> Result<Arc<Self>> {
        let channel = |address: &std::net::SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).context("an order replica")?;
            anyhow::Ok(OrderServiceClient::new(endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy()))
        };
        let mut world = Self {
            store_id: store_id.to_owned(),
            http: mesh.http()?,
            replicas: mesh.order_addresses().iter().map(channel).collect::<Result<_>>()?,
            book: Book::default(),
            baskets: Vec::new(),
            currency,
            seed,
            pause_ms,
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
            tasks: TaskTracker::new(),
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            keys: AtomicU64::new(1),
        };
        let mut dice = world.dice(u64::MAX);
        for _ in 0..BASKETS {
            let basket = world.fill(items, &mut dice).await?;
            world.baskets.push(basket);
        }
        Ok(Arc::new(world))
    }

    async fn fill(&self, items: &[&str], dice: &mut StdRng) -> Result<Basket> {
        let mut wanted: Vec<&str> = items.iter().copied().filter(|_| dice.random_bool(0.5)).collect();
        if wanted.is_empty() {
            wanted.extend(items.first());
        }
        let lines: Vec<(String, i32)> =
            wanted.iter().map(|item| ((*item).to_owned(), dice.random_range(1..4))).collect();
        let request = QuoteOrderRequest {
            store_id: self.store_id.clone(),
            product: Product::Kiosk.into(),
            lines: lines.iter().map(to_line).collect(),
            ..Default::default()
        };
        let quote = self.replicas[0].clone().quote_order(request).await.context("a basket has no price")?;
        let price = quote.into_inner().quote.and_then(|quote| quote.price?.total).context("a quote without a price")?;
        Ok(Basket { lines, total: price.amount })
    }

    /// A key that nobody else has: 16 characters and more, as the gateway asks for.
    pub fn new_key(&self) -> String {
        format!("chaos-{}-{:08}", self.seed, self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// As long as a caller pauses.
    pub(crate) fn pause(&self, dice: &mut StdRng) -> Duration {
        Duration::from_millis(dice.random_range(self.pause_ms.clone()))
    }

    /// Randomness of one caller's own.
    pub fn dice(&self, caller: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(caller))
    }
}

/// Begins the load: so many persons, and a party of two at each of these tables, each with the code of its QR. The staff
/// serve them at `till`.
pub fn begin(world: &Arc<World>, persons: usize, tables: &[(String, String)], till: &Arc<Pos>) {
    for caller in 0..persons as u64 {
        world.tasks.spawn(person::go_on(Arc::clone(world), world.dice(caller)));
    }
    for (at, (table, code)) in tables.iter().cloned().enumerate() {
        let dice = world.dice(1_000_000 + at as u64);
        world.tasks.spawn(party::go_on(Arc::clone(world), dice, table, code, Arc::clone(till)));
    }
}

fn to_line((item_id, quantity): &(String, i32)) -> OrderLineInput {
    OrderLineInput { item_id: item_id.clone(), quantity: *quantity, ..OrderLineInput::default() }
}

/// How a caller goes about one order.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// How long it waits for an answer before it gives up on that call.
    pub patience: Duration,
    /// How long it asks the platform to wait for the POS.
    pub wait: Option<Duration>,
    /// How often it asks, with the same key.
    pub tries: u32,
    /// How long it rests before it asks again.
    pub rest: Duration,
}

impl Manner {
    /// A manner by chance: one in ten gives up for good, after one or two calls; the others go on for a minute.
    pub fn by_chance(dice: &mut StdRng) -> Self {
        let patience = [400, 1500, 5000][dice.random_range(0..3)];
        let wait = dice.random_bool(0.5).then(|| Duration::from_secs(dice.random_range(1..4)));
        let tries = if dice.random_bool(0.1) { dice.random_range(1..3) } else { 60 };
        let rest = Duration::from_millis(dice.random_range(50..1000));
        Self { patience: Duration::from_millis(patience), wait, tries, rest }
    }
}

/// Reasons of answers that do not say whether a write took effect (docs/errors.md); so does an answer without a reason.
pub(crate) fn proves_nothing(reason: &str) -> bool {
    matches!(reason, "" | "OUTCOME_UNKNOWN" | "DEADLINE_EXCEEDED" | "INTERNAL")
}
