//! One write to a POS, and what its answer proves.

use std::time::Duration;

use posmesh_kit::{cause, failure, time};
use posmesh_proto::{
    adapter::v1::{
        CancelOrderRequest, ChangeOutcome, SubmitOrderRequest, SubmitOrderResponse, VoidLinesRequest, change_outcome,
        submit_outcome,
    },
    common::v1::Evidence,
    order::v1::{Attempt, AttemptKind, Check, Order, OrderChange},
};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use super::Dispatcher;
use crate::domain::{
    lifecycle::{Outcome, Why, ordinal},
    pos::{is_where_it_was_sent, to_pos_facts, to_pos_order, to_pos_voids, to_target},
};

impl Dispatcher {
    /// Carries out an attempt of the order, unless its time is over. `since` is when it was committed, or before.
    pub(super) async fn attempt(
        &self,
        order: &Order,
        attempt: &Attempt,
        check: Option<&Check>,
        guest_name: &str,
        since: Instant,
    ) -> Outcome {
        // A replica that was stopped for a while, or whose clock was set, must not write any more: by now another one
        // may own the order. The wall clock and the own elapsed time both count.
        let budget = self.budget(attempt, since);
        if budget.is_zero() {
            let why = Why::new(cause::NOT_AFTER_PASSED, "the attempt's time was over before it was sent");
            return Outcome::NotHandedOver(why);
        }
        let change = order.changes.iter().find(|change| change.change_id == attempt.change_id);
        match (attempt.kind(), change) {
            (AttemptKind::Cancel, Some(change)) => self.cancel(order, attempt, change, check, budget).await,
            (AttemptKind::VoidLines, Some(change)) => self.void_lines(order, attempt, change, check, budget).await,
            (AttemptKind::Submit | AttemptKind::Unspecified | AttemptKind::Divert | AttemptKind::Enter, _) => {
                self.submit(order, attempt, check, guest_name, budget).await
            }
            (AttemptKind::Cancel | AttemptKind::VoidLines, None) => {
                Outcome::NotHandedOver(Why::new(cause::UNKNOWN, "there is no wish to carry out"))
            }
        }
    }

    async fn submit(
        &self,
        order: &Order,
        attempt: &Attempt,
        check: Option<&Check>,
        guest_name: &str,
        budget: Duration,
    ) -> Outcome {
        let mut request = Request::new(SubmitOrderRequest {
            target: Some(to_target(order, attempt)),
            context: None,
            order: Some(to_pos_order(order, check, guest_name, attempt)),
            attempt: ordinal(order, attempt),
            not_after: attempt.not_after,
        });
        request.set_timeout(budget);
        match self.reader.adapter.clone().submit_order(request).await {
            Ok(answer) => classify(answer.into_inner(), &attempt.connection_id),
            Err(status) => classify_error(&status),
        }
    }

    async fn cancel(
        &self,
        order: &Order,
        attempt: &Attempt,
        change: &OrderChange,
        check: Option<&Check>,
        budget: Duration,
    ) -> Outcome {
        let mut request = Request::new(CancelOrderRequest {
            target: Some(to_target(order, attempt)),
            context: None,
            order: Some(to_pos_facts(order, check, attempt)),
            change_reference: change.change_id.clone(),
            attempt: ordinal(order, attempt),
            not_after: attempt.not_after,
            reason: change.reason.clone(),
        });
        request.set_timeout(budget);
        match self.reader.adapter.clone().cancel_order(request).await {
            Ok(answer) => classify_change(answer.into_inner().outcome, is_where_it_was_sent(order, attempt)),
            Err(status) => classify_error(&status),
        }
    }

    async fn void_lines(
        &self,
        order: &Order,
        attempt: &Attempt,
        change: &OrderChange,
        check: Option<&Check>,
        budget: Duration,
    ) -> Outcome {
        let mut request = Request::new(VoidLinesRequest {
            target: Some(to_target(order, attempt)),
            context: None,
            order: Some(to_pos_facts(order, check, attempt)),
            change_reference: change.change_id.clone(),
            attempt: ordinal(order, attempt),
            not_after: attempt.not_after,
            reason: change.reason.clone(),
            lines: to_pos_voids(change),
        });
        request.set_timeout(budget);
        match self.reader.adapter.clone().void_lines(request).await {
            Ok(answer) => classify_change(answer.into_inner().outcome, is_where_it_was_sent(order, attempt)),
            Err(status) => classify_error(&status),
        }
    }

    fn budget(&self, attempt: &Attempt, since: Instant) -> Duration {
        let by_own_clock = self.config.attempt_timeout.saturating_sub(since.elapsed());
        let by_wall_clock = attempt.not_after.as_ref().map(time::until).unwrap_or_default();
        by_own_clock.min(by_wall_clock)
    }
}

fn classify(answer: SubmitOrderResponse, connection_id: &str) -> Outcome {
    use submit_outcome::Outcome as Pos;
    match answer.outcome.and_then(|o| o.outcome) {
        Some(Pos::Placed(mut placed)) => {
            placed.evidence = with_connection(placed.evidence, connection_id);
            Outcome::Placed(Box::new(placed))
        }
        Some(Pos::Rejected(no)) => {
            let lines: Vec<String> =
                no.lines.iter().map(|l| format!("{}: {} {}", l.line_id, l.cause, l.message)).collect();
            let message = if lines.is_empty() { no.message } else { format!("{} ({})", no.message, lines.join("; ")) };
            Outcome::Rejected(Why::new(&no.cause, message))
        }
        Some(Pos::RefusedForNow(no)) => {
            let retry_after = no.retry_after.as_ref().and_then(time::from_proto_duration);
            Outcome::RefusedForNow(Why::new(&no.cause, no.message), retry_after)
        }
        Some(Pos::NotHandedOver(no)) => Outcome::NotHandedOver(Why::new(&no.cause, no.message)),
        Some(Pos::InDoubt(doubt)) => Outcome::InDoubt(Why::new(&doubt.cause, doubt.message)),
        // An answer of a newer contract: whatever it says, it is no proof to us.
        None => Outcome::InDoubt(Why::new(cause::UNKNOWN, "the adapter's answer says nothing that is known here")),
    }
}

/// What the answer to a cancel or void proves. That there is no such order proves something only at the POS that the
/// order was sent to.
fn classify_change(outcome: Option<ChangeOutcome>, is_where_it_was_sent: bool) -> Outcome {
    use change_outcome::Outcome as Pos;
    match outcome.and_then(|o| o.outcome) {
        Some(Pos::Changed(changed)) => Outcome::Changed(changed),
        Some(Pos::Rejected(no)) => Outcome::Rejected(Why::new(&no.cause, no.message)),
        Some(Pos::RefusedForNow(no)) => {
            let retry_after = no.retry_after.as_ref().and_then(time::from_proto_duration);
            Outcome::RefusedForNow(Why::new(&no.cause, no.message), retry_after)
        }
        Some(Pos::NotHandedOver(no)) => Outcome::NotHandedOver(Why::new(&no.cause, no.message)),
        Some(Pos::NotFound(absent)) if absent.authoritative && is_where_it_was_sent => Outcome::Gone,
        Some(Pos::NotFound(_)) => {
            Outcome::InDoubt(Why::new(cause::UNKNOWN, "the POS shows no such order, but that proves nothing there"))
        }
        Some(Pos::InDoubt(doubt)) => Outcome::InDoubt(Why::new(&doubt.cause, doubt.message)),
        None => Outcome::InDoubt(Why::new(cause::UNKNOWN, "the adapter's answer says nothing that is known here")),
    }
}

/// Refusals of the router and of the adapter's server before they hand anything on.
const REFUSED_BEFORE: [&str; 5] =
    ["CONNECTION_NOT_FOUND", "CONTEXT_NOT_ALLOWED", "CONTEXT_MISSING", "SETTINGS_INVALID", REVISION_CHANGED];

/// The connection was changed since the attempt began, or since the order was sent.
pub(super) const REVISION_CHANGED: &str = "REVISION_CHANGED";

/// A failed call proves nothing, unless it says so itself.
fn classify_error(status: &Status) -> Outcome {
    if REFUSED_BEFORE.contains(&failure::reason(status).as_str()) {
        return Outcome::NotHandedOver(Why::new(cause::MISCONFIGURED, status.message()));
    }
    if failure::is_not_handed_over(status) {
        let cause = failure::metadata(status, "cause").unwrap_or_else(|| cause::RATE_LIMITED.to_owned());
        return Outcome::NotHandedOver(Why::new(&cause, status.message()));
    }
    let cause = match status.code() {
        Code::DeadlineExceeded => cause::TIMED_OUT,
        Code::Unavailable | Code::Cancelled | Code::Unknown => cause::NETWORK_DOWN,
        _ => cause::UNKNOWN,
    };
    Outcome::InDoubt(Why::new(cause, format!("{:?}: {}", status.code(), status.message())))
}

/// Evidence as it is kept: with the connection that it came over, and a time.
pub(crate) fn with_connection(evidence: Vec<Evidence>, connection_id: &str) -> Vec<Evidence> {
    evidence
        .into_iter()
        .map(|e| Evidence { connection_id: connection_id.to_owned(), time: e.time.or_else(|| Some(time::now())), ..e })
        .collect()
}

#[cfg(test)]
mod tests {
    use posmesh_kit::Failure;
    use posmesh_proto::adapter::v1::{NotFound, SubmitOutcome};

    use super::*;

    #[test]
    fn a_failed_call_is_in_doubt_unless_it_proves_that_nothing_was_handed_over() {
        let proven = Status::from(Failure::not_handed_over(cause::ADAPTER_DOWN, "nobody there"));
        assert!(matches!(classify_error(&proven), Outcome::NotHandedOver(why) if why.cause == cause::ADAPTER_DOWN));
        let changed = Status::from(Failure::new(Code::FailedPrecondition, REVISION_CHANGED, "it has revision 2"));
        assert!(matches!(classify_error(&changed), Outcome::NotHandedOver(_)));
        for code in [Code::Unavailable, Code::Cancelled, Code::Unknown, Code::Internal, Code::DeadlineExceeded] {
            assert!(matches!(classify_error(&Status::new(code, "x")), Outcome::InDoubt(_)), "{code:?}");
        }
    }

    #[test]
    fn an_answer_that_is_not_understood_is_in_doubt() {
        for outcome in [None, Some(SubmitOutcome { outcome: None })] {
            let answer = SubmitOrderResponse { outcome, ..SubmitOrderResponse::default() };
            assert!(matches!(classify(answer, "c"), Outcome::InDoubt(_)));
        }
        for outcome in [None, Some(ChangeOutcome { outcome: None })] {
            assert!(matches!(classify_change(outcome, true), Outcome::InDoubt(_)));
        }
    }

    #[test]
    fn that_there_is_nothing_to_cancel_proves_something_only_from_the_right_pos_and_with_authority() {
        let absent = |authoritative| {
            let absent = change_outcome::Outcome::NotFound(NotFound { authoritative });
            Some(ChangeOutcome { outcome: Some(absent) })
        };
        assert_eq!(classify_change(absent(true), true), Outcome::Gone);
        assert!(matches!(classify_change(absent(true), false), Outcome::InDoubt(_)));
        assert!(matches!(classify_change(absent(false), true), Outcome::InDoubt(_)));
    }
}
