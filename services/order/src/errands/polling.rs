//! Asking a POS what happened to orders. The cursor is stored after the events are: a crash repeats some, and loses none.

use std::time::Duration;

use posmesh_kit::{ambient, backoff, cause, time};
use posmesh_proto::{
    adapter::v1::{PollEventsRequest, PosEvents, PosTarget, poll_events_response::Result as Polled},
    order::v1::OrderState,
};
use tonic::Request;

use super::{
    Errands, LEASE,
    waker::{is_link_cause, least_interval},
};
use crate::{
    reconcile::cause_of,
    storage::{Errand, ErrandKind, Next, OrderFilter, Wake},
};

const POLL_TIMEOUT: Duration = Duration::from_secs(20);
const PAGE: i32 = 500;
/// Pages of one turn; more wait for the next one, so that one busy POS does not keep the place of others.
const MAX_PAGES: usize = 20;
/// The longest pause after failures.
const RETRY_CAP: Duration = Duration::from_secs(300);
/// How often a store without orders under way is looked at again, in case nobody woke its errand.
const IDLE: Duration = Duration::from_secs(300);
/// So long after its last order, a store is looked at as often as the next one may want to be polled for: what wakes the
/// errand does so again after half of this at the earliest.
pub(super) const LINGER: Duration = Duration::from_secs(120);
const LINGER_LOOK: Duration = Duration::from_secs(2);
/// Older orders count as forgotten by the POS.
const OPEN_WITHIN: Duration = Duration::from_secs(86_400);

impl Errands {
    /// Polls a connection once, page by page, if any of its store's orders can still progress.
    pub(super) async fn poll(&self, errand: &mut Errand) -> Option<Next> {
        let link = match self.reader.link_to(&errand.connection_id, 0).await {
            Ok(link) => link,
            Err(failure) if failure.reason() == "CONNECTION_NOT_FOUND" => return Some(Next::Rest),
            Err(failure) => {
                tracing::debug!(%failure, connection.id = %errand.connection_id, "a connection is not known now");
                return Some(later(errand, Duration::from_secs(5)));
            }
        };
        if !link.can("POLL_EVENTS") {
            return Some(Next::Rest);
        }
        let interval = least_interval(&link.descriptor);
        match self.has_open_orders(errand).await {
            Ok(true) => {}
            Ok(false) => return Some(Next::Again(idle(errand, interval))),
            Err(()) => return Some(later(errand, interval)),
        }
        let since_ms = time::now_unix_ms();
        for _ in 0..MAX_PAGES {
            let page = match self.page(errand).await {
                Ok(page) => page,
                Err((cause, message)) => return Some(self.failed(errand, &cause, &message, interval).await),
            };
            let begins = errand.progress.is_empty();
            if !self.take_in(errand, page.events).await {
                return Some(later(errand, interval));
            }
            if begins && !self.compare_gap(errand).await {
                // Without it, what happened before the cursor would be lost.
                return Some(later(errand, interval));
            }
            errand.progress = page.cursor;
            errand.failures = 0;
            if !page.more {
                errand.since_ms = since_ms;
                break;
            }
            if !self.put(errand, Next::GoOn(LEASE)).await {
                return None;
            }
        }
        // Jittered above the least interval, never below it.
        Some(Next::Again(interval.mul_f64(ambient::jitter(1.0, 1.25))))
    }

    async fn page(&self, errand: &Errand) -> Result<PosEvents, (String, String)> {
        let target = PosTarget { connection_id: errand.connection_id.clone(), ..PosTarget::default() };
        let mut request = Request::new(PollEventsRequest {
            target: Some(target),
            context: None,
            cursor: errand.progress.clone(),
            max_events: PAGE,
        });
        request.set_timeout(POLL_TIMEOUT);
        match self.reader.adapter.clone().poll_events(request).await.map(|answer| answer.into_inner().result) {
            Ok(Some(Polled::Events(events))) => Ok(events),
            Ok(Some(Polled::Failed(failed))) => Err((failed.cause, failed.message)),
            Ok(None) => {
                Err((cause::UNKNOWN.to_owned(), "the adapter's answer says nothing that is known here".to_owned()))
            }
            Err(status) => Err(cause_of(&status)),
        }
    }

    /// Stores what happened. Returns whether all of it is stored.
    async fn take_in(&self, errand: &Errand, events: Vec<posmesh_proto::adapter::v1::PosEvent>) -> bool {
        if events.is_empty() {
            return true;
        }
        let (dispatcher, tenant_id) = (self.dispatcher.clone(), errand.tenant_id.clone());
        let (connection_id, count) = (errand.connection_id.clone(), events.len());
        let written = async move { dispatcher.record_events(&tenant_id, &connection_id, events).await };
        match self.dispatcher.see_through(written).await.flatten() {
            Ok(_) => {
                tracing::debug!(connection.id = %errand.connection_id, count, "events were polled");
                true
            }
            Err(error) => {
                tracing::warn!(%error, connection.id = %errand.connection_id, "polled events could not be stored yet");
                false
            }
        }
    }

    async fn failed(&self, errand: &mut Errand, why: &str, message: &str, interval: Duration) -> Next {
        let connection_id = &errand.connection_id;
        if why == cause::CURSOR_TOO_OLD && !errand.progress.is_empty() {
            tracing::warn!(connection.id = %connection_id, "the POS knows the cursor no more; polling begins again");
            errand.progress.clear();
            return Next::Again(interval);
        }
        tracing::warn!(connection.id = %connection_id, cause = %why, "polling failed: {message}");
        if is_link_cause(why) {
            self.waker.link_failed(&errand.tenant_id, connection_id, &errand.store_id, errand.since_ms).await;
        }
        later(errand, interval)
    }

    /// Polling begins: what happened before is found by comparing. Returns whether that will be done.
    async fn compare_gap(&self, errand: &Errand) -> bool {
        let wake = Wake {
            tenant_id: errand.tenant_id.clone(),
            connection_id: errand.connection_id.clone(),
            kind: ErrandKind::Reconcile,
            store_id: errand.store_id.clone(),
            since_ms: errand.since_ms,
            due_in: Duration::ZERO,
        };
        let woken = self.storage.wake(&[wake]).await;
        if let Err(error) = &woken {
            tracing::warn!(%error, connection.id = %errand.connection_id, "a comparison could not be noted yet");
        }
        woken.is_ok()
    }

    async fn has_open_orders(&self, errand: &Errand) -> Result<bool, ()> {
        let open_from_ms =
            time::now_unix_ms().saturating_sub(i64::try_from(OPEN_WITHIN.as_millis()).unwrap_or(i64::MAX));
        let filter = OrderFilter {
            store_id: errand.store_id.clone(),
            states: vec![OrderState::InDoubt, OrderState::Placed, OrderState::InPreparation, OrderState::Ready],
            created_from_ms: Some(open_from_ms),
            limit: 1,
            ..OrderFilter::default()
        };
        let open = self.storage.orders(&errand.tenant_id, &filter).await;
        open.map(|orders| !orders.is_empty()).map_err(|error| tracing::warn!(%error, "open orders could not be read"))
    }
}

/// When a store is looked at again that has no orders under way. The POS is not asked.
fn idle(errand: &mut Errand, interval: Duration) -> Duration {
    let now_ms = time::now_unix_ms();
    if errand.woken {
        // Somebody had one, and it ended before it was polled for.
        errand.since_ms = now_ms;
    }
    let quiet_for = Duration::from_millis(u64::try_from(now_ms.saturating_sub(errand.since_ms)).unwrap_or(0));
    let look = if quiet_for < LINGER { LINGER_LOOK } else { IDLE };
    backoff::delay_after(look, look, 0).max(interval)
}

/// After a failure, later and later, and never before the least interval is over.
fn later(errand: &mut Errand, interval: Duration) -> Next {
    let pause = backoff::delay_after(interval, RETRY_CAP, errand.failures);
    errand.failures = errand.failures.saturating_add(1);
    Next::Again(interval.max(pause))
}
