//! The links of many stores, watched by one router replica: what it costs, how late probes are, what is written, what a
//! vendor with a small budget gets, and what a gate costs.

mod gate;
mod vendor;
mod world;

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Context as _, Result};
use posmesh_e2e::Distribution;
use posmesh_proto::router::v1::LinkState;
use tokio::time::{Instant, sleep};

use crate::{
    Options,
    postgres::Server,
    report::{Ratio, Report, Row, Target, ms, per_second},
};

use vendor::Vendor;
use world::World;

/// Of the router, and so of each store's probes.
const INTERVAL: Duration = Duration::from_secs(10);
/// One store in so many dies.
const DEAD: usize = 5;
/// What a vendor allows all its stores together in a second.
const BUDGET: f64 = 20.0;
/// Orders that are offered to that vendor in a second.
const OFFERED: f64 = 40.0;
const BUDGETED_STORES: usize = 1000;
/// PostgreSQL's statistics lag behind by a second.
const STATISTICS_LAG: Duration = Duration::from_secs(2);

/// What was counted over a while.
struct Counted {
    cores: f64,
    probes_per_second: f64,
    living: Distribution,
    writes: u64,
}

/// The rows about links.
///
/// # Errors
/// When something cannot be started, or refuses, or the links do not come to rest.
pub(crate) async fn measure(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    // Each store three times with the default.
    let duration = options.duration() * 3;
    let stores = options.linked;
    let many = Vendor::new("many", 0.0);
    let world = World::start(server, &[&many]).await?;
    let begun = Instant::now();
    world.connect("many", stores).await?;
    world.until(LinkState::Online, stores).await?;
    report.fact(format!("{stores} connections put, and all ONLINE, after {:.0} s", begun.elapsed().as_secs_f64()));

    let steady = count(&world, &many, duration).await?;
    let what = format!("{stores} stores probed every {} s by one router replica", INTERVAL.as_secs());
    report.fact(format!("{what}: {} probes", per_second(steady.probes_per_second)));
    report.row(row(format!("{what}: cores"), steady.cores, format!("{:.2} cores", steady.cores), Target::AtMost(1.0)));
    lateness(report, &what, &steady.living);
    let written = format!("{} writes", steady.writes);
    report.row(row(
        format!("{what}: links written while nothing changes"),
        steady.writes as f64,
        written,
        Target::AtMost(0.0),
    ));

    let dead = stores / DEAD;
    many.dead.store(dead, Ordering::Relaxed);
    world.until(LinkState::Offline, dead).await?;
    let beside = count(&world, &many, duration).await?;
    let what = format!("the same while {dead} of them hang");
    report.row(row(format!("{what}: cores"), beside.cores, format!("{:.2} cores", beside.cores), Target::AtMost(1.0)));
    lateness(report, &format!("{what}, of the living"), &beside.living);
    let written = format!("{} writes", beside.writes);
    report.row(row(format!("{what}: links written"), beside.writes as f64, written, Target::AtMost(0.0)));
    gate::measure(&world, stores, dead, report).await?;
    drop((world, many));
    budget(server, duration, report).await
}

fn row(what: String, figure: f64, ours: String, target: Target) -> Row {
    Row { what, ours, peer: String::new(), ratio: Ratio::new(vec![figure]), target }
}

/// The bucket that holds a share of a distribution says what they do not exceed.
fn lateness(report: &mut Report, what: &str, told: &Distribution) {
    for (name, share, target) in [("p50", 0.5, Target::None), ("p99", 0.99, Target::AtMost(1.0))] {
        let bound = within(told, share);
        let ours = format!("≤ {}", ms(Duration::from_secs_f64(bound.min(3600.0))));
        report.row(row(format!("{what}: lateness of probes {name}, s"), bound, ours, target));
    }
}

/// The least bound that so large a share does not exceed; NaN where nothing was told.
fn within(told: &Distribution, share: f64) -> f64 {
    let total: u64 = told.counts.iter().sum();
    let mut so_far = 0;
    for (at, count) in told.counts.iter().enumerate() {
        so_far += count;
        if total > 0 && so_far as f64 >= share * total as f64 {
            return told.bounds.get(at).copied().unwrap_or(f64::INFINITY);
        }
    }
    f64::NAN
}

fn since(before: &Distribution, now: &Distribution) -> Distribution {
    let counts = now.counts.iter().enumerate();
    let counts = counts.map(|(at, count)| count - before.counts.get(at).copied().unwrap_or(0)).collect();
    Distribution { bounds: now.bounds.clone(), counts }
}

async fn count(world: &World<'_>, vendor: &Vendor, duration: Duration) -> Result<Counted> {
    // What changed a moment ago is written by then, and the backing off of the dead has come to its end.
    sleep(INTERVAL * 2).await;
    let (living, writes) = (world.lateness("living"), world.writes()?);
    let (cpu, probes, begun) = (world.cpu(), vendor.probes.load(Ordering::Relaxed), Instant::now());
    sleep(duration).await;
    let took = begun.elapsed().as_secs_f64();
    let (cpu, probes) = (world.cpu() - cpu, vendor.probes.load(Ordering::Relaxed) - probes);
    sleep(STATISTICS_LAG).await;
    Ok(Counted {
        cores: cpu.as_secs_f64() / took,
        probes_per_second: probes as f64 / took,
        living: since(&living, &world.lateness("living")),
        writes: world.writes()? - writes,
    })
}

/// A vendor that allows few calls: probes of all its stores and orders together.
async fn budget(server: &Server, duration: Duration, report: &mut Report) -> Result<()> {
    let few = Vendor::new("few", BUDGET);
    let world = World::start(server, &[&few]).await?;
    world.connect("few", BUDGETED_STORES).await?;
    few.calls().clear();
    let placed = world.order("few", BUDGETED_STORES, OFFERED, duration).await?;
    let calls = few.calls().clone();
    let (first, last) = (calls.first().context("no call came")?, calls.last().context("no call came")?);
    let most = most_within_a_second(&calls);
    report.fact(format!(
        "a vendor that allows {BUDGET:.0} calls/s, {BUDGETED_STORES} stores and {OFFERED:.0} orders/s offered: {} in all, \
         {placed} orders placed in {:.0} s",
        per_second(calls.len() as f64 / last.duration_since(*first).as_secs_f64()),
        duration.as_secs_f64(),
    ));
    report.row(row(
        format!("calls that a vendor with {BUDGET:.0}/s got within any second, probes and orders of {BUDGETED_STORES} stores"),
        most as f64,
        format!("{most} calls"),
        Target::AtMost(BUDGET),
    ));
    Ok(())
}

/// The most calls within any second, of moments in order.
fn most_within_a_second(calls: &[Instant]) -> usize {
    let within = |at: usize| {
        let end = calls[at] + Duration::from_secs(1);
        calls[at..].iter().take_while(|call| **call < end).count()
    };
    (0..calls.len()).map(within).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_within_the_bucket_that_holds_it() {
        let told = Distribution { bounds: vec![0.1, 1.0], counts: vec![98, 1, 1] };
        assert_eq!((within(&told, 0.5), within(&told, 0.99), within(&told, 1.0)), (0.1, 1.0, f64::INFINITY));
        let later = Distribution { counts: vec![99, 1, 1], ..told.clone() };
        assert_eq!(since(&told, &later).counts, [1, 0, 0]);
        assert!(within(&Distribution::default(), 0.5).is_nan());
    }

    #[test]
    fn the_busiest_second_is_found_wherever_it_begins() {
        let zero = Instant::now();
        let calls = [0, 900, 1100, 1500, 1899, 2100].map(|at| zero + Duration::from_millis(at));
        assert_eq!(most_within_a_second(&calls), 4);
    }
}
