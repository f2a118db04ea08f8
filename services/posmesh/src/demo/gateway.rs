//! The gateway as the pages and terminals of the products call it: plain HTTP.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::RequestBuilder;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::dev::STORE_ID;

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a page lets the gateway wait for the POS's answer, in seconds.
const WAIT_S: u32 = 10;

/// The HTTP surface of the mesh.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    pub(super) client: reqwest::Client,
    pub(super) base_url: String,
    pub(super) ops_token: String,
}

/// Where a product's orders go.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Of the check or the store.
    pub(super) path: &'a str,
    /// What orders are called below it.
    pub(super) collection: &'a str,
    pub(super) guest_token: Option<&'a str>,
    /// Reference of a payment taken elsewhere.
    pub(super) paid_by: Option<&'a str>,
}

/// What a page knows of its order.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) state: String,
    #[serde(default)]
    pub(super) display_number: String,
}

/// A placed order and the moments around it.
#[derive(Debug)]
pub(super) struct Tapped {
    pub(super) order: Order,
    /// When the guest tapped.
    pub(super) at: Instant,
    /// How long until the page could tell that the POS has it.
    pub(super) answered_after: Duration,
}

#[derive(Deserialize)]
struct Placed {
    order: Order,
}

#[derive(Deserialize)]
struct Quote {
    price: Price,
}

#[derive(Deserialize)]
struct Price {
    total: Value,
}

impl Gateway {
    /// The code that the QR at the table holds now.
    pub(super) async fn table_code(&self, table_id: &str) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Codes {
            table_codes: Vec<TableCode>,
        }
        #[derive(Deserialize)]
        struct TableCode {
            table_id: String,
            code: String,
        }
        let url = format!("{}/ops/v1/stores/{STORE_ID}/table-codes", self.base_url);
        let Codes { table_codes } = answer(self.client.get(url).bearer_auth(&self.ops_token)).await?;
        let code = table_codes.into_iter().find(|table| table.table_id == table_id);
        Ok(code.with_context(|| format!("there is no code for table {table_id}"))?.code)
    }

    /// Opens the table's check, or joins it; returns the guest's token.
    pub(super) async fn open_check(&self, table_code: &str, party_size: u32) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Opened {
            guest_token: String,
        }
        let url = format!("{}/table/v1/stores/{STORE_ID}/checks", self.base_url);
        let body = json!({ "table_code": table_code, "party_size": party_size });
        let opened: Opened = answer(self.client.post(url).json(&body)).await?;
        Ok(opened.guest_token)
    }

    /// Quotes the lines of `order` and places it with the quoted total, as a guest would who agrees to the price.
    pub(super) async fn order(&self, place: &Place<'_>, mut order: Value) -> anyhow::Result<Tapped> {
        let mut lines = json!({ "lines": order["lines"] });
        if let Some(mode) = order.get("service_mode") {
            lines["service_mode"] = mode.clone();
        }
        let quote: Quote = answer(self.post(place, "quote").json(&lines)).await?;
        if let Some(reference) = place.paid_by {
            order["tenders"] = json!([{ "amount": quote.price.total, "reference": reference }]);
        }
        order["expected_total"] = quote.price.total;

        let request = self
            .post(place, place.collection)
            .header("idempotency-key", uuid::Uuid::now_v7().to_string())
            .header("prefer", format!("wait={WAIT_S}"))
            .json(&order);
        let at = Instant::now();
        let placed: Placed = answer(request).await?;
        Ok(Tapped { order: placed.order, at, answered_after: at.elapsed() })
    }

    fn post(&self, place: &Place<'_>, leaf: &str) -> RequestBuilder {
        let request = self.client.post(format!("{}/{}/{leaf}", self.base_url, place.path));
        match place.guest_token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// Sends a request; an answer that is a problem is an error with its text.
async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    let (client, request) = request.timeout(CALL_TIMEOUT).build_split();
    let request = request?;
    let what = format!("{} {}", request.method(), request.url().path());
    let response = client.execute(request).await.with_context(|| format!("{what} got no answer"))?;
    let status = response.status();
    let body = response.bytes().await.with_context(|| format!("the answer to {what} broke off"))?;
    if !status.is_success() {
        bail!("{what} was answered {status}: {}", String::from_utf8_lossy(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("the answer to {what} is not as documented"))
}
