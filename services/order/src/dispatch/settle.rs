//! Finding out what became of an attempt whose answer is missing.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{FindOrderResponse, Placed, find_order_response::Result as Found},
    order::v1::{Check, Order, OrderState},
};
use tokio::time::Instant;
use tonic::Request;

use super::{Dispatcher, attempt::with_connection, service_mode};
use crate::{
    domain::{
        lifecycle::{Event, Outcome, Why, attention, has_enough_evidence},
        pos::to_find_request,
    },
    error::Error,
    ledger::Applied,
    storage::CheckChange,
};

const FIND_TIMEOUT: Duration = Duration::from_secs(10);

/// What asking the POS came to.
enum Settled {
    /// This is what became of the attempt.
    Known(Outcome),
    /// Ask again after this.
    TooEarly(Duration),
    /// The POS cannot tell, or not now.
    Unknown(Why),
}

impl Dispatcher {
    /// Asks the POS about an order that may or may not be there.
    pub(super) async fn settle(&self, tenant_id: &Arc<str>, order: Order, check: Option<Check>) {
        let Some(attempt) = order.attempts.last().cloned() else {
            tracing::error!(order.id = %order.order_id, "an order without an attempt is in doubt");
            return;
        };
        match self.ask(&order, check.as_ref()).await {
            Settled::Known(outcome) => {
                tracing::info!(order.id = %order.order_id, attempt.number = attempt.number, ?outcome, "settled");
                let late = self.is_late(&order);
                let waiting = matches!(&outcome, Outcome::Placed(_)) && late && !has_enough_evidence(&order);
                let after = order.clone();
                self.record(tenant_id, order, attempt.number, outcome, attempt.connection_id).await;
                if waiting {
                    self.call_a_person(tenant_id, after, attention::EVIDENCE_MISSING).await;
                }
            }
            Settled::TooEarly(wait) => {
                let put_off = self.ledger.storage.put_off(tenant_id, &order.order_id, order.version, wait).await;
                if let Err(error) = put_off {
                    tracing::warn!(%error, "an order that waits to be settled could not be put off");
                }
            }
            Settled::Unknown(why) if order.state() == OrderState::Sending => {
                let outcome = Outcome::InDoubt(why);
                self.record(tenant_id, order, attempt.number, outcome, attempt.connection_id).await;
            }
            Settled::Unknown(_)
                if self.is_late(&order) && !order.attention.iter().any(|a| a == attention::IN_DOUBT) =>
            {
                self.call_a_person(tenant_id, order, attention::IN_DOUBT).await;
            }
            Settled::Unknown(_) => self.put_off(tenant_id, &order).await,
        }
    }

    async fn ask(&self, order: &Order, check: Option<&Check>) -> Settled {
        let attempt = order.attempts.last().cloned().unwrap_or_default();
        let mut request = Request::new(to_find_request(order, check, &attempt.connection_id));
        if let (Some(target), true) = (&mut request.get_mut().target, attempt.connection_id.is_empty()) {
            target.product = order.product;
            target.service_mode = service_mode(order).into();
        }
        request.set_timeout(FIND_TIMEOUT);
        // Asked before the answer is used: what is absent now was absent then.
        let asked_ms = time::now_unix_ms();
        let answer = match self.reader.adapter.clone().find_order(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Settled::Unknown(Why::new(cause::NETWORK_DOWN, status.message())),
        };
        let proof_ms = self.absence_proves_from_ms(order).await;
        if matches!(answer.result, Some(Found::NotFound(_))) && !self.clock.is_steady() {
            // Whether the attempt's time is over is told by a clock that jumped: ask again when it is steady.
            return Settled::TooEarly(self.lease());
        }
        judge(answer, &attempt.connection_id, asked_ms, proof_ms)
    }

    /// From when on the order's absence from the POS proves that its last attempt failed: no writer writes any more, and
    /// what was written has taken effect. The longer of what the vendor promised then and promises now counts. `None`:
    /// never, as far as is known now; the connection may lead to another POS than the one that the attempt went to.
    async fn absence_proves_from_ms(&self, order: &Order) -> Option<i64> {
        let attempt = order.attempts.last()?;
        let link = self.reader.link_now(&order.store_id, order.product(), service_mode(order)).await.ok()?;
        let is_pinned = link.connection.connection_id == attempt.connection_id
            && link.connection.revision == attempt.connection_revision;
        let then = attempt.max_apply_delay.as_ref().and_then(time::from_proto_duration);
        let margin = is_pinned.then_some(then?.max(link.max_apply_delay()))? + self.config.lease_margin;
        let margin_ms = i64::try_from(margin.as_millis()).unwrap_or(i64::MAX);
        Some(time::to_unix_ms(attempt.not_after.as_ref()?).saturating_add(margin_ms))
    }

    fn is_late(&self, order: &Order) -> bool {
        order.deliver_by.as_ref().is_some_and(|by| time::until(by).is_zero())
    }

    async fn call_a_person(&self, tenant_id: &Arc<str>, order: Order, flag: &'static str) {
        let event = Event::PersonNeeded(flag);
        let due = |next: &Order| self.due(next);
        match self.ledger.apply(tenant_id, order, event, CheckChange::default(), due).await {
            Ok(Applied::Changed { order, .. }) => {
                tracing::error!(order.id = %order.order_id, store.id = %order.store_id, "an order needs a person: {flag}");
            }
            Ok(Applied::Unchanged(_)) => {}
            Err(error) => tracing::warn!(%error, "an order that needs a person could not be marked"),
        }
    }

    /// Ends an order that provably is not at the POS: it was taken back, or could not be delivered in time. The round
    /// that it lets go is sent.
    pub(crate) async fn end_unsent(&self, tenant_id: &Arc<str>, order: Order, event: Event) -> Result<Applied, Error> {
        let since = Instant::now();
        let check = self.check_change(&order, &Outcome::Absent, "");
        let mut applied = self.ledger.apply(tenant_id, order, event, check, |_| None).await?;
        if let Applied::Changed { order, next_round } = &mut applied {
            tracing::info!(order.id = %order.order_id, state = ?order.state(), cause = %order.cause, "ended unsent");
            self.send_next_round(tenant_id, next_round.take(), since).await;
        }
        Ok(applied)
    }
}

fn judge(answer: FindOrderResponse, connection_id: &str, asked_ms: i64, proof_ms: Option<i64>) -> Settled {
    match answer.result {
        Some(Found::Found(placed)) => Settled::Known(Outcome::Placed(Placed {
            evidence: with_connection(placed.evidence, connection_id),
            ..placed
        })),
        Some(Found::NotFound(absent)) if !absent.authoritative => {
            Settled::Unknown(Why::new(cause::UNKNOWN, "the POS shows no such order, but that proves nothing there"))
        }
        Some(Found::NotFound(_)) => match proof_ms {
            None => Settled::Unknown(Why::new(
                cause::MISCONFIGURED,
                "the POS has no such order, but the connection is not the one that it was sent over",
            )),
            Some(proof_ms) if asked_ms < proof_ms => {
                Settled::TooEarly(Duration::from_millis(u64::try_from(proof_ms - asked_ms).unwrap_or(0)))
            }
            Some(_) => Settled::Known(Outcome::Absent),
        },
        Some(Found::PartlyFound(part)) => {
            let message = format!("the POS lacks the lines {}", part.missing_line_ids.join(", "));
            Settled::Known(Outcome::Partly(Why::new("PARTLY_AT_POS", message)))
        }
        Some(Found::Cancelled(_)) => Settled::Unknown(Why::new(cause::UNKNOWN, "it was cancelled at the POS")),
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
        assert!(matches!(judge(absent(true), "c", 999, Some(1_000)), Settled::TooEarly(wait) if wait.as_millis() == 1));
        assert!(matches!(judge(absent(true), "c", 1_000, Some(1_000)), Settled::Known(Outcome::Absent)));
    }

    #[test]
    fn absence_at_another_pos_proves_nothing() {
        assert!(matches!(judge(absent(true), "c", 2_000, None), Settled::Unknown(_)));
    }

    #[test]
    fn absence_proves_nothing_where_the_pos_cannot_tell() {
        assert!(matches!(judge(absent(false), "c", 2_000, Some(1_000)), Settled::Unknown(_)));
    }
}
