//! Makes faults happen to a stage, and undoes them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use posmesh_e2e::{Process, Proxy};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Fault, Hop, Planned, PosFault, Target};
use crate::stage::{LEASE_MS, Stage};

/// How long a write is waited for that shall be held on the wire.
const WRITE_COMES: Duration = Duration::from_secs(5);
/// How long a process may take that was asked to end.
const ENDS: Duration = Duration::from_secs(20);
/// How soon what ended by itself is started again.
const SUPERVISION: Duration = Duration::from_millis(100);
/// In every order that a caller places.
const WORD_OF_AN_ORDER: &str = "chaos-";
/// The request line of a submit to simpos.
const WORD_OF_A_SUBMIT: &str = "POST /api/orders ";

/// A process that ended without having been killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit {
    /// Its name.
    pub process: String,
    /// How it ended.
    pub status: String,
}

/// Injects faults, and counts them.
#[derive(Debug)]
pub struct Injector {
    stage: Arc<Stage>,
    /// One fault at a time for each process and wire.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    counts: Mutex<BTreeMap<String, usize>>,
    exits: Mutex<BTreeMap<Exit, usize>>,
    tasks: TaskTracker,
}

impl Injector {
    /// For a stage.
    pub fn new(stage: &Arc<Stage>) -> Arc<Self> {
        Arc::new(Self {
            stage: Arc::clone(stage),
            turns: Mutex::default(),
            counts: Mutex::default(),
            exits: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Carries out a plan; returns when every fault has been undone.
    pub async fn carry_out(self: &Arc<Self>, plan: &[Planned]) {
        let begun = Instant::now();
        for planned in plan {
            tokio::time::sleep_until(begun + planned.at).await;
            let (this, planned) = (Arc::clone(self), *planned);
            self.tasks.spawn(async move {
                match this.inject(planned.fault, StdRng::seed_from_u64(planned.dice)).await {
                    Ok(()) => *lock(&this.counts).entry(planned.fault.name()).or_default() += 1,
                    Err(error) => eprintln!("chaos: {} did not happen: {error:#}", planned.fault.name()),
                }
            });
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Starts again what ended by itself, as whatever runs services in production does, until `over`.
    pub async fn supervise(&self, over: &CancellationToken) {
        while !over.is_cancelled() {
            for process in self.processes() {
                let turn = self.turn(process.name());
                let Ok(_turn) = turn.try_lock() else { continue };
                if let Ok(Some(status)) = process.ended() {
                    let exit = Exit { process: process.name().to_owned(), status: status.to_string() };
                    *lock(&self.exits).entry(exit).or_default() += 1;
                    if let Err(error) = process.restart() {
                        eprintln!("chaos: {} does not start again: {error:#}", process.name());
                    }
                }
            }
            sleep(SUPERVISION).await;
        }
    }

    /// How many faults of each kind happened.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        lock(&self.counts).clone()
    }

    /// What ended by itself, and how often.
    pub fn exits(&self) -> BTreeMap<Exit, usize> {
        lock(&self.exits).clone()
    }

    async fn inject(&self, fault: Fault, mut dice: StdRng) -> Result<()> {
        let lasts = Duration::from_millis(dice.random_range(200..3000));
        match fault {
            Fault::Kill(target) => {
                let process = self.pick(target, &mut dice)?;
                let turn = self.turn(process.name());
                let _turn = turn.lock().await;
                process.kill()?;
                sleep(lasts / 2).await;
                process.restart()
            }
            Fault::Restart(target) => {
                let process = self.pick(target, &mut dice)?;
                let turn = self.turn(process.name());
                let _turn = turn.lock().await;
                process.terminate()?;
                let until = Instant::now() + ENDS;
                while process.ended()?.is_none() {
                    anyhow::ensure!(Instant::now() < until, "{} does not end when it is asked to", process.name());
                    sleep(Duration::from_millis(20)).await;
                }
                process.restart()
            }
            Fault::Freeze(target) => {
                let process = self.pick(target, &mut dice)?;
                let turn = self.turn(process.name());
                let _turn = turn.lock().await;
                process.freeze()?;
                sleep(Duration::from_millis(LEASE_MS) + lasts / 2).await;
                process.thaw()
            }
            Fault::FreezeMidWrite(hop) => self.freeze_mid_write(hop, lasts, &mut dice).await,
            Fault::StopDatabase => self.database(lasts, |postgres| postgres.stop()).await,
            Fault::CrashDatabase => self.database(lasts, |postgres| postgres.crash()).await,
            Fault::Pos(fault) => self.at_the_pos(fault, lasts).await,
            Fault::Cut(hop)
            | Fault::LoseAnswers(hop)
            | Fault::LoseRequests(hop)
            | Fault::SlowDown(hop)
            | Fault::Refuse(hop)
            | Fault::Blackhole(hop) => self.on_the_wire(fault, hop, lasts, &mut dice).await,
        }
    }

    async fn on_the_wire(&self, fault: Fault, hop: Hop, lasts: Duration, dice: &mut StdRng) -> Result<()> {
        let wires = self.wires(hop);
        let (name, proxy) = wires.get(dice.random_range(0..wires.len().max(1))).context("no such wire")?;
        let turn = self.turn(name);
        let _turn = turn.lock().await;
        match fault {
            Fault::LoseAnswers(_) => proxy.lose_answers(),
            Fault::LoseRequests(_) => proxy.lose_requests(),
            Fault::SlowDown(_) => proxy.slow_down(Duration::from_millis(dice.random_range(20..400))),
            Fault::Refuse(_) => proxy.shut().await,
            Fault::Blackhole(_) => proxy.block().await,
            _ => {
                proxy.cut();
                return Ok(());
            }
        }
        sleep(lasts).await;
        if matches!(fault, Fault::LoseAnswers(_) | Fault::LoseRequests(_)) {
            proxy.cut();
        }
        proxy.forward().await;
        Ok(())
    }

    /// Holds a write on the wire, freezes whoever sent it for longer than a lease, lets the write go on and the sender, too.
    async fn freeze_mid_write(&self, hop: Hop, lasts: Duration, dice: &mut StdRng) -> Result<()> {
        let order = dice.random_range(1..=self.stage.mesh.order_addresses().len());
        let (senders, word): (Vec<String>, _) = match hop {
            Hop::OrderRouter => (vec![format!("order-{order}")], WORD_OF_AN_ORDER),
            Hop::RouterAdapter => (vec!["router-1".into(), "router-2".into()], WORD_OF_AN_ORDER),
            _ => (vec!["adapter-simulator-1".into(), "adapter-simulator-2".into()], WORD_OF_A_SUBMIT),
        };
        let mut wires = self.wires(hop);
        wires.retain(|(name, _)| hop != Hop::OrderRouter || name.starts_with(&senders[0]));
        let names = senders.iter().chain(wires.iter().map(|(name, _)| name));
        let turns: Vec<_> = names.map(|name| self.turn(name)).collect();
        let mut held = Vec::new();
        for turn in &turns {
            held.push(turn.lock().await);
        }
        wires.iter().for_each(|(_, proxy)| proxy.hold_at(word));
        let caught = futures_util::future::select_all(wires.iter().map(|(_, proxy)| Box::pin(proxy.caught())));
        let came = timeout(WRITE_COMES, caught).await;
        let senders: Vec<&Process> =
            self.processes().filter(|process| senders.iter().any(|s| s == process.name())).collect();
        if came.is_ok() {
            senders.iter().try_for_each(|process| process.freeze())?;
            sleep(Duration::from_millis(LEASE_MS) + lasts / 2).await;
        }
        for (_, proxy) in &wires {
            proxy.forward().await;
        }
        senders.iter().try_for_each(|process| process.thaw())?;
        came.map(drop).context("no write came by")
    }

    async fn database(
        &self,
        lasts: Duration,
        end: impl FnOnce(&posmesh_counterparts::Postgres) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let turn = self.turn("database");
        let _turn = turn.lock().await;
        let postgres = Arc::clone(&self.stage.postgres);
        tokio::task::spawn_blocking(move || end(&postgres)).await??;
        sleep(lasts / 2).await;
        let postgres = Arc::clone(&self.stage.postgres);
        tokio::task::spawn_blocking(move || postgres.restart()).await?
    }

    async fn at_the_pos(&self, fault: PosFault, lasts: Duration) -> Result<()> {
        let delay_ms = u64::try_from(lasts.as_millis()).unwrap_or(1000);
        let (rule, stands) = match fault {
            PosFault::CrashBeforeRecord => (json!({ "kind": "crash_before_record", "times": 1 }), false),
            PosFault::CrashAfterRecord => (json!({ "kind": "crash_after_record", "times": 1 }), false),
            PosFault::LoseAnswer => (json!({ "kind": "drop_answer_after_record", "times": 5 }), false),
            PosFault::DropRequest => (json!({ "kind": "drop_before_record", "times": 5 }), false),
            PosFault::RecordLate => (json!({ "kind": "record_late", "delay_ms": delay_ms, "times": 5 }), false),
            PosFault::Slow => (json!({ "kind": "delay", "delay_ms": delay_ms, "times": 5 }), false),
            PosFault::RefuseForNow => {
                (json!({ "kind": "refuse", "cause": "RATE_LIMITED", "retry_after_ms": 300, "times": 8 }), false)
            }
            PosFault::Reject => (json!({ "kind": "refuse", "cause": "ITEM_SOLD_OUT", "times": 4 }), false),
            PosFault::LimitRate => (json!({ "kind": "rate_limit", "per_second": 4 }), true),
            PosFault::CloseDay => (json!({ "kind": "business_day_closed" }), true),
            PosFault::UpdateMaster => (json!({ "kind": "master_updating" }), true),
        };
        let id = self.ask_pos(Method::POST, "/control/faults", Some(&rule)).await?["id"].clone();
        if stands {
            sleep(lasts).await;
            // Rules end with the process: a POS that was started again meanwhile knows of none.
            self.ask_pos(Method::DELETE, &format!("/control/faults/{id}"), None).await?;
        }
        Ok(())
    }

    /// Asks the POS as soon as it answers: it may be down for other reasons.
    async fn ask_pos(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let until = Instant::now() + ENDS;
        loop {
            match self.stage.pos.try_ask(method.clone(), path, body).await {
                Err(_) if Instant::now() < until => sleep(Duration::from_millis(100)).await,
                answer => return answer,
            }
        }
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.stage.processes()
    }

    fn pick(&self, target: Target, dice: &mut StdRng) -> Result<&Process> {
        let begins = match target {
            Target::Store => "store",
            Target::Catalog => "catalog",
            Target::Order => "order-",
            Target::Router => "router-",
            Target::Adapter => "adapter-simulator-",
            Target::Gateway => "gateway",
            Target::Pos => return Ok(self.stage.pos.process()),
            Target::Fallback => {
                let fallback = self.stage.fallback.as_ref().context("the store has no fallback")?;
                return Ok(fallback.device.process());
            }
        };
        let of_kind: Vec<&Process> =
            self.stage.mesh.processes().iter().filter(|process| process.name().starts_with(begins)).collect();
        let picked = of_kind.get(dice.random_range(0..of_kind.len().max(1))).copied();
        picked.with_context(|| format!("the mesh has no process {begins}"))
    }

    /// The wires of a hop, by name.
    fn wires(&self, hop: Hop) -> Vec<(String, &Proxy)> {
        let (from, to) = match hop {
            Hop::GatewayOrder => ("gateway", "order-"),
            Hop::OrderRouter => ("order-", "router-"),
            Hop::RouterAdapter => ("router", "adapter-simulator-"),
            Hop::Database => ("", "database"),
            Hop::AdapterPos => return vec![("adapter to pos".to_owned(), &*self.stage.pos_wire)],
            Hop::AdapterFallback => {
                let fallback = self.stage.fallback.iter();
                return fallback.map(|fallback| ("adapter to fallback".to_owned(), &fallback.wire)).collect();
            }
        };
        let wires = self.stage.mesh.wires().iter();
        let of_hop = wires.filter(|wire| wire.from.starts_with(from) && wire.to.starts_with(to));
        of_hop.map(|wire| (format!("{} to {}", wire.from, wire.to), &wire.proxy)).collect()
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.turns).entry(name.to_owned()).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
