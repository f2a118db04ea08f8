//! A router replica as a process of its own, on PostgreSQL, with vendors and their connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use posmesh_e2e::{Collector, Distribution, Process};
use posmesh_kit::time;
use posmesh_proto::{
    adapter::v1::{
        PosOrder, PosTarget, SubmitOrderRequest, pos_adapter_service_client::PosAdapterServiceClient,
        submit_outcome::Outcome,
    },
    router::v1::{
        Connection, LinkState, ListLinksRequest, PutConnectionRequest, router_service_client::RouterServiceClient,
    },
};
use tempfile::TempDir;
use tokio::time::{Instant, interval, sleep};
use tokio_util::{sync::DropGuard, task::TaskTracker};
use tonic::{Request, transport::Channel};

use super::vendor::{Vendor, connection_id};
use crate::{launch, machine, order, postgres::Server};

/// How long all links may take to come to a state.
const PATIENCE: Duration = Duration::from_secs(180);
const CONNECT_AT_ONCE: usize = 16;
const PAGE: i32 = 500;
/// As they are counted: the answered probes of a link that has long been well.
const ALL_PROBES: i32 = 5;
/// How long an order waits for its turn at the vendor.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
const LATENESS: &str = "router.probe.lateness";
/// Rows of links and their history that were ever written.
const WRITES: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables \
     WHERE schemaname = 'posmesh_router' AND relname IN ('links', 'link_events')";

pub(super) struct World<'a> {
    server: &'a Server,
    /// What all processes on the same database are set to.
    pub(super) settings: Vec<(String, String)>,
    pub(super) folder: TempDir,
    router: SocketAddr,
    collector: Collector,
    _vendors: Vec<DropGuard>,
    database: String,
    process: Process,
}

impl<'a> World<'a> {
    /// Starts the router and registers the vendors.
    ///
    /// # Errors
    /// When something does not start.
    pub(super) async fn start(server: &'a Server, vendors: &[&Arc<Vendor>]) -> Result<Self> {
        let url = server.0.create_database()?;
        let database = url.rsplit('/').next().context("a URL without a database")?.to_owned();
        let (router, collector, folder) = (launch::free_address()?, Collector::start()?, tempfile::tempdir()?);
        let settings = [
            ("POSMESH__DATABASE__URL", url),
            ("POSMESH__LISTEN__GRPC", router.to_string()),
            ("POSMESH__PEERS__ROUTER", format!("http://{router}")),
            ("POSMESH__ROUTER__SEALING_KEYS", format!("bench:{}", STANDARD.encode([7; 32]))),
            ("POSMESH__TELEMETRY__LOG_FILTER", "warn".to_owned()),
        ];
        let settings: Vec<_> = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // Numbers go out every second, traces not at all.
        let telling = [
            ("POSMESH__TELEMETRY__OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000".to_owned()),
            ("OTEL_TRACES_SAMPLER", "always_off".to_owned()),
        ];
        let telling = telling.into_iter().map(|(key, value)| (key.to_owned(), value));
        let environment = settings.iter().cloned().chain(telling).collect();
        let arguments = ["serve", "router"].map(Into::into).to_vec();
        let process = Process::start("router", &launch::binary("posmesh")?, arguments, environment, folder.path())?;
        let mut guards = Vec::new();
        for vendor in vendors {
            guards.push(vendor.serve(router).await?);
        }
        Ok(Self { server, settings, folder, router, collector, _vendors: guards, database, process })
    }

    fn client(&self) -> Result<RouterServiceClient<Channel>> {
        Ok(RouterServiceClient::new(launch::channel(self.router)?))
    }

    /// Puts a connection for each of so many stores.
    ///
    /// # Errors
    /// When the router refuses.
    pub(super) async fn connect(&self, vendor: &str, stores: usize) -> Result<()> {
        let client = self.client()?;
        let put = |number: usize| {
            let connection = Connection {
                connection_id: connection_id(vendor, number),
                store_id: order::store_id(number),
                vendor: vendor.to_owned(),
                settings_json: "{}".to_owned(),
                revision: -1,
                ..Connection::default()
            };
            let put = PutConnectionRequest { connection: Some(connection), ..PutConnectionRequest::default() };
            let client = client.clone();
            async move {
                // The vendor may not have registered yet.
                let put = async || Ok(client.clone().put_connection(put.clone()).await?);
                launch::eventually("the router takes a connection", put).await.map(drop)
            }
        };
        stream::iter(0..stores).map(put).buffer_unordered(CONNECT_AT_ONCE).try_collect().await
    }

    /// Waits until so many links are in this state; of those that are ONLINE, until nothing of them changes any more.
    ///
    /// # Errors
    /// When they do not come to that.
    pub(super) async fn until(&self, state: LinkState, count: usize) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.count(state).await?;
            if found == count {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{found} of {count} links are {}", state.as_str_name());
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn count(&self, state: LinkState) -> Result<usize> {
        let (mut client, mut page_token, mut count) = (self.client()?, String::new(), 0);
        loop {
            let states = vec![state.into()];
            let request = ListLinksRequest { states, page_size: PAGE, page_token, ..ListLinksRequest::default() };
            let page = client.list_links(request).await?.into_inner();
            let is_settled = |passed: i32| state != LinkState::Online || passed == ALL_PROBES;
            count += page.links.iter().filter(|link| is_settled(link.probes_passed)).count();
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(count);
            }
        }
    }

    /// Offers so many orders in a second, to one store after the other; how many were placed.
    ///
    /// # Errors
    /// When the router cannot be called.
    pub(super) async fn order(&self, vendor: &str, stores: usize, per_second: f64, duration: Duration) -> Result<u64> {
        let client = PosAdapterServiceClient::new(launch::channel(self.router)?);
        let (placed, orders) = (Arc::new(AtomicU64::new(0)), TaskTracker::new());
        let mut clock = interval(Duration::from_secs_f64(1.0 / per_second));
        let until = Instant::now() + duration;
        for number in (0..stores).cycle() {
            clock.tick().await;
            if Instant::now() >= until {
                break;
            }
            let (mut client, placed) = (client.clone(), Arc::clone(&placed));
            let mut request = Request::new(submission(&connection_id(vendor, number)));
            request.set_timeout(ORDER_TIMEOUT);
            orders.spawn(async move {
                let answer = client.submit_order(request).await;
                let outcome = answer.ok().and_then(|answer| answer.into_inner().outcome?.outcome);
                if matches!(outcome, Some(Outcome::Placed(_))) {
                    placed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        orders.close();
        orders.wait().await;
        Ok(placed.load(Ordering::Relaxed))
    }

    /// How late probes began, of links that are `living` or `offline`.
    pub(super) fn lateness(&self, link: &str) -> Distribution {
        self.collector.distribution(LATENESS, &[link])
    }

    /// Rows of links and their history written so far.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) fn writes(&self) -> Result<u64> {
        Ok(self.server.query(&self.database, WRITES)?.parse()?)
    }

    /// Processor time that the router took so far.
    pub(super) fn cpu(&self) -> Duration {
        machine::cpu_of_family(self.process.id())
    }
}

fn submission(connection_id: &str) -> SubmitOrderRequest {
    SubmitOrderRequest {
        target: Some(PosTarget { connection_id: connection_id.to_owned(), ..PosTarget::default() }),
        order: Some(PosOrder { reference: uuid::Uuid::new_v4().to_string(), ..PosOrder::default() }),
        attempt: 1,
        not_after: Some(time::from_unix_ms(time::now_unix_ms() + 10_000)),
        ..SubmitOrderRequest::default()
    }
}
