//! Everything that can be set, for all services of a process.

use std::{net::SocketAddr, path::Path};

use posmesh_kit::{
    config::{self, ConfigError},
    server::ServerConfig,
    telemetry::TelemetryConfig,
};
use posmesh_kit_db::DatabaseConfig;
use serde::Deserialize;

/// The defaults of every key, with comments.
pub(crate) const DEFAULTS: &str = include_str!("../defaults.toml");

/// One section per concern; a process reads those of the services that it runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) listen: Listen,
    pub(crate) server: ServerConfig,
    pub(crate) database: DatabaseConfig,
    pub(crate) peers: Peers,
    pub(crate) store: posmesh_store::Config,
    pub(crate) router: posmesh_router::Config,
    pub(crate) catalog: posmesh_catalog::Config,
    pub(crate) order: posmesh_order::Config,
    pub(crate) gateway: posmesh_gateway::Config,
    pub(crate) adapter_simulator: AdapterSimulator,
}

/// Addresses of this process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// All gRPC services but adapters.
    pub(crate) grpc: SocketAddr,
    /// The gateway.
    pub(crate) http: SocketAddr,
    /// The simulator's adapter. It serves the same gRPC service as the router does, and so has a socket of its own.
    pub(crate) adapter_simulator: SocketAddr,
}

/// Endpoints of the services that run in other processes: `http://host:port`, several separated by commas; empty where
/// there is none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peers {
    pub(crate) store: String,
    pub(crate) router: String,
    pub(crate) catalog: String,
    pub(crate) order: String,
}

/// The adapter of the simulated POS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdapterSimulator {
    /// Where the router reaches it; empty: the address that it listens on.
    pub(crate) advertise: String,
    /// Limits of its calls to the POS.
    pub(crate) http: posmesh_adapter_kit::http::HttpConfig,
}

impl Config {
    /// Defaults, then `file`, then the environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = config::load(DEFAULTS, file)?;
        config.server.check("server")?;
        config.order.check()?;
        Ok(config)
    }
}
