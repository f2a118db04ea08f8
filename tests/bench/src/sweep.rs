//! How the mesh behaves as callers and stores grow, through both of its doors, and when orders come by the clock.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use posmesh_kit::time;
use posmesh_proto::{
    common::v1::{Money, Product},
    order::v1::{
        OrderLineInput, OrderState, PlaceOrderRequest, QuoteOrderRequest, order_service_client::OrderServiceClient,
    },
};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{
    Options,
    launch::{self, Mesh, Shape},
    load::{self, Caller, Latencies, WARM_UP},
    mesh, order,
    postgres::Server,
    report::{Report, ms, per_second},
    storage,
};

const CALLERS: [usize; 5] = [1, 4, 16, 64, 256];
/// Shares of what the closed loop reached that come by the clock.
const OPEN_LOOP_SHARES: [f64; 2] = [0.5, 0.8];
/// Calls that may be under way at once in an open loop.
const OPEN_LOOP_CALLERS: usize = 256;
const WAIT: Duration = Duration::from_secs(20);

/// A product backend that orders over gRPC and waits for the POS.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    client: OrderServiceClient<Channel>,
    stores: usize,
    next_store: Arc<AtomicUsize>,
    lines: Vec<OrderLineInput>,
    total: Option<Money>,
}

impl Backend {
    /// One that shares a connection with its clones.
    ///
    /// # Errors
    /// When the order service refuses.
    pub(crate) async fn new(order_service: SocketAddr, stores: usize) -> Result<Self> {
        let client = OrderServiceClient::new(launch::channel(order_service)?);
        let line =
            |item_id: &str| OrderLineInput { item_id: item_id.to_owned(), quantity: 1, ..OrderLineInput::default() };
        let lines = ["yaki_onigiri", "ramune", "edamame"].map(line).to_vec();
        let quote = QuoteOrderRequest {
            store_id: order::store_id(0),
            product: Product::Kiosk.into(),
            lines: lines.clone(),
            ..Default::default()
        };
        let quote = client.clone().quote_order(quote).await?.into_inner().quote;
        let total = quote.and_then(|quote| quote.price).and_then(|price| price.total);
        Ok(Self { client, stores, next_store: Arc::default(), lines, total })
    }
}

impl Caller for Backend {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let store = self.next_store.fetch_add(1, Ordering::Relaxed) % self.stores;
        let request = PlaceOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            store_id: order::store_id(store),
            product: Product::Kiosk.into(),
            lines: self.lines.clone(),
            expected_total: self.total.clone(),
            wait: Some(time::to_proto_duration(WAIT)),
            ..PlaceOrderRequest::default()
        };
        let begun = Instant::now();
        let order = self.client.place_order(request).await?.into_inner().order.context("no order")?;
        anyhow::ensure!(order.state() == OrderState::Placed, "an order was not placed: {order:?}");
        Ok(begun.elapsed())
    }
}

/// Tells how rates and latencies change.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(crate) async fn measure(server: &Server, options: &Options, report: &mut Report) -> Result<()> {
    let (_, storage) = server.open_storage().await?;
    for callers in CALLERS {
        let measured = storage::run(&storage, callers, options.stores, options.duration()).await?;
        tell(
            report,
            &format!("storage, {callers} callers"),
            measured.per_second(),
            &measured.latencies(|lap| lap.both),
        );
    }
    let folder = tempfile::tempdir()?;
    let mut stores = 10;
    while stores <= options.most_stores {
        let mesh = Mesh::start(Shape::Separate, &server.0.create_database()?, stores, folder.path(), &[]).await?;
        // Every store's menu and connection are read once before it counts.
        let first = mesh::kiosks(mesh.gateway, options.callers, stores).await?;
        load::closed_loop(first, WARM_UP + Duration::from_millis(stores as u64)).await?;
        let callers: &[usize] = if stores == 10 { &CALLERS } else { &[64] };
        for callers in callers {
            through_both_doors(&mesh, *callers, stores, options, report).await?;
        }
        if stores == 10 {
            by_the_clock(&mesh, stores, options, report).await?;
        }
        stores *= 10;
    }
    Ok(())
}

async fn through_both_doors(
    mesh: &Mesh,
    callers: usize,
    stores: usize,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let measured = load::closed_loop(mesh::kiosks(mesh.gateway, callers, stores).await?, options.duration()).await?;
    let what = format!("mesh, {stores} stores, {callers} callers through the gateway");
    tell(report, &what, measured.per_second(), &measured.latencies(|lap| lap.took));
    let backends = vec![Backend::new(mesh.order, stores).await?; callers];
    let measured = load::closed_loop(backends, options.duration()).await?;
    let what = format!("mesh, {stores} stores, {callers} callers over gRPC");
    tell(report, &what, measured.per_second(), &measured.latencies(|took| *took));
    Ok(())
}

async fn by_the_clock(mesh: &Mesh, stores: usize, options: &Options, report: &mut Report) -> Result<()> {
    let closed = load::closed_loop(mesh::kiosks(mesh.gateway, options.callers, stores).await?, options.duration());
    let reached = closed.await?.per_second();
    for share in OPEN_LOOP_SHARES {
        let kiosks = mesh::kiosks(mesh.gateway, OPEN_LOOP_CALLERS, stores).await?;
        let measured = load::open_loop(kiosks, reached * share, options.duration()).await?;
        let what = format!("mesh, orders by the clock at {:.0} % of the closed loop's rate", share * 100.0);
        tell(report, &what, measured.per_second(), &measured.latencies(|(since_due, _)| *since_due));
    }
    Ok(())
}

fn tell(report: &mut Report, what: &str, rate: f64, latencies: &Latencies) {
    report.fact(format!("{what}: {}, p50 {}, p99 {}", per_second(rate), ms(latencies.p50()), ms(latencies.p99())));
}
