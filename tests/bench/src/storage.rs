//! The order service's storage by itself, as the service uses it: each order is taken and later completed, both durable,
//! through group commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use posmesh_order::storage::{Changed, GroupedWrites, Placement, Storage};

use crate::{
    Options,
    load::{self, Caller, Measured, WARM_UP},
    machine, order,
    pgbench::{self, Style},
    postgres::Server,
    report::{Ratio, Report, Row, Target, median, median_duration, ms, per_second, ratio},
};

/// Of one order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lap {
    /// Until it was taken.
    pub(crate) accept: Duration,
    /// Until it was completed.
    pub(crate) both: Duration,
}

/// A caller of the storage.
#[derive(Debug)]
pub(crate) struct StorageCaller {
    writes: GroupedWrites,
    stores: usize,
    next_store: Arc<AtomicUsize>,
}

impl Caller for StorageCaller {
    type Lap = Lap;

    async fn call(&mut self) -> Result<Lap> {
        let store = self.next_store.fetch_add(1, Ordering::Relaxed) % self.stores;
        let new = order::taken(store);
        let begun = Instant::now();
        let order = match self.writes.place(new).await.map_err(|why| anyhow::anyhow!("not let in: {why:?}"))?? {
            Placement::Taken { order, .. } => *order,
            other => bail!("not taken: {other:?}"),
        };
        let accept = begun.elapsed();
        let change = order::placed(order);
        let changing = Instant::now();
        match self.writes.change(change).await.map_err(|why| anyhow::anyhow!("not let in: {why:?}"))?? {
            Changed::Done { .. } => Ok(Lap { accept, both: accept + changing.elapsed() }),
            other => bail!("not changed: {other:?}"),
        }
    }
}

/// Callers that share the batches of one storage.
pub(crate) fn callers(storage: &Arc<dyn Storage>, callers: usize, stores: usize) -> Vec<StorageCaller> {
    let (writes, next_store) = (GroupedWrites::start(storage), Arc::new(AtomicUsize::new(0)));
    let caller = || StorageCaller { writes: writes.clone(), stores, next_store: Arc::clone(&next_store) };
    std::iter::repeat_with(caller).take(callers).collect()
}

/// Closed loop of so many callers.
///
/// # Errors
/// When the storage refuses.
pub(crate) async fn run(
    storage: &Arc<dyn Storage>,
    count: usize,
    stores: usize,
    duration: Duration,
) -> Result<Measured<Lap>> {
    load::closed_loop(callers(storage, count, stores), duration).await
}

/// The rows about the storage.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(crate) async fn measure(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let (_, storage) = server.open_storage().await?;
    let (peers_database, _) = server.open_storage().await?;
    let (callers, stores, duration) = (options.callers, options.stores, options.duration());
    let (mut ours, mut cpu, mut two, mut one) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        server.settle()?;
        let (cpu_before, own_before) = (server.cpu()?, machine::cpu_of_family(std::process::id()));
        let measured = run(&storage, callers, stores, duration).await?;
        let all = measured.per_second() * (WARM_UP + duration).as_secs_f64();
        let us = |time: Duration| time.as_secs_f64() * 1e6 / all;
        cpu.push((us(server.cpu()? - cpu_before), us(machine::cpu_of_family(std::process::id()) - own_before)));
        ours.push(measured);
        for (style, outcomes) in [(Style::TwoTransactions, &mut two), (Style::OneStatement, &mut one)] {
            server.settle()?;
            // Far apart, so that no id comes twice.
            let first_order = (2 * round as u64 + u64::from(style == Style::OneStatement)) * 1_000_000;
            outcomes.push(pgbench::run(server, &peers_database, style, callers, stores, duration, first_order)?);
        }
    }
    report.fact(format!(
        "processor time of an order's two commits: about {:.0} µs in PostgreSQL, {:.0} µs in the callers and the storage",
        median(cpu.iter().map(|(server, _)| *server)),
        median(cpu.iter().map(|(_, own)| *own)),
    ));
    for (name, peer, least) in [("two transactions", &two, 4.0), ("one statement per phase", &one, 2.5)] {
        report.row(Row {
            what: format!("durable orders of the storage, {callers} callers, against pgbench with {name}"),
            ours: per_second(median(ours.iter().map(Measured::per_second))),
            peer: per_second(median(peer.iter().map(|peer| peer.orders_per_second))),
            ratio: Ratio::new(
                ours.iter().zip(peer).map(|(us, peer)| us.per_second() / peer.orders_per_second).collect(),
            ),
            target: Target::AtLeast(least),
        });
    }
    let accept_p99 = |us: &Measured<Lap>| us.latencies(|lap| lap.accept).p99();
    for (name, peer, target) in
        [("two transactions", &two, Target::AtMost(0.25)), ("one statement per phase", &one, Target::AtMost(0.25))]
    {
        report.row(Row {
            what: format!("p99 of the durable accept, {callers} callers, against pgbench with {name}"),
            ours: ms(median_duration(ours.iter().map(accept_p99))),
            peer: ms(median_duration(peer.iter().map(|peer| peer.accept.p99()))),
            ratio: Ratio::new(
                ours.iter().zip(peer).map(|(us, peer)| ratio(accept_p99(us), peer.accept.p99())).collect(),
            ),
            target,
        });
    }
    let p50 = |us: &Measured<Lap>| us.latencies(|lap| lap.both).p50();
    report.row(Row {
        what: format!("p50 of both commits of an order, {callers} callers, against pgbench with two transactions"),
        ours: ms(median_duration(ours.iter().map(p50))),
        peer: ms(median_duration(two.iter().map(|peer| peer.both.p50()))),
        ratio: Ratio::new(ours.iter().zip(&two).map(|(us, peer)| ratio(p50(us), peer.both.p50())).collect()),
        target: Target::None,
    });
    Ok(())
}
