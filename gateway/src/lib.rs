//! The gateway: HTTP and JSON for the three ordering products, in front of the platform's gRPC services.
//!
//! It is thin. Prices, order states and all rules about them are the services'; its own are HTTP, the codes at the
//! tables, the tokens of guests, and the words in which an order's state is told to a guest.
//!
//! [`mount`] gives the routes, [`run`] serves them. `GET /openapi.json` documents them.

mod app;
mod config;
mod edge;
mod events;
mod extract;
mod gates;
mod inputs;
mod menu;
mod openapi;
mod orders;
mod problem;
mod rendered;
mod routes;
mod serve;
mod table_code;
mod token;
mod views;
mod words;

use axum::{Router, extract::DefaultBodyLimit, middleware, response::IntoResponse as _, routing};
use http::StatusCode;
use posmesh_kit::{Channel, config::ConfigError};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{Modify as _, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;

pub use config::{Config, Secret};

use crate::{app::App, problem::Problem};

/// The services that the gateway calls.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Orders and checks.
    pub order: Channel,
    /// Menus and tables.
    pub catalog: Channel,
    /// Stores.
    pub store: Channel,
}

/// A gateway that is ready to be served.
#[derive(Debug)]
pub struct Gateway {
    /// All routes with everything around them.
    pub router: Router,
    /// Ends when the background work has ended after `stop`.
    pub background: TaskTracker,
    /// Ends event streams and background work.
    pub stop: CancellationToken,
}

/// Builds the routes. Errors name the setting that makes no sense.
pub fn mount(config: &Config, peers: Peers) -> Result<Gateway, ConfigError> {
    let (background, stop) = (TaskTracker::new(), CancellationToken::new());
    let app = App::new(config, peers, &background, stop.clone())?;
    let (router, mut document) =
        OpenApiRouter::with_openapi(openapi::Document::openapi()).merge(routes::all(&app)).split_for_parts();
    openapi::Operations.modify(&mut document);
    // Maps with text keys: serializing them cannot fail.
    let document = axum::body::Bytes::from(document.to_json().unwrap_or_default());
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    let router = router
        .route("/openapi.json", routing::get(move || async move { (json, document) }))
        .fallback(|| async { extract::not_found() })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "see the Allow header").into_response()
        })
        .layer(DefaultBodyLimit::max(config.body_limit_bytes))
        .layer(middleware::from_fn_with_state(app.clone(), edge::limit))
        .layer(CatchPanicLayer::custom(edge::on_panic));
    let origins = config.cors_origins()?;
    let router = if origins.is_empty() { router } else { router.layer(edge::cors(origins)) };
    let router = router.layer(middleware::from_fn_with_state(edge::durations(), edge::observe)).with_state(app);
    Ok(Gateway { router, background, stop })
}

/// Serves until `shutdown`: then event streams end, running requests get the configured grace, the rest is cut.
pub async fn run(
    config: &Config,
    peers: Peers,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ConfigError> {
    let Gateway { router, background, stop } = mount(config, peers)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(server.address = %address, "serving HTTP on {address}");
    }
    // Event streams would otherwise hold the shutdown up until they reach their age limit.
    let stopping = {
        let (shutdown, stop) = (shutdown.clone(), stop.clone());
        async move {
            shutdown.cancelled().await;
            stop.cancel();
        }
    };
    let serving = serve::serve(router, listener, config.max_connections, config.shutdown_grace, shutdown);
    tokio::join!(serving, stopping);
    background.close();
    background.wait().await;
    Ok(())
}
