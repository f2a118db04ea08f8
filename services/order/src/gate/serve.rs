//! What is told of gates, and what the staff say.

use std::{collections::HashSet, sync::Arc};

use posmesh_kit::{Failure, time};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, GetGatesResponse, Pause, PauseStoreRequest, PauseStoreResponse},
    store::v1::Store,
};

use super::Gates;
use crate::{domain::accept, error::Error};

const MAX_REASON_CHARS: usize = 200;
const MAX_NAME_CHARS: usize = 100;
/// A pause that is longer is a store that is closed.
const MAX_PAUSE_MS: i64 = 366 * 24 * 3600 * 1000;

impl Gates {
    /// The gates of a store, by product.
    pub(crate) async fn get(&self, tenant_id: &Arc<str>, store: &Store) -> GetGatesResponse {
        self.board.until_complete().await;
        for policy in &store.product_policies {
            self.see_fallback(store, policy.product()).await;
        }
        let pause = self.board.pause(tenant_id, &store.store_id, self.clock.now_unix_ms());
        GetGatesResponse { gates: self.of_store(tenant_id, store), pause }
    }

    fn of_store(&self, tenant_id: &Arc<str>, store: &Store) -> Vec<Gate> {
        let mut products: Vec<Product> = store.product_policies.iter().map(|policy| policy.product()).collect();
        products.sort_unstable();
        products.into_iter().map(|product| self.shown(tenant_id, store, product)).collect()
    }

    /// The staff take no orders of a store for a while.
    pub(crate) async fn pause(
        &self,
        tenant_id: &Arc<str>,
        request: PauseStoreRequest,
    ) -> Result<PauseStoreResponse, Error> {
        let now_ms = self.clock.now_unix_ms();
        let pause = request.pause.unwrap_or_default();
        check_pause(&pause, now_ms)?;
        let store = self.reader.stores.get(&pause.store_id).await?;
        let pause = Pause { pause_time: Some(time::from_unix_ms(now_ms)), ..pause };
        self.storage.put_pause(tenant_id, &pause).await?;
        tracing::info!(store.id = %pause.store_id, by = %pause.paused_by, reason = %pause.reason, "paused");
        self.learn_now().await;
        Ok(PauseStoreResponse { pause: Some(pause), gates: self.of_store(tenant_id, &store) })
    }

    /// Ends a pause. Returns the gates as they are then.
    pub(crate) async fn resume(&self, tenant_id: &Arc<str>, store_id: &str) -> Result<Vec<Gate>, Error> {
        let store = self.reader.stores.get(store_id).await?;
        self.storage.end_pause(tenant_id, store_id).await?;
        tracing::info!(store.id = store_id, "resumed");
        self.learn_now().await;
        Ok(self.of_store(tenant_id, &store))
    }
}

fn check_pause(pause: &Pause, now_ms: i64) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for (i, product) in pause.products.iter().enumerate() {
        let field = format!("pause.products[{i}]");
        match Product::try_from(*product) {
            Ok(Product::Unspecified) => return Err(Failure::field("REQUIRED", field, "say which product")),
            Err(_) => return Err(Failure::field("UNKNOWN_VALUE", field, "is no product of this version")),
            Ok(product) if !seen.insert(product) => {
                return Err(Failure::field("DUPLICATE", field, "stands here twice"));
            }
            Ok(_) => {}
        }
    }
    if let Some(until) = &pause.until {
        let ahead_ms = time::to_unix_ms(until).saturating_sub(now_ms);
        if ahead_ms <= 0 || ahead_ms > MAX_PAUSE_MS {
            let message = "must be in the future and at most a year ahead; leave it out to pause until it is ended";
            return Err(Failure::field("OUT_OF_RANGE", "pause.until", message));
        }
    }
    accept::text("pause.reason", &pause.reason, MAX_REASON_CHARS)?;
    accept::text("pause.paused_by", &pause.paused_by, MAX_NAME_CHARS)
}
