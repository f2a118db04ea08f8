//! One address of a remote service: its connection, and whether it is set aside.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tonic::{ConnectError, Status, TimeoutExpired, body::Body, transport};
use tower::{ServiceExt as _, service_fn};

use crate::{ambient, backoff, call};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Calls fail at once for so long after a failure, before the next one tries again.
const EJECT_BASE: Duration = Duration::from_millis(100);
const EJECT_CAP: Duration = Duration::from_secs(2);

pub(super) struct Endpoint {
    address: SocketAddr,
    /// Host and port as configured: sent as `:authority`.
    origin: Uri,
    state: Mutex<State>,
    /// Held while a connection is made: one at a time.
    connecting: tokio::sync::Mutex<()>,
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
        Self { address, origin, state: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it failed a moment ago, so that others should be tried first.
    pub(super) fn is_set_aside(&self) -> bool {
        self.state().set_aside_until.is_some_and(|until| Instant::now() < until)
    }

    /// Makes the call. `sent` is set before the request is handed to a connection.
    pub(super) async fn call(
        &self,
        head: &http::request::Parts,
        body: &Bytes,
        sent: &AtomicBool,
    ) -> Result<Response<Body>, CallError> {
        let connection = self.connection().await?;
        let mut request = Request::new(Body::new(Full::new(body.clone())));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers.clone();
        sent.store(true, Ordering::Relaxed);
        match connection.oneshot(request).await {
            Ok(response) => Ok(response),
            // The call took too long; the connection is as good as it was.
            Err(error) if chain(&error).any(|e| e.is::<TimeoutExpired>()) => {
                Err(CallError::Failed(call::deadline_exceeded("the call")))
            }
            Err(error) => {
                self.drop_connection();
                if is_connect_error(&error) {
                    sent.store(false, Ordering::Relaxed);
                    return Err(CallError::NotSent(format!("{}: {}", self.address, root_cause(&error))));
                }
                Err(CallError::Failed(Status::from_error(Box::new(error))))
            }
        }
    }

    /// The connection, made now if there is none. Who waits for another one's attempt shares its failure.
    async fn connection(&self) -> Result<transport::Channel, CallError> {
        if let Some(connection) = self.ready()? {
            return Ok(connection);
        }
        let _turn = self.connecting.lock().await;
        if let Some(connection) = self.ready()? {
            return Ok(connection);
        }
        match self.connect().await {
            Ok(connection) => {
                *self.state() = State { connection: Some(connection.clone()), ..State::default() };
                Ok(connection)
            }
            Err(error) => {
                self.state().set_aside();
                Err(CallError::NotSent(format!("{}: {}", self.address, root_cause(&error))))
            }
        }
    }

    /// The connection that is there; fails at once while the endpoint is set aside.
    fn ready(&self) -> Result<Option<transport::Channel>, CallError> {
        let state = self.state();
        if state.connection.is_none() && state.set_aside_until.is_some_and(|until| Instant::now() < until) {
            return Err(CallError::NotSent(format!("{}: could not be reached a moment ago", self.address)));
        }
        Ok(state.connection.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<transport::Channel, transport::Error> {
        let address = self.address;
        transport::Endpoint::from_shared(format!("http://{address}"))?
            .origin(self.origin.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_with_connector(service_fn(move |_: Uri| async move {
                Ok::<_, io::Error>(TokioIo::new(ambient::connect(address).await?))
            }))
            .await
    }

    fn drop_connection(&self) {
        let mut state = self.state();
        state.connection = None;
        state.set_aside();
    }
}

impl State {
    fn set_aside(&mut self) {
        self.set_aside_until = Some(Instant::now() + backoff::delay_after(EJECT_BASE, EJECT_CAP, self.failures));
        self.failures = self.failures.saturating_add(1);
    }
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
