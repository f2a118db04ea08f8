//! One outage, looked at closely: the POS dies under load and comes back. What the link, the gates of all replicas and the
//! callers see of it is a timeline; then the same audit as after chaos.
//!
//! `cargo run -p chaos -- outage`

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use posmesh_e2e::CURRENCY;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{GateState, HoldReason, Order},
};
use tokio::time::{Instant, sleep};

use crate::{
    REST_WITHIN,
    audit::{self, Facts, Findings},
    book::{Request, What},
    callers::{self, BRISK, World},
    close, facts,
    stage::{Cast, ITEMS, STORE_ID, Stage},
    timeline::Timeline,
    watch,
};

/// Undisturbed load before the outage, and after it.
const LOAD: Duration = Duration::from_secs(5);
/// When the POS answers again, all gates are open within this: two probes, their probation, and what a busy machine takes.
const OPENS_WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// An outage.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Decides what the callers do.
    pub seed: u64,
    /// Callers who order Kiosk and ToGo.
    pub persons: usize,
    /// How long the POS is away.
    pub away: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was seen, and when.
    pub timeline: Timeline,
    /// Requests that a closed gate refused.
    pub refused: usize,
    /// Orders that were taken and kept while the POS was away, and those of them that it got afterwards.
    pub held: (usize, usize),
    /// What the audit found.
    pub findings: Findings,
}

impl Outcome {
    /// Whether nothing happened that must not.
    pub fn is_clean(&self) -> bool {
        self.findings.violations.is_empty()
    }
}

/// Makes it. Each line of the timeline is printed as it happens.
///
/// # Errors
/// When the stage cannot be set, or the gates do not open again.
pub async fn run(settings: &Settings) -> Result<Outcome> {
    let stage = Arc::new(Stage::set(Cast::default()).await.context("the stage cannot be set")?);
    let world = World::new(&stage.mesh, STORE_ID, &ITEMS, CURRENCY, settings.seed, BRISK).await?;
    let timeline = Timeline::begin();
    let gates = watch::all(&stage.mesh, &world, &timeline)?;
    callers::begin(&world, settings.persons, &[], &stage.pos);
    sleep(LOAD).await;

    stage.pos.process().kill()?;
    timeline.begin_again("the POS is killed");
    sleep(settings.away).await;
    let kept = facts::orders(&world.replicas[0], STORE_ID, &[]).await?;
    let kept: Vec<String> = kept.into_iter().filter(is_kept).map(|order| order.order_id).collect();
    timeline.note(format!("{} orders are kept for the POS", kept.len()));
    stage.pos.process().restart()?;
    timeline.note("the POS is started");
    let begun = Instant::now();
    while !gates.are_all(GateState::Open) {
        ensure!(begun.elapsed() < OPENS_WITHIN, "the gates did not open again:\n{timeline}");
        sleep(POLL).await;
    }
    timeline.note("every gate is open on every replica");
    sleep(LOAD).await;
    close(&stage.mesh, &world, REST_WITHIN).await;
    timeline.note("every order is at rest");

    let facts = facts::gather(&world, &stage).await?;
    let requests = world.book.read();
    let delivered = kept.iter().filter(|order_id| is_at_pos(&facts, order_id)).count();
    Ok(Outcome {
        timeline,
        refused: requests.iter().filter(|request| was_refused(request)).count(),
        held: (kept.len(), delivered),
        findings: audit::audit(&requests, &facts),
    })
}

fn is_kept(order: &Order) -> bool {
    order.hold_reason() == HoldReason::Link && order.product() == Product::ToGo
}

fn is_at_pos(facts: &Facts, order_id: &str) -> bool {
    facts.at_pos.iter().any(|at_pos| at_pos.reference == order_id)
}

/// Whether a closed gate refused it.
pub(crate) fn was_refused(request: &Request) -> bool {
    request.told.iter().any(|told| matches!(&told.what, What::Refused(why) if why.contains("GATE_CLOSED")))
}
