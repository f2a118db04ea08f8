//! The processes of the mesh, each on a host of its own: several order replicas, routers and adapters; one host for
//! stores and catalogs; the POS; the guests; and in some stores a printer that stands in for the POS, with its adapter.

use std::{sync::Arc, time::Duration};

use posmesh_adapter_kit::{Registration, mount_registered};
use posmesh_catalog::storage::MemoryStorage as CatalogStorage;
use posmesh_kit::{
    Channel,
    server::{self, Mounted, ServerConfig},
};
use posmesh_order::{Config, Peers};
use posmesh_router::{SealingKeys, storage::MemoryStorage as RouterStorage};
use posmesh_store::storage::MemoryStorage as StoreStorage;
use tokio_util::sync::CancellationToken;

use crate::{
    adapter,
    database::Database,
    guests::Guests,
    heard::Heard,
    planted::Planted,
    pos::{Mishap, Pos},
    trace::Trace,
    world::{
        Software, World,
        net::{HostId, Listener, Net},
    },
};

const PORT: u16 = 50051;
pub(crate) const ORDERS: usize = 3;
const ROUTERS: usize = 2;
const ADAPTERS: usize = 2;

/// A way to a host, or to all hosts of a kind.
pub(crate) fn channel(host: &str) -> Channel {
    #[allow(clippy::expect_used)] // The text is of the form that it must have.
    Channel::remote(host, &format!("http://{host}:{PORT}")).expect("a well-formed endpoint")
}

/// Everything of one simulation.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) database: Database,
    pub(crate) pos: Pos,
    /// The printer that stands in for the POS.
    pub(crate) printer: Option<Pos>,
    pub(crate) guests: Guests,
    pub(crate) heard: Heard,
    pub(crate) trace: Trace,
    pub(crate) hosts: Hosts,
}

/// Where everything runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    pub(crate) orders: Vec<HostId>,
    pub(crate) routers: Vec<HostId>,
    pub(crate) adapters: Vec<HostId>,
    pub(crate) masters: HostId,
    pub(crate) pos: HostId,
    pub(crate) guests: HostId,
    /// Where the store has one: the printer's adapter, and the printer.
    pub(crate) printer: Option<(HostId, HostId)>,
}

impl Cluster {
    pub(crate) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut world = World::new(seed);
        let (now, net) = (world.now.clone(), world.net.clone());
        let trace = Trace::new(now.clone());
        let database = Database::new(ORDERS, now.clone(), trace.clone());
        let pos = Pos::new(seed, now.clone(), trace.clone());
        let printer = Pos::printer(seed, now.clone(), trace.clone());
        let guests = Guests::new(seed, ORDERS, pos.clone(), printer.clone(), now.clone(), trace.clone());
        let heard = Heard::new(now.clone());
        let mut hosts = Hosts { pos: world.add(&["pos"], pos.software(&net)), ..Hosts::default() };
        hosts.masters = world.add(&["masters"], masters(&net));
        let connections = Arc::new(RouterStorage::on_clock(now.clock()));
        let keys = SealingKeys::generate("k1");
        for n in 0..ROUTERS {
            let software = router(&net, Arc::clone(&connections), keys.clone());
            hosts.routers.push(world.add(&[&format!("router-{n}"), "router"], software));
        }
        for n in 0..ADAPTERS {
            let name = format!("adapter-{n}");
            hosts.adapters.push(world.add(&[&name], adapter_host(&net, &name, &pos)));
        }
        for n in 0..ORDERS {
            let software = order(&net, database.clone(), n, seed, &heard, planted);
            hosts.orders.push(world.add(&[&format!("order-{n}"), "order"], software));
        }
        hosts.guests = world.add(&["guests"], guests.software());
        hosts.printer = printer.as_ref().map(|printer| {
            let device = world.add(&[printer.name], printer.software(&net));
            let adapter = "adapter-printer";
            (world.add(&[adapter], adapter_host(&net, adapter, printer)), device)
        });
        Self { world, database, pos, printer, guests, heard, trace, hosts }
    }
}

impl Cluster {
    /// What happened to single submits, at the POS and at the printer.
    pub(crate) fn mishaps(&self) -> Vec<Mishap> {
        [Some(&self.pos), self.printer.as_ref()].into_iter().flatten().flat_map(Pos::mishaps).collect()
    }
}

/// Serves until its host goes down.
async fn serve(services: Vec<Mounted>, listener: Listener) {
    let config = ServerConfig::default();
    if let Err(error) = server::serve_on(&config, listener, services, CancellationToken::new()).await {
        tracing::error!(%error, "a server of the simulation ended");
    }
}

fn masters(net: &Net) -> impl FnOnce(HostId) -> Software + use<> {
    let net = net.clone();
    let (stores, catalogs) = (Arc::new(StoreStorage::default()), Arc::new(CatalogStorage::default()));
    move |host| {
        Box::new(move || {
            let listener = net.listen(host, PORT);
            let (stores, catalogs) = (Arc::clone(&stores), Arc::clone(&catalogs));
            Box::pin(async move {
                let config = posmesh_store::Config { watch_poll_interval: Duration::from_secs(2) };
                let store = posmesh_store::mount_on(&config, stores);
                let peers = posmesh_catalog::Peers { store: channel("masters"), router: channel("router") };
                let catalog = posmesh_catalog::mount_on(&catalog_config(), catalogs, peers);
                serve(vec![store, catalog], listener).await;
            })
        })
    }
}

fn catalog_config() -> posmesh_catalog::Config {
    posmesh_catalog::Config {
        pull_timeout: Duration::from_secs(5),
        max_pull_bytes: 1 << 20,
        max_concurrent_syncs: 2,
        run_lease: Duration::from_secs(6),
        schedule_interval: Duration::ZERO,
        poll_interval: Duration::ZERO,
        kept_versions: 10,
        kept_runs: 10,
        version_max_age: Duration::from_secs(1),
        catalog_cache_bytes: 1 << 20,
        menu_cache_bytes: 1 << 20,
        max_watchers: 100,
        watcher_max_lag: Duration::from_secs(30),
    }
}

fn router(net: &Net, storage: Arc<RouterStorage>, keys: SealingKeys) -> impl FnOnce(HostId) -> Software + use<> {
    let net = net.clone();
    move |host| {
        Box::new(move || {
            let listener = net.listen(host, PORT);
            let config = posmesh_router::Config {
                lease: Duration::from_secs(6),
                refresh_interval: Duration::from_millis(500),
                probe_interval: Duration::from_secs(4),
                probe_timeout: Duration::from_secs(1),
                max_watchers: 64,
                watcher_max_lag: Duration::from_secs(5),
                sealing_keys: keys.clone(),
            };
            let storage = Arc::clone(&storage);
            Box::pin(async move {
                let peers = posmesh_router::Peers { store: Some(channel("masters")) };
                match posmesh_router::mount_on(&config, storage, peers).await {
                    Ok(mounted) => serve(vec![mounted], listener).await,
                    Err(error) => tracing::error!(%error, "a router of the simulation did not start"),
                }
            })
        })
    }
}

fn adapter_host(net: &Net, name: &str, pos: &Pos) -> impl FnOnce(HostId) -> Software + use<> {
    let (net, name, profile) = (net.clone(), name.to_owned(), pos.profile);
    move |host| {
        Box::new(move || {
            let listener = net.listen(host, PORT);
            let endpoint = format!("http://{name}:{PORT}");
            let adapter = adapter::adapter(profile, &net);
            Box::pin(async move {
                let adapter = match adapter {
                    Ok(adapter) => Arc::new(adapter),
                    Err(error) => return tracing::error!(%error, "an adapter of the simulation did not start"),
                };
                let registration = Registration { router: channel("router"), endpoint, connection_ids: Vec::new() };
                let (mounted, _) = mount_registered(adapter, registration);
                serve(vec![mounted], listener).await;
            })
        })
    }
}

/// Times are shorter than in production, so that a seed holds many of them; their relations are the same.
pub(crate) fn order_config() -> Config {
    Config {
        attempt_timeout: Duration::from_secs(3),
        lease_margin: Duration::from_secs(1),
        sweep_interval: Duration::from_millis(500),
        check_interval: Duration::from_secs(4),
        retry_base: Duration::from_millis(200),
        retry_cap: Duration::from_secs(3),
        max_in_flight: 64,
        max_in_flight_per_store: 64,
        max_watchers: 64,
        errands_at_once: 64,
        watcher_max_lag: Duration::from_secs(5),
        cache_age: Duration::from_secs(1),
        contact_retention: Duration::from_secs(3600),
    }
}

fn order(
    net: &Net,
    database: Database,
    replica: usize,
    seed: u64,
    heard: &Heard,
    planted: Option<Planted>,
) -> impl FnOnce(HostId) -> Software + use<> {
    let (net, heard) = (net.clone(), heard.clone());
    move |host| {
        Box::new(move || {
            let listener = net.listen(host, PORT);
            let storage = database.reached_by(replica, seed, planted);
            let router = heard.on_the_way(channel("router"), replica, planted);
            Box::pin(async move {
                let peers = Peers { store: channel("masters"), catalog: channel("masters"), router };
                let mounted = posmesh_order::mount_on(&order_config(), storage, peers);
                serve(vec![mounted], listener).await;
            })
        })
    }
}
