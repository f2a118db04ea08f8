//! Looking after checks that nobody asks about: comparing open ones with the POS, closing what is left over when the
//! business day has ended, and bringing the rounds of ended ones to their end.
//!
//! A store's checks are compared by one list of its POS, however many they are, by the replica that claims one of them: that
//! one falls due again after the interval, the others later, in case it ends meanwhile. An adapter's own limits hold for
//! it as for any call; a POS that refuses or does not answer is asked more and more rarely, and one that cannot list its
//! checks never.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use posmesh_kit::{ambient, backoff, time};
use posmesh_proto::{
    adapter::v1::{CheckFailed, PosCheck},
    order::v1::{Check, CheckState},
};
use tokio_util::sync::CancellationToken;

use super::{Checks, FINISH_LEASE};
use crate::{
    domain::{
        business_day::business_date,
        pos::table_mode,
        visit::{self, Seen, is_open},
    },
    error::Error,
    peers::Link,
    storage::{CheckFilter, DueCheck},
};

const CLAIM_LIMIT: usize = 256;
/// Longer than the calls about one store take.
const LEASE: Duration = Duration::from_secs(60);
/// Stores looked after at once.
const AT_ONCE: usize = 16;
/// Checks of a store that are compared with one list.
const MAX_OF_STORE: usize = 500;
/// Checks of a store that are asked for one by one after a list, because they are not on it.
const MAX_LOOKS: usize = 20;
/// At most one call in so many that a connection may take is for this.
const SHARE: f64 = 20.0;
/// A POS that cannot be asked is asked at least this often.
const MAX_PAUSE: Duration = Duration::from_secs(15 * 60);
/// How often a check is looked at of which the POS is not asked: it may be left over from the day before.
const UNASKED: Duration = Duration::from_secs(5 * 60);
/// So many intervals later the checks fall due that are compared together with another one.
const OTHERS: u32 = 4;

/// Tenant, store and connection.
type Key = (Arc<str>, String, String);

impl Checks {
    /// Looks after checks that fell due, until `stop`.
    pub(crate) async fn sweep(self, every: Duration, stop: CancellationToken) {
        loop {
            let pause = every.mul_f64(ambient::jitter(0.75, 1.25));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look_after_due() => {}
            }
        }
    }

    async fn look_after_due(&self) {
        loop {
            let due = match self.storage().claim_due_checks(LEASE, CLAIM_LIMIT).await {
                Ok(due) => due,
                Err(error) => return tracing::warn!(%error, "due checks could not be claimed"),
            };
            let count = due.len();
            let mut stores: BTreeMap<Key, Vec<Check>> = BTreeMap::new();
            for DueCheck { tenant_id, check } in due {
                let key = (tenant_id, check.store_id.clone(), check.connection_id.clone());
                stores.entry(key).or_default().push(check);
            }
            stream::iter(stores)
                .for_each_concurrent(AT_ONCE, |(key, due)| async move {
                    if let Err(error) = self.look_after(&key, due).await {
                        tracing::debug!(%error, store.id = %key.1, "the checks of a store could not be looked after");
                    }
                })
                .await;
            if count < CLAIM_LIMIT {
                return;
            }
        }
    }

    /// Looks after the due checks of one store at one POS.
    async fn look_after(&self, key: &Key, due: Vec<Check>) -> Result<(), Error> {
        let (tenant_id, store_id, _) = key;
        for check in &due {
            self.resume_splits(tenant_id, check).await?;
        }
        let (open, over): (Vec<Check>, Vec<Check>) = due.into_iter().partition(is_open);
        for check in &over {
            self.finish(tenant_id, check).await;
        }
        if open.is_empty() {
            return Ok(());
        }
        let store = self.reader.stores.get(store_id).await?;
        let today = business_date(&store, time::now_unix_ms()).unwrap_or_default();
        let mut open_today = Vec::with_capacity(open.len());
        for check in open {
            // One that was never used ends when somebody comes to its table, or with the day.
            let outlived = visit::outlived(&check, &today, false, time::now_unix_ms());
            let Some(why) = outlived.filter(|_| self.clock.is_steady()) else {
                open_today.push(check);
                continue;
            };
            self.end(tenant_id, check, why).await?;
        }
        self.compare(key, &open_today).await
    }

    /// Compares the store's checks with what its POS lists.
    async fn compare(&self, key: &Key, due: &[Check]) -> Result<(), Error> {
        let (tenant_id, store_id, connection_id) = key;
        let (product, mode) = table_mode();
        let link = self.reader.link(store_id, product, mode).await?;
        let is_listed = &link.connection.connection_id == connection_id && link.can("LIST_CHECKS");
        let (at_pos, unasked): (Vec<&Check>, Vec<&Check>) =
            due.iter().partition(|check| is_listed && !check.pos_check_reference.is_empty());
        self.put_off(tenant_id, &unasked, jittered(self.interval.max(UNASKED))).await?;
        if at_pos.is_empty() {
            return Ok(());
        }
        let every = self.interval.max(least_interval(&link));
        // Before the list: what is open here and not on it was closed, or is newer than it.
        let ours = self.at_pos(tenant_id, store_id, connection_id).await?;
        match self.pos.list(store_id, connection_id, "").await {
            Ok(listed) => {
                self.pauses.lock().unwrap_or_else(PoisonError::into_inner).remove(connection_id);
                let open = self.follow_all(tenant_id, &ours, listed, link.can("GET_CHECK")).await?;
                let (first, others) = open.split_at(open.len().min(1));
                self.put_off(tenant_id, first, jittered(every)).await?;
                self.put_off(tenant_id, others, jittered(every * OTHERS)).await
            }
            Err(failed) => {
                let pause = self.pause(connection_id, every, &failed);
                self.put_off(tenant_id, &at_pos, pause).await
            }
        }
    }

    /// The checks of the store that are open here and stand at this POS.
    async fn at_pos(&self, tenant_id: &str, store_id: &str, connection_id: &str) -> Result<Vec<Check>, Error> {
        let filter = CheckFilter {
            store_id: store_id.to_owned(),
            states: vec![CheckState::Open, CheckState::BillRequested],
            limit: MAX_OF_STORE,
            ..CheckFilter::default()
        };
        let mut ours = self.storage().checks(tenant_id, &filter).await.map_err(Error::Read)?;
        ours.retain(|check| check.connection_id == connection_id && !check.pos_check_reference.is_empty());
        Ok(ours)
    }

    /// Does to each what the POS says; returns those that are as they were.
    async fn follow_all<'a>(
        &self,
        tenant_id: &Arc<str>,
        ours: &'a [Check],
        listed: Vec<PosCheck>,
        can_look: bool,
    ) -> Result<Vec<&'a Check>, Error> {
        let listed: HashMap<String, PosCheck> =
            listed.into_iter().map(|check| (check.pos_check_reference.clone(), check)).collect();
        let mut looks = 0;
        let mut open: Vec<&Check> = Vec::with_capacity(ours.len());
        // The oldest first: of two of ours for one at the POS it is the one that stays.
        for check in ours.iter().rev() {
            let seen = match listed.get(&check.pos_check_reference) {
                Some(at_pos) => Seen::Open(Box::new(at_pos.clone())),
                None if !can_look => Seen::Closed,
                None if looks == MAX_LOOKS => continue,
                None => {
                    looks += 1;
                    self.pos.look(&check.store_id, &check.connection_id, &check.pos_check_reference).await
                }
            };
            let twin = open.iter().find(|before| before.pos_check_reference == check.pos_check_reference);
            if let (Some(twin), Seen::Open(_)) = (twin, &seen) {
                // Its guests were on two tables when the staff put them together.
                let merged = visit::merged(check, &twin.check_id, time::now());
                if let Ok(merged) = self.change(tenant_id, merged, FINISH_LEASE).await? {
                    self.finish_soon(tenant_id, &merged);
                }
                continue;
            }
            if self.follow(tenant_id, check.clone(), &seen).await?.version == check.version {
                open.push(check);
            }
        }
        Ok(open)
    }

    /// Those that changed meanwhile fall due by their change.
    async fn put_off(&self, tenant_id: &str, checks: &[&Check], due_in: Duration) -> Result<(), Error> {
        if checks.is_empty() {
            return Ok(());
        }
        let seen: Vec<(&str, i64)> = checks.iter().map(|check| (check.check_id.as_str(), check.version)).collect();
        Ok(self.storage().put_off_checks(tenant_id, &seen, Some(due_in)).await?)
    }

    /// How long a POS that could not be asked is left alone: longer each time.
    fn pause(&self, connection_id: &str, every: Duration, failed: &CheckFailed) -> Duration {
        tracing::debug!(connection.id = connection_id, cause = %failed.cause, "open checks could not be compared");
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = pauses.get(connection_id).map_or(every, |before| (*before * 2).min(MAX_PAUSE.max(every)));
        pauses.insert(connection_id.to_owned(), pause);
        backoff::delay_after(pause, pause, 0)
    }
}

/// So rarely that the connection's calls remain for the guests.
fn least_interval(link: &Link) -> Duration {
    let rate = link.descriptor.limits.as_ref().map_or(0.0, |limits| limits.max_calls_per_second);
    if rate > 0.0 {
        Duration::try_from_secs_f64(SHARE / rate).unwrap_or(MAX_PAUSE).min(MAX_PAUSE)
    } else {
        Duration::ZERO
    }
}

fn jittered(every: Duration) -> Duration {
    every.mul_f64(ambient::jitter(0.75, 1.25))
}
