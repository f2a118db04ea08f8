//! The POS of a shop: simpos as a process, and what its staff and its journal say.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{Folder, Http, Process, binary, eventually};

/// What the POS asks its callers for.
pub const API_KEY: &str = "e2e-pos-key";
/// Entries of a page of the journal, its greatest.
const PAGE: usize = 1000;

/// A running POS with its journal on disk.
#[derive(Debug)]
pub struct Pos {
    process: Process,
    address: SocketAddr,
    http: Http,
    // After the process, so that it ends first.
    _folder: Folder,
}

impl Pos {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(name: &str) -> Result<Self> {
        let folder = Folder::new()?;
        let address = SocketAddr::from(([127, 0, 0, 1], posmesh_counterparts::free_port()?));
        let (listen, journal) = (address.to_string(), folder.path().join("journal.jsonl"));
        let mut arguments = ["--listen", &listen, "--api-key", API_KEY, "--journal"].map(Into::into).to_vec();
        arguments.push(journal.into_os_string());
        // Tests read the journal from its beginning.
        arguments.extend(["--keep-entries", "100000000"].map(Into::into));
        let log = ("RUST_LOG".to_owned(), "info".to_owned());
        let process = Process::start(name, &binary("simpos")?, arguments, vec![log], folder.path())?;
        let http = Http::new(&format!("http://{address}"))?;
        let pos = Self { process, address, http, _folder: folder };
        pos.answers().await;
        Ok(pos)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it has ended by itself, then starts it again on its journal.
    pub async fn restart_after_crash(&self) {
        eventually("the POS crashes", async || self.process.ended().unwrap_or_default()).await;
        self.process.restart().unwrap_or_else(|error| panic!("{error:#}"));
        self.answers().await;
    }

    /// Adds a fault rule.
    pub async fn fault(&self, rule: Value) {
        self.ask(Method::POST, "/control/faults", Some(&rule)).await;
    }

    /// Ends all faults.
    pub async fn heal(&self) {
        self.ask(Method::DELETE, "/control/faults", None).await;
    }

    /// How often the rules of this kind have happened.
    pub async fn happened(&self, kind: &str) -> u64 {
        let list = self.ask(Method::GET, "/control/faults", None).await;
        let rules = list["faults"].as_array().cloned().unwrap_or_default();
        rules.iter().filter(|rule| rule["kind"] == kind).filter_map(|rule| rule["happened"].as_u64()).sum()
    }

    /// What stands in the journal.
    pub async fn journal(&self) -> Vec<Value> {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            let path = format!("/control/journal?after={}&limit={PAGE}", entries.len());
            let page = self.ask(Method::GET, &path, None).await;
            entries.extend(page["entries"].as_array().cloned().unwrap_or_default());
            if page["more"] != true {
                return entries;
            }
        }
    }

    /// The orders in the journal, in the order of recording.
    pub async fn orders(&self) -> Vec<Value> {
        let events = self.journal().await.into_iter().map(|mut entry| entry["event"].take());
        events.filter(|event| event["type"] == "order_recorded").map(|mut event| event["order"].take()).collect()
    }

    /// The recordings of one of our orders: exactly one, if all is well.
    pub async fn recorded(&self, order_id: &str) -> Vec<Value> {
        self.orders().await.into_iter().filter(|order| order["request"]["reference"] == order_id).collect()
    }

    /// The kitchen slips of one of our orders.
    pub async fn slips(&self, order_id: &str) -> Vec<Value> {
        let list = self.ask(Method::GET, &format!("/api/tickets?limit={PAGE}"), None).await;
        let slips = list["tickets"].as_array().cloned().unwrap_or_default();
        slips.into_iter().filter(|slip| slip["kind"] == "kitchen" && slip["order_reference"] == order_id).collect()
    }

    /// A check.
    pub async fn check(&self, number: &Value) -> Value {
        self.ask(Method::GET, &format!("/api/checks/{number}"), None).await
    }

    /// The staff open a check on a table; returns it.
    pub async fn open_check_by_staff(&self, table: &str) -> Value {
        let body = json!({"table": table, "party_size": 2, "staff": "hanako"});
        self.ask(Method::POST, "/api/checks", Some(&body)).await["check"].take()
    }

    /// The staff key one unit of an item into a check.
    pub async fn enter_by_staff(&self, number: &Value, item_id: &str) {
        let line = json!({"reference": "till-1", "item_id": item_id, "quantity": 1, "service_mode": "dine_in"});
        let body = json!({"staff": "hanako", "lines": [line]});
        self.ask(Method::POST, &format!("/api/staff/checks/{number}/lines"), Some(&body)).await;
    }

    /// The guests pay in cash at the till.
    pub async fn close_check(&self, number: &Value) {
        let due = self.check(number).await["due"].clone();
        let body = json!({"staff": "hanako", "tenders": [{"tender_id": "cash", "amount": due}]});
        self.ask(Method::POST, &format!("/api/checks/{number}/close"), Some(&body)).await;
    }

    /// An order comes that the platform does not send now. The POS looks neither whether it is late nor whether it knows
    /// the reference.
    pub async fn receive(&self, mut request: Value) {
        request["uniqueness"] = json!({ "kind": "none" });
        request["not_after"] = Value::Null;
        self.ask(Method::POST, "/api/orders", Some(&request)).await;
    }

    /// The staff do something at the till, in the words of `POST /control/staff`.
    pub async fn staff(&self, mut action: Value) {
        action["staff"] = "hanako".into();
        self.ask(Method::POST, "/control/staff", Some(&action)).await;
    }

    /// The master data, to be changed and put back by [`Pos::replace_master`].
    pub async fn master(&self) -> Value {
        self.ask(Method::GET, "/api/menu", None).await
    }

    /// Replaces the master data behind everybody's back.
    pub async fn replace_master(&self, menu: &Value) {
        self.ask(Method::POST, "/control/master", Some(menu)).await;
    }

    /// Marks an item as sold out, or as available again.
    pub async fn set_available(&self, item_id: &str, available: bool) {
        let body = json!({ "available": available });
        self.ask(Method::PUT, &format!("/api/items/{item_id}/availability"), Some(&body)).await;
    }

    /// The staff count how many of an item are left.
    pub async fn set_remaining(&self, item_id: &str, remaining: u32) {
        let body = json!({ "available": true, "remaining": remaining });
        self.ask(Method::PUT, &format!("/api/items/{item_id}/availability"), Some(&body)).await;
    }

    /// Waits until it answers.
    pub async fn answers(&self) {
        eventually("the POS answers", async || self.try_ask(Method::GET, "/api/status", None).await.ok()).await;
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.try_ask(method, path, body).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asks it anything, by its API or its `/control`.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn try_ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = self.http.request(method.clone(), path).bearer_auth(API_KEY);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = Http::send(request).await.with_context(|| format!("the POS did not answer {method} {path}"))?;
        anyhow::ensure!(answer.status < 300, "the POS refused {method} {path}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }
}
