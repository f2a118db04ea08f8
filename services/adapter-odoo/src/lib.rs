//! The adapter for Odoo 19's point of sale in restaurant mode.
//!
//! It speaks Odoo's JSON-2 API. What decides its shape:
//!
//! - **Our reference is a uuid per line.** Odoo merges a second draft of a table into the first and loses its uuid; the
//!   lines' uuids are unique in the whole database and survive, so orders are found again by them, with certainty.
//! - **One write is one transaction.** An order is created and then updated within a single `sync_from_ui`. The update
//!   makes Odoo compute the total by its own rules, and it fails, taking the creation with it, if Odoo merged the order
//!   into a draft of the staff's.
//! - **Placed means read back.** Odoo answers 200 for what it ignored; only lines that were read again count.
//! - **Odoo trusts its caller** with prices, taxes and totals, so products, choices and taxes are read before and the
//!   total must be the expected one.

mod api;
mod catalog;
mod checks;
mod descriptor;
mod find;
mod orders;
mod probe;
mod settings;
mod stock;
mod submit;
mod tax;
mod till;
mod wire;

use async_trait::async_trait;
use posmesh_adapter_kit::{
    Adapter, CatalogParts, Connection, PosError, Submit, Unplaced,
    http::{HttpClient, HttpConfig},
};
use posmesh_kit::config::ConfigError;
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, CatalogState, FindOrderRequest, Placed, PosCheck, ProbeLinkResponse, find_order_response,
};

use api::{Api, SupportedServers};
use settings::Settings;
use submit::TillLocks;

/// The adapter for all connections to Odoo.
#[derive(Debug)]
pub struct OdooAdapter {
    http: HttpClient,
    supported: SupportedServers,
    locks: TillLocks,
}

impl OdooAdapter {
    /// An adapter whose calls to Odoo keep to `config`.
    ///
    /// # Errors
    ///
    /// Values of `config` that cannot be used.
    pub fn new(config: &HttpConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            // It holds the guest's name.
            http: HttpClient::new(config, &["floating_order_name"])?,
            supported: SupportedServers::default(),
            locks: TillLocks::default(),
        })
    }
}

#[async_trait]
impl Adapter for OdooAdapter {
    fn descriptor(&self) -> AdapterDescriptor {
        descriptor::descriptor()
    }

    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        probe::probe(&api, &settings).await
    }

    async fn submit_order(&self, connection: &Connection, submit: Submit) -> Result<Placed, Unplaced> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        submit::submit(&api, &settings, &self.locks, &submit).await
    }

    async fn find_order(
        &self,
        connection: &Connection,
        request: FindOrderRequest,
    ) -> Result<find_order_response::Result, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        find::find(&api, &settings, &request).await
    }

    async fn pull_catalog(&self, connection: &Connection, parts: &CatalogParts) -> Result<Vec<String>, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        catalog::pull(&api, &settings, parts).await
    }

    async fn poll_catalog(&self, connection: &Connection) -> Result<CatalogState, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        stock::state(&api).await
    }

    async fn list_checks(&self, connection: &Connection, table_id: &str) -> Result<Vec<PosCheck>, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        checks::list(&api, &settings, table_id).await
    }

    async fn get_check(&self, connection: &Connection, pos_check_reference: &str) -> Result<PosCheck, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        checks::get(&api, &settings, pos_check_reference).await
    }

    async fn request_bill(&self, connection: &Connection, pos_check_reference: &str) -> Result<PosCheck, PosError> {
        let settings = Settings::of(connection)?;
        let api = Api::new(&self.http, &self.supported, connection, &settings)?;
        checks::request_bill(&api, &settings, &self.locks, pos_check_reference).await
    }
}
