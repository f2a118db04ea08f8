//! The catalog service: the menus of all stores. It pulls a store's master data through the router from its POS, refuses
//! what is wrong with a readable report, keeps what is right as immutable versions, and resolves the current one into
//! the menu of a product.
//!
//! `service` is the gRPC surface, `sync` a run of a sync, `schedule` those that nobody asks for, `menus` the prepared answers, `availability` what is sold out beside the versions, `poll` what the POS says of it, `overlays`
//! what people lay over a catalog, `reviews` what is not sold before a person has looked at it, `domain` the rules, [`storage`]
//! what is kept, `watch` the streams of what changes. Bad master data never replaces good data: what is wrong is left out alone where that can be, else the
//! whole pull is refused; what changes too much waits for a person; the version before stays current meanwhile.

mod availability;
mod config;
mod diffs;
mod domain;
mod error;
mod get_menu;
mod layers;
mod menus;
mod overlays;
mod poll;
mod pull;
mod request;
mod reviews;
mod schedule;
mod service;
pub mod storage;
mod sync;
mod watch;

use std::sync::Arc;

use posmesh_kit::{Channel, server::Mounted, store_cache::StoreCache};
use posmesh_kit_db::{DatabaseConfig, DbError};
use posmesh_proto::{
    catalog::v1::catalog_service_server, router::v1::router_service_client::RouterServiceClient,
    store::v1::store_service_client::StoreServiceClient,
};
use tonic::service::Routes;

pub use config::Config;
pub use storage::MIGRATIONS;

/// The services that this one calls.
#[derive(Debug, Clone)]
pub struct Peers {
    /// `StoreService`: currency, locales and products of a store.
    pub store: Channel,
    /// `RouterService`, and `PosAdapterService` as the router serves it.
    pub router: Channel,
}

/// Builds the service on its database, whose schema is brought up to date. Its background work (watching stores, runs
/// of syncs, ending dead ones) starts at once, so this must be called within the runtime.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub async fn mount(config: &Config, database: &DatabaseConfig, peers: Peers) -> Result<Mounted, DbError> {
    Ok(mount_on(config, storage::open(database).await?, peers))
}

/// Builds the service on a storage that is open, e.g. one in memory.
pub fn mount_on(config: &Config, storage: Arc<dyn storage::Storage>, peers: Peers) -> Mounted {
    let mut mounted = Mounted::new("catalog", Routes::default(), vec![catalog_service_server::SERVICE_NAME]);
    let Peers { store, router } = peers;
    let brands = StoreServiceClient::new(store.clone());
    let stores = StoreCache::start(store, &mounted.background, &mounted.stop);
    let layers = Arc::new(layers::LayerCache::new(Arc::clone(&storage), config.version_max_age));
    let prices = Arc::new(overlays::Prices {
        storage: Arc::clone(&storage),
        layers: Arc::clone(&layers),
        router: RouterServiceClient::new(router.clone()),
    });
    let menus = Arc::new(menus::Menus::new(config, Arc::clone(&storage), Arc::clone(&layers)));
    let overlays = overlays::Overlays {
        storage: Arc::clone(&storage),
        menus: Arc::clone(&menus),
        layers: Arc::clone(&layers),
        prices: Arc::clone(&prices),
        stores: stores.clone(),
        brands,
    };
    let (kept, offered) = (Arc::clone(&storage), Arc::clone(&menus));
    let syncs = sync::Syncs::start(config, kept, offered, router.clone(), prices, stores.clone(), &mounted);
    let diffs = Arc::new(diffs::Diffs::new(Arc::clone(&storage), Arc::clone(&menus)));
    let (offered, told) = ((Arc::clone(&menus), layers), Arc::clone(&diffs));
    let watches = watch::Watches::start(config, Arc::clone(&storage), offered, told, &mounted);
    let stock = availability::Stock::start(Arc::clone(&storage), Arc::clone(&menus), router.clone(), &mounted);
    let (words, offers) = (Arc::clone(&storage), Arc::clone(&menus));
    poll::Polls::start(config.poll_interval, words, offers, Arc::clone(&syncs), (stores.clone(), router), &mounted);
    let reviews = reviews::Reviews { storage: Arc::clone(&storage), menus: Arc::clone(&menus) };
    let service = service::Service { storage, stores, menus, syncs, diffs, watches, stock, overlays, reviews };
    mounted.routes = service.into_routes();
    mounted
}
