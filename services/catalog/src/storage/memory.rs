//! In memory: for simulations and tests. Keeps nothing beyond the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posmesh_kit::time;
use posmesh_proto::{
    catalog::v1::{Availability, Catalog, CatalogVersion, Decision, ItemToReview, SyncRun},
    store::v1::ChangedItems,
};
use tokio::time::Instant;

use super::{
    Begun, Content, Judged, KEPT_REVISIONS, OfferHead, Published, Said, Storage, StorageError, StoreKey,
    overlays::Shelf,
    rules::{self, Head, Held, HeldChange, NewVersion, Place, Undo, WordChange, Writes},
};
use crate::domain;

/// The storage as plain maps, on the runtime's clock.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
    pub(super) overlays: Shelf,
}

#[derive(Debug, Default)]
pub(super) struct State {
    runs: BTreeMap<(String, String), Row>,
    versions: BTreeMap<(String, String, i64), Version>,
    /// What is held back, by tenant and store; the catalog is there while it waits.
    held: BTreeMap<(String, String), HeldRow>,
    /// What is said of each store's things beside the versions, and how often that changed.
    words: BTreeMap<(String, String), Words>,
    /// What waits for a review at each store.
    pub(super) to_review: BTreeMap<(String, String), Vec<ItemToReview>>,
    /// When each store's head changed.
    moved: BTreeMap<(String, String), Instant>,
    /// When each store's POS is asked what is sold out, and what was seen last.
    polls: BTreeMap<(String, String), (Instant, String)>,
    /// When each store's sync is due.
    due: BTreeMap<(String, String), Instant>,
}

#[derive(Debug, Default)]
struct Words {
    revision: i64,
    said: BTreeMap<Place, Availability>,
    /// By revision and place: what was said before.
    log: BTreeMap<(i64, Place), Option<Availability>>,
}

#[derive(Debug)]
struct Row {
    run: SyncRun,
    /// `None` once it has ended.
    lease_expiry: Option<Instant>,
}

type HeldRow = (Held, Option<Arc<Catalog>>);

#[derive(Debug)]
struct Version {
    hash: Vec<u8>,
    summary: CatalogVersion,
    catalog: Catalog,
}

fn of_store(key: &StoreKey) -> (String, String) {
    (key.tenant_id.to_string(), key.store_id.to_string())
}

impl MemoryStorage {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Words {
    /// Counts a change, and makes it.
    fn change(&mut self, changes: &[WordChange<'_>]) {
        self.revision += 1;
        for change in changes {
            let place = rules::place(change.word());
            let before = match change {
                WordChange::Say(word) => self.said.insert(place.clone(), (*word).clone()),
                WordChange::Unsay(_) => self.said.remove(&place),
            };
            self.log.insert((self.revision, place), before);
        }
        self.log.retain(|(revision, _), _| *revision > self.revision - KEPT_REVISIONS);
    }
}

impl Row {
    fn is_dead(&self) -> bool {
        self.lease_expiry.is_some_and(|expiry| expiry <= Instant::now())
    }

    fn end(&mut self, run: SyncRun) {
        self.run = run;
        self.lease_expiry = None;
    }

    fn interrupt(&mut self) {
        self.end(domain::interrupted(self.run.clone()));
    }
}

impl State {
    /// The row of a run that has not ended.
    fn leased(&mut self, key: &StoreKey, run_id: &str) -> Option<&mut Row> {
        let row = self.runs.get_mut(&(key.tenant_id.to_string(), run_id.to_owned()))?;
        row.lease_expiry.is_some().then_some(row)
    }

    fn head(&self, key: &StoreKey) -> Head {
        let current = self.versions(key, i64::MAX).next().map(|(version, row)| (version, row.hash.clone()));
        let held = self.held.get(&(key.tenant_id.to_string(), key.store_id.to_string())).map(|(held, _)| held.clone());
        Head { current, held }
    }

    fn write(&mut self, key: &StoreKey, writes: &Writes) {
        let of_store = (key.tenant_id.to_string(), key.store_id.to_string());
        if let Some(new) = &writes.version {
            let NewVersion { version, summary, catalog, hash, changed: _ } = new;
            let current = self.versions(key, *version).next().map(|(_, row)| row.catalog.clone());
            self.follow(key, new, current.as_ref());
            let id = (of_store.0.clone(), of_store.1.clone(), *version);
            let row = Version { hash: hash.clone(), summary: summary.clone(), catalog: catalog.clone() };
            self.versions.insert(id, row);
            self.moved.insert(of_store.clone(), Instant::now());
        }
        match &writes.held {
            HeldChange::Keep => {}
            HeldChange::Clear => drop(self.held.remove(&of_store)),
            HeldChange::Hold(held, catalog) => drop(self.held.insert(of_store, (held.clone(), catalog.clone()))),
        }
        let row_id = |run_id: &str| (key.tenant_id.to_string(), run_id.to_owned());
        if let Some((run_id, by)) = &writes.superseded
            && let Some(row) = self.runs.get_mut(&row_id(run_id))
        {
            row.run = domain::superseded(row.run.clone(), by);
        }
        if let Some(run) = &writes.run
            && let Some(row) = self.runs.get_mut(&row_id(&run.sync_run_id))
        {
            row.end(run.clone());
        }
    }

    /// `None`: neither was anything published nor said.
    fn offer_head(&self, key: &StoreKey) -> Option<OfferHead> {
        let version = self.versions(key, i64::MAX).next().map(|(version, _)| version);
        let revision = self.words.get(&of_store(key)).map(|words| words.revision);
        let head = OfferHead { version: version.unwrap_or_default(), revision: revision.unwrap_or_default() };
        version.or(revision).map(|_| head)
    }

    pub(super) fn move_offer(&mut self, key: &StoreKey) {
        self.words.entry(of_store(key)).or_default().revision += 1;
        self.moved.insert(of_store(key), Instant::now());
    }

    /// Newest first.
    fn versions(&self, key: &StoreKey, before: i64) -> impl Iterator<Item = (i64, &Version)> {
        let at = |version| (key.tenant_id.to_string(), key.store_id.to_string(), version);
        self.versions.range(at(i64::MIN)..at(before)).rev().map(|((_, _, version), row)| (*version, row))
    }
}

#[tonic::async_trait]
impl Storage for MemoryStorage {
    async fn begin_run(&self, key: &StoreKey, run: &SyncRun, lease: Duration) -> Result<Begun, StorageError> {
        let mut state = self.state();
        let of_store = |(id, row): &(&(String, String), &mut Row)| {
            id.0 == *key.tenant_id && row.run.store_id == *key.store_id && row.lease_expiry.is_some()
        };
        if let Some((_, row)) = state.runs.iter_mut().find(of_store) {
            if !row.is_dead() {
                return Ok(Begun::Running(Box::new(row.run.clone())));
            }
            row.interrupt();
        }
        let row = Row { run: run.clone(), lease_expiry: Some(Instant::now() + lease) };
        state.runs.insert((key.tenant_id.to_string(), run.sync_run_id.clone()), row);
        Ok(Begun::Started)
    }

    async fn renew_run(&self, key: &StoreKey, run_id: &str, lease: Duration) -> Result<bool, StorageError> {
        let mut state = self.state();
        let row = state.leased(key, run_id);
        Ok(row.map(|row| row.lease_expiry = Some(Instant::now() + lease)).is_some())
    }

    async fn end_run(&self, key: &StoreKey, run: &SyncRun) -> Result<bool, StorageError> {
        let mut state = self.state();
        Ok(state.leased(key, &run.sync_run_id).map(|row| row.end(run.clone())).is_some())
    }

    async fn publish(
        &self,
        key: &StoreKey,
        run: &SyncRun,
        content: Content,
        judged: &Judged,
    ) -> Result<Published, StorageError> {
        let mut state = self.state();
        let head = state.head(key);
        if state.leased(key, &run.sync_run_id).is_none() {
            return Ok(Published::LeaseLost);
        }
        let Some(writes) = rules::publication(run, content, &head, judged) else { return Ok(Published::BaseMoved) };
        state.write(key, &writes);
        Ok(Published::Ended(Box::new(writes.run.unwrap_or_default())))
    }

    async fn decide(
        &self,
        key: &StoreKey,
        run_id: &str,
        approve: bool,
        decision: &Decision,
        changed_items: ChangedItems,
    ) -> Result<Option<SyncRun>, StorageError> {
        let mut state = self.state();
        let head = state.head(key);
        let waiting = state.runs.get(&(key.tenant_id.to_string(), run_id.to_owned())).map(|row| row.run.clone());
        let (Some(held), Some(waiting)) = (rules::waits(&head, run_id), waiting) else { return Ok(None) };
        let catalog = state.held.get(&(key.tenant_id.to_string(), key.store_id.to_string()));
        let writes = match catalog.and_then(|(_, catalog)| catalog.clone()) {
            Some(catalog) if approve => {
                let held = (held, Arc::unwrap_or_clone(catalog));
                rules::approval(waiting, held, &head, decision, changed_items)
            }
            _ => rules::refusal(waiting, held, decision),
        };
        state.write(key, &writes);
        Ok(writes.run)
    }

    async fn rollback(
        &self,
        key: &StoreKey,
        version: i64,
        decision: &Decision,
    ) -> Result<Option<CatalogVersion>, StorageError> {
        let mut state = self.state();
        let id = (key.tenant_id.to_string(), key.store_id.to_string(), version);
        let Some(target) = state.versions.get(&id).map(|row| row.catalog.clone()) else { return Ok(None) };
        if let Some(writes) = rules::rollback(target, &state.head(key), decision) {
            state.write(key, &writes);
        }
        Ok(state.versions(key, i64::MAX).next().map(|(_, row)| row.summary.clone()))
    }

    async fn end_dead_runs(&self) -> Result<u64, StorageError> {
        let mut state = self.state();
        let dead = state.runs.values_mut().filter(|row| row.is_dead());
        Ok(dead.map(Row::interrupt).count() as u64)
    }

    async fn plan_sync(&self, key: &StoreKey, within: Duration) -> Result<(), StorageError> {
        let due = Instant::now() + within;
        let mut state = self.state();
        let planned = state.due.entry((key.tenant_id.to_string(), key.store_id.to_string())).or_insert(due);
        *planned = due.min(*planned);
        Ok(())
    }

    async fn plan_next_sync(&self, key: &StoreKey, after: Duration) -> Result<(), StorageError> {
        let due = Instant::now() + after;
        self.state().due.insert((key.tenant_id.to_string(), key.store_id.to_string()), due);
        Ok(())
    }

    async fn claim_syncs(&self, limit: usize, lease: Duration) -> Result<Vec<StoreKey>, StorageError> {
        let now = Instant::now();
        let mut state = self.state();
        let mut due: Vec<_> = state.due.iter_mut().filter(|(_, due)| **due <= now).collect();
        due.sort_by_key(|(_, due)| **due);
        let claim = |(key, due): (&(String, String), &mut Instant)| {
            *due = now + lease;
            StoreKey { tenant_id: key.0.as_str().into(), store_id: key.1.as_str().into() }
        };
        Ok(due.into_iter().take(limit).map(claim).collect())
    }

    async fn plan_poll(&self, key: &StoreKey, within: Duration) -> Result<(), StorageError> {
        let planned = (Instant::now() + within, String::new());
        self.state().polls.entry(of_store(key)).or_insert(planned);
        Ok(())
    }

    async fn plan_next_poll(&self, key: &StoreKey, after: Duration, fingerprint: &str) -> Result<(), StorageError> {
        self.state().polls.insert(of_store(key), (Instant::now() + after, fingerprint.to_owned()));
        Ok(())
    }

    async fn claim_polls(&self, limit: usize, lease: Duration) -> Result<Vec<(StoreKey, String)>, StorageError> {
        let now = Instant::now();
        let mut state = self.state();
        let mut due: Vec<_> = state.polls.iter_mut().filter(|(_, (due, _))| *due <= now).collect();
        due.sort_by_key(|(_, (due, _))| *due);
        let claim = |(key, (due, fingerprint)): (&(String, String), &mut (Instant, String))| {
            *due = now + lease;
            (StoreKey { tenant_id: key.0.as_str().into(), store_id: key.1.as_str().into() }, fingerprint.clone())
        };
        Ok(due.into_iter().take(limit).map(claim).collect())
    }

    async fn prune(&self, key: &StoreKey, versions: u32, runs: u32) -> Result<(), StorageError> {
        let mut state = self.state();
        let of_store = (key.tenant_id.to_string(), key.store_id.to_string());
        let current = state.head(key).current.map_or(0, |(version, _)| version);
        let oldest = current.saturating_sub(i64::from(versions));
        state.versions.retain(|id, _| (&id.0, &id.1) != (&of_store.0, &of_store.1) || id.2 > oldest);
        let held = state.held.get(&of_store).map(|(held, _)| held.run_id.clone());
        let of_this = |id: &(String, String), row: &Row| id.0 == of_store.0 && row.run.store_id == of_store.1;
        let kept: Vec<(String, String)> = state
            .runs
            .iter()
            .filter(|(id, row)| of_this(id, row))
            .map(|(id, _)| id.clone())
            .rev()
            .take(runs as usize)
            .collect();
        state.runs.retain(|id, row| {
            !of_this(id, row) || row.lease_expiry.is_some() || kept.contains(id) || Some(&id.1) == held.as_ref()
        });
        Ok(())
    }

    async fn run(&self, tenant_id: &str, run_id: &str) -> Result<Option<SyncRun>, StorageError> {
        Ok(self.state().runs.get(&(tenant_id.to_owned(), run_id.to_owned())).map(|row| row.run.clone()))
    }

    async fn runs(&self, key: &StoreKey, before: &str, limit: usize) -> Result<Vec<SyncRun>, StorageError> {
        let state = self.state();
        let tenant = |id: &str| (key.tenant_id.to_string(), id.to_owned());
        let rows = state.runs.range(tenant("")..tenant(before)).rev().map(|(_, row)| &row.run);
        Ok(rows.filter(|run| run.store_id == *key.store_id).take(limit).cloned().collect())
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<OfferHead>, StorageError> {
        let state = self.state();
        Ok(state.offer_head(key).filter(|head| head.version > 0))
    }

    async fn changed_heads(&self, within: Duration) -> Result<Vec<(StoreKey, OfferHead)>, StorageError> {
        let state = self.state();
        let changed = state.moved.iter().filter(|(_, moved)| moved.elapsed() <= within);
        let keys = changed.map(|((tenant_id, store_id), _)| StoreKey {
            tenant_id: tenant_id.as_str().into(),
            store_id: store_id.as_str().into(),
        });
        Ok(keys.filter_map(|key| Some((key.clone(), state.offer_head(&key)?))).collect())
    }

    async fn availability(&self, key: &StoreKey) -> Result<Vec<Availability>, StorageError> {
        let state = self.state();
        let words = state.words.get(&of_store(key));
        Ok(words.map(|words| words.said.values().cloned().collect()).unwrap_or_default())
    }

    async fn availability_at(
        &self,
        key: &StoreKey,
        revisions: (i64, i64),
    ) -> Result<Option<Vec<Availability>>, StorageError> {
        let state = self.state();
        let Some(words) = state.words.get(&of_store(key)) else { return Ok(None) };
        let later = words.log.iter().rev().take_while(|((at, _), _)| *at > revisions.0);
        let undo = |((revision, place), before): (&(i64, Place), &Option<Availability>)| Undo {
            revision: *revision,
            place: place.clone(),
            before: before.clone(),
        };
        Ok(rules::words_at(revisions, words.said.values().cloned().collect(), later.map(undo).collect()))
    }

    async fn say_availability(&self, key: &StoreKey, said: &Said) -> Result<bool, StorageError> {
        let mut state = self.state();
        let known = state.words.entry(of_store(key)).or_default();
        let before: Vec<Availability> = known.said.values().cloned().collect();
        let news = rules::news(&before, said);
        if news.is_empty() {
            return Ok(false);
        }
        known.change(&news);
        state.moved.insert(of_store(key), Instant::now());
        Ok(true)
    }

    async fn end_availability(&self) -> Result<Vec<StoreKey>, StorageError> {
        let now_ms = time::now_unix_ms();
        let mut state = self.state();
        let is_over = |word: &Availability| {
            word.available_again_time.as_ref().is_some_and(|again| time::to_unix_ms(again) <= now_ms)
        };
        let mut ended = Vec::new();
        for ((tenant_id, store_id), words) in &mut state.words {
            let over: Vec<Availability> = words.said.values().filter(|word| is_over(word)).cloned().collect();
            if !over.is_empty() {
                words.change(&over.iter().map(WordChange::Unsay).collect::<Vec<_>>());
                ended.push(StoreKey { tenant_id: tenant_id.as_str().into(), store_id: store_id.as_str().into() });
            }
        }
        for key in &ended {
            state.moved.insert(of_store(key), Instant::now());
        }
        Ok(ended)
    }

    async fn catalog(&self, key: &StoreKey, version: i64) -> Result<Option<Catalog>, StorageError> {
        let state = self.state();
        let id = (key.tenant_id.to_string(), key.store_id.to_string(), version);
        Ok(state.versions.get(&id).map(|row| row.catalog.clone()))
    }

    async fn versions(&self, key: &StoreKey, before: i64, limit: usize) -> Result<Vec<CatalogVersion>, StorageError> {
        let state = self.state();
        Ok(state.versions(key, before).take(limit).map(|(_, row)| row.summary.clone()).collect())
    }
}
