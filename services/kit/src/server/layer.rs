//! The one layer stack around every gRPC service: load shed, deadline, identity, trace, panic to INTERNAL, metrics.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use opentelemetry::{KeyValue, global, metrics::Histogram};
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::Layer;
use tracing::{Instrument as _, field::Empty};

use super::{Arc, Body, Infallible, Request, Response, Semaphore, ServerConfig, Service};
use crate::{
    Failure,
    call::{self, Identity, Scope},
    failure::OVERLOADED,
    telemetry,
};

/// When to come back after a call was shed.
const SHED_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What one server admits.
#[derive(Debug, Clone)]
pub struct Limits {
    calls: Arc<Semaphore>,
    max_call_duration: Duration,
    durations: Histogram<f64>,
}

impl Limits {
    /// From the configuration; clones share their counts.
    pub fn new(config: &ServerConfig) -> Self {
        let durations = global::meter("posmesh")
            .f64_histogram("rpc.server.duration")
            .with_unit("s")
            .with_description("Time from a call's arrival to the head of its answer")
            .build();
        Self {
            calls: Arc::new(Semaphore::new(config.max_concurrent_calls)),
            max_call_duration: config.max_call_duration,
            durations,
        }
    }
}

#[derive(Clone)]
pub(super) struct GuardLayer(pub(super) Limits);

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded::new(inner, self.0.clone())
    }
}

/// A service within the stack.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    limits: Limits,
}

impl<S> Guarded<S> {
    /// Puts `inner` within the stack.
    pub fn new(inner: S, limits: Limits) -> Self {
        Self { inner, limits }
    }
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone has not been polled ready; the one that has must serve this call.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let limits = self.limits.clone();
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let span = tracing::info_span!(
            "call",
            otel.name = %method,
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.grpc.status_code = Empty,
        );
        telemetry::adopt_context(&span, request.headers());
        let noted = span.clone();
        Box::pin(
            async move {
                let begun = Instant::now();
                let response = admit(inner, request, &limits).await;
                let code = status_code(&response);
                noted.record("rpc.grpc.status_code", code);
                let labels =
                    [KeyValue::new("rpc.method", method), KeyValue::new("rpc.grpc.status_code", i64::from(code))];
                limits.durations.record(begun.elapsed().as_secs_f64(), &labels);
                Ok(response)
            }
            .instrument(span),
        )
    }
}

async fn admit<S>(inner: S, request: Request<Body>, limits: &Limits) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let Ok(_permit) = limits.calls.try_acquire() else {
        let shed = Failure::new(Code::ResourceExhausted, OVERLOADED, "too many calls at once; try again in a moment");
        return Status::from(shed.retry_after(SHED_RETRY_AFTER)).into_http();
    };
    let timeout = request
        .headers()
        .get("grpc-timeout")
        .and_then(|v| v.to_str().ok())
        .and_then(call::parse_grpc_timeout)
        .map_or(limits.max_call_duration, |asked| asked.min(limits.max_call_duration));
    let deadline = Instant::now() + timeout;
    let scope = Scope { identity: Identity::default(), deadline: Some(deadline) };
    let mut inner = inner;
    let handler = AssertUnwindSafe(call::in_scope(scope, inner.call(request))).catch_unwind();
    match tokio::time::timeout_at(deadline, handler).await {
        Ok(Ok(Ok(response))) => named(response),
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(panic)) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Status::from(Failure::internal("the call ended in a fault of this server", what)).into_http()
        }
        Err(_) => call::deadline_exceeded("the call").into_http(),
    }
}

/// tonic answers a message that cannot be decoded with INTERNAL and no details; it is the caller's fault, and is named.
fn named(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let message = headers.get("grpc-message").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is_ours = headers.contains_key("grpc-status-details-bin");
    let internal = status_code(&response) == Code::Internal as i32;
    if is_ours || !internal || !message.starts_with("failed%20to%20decode%20Protobuf%20message") {
        return response;
    }
    let words = "the message cannot be decoded: build it from the published contracts";
    Status::from(Failure::new(Code::InvalidArgument, "MALFORMED_MESSAGE", words)).into_http()
}

/// The code of an answer that is an error from its head on; an error at the end of a stream counts as OK here.
fn status_code(response: &Response<Body>) -> i32 {
    response.headers().get("grpc-status").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0)
}
