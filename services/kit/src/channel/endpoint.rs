//! One address of a remote service: its connection, and whether it is set aside.

use std::{error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tokio::{sync::Mutex, time::Instant};
use tonic::{ConnectError, Status, body::Body, transport};
use tower::ServiceExt as _;

use crate::backoff;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const EJECT_BASE: Duration = Duration::from_millis(200);
const EJECT_CAP: Duration = Duration::from_secs(5);

pub(super) struct Endpoint {
    address: SocketAddr,
    /// Host and port as configured: sent as `:authority`.
    origin: Uri,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<transport::Channel>,
    failures: u32,
    set_aside_until: Option<Instant>,
}

/// How a call on one endpoint failed.
pub(super) enum CallError {
    /// No byte of the request was sent.
    NotSent(String),
    /// It was sent, or may have been.
    Failed(Status),
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, origin: Uri) -> Self {
        Self { address, origin, state: Mutex::default() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it failed a moment ago, so that others should be tried first.
    pub(super) fn is_set_aside(&self) -> bool {
        // A held lock means that somebody connects: worth waiting for.
        self.state.try_lock().is_ok_and(|s| s.set_aside_until.is_some_and(|until| Instant::now() < until))
    }

    pub(super) async fn call(&self, head: &http::request::Parts, body: &Bytes) -> Result<Response<Body>, CallError> {
        let connection = self.connection().await?;
        let mut request = Request::new(Body::new(Full::new(body.clone())));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers.clone();
        match connection.oneshot(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.drop_connection().await;
                if is_connect_error(&error) {
                    return Err(CallError::NotSent(format!("{}: {}", self.address, root_cause(&error))));
                }
                Err(CallError::Failed(Status::from_error(Box::new(error))))
            }
        }
    }

    /// The connection, made now if there is none.
    async fn connection(&self) -> Result<transport::Channel, CallError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                *state = State { connection: Some(connection.clone()), ..State::default() };
                Ok(connection)
            }
            Err(error) => {
                set_aside(&mut state);
                Err(CallError::NotSent(format!("{}: {}", self.address, root_cause(&error))))
            }
        }
    }

    async fn connect(&self) -> Result<transport::Channel, transport::Error> {
        transport::Endpoint::from_shared(format!("http://{}", self.address))?
            .origin(self.origin.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect()
            .await
    }

    async fn drop_connection(&self) {
        let mut state = self.state.lock().await;
        state.connection = None;
        set_aside(&mut state);
    }
}

fn set_aside(state: &mut State) {
    state.set_aside_until = Some(Instant::now() + backoff::delay_after(EJECT_BASE, EJECT_CAP, state.failures));
    state.failures = state.failures.saturating_add(1);
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| (*e).source())
}

fn is_connect_error(error: &transport::Error) -> bool {
    chain(error).any(|e| e.is::<ConnectError>())
}

fn root_cause(error: &transport::Error) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
