//! The services of one process: how they find each other, and in which order they start and stop.

use std::{collections::HashMap, future::Future, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use clap::ValueEnum;
use posmesh_adapter_kit::Registration;
use posmesh_adapter_simulator::Simulator;
use posmesh_kit::{
    Channel,
    config::ConfigError,
    server::{self, Mounted},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Listen, Peers};

/// What `posmesh serve` can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum ServiceName {
    Store,
    Router,
    Catalog,
    Order,
    Gateway,
    AdapterSimulator,
}

impl ServiceName {
    /// Whether it is served on the process's common gRPC socket.
    fn shares_grpc_socket(self) -> bool {
        !matches!(self, Self::Gateway | Self::AdapterSimulator)
    }
}

/// The sockets that the services of a process need.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) grpc: Option<TcpListener>,
    pub(crate) http: Option<TcpListener>,
    pub(crate) adapter_simulator: Option<TcpListener>,
}

impl Sockets {
    /// Listens for `services`.
    pub(crate) async fn bind(listen: &Listen, services: &[ServiceName]) -> anyhow::Result<Self> {
        let mut sockets = Self::default();
        if services.iter().any(|name| name.shares_grpc_socket()) {
            sockets.grpc = Some(bind("listen.grpc", listen.grpc).await?);
        }
        if services.contains(&ServiceName::Gateway) {
            sockets.http = Some(bind("listen.http", listen.http).await?);
        }
        if services.contains(&ServiceName::AdapterSimulator) {
            sockets.adapter_simulator = Some(bind("listen.adapter_simulator", listen.adapter_simulator).await?);
        }
        Ok(sockets)
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

/// How services call each other: those of this process directly, the others over the network.
struct Channels {
    remote: Peers,
    in_process: HashMap<ServiceName, Channel>,
}

impl Channels {
    /// A way to `peer`. One that does not run in this process must have endpoints.
    fn to(&self, peer: ServiceName) -> Result<Channel, ConfigError> {
        if let Some(channel) = self.in_process.get(&peer) {
            return Ok(channel.clone());
        }
        let (key, endpoints) = match peer {
            ServiceName::Store => ("peers.store", &self.remote.store),
            ServiceName::Router => ("peers.router", &self.remote.router),
            ServiceName::Catalog => ("peers.catalog", &self.remote.catalog),
            ServiceName::Order => ("peers.order", &self.remote.order),
            ServiceName::Gateway | ServiceName::AdapterSimulator => {
                return Err(ConfigError::invalid("peers", format!("nobody calls {peer:?} by name")));
            }
        };
        if endpoints.is_empty() {
            let message = "must name its endpoints: a service here calls it, and it does not run in this process";
            return Err(ConfigError::invalid(key, message));
        }
        // Named by its key, so that an error tells which setting is wrong.
        Channel::remote(key, endpoints)
    }
}

/// The running services of this process.
pub(crate) struct Mesh {
    channels: Channels,
    /// In the order in which they stop: whoever calls stops before whom it calls.
    parts: Vec<Part>,
    /// Cancelled when a part ends, whatever the reason.
    ended: CancellationToken,
}

/// What listens on one socket.
struct Part {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Mesh {
    /// Builds `services` in the order in which they call each other, and serves them on `sockets`.
    pub(crate) async fn start(config: &Config, services: &[ServiceName], sockets: Sockets) -> anyhow::Result<Self> {
        let channels = Channels { remote: config.peers.clone(), in_process: HashMap::new() };
        let mut mesh = Self { channels, parts: Vec::new(), ended: CancellationToken::new() };
        let mounted = mesh.mount(config, services).await?;
        if let Some(listener) = sockets.http {
            mesh.serve_gateway(config, listener)?;
        }
        if let Some(listener) = sockets.grpc {
            let limits = config.server.clone();
            mesh.spawn(|stop| async move { Ok(server::serve(&limits, listener, mounted, stop).await?) });
        }
        if let Some(listener) = sockets.adapter_simulator {
            mesh.serve_adapter(config, listener)?;
        }
        Ok(mesh)
    }

    /// A way to a service.
    pub(crate) fn channel(&self, name: ServiceName) -> Result<Channel, ConfigError> {
        self.channels.to(name)
    }

    /// A way to the stores, for those who can do without, if they are served here or have endpoints.
    fn stores_if_any(&self) -> Result<Option<Channel>, ConfigError> {
        let runs_here = self.channels.in_process.contains_key(&ServiceName::Store);
        let is_there = runs_here || !self.channels.remote.store.is_empty();
        is_there.then(|| self.channel(ServiceName::Store)).transpose()
    }

    /// Serves until `shutdown`, or until one of the sockets fails; then stops all.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.ended.cancelled() => {}
        }
        self.stop().await
    }

    /// Ends every service, each within its grace, those that call before those that they call.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let mut first_error = Ok(());
        for part in self.parts {
            part.stop.cancel();
            let result = part.task.await.context("a server ended in a fault").flatten();
            first_error = first_error.and(result);
        }
        first_error
    }

    async fn mount(&mut self, config: &Config, services: &[ServiceName]) -> anyhow::Result<Vec<Mounted>> {
        use ServiceName::{Catalog, Order, Router, Store};

        let database = &config.database;
        let mut mounted = Vec::new();
        // A callee comes before its callers, so that they find it in process.
        for name in [Store, Router, Catalog, Order].into_iter().filter(|name| services.contains(name)) {
            let service = match name {
                Store => posmesh_store::mount(&config.store, database).await?,
                Router => {
                    let peers = posmesh_router::Peers { store: self.stores_if_any()? };
                    posmesh_router::mount(&config.router, database, peers).await?
                }
                Catalog => {
                    let peers = posmesh_catalog::Peers { store: self.channel(Store)?, router: self.channel(Router)? };
                    posmesh_catalog::mount(&config.catalog, database, peers).await?
                }
                _ => {
                    let peers = posmesh_order::Peers {
                        store: self.channel(Store)?,
                        catalog: self.channel(Catalog)?,
                        router: self.channel(Router)?,
                    };
                    posmesh_order::mount(&config.order, database, peers).await?
                }
            };
            self.channels.in_process.insert(name, service.channel(&config.server));
            mounted.push(service);
        }
        Ok(mounted)
    }

    fn serve_gateway(&mut self, config: &Config, listener: TcpListener) -> anyhow::Result<()> {
        let peers = posmesh_gateway::Peers {
            store: self.channel(ServiceName::Store)?,
            catalog: self.channel(ServiceName::Catalog)?,
            order: self.channel(ServiceName::Order)?,
        };
        let config = config.gateway.clone();
        self.spawn(|stop| async move { Ok(posmesh_gateway::run(&config, peers, listener, stop).await?) });
        Ok(())
    }

    fn serve_adapter(&mut self, config: &Config, listener: TcpListener) -> anyhow::Result<()> {
        let endpoint = advertised(&config.adapter_simulator.advertise, listener.local_addr()?)?;
        let adapter = Simulator::new(&config.adapter_simulator.http)?;
        let router = self.channel(ServiceName::Router)?;
        let registration = Registration { router, endpoint, connection_ids: Vec::new() };
        let (mounted, _) = posmesh_adapter_kit::mount_registered(Arc::new(adapter), registration);
        let limits = config.server.clone();
        self.spawn(|stop| async move { Ok(server::serve(&limits, listener, vec![mounted], stop).await?) });
        Ok(())
    }

    fn spawn<F>(&mut self, serve: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let work = serve(stop.clone());
        let ended = self.ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _ended = ended;
            work.await
        });
        self.parts.push(Part { stop, task });
    }
}

/// Where the router reaches the adapter.
fn advertised(advertise: &str, listens_on: SocketAddr) -> Result<String, ConfigError> {
    const KEY: &str = "adapter_simulator.advertise";
    if !advertise.is_empty() {
        // Refuses what the router would refuse, before anything is served.
        Channel::remote(KEY, advertise)?;
        return Ok(advertise.to_owned());
    }
    if listens_on.ip().is_unspecified() {
        let message = format!("must be set: the adapter listens on {listens_on}, which the router cannot call");
        return Err(ConfigError::invalid(KEY, message));
    }
    Ok(format!("http://{listens_on}"))
}
