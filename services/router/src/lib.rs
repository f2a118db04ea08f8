//! The router: knows the live instances of every vendor's adapter and the connections of every store, and brings the two
//! together. It serves `PosAdapterService` in front of all adapters: a caller names a store, product and mode; the router
//! finds the connection, adds its settings and credentials, and forwards to the instance that the connection belongs to.
//!
//! Any number of replicas share one database and agree without talking to each other: the instance of a connection is
//! chosen by rendezvous hash, leases run on the database's clock, and each replica keeps all that routing needs in
//! memory, so that a call costs no database hop.
//!
//! `service` is RouterService, `forward` and `caller` the forwarding, `directory` and `snapshot` what is kept in memory,
//! `links` what is known of the way to each POS, `domain` the rules, `sealing` credentials at rest, [`storage`] what is kept.

mod caller;
mod config;
mod directory;
mod domain;
mod error;
mod forward;
mod links;
mod outcome;
mod request;
mod sealing;
mod service;
mod snapshot;
pub mod storage;

use std::sync::Arc;

use posmesh_kit::{Channel, config::ConfigError, server::Mounted, store_cache::StoreCache};
use posmesh_kit_db::{DatabaseConfig, DbError, StorageError};
use posmesh_proto::{adapter::v1::pos_adapter_service_server, router::v1::router_service_server};
use tonic::service::Routes;

use crate::{caller::Caller, directory::Directory, links::Links, sealing::Vault, storage::Storage};

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

/// Whom the router calls besides the adapters that register.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// For the opening hours of stores. `None`: every store counts as open.
    pub store: Option<Channel>,
}

/// Builds the router on its database, whose schema is brought up to date.
///
/// # Errors
///
/// The configuration is wrong, or the database cannot be used.
pub async fn mount(config: &Config, database: &DatabaseConfig, peers: Peers) -> Result<Mounted, MountError> {
    config.check()?;
    mount_on(config, storage::open(database).await?, peers).await
}

/// Builds the router on a storage that is open, e.g. one in memory.
///
/// # Errors
///
/// The configuration is wrong, or the storage cannot be read.
pub async fn mount_on(config: &Config, storage: Arc<dyn Storage>, peers: Peers) -> Result<Mounted, MountError> {
    config.check()?;
    let vault = Arc::new(Vault::new(&config.sealing_keys)?);
    let directory = Arc::new(Directory::open(Arc::clone(&storage)).await?);
    let names = vec![router_service_server::SERVICE_NAME, pos_adapter_service_server::SERVICE_NAME];
    let mut mounted = Mounted::new("router", Routes::default(), names);
    let stop = mounted.stop.clone();
    mounted.background.spawn(Arc::clone(&directory).keep_fresh(config.refresh_interval, stop.clone()));
    let caller = Arc::new(Caller { directory: Arc::clone(&directory), vault: Arc::clone(&vault) });
    let stores = peers.store.map(|store| StoreCache::start(store, &mounted.background, &stop));
    let links = Links::new(config, Arc::clone(&storage), Arc::clone(&caller), stores, stop.clone());
    // Whoever watches finds everything there.
    links.refresh().await;
    links.start(&mounted.background);
    let forwarder = forward::Forwarder::new(caller, Arc::clone(&links), stop);
    let service = service::Service::new(config, storage, directory, vault, links);
    mounted.routes = Routes::new(service.into_server()).add_service(forwarder.into_server());
    Ok(mounted)
}
