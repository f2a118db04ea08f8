//! A store with its own POS in a mesh, and everybody who deals with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Result;
use posmesh_proto::{
    catalog::v1::SyncRun,
    common::v1::{EvidenceKind, Money, Product},
    order::v1::{
        GetOrderRequest, ListOrdersRequest, ModifierInput, Order, OrderLineInput, OrderState, PlaceOrderRequest,
        QuoteOrderRequest, get_order_request::Key, order_service_client::OrderServiceClient,
    },
    router::v1::Connection,
};
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    Http, Mesh, Options, Pos, Process, Proxy, Shape, binary, eventually,
    launch::OPS_TOKEN,
    pos::API_KEY,
    provision::{self, ANY_REVISION},
};

/// Of every shop with the simulated POS.
pub const CURRENCY: &str = "JPY";

/// A store with its own POS.
#[derive(Debug)]
pub struct Shop {
    /// The mesh that it is in.
    pub mesh: Arc<Mesh>,
    /// Its id.
    pub store_id: String,
    /// Its POS.
    pub pos: Pos,
    /// The gateway.
    pub http: Http,
    gate: Option<Proxy>,
    /// Its vendor's, where that is not the mesh's own.
    adapter: Option<Process>,
    log_lengths: Vec<usize>,
}

impl Shop {
    /// Opens one in the shared mesh of a shape, with its menu synced.
    ///
    /// # Panics
    /// When that fails.
    pub async fn open(shape: Shape) -> Self {
        let mesh = Mesh::shared(shape).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self::open_in(mesh, &[], false).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Likewise, with evidence of its own that makes an order PLACED.
    ///
    /// # Panics
    /// When that fails.
    pub async fn open_with_evidence(shape: Shape, success_evidence: &[EvidenceKind]) -> Self {
        let mesh = Mesh::shared(shape).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self::open_in(mesh, success_evidence, false).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Opens one in a mesh of its own, with a [`Shop::gate`] and short leases.
    ///
    /// # Panics
    /// When that fails.
    pub async fn open_for_faults(shape: Shape) -> Self {
        let mesh = Mesh::start(shape, Options::for_faults()).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self::open_in(Arc::new(mesh), &[], true).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Opens one in the shared mesh whose POS is of another vendor: a simulator that can do what this profile says, by
    /// names of its settings. Its [`Shop::gate`] stands between the adapter and the POS.
    ///
    /// # Panics
    /// When that fails.
    pub async fn open_with_profile(shape: Shape, profile: &[(&str, &str)]) -> Self {
        let mesh = Mesh::shared(shape).await.unwrap_or_else(|error| panic!("{error:#}"));
        let open = async {
            let mut shop = Self::furnish(mesh, true).await?;
            let vendor = format!("{}-vendor", shop.store_id);
            shop.adapter = Some(shop.start_adapter(&vendor, profile)?);
            shop.connect(&vendor, &[]).await?;
            Ok::<_, anyhow::Error>(shop)
        };
        open.await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Opens one in a mesh.
    ///
    /// # Errors
    /// When a service refuses, or the menu cannot be synced.
    pub async fn open_in(mesh: Arc<Mesh>, success_evidence: &[EvidenceKind], gated: bool) -> Result<Self> {
        // Where everything is one process, the wire between order and POS begins behind the adapter.
        let gated = gated && mesh.shape() == Shape::Sqlite;
        let shop = Self::furnish(mesh, gated).await?;
        shop.connect("simulator", success_evidence).await?;
        Ok(shop)
    }

    /// One with a POS that nobody knows of yet.
    async fn furnish(mesh: Arc<Mesh>, gated: bool) -> Result<Self> {
        static OPENED: AtomicU32 = AtomicU32::new(1);
        let log_lengths = mesh.log_lengths();
        let store_id = format!("shop-{}", OPENED.fetch_add(1, Ordering::Relaxed));
        let pos = Pos::start(&store_id).await?;
        let gate = if gated { Some(Proxy::before(pos.address()).await?) } else { None };
        let http = mesh.http()?;
        Ok(Self { mesh, store_id, pos, http, gate, adapter: None, log_lengths })
    }

    fn start_adapter(&self, vendor: &str, profile: &[(&str, &str)]) -> Result<Process> {
        let listen = SocketAddr::from(([127, 0, 0, 1], posmesh_counterparts::free_port()?));
        let own = [("ROUTER", self.mesh.router_urls()), ("LISTEN", listen.to_string())];
        let own = own.map(|(key, value)| (format!("POSMESH__{key}"), value));
        let profile = [("vendor", vendor)].into_iter().chain(profile.iter().copied());
        let profile =
            profile.map(|(key, value)| (format!("POSMESH__ADAPTER__{}", key.to_uppercase()), value.to_owned()));
        let settings = own.into_iter().chain(profile).collect();
        Process::start(vendor, &binary("adapter-simulator")?, Vec::new(), settings, self.mesh.folder().path())
    }

    /// Makes the store and its POS known, and pulls the menu.
    async fn connect(&self, vendor: &str, success_evidence: &[EvidenceKind]) -> Result<()> {
        let pos_url = self.gate.as_ref().map_or_else(|| format!("http://{}", self.pos.address()), Proxy::url);
        provision::put_store(&self.mesh, provision::store(&self.store_id, success_evidence)).await?;
        let connection = Connection {
            connection_id: format!("{}-pos", self.store_id),
            store_id: self.store_id.clone(),
            vendor: vendor.to_owned(),
            settings_json: json!({ "base_url": pos_url }).to_string(),
            revision: ANY_REVISION,
            ..Connection::default()
        };
        provision::put_connection(&self.mesh, connection, API_KEY).await?;
        let run = self.sync().await?;
        anyhow::ensure!(
            run.catalog_version > 0 && run.problems.is_empty(),
            "the first sync published nothing: {run:?}"
        );
        Ok(())
    }

    /// The proxy that stands between the first order replica and the POS: before the router where that is another process,
    /// else before the POS.
    ///
    /// # Panics
    /// When the shop was opened without.
    pub fn gate(&self) -> &Proxy {
        let gate = self.gate.as_ref().or_else(|| self.mesh.gate());
        gate.unwrap_or_else(|| panic!("the shop was opened without a gate"))
    }

    /// A client of an order replica: 0 or 1.
    ///
    /// # Panics
    /// Never for addresses.
    pub fn orders(&self, replica: usize) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.mesh.order(replica).unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Pulls the menu, and tells what came of it.
    ///
    /// # Errors
    /// When the catalog refuses.
    pub async fn sync(&self) -> Result<SyncRun> {
        provision::sync(&self.mesh, &self.store_id).await
    }

    /// What lines cost.
    ///
    /// # Panics
    /// When they cannot be priced.
    pub async fn total(&self, product: Product, lines: &[OrderLineInput]) -> i64 {
        let request = QuoteOrderRequest {
            store_id: self.store_id.clone(),
            product: product.into(),
            lines: lines.to_vec(),
            ..Default::default()
        };
        let answer = self.orders(0).quote_order(request).await.unwrap_or_else(|status| panic!("no quote: {status}"));
        let price = answer.into_inner().quote.and_then(|quote| quote.price);
        price.and_then(|price| price.total).map(|total| total.amount).unwrap_or_default()
    }

    /// A request for an order that the guest has agreed to, under a new id, that is answered as soon as it is durable.
    /// Table orders need their `check_id`.
    pub async fn request(&self, product: Product, lines: &[OrderLineInput]) -> PlaceOrderRequest {
        let total = self.total(product, lines).await;
        let pickup_time = (product == Product::ToGo).then(|| (SystemTime::now() + Duration::from_secs(3600)).into());
        PlaceOrderRequest {
            request_id: new_id(),
            store_id: self.store_id.clone(),
            product: product.into(),
            lines: lines.to_vec(),
            expected_total: Some(money(total)),
            pickup_time,
            ..PlaceOrderRequest::default()
        }
    }

    /// Places it at a replica.
    ///
    /// # Errors
    /// As the service refuses.
    pub async fn place(&self, replica: usize, request: PlaceOrderRequest) -> Result<Order, Status> {
        let answer = self.orders(replica).place_order(request).await?;
        answer.into_inner().order.ok_or_else(|| Status::internal("an answer without an order"))
    }

    /// Places it, as soon as the store's gate lets it in, and waits until the POS has it.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn placed(&self, replica: usize, request: PlaceOrderRequest) -> Order {
        let let_in = async || match self.place(replica, request.clone()).await {
            Err(status) if refusal(&status).0 == "GATE_CLOSED" => None,
            answer => Some(answer),
        };
        let order = eventually("the gate is open", let_in).await;
        let order = order.unwrap_or_else(|status| panic!("not taken: {status}"));
        self.ends_up(replica, &order.order_id, OrderState::Placed).await
    }

    /// The order as a replica tells it.
    ///
    /// # Errors
    /// As the service refuses.
    pub async fn order(&self, replica: usize, order_id: &str) -> Result<Order, Status> {
        let request = GetOrderRequest { key: Some(Key::OrderId(order_id.to_owned())) };
        let answer = self.orders(replica).get_order(request).await?;
        answer.into_inner().order.ok_or_else(|| Status::internal("an answer without an order"))
    }

    /// Waits until a replica tells this state.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ends_up(&self, replica: usize, order_id: &str, state: OrderState) -> Order {
        let what = format!("order {order_id} becomes {}", state.as_str_name());
        let told = async || self.order(replica, order_id).await.ok().filter(|order| order.state() == state);
        eventually(&what, told).await
    }

    /// All orders of the store.
    ///
    /// # Panics
    /// When they are not told.
    pub async fn list(&self) -> Vec<Order> {
        let request =
            ListOrdersRequest { store_id: self.store_id.clone(), page_size: 500, ..ListOrdersRequest::default() };
        let answer = self.orders(0).list_orders(request).await;
        answer.unwrap_or_else(|status| panic!("the orders are not told: {status}")).into_inner().orders
    }

    /// The code in the QR of a table.
    ///
    /// # Panics
    /// When there is none.
    pub async fn table_code(&self, table_id: &str) -> String {
        table_code(&self.http, &self.store_id, table_id).await
    }

    /// A guest scans the code of a table; the answer.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub async fn sit_down(&self, table_id: &str) -> Value {
        sit_down(&self.http, &self.store_id, table_id).await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let store = &self.store_id;
            eprintln!("logs of the mesh since {store} was opened:\n{}", self.mesh.logs_since(&self.log_lengths));
            let processes = self.adapter.iter().chain([self.pos.process()]);
            processes.for_each(|process| eprintln!("{}", process.log_end(0)));
        }
    }
}

/// The code in the QR of a table of any store.
///
/// # Panics
/// When there is none.
pub async fn table_code(http: &Http, store_id: &str, table_id: &str) -> String {
    let path = format!("/ops/v1/stores/{store_id}/table-codes");
    let answer = Http::send(http.get(&path).bearer_auth(OPS_TOKEN)).await;
    let codes = answer.unwrap_or_else(|error| panic!("{error:#}")).ok();
    let codes = codes["table_codes"].as_array().cloned().unwrap_or_default();
    let code = codes.iter().find(|code| code["table_id"] == table_id);
    let code = code.unwrap_or_else(|| panic!("no code for the table {table_id} among {}", codes.len()));
    code["code"].as_str().unwrap_or_default().to_owned()
}

/// A guest scans the code of a table of any store; the answer.
///
/// # Panics
/// When the gateway refuses.
pub async fn sit_down(http: &Http, store_id: &str, table_id: &str) -> Value {
    let body = json!({ "table_code": table_code(http, store_id, table_id).await, "party_size": 2 });
    let path = format!("/table/v1/stores/{store_id}/checks");
    Http::send(http.post(&path, &body)).await.unwrap_or_else(|error| panic!("{error:#}")).ok()
}

/// A line without modifiers.
pub fn line(item_id: &str, quantity: i32) -> OrderLineInput {
    OrderLineInput { item_id: item_id.into(), quantity, ..OrderLineInput::default() }
}

/// A line with choices, each one of a group.
pub fn with(line: OrderLineInput, choices: &[(&str, &str)]) -> OrderLineInput {
    let choice = |(group_id, modifier_id): &(&str, &str)| ModifierInput {
        group_id: (*group_id).to_owned(),
        modifier_id: (*modifier_id).to_owned(),
        ..ModifierInput::default()
    };
    OrderLineInput { modifiers: choices.iter().map(choice).collect(), ..line }
}

/// Reason and first field of a refusal over gRPC.
pub fn refusal(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    (reason, violations.into_iter().next().map(|violation| violation.field).unwrap_or_default())
}

pub(crate) fn money(amount: i64) -> Money {
    Money { currency_code: CURRENCY.into(), amount }
}

pub(crate) fn new_id() -> String {
    Uuid::now_v7().to_string()
}
