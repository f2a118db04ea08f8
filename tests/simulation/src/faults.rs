//! What goes wrong, and when: drawn from the seed before anything runs.

use crate::{
    chance::{self, Dice},
    cluster::{Cluster, Hosts, ORDERS},
    database::Way,
    world::net::{HostId, Trap},
};

/// Faults come over so long after the guests.
const SPAN_MS: u64 = 26_000;
/// Faults of one seed.
const COUNT: (u64, u64) = (3, 9);
/// By so much a clock may be wrong without anybody noticing: two of them differ by less than the lease margin.
const CLOCK_MARGIN_MS: i64 = 450;
const JUMPS_MS: [i64; 6] = [-86_400_000, -3_600_000, -20_000, 5_000, 60_000, 3_600_000];

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Partition(HostId, HostId),
    /// Nothing goes from the first to the second.
    OneWay(HostId, HostId),
    /// A replica talks to nobody.
    Alone(HostId),
    Slow(HostId, HostId, u64),
    Cut(HostId, HostId),
    /// The next data from the first to the second breaks its connection instead of arriving.
    Lose(HostId, HostId),
    /// The next data from the first to the second arrives so much later; other connections overtake it.
    Delay(HostId, HostId, u64),
    Crash(HostId),
    /// The POS, or the printer that stands in for it, is off for long.
    Away(HostId),
    PowerCut(HostId),
    /// All order replicas at once.
    CrashAll,
    Stop(HostId),
    Suspend(HostId),
    Clock(HostId, i64),
    /// A clock is set by far more than clocks may differ.
    ClockJump(HostId, i64),
    Database(usize, usize),
    TakeOut(usize),
    CloseTable(usize),
    Price(usize, i64),
    SoldOut(usize),
}

impl Fault {
    /// Every kind of it, by name.
    pub(crate) const KINDS: [&str; 19] = [
        "partition",
        "one-way partition",
        "replica alone",
        "slow link",
        "connection cut",
        "message lost with its connection",
        "crash",
        "power cut",
        "crash of all order replicas",
        "process stopped",
        "machine suspended",
        "clock set",
        "order taken out at the till",
        "check closed at the till",
        "price changed",
        "item sold out",
        "message overtaken",
        "clock jump",
        "pos or printer away for long",
    ];

    /// Its name.
    pub(crate) fn kind(self) -> &'static str {
        let index = match self {
            Self::Partition(..) => 0,
            Self::OneWay(..) => 1,
            Self::Alone(_) => 2,
            Self::Slow(..) => 3,
            Self::Cut(..) => 4,
            Self::Lose(..) => 5,
            Self::Crash(_) => 6,
            Self::PowerCut(_) => 7,
            Self::CrashAll => 8,
            Self::Stop(_) => 9,
            Self::Suspend(_) => 10,
            Self::Clock(..) => 11,
            Self::Database(_, way) => return Way::FAULTS[way].1,
            Self::TakeOut(_) => 12,
            Self::CloseTable(_) => 13,
            Self::Price(..) => 14,
            Self::SoldOut(_) => 15,
            Self::Delay(..) => 16,
            Self::ClockJump(..) => 17,
            Self::Away(_) => 18,
        };
        Self::KINDS[index]
    }

    fn draw(dice: &mut Dice, hosts: &Hosts) -> Self {
        let (a, b) = link(dice, hosts);
        let (any, order) = (process(dice, hosts), *dice.pick(&hosts.orders));
        // Where a POS keeps `not_after` by a clock of its own, that clock is part of what its vendor promises.
        let ours = if any == hosts.pos { order } else { any };
        match dice.between(0, 31) {
            0 | 1 => Self::Partition(a, b),
            2 | 3 => Self::OneWay(a, b),
            4 => Self::Alone(order),
            5 => Self::Slow(a, b, dice.between(200, 3_000)),
            6 => Self::Cut(a, b),
            7..=9 => Self::Lose(a, b),
            10 | 11 => Self::Crash(any),
            12 => Self::PowerCut(any),
            13 => Self::CrashAll,
            14..=16 => Self::Stop(any),
            17 => Self::Suspend(any),
            18 => Self::Clock(any, dice.between(0, 2 * CLOCK_MARGIN_MS as u64) as i64 - CLOCK_MARGIN_MS),
            19..=22 => Self::Database(dice.next() as usize % ORDERS, dice.next() as usize % Way::FAULTS.len()),
            23 => Self::TakeOut(dice.next() as usize),
            24 | 31 => Self::CloseTable(dice.next() as usize),
            25 => Self::Delay(a, b, dice.between(1_000, 9_000)),
            26 | 27 => Self::Delay(*dice.pick(&hosts.adapters), hosts.pos, dice.between(4_000, 9_000)),
            28 => Self::ClockJump(ours, *dice.pick(&JUMPS_MS)),
            29 => Self::Price(dice.next() as usize, dice.between(300, 900) as i64),
            _ => Self::SoldOut(dice.next() as usize),
        }
    }
}

/// Two hosts that talk to each other, in either direction.
fn link(dice: &mut Dice, hosts: &Hosts) -> (HostId, HostId) {
    let (order, router, adapter) = (*dice.pick(&hosts.orders), *dice.pick(&hosts.routers), *dice.pick(&hosts.adapters));
    let links = [
        (hosts.guests, order),
        (order, router),
        (order, router),
        (router, adapter),
        (router, adapter),
        (adapter, hosts.pos),
        (adapter, hosts.pos),
        (order, hosts.masters),
    ];
    let (a, b) = *dice.pick(&links);
    if dice.one_in(2) { (a, b) } else { (b, a) }
}

/// Something that can crash or stand still.
fn process(dice: &mut Dice, hosts: &Hosts) -> HostId {
    match dice.between(0, 9) {
        0..=4 => *dice.pick(&hosts.orders),
        5 | 6 => *dice.pick(&hosts.routers),
        7 | 8 => *dice.pick(&hosts.adapters),
        _ => hosts.pos,
    }
}

/// The POS is away for long enough that orders are diverted; the way to the printer breaks, too.
fn around_the_printer(seed: u64, pos: HostId, adapter: HostId, printer: HostId) -> Vec<(u64, u64, Fault)> {
    let mut dice = Dice::new(&[seed, chance::text("away")]);
    let at = dice.between(500, 12_000);
    let until = at + dice.between(5_000, 20_000);
    let mut faults = vec![(at, until, Fault::Away(pos))];
    if dice.one_in(3) {
        let at = dice.between(at, until);
        faults.push((at, at + dice.between(2_000, 12_000), Fault::Away(printer)));
    }
    for _ in 0..dice.between(0, 3) {
        let fault = *dice.pick(&[
            Fault::Lose(adapter, printer),
            Fault::Lose(printer, adapter),
            Fault::Lose(printer, adapter),
            Fault::Partition(adapter, printer),
            Fault::Crash(adapter),
        ]);
        let at = dice.between(at, until);
        faults.push((at, at + dice.between(300, 5_000), fault));
    }
    faults
}

/// What goes wrong in one simulation.
pub(crate) struct Plan {
    /// When they begin, in order; by the time since the guests came in.
    faults: Vec<(u64, u64, Fault)>,
    /// What ends, and when.
    ends: Vec<(u64, Fault)>,
    pub(crate) mishaps_one_in: u64,
    pub(crate) begun: Vec<&'static str>,
}

impl Plan {
    pub(crate) fn of_seed(seed: u64, hosts: &Hosts, breaks_promises: bool) -> Self {
        let mut dice = Dice::new(&[seed, chance::text("faults")]);
        let mut faults: Vec<(u64, u64, Fault)> = (0..dice.between(COUNT.0, COUNT.1))
            .map(|_| {
                let at = dice.between(0, SPAN_MS);
                // Some shorter than a lease, some longer than two.
                let length = *dice.pick(&[300, 1_500, 3_000, 5_000, 9_000]) + dice.between(0, 1_000);
                (at, at + length, Fault::draw(&mut dice, hosts))
            })
            .collect();
        if let Some((adapter, printer)) = hosts.printer {
            faults.extend(around_the_printer(seed, hosts.pos, adapter, printer));
        }
        faults.sort_by_key(|(at, ..)| *at);
        let mishaps_one_in = if breaks_promises { 3 } else { *dice.pick(&[0, 3, 5, 5, 10]) };
        Self { faults, ends: Vec::new(), mishaps_one_in, begun: Vec::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.faults.len()
    }

    /// Nothing more goes wrong.
    pub(crate) fn is_over(&self) -> bool {
        self.faults.len() == self.begun.len() && self.ends.is_empty()
    }

    /// Begins and ends what is due. `since_ms` is the time since the guests came in.
    pub(crate) fn advance(&mut self, since_ms: u64, cluster: &mut Cluster) {
        let due: Vec<Fault> = self.ends.extract_if(.., |(at, _)| *at <= since_ms).map(|(_, fault)| fault).collect();
        for fault in due {
            cluster.trace.tell("world", || format!("ends: {fault:?}"));
            end(fault, cluster);
        }
        while let Some((_, until, fault)) = self.faults.get(self.begun.len()).filter(|(at, ..)| *at <= since_ms) {
            cluster.trace.tell("world", || format!("begins: {fault:?}"));
            begin(*fault, until - since_ms, cluster);
            self.ends.push((*until, *fault));
            self.begun.push(fault.kind());
        }
    }
}

fn others(hosts: &Hosts, of: HostId) -> impl Iterator<Item = HostId> + use<> {
    let printer = hosts.printer.map_or(0, |(adapter, printer)| adapter.max(printer));
    let all = hosts.guests.max(hosts.masters).max(printer);
    (0..=all).filter(move |id| *id != of)
}

fn begin(fault: Fault, length_ms: u64, cluster: &mut Cluster) {
    let Cluster { world, hosts, database, pos, .. } = cluster;
    let until_ms = world.now.ms() + length_ms;
    match fault {
        Fault::Partition(a, b) => {
            world.net.hold(a, b);
            world.net.hold(b, a);
        }
        Fault::OneWay(a, b) => world.net.hold(a, b),
        Fault::Alone(a) => others(hosts, a).for_each(|b| {
            world.net.hold(a, b);
            world.net.hold(b, a);
        }),
        Fault::Slow(a, b, ms) => {
            world.net.slow_down(a, b, ms);
            world.net.slow_down(b, a, ms);
        }
        Fault::Cut(a, b) => world.net.cut(a, b),
        Fault::Lose(a, b) => world.net.trap(a, b, Trap::Break),
        Fault::Delay(a, b, ms) => world.net.trap(a, b, Trap::Delay(ms)),
        Fault::Crash(a) | Fault::Away(a) => world.crash(a, false),
        Fault::PowerCut(a) => world.crash(a, true),
        Fault::CrashAll => hosts.orders.iter().for_each(|a| world.crash(*a, false)),
        Fault::Stop(a) => world.stop_until(a, until_ms, false),
        Fault::Suspend(a) => world.stop_until(a, until_ms, true),
        Fault::Clock(a, ahead_ms) | Fault::ClockJump(a, ahead_ms) => world.set_clock(a, ahead_ms),
        Fault::Database(replica, way) => database.set_way(replica, Way::FAULTS[way].0),
        Fault::TakeOut(n) => {
            // Of what the platform knows to be there: a POS that forgets what nobody has seen yet finds nothing with
            // authority.
            let known: Vec<String> =
                database.orders().into_iter().filter(|o| !o.evidence.is_empty()).map(|o| o.order_id).collect();
            if !known.is_empty() {
                pos.book().take_out(&known[n % known.len()]);
            }
        }
        Fault::CloseTable(n) => {
            pos.book().close_table(crate::pos::book::TABLES[n % crate::pos::book::TABLES.len()]);
        }
        Fault::Price(n, price) => pos.book().set_item(n, price, true),
        Fault::SoldOut(n) => pos.book().set_item(n, 500, false),
    }
}

fn end(fault: Fault, cluster: &mut Cluster) {
    let Cluster { world, hosts, database, pos, .. } = cluster;
    match fault {
        Fault::Partition(a, b) => {
            world.net.release(a, b);
            world.net.release(b, a);
        }
        Fault::OneWay(a, b) => world.net.release(a, b),
        Fault::Alone(a) => others(hosts, a).for_each(|b| {
            world.net.release(a, b);
            world.net.release(b, a);
        }),
        Fault::Slow(a, b, _) => {
            world.net.slow_down(a, b, 0);
            world.net.slow_down(b, a, 0);
        }
        Fault::Lose(..) | Fault::Delay(..) => world.net.disarm(),
        Fault::Crash(a) | Fault::PowerCut(a) | Fault::Away(a) => start(world, a),
        Fault::CrashAll => hosts.orders.iter().for_each(|a| start(world, *a)),
        Fault::Clock(a, _) | Fault::ClockJump(a, _) => world.set_clock(a, 0),
        Fault::Database(replica, _) => database.set_way(replica, Way::Fine),
        Fault::SoldOut(n) => pos.book().set_item(n, 500, true),
        Fault::Cut(..) | Fault::Stop(_) | Fault::Suspend(_) => {}
        Fault::TakeOut(_) | Fault::CloseTable(_) | Fault::Price(..) => {}
    }
}

fn start(world: &mut crate::world::World, host: HostId) {
    if !world.is_up(host) {
        world.start(host);
    }
}
