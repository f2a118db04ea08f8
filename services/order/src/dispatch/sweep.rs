//! Takes up what fell due: retries, orders in doubt, and orders whose owner is gone.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{ambient, time};
use posmesh_proto::order::v1::{Attempt, Check, HoldReason, Order, OrderState};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Begun, Dispatcher};
use crate::{
    domain::{
        lifecycle::{Event, entry, is_divert, open_change, submits},
        pos::service_mode,
        visit::is_open,
    },
    ledger::Applied,
    storage::{CheckChange, Claimed},
};

const CLAIM_LIMIT: usize = 64;
const CLAIM_TIMEOUT: Duration = Duration::from_secs(15);
/// Orders that are completed in one transaction, and transactions of that kind between two looks for due orders.
const COMPLETE_LIMIT: usize = 200;
const COMPLETIONS: usize = 5;
/// Places in pickup slots are kept so long after the pickup time.
const PICKUPS_KEPT_MS: i64 = 2 * 24 * 3600 * 1000;
/// Guests' contacts are looked through this rarely, in at most so many transactions.
const ERASE_INTERVAL: Duration = Duration::from_secs(600);
const FORGETS: usize = 100;
/// What an order that fell due may take in all. Far more than its calls may; after that its lease is over, and whoever
/// takes it up begins by asking the POS.
const TAKE_UP_WITHIN: Duration = Duration::from_secs(300);

impl Dispatcher {
    /// Claims due orders until `stop`.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        let mut erased_at: Option<Instant> = None;
        // At once: the deadlines of the orders that it takes from now on are told by it.
        self.clock.compare(&*self.ledger.storage).await;
        loop {
            let pause = self.config.sweep_interval.mul_f64(ambient::jitter(0.75, 1.25));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.clock.compare(&*self.ledger.storage).await;
            while self.claim().await > 0 {}
            self.complete().await;
            if erased_at.is_none_or(|at| at.elapsed() > ERASE_INTERVAL) {
                erased_at = Some(Instant::now());
                self.forget().await;
            }
        }
    }

    /// Forgets what is kept for a time only. So much in one turn that no other work waits for long; the next turn goes on.
    async fn forget(&self) {
        let (storage, retention) = (&self.ledger.storage, self.config.contact_retention);
        let long_past_ms = time::now_unix_ms() - PICKUPS_KEPT_MS;
        for _ in 0..FORGETS {
            let erased = tokio::time::timeout(CLAIM_TIMEOUT, storage.erase_contacts(retention)).await;
            let forgotten = tokio::time::timeout(CLAIM_TIMEOUT, storage.forget_pickups(long_past_ms)).await;
            match (erased, forgotten) {
                (Ok(Ok(erased)), Ok(Ok(forgotten))) if erased + forgotten == 0 => return,
                (Ok(Ok(_)), Ok(Ok(_))) => {}
                (erased, forgotten) => {
                    return tracing::warn!(?erased, ?forgotten, "old contacts or pickup places could not be erased");
                }
            }
        }
    }

    /// Claims as many due orders as there is room for, and returns how many it got.
    async fn claim(&self) -> usize {
        let room = self.due.room(CLAIM_LIMIT);
        if room.orders == 0 {
            return 0;
        }
        let claim = self.ledger.storage.claim_due(&self.replica, self.lease(), &room);
        let claimed = match tokio::time::timeout(CLAIM_TIMEOUT, claim).await {
            Ok(Ok(claimed)) => claimed,
            Err(_) => {
                tracing::warn!("the database does not answer; due orders wait");
                return 0;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "due orders could not be claimed");
                return 0;
            }
        };
        let count = claimed.len();
        for claimed in claimed {
            let dispatcher = self.clone();
            // There was room for it.
            let place = self.due.enter(&claimed.tenant_id, &claimed.order.store_id).ok();
            let span = tracing::info_span!(
                parent: None,
                "take_up",
                otel.name = "order.take_up",
                order.id = %claimed.order.order_id,
                store.id = %claimed.order.store_id,
            );
            posmesh_kit::telemetry::continue_trace(&span, &claimed.order.traceparent);
            let work = async move {
                let order_id = claimed.order.order_id.clone();
                if tokio::time::timeout(TAKE_UP_WITHIN, dispatcher.take_up(claimed)).await.is_err() {
                    tracing::error!(order.id = %order_id, "an order that fell due took too long; its lease will end");
                }
                drop(place);
            };
            self.tasks.spawn(tracing::Instrument::instrument(work, span));
        }
        count
    }

    /// Completes orders of which the POS tells no end. So many at once that a whole country whose day has ended does not
    /// take the database from the orders that are being placed.
    async fn complete(&self) {
        for _ in 0..COMPLETIONS {
            if !self.clock.is_steady() {
                return;
            }
            let completed = self.ledger.storage.complete_due(COMPLETE_LIMIT, time::now());
            match tokio::time::timeout(CLAIM_TIMEOUT, completed).await {
                Ok(Ok(completed)) => {
                    let count = completed.len();
                    for (_, order) in completed {
                        self.ledger.tell(&Arc::new(order));
                    }
                    if count < COMPLETE_LIMIT {
                        return;
                    }
                }
                Ok(Err(error)) => return tracing::warn!(%error, "orders whose time is over could not be completed"),
                Err(_) => return tracing::warn!("the database does not answer; orders whose time is over wait"),
            }
        }
    }

    async fn take_up(&self, claimed: Claimed) {
        let Claimed { tenant_id, order, check } = claimed;
        match order.state() {
            OrderState::Sending | OrderState::InDoubt => self.settle(&tenant_id, order, check).await,
            OrderState::Pending | OrderState::Held if !self.clock.is_steady() => self.pause(&tenant_id, &order).await,
            OrderState::Pending | OrderState::Held if self.is_too_late(&order).await => {
                self.expire(&tenant_id, order).await;
            }
            // Its check ended meanwhile: the guests have left, or are on another one.
            OrderState::Pending | OrderState::Held if check.as_ref().is_some_and(|check| !is_open(check)) => {
                self.put_off(&tenant_id, &order).await;
                if let Some(check) = check {
                    self.checks.finish(&tenant_id, &check).await;
                }
            }
            OrderState::Held if matches!(order.hold_reason(), HoldReason::FireTime | HoldReason::Link) => {
                self.fire(&tenant_id, order).await;
            }
            OrderState::Pending | OrderState::Held if check.is_some() => {
                self.take_turn(&tenant_id, order, check).await;
            }
            OrderState::Pending => self.try_again(&tenant_id, order).await,
            OrderState::Held => self.put_off(&tenant_id, &order).await,
            _ if open_change(&order).is_some() => self.take_up_change(&tenant_id, order, check).await,
            _ if entry::is_pending(&order) => self.take_up_entry(&tenant_id, order, check).await,
            state => {
                tracing::error!(order.id = %order.order_id, ?state, "an order that is at rest fell due");
                self.put_off(&tenant_id, &order).await;
            }
        }
    }

    async fn is_too_late(&self, order: &Order) -> bool {
        let is_late = order.deliver_by.as_ref().is_some_and(|by| time::until(by).is_zero());
        is_late || order.state() == OrderState::Held && self.is_of_yesterday(order).await
    }

    async fn expire(&self, tenant_id: &Arc<str>, order: Order) {
        match self.apply(tenant_id, order, Event::DeadlinePassed).await {
            Ok(Applied::Changed { order, .. }) => {
                tracing::info!(order.id = %order.order_id, store.id = %order.store_id, cause = %order.cause, "expired");
            }
            Ok(Applied::Unchanged(_)) => {}
            Err(error) => tracing::warn!(%error, "an order that is too late could not be expired yet"),
        }
    }

    /// Begins the next attempt of an order that provably is not at the POS.
    async fn try_again(&self, tenant_id: &Arc<str>, order: Order) {
        let since = Instant::now();
        let link = self.reader.link(&order.store_id, order.product(), service_mode(&order)).await;
        let sent = submits(&order).rev().find(|attempt| !is_divert(attempt));
        let connection_id = link.as_ref().map_or_else(
            |_| sent.map(|sent| sent.connection_id.clone()).unwrap_or_default(),
            |link| link.connection.connection_id.clone(),
        );
        if let Some((attempt, lease)) = self.diversion(tenant_id, &order, &connection_id).await {
            return self.send(tenant_id, order, None, attempt, lease, since).await;
        }
        if !connection_id.is_empty() && !self.may_reach_pos(tenant_id, &order, &connection_id).await {
            return self.keep_back(tenant_id, &order).await;
        }
        let (attempt, lease) = match (link, sent) {
            (Ok(link), _) => self.next_attempt(0, Some(&link)),
            // While the router cannot tell where to send it, it goes where it went.
            (Err(_), Some(before)) => self.attempt_like(before),
            // Nobody knows where to send it: without a pinned connection nothing could be found out afterwards.
            (Err(_), None) => return self.put_off(tenant_id, &order).await,
        };
        self.send(tenant_id, order, None, attempt, lease, since).await;
    }

    /// Commits an attempt and carries it out, unless somebody else has begun one or the order needs none any more.
    /// `since`: before the attempt was made.
    pub(super) async fn send(
        &self,
        tenant_id: &Arc<str>,
        order: Order,
        check: Option<Check>,
        attempt: Attempt,
        lease: Duration,
        since: Instant,
    ) {
        let event = Event::AttemptBegun(Box::new(attempt));
        match self.ledger.apply(tenant_id, order, event, CheckChange::default(), |_| Some(lease)).await {
            Ok(Applied::Changed { order, .. }) => {
                let guest_name = self.guest_name(tenant_id, &order).await;
                let tenant_id = Arc::clone(tenant_id);
                let order = Arc::unwrap_or_clone(order);
                self.carry_out(Begun { tenant_id, order, check, guest_name, since, place: None }).await;
            }
            Ok(Applied::Unchanged(_)) => {}
            Err(error) => tracing::warn!(%error, "the next attempt could not be begun yet"),
        }
    }
}
