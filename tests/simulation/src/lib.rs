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
mod heard;
mod planted;
mod pos;
mod told;
mod trace;
pub mod worker;
mod world;

use posmesh_proto::order::v1::{Order, OrderState, PosEntry};
use serde::{Deserialize, Serialize};

pub use check::Violation;
pub use coverage::Coverage;
pub use planted::Planted;

use cluster::Cluster;
use faults::Plan;
use pos::Shock;
use world::net::HostId;

/// The guests come in within so long, or the simulation itself is broken.
const SET_UP_MS: u64 = 30_000;
/// Everything comes to rest within so long after the last fault: an order that a person lets be sent again has two minutes.
const REST_MS: u64 = 180_000;
/// Rest that lasts so long is rest.
const CALM_MS: u64 = 4_000;
const AUDIT_MS: u64 = 20_000;

/// What came of one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// Runs one seed to its end, if asked with a bug in it. It is the same run each time only in a process of its own: see
/// [`worker`].
pub fn run(seed: u64, bug: Option<Planted>) -> Report {
    Simulation::new(seed, bug).run()
}

struct Simulation {
    seed: u64,
    cluster: Cluster,
    plan: Plan,
    /// What starts again, and when.
    restarts: Vec<(u64, HostId)>,
    violations: Vec<Violation>,
}

impl Simulation {
    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let cluster = Cluster::new(seed, planted);
        let plan = Plan::of_seed(seed, &cluster.hosts, cluster.pos.profile.breaks_promises);
        Self { seed, cluster, plan, restarts: Vec::new(), violations: Vec::new() }
    }

    fn run(mut self) -> Report {
        let Cluster { trace, pos, printer, .. } = &self.cluster;
        trace.tell("world", || format!("seed {}, {:?}", self.seed, pos.profile));
        printer.iter().for_each(|printer| trace.tell("world", || format!("{:?}", printer.profile)));
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
        self.set_mishaps(self.plan.mishaps_one_in);
        while !self.plan.is_over() {
            self.plan.advance(self.cluster.world.now.ms() - begun_ms, &mut self.cluster);
            self.step();
        }
        self.set_mishaps(0);
        self.cluster.trace.tell("world", || "no more faults".to_owned());
    }

    fn set_mishaps(&self, one_in: u64) {
        let Cluster { pos, printer, .. } = &self.cluster;
        [Some(pos), printer.as_ref()].into_iter().flatten().for_each(|device| device.set_mishaps(one_in));
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
        let is_to_be_entered = |order: &Order| order.pos_entry() == PosEntry::Due;
        let orders = self.cluster.database.orders();
        orders.iter().all(|o| !(is_in_flight(o.state()) || is_to_be_entered(o)) || !o.attention.is_empty())
    }

    fn step(&mut self) {
        self.cluster.world.step();
        let now_ms = self.cluster.world.now.ms();
        let Cluster { pos, printer, hosts, .. } = &self.cluster;
        let mut shocks: Vec<_> = pos.take_shocks().into_iter().map(|shock| (shock, hosts.pos)).collect();
        if let (Some(printer), Some((_, device))) = (printer, hosts.printer) {
            shocks.extend(printer.take_shocks().into_iter().map(|shock| (shock, device)));
        }
        for (shock, device) in shocks {
            self.shake(shock, device, now_ms);
        }
        self.break_promises();
        for (_, host) in self.restarts.extract_if(.., |(at, _)| *at <= now_ms) {
            if !self.cluster.world.is_up(host) {
                self.cluster.world.start(host);
            }
        }
    }

    /// Lets the POS record what it kept back where that does most harm: when the platform believes that it is not there.
    fn break_promises(&mut self) {
        use OrderState as S;
        let Cluster { pos, database, trace, .. } = &self.cluster;
        let kept_back = pos.book().kept_back();
        for order_id in kept_back {
            let Some(order) = database.order(&order_id) else { continue };
            let dice = chance::mix(&[self.seed, chance::text(&order_id)]);
            let records = match order.state() {
                // A round may have to wait for its turn once more.
                S::Pending if !order.check_id.is_empty() && !dice.is_multiple_of(8) => continue,
                S::Pending | S::Held => true,
                S::Rejected | S::Expired | S::Cancelled => dice.is_multiple_of(2),
                S::Placed | S::InPreparation | S::Ready | S::Completed => false,
                S::Unspecified | S::Sending | S::InDoubt => continue,
            };
            if records {
                trace.tell("pos", || format!("{} is recorded against the promise", trace::short(&order_id)));
            }
            pos.book().let_go(&order_id, records);
        }
    }

    /// Does to a host what a mishap at the POS, or at the printer, asks for.
    fn shake(&mut self, shock: Shock, device: HostId, now_ms: u64) {
        let (hosts, database) = (self.cluster.hosts.clone(), self.cluster.database.clone());
        let sender = |order_id: &str| database.sender(order_id).map(|replica| hosts.orders[replica]);
        let length_ms = 500 + chance::mix(&[self.seed, now_ms]) % 4_000;
        match shock {
            Shock::PosCrashes => self.kill(device, now_ms + length_ms),
            Shock::SenderCrashes(order_id) => {
                let host = sender(&order_id);
                host.into_iter().for_each(|host| self.kill(host, now_ms + length_ms));
            }
            Shock::SenderStops { order_id, suspended } => {
                // Longer than its lease.
                let until_ms = now_ms + 5_000 + length_ms;
                let host = sender(&order_id);
                host.into_iter().for_each(|host| self.cluster.world.stop_until(host, until_ms, suspended));
            }
        }
    }

    fn kill(&mut self, host: HostId, restart_ms: u64) {
        self.cluster.world.crash(host, false);
        self.restarts.push((restart_ms, host));
    }

    fn broken(&mut self, what: &str) {
        self.violations.push(Violation::new("I2", what));
    }

    fn report(mut self) -> Report {
        self.violations.extend(check::check(&self.cluster));
        let coverage = Coverage::of(&self.cluster, &self.plan);
        Report {
            seed: self.seed,
            orders: self.cluster.guests.orders(),
            faults: self.plan.count() + self.cluster.mishaps().len(),
            simulated_ms: self.cluster.world.now.ms(),
            trace_hash: self.cluster.trace.hash(),
            trace: self.cluster.trace.text(),
            violations: self.violations,
            coverage,
        }
    }
}
