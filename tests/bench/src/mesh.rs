//! Orders through the whole mesh: HTTP in, durable accept, router, adapter, the POS's answer, durable completion, HTTP
//! out.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Options,
    echo::Chain,
    http::Connection,
    launch::{API_KEY, Mesh, Shape},
    load::{self, Caller, Latencies, Measured, WARM_UP},
    machine, order,
    pgbench::{self, Style},
    postgres::Server,
    report::{Ratio, Report, Row, Target, median, median_duration, ms, per_second, ratio},
};

/// Entries of a page of the POS's journal, its greatest.
const JOURNAL_PAGE: usize = 1000;
/// One in so many of an idle caller's orders more comes before those that count.
const IDLE_WARM_UP: usize = 5;

/// Of one order.
#[derive(Debug)]
pub(crate) struct Lap {
    /// From the request to the answer.
    pub(crate) took: Duration,
    /// Our id of it.
    pub(crate) order_id: String,
}

/// A kiosk that orders, over a connection of its own.
#[derive(Debug)]
pub(crate) struct Kiosk {
    connection: Connection,
    stores: usize,
    next_store: Arc<AtomicUsize>,
    body: Bytes,
}

impl Caller for Kiosk {
    type Lap = Lap;

    async fn call(&mut self) -> Result<Lap> {
        let store = self.next_store.fetch_add(1, Ordering::Relaxed) % self.stores;
        let path = format!("/kiosk/v1/stores/{}/orders", order::store_id(store));
        let key = Uuid::new_v4().to_string();
        let headers = [("idempotency-key", key.as_str()), ("prefer", "wait=20")];
        let begun = Instant::now();
        let answer = self.connection.post(&path, &headers, self.body.clone()).await?;
        let took = begun.elapsed();
        const PLACED: &[u8] = br#""state":"PLACED""#;
        if answer.status != 201 || !answer.body.windows(PLACED.len()).any(|bytes| bytes == PLACED) {
            bail!("an order was not placed: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let location = answer.headers.get(http::header::LOCATION).and_then(|location| location.to_str().ok());
        let order_id = location.and_then(|location| location.rsplit('/').next()).unwrap_or_default().to_owned();
        Ok(Lap { took, order_id })
    }
}

/// So many kiosks, whose orders go round the stores.
///
/// # Errors
/// When the gateway refuses.
pub(crate) async fn kiosks(gateway: SocketAddr, callers: usize, stores: usize) -> Result<Vec<Kiosk>> {
    let lines = json!([
        { "item_id": "yaki_onigiri", "quantity": 2 },
        { "item_id": "ramune", "quantity": 1 },
        { "item_id": "edamame", "quantity": 1, "modifiers": [
            { "group_id": "edamame_style", "modifier_id": "peperoncino" },
        ] },
    ]);
    let path = format!("/kiosk/v1/stores/{}/quote", order::store_id(0));
    let quote = json!({ "lines": lines, "service_mode": "eat_in" }).to_string();
    let quote = Connection::open(gateway).await?.post(&path, &[], quote.into()).await?;
    let quote: Value = serde_json::from_slice(&quote.body)?;
    let total = &quote["price"]["total"];
    anyhow::ensure!(total.is_object(), "the order could not be priced: {quote}");
    let body = json!({ "lines": lines, "expected_total": total, "service_mode": "eat_in" });
    let body = Bytes::from(body.to_string());
    let next_store = Arc::new(AtomicUsize::new(0));
    let mut kiosks = Vec::with_capacity(callers);
    for _ in 0..callers {
        let connection = Connection::open(gateway).await?;
        kiosks.push(Kiosk { connection, stores, next_store: Arc::clone(&next_store), body: body.clone() });
    }
    Ok(kiosks)
}

/// How long the POS itself took for each order, from the arrival of the request until it was recorded, by our ids.
///
/// # Errors
/// When the POS refuses.
pub(crate) async fn pos_times(pos: SocketAddr) -> Result<HashMap<String, Duration>> {
    let mut connection = Connection::open(pos).await?;
    let (mut times, mut after) = (HashMap::new(), 0);
    loop {
        let path = format!("/control/journal?after={after}&limit={JOURNAL_PAGE}");
        let page: Value =
            serde_json::from_slice(&connection.ask(Method::GET, &path, API_KEY, Bytes::new()).await?.body)?;
        for entry in page["entries"].as_array().context("the journal has no entries")? {
            after = entry["seq"].as_u64().context("an entry without number")?;
            let reference = entry["event"]["order"]["request"]["reference"].as_str();
            if let (Some(reference), Some(us)) = (reference, entry["handling_us"].as_u64()) {
                times.insert(reference.to_owned(), Duration::from_micros(us));
            }
        }
        if page["more"] != true {
            return Ok(times);
        }
    }
}

/// The rows about throughput.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(crate) async fn measure(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (callers, stores, duration) = (options.callers, options.stores, options.duration());
    let (peers_database, _) = server.open_storage().await?;
    let mut peer = Vec::new();
    let mut ours: [Vec<Run<Lap>>; 2] = Default::default();
    let mut echo = Vec::new();
    let shapes = [(Shape::Separate, "as separate processes", 1.5), (Shape::OneProcess, "in one process", 2.0)];
    for round in 0..options.rounds {
        server.settle()?;
        let first_order = round as u64 * 1_000_000;
        let style = Style::TwoTransactions;
        peer.push(pgbench::run(server, &peers_database, style, callers, stores, duration, first_order)?);
        for ((shape, ..), runs) in shapes.iter().zip(&mut ours) {
            let mesh = Mesh::start(*shape, &server.0.create_database()?, stores, folder.path(), &[]).await?;
            server.settle()?;
            runs.push(run(server, kiosks(mesh.gateway, callers, stores).await?, duration).await?);
        }
        let chain = Chain::start(folder.path(), None).await?;
        let mut echo_callers = Vec::with_capacity(callers);
        for _ in 0..callers {
            echo_callers.push(chain.caller().await?);
        }
        echo.push(run(server, echo_callers, duration).await?);
    }
    for ((_, name, least), ours) in shapes.iter().zip(&ours) {
        let what = format!("the whole mesh {name}");
        report.row(against_pgbench(&what, callers, ours, &peer, Target::AtLeast(*least)));
        let latencies = || ours.iter().map(|us| us.measured.latencies(|lap| lap.took));
        report.fact(format!(
            "{what}, {callers} callers: p50 {}, p99 {}; {}",
            ms(median_duration(latencies().map(|l| l.p50()))),
            ms(median_duration(latencies().map(|l| l.p99()))),
            cost(ours),
        ));
    }
    let what = "bare echo over the same hops without a database";
    report.row(against_pgbench(what, callers, &echo, &peer, Target::None));
    report.fact(format!("{what}, {callers} callers: {}", cost(&echo)));
    Ok(())
}

/// What came of a closed loop, and the processor time that one answer cost.
struct Run<L> {
    measured: Measured<L>,
    /// Callers, services and POS together.
    outside_us: f64,
    database_us: f64,
}

async fn run<C: Caller>(server: &Server, callers: Vec<C>, duration: Duration) -> Result<Run<C::Lap>> {
    let own = std::process::id();
    let (database_before, outside_before) = (server.cpu()?, machine::cpu_of_family(own));
    let measured = load::closed_loop(callers, duration).await?;
    let (database, outside) = (server.cpu()? - database_before, machine::cpu_of_family(own) - outside_before);
    let all = measured.per_second() * (WARM_UP + duration).as_secs_f64();
    let us = |time: Duration| time.as_secs_f64() * 1e6 / all;
    Ok(Run { measured, outside_us: us(outside), database_us: us(database) })
}

fn against_pgbench<L>(what: &str, callers: usize, ours: &[Run<L>], peer: &[pgbench::Outcome], target: Target) -> Row {
    let rates = || ours.iter().map(|us| us.measured.per_second());
    Row {
        what: format!("{what}, {callers} callers, against the storage-only pgbench (two transactions)"),
        ours: per_second(median(rates())),
        peer: per_second(median(peer.iter().map(|peer| peer.orders_per_second))),
        ratio: Ratio::new(rates().zip(peer).map(|(us, peer)| us / peer.orders_per_second).collect()),
        target,
    }
}

fn cost<L>(runs: &[Run<L>]) -> String {
    format!(
        "processor time of one answer: about {:.0} µs in callers, services and POS, {:.0} µs in PostgreSQL",
        median(runs.iter().map(|run| run.outside_us)),
        median(runs.iter().map(|run| run.database_us)),
    )
}

/// The rows about one idle order.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(crate) async fn measure_idle(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mesh = Mesh::start(Shape::Separate, &server.0.create_database()?, 1, folder.path(), &[]).await?;
    let (echo_database, _) = server.open_storage().await?;
    let chain = Chain::start(folder.path(), Some(&server.0.url(&echo_database))).await?;
    let mut kiosk = kiosks(mesh.gateway, 1, 1).await?.remove(0);
    let mut echo = chain.caller().await?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    server.settle()?;
    for _ in 0..options.rounds {
        let orders = load::one_by_one(&mut kiosk, options.orders / IDLE_WARM_UP, options.orders).await?;
        let pos = pos_times(mesh.pos).await?;
        let without_pos = |lap: &Lap| lap.took.saturating_sub(pos.get(&lap.order_id).copied().unwrap_or_default());
        ours.push(orders.latencies(without_pos));
        peer.push(
            load::one_by_one(&mut echo, options.orders / IDLE_WARM_UP, options.orders).await?.latencies(|took| *took),
        );
    }
    for (name, share, most) in [("p50", 0.5, 1.15), ("p99", 0.99, 2.0)] {
        let of = |latencies: &Latencies| latencies.quantile(share);
        report.row(Row {
            what: format!("{name} of one idle order through the whole mesh, POS time taken out, against bare echo over the same hops with two commits"),
            ours: ms(median_duration(ours.iter().map(of))),
            peer: ms(median_duration(peer.iter().map(of))),
            ratio: Ratio::new(ours.iter().zip(&peer).map(|(us, peer)| ratio(of(us), of(peer))).collect()),
            target: Target::AtMost(most),
        });
    }
    Ok(())
}
