//! The whole mesh as processes, with a simulated POS, and stores that sell.

use std::{
    collections::HashMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use posmesh_e2e::{Process, provision};
use posmesh_kit::time;
use posmesh_proto::{
    catalog::v1::{StartSyncRequest, catalog_service_client::CatalogServiceClient},
    common::v1::{LocalizedText, Product},
    router::v1::{Connection, PutConnectionRequest, router_service_client::RouterServiceClient},
    store::v1::{
        Brand, GateAction, GatePolicy, PutBrandRequest, PutStoreRequest, store_service_client::StoreServiceClient,
    },
};
use serde_json::json;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::order;

/// What the POS asks its callers for.
pub(crate) const API_KEY: &str = "bench-pos-key";
/// Far longer than anything takes, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// No order is given up while it is measured.
const DELIVER_WITHIN: Duration = Duration::from_secs(3600);
/// Stores that are provided for at once.
const PROVISION_AT_ONCE: usize = 16;

/// How the services are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each in a process of its own.
    Separate,
    /// All in one process.
    OneProcess,
}

/// A running mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    processes: Vec<Process>,
    /// Where products call.
    pub(crate) gateway: SocketAddr,
    /// Where product backends call.
    pub(crate) order: SocketAddr,
    /// The POS of all stores.
    pub(crate) pos: SocketAddr,
    /// Where menus are read.
    pub(crate) catalog: SocketAddr,
    /// Where the POS is called.
    pub(crate) router: SocketAddr,
    store: SocketAddr,
}

impl Mesh {
    /// Starts it on a database, with so many stores that sell. `own` are further settings of the order service.
    ///
    /// # Errors
    /// When a process does not start, or a service refuses.
    pub(crate) async fn start(
        shape: Shape,
        database_url: &str,
        stores: usize,
        folder: &Path,
        own: &[(&str, String)],
    ) -> Result<Self> {
        let pos = free_address()?;
        let arguments = ["--listen", &pos.to_string(), "--api-key", API_KEY].map(OsString::from).to_vec();
        let mut processes = vec![Process::start("simpos", &binary("simpos")?, arguments, Vec::new(), folder)?];
        let (gateway, adapter, shared) = (free_address()?, free_address()?, free_address()?);
        let grpc = |shape| if shape == Shape::OneProcess { Ok(shared) } else { free_address() };
        let (store, catalog, router, order) = (grpc(shape)?, grpc(shape)?, grpc(shape)?, grpc(shape)?);
        let key = STANDARD.encode([7; 32]);
        let mut common = vec![
            ("DATABASE__URL", database_url.to_owned()),
            ("PEERS__STORE", format!("http://{store}")),
            ("PEERS__CATALOG", format!("http://{catalog}")),
            ("PEERS__ORDER", format!("http://{order}")),
            ("PEERS__ROUTER", format!("http://{router}")),
            ("ROUTER__SEALING_KEYS", format!("bench:{key}")),
            ("GATEWAY__SIGNING_KEYS", key),
            ("LISTEN__HTTP", gateway.to_string()),
            ("LISTEN__ADAPTER_SIMULATOR", adapter.to_string()),
            // All stores share one POS here: the connection of each would be told what happened to the orders of all.
            ("ORDER__ERRANDS_AT_ONCE", "0".to_owned()),
        ];
        common.extend(own.iter().map(|(key, value)| (*key, value.clone())));
        let services: &[(&[&str], SocketAddr)] = match shape {
            Shape::OneProcess => &[(&["store", "router", "catalog", "order", "gateway", "adapter-simulator"], shared)],
            Shape::Separate => &[
                (&["store"], store),
                (&["router"], router),
                (&["catalog"], catalog),
                (&["order"], order),
                (&["adapter-simulator"], adapter),
                (&["gateway"], gateway),
            ],
        };
        for (names, address) in services {
            let arguments = std::iter::once("serve").chain(names.iter().copied()).map(OsString::from).collect();
            let settings = common.iter().cloned().chain([("LISTEN__GRPC", address.to_string())]);
            let environment = settings.map(|(key, value)| (format!("POSMESH__{key}"), value)).collect();
            let name = if names.len() == 1 { names[0] } else { "posmesh" };
            processes.push(Process::start(name, &binary("posmesh")?, arguments, environment, folder)?);
        }
        let mesh = Self { processes, gateway, order, pos, store, catalog, router };
        mesh.provide(stores).await.with_context(|| mesh.logs())?;
        Ok(mesh)
    }

    /// The process of this name.
    ///
    /// # Errors
    /// When the mesh has none.
    pub(crate) fn process(&self, name: &str) -> Result<&Process> {
        self.processes.iter().find(|process| process.name() == name).with_context(|| format!("no process {name}"))
    }

    fn logs(&self) -> String {
        self.processes.iter().map(|process| process.log_end(0)).collect::<Vec<_>>().join("\n")
    }

    /// Each store with a connection to the one POS, and its menu.
    async fn provide(&self, stores: usize) -> Result<()> {
        let name = LocalizedText { texts: HashMap::from([("en".to_owned(), "Bench".to_owned())]) };
        let brand = Brand { brand_id: provision::BRAND_ID.to_owned(), name: Some(name), revision: -1 };
        let client = StoreServiceClient::new(channel(self.store)?);
        let put = async || Ok(client.clone().put_brand(PutBrandRequest { brand: Some(brand.clone()) }).await?);
        eventually("the store service answers", put).await?;
        stream::iter(0..stores)
            .map(|number| self.provide_one(number))
            .buffer_unordered(PROVISION_AT_ONCE)
            .try_collect()
            .await
    }

    async fn provide_one(&self, number: usize) -> Result<()> {
        let store_id = order::store_id(number);
        let mut store = provision::store(&store_id, &[]);
        for policy in &mut store.product_policies {
            policy.deliver_within = Some(time::to_proto_duration(DELIVER_WITHIN));
            if policy.product() != Product::Table {
                policy.gate = Some(patient());
            }
        }
        StoreServiceClient::new(channel(self.store)?).put_store(PutStoreRequest { store: Some(store) }).await?;
        let connection = Connection {
            connection_id: format!("{store_id}-pos"),
            store_id: store_id.clone(),
            vendor: "simulator".to_owned(),
            settings_json: json!({ "base_url": format!("http://{}", self.pos) }).to_string(),
            revision: -1,
            ..Connection::default()
        };
        let credentials = HashMap::from([("api_key".to_owned(), API_KEY.to_owned())]);
        let put = PutConnectionRequest { connection: Some(connection), credentials };
        let client = RouterServiceClient::new(channel(self.router)?);
        // The adapter may not have registered yet.
        eventually("the router takes a connection", async || Ok(client.clone().put_connection(put.clone()).await?))
            .await?;
        let client = CatalogServiceClient::new(channel(self.catalog)?);
        let sync = StartSyncRequest { store_id: store_id.clone(), wait: true };
        let synced = async || {
            let run = client.clone().start_sync(sync.clone()).await?.into_inner().run.context("no run")?;
            anyhow::ensure!(run.catalog_version > 0, "nothing was published: {run:?}");
            Ok(())
        };
        eventually("the menu is pulled", synced).await
    }
}

/// Orders that the POS does not take now are kept, as many as may be: they are the queue that is measured.
fn patient() -> GatePolicy {
    GatePolicy {
        when_offline: GateAction::Hold.into(),
        hold_for: Some(time::to_proto_duration(DELIVER_WITHIN)),
        max_held: 10_000,
        max_in_doubt: 1000,
        max_waiting: 10_000,
        ..GatePolicy::default()
    }
}

/// A plain channel, connected when it is used first.
///
/// # Errors
/// Never for addresses.
pub(crate) fn channel(address: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect_lazy())
}

/// A loopback address that nobody listens on.
///
/// # Errors
/// When there is none.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], posmesh_counterparts::free_port()?)))
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// The last one when there is no answer in time, with what was waited for.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= until => {
                return Err(error.context(format!("{what}: not within {} s", PATIENCE.as_secs())));
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Builds the programs that are measured, in this build's profile, unless `cargo` did not start the bench.
///
/// # Errors
/// When they cannot be built.
pub(crate) fn build() -> Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bin", "posmesh", "--bin", "simpos"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    anyhow::ensure!(command.status()?.success(), "posmesh and simpos cannot be built");
    Ok(())
}

/// A program of this workspace, as built beside the bench.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("the bench does not know where it is")?;
    let path = own.with_file_name(name);
    if !path.is_file() {
        bail!("{} is missing: start the bench by `cargo run --release -p bench`, which builds it", path.display());
    }
    Ok(path)
}
