//! What goes wrong, and when: a plan that follows from the seed alone.

mod inject;

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

pub use inject::{Exit, Injector};

/// A process, or one of several of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Of the store service.
    Store,
    /// Of the catalog.
    Catalog,
    /// A replica of the order service.
    Order,
    /// A replica of the router.
    Router,
    /// An instance of the adapter.
    Adapter,
    /// Of the gateway.
    Gateway,
    /// simpos.
    Pos,
    /// The printer that stands in for it.
    Fallback,
}

/// A wire, or one of several of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hop {
    /// From the gateway to an order replica.
    GatewayOrder,
    /// From an order replica to a router replica.
    OrderRouter,
    /// From the routers to an adapter.
    RouterAdapter,
    /// From the adapters to the POS.
    AdapterPos,
    /// From the printer's adapter to the printer.
    AdapterFallback,
    /// From a service to PostgreSQL.
    Database,
}

/// What simpos does to the next submits, or for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PosFault {
    /// Dies before it records.
    CrashBeforeRecord,
    /// Dies when it has recorded, without an answer.
    CrashAfterRecord,
    /// Records, and the answer is lost.
    LoseAnswer,
    /// Breaks the connection and records nothing.
    DropRequest,
    /// Breaks the connection and records later.
    RecordLate,
    /// Takes its time.
    Slow,
    /// Refuses for now.
    RefuseForNow,
    /// Refuses for good.
    Reject,
    /// Takes a few orders a second only.
    LimitRate,
    /// Its day is closed for a while.
    CloseDay,
    /// Its master data is loaded for a while.
    UpdateMaster,
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// SIGKILL, and started again after a while.
    Kill(Target),
    /// SIGTERM, and started again when it has ended.
    Restart(Target),
    /// SIGSTOP for longer than a lease, then SIGCONT.
    Freeze(Target),
    /// SIGSTOP for longer than a lease while a write of it is held on the wire; the write arrives when it goes on.
    FreezeMidWrite(Hop),
    /// PostgreSQL is stopped in order, and started again.
    StopDatabase,
    /// PostgreSQL is ended as by a crash, and recovers.
    CrashDatabase,
    /// All connections are reset.
    Cut(Hop),
    /// Connections stay, answers vanish.
    LoseAnswers(Hop),
    /// Connections stay, requests vanish.
    LoseRequests(Hop),
    /// Every byte comes later.
    SlowDown(Hop),
    /// Connections are refused.
    Refuse(Hop),
    /// Connections are neither taken nor refused.
    Blackhole(Hop),
    /// The POS's own.
    Pos(PosFault),
}

impl Fault {
    /// As it is counted.
    pub fn name(self) -> String {
        match self {
            Self::Kill(target) => format!("kill {target:?}"),
            Self::Restart(target) => format!("restart {target:?}"),
            Self::Freeze(target) => format!("freeze {target:?}"),
            Self::FreezeMidWrite(hop) => format!("freeze mid-write {hop:?}"),
            Self::StopDatabase => "database stop".to_owned(),
            Self::CrashDatabase => "database crash".to_owned(),
            Self::Cut(hop) => format!("cut {hop:?}"),
            Self::LoseAnswers(hop) => format!("half-open, answers lost {hop:?}"),
            Self::LoseRequests(hop) => format!("half-open, requests lost {hop:?}"),
            Self::SlowDown(hop) => format!("delay {hop:?}"),
            Self::Refuse(hop) => format!("refuse {hop:?}"),
            Self::Blackhole(hop) => format!("blackhole {hop:?}"),
            Self::Pos(fault) => format!("pos {fault:?}"),
        }
    }
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// After the beginning.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// Decides which of several targets, and for how long.
    pub dice: u64,
}

/// So many faults in each minute, evenly spread, some of them at the fallback where there is one. They are dealt from a deck of all kinds, which is shuffled anew when it is
/// used up: each kind comes about equally often.
pub fn plan(seed: u64, duration: Duration, per_minute: u32, fallback: bool) -> Vec<Planned> {
    let mut dice = StdRng::seed_from_u64(seed);
    let step = Duration::from_secs(60) / per_minute.max(1);
    let mut deck = Vec::new();
    let mut plan = Vec::new();
    let mut at = step;
    while at < duration {
        if deck.is_empty() {
            deck = all(fallback);
            deck.shuffle(&mut dice);
        }
        if let Some(fault) = deck.pop() {
            plan.push(Planned { at, fault, dice: dice.random() });
        }
        at += step.mul_f64(dice.random_range(0.5..1.5));
    }
    plan
}

fn all(fallback: bool) -> Vec<Fault> {
    use Hop::{AdapterPos, Database, GatewayOrder, OrderRouter, RouterAdapter};
    use PosFault as P;
    use Target::{Adapter, Catalog, Gateway, Order, Pos, Router, Store};
    let mut all = vec![Fault::StopDatabase, Fault::CrashDatabase];
    // The replicas that matter most are hit most.
    all.extend([Order, Order, Router, Adapter, Gateway, Catalog, Store, Pos].map(Fault::Kill));
    all.extend([Order, Router, Adapter, Gateway, Catalog].map(Fault::Restart));
    all.extend([Order, Order, Router, Adapter, Gateway, Catalog, Pos].map(Fault::Freeze));
    all.extend([OrderRouter, RouterAdapter, AdapterPos].map(Fault::FreezeMidWrite));
    for hop in [GatewayOrder, OrderRouter, RouterAdapter, AdapterPos, Database] {
        all.extend([Fault::Cut(hop), Fault::LoseAnswers(hop), Fault::LoseRequests(hop)]);
        all.extend([Fault::SlowDown(hop), Fault::Refuse(hop), Fault::Blackhole(hop)]);
    }
    let crashes = [P::CrashBeforeRecord, P::CrashAfterRecord, P::LoseAnswer, P::LoseAnswer, P::DropRequest];
    let others = [P::RecordLate, P::Slow, P::RefuseForNow, P::Reject, P::LimitRate, P::CloseDay, P::UpdateMaster];
    all.extend(crashes.into_iter().chain(others).map(Fault::Pos));
    if fallback {
        all.extend([Fault::Kill(Target::Fallback), Fault::LoseAnswers(Hop::AdapterFallback)]);
        all.extend([Fault::Cut(Hop::AdapterFallback), Fault::Refuse(Hop::AdapterFallback)]);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_plan_and_another_one_another() {
        let minute = Duration::from_secs(60);
        assert_eq!(plan(7, minute, 80, true), plan(7, minute, 80, true));
        assert_ne!(plan(7, minute, 80, true), plan(8, minute, 80, true));
    }

    #[test]
    fn each_kind_of_fault_occurs_in_a_minute() {
        for seed in 0..20 {
            let planned: HashSet<Fault> =
                plan(seed, Duration::from_secs(60), 80, true).into_iter().map(|planned| planned.fault).collect();
            assert_eq!(planned, all(true).into_iter().collect(), "seed {seed}");
        }
    }
}
