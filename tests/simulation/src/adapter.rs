//! The real adapter of the simulator vendor, over the simulated network, with the descriptor of this seed's POS.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use posmesh_adapter_kit::{
    Adapter, CatalogParts, Connection, PosError, Submit, Unplaced,
    http::{Answer, HttpConfig, HttpError, Transport},
};
use posmesh_adapter_simulator::Simulator;
use posmesh_kit::{ambient, cause, config::ConfigError, time};
use posmesh_proto::adapter::v1::{
    AdapterDescriptor, CapabilitySupport, Find as FindFacts, FindKind, FindOrderRequest,
    Idempotency as IdempotencyFacts, IdempotencyKind, NotFound, Placed, PosCheck, ProbeLinkResponse,
    find_order_response::Result as Found,
};

use crate::{
    pos::{self, Find, Idempotency, Profile},
    world::net::Net,
};

/// How long a call to the POS may take.
const HTTP: HttpConfig = HttpConfig {
    connect_timeout: Duration::from_secs(1),
    call_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(30),
    max_answer_bytes: 1 << 20,
};

/// The vendor's adapter as this seed's POS is.
pub(crate) struct Vendor {
    inner: Simulator,
    profile: Profile,
}

impl Vendor {
    pub(crate) fn new(profile: Profile, net: &Net) -> Result<Self, ConfigError> {
        let inner = Simulator::new(&HTTP)?.over(Arc::new(Http { net: net.clone() }));
        Ok(Self { inner, profile })
    }
}

/// What the adapters of this vendor say of a POS like this.
pub(crate) fn described(mut descriptor: AdapterDescriptor, profile: Profile) -> AdapterDescriptor {
    let (kind, window_ms) = match profile.idempotency {
        Idempotency::None => (IdempotencyKind::None, None),
        Idempotency::WindowMs(ms) => (IdempotencyKind::Window, Some(ms)),
        Idempotency::Forever => (IdempotencyKind::Forever, None),
    };
    let window = window_ms.map(|ms| time::to_proto_duration(Duration::from_millis(ms)));
    descriptor.idempotency = Some(IdempotencyFacts { kind: kind.into(), window });
    let (find, authoritative) = match profile.find {
        Find::None => (FindKind::None, false),
        Find::Authoritative => (FindKind::ByReference, true),
        Find::NotAuthoritative => (FindKind::ByReference, false),
    };
    descriptor.find = Some(FindFacts { kind: find.into(), authoritative });
    if profile.find == Find::None {
        let finding = descriptor.capabilities.iter_mut().filter(|c| c.name == "FIND_ORDER");
        finding.for_each(|c| c.set_support(CapabilitySupport::Unsupported));
    }
    let delay = Duration::from_millis(profile.max_apply_delay_ms);
    descriptor.max_apply_delay = Some(time::to_proto_duration(delay));
    descriptor
}

#[async_trait]
impl Adapter for Vendor {
    fn descriptor(&self) -> AdapterDescriptor {
        described(self.inner.descriptor(), self.profile)
    }

    async fn probe_link(&self, connection: &Connection) -> Result<ProbeLinkResponse, PosError> {
        self.inner.probe_link(connection).await
    }

    async fn submit_order(&self, connection: &Connection, submit: Submit) -> Result<Placed, Unplaced> {
        self.inner.submit_order(connection, submit).await
    }

    async fn find_order(&self, connection: &Connection, request: FindOrderRequest) -> Result<Found, PosError> {
        if self.profile.find == Find::None {
            return Err(PosError::failed(cause::NOT_SUPPORTED, "this POS cannot be asked for an order"));
        }
        Ok(match self.inner.find_order(connection, request).await? {
            Found::NotFound(_) => Found::NotFound(NotFound { authoritative: self.profile.find == Find::Authoritative }),
            found => found,
        })
    }

    async fn pull_catalog(&self, connection: &Connection, parts: &CatalogParts) -> Result<Vec<String>, PosError> {
        self.inner.pull_catalog(connection, parts).await
    }

    async fn list_checks(&self, connection: &Connection, table_id: &str) -> Result<Vec<PosCheck>, PosError> {
        self.inner.list_checks(connection, table_id).await
    }

    async fn get_check(&self, connection: &Connection, reference: &str) -> Result<PosCheck, PosError> {
        self.inner.get_check(connection, reference).await
    }

    async fn request_bill(&self, connection: &Connection, reference: &str) -> Result<PosCheck, PosError> {
        self.inner.request_bill(connection, reference).await
    }
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
        let wire = tokio::time::timeout(HTTP.connect_timeout, self.connect())
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

    async fn connect(&self) -> io::Result<Box<dyn ambient::Wire>> {
        let address = self.net.resolve("pos", pos::PORT)?.first().copied();
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
