//! HTTP to a vendor: connections are reused, every call has a deadline, answers a bound, and a failure says by proof
//! whether the request was sent.

mod redact;

use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use async_trait::async_trait;
use posmesh_kit::{cause, config::ConfigError};
use reqwest::{
    Method, Request, RequestBuilder, Response,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use serde::{Deserialize, de::DeserializeOwned};
use tracing::Level;

use crate::{Connection, PosError, Unplaced, pos_answered};
use redact::Redactor;

/// Limits of calls to a vendor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Name resolution, TCP and TLS together. Less than `call_timeout`: what ends within it was provably not sent.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// A whole call, from the name resolution to the last byte of the answer.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long an unused connection is kept. Less than the vendor keeps it, lest a call meets a connection that is
    /// being closed and ends in doubt.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A longer answer is given up.
    pub max_answer_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            max_answer_bytes: 16 << 20,
        }
    }
}

/// What the vendor answered, whatever the status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Proven that no byte of the request was sent: there was no connection.
    #[error("not sent: {message}")]
    NotSent {
        /// One of [`posmesh_kit::cause`].
        cause: &'static str,
        /// For staff and logs; holds no secret.
        message: String,
    },
    /// Sent, or maybe sent; what became of it is unknown.
    #[error("in doubt: {message}")]
    InDoubt {
        /// One of [`posmesh_kit::cause`].
        cause: &'static str,
        /// For staff and logs; holds no secret.
        message: String,
    },
}

impl HttpError {
    fn into_parts(self) -> (&'static str, String) {
        match self {
            Self::NotSent { cause, message } | Self::InDoubt { cause, message } => (cause, message),
        }
    }

    /// For a read or a login that comes before the order's first write: nothing of the order was sent, however the call
    /// failed.
    pub fn before_any_write(self) -> Unplaced {
        let (cause, message) = self.into_parts();
        Unplaced::not_handed_over(cause, message)
    }

    /// For the order's first write: not handed over if that is proven, else in doubt.
    pub fn at_first_write(self) -> Unplaced {
        match self {
            Self::NotSent { cause, message } => Unplaced::not_handed_over(cause, message),
            Self::InDoubt { cause, message } => Unplaced::in_doubt(cause, message),
        }
    }

    /// For any call after a write: the order is in doubt, even if this call was not sent.
    pub fn after_a_write(self) -> Unplaced {
        let (cause, message) = self.into_parts();
        Unplaced::in_doubt(cause, message)
    }
}

impl From<HttpError> for PosError {
    fn from(error: HttpError) -> Self {
        let (cause, message) = error.into_parts();
        PosError::failed(cause, message)
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// When the vendor wants to be asked again, where it says so in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// What carries a request to the vendor and brings its answer back.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends a request once and reads the whole answer, within the request's own timeout if it has one. The request is
    /// handed to a connection only after that is made, so that [`HttpError::NotSent`] is a proof.
    async fn exchange(&self, request: Request) -> Result<Answer, HttpError>;
}

/// A client for one vendor, shared by all its connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// Builds requests.
    client: reqwest::Client,
    transport: Arc<dyn Transport>,
    redactor: Redactor,
}

impl HttpClient {
    /// `secret_fields` are names of JSON fields and query parameters that no log may show, beyond the usual ones
    /// (`password`, `token`, `api_key`, …); values of a connection's credentials are never shown anyway.
    pub fn new(config: &HttpConfig, secret_fields: &[&str]) -> Result<Self, ConfigError> {
        if config.connect_timeout.is_zero() || config.connect_timeout >= config.call_timeout {
            return Err(ConfigError::invalid("http.connect_timeout", "must be above 0 and below http.call_timeout"));
        }
        install_tls();
        let client = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .timeout(config.call_timeout)
            .pool_idle_timeout(config.idle_timeout)
            .redirect(redirect::Policy::none())
            // A request goes out once: whether to send it again is the caller's decision.
            .retry(reqwest::retry::never())
            .user_agent(concat!("posmesh/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| ConfigError::invalid("http", e))?;
        let transport = Arc::new(Network { client: client.clone(), max_answer_bytes: config.max_answer_bytes });
        Ok(Self { client, transport, redactor: Redactor::new(secret_fields) })
    }

    /// The same client over another transport than the machine's network.
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport, ..self }
    }

    /// Begins a request; a malformed URL shows when it is sent.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request once and reads the whole answer.
    pub async fn send(&self, request: RequestBuilder, connection: &Connection) -> Result<Answer, HttpError> {
        let logged = tracing::enabled!(Level::DEBUG);
        let request = request.build().map_err(|e| HttpError::NotSent {
            cause: cause::MISCONFIGURED,
            message: self.redactor.text(&innermost(e), connection),
        })?;
        if logged {
            self.log_request(&request, connection);
        }
        let (method, host) = (request.method().clone(), request.url().host_str().unwrap_or_default().to_owned());
        let begun = std::time::Instant::now();
        let result = self.transport.exchange(request).await;
        if result.is_ok() {
            pos_answered();
        }
        let result = result.map_err(|e| self.with_host(e, &method, &host, connection));
        if logged {
            self.log_result(&result, begun.elapsed(), connection);
        }
        result
    }

    fn with_host(&self, error: HttpError, method: &Method, host: &str, connection: &Connection) -> HttpError {
        let tell = |message: String| self.redactor.text(&format!("{method} {host}: {message}"), connection);
        match error {
            HttpError::NotSent { cause, message } => HttpError::NotSent { cause, message: tell(message) },
            HttpError::InDoubt { cause, message } => HttpError::InDoubt { cause, message: tell(message) },
        }
    }

    fn log_request(&self, request: &Request, connection: &Connection) {
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        tracing::debug!(
            connection.id = %connection.connection_id,
            headers = %self.redactor.headers(request.headers(), connection),
            body = %self.redactor.body(body, connection),
            "{} {}",
            request.method(),
            self.redactor.url(request.url(), connection),
        );
    }

    fn log_result(&self, result: &Result<Answer, HttpError>, took: Duration, connection: &Connection) {
        match result {
            Ok(answer) => tracing::debug!(
                connection.id = %connection.connection_id,
                headers = %self.redactor.headers(&answer.headers, connection),
                body = %self.redactor.body(&answer.body, connection),
                "answered {} in {took:?}",
                answer.status,
            ),
            Err(error) => tracing::debug!(connection.id = %connection.connection_id, "{error} after {took:?}"),
        }
    }
}

/// The machine's network.
#[derive(Debug)]
struct Network {
    client: reqwest::Client,
    max_answer_bytes: usize,
}

#[async_trait]
impl Transport for Network {
    async fn exchange(&self, request: Request) -> Result<Answer, HttpError> {
        let response = self.client.execute(request).await.map_err(classify)?;
        self.read(response).await
    }
}

impl Network {
    async fn read(&self, mut response: Response) -> Result<Answer, HttpError> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(in_doubt)? {
            if body.len() + chunk.len() > self.max_answer_bytes {
                let message = format!("the answer is longer than {} bytes", self.max_answer_bytes);
                return Err(HttpError::InDoubt { cause: cause::VENDOR_SERVICE_DOWN, message });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }
}

/// The process's TLS provider, unless it has one.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A failure to connect is the one proof: the request is handed to a connection only after it is made. An overall
/// timeout proves nothing.
fn classify(error: reqwest::Error) -> HttpError {
    if error.is_connect() {
        return HttpError::NotSent { cause: cause::NETWORK_DOWN, message: innermost(error) };
    }
    in_doubt(error)
}

fn in_doubt(error: reqwest::Error) -> HttpError {
    let cause = if error.is_timeout() { cause::TIMED_OUT } else { cause::NETWORK_DOWN };
    HttpError::InDoubt { cause, message: innermost(error) }
}

/// The words of the error that began it, without the URL, whose query may hold secrets.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |e| (*e).source());
    chain.last().map(ToString::to_string).unwrap_or_default()
}
