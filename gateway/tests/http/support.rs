//! A gateway on a real socket, in front of scripted services on real sockets, and an HTTP client.

use std::{net::SocketAddr, time::Duration};

use posmesh_gateway::{Config, Peers};
use posmesh_kit::Channel;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::fakes::{Fakes, Served};

/// How long a test waits for something that is due.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub const OPS_TOKEN: &str = "ops-token-of-the-tests";

/// Every key that there is.
const CONFIG: &str = r#"
signing_keys = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
table_code_window = "12h"
guest_token_ttl = "6h"
order_token_ttl = "9d"
ops_token = "ops-token-of-the-tests"
cors_origins = "https://order.example.com"
body_limit_bytes = 65536
request_timeout = "5s"
max_concurrent_requests = 64
max_connections = 64
max_event_streams = 2
menu_max_age = "0s"
menu_cache_bytes = 1048576
shutdown_grace = "5s"
"#;

pub fn config() -> Config {
    toml::from_str(CONFIG).unwrap()
}

pub struct Gateway {
    pub fakes: Fakes,
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<()>,
    pub served: Option<Served>,
    client: Client,
}

pub async fn gateway() -> Gateway {
    gateway_with(config()).await
}

pub async fn gateway_with(config: Config) -> Gateway {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fakes = Fakes::default();
    let served = fakes.serve().await;
    let channel = |name| Channel::remote(name, &format!("http://{}", served.address)).unwrap();
    let peers = Peers { order: channel("order"), catalog: channel("catalog"), store: channel("store") };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { posmesh_gateway::run(&config, peers, listener, stop).await.unwrap() });
    Gateway { fakes, address, shutdown, running, served: Some(served), client: Client::new() }
}

impl Gateway {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).timeout(PATIENCE)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// POST of a JSON body.
    pub async fn send(&self, path: &str, body: &Value) -> Response {
        self.post(path).json(body).send().await.unwrap()
    }

    /// POST of an order under `key`.
    pub async fn place(&self, path: &str, key: &str, body: &Value) -> Response {
        self.post(path).header("Idempotency-Key", key).json(body).send().await.unwrap()
    }

    /// The code of the n-th table.
    pub async fn table_code(&self, table: usize) -> String {
        let codes = self.get("/ops/v1/stores/shibuya/table-codes").bearer_auth(OPS_TOKEN).send().await.unwrap();
        text(&body(codes, 200).await["table_codes"][table]["code"])
    }

    /// A guest at the n-th table: the token and the check.
    pub async fn sit_down(&self, table: usize) -> (String, String) {
        let code = self.table_code(table).await;
        let opened = self.send("/table/v1/stores/shibuya/checks", &json!({"table_code": code, "party_size": 2})).await;
        let opened = body(opened, 200).await;
        (text(&opened["guest_token"]), text(&opened["check"]["check_id"]))
    }

    /// A round of a guest; its order id.
    pub async fn order_round(&self, token: &str, key: &str) -> String {
        let placed = self
            .post("/table/v1/check/rounds")
            .bearer_auth(token)
            .header("Idempotency-Key", key)
            .json(&round())
            .send()
            .await
            .unwrap();
        text(&body(placed, 201).await["order"]["order_id"])
    }

    /// A ToGo order: its path and its token.
    pub async fn order_ahead(&self, key: &str) -> (String, String) {
        let placed = self.place("/togo/v1/stores/shibuya/orders", key, &togo()).await;
        let location = header(&placed, "location");
        (location, text(&body(placed, 201).await["order_token"]))
    }
}

pub const KEY: &str = "5f0c4c9e-8a0e-4a53-9a0e-2f6f1c0f6a11";
pub const OTHER_KEY: &str = "c6a8e1b0-54e4-4d0c-bb2c-6a1b0b3f7d22";

pub fn round() -> Value {
    json!({"lines": [{"item_id": "yakitori", "quantity": 2}], "expected_total": {"currency": "JPY", "amount": 980}})
}

pub fn togo() -> Value {
    json!({
        "lines": [{"item_id": "yakitori", "quantity": 2, "modifiers": [{"group_id": "seasoning", "modifier_id": "salt"}]}],
        "expected_total": {"currency": "JPY", "amount": 980},
        "pickup_time": "2026-11-22T18:30:00+09:00",
        "guest_contact": {"name": "Sato", "phone": "+819012345678"},
        "tenders": [{"amount": {"currency": "JPY", "amount": 980}, "reference": "pay_8Xk2"}]
    })
}

pub fn kiosk() -> Value {
    json!({
        "lines": [{"item_id": "yakitori", "quantity": 1}, {"item_id": "yakitori", "quantity": 1, "service_mode": "take_away"}],
        "expected_total": {"currency": "JPY", "amount": 980},
        "service_mode": "eat_in",
        "pager_number": "17",
        "tenders": [{"amount": {"currency": "JPY", "amount": 980}, "reference": "term-4-001923"}]
    })
}

/// The JSON of an answer that must have this status.
pub async fn body(response: Response, status: u16) -> Value {
    let got = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem of an answer that must have this status and reason, in the form of RFC 9457.
pub async fn problem(response: Response, status: u16, reason: &str) -> Value {
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let problem = body(response, status).await;
    assert_eq!(problem["reason"], reason, "{problem}");
    assert_eq!(problem["type"], format!("/problems/{reason}"));
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    problem
}

pub fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A stream of server-sent events.
pub struct Events {
    response: Response,
    buffer: Vec<u8>,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Events {
    pub fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/event-stream");
        Self { response, buffer: Vec::new() }
    }

    /// The next event, or `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let due = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let rest = self.buffer.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                if block.contains("data: ") {
                    let data = serde_json::from_str(&field("data")).unwrap();
                    return Some(Event { id: field("id"), name: field("event"), data });
                }
                continue;
            }
            let left = due.saturating_duration_since(Instant::now());
            let chunk = timeout(left, self.response.chunk()).await.expect("no event came in time").unwrap()?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The state in the next event.
    pub async fn state(&mut self) -> String {
        text(&self.next().await.expect("the stream ended").data["state"])
    }
}
