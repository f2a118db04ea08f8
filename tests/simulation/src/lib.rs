//! Deterministic simulation of the mesh: the real order service in three replicas, two routers, two adapters of the
//! simulator vendor, stores and catalogs, on simulated hosts, network and time, with a POS that has exactly the
//! properties of its descriptor. Guests order, repeat, take back and watch while everything breaks; then all faults end
//! and everything must come to rest. After each run the invariants I1 to I6 of the design are checked.
//!
//! One seed is one run, and the same seed is the same run.

mod adapter;
mod chance;
mod check;
mod cluster;
mod coverage;
mod database;
mod faults;
mod guests;
mod planted;
mod pos;
mod told;
mod trace;
mod world;

use posmesh_proto::order::v1::OrderState;

pub use check::Violation;
pub use coverage::Coverage;
pub use planted::Planted;

use cluster::Cluster;
use faults::Plan;

/// The guests come in within so long, or the simulation itself is broken.
const SET_UP_MS: u64 = 30_000;
/// Everything comes to rest within so long after the last fault and the last guest.
const REST_MS: u64 = 120_000;
/// Rest that lasts so long is rest.
const CALM_MS: u64 = 4_000;
const AUDIT_MS: u64 = 20_000;

/// What came of one seed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Orders that guests wanted.
    pub orders: usize,
    /// Faults, those of single submits at the POS included.
    pub faults: usize,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Of everything that happened.
    pub trace_hash: u64,
    /// What happened, a line each.
    pub trace: String,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// What occurred.
    pub coverage: Coverage,
}

/// Runs one seed to its end.
pub fn run(seed: u64) -> Report {
    Simulation::new(seed, None).run()
}

/// Runs one seed with a bug in it.
pub fn run_with(seed: u64, bug: Planted) -> Report {
    Simulation::new(seed, Some(bug)).run()
}

struct Simulation {
    seed: u64,
    cluster: Cluster,
    plan: Plan,
    /// When the POS starts again.
    pos_starts_ms: Option<u64>,
    violations: Vec<Violation>,
}

impl Simulation {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let cluster = Cluster::new(seed, planted);
        let plan = Plan::of_seed(seed, &cluster.hosts);
        Self { seed, cluster, plan, pos_starts_ms: None, violations: Vec::new() }
    }

    fn run(mut self) -> Report {
        self.cluster.trace.tell("world", || format!("seed {}, {:?}", self.seed, self.cluster.pos.profile));
        if self.until(SET_UP_MS, |this| this.cluster.guests.are_in()) {
            self.faulty_time();
            self.rest();
        } else {
            self.broken("the store was never set up");
        }
        self.report()
    }

    /// Steps until something is so; false if it never is.
    fn until(&mut self, limit_ms: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        let until_ms = self.cluster.world.now.ms() + limit_ms;
        while !is_so(self) {
            if self.cluster.world.now.ms() >= until_ms {
                return false;
            }
            self.step();
        }
        true
    }

    fn faulty_time(&mut self) {
        let begun_ms = self.cluster.world.now.ms();
        self.cluster.pos.set_mishaps(self.plan.mishaps_one_in);
        while !self.plan.is_over() {
            self.plan.advance(self.cluster.world.now.ms() - begun_ms, &mut self.cluster);
            self.step();
        }
        self.cluster.pos.set_mishaps(0);
        self.cluster.trace.tell("world", || "no more faults".to_owned());
    }

    fn rest(&mut self) {
        let calm = |this: &Self| this.cluster.guests.are_done() && this.is_at_rest();
        let until_ms = self.cluster.world.now.ms() + REST_MS;
        let mut calm_since_ms = None;
        while self.cluster.world.now.ms() < until_ms {
            let now_ms = self.cluster.world.now.ms();
            calm_since_ms = if calm(self) { calm_since_ms.or(Some(now_ms)) } else { None };
            if calm_since_ms.is_some_and(|since_ms| now_ms >= since_ms + CALM_MS) {
                break;
            }
            self.step();
        }
        self.cluster.guests.audit();
        if !self.until(AUDIT_MS, |this| this.cluster.guests.have_audited()) {
            self.broken("the replicas could not be asked at the end");
        }
    }

    fn is_at_rest(&self) -> bool {
        use OrderState as S;
        let is_in_flight = |state| matches!(state, S::Pending | S::Held | S::Sending | S::InDoubt);
        self.cluster.database.orders().iter().all(|o| !is_in_flight(o.state()) || !o.attention.is_empty())
    }

    fn step(&mut self) {
        self.cluster.world.step();
        let (now_ms, pos) = (self.cluster.world.now.ms(), self.cluster.hosts.pos);
        if self.cluster.pos.take_crash() {
            self.cluster.world.crash(pos, false);
            self.pos_starts_ms = Some(now_ms + 500 + chance::mix(&[self.seed, now_ms]) % 3_000);
        }
        if self.pos_starts_ms.is_some_and(|at| at <= now_ms) {
            self.pos_starts_ms = None;
            if !self.cluster.world.is_up(pos) {
                self.cluster.world.start(pos);
            }
        }
    }

    fn broken(&mut self, what: &str) {
        self.violations.push(Violation { invariant: "I2", what: what.to_owned() });
    }

    fn report(mut self) -> Report {
        self.violations.extend(check::check(&self.cluster));
        let coverage = Coverage::of(&self.cluster, &self.plan);
        Report {
            seed: self.seed,
            orders: self.cluster.guests.orders(),
            faults: self.plan.count() + self.cluster.pos.mishaps().len(),
            simulated_ms: self.cluster.world.now.ms(),
            trace_hash: self.cluster.trace.hash(),
            trace: self.cluster.trace.text(),
            violations: self.violations,
            coverage,
        }
    }
}
