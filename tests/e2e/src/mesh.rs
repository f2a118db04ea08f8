//! A running mesh.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use posmesh_counterparts::Postgres;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Folder, Http, Process, Proxy, Wire, eventually,
    launch::{self, Database, Ports, SQLITE_PROCESS},
    wait::PATIENCE,
    wires::Wires,
};

/// How the services are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All services in one process, on SQLite.
    Sqlite,
    /// Every service in a process of its own, several replicas of order, two of router, two instances of the adapter,
    /// on PostgreSQL.
    Postgres,
}

/// What differs from mesh to mesh.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// `order.attempt_timeout`, milliseconds.
    pub attempt_timeout_ms: u64,
    /// `order.cache_age`, milliseconds.
    pub cache_age_ms: u64,
    /// Puts a proxy between the first order replica and the router, see [`crate::Shop::gate`].
    pub gated: bool,
    /// Where traces go.
    pub otlp_endpoint: &'a str,
    /// Replicas of the order service, where it has a process of its own.
    pub order_replicas: usize,
    /// A server of the mesh's own; else it shares one with the other tests of this process.
    pub postgres: Option<&'a Postgres>,
    /// Lays [`Mesh::wires`]; needs a `postgres` of its own.
    pub wired: bool,
    /// Further settings of all processes, by `SECTION__KEY`; they win over the usual ones.
    pub settings: &'a [(&'a str, &'a str)],
}

impl Default for Options<'_> {
    /// An undisturbed mesh that notices changes soon.
    fn default() -> Self {
        Self {
            attempt_timeout_ms: 5000,
            cache_age_ms: 100,
            gated: false,
            otlp_endpoint: "",
            order_replicas: 2,
            postgres: None,
            wired: false,
            settings: &[],
        }
    }
}

impl Options<'_> {
    /// A mesh whose first order replica can be cut off, and whose leases are over in seconds. It remembers connections
    /// for long, so that nothing but the sending itself needs the router.
    pub fn for_faults() -> Self {
        Self { attempt_timeout_ms: 2000, cache_age_ms: 60_000, gated: true, ..Self::default() }
    }
}

/// A running mesh. Ends when dropped.
#[derive(Debug)]
pub struct Mesh {
    shape: Shape,
    ports: Ports,
    processes: Vec<Process>,
    gate: Option<Proxy>,
    wires: Wires,
    // After the processes, so that they end first.
    folder: Folder,
}

impl Mesh {
    /// The mesh that all tests of this process share. It ends with the process.
    ///
    /// # Errors
    /// As [`Mesh::start`].
    pub async fn shared(shape: Shape) -> Result<Arc<Self>> {
        static SQLITE: OnceCell<Arc<Mesh>> = OnceCell::const_new();
        static POSTGRES: OnceCell<Arc<Mesh>> = OnceCell::const_new();
        let cell = match shape {
            Shape::Sqlite => &SQLITE,
            Shape::Postgres => &POSTGRES,
        };
        let start = async || Self::start(shape, Options::default()).await.map(Arc::new);
        cell.get_or_try_init(start).await.map(Arc::clone)
    }

    /// Starts one, and waits until every process is ready.
    ///
    /// # Errors
    /// When a process ends or is not ready in time; the error holds the end of its log.
    pub async fn start(shape: Shape, options: Options<'_>) -> Result<Self> {
        let folder = Folder::new()?;
        let ports = Ports::choose(shape, options.order_replicas)?;
        let gate = match shape {
            Shape::Postgres if options.gated => Some(Proxy::before(ports.routers[0]).await?),
            _ => None,
        };
        let database = match (shape, options.postgres) {
            (Shape::Sqlite, _) => Database::Sqlite(folder.path().join("db")),
            (Shape::Postgres, Some(server)) => database_of(server)?,
            (Shape::Postgres, None) => tokio::task::spawn_blocking(|| database_of(Postgres::shared()?)).await??,
        };
        let wires = match &database {
            Database::Postgres { server, .. } if options.wired => Wires::lay(&ports, *server).await?,
            _ => Wires::default(),
        };
        let processes = launch::all(shape, &ports, &options, gate.as_ref(), &wires, &database, folder.path())?;
        let mesh = Self { shape, ports, processes, gate, wires, folder };
        mesh.wait_until_ready().await?;
        Ok(mesh)
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The process that holds an order replica: 0 or 1. Where all services share one process, that one.
    pub fn order_replica(&self, replica: usize) -> &Process {
        self.process(&format!("order-{}", replica + 1))
    }

    /// The process that holds a router replica, likewise.
    pub fn router_replica(&self, replica: usize) -> &Process {
        self.process(&format!("router-{}", replica + 1))
    }

    /// The process that holds an instance of the simulator's adapter, likewise.
    pub fn adapter_instance(&self, instance: usize) -> &Process {
        self.process(&format!("adapter-simulator-{}", instance + 1))
    }

    fn process(&self, name: &str) -> &Process {
        let wanted = match self.shape {
            Shape::Sqlite => SQLITE_PROCESS,
            Shape::Postgres => name,
        };
        let found = self.processes.iter().find(|process| process.name() == wanted);
        found.unwrap_or_else(|| panic!("the mesh has no process {wanted}"))
    }

    /// All processes.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The wires between its processes, where it was started [with some](Options::wired).
    pub fn wires(&self) -> &[Wire] {
        &self.wires.0
    }

    /// Where the order replicas listen.
    pub fn order_addresses(&self) -> &[SocketAddr] {
        &self.ports.orders
    }

    /// A folder for what else belongs to the mesh.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The proxy between the first order replica and its router, where there is one.
    pub(crate) fn gate(&self) -> Option<&Proxy> {
        self.gate.as_ref()
    }

    /// Where each process serves gRPC, with the services that it serves there.
    pub fn grpc_servers(&self) -> Vec<(SocketAddr, Vec<&'static str>)> {
        self.ports.grpc_servers()
    }

    /// `http://` addresses of the router, separated by commas, as an adapter is configured.
    pub fn router_urls(&self) -> String {
        launch::urls(&self.ports.routers)
    }

    /// Where the operator's program finds the services.
    pub(crate) fn peers(&self) -> [(&'static str, String); 3] {
        [
            ("POSMESH__PEERS__CATALOG", launch::urls(&[self.ports.catalog])),
            ("POSMESH__PEERS__ORDER", launch::urls(&self.ports.orders)),
            ("POSMESH__PEERS__ROUTER", launch::urls(&self.ports.routers)),
        ]
    }

    /// A client of the gateway.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn http(&self) -> Result<Http> {
        Http::new(&format!("http://{}", self.ports.gateway))
    }

    /// A way to an order replica, as product backends have it. Each test makes its own: it belongs to the test's runtime.
    ///
    /// # Errors
    /// Never for addresses.
    pub fn order(&self, replica: usize) -> Result<Channel> {
        channel(self.ports.orders[replica % self.ports.orders.len()])
    }

    /// Likewise to the catalog.
    ///
    /// # Errors
    /// As [`Mesh::order`].
    pub fn catalog(&self) -> Result<Channel> {
        channel(self.ports.catalog)
    }

    /// Likewise to the store service.
    ///
    /// # Errors
    /// As [`Mesh::order`].
    pub fn store(&self) -> Result<Channel> {
        channel(self.ports.store)
    }

    /// Likewise to the last router replica, which is never one that a test kills.
    ///
    /// # Errors
    /// As [`Mesh::order`].
    pub fn router(&self) -> Result<Channel> {
        channel(self.ports.routers[self.ports.routers.len() - 1])
    }

    /// How long each process's log is now, for [`Mesh::logs_since`].
    pub fn log_lengths(&self) -> Vec<usize> {
        self.processes.iter().map(Process::log_length).collect()
    }

    /// The ends of all logs, of what was written since.
    pub fn logs_since(&self, lengths: &[usize]) -> String {
        let logs = self.processes.iter().zip(lengths).map(|(process, from)| process.log_end(*from));
        logs.collect::<Vec<_>>().join("\n")
    }

    /// Waits until every process is ready, as after a restart.
    ///
    /// # Errors
    /// As [`Mesh::start`].
    pub async fn wait_until_ready(&self) -> Result<()> {
        let begun = tokio::time::Instant::now();
        let http = self.http()?;
        while !self.is_ready(&http).await {
            for process in &self.processes {
                if let Some(status) = process.ended()? {
                    anyhow::bail!("{} ended with {status}:\n{}", process.name(), process.log_end(0));
                }
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "not ready in time:\n{}", self.logs_since(&[0; 16]));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn is_ready(&self, http: &Http) -> bool {
        for (address, services) in self.grpc_servers() {
            for service in services {
                if health(address, service).await != Some(true) {
                    return false;
                }
            }
        }
        Http::send(http.get("/readyz")).await.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until an order replica serves again.
    pub async fn order_serves(&self, replica: usize) {
        let address = self.ports.orders[replica % self.ports.orders.len()];
        let serves = async || health(address, "posmesh.order.v1.OrderService").await.filter(|serving| *serving);
        eventually("the order service serves", serves).await;
    }
}

fn database_of(server: &Postgres) -> Result<Database> {
    Ok(Database::Postgres { server: ([127, 0, 0, 1], server.port()).into(), url: server.create_database()? })
}

/// What grpc.health.v1 says of a service; nothing if it does not answer.
pub(crate) async fn health(address: SocketAddr, service: &str) -> Option<bool> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let mut request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    request.set_timeout(std::time::Duration::from_secs(2));
    let answer = HealthClient::new(channel(address).ok()?).check(request).await.ok()?.into_inner();
    Some(answer.status() == ServingStatus::Serving)
}

/// A plain channel, connected when it is used first.
pub(crate) fn channel(address: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.timeout(PATIENCE).connect_lazy())
}
