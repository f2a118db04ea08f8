//! Runs of syncs. A run is leased in the storage, so that one store has one at a time whatever the number of replicas,
//! and works apart from the call that started it.

use std::{sync::Arc, time::Duration};

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
    catalog::v1::{Availability, Catalog, SyncRun, SyncState, SyncTrigger},
    store::v1::Store,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{self, Sieved, TooLarge},
    error::Error,
    menus::Menus,
    overlays::Prices,
    pull::{PullError, Pulled, Puller},
    reviews::changed_items,
    schedule::{self, Schedule},
    storage::{Begun, Content, Judged, OfferHead, Published, Said, Storage, StoreKey},
};

/// How long before its caller stops waiting a call answers with the run as it is then.
const ANSWER_MARGIN: Duration = Duration::from_millis(200);
/// Between two looks at a run that another replica works on.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Attempts to record the end of a run, and to publish it while people change what is current.
const RECORD_ATTEMPTS: u32 = 5;

/// Starts runs, and ends those whose replica died.
#[derive(Debug)]
pub(crate) struct Syncs {
    pub(crate) config: Config,
    pub(crate) storage: Arc<dyn Storage>,
    menus: Arc<Menus>,
    puller: Puller,
    prices: Arc<Prices>,
    permits: Arc<Semaphore>,
    /// Told whenever a run of this process has ended.
    ended: Notify,
    background: TaskTracker,
    stop: CancellationToken,
}

/// What a pull came to.
enum Outcome {
    /// Fit to be published by the run; and what the POS counted.
    Fit(Box<(SyncRun, Content, Vec<Availability>)>),
    /// The run as it ends without.
    Ended(Box<SyncRun>),
}

impl Syncs {
    pub(crate) fn start(
        config: &Config,
        storage: Arc<dyn Storage>,
        menus: Arc<Menus>,
        router: Channel,
        prices: Arc<Prices>,
        stores: StoreCache,
        mounted: &Mounted,
    ) -> Arc<Self> {
        let syncs = Arc::new(Self {
            storage,
            menus,
            puller: Puller::new(router, config.max_pull_bytes),
            prices,
            permits: Arc::new(Semaphore::new(config.max_concurrent_syncs)),
            ended: Notify::new(),
            background: mounted.background.clone(),
            stop: mounted.stop.clone(),
            config: config.clone(),
        });
        let sweeper = Arc::clone(&syncs);
        syncs.background.spawn(async move {
            tokio::select! {
                () = sweeper.stop.cancelled() => {}
                () = sweeper.sweep() => {}
            }
        });
        if !config.schedule_interval.is_zero() {
            let schedule = Schedule::new(Arc::clone(&syncs), stores);
            let stop = mounted.stop.clone();
            syncs.background.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = schedule.keep() => {}
                }
            });
        }
        syncs
    }

    /// Starts a run, or joins the one that is under way.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        key: StoreKey,
        store: Arc<Store>,
        trigger: SyncTrigger,
    ) -> Result<SyncRun, Error> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return self.running(&key).await?.ok_or(Error::TooManySyncs);
        };
        let run = SyncRun {
            sync_run_id: ambient::new_id().to_string(),
            store_id: store.store_id.clone(),
            state: SyncState::Running.into(),
            start_time: Some(time::now()),
            trigger: trigger.into(),
            ..Default::default()
        };
        match self.storage.begin_run(&key, &run, self.config.run_lease).await? {
            Begun::Running(other) => Ok(*other),
            Begun::Started => {
                let span = tracing::info_span!("sync", store.id = %run.store_id, sync_run.id = %run.sync_run_id);
                let work = Arc::clone(self).work(key, store, run.clone(), call::identity(), permit);
                self.background.spawn(work.instrument(span));
                Ok(run)
            }
        }
    }

    /// How many runs may begin here now.
    pub(crate) fn room(&self) -> usize {
        self.permits.available_permits()
    }

    async fn running(&self, key: &StoreKey) -> Result<Option<SyncRun>, Error> {
        let newest = self.storage.runs(key, &Uuid::max().to_string(), 1).await?.pop();
        Ok(newest.filter(domain::is_running))
    }

    /// The run once it has ended, or as it is shortly before the caller of the running handler stops waiting.
    pub(crate) async fn wait_for_end(&self, key: &StoreKey, run_id: &str) -> Result<SyncRun, Error> {
        let give_up = call::time_left().map(|left| Instant::now() + left.saturating_sub(ANSWER_MARGIN));
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            let not_found = || Error::RunNotFound { run_id: run_id.to_owned() };
            let run = self.storage.run(&key.tenant_id, run_id).await?.ok_or_else(not_found)?;
            if !domain::is_running(&run) || give_up.is_some_and(|at| Instant::now() >= at) {
                return Ok(run);
            }
            let next_look = Instant::now() + delay_after(LOOK_INTERVAL, LOOK_INTERVAL, 0);
            let next_look = give_up.map_or(next_look, |at| at.min(next_look));
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep_until(next_look) => {}
            }
        }
    }

    async fn work(
        self: Arc<Self>,
        key: StoreKey,
        store: Arc<Store>,
        run: SyncRun,
        identity: Identity,
        _permit: OwnedSemaphorePermit,
    ) {
        let deadline = Instant::now() + self.config.pull_timeout;
        let scope = Scope { identity, deadline: Some(deadline) };
        let outcome = tokio::select! {
            () = self.stop.cancelled() => Outcome::Ended(Box::new(domain::interrupted(run.clone()))),
            () = self.keep_lease(&key, &run.sync_run_id) => {
                tracing::warn!("the run was ended by another replica");
                return;
            }
            outcome = call::in_scope(scope, self.read_pos(&key, &store, &run, deadline)) => outcome,
        };
        let went_well = self.record(&key, &store, outcome).await;
        self.menus.forget_head(&key).await;
        self.ended.notify_waiters();
        self.tidy(&key, &store, went_well).await;
    }

    /// Plans the next run, and deletes what is too old. Where that fails, the next run does it.
    async fn tidy(&self, key: &StoreKey, store: &Store, went_well: bool) {
        if let Some(after) = schedule::next(store, went_well)
            && let Err(error) = self.storage.plan_next_sync(key, after).await
        {
            tracing::warn!(%error, "the next sync was not planned");
        }
        let (versions, runs) = (self.config.kept_versions.max(1), self.config.kept_runs.max(1));
        if let Err(error) = self.storage.prune(key, versions, runs).await {
            tracing::warn!(%error, "old versions and runs were not deleted");
        }
    }

    async fn read_pos(&self, key: &StoreKey, store: &Arc<Store>, run: &SyncRun, deadline: Instant) -> Outcome {
        // What the pull is compared with is read while the POS works.
        let (outcome, (), ()) =
            tokio::join!(self.pull(store, run, deadline), self.prices.look_again(key), self.read_current(key));
        outcome
    }

    async fn pull(&self, store: &Arc<Store>, run: &SyncRun, deadline: Instant) -> Outcome {
        let pulled = tokio::time::timeout_at(deadline, self.puller.pull(&store.store_id)).await;
        match pulled {
            Ok(Ok(Pulled { catalog, warnings })) => {
                check(Arc::clone(store), SyncRun { warnings, ..run.clone() }, catalog).await
            }
            Ok(Err(PullError::Failed { cause, message })) => {
                Outcome::Ended(Box::new(domain::failed(run.clone(), &cause, &message)))
            }
            Ok(Err(PullError::TooLarge(TooLarge { max_bytes }))) => {
                let message = format!("the POS sent more than {max_bytes} bytes");
                let problem = domain::problem_about_catalog("TOO_LARGE", "", message);
                Outcome::Ended(Box::new(domain::quarantined(run.clone(), Default::default(), vec![problem])))
            }
            Err(_) => {
                let message = format!("the POS did not send everything within {:?}", self.config.pull_timeout);
                Outcome::Ended(Box::new(domain::failed(run.clone(), cause::TIMED_OUT, &message)))
            }
        }
    }

    /// Makes the current version ready. Where that fails, whoever needs it tries again.
    async fn read_current(&self, key: &StoreKey) {
        if let Ok(Some(version)) = self.menus.current_version(key).await
            && let Err(error) = self.menus.catalog(key, version).await
        {
            tracing::debug!(%error, "the current version was not read ahead");
        }
    }

    /// Returns when the lease is lost.
    async fn keep_lease(&self, key: &StoreKey, run_id: &str) {
        let lease = self.config.run_lease;
        loop {
            tokio::time::sleep(delay_after(lease / 3, lease / 3, 0)).await;
            match self.storage.renew_run(key, run_id, lease).await {
                Ok(true) => {}
                Ok(false) => return,
                // Whether the lease still holds is decided when the run publishes.
                Err(error) => tracing::warn!(%error, "the lease of the run was not renewed"),
            }
        }
    }

    /// Records the end. If the storage never takes it, the lease runs out and a sweep ends the run. `false`: the POS was
    /// not read to the end.
    async fn record(&self, key: &StoreKey, store: &Arc<Store>, outcome: Outcome) -> bool {
        for attempt in 0..RECORD_ATTEMPTS {
            match self.try_record(key, store, &outcome).await {
                Ok(Published::Ended(ended)) => {
                    log_end(&ended);
                    return ended.state() != SyncState::Failed;
                }
                Ok(Published::LeaseLost) => {
                    tracing::warn!("the run had been ended before it could say how");
                    return false;
                }
                Ok(Published::BaseMoved) => tracing::info!("another version became current; the run looks again"),
                Err(error) => {
                    tracing::warn!(%error, "the end of the run was not recorded");
                    tokio::time::sleep(delay_after(Duration::from_millis(100), Duration::from_secs(2), attempt)).await;
                }
            }
        }
        false
    }

    async fn try_record(&self, key: &StoreKey, store: &Arc<Store>, outcome: &Outcome) -> Result<Published, Error> {
        match outcome {
            Outcome::Fit(fit) => {
                let (run, content, counted) = &**fit;
                let judged = self.judge(key, store, content).await?;
                // First, so that whoever waits for the run's end finds them.
                self.note_counts(key, counted).await?;
                Ok(self.storage.publish(key, run, content.clone(), &judged).await?)
            }
            Outcome::Ended(ended) if self.storage.end_run(key, ended).await? => Ok(Published::Ended(ended.clone())),
            Outcome::Ended(_) => Ok(Published::LeaseLost),
        }
    }

    /// Notes how many are left. Of a store that counts nothing, nothing is written.
    async fn note_counts(&self, key: &StoreKey, counted: &[Availability]) -> Result<(), Error> {
        let is_count = |word: &Availability| word.remaining.is_some();
        if !counted.is_empty() || self.storage.availability(key).await?.iter().any(is_count) {
            self.storage.say_availability(key, &Said::Counted(counted.to_vec())).await?;
        }
        Ok(())
    }

    /// Compares content with the version that is current now.
    async fn judge(&self, key: &StoreKey, store: &Arc<Store>, content: &Content) -> Result<Judged, Error> {
        let Some(OfferHead { version, .. }) = self.storage.head(key).await? else { return Ok(Judged::default()) };
        let changed_items = changed_items(store);
        let (current, store) = (self.menus.catalog(key, version).await?, Arc::clone(store));
        let after = Arc::clone(&content.catalog);
        let compare = move || domain::suspicions(current.index.catalog(), &after, &store);
        let suspicions = ambient::blocking(compare).await?;
        Ok(Judged { base_version: Some(version), suspicions, changed_items })
    }

    /// Ends dead runs, once per lease.
    async fn sweep(&self) {
        loop {
            match self.storage.end_dead_runs().await {
                Ok(0) => {}
                Ok(count) => tracing::warn!("{count} sync runs had died and were ended"),
                Err(error) => tracing::warn!(%error, "dead sync runs could not be looked for"),
            }
            tokio::time::sleep(delay_after(self.config.run_lease, self.config.run_lease, 0)).await;
        }
    }
}

/// Validates apart from the runtime: a large catalog takes a while.
async fn check(store: Arc<Store>, run: SyncRun, catalog: Catalog) -> Outcome {
    let failure = run.clone();
    let work = move || {
        let sent = domain::counts(&catalog);
        match domain::sieve(catalog, &store) {
            Ok(Sieved { mut catalog, problems, left_out }) => {
                let run = SyncRun { problems, left_out: Some(left_out), ..run };
                let counted = domain::take_counts(&mut catalog, time::now());
                Outcome::Fit(Box::new((run, Content::new(catalog), counted)))
            }
            Err(problems) => Outcome::Ended(Box::new(domain::quarantined(run, sent, problems))),
        }
    };
    ambient::blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the check of a catalog broke off");
        Outcome::Ended(Box::new(domain::failed(
            failure,
            cause::UNKNOWN,
            "the check of the data broke off; see the server's log",
        )))
    })
}

fn log_end(run: &SyncRun) {
    match run.state() {
        SyncState::Published => {
            let wrong = run.problems.len();
            tracing::info!(wrong, "published version {} of {}", run.catalog_version, run.store_id);
        }
        SyncState::Unchanged => tracing::info!("{} is unchanged at version {}", run.store_id, run.catalog_version),
        SyncState::Quarantined => {
            let first = run.problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
            tracing::warn!("{} has {} problems and was not published: {first}", run.store_id, run.problems.len());
        }
        SyncState::WaitingApproval => {
            let first = run.problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
            tracing::warn!("what the POS of {} has waits for approval: {first}", run.store_id);
        }
        SyncState::Rejected => tracing::info!("what the POS of {} has was refused by a person before", run.store_id),
        _ => {
            let failure = run.failure.clone().unwrap_or_default();
            tracing::warn!(cause = %failure.cause, "the sync of {} failed: {}", run.store_id, failure.message);
        }
    }
}
