//! What every handler shares: the peers, the keys and the limits.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Channel, config::ConfigError, store_cache::StoreCache, time};
use posmesh_proto::{
    catalog::v1::catalog_service_client::CatalogServiceClient, order::v1::order_service_client::OrderServiceClient,
    store::v1::store_service_client::StoreServiceClient,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Peers, config::Config, gates::Gates, rendered::Menus, table_code::TableCodes, token::Signer};

/// Larger than any answer of the platform: a whole catalog is the largest.
const MAX_ANSWER_BYTES: usize = posmesh_kit::server::MAX_MESSAGE_BYTES;

pub(crate) struct App {
    pub(crate) orders: OrderServiceClient<Channel>,
    pub(crate) catalog: CatalogServiceClient<Channel>,
    pub(crate) menus: Menus,
    pub(crate) store_service: StoreServiceClient<Channel>,
    pub(crate) stores: StoreCache,
    pub(crate) gates: Gates,
    pub(crate) signer: Signer,
    pub(crate) table_codes: TableCodes,
    pub(crate) guest_token_ttl: Duration,
    pub(crate) order_token_ttl: Duration,
    pub(crate) ops_token: Option<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) body_limit_bytes: usize,
    /// Places for requests that run at once.
    pub(crate) requests: Semaphore,
    /// Places for event streams that are open at once.
    pub(crate) streams: Arc<Semaphore>,
    /// Ends event streams and background work.
    pub(crate) stop: CancellationToken,
}

impl App {
    pub(crate) fn new(
        config: &Config,
        peers: Peers,
        background: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, ConfigError> {
        config.check()?;
        let signer = Signer::new(&config.signing_keys)?;
        let catalog = CatalogServiceClient::new(peers.catalog).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Arc::new(Self {
            menus: Menus::new(catalog.clone(), config),
            catalog,
            gates: Gates::start(peers.order.clone(), background, &stop),
            orders: OrderServiceClient::new(peers.order).max_decoding_message_size(MAX_ANSWER_BYTES),
            store_service: StoreServiceClient::new(peers.store.clone()),
            stores: StoreCache::start(peers.store, background, &stop),
            table_codes: TableCodes::new(signer.clone(), config.table_code_window),
            signer,
            guest_token_ttl: config.guest_token_ttl,
            order_token_ttl: config.order_token_ttl,
            ops_token: config.ops_token()?.map(str::to_owned),
            request_timeout: config.request_timeout,
            body_limit_bytes: config.body_limit_bytes,
            requests: Semaphore::new(config.max_concurrent_requests),
            streams: Arc::new(Semaphore::new(config.max_event_streams)),
            stop,
        }))
    }
}

/// Now, in seconds since the Unix epoch.
pub(crate) fn now_unix_s() -> i64 {
    time::now_unix_ms().div_euclid(1000)
}

/// The end of something that begins now and lasts for `ttl`.
pub(crate) fn expiry_unix_s(ttl: Duration) -> i64 {
    now_unix_s().saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
}
