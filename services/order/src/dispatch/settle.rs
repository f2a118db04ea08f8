//! Finding out what became of an order whose answer is missing.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{cause, failure, time};
use posmesh_proto::{
    adapter::v1::{
        FindKind, FindOrderRequest, FindOrderResponse, Placed, PosTarget, find_order_response::Result as Found,
    },
    order::v1::{Attempt, Check, Order, OrderState},
};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::{
    Dispatcher,
    attempt::{REVISION_CHANGED, with_connection},
};
use crate::{
    domain::{
        gate::{deliver_within, policy_of},
        lifecycle::{Event, Outcome, Why, attention, has_enough_evidence, last_submit, of_side},
        pos::to_find_request,
        settling::{Pos, Step, Terms, find_proves, max_apply_delay, next_step, open_change_attempt, proof_ms},
    },
    ledger::Applied,
    peers::Link,
};

const FIND_TIMEOUT: Duration = Duration::from_secs(10);

/// What a POS said of an order.
pub(super) struct Asked {
    pub(super) answer: FindOrderResponse,
    /// It is the POS that the attempt went to.
    pub(super) is_there: bool,
}

/// What asking the POS came to.
pub(super) enum Settled {
    /// This is what became of the attempt.
    Known(Outcome),
    /// Ask again after this.
    TooEarly(Duration),
    /// It shows nothing, or cannot be asked, which proves nothing.
    Unproven(Why),
    /// It did not answer.
    Unknown(Why),
}

impl Dispatcher {
    /// Asks the POS about an order that may or may not be there.
    pub(super) async fn settle(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>) {
        if open_change_attempt(&order).is_some() {
            return self.take_up_change(tenant_id, order, check).await;
        }
        let Some(attempt) = last_submit(&order).cloned() else {
            tracing::error!(order.id = %order.order_id, "an order without an attempt is in doubt");
            return;
        };
        let asked_ms = time::now_unix_ms();
        let answer = self.find(&order, check.as_ref(), &attempt).await;
        let link = self.reader.link_to(&attempt.connection_id, attempt.connection_revision).await.ok();
        match self.judge(&order, &attempt, answer, link.as_ref(), asked_ms) {
            Settled::Known(outcome) => self.record_settled(tenant_id, order, &attempt, outcome).await,
            Settled::TooEarly(wait) => {
                let put_off = self.ledger.storage.put_off(tenant_id, &order.order_id, order.version, Some(wait)).await;
                if let Err(error) = put_off {
                    tracing::warn!(%error, "an order that waits to be settled could not be put off");
                }
            }
            Settled::Unproven(why) | Settled::Unknown(why) if order.state() == OrderState::Sending => {
                self.record(tenant_id, order, attempt.number, Outcome::InDoubt(why)).await;
            }
            Settled::Unproven(_) => self.go_on(tenant_id, order, check, link, true).await,
            Settled::Unknown(_) => self.go_on(tenant_id, order, check, link, false).await,
        }
    }

    /// After this a person is called for an order in doubt, whatever time it had before it was sent.
    async fn call_within(&self, order: &Order) -> Duration {
        let store = self.reader.stores.get(&order.store_id).await;
        let policy = store.as_deref().ok().and_then(|store| policy_of(store, order.product()));
        deliver_within(&policy.cloned().unwrap_or_default())
    }

    async fn record_settled(&self, tenant_id: &Arc<str>, order: Order, attempt: &Attempt, outcome: Outcome) {
        tracing::info!(order.id = %order.order_id, attempt.number = attempt.number, ?outcome, "settled");
        let is_late = order.deliver_by.as_ref().is_some_and(|by| time::until(by).is_zero()) && self.clock.is_steady();
        let waiting = matches!(&outcome, Outcome::Placed(_)) && is_late && !has_enough_evidence(&order);
        let after = order.clone();
        self.record(tenant_id, order, attempt.number, outcome).await;
        if waiting && !attention::is_seen(&after, attention::EVIDENCE_MISSING) {
            self.call_a_person(tenant_id, after, attention::EVIDENCE_MISSING).await;
        }
    }

    /// The POS's words did not settle it: what the vendor's promises allow besides, else a person.
    async fn go_on(
        &self,
        tenant_id: &Arc<str>,
        order: Order,
        check: Option<Check>,
        link: Option<Link>,
        shows_nothing: bool,
    ) {
        if !self.clock.is_steady() {
            return self.pause(tenant_id, &order).await;
        }
        let descriptor = link.as_ref().map(|link| link.descriptor.clone()).unwrap_or_default();
        let pos = Pos {
            descriptor: &descriptor,
            leads_there: link.as_ref().is_some_and(|link| leads_there(&order, link)),
            shows_nothing,
            can_cancel: link.as_ref().is_some_and(|link| link.can("CANCEL_ORDER")),
        };
        let terms = Terms {
            attempt_timeout: self.config.attempt_timeout,
            margin: self.config.lease_margin,
            change_within: self.change_within(),
            call_within: self.call_within(&order).await,
        };
        match (next_step(&order, &pos, terms, time::now_unix_ms()), link) {
            (Step::Replay, Some(link)) => {
                tracing::info!(order.id = %order.order_id, "sent once more under the same reference");
                let since = Instant::now();
                let (attempt, lease) = self.next_attempt(0, Some(&link));
                let before = last_submit(&order).cloned().unwrap_or_default();
                let attempt = Attempt { kind: before.kind, success_evidence: before.success_evidence, ..attempt };
                self.send(tenant_id, order, check, attempt, lease, since).await;
            }
            (Step::Compensate, Some(link)) => self.compensate(tenant_id, order, check, &link).await,
            (Step::TellPerson, _) => self.call_a_person(tenant_id, order, attention::IN_DOUBT).await,
            (Step::Wait | Step::Replay | Step::Compensate, _) => self.put_off(tenant_id, &order).await,
        }
    }

    /// Asks the POS that an attempt went to whether it has the order. Where the way there is not kept, the POS that the
    /// connection leads to now is asked: that it has the order is worth knowing, that it has not proves nothing.
    pub(super) async fn find(&self, order: &Order, check: Option<&Check>, attempt: &Attempt) -> Result<Asked, Why> {
        if attempt.find.is_some_and(|find| find.kind() == FindKind::None) {
            return Err(Why::new(cause::NOT_SUPPORTED, "this POS cannot be asked for an order"));
        }
        let there = to_find_request(order, check, attempt);
        let target = there.target.clone().map(|target| PosTarget { connection_revision: 0, ..target });
        let wherever = FindOrderRequest { target, ..there.clone() };
        match self.ask(there, attempt).await {
            Err(status) if failure::reason(&status) == REVISION_CHANGED => match self.ask(wherever, attempt).await {
                Ok(answer) => Ok(Asked { answer, is_there: false }),
                Err(status) => Err(Why::new(cause::NETWORK_DOWN, status.message())),
            },
            Ok(answer) => Ok(Asked { answer, is_there: true }),
            Err(status) => Err(Why::new(cause::NETWORK_DOWN, status.message())),
        }
    }

    async fn ask(&self, find: FindOrderRequest, attempt: &Attempt) -> Result<FindOrderResponse, Status> {
        let mut request = Request::new(find);
        request.set_timeout(FIND_TIMEOUT);
        let answer = self.reader.adapter.clone().find_order(request).await?;
        Ok(with_evidence_from(answer.into_inner(), &attempt.connection_id))
    }

    pub(super) fn judge(
        &self,
        order: &Order,
        attempt: &Attempt,
        asked: Result<Asked, Why>,
        link: Option<&Link>,
        asked_ms: i64,
    ) -> Settled {
        let asked = match asked {
            Ok(asked) => asked,
            Err(why) if attempt.find.is_some_and(|find| find.kind() == FindKind::None) => {
                return Settled::Unproven(why);
            }
            Err(why) => return Settled::Unknown(why),
        };
        if matches!(asked.answer.result, Some(Found::NotFound(_))) && !self.clock.is_steady() {
            // Whether the attempt's time is over is told by a clock that jumped: ask again when it is steady.
            return Settled::TooEarly(self.lease());
        }
        let proves_ms = link.filter(|link| asked.is_there && find_proves(attempt, &link.descriptor)).and_then(|link| {
            proof_ms(of_side(order, attempt), max_apply_delay(&link.descriptor), self.config.lease_margin)
        });
        judge(asked.answer, asked_ms, proves_ms)
    }

    pub(super) async fn call_a_person(&self, tenant_id: &Arc<str>, order: Order, flag: &'static str) {
        match self.apply(tenant_id, order, Event::PersonNeeded(flag)).await {
            Ok(Applied::Changed { order, .. }) => {
                tracing::error!(order.id = %order.order_id, store.id = %order.store_id, "an order needs a person: {flag}");
            }
            Ok(Applied::Unchanged(_)) => {}
            Err(error) => tracing::warn!(%error, "an order that needs a person could not be marked"),
        }
    }
}

/// Whether nobody writes for an attempt any more, and what was written has taken effect, as far as is known.
pub(super) fn has_stopped(
    order: &Order,
    attempt: &Attempt,
    link: Option<&Link>,
    margin: Duration,
    asked_ms: i64,
) -> bool {
    let delay = link.map(|link| max_apply_delay(&link.descriptor)).unwrap_or_default();
    proof_ms(of_side(order, attempt), delay, margin).is_none_or(|proves_ms| asked_ms >= proves_ms)
}

/// Whether a submit would go to the POS that the last one went to.
fn leads_there(order: &Order, link: &Link) -> bool {
    last_submit(order).is_some_and(|a| link.leads_where_it_did(&a.connection_id, a.connection_revision))
}

fn with_evidence_from(answer: FindOrderResponse, connection_id: &str) -> FindOrderResponse {
    let noted = |placed: Placed| Placed { evidence: with_connection(placed.evidence, connection_id), ..placed };
    let result = answer.result.map(|result| match result {
        Found::Found(placed) => Found::Found(noted(placed)),
        Found::Cancelled(mut cancelled) => {
            cancelled.placed = cancelled.placed.map(noted);
            Found::Cancelled(cancelled)
        }
        other => other,
    });
    FindOrderResponse { result }
}

/// `proves_ms`: from when on absence is a proof; `None`: never, as far as is known.
fn judge(answer: FindOrderResponse, asked_ms: i64, proves_ms: Option<i64>) -> Settled {
    match answer.result {
        Some(Found::Found(placed)) => Settled::Known(Outcome::Placed(Box::new(placed))),
        Some(Found::Cancelled(cancelled)) => {
            Settled::Known(Outcome::CancelledAtPos(Box::new(cancelled.placed.unwrap_or_default())))
        }
        Some(Found::NotFound(absent)) if !absent.authoritative => {
            Settled::Unproven(Why::new(cause::UNKNOWN, "the POS shows no such order, but that proves nothing there"))
        }
        Some(Found::NotFound(_)) => match proves_ms {
            None => Settled::Unproven(Why::new(
                cause::MISCONFIGURED,
                "the POS has no such order, but the connection is not the one that it was sent over",
            )),
            Some(proves_ms) if asked_ms < proves_ms => {
                Settled::TooEarly(Duration::from_millis(u64::try_from(proves_ms - asked_ms).unwrap_or(0)))
            }
            Some(_) => Settled::Known(Outcome::Absent),
        },
        Some(Found::PartlyFound(part)) => {
            let message = format!("the POS lacks the lines {}", part.missing_line_ids.join(", "));
            Settled::Known(Outcome::Partly(Why::new("PARTLY_AT_POS", message)))
        }
        Some(Found::Failed(failed)) => Settled::Unknown(Why::new(&failed.cause, failed.message)),
        None => Settled::Unknown(Why::new(cause::UNKNOWN, "the adapter's answer says nothing that is known here")),
    }
}

#[cfg(test)]
mod tests {
    use posmesh_proto::adapter::v1::NotFound;

    use super::*;

    fn absent(authoritative: bool) -> FindOrderResponse {
        FindOrderResponse { result: Some(Found::NotFound(NotFound { authoritative })) }
    }

    #[test]
    fn absence_proves_nothing_before_the_last_writer_has_stopped() {
        assert!(matches!(judge(absent(true), 999, Some(1_000)), Settled::TooEarly(wait) if wait.as_millis() == 1));
        assert!(matches!(judge(absent(true), 1_000, Some(1_000)), Settled::Known(Outcome::Absent)));
    }

    #[test]
    fn absence_at_another_pos_proves_nothing() {
        assert!(matches!(judge(absent(true), 2_000, None), Settled::Unproven(_)));
    }

    #[test]
    fn absence_proves_nothing_where_the_pos_cannot_tell() {
        assert!(matches!(judge(absent(false), 2_000, Some(1_000)), Settled::Unproven(_)));
    }
}
