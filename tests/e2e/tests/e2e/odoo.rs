//! The main job on a real POS, Odoo 19 in restaurant mode.

mod links;
mod orders;
mod stock;
mod totals;

use std::{ffi::OsString, net::SocketAddr, sync::Arc};

use posmesh_counterparts::{Odoo, RESTAURANT};
use posmesh_e2e::{
    Http, Mesh, Process, binary,
    provision::{self, ANY_REVISION},
};
use posmesh_proto::{router::v1::Connection, store::v1::Store};
use serde_json::{Value, json};

/// An Odoo, its adapter as a process, and the mesh between it and the guests.
struct Restaurant {
    odoo: Odoo,
    mesh: Arc<Mesh>,
    http: Http,
    adapter: Process,
}

impl Drop for Restaurant {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.adapter.log_end(0));
            eprintln!("{}", self.mesh.logs_since(&[0; 16]));
        }
    }
}

impl Restaurant {
    /// With an open till, in a mesh, as a store of this id.
    async fn open(mesh: Arc<Mesh>, store_id: &str) -> Self {
        let odoo = Odoo::start().await.unwrap();
        odoo.open_session().await.unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], posmesh_counterparts::free_port().unwrap()));
        let log = "info,posmesh_adapter_kit=debug,posmesh_adapter_odoo=debug".to_owned();
        let settings = [("ROUTER", mesh.router_urls()), ("LISTEN", listen.to_string()), ("TELEMETRY__LOG_FILTER", log)];
        let settings = settings.map(|(key, value)| (format!("POSMESH__{key}"), value)).to_vec();
        let program = binary("adapter-odoo").unwrap();
        let none: Vec<OsString> = Vec::new();
        let adapter = Process::start("adapter-odoo", &program, none, settings, mesh.folder().path()).unwrap();
        let http = mesh.http().unwrap();
        let restaurant = Self { odoo, mesh, http, adapter };

        restaurant.provide(store_id, json!(RESTAURANT)).await;
        restaurant
    }

    /// A store that sells at a till of this Odoo.
    async fn provide(&self, store_id: &str, pos_config: Value) {
        self.put_store(store_id, "USD").await;
        self.connect(store_id, pos_config).await;
    }

    async fn put_store(&self, store_id: &str, currency: &str) {
        let store = Store {
            time_zone: "America/New_York".into(),
            currency_code: currency.into(),
            locales: ["en", "ja", "ko"].map(Into::into).to_vec(),
            ..provision::store(store_id, &[])
        };
        provision::put_store(&self.mesh, store).await.unwrap();
    }

    /// Ties a store to a till, with the API key that Odoo has now.
    async fn connect(&self, store_id: &str, pos_config: Value) {
        self.connect_with(store_id, json!({"pos_config": pos_config, "external_payment_method": "Card"})).await;
    }

    /// Likewise with these settings besides the server's.
    async fn connect_with(&self, store_id: &str, mut settings: Value) {
        settings["base_url"] = json!(self.odoo.base_url());
        settings["database"] = json!(self.odoo.database());
        let connection = Connection {
            connection_id: format!("{store_id}-pos"),
            store_id: store_id.into(),
            vendor: "odoo".into(),
            settings_json: settings.to_string(),
            revision: ANY_REVISION,
            ..Connection::default()
        };
        provision::put_connection(&self.mesh, connection, self.odoo.api_key()).await.unwrap();
    }
}
