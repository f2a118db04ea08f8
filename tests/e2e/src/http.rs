//! The gateway as guests' pages and terminals call it.

use anyhow::Result;
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

use crate::wait::PATIENCE;

/// How long the gateway is asked to wait for the POS, in seconds.
const WAIT_S: u32 = 20;

/// An HTTP client of one server.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base_url: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// JSON, or null if it is none.
    pub body: Value,
}

impl Http {
    /// For the server at `base_url`.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(base_url: &str) -> Result<Self> {
        // Fails when another test of this process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { client, base_url: base_url.to_owned() })
    }

    /// Any request, to be completed and sent by [`Http::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base_url))
    }

    /// A GET, to be completed and sent by [`Http::send`].
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A POST of JSON, to be completed and sent by [`Http::send`].
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    /// A POST that places something under a key and waits for the POS.
    pub fn place(&self, path: &str, key: &str, body: &Value) -> RequestBuilder {
        self.post(path, body).header("idempotency-key", key).header("prefer", format!("wait={WAIT_S}"))
    }

    /// The whole answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body })
    }
}

impl Answer {
    /// The body of an answer that must be a success.
    ///
    /// # Panics
    /// When it is a problem.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {:#}", self.status, self.body);
        self.body
    }

    /// Status, reason and first field of a problem.
    ///
    /// # Panics
    /// When it is none.
    pub fn problem(&self) -> (u16, String, String) {
        let content_type = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        assert_eq!(content_type, Some("application/problem+json"), "{} {:#}", self.status, self.body);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(!text(&self.body["detail"]).is_empty(), "a problem without words: {:#}", self.body);
        (self.status, text(&self.body["reason"]), text(&self.body["errors"][0]["field"]))
    }
}
