//! The memory of one replica of the order service with many orders queued and many watchers, again and again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use posmesh_kit::failure;
use posmesh_proto::{
    common::v1::{Money, Product},
    order::v1::{
        OrderLineInput, OrderState, PlaceOrderRequest, QuoteOrderRequest, WatchOrderRequest,
        order_service_client::OrderServiceClient,
    },
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use tonic::{Code, Status, transport::Channel};
use uuid::Uuid;

use crate::{
    Options,
    http::Connection,
    launch::{self, API_KEY, Mesh, Shape},
    machine, order,
    postgres::Server,
    report::{Ratio, Report, Row, Target},
};

const CYCLES: usize = 3;
const PLACE_AT_ONCE: usize = 64;
const OPEN_AT_ONCE: usize = 256;
/// Streams that a connection carries; servers allow 1024.
const STREAMS_PER_CONNECTION: usize = 1000;
const MIB: f64 = 1024.0 * 1024.0;
/// How long the queue may take to empty.
const DRAIN_LIMIT: Duration = Duration::from_secs(1800);
/// Between two looks at the memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The rows about memory.
///
/// # Errors
/// When something cannot be started, or refuses, or the queue does not empty.
pub(crate) async fn measure(
    server: &Server,
    orders: usize,
    watchers: usize,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = [("ORDER__MAX_WATCHERS", (watchers + 1000).to_string())];
    let url = server.0.create_database()?;
    let mesh = Mesh::start(Shape::Separate, &url, options.stores, folder.path(), &settings).await?;
    let replica = mesh.process("order")?.id();
    report.fact(format!("a replica just started: {:.0} MiB", machine::resident(replica)?.0 as f64 / MIB));
    let mut peaks = Vec::new();
    for cycle in 1..=CYCLES {
        close_pos(&mesh, true).await?;
        let ids = place(&mesh, orders, options.stores).await?;
        let seen = watch(&mesh, ids.iter().take(watchers).cloned().collect()).await?;
        let mut peak = machine::resident(replica)?.0;
        let full = peak;
        close_pos(&mesh, false).await?;
        let until = Instant::now() + DRAIN_LIMIT;
        while seen.placed.load(Ordering::Relaxed) < watchers || !is_drained(server, &url)? {
            anyhow::ensure!(Instant::now() < until, "the queue does not empty");
            peak = peak.max(machine::resident(replica)?.0);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        drop(seen);
        peaks.push(peak);
        report.fact(format!(
            "cycle {cycle}: {orders} orders queued and {watchers} watchers: {:.0} MiB; most while they were sent: {:.0} \
             MiB; when all were placed: {:.0} MiB",
            full as f64 / MIB,
            peak as f64 / MIB,
            machine::resident(replica)?.0 as f64 / MIB,
        ));
    }
    let in_mib = |bytes: &u64| *bytes as f64 / MIB;
    let most = peaks.iter().max().map_or(0.0, in_mib);
    report.row(Row {
        what: format!(
            "memory of one order replica, {orders} orders queued and {watchers} watchers, most of {CYCLES} cycles, MiB"
        ),
        ours: format!("{most:.0} MiB"),
        peer: String::new(),
        ratio: Ratio::new(vec![most]),
        target: Target::AtMost(400.0),
    });
    let (first, last) = (peaks.first().map_or(1.0, in_mib), peaks.last().map_or(1.0, in_mib));
    report.row(Row {
        what: format!("the same in cycle {CYCLES}, against cycle 1"),
        ours: format!("{last:.0} MiB"),
        peer: format!("{first:.0} MiB"),
        ratio: Ratio::new(vec![last / first]),
        target: Target::AtMost(1.05),
    });
    Ok(())
}

/// While the business day of the POS is closed, it refuses every order for now: they queue.
async fn close_pos(mesh: &Mesh, closed: bool) -> Result<()> {
    let mut connection = Connection::open(mesh.pos).await?;
    let (method, body) = match closed {
        true => (Method::POST, json!({ "kind": "business_day_closed" }).to_string()),
        false => (Method::DELETE, String::new()),
    };
    let answer = connection.ask(method, "/control/faults", API_KEY, body.into()).await?;
    anyhow::ensure!(answer.status.is_success(), "the POS refused a fault: {}", answer.status);
    Ok(())
}

/// Places orders and returns their ids. What the replica refuses for now is tried again: it has enough to do, or the POS was
/// away a moment ago and gets one order at a time.
async fn place(mesh: &Mesh, count: usize, stores: usize) -> Result<Vec<String>> {
    let client = OrderServiceClient::new(launch::channel(mesh.order)?);
    let lines = vec![OrderLineInput { item_id: "ramune".to_owned(), quantity: 1, ..OrderLineInput::default() }];
    let product = Product::Kiosk.into();
    let quote = QuoteOrderRequest { store_id: order::store_id(0), product, lines: lines.clone(), ..Default::default() };
    let quote = client.clone().quote_order(quote).await?.into_inner().quote;
    let total: Option<Money> = quote.and_then(|quote| quote.price).and_then(|price| price.total);
    let until = Instant::now() + DRAIN_LIMIT;
    let one = |number: usize| {
        let (client, lines, expected_total) = (client.clone(), lines.clone(), total.clone());
        let request = PlaceOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            store_id: order::store_id(number % stores),
            product,
            lines,
            expected_total,
            ..PlaceOrderRequest::default()
        };
        async move {
            loop {
                match client.clone().place_order(request.clone()).await {
                    Ok(answer) => return answer.into_inner().order.map(|order| order.order_id).context("no order"),
                    Err(status) if is_for_now(&status) && Instant::now() < until => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Err(status) => return Err(status.into()),
                }
            }
        }
    };
    stream::iter(0..count).map(one).buffer_unordered(PLACE_AT_ONCE).try_collect().await
}

fn is_for_now(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted || failure::reason(status) == "GATE_CLOSED"
}

/// Watchers of orders, each until its order is placed.
#[derive(Debug)]
struct Seen {
    placed: Arc<AtomicUsize>,
    _watchers: JoinSet<()>,
}

async fn watch(mesh: &Mesh, order_ids: Vec<String>) -> Result<Seen> {
    let mut channels: HashMap<usize, Channel> = HashMap::new();
    for number in 0..=order_ids.len() / STREAMS_PER_CONNECTION {
        channels.insert(number, launch::channel(mesh.order)?);
    }
    let open = |(number, order_id): (usize, String)| {
        let channel = channels[&(number / STREAMS_PER_CONNECTION)].clone();
        async move {
            let request = WatchOrderRequest { order_id, resume_token: String::new() };
            let mut stream = OrderServiceClient::new(channel).watch_order(request).await?.into_inner();
            // Its first message comes at once: from then on it holds what a watcher holds.
            stream.message().await?.context("a watcher sees no order")?;
            anyhow::Ok(stream)
        }
    };
    let streams: Vec<_> =
        stream::iter(order_ids.into_iter().enumerate()).map(open).buffer_unordered(OPEN_AT_ONCE).try_collect().await?;
    let placed = Arc::new(AtomicUsize::new(0));
    let mut watchers = JoinSet::new();
    for mut stream in streams {
        let placed = Arc::clone(&placed);
        watchers.spawn(async move {
            while let Ok(Some(change)) = stream.message().await {
                if change.order.is_some_and(|order| order.state() == OrderState::Placed) {
                    placed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        });
    }
    Ok(Seen { placed, _watchers: watchers })
}

/// Whether every order was placed.
fn is_drained(server: &Server, url: &str) -> Result<bool> {
    let database = url.rsplit('/').next().context("a URL without a database")?;
    let waiting = server.query(database, "SELECT count(*) FROM posmesh_order.orders WHERE state < 5")?;
    Ok(waiting == "0")
}
