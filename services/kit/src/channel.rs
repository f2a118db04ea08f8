//! How one service calls another: in process, or over the network to any number of endpoints.
//!
//! A [`Channel`] sends the caller's deadline and trace context along. Over the network it resolves its names again and
//! again, spreads calls over what it finds, and sets aside an endpoint that cannot be reached. A call fails with the
//! reason NOT_HANDED_OVER only when no byte of it was sent: the connection is made before the request is handed to it.
//!
//! Requests are buffered before they are sent, so that one that provably never left can go to another endpoint. Client
//! streaming is therefore not for this channel; no contract uses it.

mod endpoint;
mod remote;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

use crate::{Failure, call, cause, config::ConfigError, telemetry};
use remote::Remote;

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Calls without any deadline of their caller end after this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A way to one service. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    name: Arc<str>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    InProcess(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>),
    Remote(Arc<Remote>),
}

impl Channel {
    /// Calls `service` directly. `name` is for errors and logs.
    pub fn in_process<S>(name: &str, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self { name: name.into(), way: Way::InProcess(BoxCloneSyncService::new(service)) }
    }

    /// Calls over the network. `endpoints` is one or more `http://host:port`, separated by commas; a host name may stand
    /// for several addresses.
    pub fn remote(name: &str, endpoints: &str) -> Result<Self, ConfigError> {
        let remote = Remote::new(name, endpoints)?;
        Ok(Self { name: name.into(), way: Way::Remote(Arc::new(remote)) })
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let timeout = timeout(&request);
        if let Ok(value) = HeaderValue::try_from(call::format_grpc_timeout(timeout)) {
            request.headers_mut().insert(GRPC_TIMEOUT, value);
        }
        telemetry::inject_context(request.headers_mut());
        let way = self.way.clone();
        let name = Arc::clone(&self.name);
        Box::pin(async move {
            let sent = AtomicBool::new(false);
            let answer = async {
                match way {
                    Way::InProcess(service) => {
                        sent.store(true, Ordering::Relaxed);
                        service.oneshot(request).await.map_err(|never: Infallible| match never {})
                    }
                    Way::Remote(remote) => remote.call(request, &sent).await,
                }
            };
            match tokio::time::timeout(timeout, answer).await {
                Ok(result) => result,
                Err(_) if sent.load(Ordering::Relaxed) => Err(call::deadline_exceeded(&format!("the call to {name}"))),
                Err(_) => {
                    let message = format!("{name} could not be reached before the deadline");
                    Err(Failure::not_handed_over(cause::NETWORK_DOWN, message).into())
                }
            }
        })
    }
}

/// The tightest of the request's own timeout, the running handler's deadline and the default.
fn timeout(request: &Request<Body>) -> Duration {
    let own = request.headers().get(GRPC_TIMEOUT).and_then(|v| v.to_str().ok()).and_then(call::parse_grpc_timeout);
    let inherited = call::time_left();
    match (own, inherited) {
        (Some(own), Some(inherited)) => own.min(inherited),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => DEFAULT_TIMEOUT,
    }
}
