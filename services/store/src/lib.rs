//! The store service: brands, their stores and the policies of the products in them. Other services read it through a
//! watched cache (`posmesh_kit::store_cache`), so a change reaches all of them within moments.
//!
//! `service` is the gRPC surface, `watch` the stream of changes, `domain` the rules, [`storage`] what is kept.

mod config;
mod domain;
mod error;
mod request;
mod service;
pub mod storage;
mod watch;

use std::sync::Arc;

use posmesh_kit::server::Mounted;
use posmesh_kit_db::{DatabaseConfig, DbError};
use posmesh_proto::store::v1::store_service_server;
use tonic::service::Routes;

pub use config::Config;
pub use storage::MIGRATIONS;

/// Builds the service on its database, whose schema is brought up to date. It calls nobody.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub async fn mount(config: &Config, database: &DatabaseConfig) -> Result<Mounted, DbError> {
    Ok(mount_on(config, storage::open(database).await?))
}

/// Builds the service on a storage that is open, e.g. one in memory.
pub fn mount_on(config: &Config, storage: Arc<dyn storage::Storage>) -> Mounted {
    let mut mounted = Mounted::new("store", Routes::default(), vec![store_service_server::SERVICE_NAME]);
    mounted.routes = Routes::new(service::Service::new(config, storage, mounted.stop.clone()).into_server());
    mounted
}
