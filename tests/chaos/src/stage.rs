//! Everything under test: the mesh with all its replicas behind proxies, a PostgreSQL that may be stopped, a POS.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Result;
use posmesh_counterparts::{Postgres, free_port};
use posmesh_e2e::{
    API_KEY, Mesh, Options, Pos, Process, Proxy, Shape, binary,
    provision::{self, ANY_REVISION},
    table_code,
};
use posmesh_proto::{
    router::v1::{Connection, ConnectionRole},
    store::v1::Store,
};
use serde_json::json;

/// Replicas of the order service.
pub const ORDER_REPLICAS: usize = 3;
/// How long an attempt may write. So short that a minute sees many takeovers, and far longer than an undisturbed order
/// takes.
const ATTEMPT_TIMEOUT_MS: u64 = 1500;
/// How long a replica's lease lasts: its attempt's time and the mesh's margin of 500 ms.
pub const LEASE_MS: u64 = ATTEMPT_TIMEOUT_MS + 500;
/// An order that could not be delivered by then expires.
pub const DELIVER_WITHIN_S: i64 = 15;
/// Items without choices, as simpos sells them.
pub const ITEMS: [&str; 4] = ["yaki_onigiri", "ramune", "hiyayakko", "oshinko"];
/// The store.
pub const STORE_ID: &str = "chaos";
/// The connection to its POS, and that to its fallback.
const POS: &str = "chaos-pos";
/// See [`POS`].
pub const FALLBACK: &str = "chaos-fallback";

/// Vendors: a POS that prints a ticket of everything, and a kitchen printer.
const TICKETING: &str = "simulator-ticketing";
const PRINTER: &str = "simulator-printer";

/// Who plays besides the mesh.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cast {
    /// The store has a printer that stands in for its POS.
    pub fallback: bool,
    /// The POS prints a ticket of everything that it records: what the fallback printed is entered by the staff.
    pub staff_enter: bool,
}

/// The printer that stands in for the POS: a simpos of its own.
#[derive(Debug)]
pub struct Fallback {
    /// What prints.
    pub device: Pos,
    /// Between its adapter and it.
    pub wire: Proxy,
}

/// A stage that is set. Everything ends with it.
#[derive(Debug)]
pub struct Stage {
    /// The mesh.
    pub mesh: Arc<Mesh>,
    /// Its POS.
    pub pos: Arc<Pos>,
    /// Between the adapters and the POS.
    pub pos_wire: Arc<Proxy>,
    /// What stands in for the POS.
    pub fallback: Option<Fallback>,
    /// Adapters of simulators that can do less than the mesh's own.
    adapters: Vec<Process>,
    /// Tables and the codes of their QRs.
    pub tables: Vec<(String, String)>,
    // After the mesh, which uses it.
    /// Its database.
    pub postgres: Arc<Postgres>,
}

impl Stage {
    /// Starts everything, sets up a store of one's own, and pulls its menu.
    ///
    /// # Errors
    /// When something does not start, or refuses.
    pub async fn set(cast: Cast) -> Result<Self> {
        let postgres = Arc::new(tokio::task::spawn_blocking(Postgres::start).await??);
        let settings = [
            ("ROUTER__LEASE", "2s"),
            ("DATABASE__ACQUIRE_TIMEOUT", "2s"),
            ("DATABASE__MAX_CONNECTIONS", "8"),
            ("TELEMETRY__LOG_FILTER", "info,sqlx=warn"),
        ];
        let options = Options {
            attempt_timeout_ms: ATTEMPT_TIMEOUT_MS,
            order_replicas: ORDER_REPLICAS,
            postgres: Some(&postgres),
            wired: true,
            settings: &settings,
            ..Options::default()
        };
        let mesh = Mesh::start(Shape::Postgres, options).await?;
        let mut adapters = Vec::new();
        let pos = Pos::start(STORE_ID).await?;
        let pos_wire = Proxy::before(pos.address()).await?;
        provision::put_store(&mesh, store()).await?;
        let vendor = if cast.staff_enter {
            adapters.push(adapter(&mesh, TICKETING, &[("SUBMIT_WITHOUT_TICKET", "false")])?);
            TICKETING
        } else {
            "simulator"
        };
        provision::put_connection(&mesh, connection(POS, vendor, &pos_wire, ConnectionRole::Primary), API_KEY).await?;
        let fallback = if cast.fallback {
            adapters.push(adapter(&mesh, PRINTER, &[("DEVICE", "printer")])?);
            let device = Pos::start("fallback").await?;
            let wire = Proxy::before(device.address()).await?;
            let connection = connection(FALLBACK, PRINTER, &wire, ConnectionRole::Fallback);
            provision::put_connection(&mesh, connection, API_KEY).await?;
            Some(Fallback { device, wire })
        } else {
            None
        };
        let run = provision::sync(&mesh, STORE_ID).await?;
        anyhow::ensure!(run.catalog_version > 0, "the menu was not published: {run:?}");
        let tables = codes(&mesh).await?;
        let (mesh, pos, pos_wire) = (Arc::new(mesh), Arc::new(pos), Arc::new(pos_wire));
        Ok(Self { mesh, pos, pos_wire, fallback, adapters, tables, postgres })
    }

    /// Every process, the database aside.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let device = self.fallback.iter().map(|fallback| fallback.device.process());
        self.mesh.processes().iter().chain([self.pos.process()]).chain(&self.adapters).chain(device)
    }

    /// Copies the logs of all processes.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn keep_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for process in self.processes() {
            std::fs::copy(process.log(), folder.join(format!("{}.log", process.name())))?;
        }
        Ok(())
    }
}

/// The adapter of a simulator that can do less than the mesh's own, as a process.
fn adapter(mesh: &Mesh, vendor: &str, profile: &[(&str, &str)]) -> Result<Process> {
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let process = [("ROUTER", mesh.router_urls()), ("LISTEN", listen.to_string())];
    let process = process.map(|(key, value)| (format!("POSMESH__{key}"), value));
    let profile = profile.iter().copied().chain([("VENDOR", vendor)]);
    let profile = profile.map(|(key, value)| (format!("POSMESH__ADAPTER__{key}"), value.to_owned()));
    let environment = process.into_iter().chain(profile).collect();
    let name = format!("adapter-{vendor}");
    Process::start(&name, &binary("adapter-simulator")?, Vec::new(), environment, mesh.folder().path())
}

fn connection(id: &str, vendor: &str, wire: &Proxy, role: ConnectionRole) -> Connection {
    Connection {
        connection_id: id.into(),
        store_id: STORE_ID.into(),
        vendor: vendor.into(),
        settings_json: json!({ "base_url": wire.url() }).to_string(),
        revision: ANY_REVISION,
        role: role.into(),
        ..Connection::default()
    }
}

fn store() -> Store {
    let mut store = provision::store(STORE_ID, &[]);
    for policy in &mut store.product_policies {
        policy.deliver_within = Some(prost_types::Duration { seconds: DELIVER_WITHIN_S, nanos: 0 });
    }
    store
}

async fn codes(mesh: &Mesh) -> Result<Vec<(String, String)>> {
    let http = mesh.http()?;
    let mut codes = Vec::new();
    for table in (1..=12).map(|number| format!("T{number}")) {
        let code = table_code(&http, STORE_ID, &table).await;
        codes.push((table, code));
    }
    Ok(codes)
}
