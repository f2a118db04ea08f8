//! The simulated world: hosts that each run real code on a runtime of their own, whose time moves only as the
//! simulation says. A host can crash and start again, stand still and go on, and have a clock that is wrong.

pub(crate) mod net;

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use posmesh_kit::ambient::{self, Connecting};
use posmesh_kit_db::Clock;
use tokio::{runtime::Runtime, time::Instant};

use crate::chance::{self, Dice};
use net::{HostId, Net};

/// One step while something is under way. All delays are whole steps in effect.
const STEP_MS: u64 = 5;
/// One step while nothing was under way for a while.
const IDLE_STEP_MS: u64 = 25;
/// So many quiet steps make it idle.
const IDLE_AFTER: u32 = 20;
/// When every simulation begins: 2025-11-22 10:00 in Tokyo, a busy morning.
const EPOCH_UNIX_MS: i64 = 1_763_773_200_000;

/// The time since the simulation's begin, the same for all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Now(Arc<AtomicU64>);

impl Now {
    pub(crate) fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The true wall clock.
    pub(crate) fn unix_ms(&self) -> i64 {
        EPOCH_UNIX_MS + i64::try_from(self.ms()).unwrap_or(i64::MAX)
    }

    /// For storages that several hosts share.
    pub(crate) fn clock(&self) -> Clock {
        let now = self.clone();
        Clock::new(move || Duration::from_millis(now.ms()))
    }
}

/// What a host runs, from its start to its crash.
pub(crate) type Software = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>>>;

/// All hosts, their network and their time.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) net: Net,
    seed: u64,
    hosts: Vec<Host>,
    steps: u64,
    quiet_steps: u32,
}

struct Host {
    software: Software,
    surroundings: Rc<Surroundings>,
    runtime: Option<Runtime>,
    /// The runtime's own time at its begin.
    begun: Option<Instant>,
    /// By how much the runtime's own time is behind the world's.
    behind_ms: u64,
    starts: u64,
    crashed_ms: Option<u64>,
    still: Option<Still>,
}

/// A host that does nothing for a while.
struct Still {
    since_ms: u64,
    until_ms: u64,
    /// Its monotonic clock stands, too, as that of a suspended machine does. Otherwise it is a stopped process.
    suspended: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let net = Net::new(seed);
        Self { now: Now::default(), net, seed, hosts: Vec::new(), steps: 0, quiet_steps: 0 }
    }

    /// Adds a host that is known by these names, and starts it.
    pub(crate) fn add(&mut self, names: &[&str], software: impl FnOnce(HostId) -> Software) -> HostId {
        let id = self.net.add(names);
        let surroundings = Rc::new(Surroundings {
            net: self.net.clone(),
            host: id,
            now: self.now.clone(),
            ahead_ms: Cell::new(0),
            dice: RefCell::new(Dice::new(&[])),
        });
        self.hosts.push(Host {
            software: software(id),
            surroundings,
            runtime: None,
            begun: None,
            behind_ms: 0,
            starts: 0,
            crashed_ms: None,
            still: None,
        });
        self.start(id);
        id
    }

    /// Starts a host that is down.
    pub(crate) fn start(&mut self, id: HostId) {
        self.net.start(id);
        let host = &mut self.hosts[id];
        host.starts += 1;
        host.surroundings.dice.replace(Dice::new(&[self.seed, chance::text("host"), id as u64, host.starts]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        #[allow(clippy::expect_used)] // It opens nothing: there is nothing that could fail.
        let runtime = runtime.expect("a runtime without drivers can be built");
        host.behind_ms = self.now.ms();
        ambient::within(Rc::clone(&host.surroundings) as Rc<dyn ambient::World>, || {
            host.begun = Some(runtime.block_on(async { Instant::now() }));
            runtime.spawn((host.software)());
        });
        host.runtime = Some(runtime);
        host.still = None;
    }

    /// Ends a host's processes at once.
    pub(crate) fn crash(&mut self, id: HostId, power_cut: bool) {
        self.net.crash(id, power_cut);
        let host = &mut self.hosts[id];
        host.crashed_ms = Some(self.now.ms());
        let runtime = host.runtime.take();
        ambient::within(Rc::clone(&host.surroundings) as Rc<dyn ambient::World>, || drop(runtime));
    }

    /// Whether the host has not crashed since a time.
    pub(crate) fn is_up_since(&self, id: HostId, ms: u64) -> bool {
        self.hosts[id].crashed_ms.is_none_or(|crashed_ms| crashed_ms < ms)
    }

    pub(crate) fn is_up(&self, id: HostId) -> bool {
        self.hosts[id].runtime.is_some()
    }

    /// Lets a host stand still until a time.
    pub(crate) fn stop_until(&mut self, id: HostId, until_ms: u64, suspended: bool) {
        self.hosts[id].still.get_or_insert(Still { since_ms: self.now.ms(), until_ms, suspended });
    }

    /// Sets a host's wall clock ahead of the true one, or back.
    pub(crate) fn set_clock(&mut self, id: HostId, ahead_ms: i64) {
        self.hosts[id].surroundings.ahead_ms.set(ahead_ms);
    }

    /// One step of everything.
    pub(crate) fn step(&mut self) {
        self.quiet_steps = if self.net.is_quiet() { self.quiet_steps + 1 } else { 0 };
        let length_ms = if self.quiet_steps > IDLE_AFTER { IDLE_STEP_MS } else { STEP_MS };
        self.steps += 1;
        let now_ms = self.now.ms();
        self.net.advance(now_ms);
        // Another order in each step, so that nobody is always first.
        let mut order: Vec<HostId> = (0..self.hosts.len()).collect();
        order.sort_by_key(|id| chance::mix(&[self.seed, self.steps, *id as u64]));
        for id in order {
            self.hosts[id].run(now_ms, now_ms + length_ms);
        }
        self.now.0.store(now_ms + length_ms, Ordering::Relaxed);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for id in 0..self.hosts.len() {
            self.crash(id, true);
        }
    }
}

impl Host {
    /// Runs the host's code from one time of the world to another.
    fn run(&mut self, from_ms: u64, to_ms: u64) {
        let (Some(runtime), Some(begun)) = (&self.runtime, self.begun) else { return };
        let mut jump = None;
        if let Some(still) = &self.still {
            if from_ms < still.until_ms {
                return;
            }
            let gap_ms = from_ms - still.since_ms;
            if still.suspended {
                self.behind_ms += gap_ms;
            } else {
                jump = Some(Duration::from_millis(gap_ms));
            }
            self.still = None;
        }
        let until = begun + Duration::from_millis(to_ms - self.behind_ms);
        ambient::within(Rc::clone(&self.surroundings) as Rc<dyn ambient::World>, || {
            runtime.block_on(async {
                if let Some(gap) = jump {
                    tokio::time::advance(gap).await;
                }
                tokio::time::sleep_until(until).await;
            });
        });
    }
}

/// What the code of one host takes from the world.
struct Surroundings {
    net: Net,
    host: HostId,
    now: Now,
    ahead_ms: Cell<i64>,
    dice: RefCell<Dice>,
}

impl ambient::World for Surroundings {
    fn unix_ms(&self) -> i64 {
        self.now.unix_ms() + self.ahead_ms.get()
    }

    fn random(&self) -> u64 {
        self.dice.borrow_mut().next()
    }

    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.net.resolve(host, port)
    }

    fn connect(&self, address: SocketAddr) -> Connecting {
        let (net, host) = (self.net.clone(), self.host);
        Box::pin(async move { Ok(Box::new(net.connect(host, address).await?) as Box<dyn ambient::Wire>) })
    }
}
