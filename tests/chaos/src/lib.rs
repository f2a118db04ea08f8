//! Chaos on real processes: the whole mesh as it is deployed, under load, while processes are killed, stopped and started,
//! the database restarted, wires cut, and the POS misbehaves; then an audit of every order against the POS's own journal
//! and against every word that any caller was told.
//!
//! `cargo run -p chaos -- --minutes 10 --seed 7`

pub mod audit;
pub mod book;
pub mod callers;
pub mod facts;
pub mod fallback;
pub mod faults;
pub mod outage;
pub mod report;
pub mod stage;
pub mod timeline;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use posmesh_e2e::{CURRENCY, Mesh};
use posmesh_proto::order::v1::{Order, OrderState, PosEntry};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use callers::{BRISK, World};
use faults::Injector;
use report::Report;
use stage::{Cast, ITEMS, STORE_ID, Stage};

/// When all faults have ended, every order is at rest within this: the time of an attempt that a stopped replica left
/// behind, the time until which an order is delivered or expires, and what the database may be waited for.
pub const REST_WITHIN: Duration = Duration::from_secs(60);
/// When the orders are at rest, whoever still watches one is told so within this.
const WATCHERS_END_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);

/// A run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides faults and callers.
    pub seed: u64,
    /// How long faults are injected under load.
    pub duration: Duration,
    /// Callers who order Kiosk and ToGo.
    pub persons: usize,
    /// Tables with a party of two each; at most 12.
    pub parties: usize,
    /// Faults in each minute.
    pub faults_per_minute: u32,
    /// Whether the store has a printer that stands in for its POS.
    pub fallback: bool,
    /// Where the logs of all processes are copied to.
    pub logs: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// When the stage cannot be set, or cannot be asked afterwards.
pub async fn run(settings: &Settings) -> Result<Report> {
    let stage = Arc::new(
        Stage::set(Cast { fallback: settings.fallback, ..Cast::default() }).await.context("the stage cannot be set")?,
    );
    let world = World::new(&stage.mesh, STORE_ID, &ITEMS, CURRENCY, settings.seed, BRISK).await?;
    let injector = Injector::new(&stage);
    let over = CancellationToken::new();
    let supervisor = {
        let (injector, over) = (Arc::clone(&injector), over.clone());
        tokio::spawn(async move { injector.supervise(&over).await })
    };
    let plan = faults::plan(settings.seed, settings.duration, settings.faults_per_minute, settings.fallback);
    let end = Instant::now() + settings.duration;
    let parties = stage.tables.len().min(settings.parties);
    callers::begin(&world, settings.persons, &stage.tables[..parties], &stage.pos);
    injector.carry_out(&plan).await;
    tokio::time::sleep_until(end).await;
    stage.pos.try_ask(reqwest::Method::DELETE, "/control/faults", None).await.ok();
    let rest = close(&stage.mesh, &world, REST_WITHIN).await;
    over.cancel();
    supervisor.await?;

    let facts = facts::gather(&world, &stage).await?;
    let requests = world.book.read();
    let versions = facts.orders.values().flatten().map(|order| (order.version, order.order_id.clone()));
    if let Some(folder) = &settings.logs {
        stage.keep_logs(folder).with_context(|| format!("the logs cannot be copied to {}", folder.display()))?;
    }
    Ok(Report {
        seed: settings.seed,
        duration: settings.duration,
        rest,
        requests: requests.len(),
        most_changed: versions.max().unwrap_or_default(),
        words: requests.iter().map(|request| request.told.len()).sum(),
        faults: injector.counts(),
        exits: injector.exits(),
        panicked: panicked(&stage),
        findings: audit::audit(&requests, &facts),
    })
}

/// The processes in whose log a panic stands.
fn panicked(stage: &Stage) -> Vec<String> {
    let panicked = stage.processes().filter(|process| process.has_logged("panicked at"));
    panicked.map(|process| process.name().to_owned()).collect()
}

/// Ends the load, and waits until every order is at rest and everybody who watches has been told so. What does not come to
/// rest `within` that is the audit's to tell. Returns how long the orders took.
pub async fn close(mesh: &Mesh, world: &World, within: Duration) -> Duration {
    world.closing.cancel();
    let begun = Instant::now();
    let rest = match timeout(within, come_to_rest(mesh, world)).await {
        Ok(()) => begun.elapsed(),
        Err(_) => within,
    };
    world.tasks.close();
    if timeout(WATCHERS_END_WITHIN, world.tasks.wait()).await.is_err() {
        world.over.cancel();
        world.tasks.wait().await;
    }
    rest
}

/// Whether the platform has yet to enter it into the POS.
pub(crate) fn is_to_be_entered(order: &Order) -> bool {
    order.pos_entry() == PosEntry::Due && order.attention.is_empty()
}

/// Waits until every process serves, and no order is on its way, to the kitchen or into the POS, that no person was told of.
async fn come_to_rest(mesh: &Mesh, world: &World) {
    use OrderState::{Held, InDoubt, Pending, Sending};
    while mesh.wait_until_ready().await.is_err() {
        sleep(POLL).await;
    }
    loop {
        let on_its_way = facts::orders(&world.replicas[0], &world.store_id, &[Pending, Held, Sending, InDoubt]).await;
        if on_its_way.is_ok_and(|orders| orders.iter().all(|order| !order.attention.is_empty()))
            && facts::orders(&world.replicas[0], &world.store_id, &[])
                .await
                .is_ok_and(|all| !all.iter().any(is_to_be_entered))
        {
            return;
        }
        sleep(POLL).await;
    }
}
