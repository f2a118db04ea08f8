//! The adapter of simpos, the simulated POS: HTTP/JSON with an API key, as a vendor's would be.
//!
//! `descriptor` says what it can do, `client` sends, `wire` is the vendor's JSON, `refusal` translates its causes;
//! `order`, `modifiers`, `menu` and `checks` translate between the vendor's model and the platform's, without I/O.

mod checks;
mod client;
mod descriptor;
mod menu;
mod modifiers;
mod order;
mod refusal;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use posmesh_adapter_kit::{
    Adapter, CatalogParts, Connection, PosError, Submit, Unplaced,
    http::{HttpClient, HttpConfig, Transport},
};
use posmesh_kit::{cause, config::ConfigError};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, FindOrderRequest, LinkHealth, NotFound, Placed, PosCheck, ProbeLinkResponse,
    find_order_response::Result as Found,
};

use client::{Pos, Said};

pub use descriptor::VENDOR;

/// Checks of one page, and pages read at most.
const CHECKS_PAGE: usize = 200;
const MAX_CHECK_PAGES: usize = 50;

/// The adapter. Serves any number of simpos instances, one per connection.
#[derive(Debug, Clone)]
pub struct Simulator {
    http: HttpClient,
    call_timeout: Duration,
}

impl Simulator {
    /// # Errors
    /// When the limits contradict each other.
    pub fn new(config: &HttpConfig) -> Result<Self, ConfigError> {
        // The guest's name goes into the note.
        Ok(Self { http: HttpClient::new(config, &["note"])?, call_timeout: config.call_timeout })
    }

    /// The same adapter over another transport than the machine's network.
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { http: self.http.over(transport), ..self }
    }
}

#[async_trait]
impl Adapter for Simulator {
    fn descriptor(&self) -> AdapterDescriptor {
        descriptor::descriptor()
    }

    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        Ok(health(&pos.read(pos.get(&["api", "status"])).await?))
    }

    async fn submit_order(&self, connection: &Connection, submit: Submit) -> Result<Placed, Unplaced> {
        let pos = Pos::new(&self.http, connection)?;
        let order = order::to_wire(&submit, pos.external_tender())?;
        // The deadline bounds the whole call, the connecting included: nothing is sent after it.
        let request = pos.post(&["api", "orders"]).json(&order).timeout(submit.time_left().min(self.call_timeout));
        match pos.ask::<wire::OrderAnswer>(request).await.map_err(|error| error.at_first_write())? {
            Said::Yes(answer) => Ok(order::placed(&answer)),
            Said::No(refusal) => Err(refusal::unplaced(&refusal, &submit.order)),
            Said::Unclear(message) => Err(Unplaced::in_doubt(cause::VENDOR_SERVICE_DOWN, message)),
        }
    }

    async fn find_order(&self, connection: &Connection, request: FindOrderRequest) -> Result<Found, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        match pos.ask::<wire::OrderAnswer>(pos.get(&["api", "orders", &request.reference])).await? {
            Said::Yes(answer) => Ok(order::found(&answer, &request.line_ids)),
            Said::No(refusal) if refusal.cause == wire::ORDER_NOT_FOUND => {
                Ok(Found::NotFound(NotFound { authoritative: true }))
            }
            Said::No(refusal) => Err(refusal::pos_error(&refusal)),
            Said::Unclear(message) => Err(PosError::failed(cause::VENDOR_SERVICE_DOWN, message)),
        }
    }

    async fn pull_catalog(&self, connection: &Connection, parts: &CatalogParts) -> Result<Vec<String>, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        let menu: wire::Menu = pos.read(pos.get(&["api", "menu"])).await?;
        for part in menu::to_parts(menu) {
            parts.send(part).await?;
        }
        Ok(Vec::new())
    }

    async fn list_checks(&self, connection: &Connection, table_id: &str) -> Result<Vec<PosCheck>, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        let (mut checks, mut after) = (Vec::new(), 0);
        for _ in 0..MAX_CHECK_PAGES {
            let page = [("after", after.to_string()), ("limit", CHECKS_PAGE.to_string())];
            let mut request = pos.get(&["api", "checks"]).query(&page);
            if !table_id.is_empty() {
                request = request.query(&[("table", table_id)]);
            }
            let page: wire::CheckList = pos.read(request).await?;
            after = page.checks.last().map_or(after, |check| check.number);
            checks.extend(page.checks.iter().map(checks::to_contract));
            if !page.more {
                return Ok(checks);
            }
        }
        let message = format!("more than {} checks are open: ask for a table", CHECKS_PAGE * MAX_CHECK_PAGES);
        Err(PosError::failed(cause::NOT_SUPPORTED, message))
    }

    async fn get_check(&self, connection: &Connection, pos_check_reference: &str) -> Result<PosCheck, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        Ok(checks::to_contract(&pos.read(pos.get(&["api", "checks", pos_check_reference])).await?))
    }

    async fn request_bill(&self, connection: &Connection, pos_check_reference: &str) -> Result<PosCheck, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        Ok(checks::to_contract(&pos.read(pos.post(&["api", "checks", pos_check_reference, "bill"])).await?))
    }
}

/// Whether orders would be taken, and whether their slips would print.
fn health(status: &wire::Status) -> ProbeLinkResponse {
    let (health, failing_hop, cause) = match status {
        wire::Status { app: wire::AppState::MasterUpdating, .. } => {
            (LinkHealth::Offline, "pos", cause::MASTER_UPDATING)
        }
        wire::Status { app: wire::AppState::Other, .. } => (LinkHealth::Offline, "pos", cause::POS_APP_NOT_RUNNING),
        wire::Status { business_day_open: false, .. } => (LinkHealth::Offline, "pos", cause::BUSINESS_DAY_NOT_OPEN),
        wire::Status { printer: wire::PrinterState::OutOfPaper, .. } => {
            (LinkHealth::Degraded, "printer", cause::PRINTER_OUT_OF_PAPER)
        }
        wire::Status { printer: wire::PrinterState::CoverOpen, .. } => {
            (LinkHealth::Degraded, "printer", cause::PRINTER_COVER_OPEN)
        }
        wire::Status { printer: wire::PrinterState::Offline | wire::PrinterState::Other, .. } => {
            (LinkHealth::Degraded, "printer", cause::PRINTER_OFFLINE)
        }
        wire::Status { printer: wire::PrinterState::Ready, .. } => (LinkHealth::Online, "", ""),
    };
    let message = match status.waiting_tickets {
        0 => String::new(),
        waiting => format!("{waiting} slips wait for the printer"),
    };
    ProbeLinkResponse {
        health: health.into(),
        failing_hop: failing_hop.to_owned(),
        cause: cause.to_owned(),
        message,
        pos_version: format!("simpos {}", status.version),
        ..ProbeLinkResponse::default()
    }
}
