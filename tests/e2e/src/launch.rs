//! Which processes a mesh consists of, and how each is configured.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use posmesh_counterparts::free_port;

use crate::{Options, Process, Proxy, Shape, binary, wires::Wires};

/// Name of the one process of [`Shape::Sqlite`].
pub(crate) const SQLITE_PROCESS: &str = "posmesh";
/// Opens the gateway's pages for operators.
pub const OPS_TOKEN: &str = "e2e-operations-token";

/// Where everything listens.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) store: SocketAddr,
    pub(crate) catalog: SocketAddr,
    pub(crate) orders: Vec<SocketAddr>,
    pub(crate) routers: Vec<SocketAddr>,
    pub(crate) adapters: Vec<SocketAddr>,
    pub(crate) gateway: SocketAddr,
}

impl Ports {
    pub(crate) fn choose(shape: Shape, order_replicas: usize) -> Result<Self> {
        let free = || anyhow::Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        let gateway = free()?;
        Ok(match shape {
            Shape::Sqlite => {
                let shared = free()?;
                let (orders, routers, adapters) = (vec![shared], vec![shared], vec![free()?]);
                Self { store: shared, catalog: shared, orders, routers, adapters, gateway }
            }
            Shape::Postgres => {
                let orders = (0..order_replicas).map(|_| free()).collect::<Result<_>>()?;
                let routers = vec![free()?, free()?];
                let adapters = vec![free()?, free()?];
                Self { store: free()?, catalog: free()?, orders, routers, adapters, gateway }
            }
        })
    }

    pub(crate) fn grpc_servers(&self) -> Vec<(SocketAddr, Vec<&'static str>)> {
        const STORE: &str = "posmesh.store.v1.StoreService";
        const CATALOG: &str = "posmesh.catalog.v1.CatalogService";
        const ORDER: &str = "posmesh.order.v1.OrderService";
        const ROUTER: &str = "posmesh.router.v1.RouterService";
        const ADAPTER: &str = "posmesh.adapter.v1.PosAdapterService";
        let mut servers: Vec<(SocketAddr, Vec<&'static str>)> = Vec::new();
        let mut add = |address: SocketAddr, services: &[&'static str]| match servers
            .iter_mut()
            .find(|(known, _)| *known == address)
        {
            Some((_, served)) => served.extend(services),
            None => servers.push((address, services.to_vec())),
        };
        add(self.store, &[STORE]);
        add(self.catalog, &[CATALOG]);
        self.orders.iter().for_each(|order| add(*order, &[ORDER]));
        self.routers.iter().for_each(|router| add(*router, &[ROUTER, ADAPTER]));
        self.adapters.iter().for_each(|adapter| add(*adapter, &[ADAPTER]));
        servers
    }
}

/// Where the services keep their data.
#[derive(Debug)]
pub(crate) enum Database {
    /// A folder of files.
    Sqlite(PathBuf),
    /// A database of a server.
    Postgres {
        /// Where the server listens.
        server: SocketAddr,
        /// `postgres://` URL without wires.
        url: String,
    },
}

impl Database {
    /// As a process is configured.
    fn url(&self, process: &str, wires: &Wires) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.display()),
            Self::Postgres { server, url } => {
                url.replacen(&server.to_string(), &wires.via(process, *server).to_string(), 1)
            }
        }
    }
}

/// `http://` addresses, separated by commas.
pub(crate) fn urls(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(",")
}

/// Starts every process of a mesh, all at once: none may need another one to be there first.
pub(crate) fn all(
    shape: Shape,
    ports: &Ports,
    options: &Options<'_>,
    gate: Option<&Proxy>,
    wires: &Wires,
    database: &Database,
    folder: &Path,
) -> Result<Vec<Process>> {
    let start = |name: &str, services: &[&str], own: &[(&str, String)]| {
        let arguments = std::iter::once("serve").chain(services.iter().copied()).map(OsString::from).collect();
        let mut environment = common(name, ports, options, wires, database);
        environment.extend(own.iter().map(|(key, value)| (format!("POSMESH__{key}"), value.clone())));
        Process::start(name, &binary("posmesh")?, arguments, environment, folder)
    };
    let grpc = |address: &SocketAddr| ("LISTEN__GRPC", address.to_string());
    let http = ("LISTEN__HTTP", ports.gateway.to_string());
    let adapter = |address: &SocketAddr| ("LISTEN__ADAPTER_SIMULATOR", address.to_string());
    if shape == Shape::Sqlite {
        let services = ["store", "router", "catalog", "order", "gateway", "adapter-simulator"];
        let own = [grpc(&ports.store), http, adapter(&ports.adapters[0])];
        return Ok(vec![start(SQLITE_PROCESS, &services, &own)?]);
    }
    let mut processes = vec![
        start("store", &["store"], &[grpc(&ports.store)])?,
        start("catalog", &["catalog"], &[grpc(&ports.catalog)])?,
    ];
    for (at, address) in ports.routers.iter().enumerate() {
        processes.push(start(&format!("router-{}", at + 1), &["router"], &[grpc(address)])?);
    }
    for (at, address) in ports.orders.iter().enumerate() {
        let mut own = vec![grpc(address)];
        if let (0, Some(gate)) = (at, gate) {
            own.push(("PEERS__ROUTER", gate.url()));
        }
        processes.push(start(&format!("order-{}", at + 1), &["order"], &own)?);
    }
    for (at, address) in ports.adapters.iter().enumerate() {
        let name = format!("adapter-simulator-{}", at + 1);
        let advertised = format!("http://{}", wires.via("router", *address));
        let own = [adapter(address), ("ADAPTER_SIMULATOR__ADVERTISE", advertised)];
        processes.push(start(&name, &["adapter-simulator"], &own)?);
    }
    processes.push(start("gateway", &["gateway"], &[http])?);
    Ok(processes)
}

fn common(
    name: &str,
    ports: &Ports,
    options: &Options<'_>,
    wires: &Wires,
    database: &Database,
) -> Vec<(String, String)> {
    let ms = |ms: u64| format!("{ms}ms");
    let via =
        |addresses: &[SocketAddr]| urls(&addresses.iter().map(|address| wires.via(name, *address)).collect::<Vec<_>>());
    let key = STANDARD.encode([7; 32]);
    let settings = [
        ("DATABASE__URL", database.url(name, wires)),
        // Many processes share one server.
        ("DATABASE__MAX_CONNECTIONS", "4".to_owned()),
        ("PEERS__STORE", urls(&[ports.store])),
        ("PEERS__CATALOG", urls(&[ports.catalog])),
        ("PEERS__ORDER", via(&ports.orders)),
        ("PEERS__ROUTER", via(&ports.routers)),
        ("ROUTER__SEALING_KEYS", format!("e2e:{key}")),
        ("GATEWAY__SIGNING_KEYS", key),
        ("GATEWAY__OPS_TOKEN", OPS_TOKEN.to_owned()),
        ("ORDER__ATTEMPT_TIMEOUT", ms(options.attempt_timeout_ms)),
        ("ORDER__LEASE_MARGIN", ms(500)),
        ("ORDER__SWEEP_INTERVAL", ms(200)),
        ("ORDER__CHECK_INTERVAL", ms(1000)),
        ("ORDER__RETRY_BASE", ms(100)),
        ("ORDER__RETRY_CAP", ms(1000)),
        ("ORDER__CACHE_AGE", ms(options.cache_age_ms)),
        ("CATALOG__VERSION_MAX_AGE", ms(100)),
        // Tests change the POS behind everybody's back; those about that switch it on.
        ("CATALOG__POLL_INTERVAL", ms(0)),
        ("TELEMETRY__SERVICE_NAME", name.to_owned()),
        ("TELEMETRY__OTLP_ENDPOINT", options.otlp_endpoint.to_owned()),
        // All that is ours; tests look through it for what must never be logged.
        ("TELEMETRY__LOG_FILTER", "debug,h2=info,hyper=info,hyper_util=info,tower=info,sqlx=info".to_owned()),
    ];
    let own = options.settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let settings = settings.into_iter().chain(own).map(|(key, value)| (format!("POSMESH__{key}"), value));
    // Of the OpenTelemetry specification: how long spans gather before they are sent.
    settings.chain([("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "200".to_owned())]).collect()
}
