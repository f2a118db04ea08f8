//! The router: knows the live instances of every vendor's adapter and the connections of every store, and brings the two
//! together. It serves `PosAdapterService` in front of all adapters: a caller names a store, product and mode; the router
//! finds the connection, adds its settings and credentials, and forwards to the instance that the connection belongs to.
//!
//! Any number of replicas share one database and agree without talking to each other: the instance of a connection is
//! chosen by rendezvous hash, leases run on the database's clock, and each replica keeps all that routing needs in
//! memory, so that a call costs no database hop.
//!
//! `service` is RouterService, `forward` the forwarding, `directory` and `snapshot` what is kept in memory, `domain` the
//! rules, `sealing` credentials at rest, [`storage`] what is kept.

mod config;
mod directory;
mod domain;
mod error;
mod forward;
mod outcome;
mod sealing;
mod service;
mod snapshot;
pub mod storage;

use std::sync::Arc;

use posmesh_kit::{config::ConfigError, server::Mounted};
use posmesh_kit_db::{DatabaseConfig, DbError, StorageError};
use posmesh_proto::{adapter::v1::pos_adapter_service_server, router::v1::router_service_server};
use tonic::service::Routes;

use crate::{directory::Directory, sealing::Vault, storage::Storage};

pub use config::{Config, SealingKeys};
pub use sealing::Sealed;
pub use storage::MIGRATIONS;

/// Why the router cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A value of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database cannot be opened or migrated.
    #[error(transparent)]
    Open(#[from] DbError),
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] StorageError),
}

/// Builds the router on its database, whose schema is brought up to date. It calls nobody but the adapters that register.
///
/// # Errors
///
/// The configuration is wrong, or the database cannot be used.
pub async fn mount(config: &Config, database: &DatabaseConfig) -> Result<Mounted, MountError> {
    config.check()?;
    mount_on(config, storage::open(database).await?).await
}

/// Builds the router on a storage that is open, e.g. one in memory.
///
/// # Errors
///
/// The configuration is wrong, or the storage cannot be read.
pub async fn mount_on(config: &Config, storage: Arc<dyn Storage>) -> Result<Mounted, MountError> {
    config.check()?;
    let vault = Arc::new(Vault::new(&config.sealing_keys)?);
    let directory = Arc::new(Directory::open(Arc::clone(&storage)).await?);
    let names = vec![router_service_server::SERVICE_NAME, pos_adapter_service_server::SERVICE_NAME];
    let mut mounted = Mounted::new("router", Routes::default(), names);
    let stop = mounted.stop.clone();
    mounted.background.spawn(Arc::clone(&directory).keep_fresh(config.refresh_interval, stop.clone()));
    let forwarder = forward::Forwarder::new(Arc::clone(&directory), Arc::clone(&vault), stop);
    let service = service::Service::new(config, storage, directory, vault);
    mounted.routes = Routes::new(service.into_server()).add_service(forwarder.into_server());
    Ok(mounted)
}
