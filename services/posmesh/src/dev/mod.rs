//! `posmesh dev`: the whole mesh with a simulated POS and a store, in one process on this machine.

mod folder;
mod guide;
mod store;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Instant,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use posmesh_kit::shutdown;
use posmesh_proto::catalog::v1::CatalogCounts;
use posmesh_simpos::{RunError, Simpos};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    mesh::{self, Mesh, ServiceName},
    progress::{seconds, step},
};

pub(crate) use folder::{DataFolder, Secrets};
pub(crate) use store::STORE_ID;

/// Any free port of this machine, not reachable from others.
const LOCAL_FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

type Pos = JoinHandle<Result<(), RunError>>;

/// What `posmesh dev` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Where databases, the POS's journal and secrets are kept.
    #[arg(long, value_name = "FOLDER", default_value = ".posmesh-dev")]
    data: PathBuf,
    /// Forgets what an earlier run left in the folder.
    #[arg(long)]
    fresh: bool,
}

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(config: Config, options: Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let shutdown = shutdown::on_signal()?;
    let folder = DataFolder::open(&options.data, options.fresh)?;
    let sockets = Sockets {
        grpc: bind_or_free(config.listen.grpc).await?,
        http: bind_or_free(config.listen.http).await?,
        adapter_simulator: bind_or_free(config.listen.adapter_simulator).await?,
    };
    let mesh = DevMesh::start(config, folder, sockets, true).await?;
    guide::print(&mesh).await;
    let data = options.data.display();
    println!("Ready after {}. Ctrl-C ends it; its data stay in {data}. Tickets follow.\n", seconds(began.elapsed()));
    mesh.run(shutdown).await
}

/// Listens on `address`, or on a free port if that one is taken.
async fn bind_or_free(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let listener = bind(SocketAddr::new(address.ip(), 0)).await?;
            println!("{address} is taken; using {} instead", listener.local_addr()?);
            Ok(listener)
        }
        result => result.with_context(|| format!("cannot listen on {address}")),
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// What a whole mesh listens on.
struct Sockets {
    grpc: TcpListener,
    http: TcpListener,
    adapter_simulator: TcpListener,
}

/// A running mesh with its POS and its store.
pub(crate) struct DevMesh {
    folder: DataFolder,
    mesh: Mesh,
    grpc: SocketAddr,
    http: SocketAddr,
    pos_url: String,
    pos: Pos,
    pos_stop: CancellationToken,
}

impl DevMesh {
    /// On free ports.
    pub(crate) async fn start_anywhere(config: Config, folder: DataFolder) -> anyhow::Result<Self> {
        let sockets = Sockets {
            grpc: bind(LOCAL_FREE).await?,
            http: bind(LOCAL_FREE).await?,
            adapter_simulator: bind(LOCAL_FREE).await?,
        };
        Self::start(config, folder, sockets, false).await
    }

    async fn start(
        mut config: Config,
        folder: DataFolder,
        sockets: Sockets,
        print_tickets: bool,
    ) -> anyhow::Result<Self> {
        let (grpc, http) = (sockets.grpc.local_addr()?, sockets.http.local_addr()?);
        let sockets = mesh::Sockets {
            grpc: Some(sockets.grpc),
            http: Some(sockets.http),
            adapter_simulator: Some(sockets.adapter_simulator),
        };
        config.database.url = folder.database_url();
        config.router.sealing_keys = posmesh_router::SealingKeys::new(format!("dev:{}", folder.secrets.sealing_key));
        config.gateway.signing_keys = posmesh_gateway::Secret::new(&folder.secrets.signing_key);
        config.gateway.ops_token = posmesh_gateway::Secret::new(&folder.secrets.ops_token);

        let pos_stop = CancellationToken::new();
        let starting = async {
            let (pos_url, pos) = start_pos(&folder, print_tickets, pos_stop.clone()).await?;
            let mesh = Mesh::start(&config, ServiceName::value_variants(), sockets).await?;
            Ok((pos_url, pos, mesh))
        };
        let (pos_url, pos, mesh) = step("starting mesh", starting, |_| String::new()).await?;
        let dev = Self { folder, mesh, grpc, http, pos_url, pos, pos_stop };
        match dev.provision().await {
            Ok(()) => Ok(dev),
            Err(error) => {
                // The first error says what happened; what the stop says adds nothing.
                let _ = dev.stop().await;
                Err(error)
            }
        }
    }

    /// Puts the store, ties it to the POS and pulls its menu.
    async fn provision(&self) -> anyhow::Result<()> {
        let putting = async {
            store::put_store(self.mesh.channel(ServiceName::Store)?).await?;
            let router = self.mesh.channel(ServiceName::Router)?;
            store::put_connection(router, &self.pos_url, &self.folder.secrets.pos_api_key).await
        };
        step("connecting the store to its POS", putting, |()| String::new()).await?;
        let syncing = async { store::sync_menu(self.mesh.channel(ServiceName::Catalog)?).await };
        let told = |counts: &CatalogCounts| {
            let CatalogCounts { items, modifier_groups, tables, .. } = counts;
            format!(": {items} items, {modifier_groups} modifier groups, {tables} tables")
        };
        step("syncing the menu", syncing, told).await?;
        Ok(())
    }

    /// Serves until `shutdown`.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { mesh, pos, pos_stop, .. } = self;
        // The POS ends after the mesh, so that what is under way still reaches it.
        let served = mesh.run(shutdown).await;
        pos_stop.cancel();
        pos.await.context("the POS ended in a fault")??;
        served
    }

    /// Ends the mesh, then the POS.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        self.run(shutdown).await
    }

    /// Where the products call.
    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Where the simulated POS is.
    pub(crate) fn pos_url(&self) -> &str {
        &self.pos_url
    }

    /// The keys of this mesh.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.folder.secrets
    }
}

/// Starts the simulated POS on a free port; returns its URL.
async fn start_pos(folder: &DataFolder, print_tickets: bool, stop: CancellationToken) -> anyhow::Result<(String, Pos)> {
    let key = folder.secrets.pos_api_key.clone();
    let config =
        posmesh_simpos::Config { journal: Some(folder.journal()), print_tickets, ..posmesh_simpos::Config::new(key) };
    let pos = Simpos::open(config, stop).await.context("the simulated POS cannot start")?;
    let listener = bind(LOCAL_FREE).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((url, tokio::spawn(pos.serve(listener))))
}
