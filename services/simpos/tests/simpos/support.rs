//! Starts a POS and talks to it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use posmesh_simpos::{Config, RunError, run};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const KEY: &str = "test-key";
/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A client of one POS.
pub(crate) struct Pos {
    pub(crate) url: String,
    client: Client,
}

/// A POS in this process.
pub(crate) struct Linked {
    pub(crate) pos: Pos,
    pub(crate) ended: JoinHandle<Result<(), RunError>>,
    shutdown: CancellationToken,
}

/// A POS in a process of its own.
pub(crate) struct Spawned {
    pub(crate) pos: Pos,
    pub(crate) process: Child,
}

/// Starts a POS in memory.
pub(crate) async fn in_memory() -> Linked {
    linked(None).await
}

/// Starts a POS in this process.
pub(crate) async fn linked(journal: Option<&Path>) -> Linked {
    configured(Config { journal: journal.map(Path::to_owned), ..Config::new(KEY) }).await
}

/// Starts a POS in this process.
pub(crate) async fn configured(config: Config) -> Linked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pos = Pos::at(format!("http://{}", listener.local_addr().unwrap()));
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(run(config, listener, shutdown.clone()));
    Linked { pos, ended, shutdown }
}

impl Linked {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("stops").unwrap().unwrap();
    }
}

/// Starts the binary and reads its ready line.
pub(crate) async fn spawned(journal: &Path) -> Spawned {
    let mut process = Command::new(env!("CARGO_BIN_EXE_simpos"))
        .args(["--listen", "127.0.0.1:0", "--api-key", KEY, "--journal"])
        .arg(journal)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("ready in time").unwrap().unwrap();
    let url = line.strip_prefix("simpos ready on ").unwrap().to_owned();
    Spawned { pos: Pos::at(url), process }
}

impl Pos {
    pub(crate) fn at(url: String) -> Self {
        // Fails when another test of this process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Pos { url, client: Client::builder().timeout(PATIENCE).build().unwrap() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Value) -> reqwest::Result<Response> {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(KEY);
        if body.is_null() { request.send().await } else { request.json(&body).send().await }
    }

    /// Status and body.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await.unwrap();
        (response.status(), response.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, Value::Null).await;
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Status and cause of a refusal.
    pub(crate) async fn refused(&self, path: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!(!status.is_success(), "{path}: {answer}");
        (status.as_u16(), answer["error"]["cause"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn fault(&self, rule: Value) -> Value {
        self.post("/control/faults", rule).await
    }

    /// Something that the staff do at the till.
    pub(crate) async fn staff(&self, action: &str, mut what: Value) {
        what["staff"] = json!("sato");
        what["action"] = json!(action);
        let (status, body) = self.ask(Method::POST, "/control/staff", what).await;
        assert_eq!(status, 204, "{action}: {body}");
    }

    /// How the restaurant works.
    pub(crate) async fn set(&self, settings: Value) {
        let (status, body) = self.ask(Method::PUT, "/control/settings", settings).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Kitchen slips of an order, by their marks.
    pub(crate) async fn marks(&self, reference: &str) -> Vec<String> {
        let tickets = self.get("/api/tickets").await;
        let own = tickets["tickets"].as_array().unwrap().iter().filter(|t| t["order_reference"] == reference);
        own.map(|ticket| ticket["mark"].as_str().unwrap().to_owned()).collect()
    }

    /// True when the order is recorded.
    pub(crate) async fn has(&self, reference: &str) -> bool {
        let (status, body) = self.ask(Method::GET, &format!("/api/orders/{reference}"), Value::Null).await;
        match status {
            StatusCode::OK => true,
            _ => {
                assert_eq!(body["error"]["cause"], "ORDER_NOT_FOUND");
                false
            }
        }
    }

    /// References of the recorded orders, as the journal has them.
    pub(crate) async fn journaled_orders(&self) -> Vec<String> {
        let journal = self.get("/control/journal").await;
        let orders = journal["entries"].as_array().unwrap().iter();
        orders.filter_map(|e| Some(e["event"]["order"]["request"]["reference"].as_str()?.to_owned())).collect()
    }
}

/// An order of one edamame (¥380), eaten here, without a table.
pub(crate) fn order(reference: &str) -> Value {
    json!({"reference": reference, "product": "kiosk", "lines": [line("l1", "edamame", 1)]})
}

/// The same on a table.
pub(crate) fn round(reference: &str, table: &str) -> Value {
    let mut order = order(reference);
    order["table"] = json!(table);
    order["product"] = json!("table");
    order
}

pub(crate) fn line(reference: &str, item: &str, quantity: u32) -> Value {
    json!({"reference": reference, "item_id": item, "quantity": quantity, "service_mode": "dine_in"})
}

/// A whole order is taken back.
pub(crate) fn cancel(change: &str) -> Value {
    json!({"change_reference": change, "reason": "changed their mind"})
}

/// So much of a line is void, in all.
pub(crate) fn void(change: &str, line: &str, quantity: u32) -> Value {
    json!({"change_reference": change, "lines": [{"reference": line, "quantity_voided": quantity}]})
}
