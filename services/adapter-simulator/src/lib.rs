//! The adapter of simpos, the simulated POS: HTTP/JSON with an API key, as a vendor's would be.
//!
//! `descriptor` says what it can do, less where a [`Profile`] leaves something out; `client` sends, `wire` is the
//! vendor's JSON, `refusal` translates its causes; `order`, `orders`, `changes`, `modifiers`, `menu` and `checks`
//! translate between the vendor's model and the platform's, without I/O.

mod changes;
mod checks;
mod client;
mod descriptor;
mod menu;
mod modifiers;
mod order;
mod orders;
mod profile;
mod refusal;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use posmesh_adapter_kit::{
    Adapter, CatalogParts, Connection, PosError, Submit, Unchanged, Unplaced,
    http::{HttpClient, HttpConfig, HttpError, Transport},
};
use posmesh_kit::{cause, config::ConfigError};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, CancelOrderRequest, CatalogState, Changed, FindOrderRequest, LinkHealth, ListPosOrdersRequest,
    NotFound, Placed, PollEventsRequest, PosCheck, PosEvents, PosOrders, ProbeLinkResponse, SetAvailabilityRequest,
    SplitCheckRequest, VoidLinesRequest, find_order_response::Result as Found,
};
use reqwest::RequestBuilder;
use tokio::time::Instant;

use client::{Pos, Said};

pub use descriptor::VENDOR;
pub use profile::{Device, FindProfile, IdempotencyProfile, ListProfile, PROFILE_DEFAULTS, Profile};

/// Checks of one page, and pages read at most.
const CHECKS_PAGE: usize = 200;
const MAX_CHECK_PAGES: usize = 50;
const NOT_PRINTED: &str = "the slip waits in the printer: look whether there is paper and the cover is closed";

/// The adapter. Serves any number of simpos instances, one per connection.
#[derive(Debug, Clone)]
pub struct Simulator {
    http: HttpClient,
    call_timeout: Duration,
    profile: Arc<Profile>,
}

impl Simulator {
    /// An adapter that can do all that simpos can.
    ///
    /// # Errors
    /// When the limits contradict each other.
    pub fn new(config: &HttpConfig) -> Result<Self, ConfigError> {
        Self::with_profile(config, Profile::default())
    }

    /// A poorer one.
    ///
    /// # Errors
    /// When the limits contradict each other, or it goes by the name of the rich one.
    pub fn with_profile(config: &HttpConfig, profile: Profile) -> Result<Self, ConfigError> {
        profile.check()?;
        // The guest's name goes into the note.
        let http = HttpClient::new(config, &["note"])?;
        Ok(Self { http, call_timeout: config.call_timeout, profile: Arc::new(profile) })
    }

    /// The same adapter over another transport than the machine's network.
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { http: self.http.over(transport), ..self }
    }
}

impl Simulator {
    /// The deadline bounds the whole call, the connecting included: nothing is sent after it.
    fn in_time(&self, request: RequestBuilder, deadline: Instant) -> RequestBuilder {
        request.timeout(deadline.saturating_duration_since(Instant::now()).min(self.call_timeout))
    }

    /// Refuses what a printer cannot do.
    fn of_a_till(&self, what: &str) -> Result<(), PosError> {
        match self.profile.device {
            Device::Pos => Ok(()),
            Device::Printer => Err(PosError::not_supported(what)),
        }
    }
}

#[async_trait]
impl Adapter for Simulator {
    fn descriptor(&self) -> AdapterDescriptor {
        descriptor::descriptor(&self.profile)
    }

    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError> {
        let pos = Pos::new(&self.http, connection)?;
        Ok(health(&pos.read(pos.get(&["api", "status"])).await?, self.profile.device))
    }

    async fn submit_order(&self, connection: &Connection, submit: Submit) -> Result<Placed, Unplaced> {
        let pos = Pos::new(&self.http, connection)?;
        let order = order::to_wire(&submit, pos.external_tender(), &self.profile)?;
        let request = self.in_time(pos.post(&["api", "orders"]), submit.deadline).json(&order);
        match pos.ask::<wire::OrderAnswer>(request).await.map_err(|error| error.at_first_write())? {
            Said::Yes(answer) if order::waits_for_the_printer(&answer, self.profile.device) => {
                Err(Unplaced::in_doubt(cause::PRINTER_OFFLINE, NOT_PRINTED))
            }
            Said::Yes(answer) => Ok(order::placed(&answer, self.profile.device)),
            Said::No(refusal) => Err(refusal::unplaced(&refusal, &submit.order)),
            Said::Unclear(message) => Err(Unplaced::in_doubt(cause::VENDOR_SERVICE_DOWN, message)),
        }
    }

    async fn find_order(&self, connection: &Connection, request: FindOrderRequest) -> Result<Found, PosError> {
        if self.profile.find == FindProfile::None {
            return Err(PosError::not_supported("look for an order"));
        }
        let pos = Pos::new(&self.http, connection)?;
        match pos.ask::<wire::OrderAnswer>(pos.get(&["api", "orders", &request.reference])).await? {
            Said::Yes(answer) if order::waits_for_the_printer(&answer, self.profile.device) => {
                Err(PosError::failed(cause::PRINTER_OFFLINE, NOT_PRINTED))
            }
            Said::Yes(answer) => Ok(order::found(&answer, &request.line_ids, self.profile.device)),
            Said::No(refusal) if refusal.cause == wire::ORDER_NOT_FOUND => {
                let authoritative = order::absence_is_proof(&self.profile, &refusal, request.place_time.as_ref());
                Ok(Found::NotFound(NotFound { authoritative }))
            }
            Said::No(refusal) => Err(refusal::pos_error(&refusal)),
            Said::Unclear(message) => Err(PosError::failed(cause::VENDOR_SERVICE_DOWN, message)),
        }
    }

    async fn cancel_order(
        &self,
        connection: &Connection,
        request: CancelOrderRequest,
        deadline: Instant,
    ) -> Result<Changed, Unchanged> {
        if !self.profile.cancel_order {
            return Err(Unchanged::not_supported("cancel an order"));
        }
        let pos = Pos::new(&self.http, connection)?;
        let (reference, cancel) = changes::cancel(&request, order::not_after_ms(deadline, &self.profile));
        let call = self.in_time(pos.post(&["api", "orders", &reference, "cancel"]), deadline).json(&cancel);
        match pos.ask::<wire::OrderAnswer>(call).await.map_err(HttpError::at_first_write)? {
            Said::Yes(answer) => Ok(changes::changed(&answer, self.profile.device)),
            Said::No(refusal) => Err(changes::unchanged(&refusal, request.order.as_ref(), &self.profile)),
            Said::Unclear(message) => Err(Unplaced::in_doubt(cause::VENDOR_SERVICE_DOWN, message).into()),
        }
    }

    async fn void_lines(
        &self,
        connection: &Connection,
        request: VoidLinesRequest,
        deadline: Instant,
    ) -> Result<Changed, Unchanged> {
        if !self.profile.void_lines {
            return Err(Unchanged::not_supported("take lines back"));
        }
        let pos = Pos::new(&self.http, connection)?;
        let (reference, void) = changes::void(&request, order::not_after_ms(deadline, &self.profile))?;
        let call = self.in_time(pos.post(&["api", "orders", &reference, "void"]), deadline).json(&void);
        match pos.ask::<wire::OrderAnswer>(call).await.map_err(HttpError::at_first_write)? {
            Said::Yes(answer) => Ok(changes::changed(&answer, self.profile.device)),
            Said::No(refusal) => Err(changes::unchanged(&refusal, request.order.as_ref(), &self.profile)),
            Said::Unclear(message) => Err(Unplaced::in_doubt(cause::VENDOR_SERVICE_DOWN, message).into()),
        }
    }

    async fn list_pos_orders(
        &self,
        connection: &Connection,
        request: ListPosOrdersRequest,
    ) -> Result<PosOrders, PosError> {
        let query = orders::list_query(&request, self.profile.list_orders)?;
        let pos = Pos::new(&self.http, connection)?;
        orders::page(&pos.read(pos.get(&["api", "orders"]).query(&query)).await?, &request)
    }

    async fn poll_events(&self, connection: &Connection, request: PollEventsRequest) -> Result<PosEvents, PosError> {
        if !self.profile.poll_events {
            return Err(PosError::not_supported("be polled for events"));
        }
        let query = orders::events_query(&request)?;
        let pos = Pos::new(&self.http, connection)?;
        let list = pos.read(pos.get(&["api", "events"]).query(&query)).await?;
        Ok(orders::events(&list, self.profile.device))
    }

    async fn split_check(
        &self,
        connection: &Connection,
        request: SplitCheckRequest,
        deadline: Instant,
    ) -> Result<Vec<PosCheck>, Unchanged> {
        if !self.profile.splits_checks() {
            return Err(Unchanged::not_supported("split a check"));
        }
        let pos = Pos::new(&self.http, connection)?;
        let split = checks::to_wire(&request, order::not_after_ms(deadline, &self.profile))?;
        let path = ["api", "checks", &request.pos_check_reference, "split"];
        let call = self.in_time(pos.post(&path), deadline).json(&split);
        match pos.ask::<wire::SplitAnswer>(call).await.map_err(HttpError::at_first_write)? {
            Said::Yes(answer) => Ok(answer.checks.iter().map(checks::to_contract).collect()),
            Said::No(refusal) => Err(changes::unchanged(&refusal, None, &self.profile)),
            Said::Unclear(message) => Err(Unplaced::in_doubt(cause::VENDOR_SERVICE_DOWN, message).into()),
        }
    }

    async fn pull_catalog(&self, connection: &Connection, parts: &CatalogParts) -> Result<Vec<String>, PosError> {
        self.of_a_till("tell a menu")?;
        let pos = Pos::new(&self.http, connection)?;
        let menu: wire::Menu = pos.read(pos.get(&["api", "menu"])).await?;
        for part in menu::to_parts(menu) {
            parts.send(part).await?;
        }
        Ok(Vec::new())
    }

    async fn poll_catalog(&self, connection: &Connection) -> Result<CatalogState, PosError> {
        self.of_a_till("tell a menu")?;
        let pos = Pos::new(&self.http, connection)?;
        Ok(menu::state(pos.read(pos.get(&["api", "menu"])).await?))
    }

    async fn set_availability(&self, connection: &Connection, set: SetAvailabilityRequest) -> Result<(), PosError> {
        self.of_a_till("be told what is sold out")?;
        if set.item_id.is_empty() {
            return Err(PosError::not_supported("be told that a choice is sold out"));
        }
        let pos = Pos::new(&self.http, connection)?;
        let body = wire::SetAvailability { available: set.available };
        let call = pos.put(&["api", "items", &set.item_id, "availability"]).json(&body);
        let answer: wire::AvailabilityAnswer = pos.read(call).await?;
        if answer.available == set.available {
            return Ok(());
        }
        Err(PosError::failed(cause::UNKNOWN, "the POS took the word and says something else"))
    }

    async fn list_checks(&self, connection: &Connection, table_id: &str) -> Result<Vec<PosCheck>, PosError> {
        self.of_a_till("list checks")?;
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
        self.of_a_till("tell a check")?;
        let pos = Pos::new(&self.http, connection)?;
        Ok(checks::to_contract(&pos.read(pos.get(&["api", "checks", pos_check_reference])).await?))
    }

    async fn request_bill(&self, connection: &Connection, pos_check_reference: &str) -> Result<PosCheck, PosError> {
        self.of_a_till("print a bill")?;
        let pos = Pos::new(&self.http, connection)?;
        Ok(checks::to_contract(&pos.read(pos.post(&["api", "checks", pos_check_reference, "bill"])).await?))
    }
}

/// Whether orders would be taken, and whether their slips would print.
fn health(status: &wire::Status, device: Device) -> ProbeLinkResponse {
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
    let health = match device {
        // It is all that a printer is for.
        Device::Printer if health == LinkHealth::Degraded => LinkHealth::Offline,
        _ => health,
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
