//! The real adapter of the simulator vendor, over the simulated network, with the profile of this seed's POS.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use posmesh_adapter_kit::http::{Answer, HttpConfig, HttpError, Transport};
use posmesh_adapter_simulator::{
    Device, FindProfile, IdempotencyProfile, ListProfile, Profile as Described, Simulator,
};
use posmesh_kit::{ambient, cause, config::ConfigError};

use crate::{
    pos::{self, Find, Idempotency, Profile},
    world::net::Net,
};

/// The vendors' ids: others than the rich simulator's.
pub(crate) const VENDOR: &str = "simulated";
pub(crate) const PRINTERS: &str = "simulated-printer";

/// How long a call to the POS may take.
const HTTP: HttpConfig = HttpConfig {
    connect_timeout: Duration::from_secs(1),
    call_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(30),
    max_answer_bytes: 1 << 20,
};

/// The vendor's adapter, for a POS or a printer like this.
pub(crate) fn adapter(profile: Profile, net: &Net) -> Result<Simulator, ConfigError> {
    let window = match profile.idempotency {
        Idempotency::WindowMs(ms) => ms,
        Idempotency::None | Idempotency::Forever => 0,
    };
    let described = Described {
        vendor: if profile.is_printer { PRINTERS } else { VENDOR }.to_owned(),
        device: if profile.is_printer { Device::Printer } else { Device::Pos },
        find: match profile.find {
            Find::None => FindProfile::None,
            Find::Authoritative => FindProfile::Authoritative,
            Find::NotAuthoritative => FindProfile::NotAuthoritative,
        },
        idempotency: match profile.idempotency {
            Idempotency::None => IdempotencyProfile::None,
            Idempotency::WindowMs(_) => IdempotencyProfile::Window,
            Idempotency::Forever => IdempotencyProfile::Forever,
        },
        idempotency_window: Duration::from_millis(window),
        cancel_order: profile.cancels,
        void_lines: false,
        list_orders: ListProfile::None,
        poll_events: false,
        split_check: false,
        submit_without_ticket: profile.leaves_ticket_out,
        max_apply_delay: Duration::from_millis(profile.max_apply_delay_ms),
        ..Described::default()
    };
    Ok(Simulator::with_profile(&HTTP, described)?.over(Arc::new(Http { net: net.clone() })))
}

/// HTTP over the simulated network; a connection for each request.
struct Http {
    net: Net,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

fn in_doubt(error: impl std::fmt::Display) -> HttpError {
    HttpError::InDoubt { cause: cause::NETWORK_DOWN, message: error.to_string() }
}

#[async_trait]
impl Transport for Http {
    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, HttpError> {
        let timeout = request.timeout().copied().unwrap_or(HTTP.call_timeout).min(HTTP.call_timeout);
        let late = || HttpError::InDoubt { cause: cause::TIMED_OUT, message: "no answer in time".to_owned() };
        tokio::time::timeout(timeout, self.ask(request)).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Http {
    async fn ask(&self, request: reqwest::Request) -> Result<Answer, HttpError> {
        let not_sent = |error: io::Error| HttpError::NotSent { cause: cause::NETWORK_DOWN, message: error.to_string() };
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let wire = tokio::time::timeout(HTTP.connect_timeout, self.connect(&host))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(not_sent)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(in_doubt)?;
        // It ends with the answer, or with an error that the sender is told, too.
        tokio::spawn(connection);
        let response = sender.send_request(plain(request)?).await.map_err(in_doubt)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(in_doubt)?.to_bytes().to_vec();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self, host: &str) -> io::Result<Box<dyn ambient::Wire>> {
        let address = self.net.resolve(host, pos::PORT)?.first().copied();
        ambient::connect(address.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?).await
    }
}

/// The request as it goes over the wire; its body is small and whole.
fn plain(request: reqwest::Request) -> Result<http::Request<Full<bytes::Bytes>>, HttpError> {
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
    let mut uri = request.url().path().to_owned();
    if let Some(query) = request.url().query() {
        uri = format!("{uri}?{query}");
    }
    let builder = http::Request::builder().method(request.method().clone()).uri(uri).header("host", "pos");
    builder
        .body(Full::new(body.into()))
        .map_err(|error| HttpError::NotSent { cause: cause::MISCONFIGURED, message: error.to_string() })
}
