//! A long outage with a fallback: the POS dies under load, a printer in the kitchen stands in for it, and the POS comes
//! back and is told. The timeline of it; then the audit over both devices.
//!
//! `cargo run -p chaos -- fallback`

mod count;
mod disturb;

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use posmesh_e2e::CURRENCY;
use posmesh_proto::order::v1::GateState;
use reqwest::Method;
use tokio::time::{Instant, sleep};

use crate::{
    audit::{self, Findings},
    callers::{self, World, staff},
    close, facts,
    outage::was_refused,
    panicked,
    stage::{Cast, ITEMS, STORE_ID, Stage},
    timeline::Timeline,
    watch::{self, Gates},
};

pub use count::Count;

/// Undisturbed load before the outage, and after it.
const LOAD: Duration = Duration::from_secs(5);
/// How long callers pause, milliseconds: what is diverted in minutes shall be entered in minutes.
const CALM: Range<u64> = 1_000..3_000;
/// All gates divert within this, and are open again: two probes, their probation, and what a busy machine takes.
const TURNS_WITHIN: Duration = Duration::from_secs(90);
/// What the fallback printed is entered within this: 0.3 s for each order, and what becomes of those in doubt.
const ENTERED_WITHIN: Duration = Duration::from_secs(600);
/// Of what came last.
const REST_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A long outage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides what the callers do.
    pub seed: u64,
    /// Callers who order Kiosk and ToGo.
    pub persons: usize,
    /// Tables with a party of two each; at most 12.
    pub parties: usize,
    /// How long the POS is away.
    pub away: Duration,
    /// The POS cannot leave a ticket out: the staff enter what the fallback printed.
    pub staff: bool,
    /// Answers are lost at the fallback and at the POS, and order replicas killed meanwhile.
    pub faults: bool,
    /// Where the logs of all processes are copied to.
    pub logs: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was seen, and when.
    pub timeline: Timeline,
    /// Requests that a closed gate refused.
    pub refused: usize,
    /// What became of the orders that went to the fallback.
    pub count: Count,
    /// Processes in whose log a panic stands.
    pub panicked: Vec<String>,
    /// What the audit found.
    pub findings: Findings,
}

impl Outcome {
    /// Whether nothing happened that must not.
    pub fn is_clean(&self) -> bool {
        self.findings.violations.is_empty() && self.panicked.is_empty()
    }
}

/// Makes it. Each line of the timeline is printed as it happens.
///
/// # Errors
/// When the stage cannot be set, the gates do not turn, or the POS is not told in time.
pub async fn run(settings: &Settings) -> Result<Outcome> {
    let cast = Cast { fallback: true, staff_enter: settings.staff };
    let stage = Arc::new(Stage::set(cast).await.context("the stage cannot be set")?);
    let outcome = play(settings, &stage).await;
    if let Some(folder) = &settings.logs {
        stage.keep_logs(folder).with_context(|| format!("the logs cannot be copied to {}", folder.display()))?;
    }
    outcome
}

async fn play(settings: &Settings, stage: &Arc<Stage>) -> Result<Outcome> {
    let world = World::new(&stage.mesh, STORE_ID, &ITEMS, CURRENCY, settings.seed, CALM).await?;
    let timeline = Timeline::begin();
    let gates = watch::all(&stage.mesh, &world, &timeline)?;
    callers::begin(&world, settings.persons, &stage.tables[..settings.parties.min(stage.tables.len())], &stage.pos);
    let _staff = settings.staff.then(|| staff::begin(&world, &stage.pos));
    sleep(LOAD).await;
    away(settings, stage, &gates, &timeline).await?;
    back(settings, stage, &world, &gates, &timeline).await?;
    sleep(LOAD).await;
    close(&stage.mesh, &world, REST_WITHIN).await;
    timeline.note("every order is at rest");

    let facts = facts::gather(&world, stage).await?;
    let requests = world.book.read();
    Ok(Outcome {
        timeline,
        refused: requests.iter().filter(|request| was_refused(request)).count(),
        count: Count::of(facts.orders.values().filter_map(|told| told.first())),
        panicked: panicked(stage),
        findings: audit::audit(&requests, &facts),
    })
}

/// The POS dies, and stays away.
async fn away(settings: &Settings, stage: &Arc<Stage>, gates: &Gates, timeline: &Timeline) -> Result<()> {
    let device = &stage.fallback.as_ref().context("the store has no fallback")?.device;
    // Who calls it then is refused, as by a machine that is there without its program.
    stage.pos_wire.shut().await;
    stage.pos.process().kill()?;
    timeline.begin_again("the POS is killed");
    let begun = Instant::now();
    let first_ticket = async {
        loop {
            let tickets = device.try_ask(Method::GET, "/api/tickets?limit=1", None).await.unwrap_or_default();
            if tickets["tickets"].as_array().is_some_and(|tickets| !tickets.is_empty()) {
                return timeline.note("the first ticket comes out of the fallback");
            }
            sleep(POLL).await;
        }
    };
    let (all_divert, ()) = tokio::join!(until_all(gates, GateState::Diverted, timeline), async {
        // There is none where nobody orders.
        let _ = tokio::time::timeout(settings.away, first_ticket).await;
    });
    all_divert?;
    if settings.faults {
        disturb::while_away(stage, settings.away.saturating_sub(begun.elapsed()), timeline).await?;
    }
    tokio::time::sleep_until(begun + settings.away).await;
    Ok(())
}

/// The POS comes back, and is told of everything.
async fn back(
    settings: &Settings,
    stage: &Arc<Stage>,
    world: &Arc<World>,
    gates: &Gates,
    timeline: &Timeline,
) -> Result<()> {
    let printed = Count::at(world).await?;
    timeline.note(format!("meanwhile the fallback has printed {}", printed.in_all()));
    stage.pos.process().restart()?;
    stage.pos_wire.forward().await;
    timeline.note("the POS is started");
    let disturbed = async { if settings.faults { disturb::when_back(stage, timeline).await } else { Ok(()) } };
    let (opened, entered, disturbed) = tokio::join!(
        until_all(gates, GateState::Open, timeline),
        until_entered(settings.staff, world, gates, timeline),
        disturbed
    );
    opened.and(entered).and(disturbed)
}

async fn until_all(gates: &Gates, state: GateState, timeline: &Timeline) -> Result<()> {
    let name = state.as_str_name().trim_start_matches("GATE_STATE_");
    let begun = Instant::now();
    while !gates.are_all(state) {
        ensure!(begun.elapsed() < TURNS_WITHIN, "not every gate became {name}:\n{timeline}");
        sleep(POLL).await;
    }
    timeline.note(format!("every gate is {name} on every replica"));
    Ok(())
}

/// Waits until the platform has nothing left to enter, and nothing more is diverted; with `staff`, until they have nothing
/// left to enter either.
async fn until_entered(staff: bool, world: &World, gates: &Gates, timeline: &Timeline) -> Result<()> {
    /// Progress is told so often.
    const TELLS: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    let (mut told, mut is_begun) = (Instant::now(), false);
    loop {
        // A replica that is killed at this moment does not answer.
        if let Ok(count) = Count::at(world).await {
            if !is_begun && count.is_begun() {
                is_begun = true;
                timeline.note("the POS is told of the first one");
            }
            if count.due == 0 && (!staff || count.on_list == 0) && gates.are_all(GateState::Open) {
                timeline.note(format!("the POS is told of all: {count}"));
                return Ok(());
            }
            if told.elapsed() > TELLS {
                told = Instant::now();
                timeline.note(count.to_string());
            }
            ensure!(begun.elapsed() < ENTERED_WITHIN, "the POS was not told in time: {count}\n{timeline}");
        }
        sleep(POLL * 10).await;
    }
}
