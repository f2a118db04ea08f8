//! Carrying out a wish to take an order back, or lines of it, at the POS that has it.

use std::sync::Arc;

use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{PosOrderProgress, find_order_response::Result as Found},
    order::v1::{Attempt, AttemptKind, Check, Order, OrderChangeKind},
};
use tokio::time::Instant;

use super::{Dispatcher, settle::Asked};
use crate::{
    domain::{
        lifecycle::{Event, Outcome, Why, attention, is_in_flight, last_attempt_of, open_change, where_it_is},
        pos::{is_where_it_was_sent, service_mode},
        settling::{change_ends_ms, max_apply_delay, open_change_attempt, proof_ms},
    },
    error::Error,
    ledger::Applied,
    peers::Link,
    storage::CheckChange,
};

/// For so many attempts' time the platform tries to carry a wish out.
const CHANGE_ATTEMPTS: u32 = 4;

impl Dispatcher {
    /// Begins to carry out the open wish, if it is the POS's to decide now and nobody has begun.
    pub(super) fn pursue(&self, tenant_id: &Arc<str>, order: &Arc<Order>) {
        let is_new = |change_id: &str| last_attempt_of(order, change_id).is_none();
        let is_wished = open_change(order).is_some_and(|change| is_new(&change.change_id));
        if !is_wished || is_in_flight(order.state()) {
            return;
        }
        let (dispatcher, tenant_id, order) = (self.clone(), Arc::clone(tenant_id), Order::clone(order));
        self.tasks.spawn(tracing::Instrument::in_current_span(async move {
            let check = dispatcher.check_of(&tenant_id, &order).await;
            dispatcher.try_change(&tenant_id, order, check).await;
        }));
    }

    async fn check_of(&self, tenant_id: &str, order: &Order) -> Option<Check> {
        if order.check_id.is_empty() {
            return None;
        }
        self.ledger.storage.check(tenant_id, &order.check_id).await.ok().flatten()
    }

    /// Goes on with the open wish of an order that fell due.
    pub(super) async fn take_up_change(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>) {
        match open_change_attempt(&order).cloned() {
            Some(attempt) => self.settle_change(tenant_id, order, check, attempt).await,
            None => self.try_change(tenant_id, order, check).await,
        }
    }

    /// Begins the next attempt to carry the open wish out, all earlier ones being settled.
    async fn try_change(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>) {
        let Some(change) = open_change(&order) else { return };
        if self.is_change_late(&order) {
            let last = last_attempt_of(&order, &change.change_id);
            let why = match last.filter(|last| !last.cause.is_empty()) {
                Some(last) => Why::new(&last.cause, last.message.clone()),
                None => Why::new("DEADLINE_PASSED", "the POS could not be reached in time"),
            };
            return self.give_up(tenant_id, order, why).await;
        }
        let capability = capability(change.kind());
        let Some(link) = self.link_where_sent(&order).await else {
            return self.put_off(tenant_id, &order).await;
        };
        if !link.can(capability) {
            let why = Why::new(cause::NOT_SUPPORTED, link.note(capability));
            return self.give_up(tenant_id, order, why).await;
        }
        self.begin_change(tenant_id, order, check, &link).await;
    }

    /// Begins an attempt to carry the open wish out.
    pub(super) async fn begin_change(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>, link: &Link) {
        let Some(change) = open_change(&order) else { return };
        let kind = match change.kind() {
            OrderChangeKind::VoidLines => AttemptKind::VoidLines,
            OrderChangeKind::Cancel | OrderChangeKind::Unspecified => AttemptKind::Cancel,
        };
        let since = Instant::now();
        let (attempt, lease) = self.next_attempt(0, Some(link));
        // To where the order is, wherever the connection leads by now.
        let sent = where_it_is(&order).cloned().unwrap_or_default();
        let attempt = Attempt {
            kind: kind.into(),
            change_id: change.change_id.clone(),
            connection_id: sent.connection_id,
            connection_revision: sent.connection_revision,
            ..attempt
        };
        self.send(tenant_id, order, check, attempt, lease, since).await;
    }

    async fn give_up(&self, tenant_id: &Arc<str>, order: Order, why: Why) {
        match self.apply(tenant_id, order, Event::ChangeGivenUp(why)).await {
            Ok(Applied::Changed { order, .. }) => {
                tracing::error!(order.id = %order.order_id, store.id = %order.store_id, "could not be taken back");
            }
            Ok(Applied::Unchanged(_)) => {}
            Err(error) => tracing::warn!(%error, "a wish could not be given up yet"),
        }
    }

    /// What can be done at the POS that has the order; `None` while nobody can tell.
    pub(crate) async fn link_where_sent(&self, order: &Order) -> Option<Arc<Link>> {
        let sent = where_it_is(order)?;
        let selected = self.reader.link(&order.store_id, order.product(), service_mode(order)).await.ok();
        match selected.filter(|link| link.leads_where_it_did(&sent.connection_id, sent.connection_revision)) {
            Some(link) => Some(link),
            None => self.reader.link_to(&sent.connection_id, sent.connection_revision).await.ok().map(Arc::new),
        }
    }

    fn is_change_late(&self, order: &Order) -> bool {
        time::now_unix_ms() >= change_ends_ms(order, self.change_within())
    }

    pub(super) fn change_within(&self) -> std::time::Duration {
        self.config.attempt_timeout * CHANGE_ATTEMPTS
    }

    /// Finds out what became of an attempt to carry the open wish out.
    async fn settle_change(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>, attempt: Attempt) {
        let asked_ms = time::now_unix_ms();
        if !self.clock.is_steady() {
            return self.pause(tenant_id, &order).await;
        }
        let asked = self.find(&order, check.as_ref(), &attempt).await;
        let link = self.reader.link_to(&attempt.connection_id, attempt.connection_revision).await.ok();
        let proves_ms = link.as_ref().and_then(|link| {
            proof_ms([&attempt].into_iter(), max_apply_delay(&link.descriptor), self.config.lease_margin)
        });
        let is_over = proves_ms.is_some_and(|proves_ms| asked_ms >= proves_ms);
        match judge(&order, &attempt, asked) {
            Judged::Decided(outcome) => self.record(tenant_id, order, attempt.number, outcome).await,
            Judged::StillThere(progress) => {
                match self.apply(tenant_id, order.clone(), Event::Reported(progress)).await {
                    Ok(Applied::Unchanged(_)) => {}
                    Ok(Applied::Changed { .. }) => return,
                    Err(error) => return tracing::warn!(%error, "an order's progress could not be stored yet"),
                }
                // A cancel that did not take effect by now never will. Of a void the order alone does not tell.
                if is_over && attempt.kind() == AttemptKind::Cancel {
                    return self.record(tenant_id, order, attempt.number, Outcome::Absent).await;
                }
                self.doubt_change(tenant_id, order, check, link.filter(|_| is_over)).await;
            }
            Judged::Unknown(why) if attempt.end_time.is_none() => {
                self.record(tenant_id, order, attempt.number, Outcome::InDoubt(why)).await;
            }
            Judged::Unknown(_) => self.doubt_change(tenant_id, order, check, link.filter(|_| is_over)).await,
        }
    }

    /// What the POS's words do not settle is asked once more under the same reference, which changes nothing more;
    /// `free`: the connection, once no earlier attempt can take effect any more. In the end it is for a person.
    async fn doubt_change(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>, free: Option<Link>) {
        if !self.is_change_late(&order) {
            return match free.filter(|link| can_carry_out(&order, link)) {
                Some(link) => self.begin_change(tenant_id, order, check, &link).await,
                None => self.put_off(tenant_id, &order).await,
            };
        }
        let flag = if is_in_flight(order.state()) { attention::IN_DOUBT } else { attention::CHANGE_IN_DOUBT };
        if attention::is_raised(&order, flag) || attention::is_seen(&order, flag) {
            return self.put_off(tenant_id, &order).await;
        }
        self.call_a_person(tenant_id, order, flag).await;
    }

    /// The platform wishes to take an order in doubt back: its time is over, or somebody else wishes it already.
    pub(super) async fn compensate(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>, link: &Link) {
        match self.wish_back(tenant_id, order).await {
            Ok(order) => self.begin_change(tenant_id, order, check, link).await,
            Err(error) => tracing::warn!(%error, "an order in doubt could not be taken back yet"),
        }
    }

    async fn wish_back(&self, tenant_id: &Arc<str>, order: Order) -> Result<Order, Error> {
        if open_change(&order).is_some() {
            return Ok(order);
        }
        let change =
            crate::domain::lifecycle::platform_change(&order, "nobody knows whether it is there, and it is too late");
        let event = Event::ChangeAsked(Box::new(change));
        // It may have been settled meanwhile: then the wish is fulfilled, and nobody needs to look again.
        let due = |next: &Order| self.due(next).map(|_| self.lease());
        Ok(match self.ledger.apply(tenant_id, order, event, CheckChange::default(), due).await? {
            Applied::Changed { order, .. } | Applied::Unchanged(order) => Arc::unwrap_or_clone(order),
        })
    }
}

/// The capability that a wish needs.
pub(crate) fn capability(kind: OrderChangeKind) -> &'static str {
    match kind {
        OrderChangeKind::VoidLines => "VOID_LINES",
        OrderChangeKind::Cancel | OrderChangeKind::Unspecified => "CANCEL_ORDER",
    }
}

fn can_carry_out(order: &Order, link: &Link) -> bool {
    open_change(order).is_some_and(|change| link.can(capability(change.kind())))
}

/// What the POS's word about the order says of an attempt to take it back.
enum Judged {
    /// This is what became of the attempt.
    Decided(Outcome),
    /// It has the order, so far.
    StillThere(Box<posmesh_proto::adapter::v1::Placed>),
    /// It cannot tell, or not now.
    Unknown(Why),
}

fn judge(order: &Order, attempt: &Attempt, asked: Result<Asked, Why>) -> Judged {
    let is_there = asked.as_ref().is_ok_and(|asked| asked.is_there) && is_where_it_was_sent(order, attempt);
    match asked.map(|asked| asked.answer.result) {
        Ok(Some(Found::Cancelled(cancelled))) => {
            let placed = Box::new(cancelled.placed.unwrap_or_default());
            Judged::Decided(Outcome::CancelledAtPos(placed))
        }
        Ok(Some(Found::Found(placed))) if placed.progress() == PosOrderProgress::Cancelled => {
            Judged::Decided(Outcome::CancelledAtPos(Box::new(placed)))
        }
        Ok(Some(Found::Found(placed))) => Judged::StillThere(Box::new(placed)),
        Ok(Some(Found::NotFound(absent))) if absent.authoritative && is_there => Judged::Decided(Outcome::Gone),
        Ok(Some(Found::NotFound(_))) => {
            Judged::Unknown(Why::new(cause::UNKNOWN, "the POS shows no such order, but that proves nothing there"))
        }
        Ok(Some(Found::PartlyFound(_))) => {
            Judged::Unknown(Why::new(cause::UNKNOWN, "the POS shows only some of the lines"))
        }
        Ok(Some(Found::Failed(failed))) => Judged::Unknown(Why::new(&failed.cause, failed.message)),
        Ok(None) => Judged::Unknown(Why::new(cause::UNKNOWN, "the adapter's answer says nothing that is known here")),
        Err(why) => Judged::Unknown(why),
    }
}
