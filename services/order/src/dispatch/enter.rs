//! Telling the POS of orders that the kitchen has from the fallback's ticket: by itself where the POS takes an order without
//! printing it once more, by the staff elsewhere.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, ambient, time};
use posmesh_proto::{
    adapter::v1::Placed,
    order::v1::{Attempt, AttemptKind, AttemptOutcome, Check, Order, OrderState},
    store::v1::Store,
};
use tokio::time::Instant;

use super::{
    Dispatcher,
    held::BEHIND_ENTRIES,
    settle::{Settled, has_stopped},
};
use crate::{
    domain::{
        business_day::end_of_day_ms,
        entry::{Entrance, SUBMIT_WITHOUT_TICKET, Step, next_step},
        lifecycle::{Event, Outcome, attention, entry},
        pos::service_mode,
    },
    error::Error,
    peers::Link,
    storage::{CheckChange, OrderFilter},
};

/// After that a person is told that the POS does not answer whether an order was entered; later rounds wait for it.
const DOUBT_FOR: Duration = Duration::from_secs(60);
/// Likewise while the POS is away: when it is back, it may tell.
const DOUBT_WHILE_AWAY: Duration = Duration::from_secs(300);
/// An entry whose POS is away is looked at this rarely while nobody tells what its adapter can do.
const UNKNOWN_WHILE_AWAY: Duration = Duration::from_secs(60);
/// Nobody will tell the POS any more but the staff.
const LEADS_NOWHERE: [&str; 2] = ["NO_CONNECTION", "CONNECTION_NOT_FOUND"];
/// Rounds of a check that are looked at.
const MAX_ROUNDS: usize = 500;

impl Dispatcher {
    /// Sees to the entry of a diverted order at the POS.
    pub(super) async fn take_up_entry(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>) {
        if !self.clock.is_steady() {
            return self.pause(tenant_id, &order).await;
        }
        if let Some(attempt) = entry::open_entry(&order).cloned() {
            return self.settle_entry(tenant_id, order, check, attempt).await;
        }
        let (store, link, entrance) = match self.entrance(tenant_id, &order, check.as_ref()).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%error, order.id = %order.order_id, "nobody tells yet where the order is to be entered");
                let is_away = self.gates.is_away(&order.awaited_connection_id);
                // Once it is back, it is given its time.
                let pause = if is_away { UNKNOWN_WHILE_AWAY } else { self.config.retry_cap };
                return self.look_again(tenant_id, &order, pause.mul_f64(ambient::jitter(0.5, 1.0))).await;
            }
        };
        match (next_step(&order, entrance), link) {
            (Step::Enter, Some(link)) => self.enter(tenant_id, order, check, &link, &store).await,
            (Step::AwaitPos, Some(link)) => self.await_pos(tenant_id, order, &link, &store).await,
            (Step::AwaitRounds, _) => {
                self.look_again(tenant_id, &order, BEHIND_ENTRIES.mul_f64(ambient::jitter(0.5, 1.5))).await;
            }
            (Step::Staff, _) => self.call_a_person(tenant_id, order, attention::POS_ENTRY_DUE).await,
            (Step::Settle | Step::Nothing | Step::Enter | Step::AwaitPos, _) => self.put_off(tenant_id, &order).await,
        }
    }

    /// What the entry of an order hangs on, with the way to its POS, if there is one any more.
    async fn entrance(
        &self,
        tenant_id: &str,
        order: &Order,
        check: Option<&Check>,
    ) -> Result<(Arc<Store>, Option<Arc<Link>>, Entrance), Error> {
        let store = self.reader.stores.get(&order.store_id).await?;
        let end_ms = end_of_day_ms(&store, &order.business_date);
        let day_is_over = end_ms.is_some_and(|end_ms| end_ms <= time::now_unix_ms());
        let link = match self.link_of_pos(order, check).await {
            Ok(link) => Some(link),
            Err(failure) if day_is_over || LEADS_NOWHERE.contains(&failure.reason()) => None,
            Err(failure) => return Err(failure.into()),
        };
        let entrance = Entrance {
            takes_entries: link.as_ref().is_some_and(|link| link.can(SUBMIT_WITHOUT_TICKET)),
            is_away: link.as_ref().is_some_and(|link| self.gates.is_away(&link.connection.connection_id)),
            day_is_over,
            is_behind: self.is_behind_entries(tenant_id, order).await?,
        };
        Ok((store, link, entrance))
    }

    /// The way to the POS that must be told. A round belongs on its check, wherever others go by now.
    async fn link_of_pos(&self, order: &Order, check: Option<&Check>) -> Result<Arc<Link>, Failure> {
        let there = check.map(|check| check.connection_id.as_str()).filter(|there| !there.is_empty());
        let link = self.reader.link(&order.store_id, order.product(), service_mode(order)).await;
        match (link, there) {
            (Ok(link), Some(there)) if link.connection.connection_id == there => Ok(link),
            (_, Some(there)) => self.reader.link_to(there, 0).await.map(Arc::new),
            (link, None) => link,
        }
    }

    /// Whether a round before this one has yet to be entered at the POS by the platform: the POS gets them in order.
    pub(crate) async fn is_behind_entries(&self, tenant_id: &str, order: &Order) -> Result<bool, Error> {
        if order.check_id.is_empty() {
            return Ok(false);
        }
        use OrderState as S;
        let filter = OrderFilter {
            store_id: order.store_id.clone(),
            check_id: order.check_id.clone(),
            states: vec![S::Sending, S::Placed, S::InPreparation, S::Ready, S::Completed],
            limit: MAX_ROUNDS,
            ..OrderFilter::default()
        };
        let rounds = self.ledger.storage.orders(tenant_id, &filter).await.map_err(Error::Read)?;
        // One that has no number yet comes after all others.
        let is_before = |other: &Order| order.round == 0 || other.round < order.round;
        Ok(rounds.iter().any(|other| is_before(other) && entry::is_coming(other)))
    }

    /// [`Dispatcher::is_behind_entries`] of a round that is to go to a POS: nobody is asked while that was not away.
    pub(crate) async fn must_let_entries_pass(&self, tenant_id: &str, order: &Order, connection_id: &str) -> bool {
        if order.check_id.is_empty() || !self.gates.was_away(connection_id) {
            return false;
        }
        self.is_behind_entries(tenant_id, order).await.unwrap_or_else(|error| {
            tracing::warn!(%error, order.id = %order.order_id, "the rounds before this one could not be read");
            true
        })
    }

    /// Leaves the entry until the POS is back, or the day is over.
    async fn await_pos(&self, tenant_id: &Arc<str>, order: Order, link: &Link, store: &Store) {
        let end_ms = end_of_day_ms(store, &order.business_date).unwrap_or(i64::MAX);
        let left_ms = end_ms.saturating_sub(self.clock.now_unix_ms());
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        let connection_id = &link.connection.connection_id;
        // It may have been let through alone, and was not taken: whoever waits no longer waits for it.
        self.gates.give_back(tenant_id, connection_id, &order.order_id).await;
        if order.awaited_connection_id == *connection_id {
            return self.look_again(tenant_id, &order, left).await;
        }
        let event = Event::EntryAwaits(connection_id.clone());
        if let Err(error) = self.ledger.apply(tenant_id, order, event, CheckChange::default(), |_| Some(left)).await {
            tracing::warn!(%error, "an order that is to be entered later could not be put off yet");
        }
    }

    /// Begins the next attempt to enter an order.
    async fn enter(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>, link: &Link, store: &Store) {
        let connection_id = &link.connection.connection_id;
        if self.gates.is_on_probation(connection_id) {
            match self.gates.let_through(tenant_id, connection_id, &order.order_id).await {
                Ok(true) => {}
                Ok(false) => return self.await_pos(tenant_id, order, link, store).await,
                Err(error) => {
                    tracing::warn!(%error, order.id = %order.order_id, "nobody tells whether the order may be entered");
                    return self.await_pos(tenant_id, order, link, store).await;
                }
            }
        }
        let since = Instant::now();
        let (attempt, lease) = self.next_attempt(0, Some(link));
        let attempt = Attempt { kind: AttemptKind::Enter.into(), ..attempt };
        self.send(tenant_id, order, check, attempt, lease, since).await;
    }

    /// Asks the POS what became of an attempt to enter an order.
    async fn settle_entry(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>, attempt: Attempt) {
        let asked_ms = time::now_unix_ms();
        let answer = self.find(&order, check.as_ref(), &attempt).await;
        let link = self.reader.link_to(&attempt.connection_id, attempt.connection_revision).await.ok();
        let has_stopped = has_stopped(&order, &attempt, link.as_ref(), self.margin(), asked_ms);
        let is_news = attempt.outcome() != AttemptOutcome::InDoubt;
        let doubt_for = if self.gates.is_away(&attempt.connection_id) { DOUBT_WHILE_AWAY } else { DOUBT_FOR };
        match self.judge(&order, &attempt, answer, link.as_ref(), asked_ms) {
            Settled::Known(outcome) => self.record(tenant_id, order, attempt.number, outcome).await,
            Settled::TooEarly(wait) => self.look_again(tenant_id, &order, wait).await,
            Settled::Unproven(why) | Settled::Unknown(why) if is_news => {
                self.record(tenant_id, order, attempt.number, Outcome::InDoubt(why)).await;
            }
            Settled::Unproven(_) if has_stopped => self.doubt_entry(tenant_id, order).await,
            Settled::Unknown(_) if is_older_than(&attempt, doubt_for) => self.doubt_entry(tenant_id, order).await,
            Settled::Unproven(_) | Settled::Unknown(_) => self.put_off(tenant_id, &order).await,
        }
    }

    async fn doubt_entry(&self, tenant_id: &Arc<str>, order: Order) {
        let flag = attention::POS_ENTRY_IN_DOUBT;
        if attention::is_raised(&order, flag) || attention::is_seen(&order, flag) {
            return self.put_off(tenant_id, &order).await;
        }
        self.call_a_person(tenant_id, order, flag).await;
    }

    /// The POS has a round that was entered: its check is known by then, whoever dies.
    pub(super) async fn note_check(&self, tenant_id: &Arc<str>, order: &Order, attempt: &Attempt, placed: &Placed) {
        if !order.check_id.is_empty() && !placed.pos_check_reference.is_empty() {
            let (reference, connection_id) = (&placed.pos_check_reference, &attempt.connection_id);
            self.checks.note_reference(tenant_id, &order.check_id, reference, connection_id).await;
        }
    }
}

fn is_older_than(attempt: &Attempt, long: Duration) -> bool {
    let begun_ms = attempt.begin_time.as_ref().map_or(0, time::to_unix_ms);
    let age_ms = time::now_unix_ms().saturating_sub(begun_ms);
    Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)) > long
}
