//! Syncs that nobody asks for: each store's at its own interval, spread over time and over the replicas. Whichever replica
//! is there claims what is due; what it claimed and did not do, another one does after the lease.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posmesh_kit::{
    ambient,
    backoff::delay_after,
    call::{self, Identity, Scope},
    store_cache::StoreCache,
    time,
};
use posmesh_proto::{
    catalog::v1::SyncTrigger,
    store::v1::{Store, StoreLifecycle},
};

use crate::{error::Error, storage::StoreKey, sync::Syncs};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How soon a POS that could not be read is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Stores that are planned at once; the rest follow with the next look.
const PLAN_LIMIT: usize = 200;
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether orders may come.
pub(crate) fn sells(store: &Store) -> bool {
    matches!(store.lifecycle(), StoreLifecycle::Live | StoreLifecycle::Rehearsal)
}

/// How often a store is pulled. `None`: only when asked.
fn interval(store: &Store) -> Option<Duration> {
    let policy = store.catalog_policy.as_ref().and_then(|policy| policy.sync_interval.as_ref());
    let interval = policy.map_or(Some(DEFAULT_INTERVAL), time::from_proto_duration);
    interval.filter(|interval| sells(store) && !interval.is_zero())
}

/// When a store is pulled again after a run has ended. `None`: only when asked.
pub(crate) fn next(store: &Store, went_well: bool) -> Option<Duration> {
    let interval = interval(store)?;
    let interval = if went_well { interval } else { interval.min(RETRY_INTERVAL) };
    // Stores that once began together drift apart.
    Some(interval.mul_f64(ambient::jitter(0.9, 1.1)))
}

/// A replica's part in the schedule.
pub(crate) struct Schedule {
    syncs: Arc<Syncs>,
    stores: StoreCache,
    identity: Identity,
}

impl Schedule {
    pub(crate) fn new(syncs: Arc<Syncs>, stores: StoreCache) -> Self {
        Self { syncs, stores, identity: call::identity() }
    }

    /// Plans and starts what is due, for ever.
    pub(crate) async fn keep(self) {
        let mut planned = HashMap::new();
        let look = self.syncs.config.schedule_interval;
        loop {
            tokio::time::sleep(delay_after(look, look, 0)).await;
            let work = async {
                self.plan(&mut planned).await?;
                self.start_due().await
            };
            match tokio::time::timeout(LOOK_TIMEOUT, work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the schedule of syncs could not be kept"),
                Err(_) => tracing::warn!("the schedule of syncs could not be kept: no answer"),
            }
        }
    }

    fn key(&self, store: &Store) -> StoreKey {
        StoreKey { tenant_id: Arc::clone(&self.identity.tenant_id), store_id: store.store_id.as_str().into() }
    }

    /// Gives a time to stores that are new here, and an earlier one to those whose interval became shorter.
    async fn plan(&self, planned: &mut HashMap<String, Duration>) -> Result<(), Error> {
        let stores = self.stores.all();
        let wishes = stores.iter().filter_map(|store| Some((store, interval(store)?)));
        let news = wishes.filter(|(store, interval)| planned.get(&store.store_id) != Some(interval));
        let news: Vec<_> = news.take(PLAN_LIMIT).map(|(store, interval)| (Arc::clone(store), interval)).collect();
        for (store, interval) in news {
            self.syncs.storage.plan_sync(&self.key(&store), interval.mul_f64(ambient::jitter(0.0, 1.0))).await?;
            planned.insert(store.store_id.clone(), interval);
        }
        Ok(())
    }

    async fn start_due(&self) -> Result<(), Error> {
        let room = self.syncs.room();
        if room == 0 {
            return Ok(());
        }
        // Long enough for the run to begin; from then on the run has a lease of its own, and its end plans the next.
        let lease = self.syncs.config.pull_timeout + self.syncs.config.run_lease;
        for key in self.syncs.storage.claim_syncs(room, lease).await? {
            // One store's trouble is not the others': it falls due again after the lease.
            if let Err(error) = self.start(&key).await {
                tracing::warn!(%error, store.id = %key.store_id, "a sync that was due did not begin");
            }
        }
        Ok(())
    }

    async fn start(&self, key: &StoreKey) -> Result<(), Error> {
        let store = self.stores.get(&key.store_id).await?;
        if interval(&store).is_none() {
            // Looked at again later: it may sell by then.
            return Ok(self.syncs.storage.plan_next_sync(key, DEFAULT_INTERVAL).await?);
        }
        let identity = Identity { tenant_id: Arc::clone(&key.tenant_id), ..self.identity.clone() };
        let scope = Scope { identity, deadline: None };
        call::in_scope(scope, self.syncs.begin(key.clone(), store, SyncTrigger::Schedule)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use posmesh_proto::store::v1::CatalogPolicy;

    use super::*;

    fn store(lifecycle: StoreLifecycle, seconds: Option<i64>) -> Store {
        let sync_interval = seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        let catalog_policy = Some(CatalogPolicy { sync_interval, ..Default::default() });
        Store { lifecycle: lifecycle.into(), catalog_policy, ..Default::default() }
    }

    #[test]
    fn a_store_that_sells_is_pulled_at_its_interval_and_any_other_only_when_asked() {
        use StoreLifecycle::{Live, Rehearsal, Setup, Suspended};
        assert_eq!(interval(&store(Live, None)), Some(DEFAULT_INTERVAL));
        assert_eq!(interval(&store(Rehearsal, Some(60))), Some(Duration::from_secs(60)));
        assert_eq!(interval(&Store { lifecycle: Live.into(), ..Default::default() }), Some(DEFAULT_INTERVAL));
        for asked_only in [store(Live, Some(0)), store(Setup, None), store(Suspended, Some(60))] {
            assert_eq!(interval(&asked_only), None);
        }
    }

    #[test]
    fn after_a_failure_the_pos_is_asked_sooner_and_never_exactly_on_time() {
        let daily = store(StoreLifecycle::Live, Some(86_400));
        for _ in 0..100 {
            let (well, failed) = (next(&daily, true).unwrap_or_default(), next(&daily, false).unwrap_or_default());
            assert!((77_760..=95_040).contains(&well.as_secs()), "{well:?}");
            assert!((270..=330).contains(&failed.as_secs()), "{failed:?}");
        }
        let often = store(StoreLifecycle::Live, Some(60));
        assert!(next(&often, false).unwrap_or_default() <= Duration::from_secs(66));
    }
}
