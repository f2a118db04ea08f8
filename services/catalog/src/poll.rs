//! Asking each store's POS, every few seconds, what is sold out: as much of its master data as it tells cheaply. Whichever
//! replica is there claims what is due. What else changed is pulled by a sync.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use posmesh_kit::{
    Channel, ambient,
    backoff::delay_after,
    call::{self, Identity, Scope},
    cause,
    server::Mounted,
    store_cache::StoreCache,
    time,
};
use posmesh_proto::{
    adapter::v1::{
        CatalogState, PollCatalogRequest, PosTarget, poll_catalog_response::Result as Polled,
        pos_adapter_service_client::PosAdapterServiceClient,
    },
    catalog::v1::SyncTrigger,
    store::v1::Store,
};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::{
    domain,
    error::Error,
    menus::Menus,
    schedule::sells,
    storage::{OfferHead, Said, Storage, StoreKey},
    sync::Syncs,
};

/// How often a POS is asked that cannot be, in case it learns, and a store that does not sell.
const IDLE: Duration = Duration::from_secs(600);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(20);
const POLL_TIMEOUT: Duration = Duration::from_secs(10);
/// A claim holds for longer than a poll takes.
const LEASE: Duration = Duration::from_secs(30);
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// Stores that one look asks, and how many at once.
const CLAIMED: usize = 200;
const AT_ONCE: usize = 32;
const MAX_FINGERPRINT_CHARS: usize = 128;

/// A replica's part in it.
pub(crate) struct Polls {
    interval: Duration,
    storage: Arc<dyn Storage>,
    menus: Arc<Menus>,
    syncs: Arc<Syncs>,
    stores: StoreCache,
    pos: PosAdapterServiceClient<Channel>,
    identity: Identity,
    taken_in: Mutex<HashMap<StoreKey, TakenIn>>,
}

/// What a POS said last, and what was sold once that was noted: while both stand there is nothing to note, and the catalog
/// needs not be looked into.
#[derive(PartialEq)]
struct TakenIn {
    head: OfferHead,
    state: CatalogState,
}

/// What came of a poll.
enum Outcome {
    State(CatalogState),
    /// This POS does not tell.
    Mute,
    Failed(String),
}

impl Polls {
    /// Asks until the service stops. Nothing is asked where `interval` is zero.
    pub(crate) fn start(
        interval: Duration,
        storage: Arc<dyn Storage>,
        menus: Arc<Menus>,
        syncs: Arc<Syncs>,
        (stores, router): (StoreCache, Channel),
        mounted: &Mounted,
    ) {
        if interval.is_zero() {
            return;
        }
        let pos = PosAdapterServiceClient::new(router);
        let polls = Self {
            interval,
            storage,
            menus,
            syncs,
            stores,
            pos,
            identity: call::identity(),
            taken_in: Mutex::default(),
        };
        let stop = mounted.stop.clone();
        mounted.background.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = polls.keep() => {}
            }
        });
    }

    async fn keep(self) {
        let mut planned = HashSet::new();
        let look = self.interval / 4;
        loop {
            tokio::time::sleep(delay_after(look, look, 0)).await;
            let work = async {
                self.plan(&mut planned).await?;
                self.ask_due().await
            };
            match tokio::time::timeout(LOOK_TIMEOUT, work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "what is sold out could not be asked for"),
                Err(_) => tracing::warn!("what is sold out could not be asked for: no answer"),
            }
        }
    }

    /// Gives a time to stores that are new here.
    async fn plan(&self, planned: &mut HashSet<String>) -> Result<(), Error> {
        let stores = self.stores.all();
        let new = stores.iter().filter(|store| sells(store) && !planned.contains(&store.store_id)).take(CLAIMED);
        let new: Vec<String> = new.map(|store| store.store_id.clone()).collect();
        for store_id in new {
            let tenant_id = Arc::clone(&self.identity.tenant_id);
            let key = StoreKey { tenant_id, store_id: store_id.as_str().into() };
            self.storage.plan_poll(&key, self.interval.mul_f64(ambient::jitter(0.0, 1.0))).await?;
            planned.insert(store_id);
        }
        Ok(())
    }

    async fn ask_due(&self) -> Result<(), Error> {
        let due = self.storage.claim_polls(CLAIMED, LEASE).await?;
        let each = futures_util::stream::iter(due).for_each_concurrent(AT_ONCE, async |(key, seen)| {
            let identity = Identity { tenant_id: Arc::clone(&key.tenant_id), ..self.identity.clone() };
            let scope = Scope { identity, deadline: Some(Instant::now() + POLL_TIMEOUT) };
            // One store's trouble is not the others': it falls due again after the lease.
            if let Err(error) = call::in_scope(scope, self.ask(&key, seen)).await {
                tracing::warn!(%error, store.id = %key.store_id, "what is sold out could not be noted");
            }
        });
        each.await;
        Ok(())
    }

    async fn ask(&self, key: &StoreKey, seen: String) -> Result<(), Error> {
        let store = self.stores.get(&key.store_id).await?;
        if !sells(&store) {
            return self.again(key, IDLE, &seen).await;
        }
        let (after, fingerprint) = match self.poll(key).await {
            Outcome::State(state) => {
                let least = state.least_interval.as_ref().and_then(time::from_proto_duration).unwrap_or_default();
                // Jittered above the least interval, never below it.
                let after = self.interval.max(least).mul_f64(ambient::jitter(1.0, 1.1));
                (after, self.take_in(key, &store, state, seen).await?)
            }
            Outcome::Mute => (IDLE.mul_f64(ambient::jitter(0.8, 1.0)), seen),
            Outcome::Failed(why) => {
                tracing::debug!(store.id = %key.store_id, "the POS did not tell what is sold out: {why}");
                (RETRY.mul_f64(ambient::jitter(0.8, 1.2)), seen)
            }
        };
        self.again(key, after, &fingerprint).await
    }

    async fn again(&self, key: &StoreKey, after: Duration, fingerprint: &str) -> Result<(), Error> {
        Ok(self.storage.plan_next_poll(key, after, fingerprint).await?)
    }

    async fn poll(&self, key: &StoreKey) -> Outcome {
        let target = PosTarget { store_id: key.store_id.to_string(), ..PosTarget::default() };
        let mut request = Request::new(PollCatalogRequest { target: Some(target), context: None });
        request.set_timeout(POLL_TIMEOUT);
        let polled = tokio::time::timeout(POLL_TIMEOUT, self.pos.clone().poll_catalog(request)).await;
        match polled.map(|answer| answer.map(|answer| answer.into_inner().result)) {
            Ok(Ok(Some(Polled::State(state)))) => Outcome::State(state),
            Ok(Ok(Some(Polled::Failed(failed)))) if failed.cause == cause::NOT_SUPPORTED => Outcome::Mute,
            Ok(Ok(Some(Polled::Failed(failed)))) => Outcome::Failed(failed.message),
            Ok(Ok(None)) => Outcome::Failed("the adapter's answer says nothing that is known here".to_owned()),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Outcome::Mute,
            Ok(Err(status)) => Outcome::Failed(status.message().to_owned()),
            Err(_) => Outcome::Failed("no answer".to_owned()),
        }
    }

    async fn note(&self, key: &StoreKey, said: &TakenIn) -> Result<(), Error> {
        let current = self.menus.catalog(key, said.head.version).await?;
        let words = domain::pos_words(current.index.catalog(), &said.state, time::now());
        if self.storage.say_availability(key, &Said::Pos(words)).await? {
            self.menus.forget_head(key).await;
            tracing::info!(store.id = %key.store_id, "the POS says what is sold out or back, or left");
        }
        Ok(())
    }

    fn taken_in(&self) -> MutexGuard<'_, HashMap<StoreKey, TakenIn>> {
        self.taken_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is sold out, and has the rest pulled if it changed. Returns the fingerprint of what is pulled, or was.
    async fn take_in(
        &self,
        key: &StoreKey,
        store: &Arc<Store>,
        state: CatalogState,
        seen: String,
    ) -> Result<String, Error> {
        // At this moment: what was published a moment ago must not be compared with what came before it.
        if let Some(head) = self.storage.head(key).await? {
            let said = TakenIn { head, state: state.clone() };
            if self.taken_in().get(key) != Some(&said) {
                self.note(key, &said).await?;
                self.taken_in().insert(key.clone(), said);
            }
        }
        let fingerprint: String = state.fingerprint.chars().take(MAX_FINGERPRINT_CHARS).collect();
        if fingerprint == seen {
            return Ok(seen);
        }
        let began = time::now_unix_ms();
        match self.syncs.begin(key.clone(), Arc::clone(store), SyncTrigger::Event).await {
            // One that was under way may have read what changed before it did.
            Ok(run) if run.start_time.as_ref().is_some_and(|start| time::to_unix_ms(start) < began) => Ok(seen),
            Ok(_) => Ok(fingerprint),
            Err(Error::TooManySyncs) => Ok(seen),
            Err(error) => Err(error),
        }
    }
}
