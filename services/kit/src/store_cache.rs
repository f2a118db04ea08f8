//! The stores of the tenant, kept current by a watch: read by every service that handles orders or menus.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use posmesh_proto::store::v1::{GetStoreRequest, Store, WatchStoresRequest, store_service_client::StoreServiceClient};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status};

use crate::{Channel, Failure, backoff::Backoff, failure};

const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// A read-through cache of stores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreCache {
    client: StoreServiceClient<Channel>,
    stores: Arc<RwLock<HashMap<String, Arc<Store>>>>,
}

impl StoreCache {
    /// Starts watching through `channel`, on `tasks` and until `stop`.
    pub fn start(channel: Channel, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let cache = Self { client: StoreServiceClient::new(channel), stores: Arc::default() };
        let watcher = cache.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watcher.watch() => {}
            }
        });
        cache
    }

    /// The store as of a moment ago. Errors: NOT_FOUND (STORE_NOT_FOUND), UNAVAILABLE (STORE_SERVICE_UNAVAILABLE).
    pub async fn get(&self, store_id: &str) -> Result<Arc<Store>, Failure> {
        if store_id.is_empty() {
            return Err(Failure::field("REQUIRED", "store_id", "name the store"));
        }
        if let Some(store) = self.cached(store_id) {
            return Ok(store);
        }
        let mut request = tonic::Request::new(GetStoreRequest { store_id: store_id.to_owned() });
        request.set_timeout(READ_TIMEOUT);
        let answer = self.client.clone().get_store(request).await.map_err(|status| read_failure(store_id, &status))?;
        let store = answer.into_inner().store.ok_or_else(|| not_found(store_id))?;
        Ok(self.keep(store))
    }

    /// All stores that were heard of, by id.
    pub fn all(&self) -> Vec<Arc<Store>> {
        let mut stores: Vec<_> = self.stores.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        stores.sort_unstable_by(|a, b| a.store_id.cmp(&b.store_id));
        stores
    }

    /// The store, if it has been read already: no call is made.
    pub fn cached(&self, store_id: &str) -> Option<Arc<Store>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).get(store_id).cloned()
    }

    fn keep(&self, store: Store) -> Arc<Store> {
        let mut stores = self.stores.write().unwrap_or_else(PoisonError::into_inner);
        match stores.get(&store.store_id) {
            // A read that was overtaken by the watch must not put an older state back.
            Some(newer) if newer.revision > store.revision => Arc::clone(newer),
            _ => {
                let store = Arc::new(store);
                stores.insert(store.store_id.clone(), Arc::clone(&store));
                store
            }
        }
    }

    async fn watch(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut resume_token = String::new();
        loop {
            let request = WatchStoresRequest { resume_token: resume_token.clone() };
            match self.client.clone().watch_stores(request).await {
                Ok(stream) => {
                    let mut stream = stream.into_inner();
                    while let Ok(Some(change)) = stream.message().await {
                        backoff.reset();
                        resume_token = change.resume_token;
                        for store in change.stores {
                            self.keep(store);
                        }
                    }
                }
                Err(status) => {
                    if status.code() == Code::InvalidArgument {
                        resume_token.clear();
                    }
                    tracing::debug!(%status, "the store service cannot be watched");
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}

fn not_found(store_id: &str) -> Failure {
    let shown: String = store_id.chars().take(64).collect();
    Failure::new(Code::NotFound, "STORE_NOT_FOUND", format!("there is no store {shown:?}"))
        .meta("store_id", shown)
        .violation("store_id", "names no store")
}

fn read_failure(store_id: &str, status: &Status) -> Failure {
    if failure::reason(status) == "STORE_NOT_FOUND" {
        return not_found(store_id);
    }
    let message = format!("the store service did not answer about {store_id:?}: {}", status.message());
    Failure::new(Code::Unavailable, "STORE_SERVICE_UNAVAILABLE", message).retry_after(Duration::from_secs(1))
}
