//! Everything under test: the mesh with all its replicas behind proxies, a PostgreSQL that may be stopped, a POS.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use posmesh_counterparts::Postgres;
use posmesh_e2e::{
    API_KEY, Mesh, Options, Pos, Proxy, Shape,
    provision::{self, ANY_REVISION},
    table_code,
};
use posmesh_proto::{router::v1::Connection, store::v1::Store};
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

/// A stage that is set. Everything ends with it.
#[derive(Debug)]
pub struct Stage {
    /// The mesh.
    pub mesh: Arc<Mesh>,
    /// Its POS.
    pub pos: Arc<Pos>,
    /// Between the adapters and the POS.
    pub pos_wire: Arc<Proxy>,
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
    pub async fn set() -> Result<Self> {
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
        let pos = Pos::start(STORE_ID).await?;
        let pos_wire = Proxy::before(pos.address()).await?;
        provision::put_store(&mesh, store()).await?;
        let connection = Connection {
            connection_id: format!("{STORE_ID}-pos"),
            store_id: STORE_ID.into(),
            vendor: "simulator".into(),
            settings_json: json!({ "base_url": pos_wire.url() }).to_string(),
            revision: ANY_REVISION,
            ..Connection::default()
        };
        provision::put_connection(&mesh, connection, API_KEY).await?;
        let run = provision::sync(&mesh, STORE_ID).await?;
        anyhow::ensure!(run.catalog_version > 0, "the menu was not published: {run:?}");
        let tables = codes(&mesh).await?;
        let (mesh, pos, pos_wire) = (Arc::new(mesh), Arc::new(pos), Arc::new(pos_wire));
        Ok(Self { mesh, pos, pos_wire, tables, postgres })
    }

    /// Copies the logs of all processes.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn keep_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for process in self.mesh.processes().iter().chain([self.pos.process()]) {
            std::fs::copy(process.log(), folder.join(format!("{}.log", process.name())))?;
        }
        Ok(())
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
