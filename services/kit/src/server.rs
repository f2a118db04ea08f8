//! Serving mounted services over a socket: one layer stack, health per service, reflection, bounded shutdown.

mod layer;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use futures_util::Stream;
use http::{Request, Response};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    body::Body,
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service;

pub use layer::{Guarded, Limits};

use crate::{Channel, config::ConfigError};

/// How a gRPC server listens and how much it takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Calls that run at once; more are refused with OVERLOADED before any of their code runs.
    pub max_concurrent_calls: usize,
    /// Streams that one client connection may have open.
    pub max_concurrent_streams: u32,
    /// A unary call ends after this even if its caller set no deadline.
    #[serde(with = "humantime_serde")]
    pub max_call_duration: Duration,
    /// How long a shutdown waits for the calls that run.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_concurrent_calls: 4096,
            max_concurrent_streams: 1024,
            max_call_duration: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(15),
        }
    }
}

impl ServerConfig {
    /// Refuses values with which no server can work; `section` is where they stand.
    pub fn check(&self, section: &str) -> Result<(), ConfigError> {
        let wrong = |key: &str, what: &str| Err(ConfigError::invalid(&format!("{section}.{key}"), what));
        if !(1..=MAX_CALLS).contains(&self.max_concurrent_calls) {
            return wrong("max_concurrent_calls", "must be 1 to 1000000");
        }
        if self.max_concurrent_streams == 0 {
            return wrong("max_concurrent_streams", "must be at least 1");
        }
        if self.max_call_duration < Duration::from_secs(1) {
            return wrong("max_call_duration", "must be at least 1s");
        }
        Ok(())
    }
}

const MAX_CALLS: usize = 1_000_000;

/// Messages above this are refused by every server (`decoding_message_size` of the generated servers).
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// A service that is ready to be called: its routes, the gRPC names it serves, and its background work.
pub struct Mounted {
    /// Short name for logs: `order`.
    pub name: &'static str,
    /// Full gRPC service names, e.g. `posmesh.order.v1.OrderService`.
    pub service_names: Vec<&'static str>,
    /// The gRPC services.
    pub routes: Routes,
    /// Ends when the service's background work has ended after `stop`.
    pub background: TaskTracker,
    /// Ends the background work.
    pub stop: CancellationToken,
}

impl Mounted {
    /// A service without background work so far: spawn it on `background`, end it on `stop`.
    pub fn new(name: &'static str, routes: Routes, service_names: Vec<&'static str>) -> Self {
        Self { name, service_names, routes, background: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// A way to call this service in process, through the same layer stack as over a socket.
    pub fn channel(&self, config: &ServerConfig) -> Channel {
        Channel::in_process(self.name, Guarded::new(self.routes.clone().prepare(), Limits::new(config)))
    }
}

/// What went wrong while serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket or a connection.
    #[error("cannot serve: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptor set is broken: a fault of the build.
    #[error("cannot serve reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `shutdown`, then says NOT_SERVING, drains the running calls for at most the grace, and ends the
/// background work of every service.
pub async fn serve(
    config: &ServerConfig,
    listener: TcpListener,
    services: Vec<Mounted>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(server.address = %address, "serving gRPC on {address}");
    }
    serve_on(config, TcpIncoming::from(listener).with_nodelay(Some(true)), services, shutdown).await
}

/// [`serve`] on connections from wherever they come.
pub async fn serve_on<IO>(
    config: &ServerConfig,
    incoming: impl Stream<Item = io::Result<IO>>,
    services: Vec<Mounted>,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (health, health_server) = tonic_health::server::health_reporter();
    // The reporter starts with "" as SERVING; nothing serves yet.
    health.set_service_status("", ServingStatus::NotServing).await;
    let mut routes = Routes::new(health_server);
    for part in services.iter().map(|s| s.routes.clone()) {
        routes = merge(routes, part);
    }
    let names: Vec<&'static str> = services.iter().flat_map(|s| s.service_names.iter().copied()).collect();
    routes = with_reflection(routes, &names)?;
    set_status(&health, &names, ServingStatus::Serving).await;
    tracing::info!(services = ?names, "ready");

    let drain = CancellationToken::new();
    let server = Server::builder()
        .tcp_nodelay(true)
        .max_concurrent_streams(config.max_concurrent_streams)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .layer(layer::GuardLayer(Limits::new(config)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, drain.clone().cancelled_owned());
    tokio::pin!(server);
    tokio::select! {
        result = &mut server => return Ok(result?),
        () = shutdown.cancelled() => {}
    }
    set_status(&health, &names, ServingStatus::NotServing).await;
    for service in &services {
        service.stop.cancel();
        service.background.close();
    }
    drain.cancel();
    let ended = async {
        // Streams end when their service stops; what is left after the grace is cut.
        let result = server.await;
        for service in &services {
            service.background.wait().await;
        }
        result
    };
    match tokio::time::timeout(config.shutdown_grace, ended).await {
        Ok(result) => Ok(result?),
        Err(_) => {
            tracing::warn!("some calls did not end within the shutdown grace and were cut");
            Ok(())
        }
    }
}

fn merge(routes: Routes, part: Routes) -> Routes {
    Routes::from(routes.into_axum_router().merge(without_fallback(part)))
}

/// Two routers that both have a fallback cannot be merged; the first one's stays.
fn without_fallback(routes: Routes) -> axum::Router {
    routes.into_axum_router().reset_fallback()
}

fn with_reflection(routes: Routes, names: &[&'static str]) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(posmesh_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        for name in names {
            builder = builder.with_service_name(*name);
        }
        builder
    };
    Ok(routes
        .add_service(builder().with_service_name("grpc.reflection.v1.ServerReflection").build_v1()?)
        .add_service(builder().with_service_name("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?))
}

async fn set_status(health: &HealthReporter, names: &[&'static str], status: ServingStatus) {
    for name in names {
        health.set_service_status(*name, status).await;
    }
    health.set_service_status("", status).await;
}
