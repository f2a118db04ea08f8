//! One write to a POS, and what its answer proves.

use std::time::Duration;

use posmesh_kit::{cause, failure, time};
use posmesh_proto::{
    adapter::v1::{PosTarget, SubmitOrderRequest, SubmitOrderResponse, submit_outcome},
    common::v1::Evidence,
    order::v1::{Attempt, Check, Order},
};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use super::{Dispatcher, service_mode};
use crate::domain::{
    lifecycle::{Outcome, Why},
    pos::to_pos_order,
};

/// What an attempt came to, and the connection that it ran on.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) connection_id: String,
}

impl Dispatcher {
    /// Carries out the order's last attempt, unless its time is over. `since` is when it was committed, or before.
    pub(super) async fn attempt(
        &self,
        order: &Order,
        check: Option<&Check>,
        guest_name: &str,
        since: Instant,
    ) -> Answer {
        let Some(attempt) = order.attempts.last() else {
            let outcome = Outcome::NotHandedOver(Why::new(cause::UNKNOWN, "no attempt was begun"));
            return Answer { outcome, connection_id: String::new() };
        };
        let connection_id = attempt.connection_id.clone();
        // A replica that was stopped for a while, or whose clock was set, must not write any more: by now another one
        // may own the order. The wall clock and the own elapsed time both count.
        let budget = self.budget(attempt, since);
        if budget.is_zero() {
            let why = Why::new(cause::NOT_AFTER_PASSED, "the attempt's time was over before it was sent");
            return Answer { outcome: Outcome::NotHandedOver(why), connection_id };
        }
        let mut request = Request::new(SubmitOrderRequest {
            target: Some(PosTarget {
                store_id: order.store_id.clone(),
                product: order.product,
                service_mode: service_mode(order).into(),
                connection_id: connection_id.clone(),
                ..PosTarget::default()
            }),
            context: None,
            order: Some(to_pos_order(order, check, guest_name)),
            attempt: attempt.number,
            not_after: attempt.not_after,
        });
        request.set_timeout(budget);
        match self.reader.adapter.clone().submit_order(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let used = if answer.connection_id.is_empty() { connection_id } else { answer.connection_id.clone() };
                Answer { outcome: classify(answer, &used), connection_id: used }
            }
            Err(status) => Answer { outcome: classify_error(&status), connection_id },
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
            Outcome::Placed(placed)
        }
        Some(Pos::Rejected(no)) => {
            let lines: Vec<String> =
                no.lines.iter().map(|l| format!("{}: {} {}", l.line_id, l.cause, l.message)).collect();
            let message = if lines.is_empty() { no.message } else { format!("{} ({})", no.message, lines.join("; ")) };
            Outcome::Rejected(Why::new(&no.cause, message))
        }
        Some(Pos::RefusedForNow(no)) => Outcome::RefusedForNow(Why::new(&no.cause, no.message)),
        Some(Pos::NotHandedOver(no)) => Outcome::NotHandedOver(Why::new(&no.cause, no.message)),
        Some(Pos::InDoubt(doubt)) => Outcome::InDoubt(Why::new(&doubt.cause, doubt.message)),
        // An answer of a newer contract: whatever it says, it is no proof to us.
        None => Outcome::InDoubt(Why::new(cause::UNKNOWN, "the adapter's answer says nothing that is known here")),
    }
}

/// Refusals of the router and of the adapter's server before they hand anything on.
const REFUSED_BEFORE: [&str; 4] =
    ["CONNECTION_NOT_FOUND", "CONTEXT_NOT_ALLOWED", "CONTEXT_MISSING", "SETTINGS_INVALID"];

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
pub(super) fn with_connection(evidence: Vec<Evidence>, connection_id: &str) -> Vec<Evidence> {
    evidence
        .into_iter()
        .map(|e| Evidence { connection_id: connection_id.to_owned(), time: e.time.or_else(|| Some(time::now())), ..e })
        .collect()
}

#[cfg(test)]
mod tests {
    use posmesh_kit::Failure;
    use posmesh_proto::adapter::v1::SubmitOutcome;

    use super::*;

    #[test]
    fn a_failed_call_is_in_doubt_unless_it_proves_that_nothing_was_handed_over() {
        let proven = Status::from(Failure::not_handed_over(cause::ADAPTER_DOWN, "nobody there"));
        assert!(matches!(classify_error(&proven), Outcome::NotHandedOver(why) if why.cause == cause::ADAPTER_DOWN));
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
    }
}
