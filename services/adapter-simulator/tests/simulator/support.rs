//! A simpos with the adapter in front of it.

use std::{sync::Arc, time::Duration};

use posmesh_adapter_kit::{http::HttpConfig, mount};
use posmesh_adapter_simulator::{Profile, Simulator};
use posmesh_kit::{
    Channel,
    server::{ServerConfig, serve},
    time,
};
use posmesh_proto::{
    adapter::v1::{
        FindOrderRequest, PosContext, PosLine, PosOrder, SubmitOrderRequest, find_order_response,
        pos_adapter_service_client::PosAdapterServiceClient, submit_outcome::Outcome,
    },
    common::v1::{Money, Product, ServiceMode},
};
use posmesh_simpos::{Config, RunError};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

const KEY: &str = "test-key";
/// Nothing in these tests takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) type Client = PosAdapterServiceClient<Channel>;

/// An adapter in front of a POS at some URL.
pub(crate) struct Adapter {
    pub(crate) client: Client,
    pub(crate) context: PosContext,
    _stop: DropGuard,
}

impl Adapter {
    pub(crate) async fn before(pos_url: &str) -> Self {
        Self::with_profile(pos_url, Profile::default()).await
    }

    async fn with_profile(pos_url: &str, profile: Profile) -> Self {
        let adapter = Arc::new(Simulator::with_profile(&HttpConfig::default(), profile).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let mounted = mount(adapter);
        tokio::spawn(async move {
            serve(&ServerConfig::default(), listener, vec![mounted], shutdown).await.unwrap();
        });
        let client = Client::new(Channel::remote("adapter", &url).unwrap()).max_decoding_message_size(32 << 20);
        Self { client, context: context(&json!({ "base_url": pos_url }), KEY), _stop: stop.drop_guard() }
    }

    pub(crate) async fn submit_within(&self, order: PosOrder, left: Duration) -> Outcome {
        let not_after_ms = time::now_unix_ms() + i64::try_from(left.as_millis()).unwrap();
        let request = SubmitOrderRequest {
            context: Some(self.context.clone()),
            order: Some(order),
            attempt: 1,
            not_after: Some(time::from_unix_ms(not_after_ms)),
            ..SubmitOrderRequest::default()
        };
        let answer = self.client.clone().submit_order(request).await.unwrap().into_inner();
        answer.outcome.unwrap().outcome.unwrap()
    }

    pub(crate) async fn submit(&self, order: PosOrder) -> Outcome {
        self.submit_within(order, PATIENCE).await
    }

    pub(crate) async fn find(&self, order: &PosOrder) -> find_order_response::Result {
        let request = FindOrderRequest {
            context: Some(self.context.clone()),
            reference: order.reference.clone(),
            line_ids: order.lines.iter().map(|line| line.line_id.clone()).collect(),
            ..FindOrderRequest::default()
        };
        self.client.clone().find_order(request).await.unwrap().into_inner().result.unwrap()
    }

    /// Whether the POS has the order, asked until it says so either way.
    pub(crate) async fn has(&self, order: &PosOrder) -> bool {
        match self.find(order).await {
            find_order_response::Result::Found(_) => true,
            find_order_response::Result::NotFound(not_found) => {
                assert!(not_found.authoritative);
                false
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The adapter and its simpos.
pub(crate) struct Pair {
    pub(crate) adapter: Adapter,
    pub(crate) ended: JoinHandle<Result<(), RunError>>,
    url: String,
    control: reqwest::Client,
    _stop: DropGuard,
}

impl std::ops::Deref for Pair {
    type Target = Adapter;

    fn deref(&self) -> &Adapter {
        &self.adapter
    }
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self::new(Config::new(KEY), Profile::default()).await
    }

    /// With a poorer adapter.
    pub(crate) async fn with_profile(profile: Profile) -> Self {
        Self::new(Config::new(KEY), profile).await
    }

    /// With a POS that forgets sooner.
    pub(crate) async fn remembering(keep_entries: u64) -> Self {
        Self::new(Config { keep_entries, ..Config::new(KEY) }, Profile::default()).await
    }

    async fn new(config: Config, profile: Profile) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let ended = tokio::spawn(posmesh_simpos::run(config, listener, stop.clone()));
        let adapter = Adapter::with_profile(&url, profile).await;
        Self { adapter, ended, url, control: reqwest::Client::new(), _stop: stop.drop_guard() }
    }

    /// Asks the POS itself, past the adapter.
    pub(crate) async fn pos(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.control.request(method, format!("{}{path}", self.url)).bearer_auth(KEY);
        let answer = request.json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    pub(crate) async fn fault(&self, rule: Value) {
        self.pos(Method::POST, "/control/faults", rule).await;
    }

    pub(crate) async fn mend(&self) {
        self.pos(Method::DELETE, "/control/faults", Value::Null).await;
    }

    /// Numbers of orders and of kitchen tickets that the POS ever made for a reference.
    pub(crate) async fn made(&self, reference: &str) -> (usize, usize) {
        let journal = self.pos(Method::GET, "/control/journal", Value::Null).await;
        let orders = journal["entries"].as_array().unwrap().iter();
        let orders = orders.filter(|entry| entry["event"]["order"]["request"]["reference"] == reference).count();
        let tickets = self.pos(Method::GET, "/api/tickets", Value::Null).await;
        let tickets = tickets["tickets"].as_array().unwrap().iter();
        let to_be_cooked = tickets.filter(|t| t["order_reference"] == reference && t["mark"] == "normal");
        (orders, to_be_cooked.count())
    }
}

pub(crate) fn context(settings: &Value, api_key: &str) -> PosContext {
    PosContext {
        tenant_id: "t".to_owned(),
        connection_id: "c".to_owned(),
        store_id: "s".to_owned(),
        revision: 1,
        settings_json: settings.to_string(),
        credentials: [("api_key".to_owned(), api_key.to_owned())].into(),
    }
}

pub(crate) fn yen(amount: i64) -> Option<Money> {
    Some(Money { currency_code: "JPY".to_owned(), amount })
}

pub(crate) fn line(item_id: &str, quantity: i32) -> PosLine {
    PosLine {
        line_id: Uuid::now_v7().to_string(),
        item_id: item_id.to_owned(),
        quantity,
        service_mode: ServiceMode::DineIn.into(),
        ..PosLine::default()
    }
}

/// Two portions of chilled tofu (¥380) at the kiosk.
pub(crate) fn order() -> PosOrder {
    PosOrder {
        reference: Uuid::now_v7().to_string(),
        product: Product::Kiosk.into(),
        display_number: "K12".to_owned(),
        lines: vec![line("hiyayakko", 2)],
        expected_total: yen(760),
        ..PosOrder::default()
    }
}
