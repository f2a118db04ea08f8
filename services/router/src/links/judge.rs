//! What an adapter's answer tells of a link. Nothing that it says is believed beyond its form.

use std::time::Duration;

use posmesh_kit::{
    cause::{self, Scope},
    failure, time,
};
use posmesh_proto::adapter::v1::{
    ChangeOutcome, LinkHealth, ProbeLinkResponse, SubmitOrderResponse, change_outcome, submit_outcome,
};
use tonic::{Code, Status};

use crate::domain::link::{Fault, Seen, Weight};

const MAX_MESSAGE_CHARS: usize = 500;
const MAX_VERSION_CHARS: usize = 100;
const MAX_CAUSE_BYTES: usize = 64;
/// No POS takes so long; whoever says so has a broken clock.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// A probe for which nobody had a turn is made again after this, or when it was told, but not too late.
const NO_TURN: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const ADAPTER: &str = "adapter";
const POS: &str = "pos";

/// What came of a probe of a connection; or, where nobody had a turn for it, how long to wait before the next one.
pub(crate) fn probe(answer: Result<ProbeLinkResponse, Status>, connection_id: &str) -> Result<Seen, Duration> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) => return probe_failed(&status),
    };
    if !answer.connection_id.is_empty() && answer.connection_id != connection_id {
        let message = format!("the adapter answered for the connection {:?}", shortened(&answer.connection_id, 64));
        return Ok(failed(ADAPTER, cause::MISCONFIGURED, &message, Weight::Told));
    }
    match answer.health() {
        LinkHealth::Online | LinkHealth::Degraded => {
            let is_degraded = answer.health() == LinkHealth::Degraded;
            let latency = answer.pos_latency.as_ref().and_then(time::from_proto_duration);
            Ok(Seen::Well {
                degraded: is_degraded.then(|| fault(&answer.failing_hop, &answer.cause, &answer.message)),
                latency: latency.filter(|latency| *latency <= MAX_LATENCY),
                version: shortened(&answer.pos_version, MAX_VERSION_CHARS),
            })
        }
        LinkHealth::Offline => match answer.cause.as_str() {
            cause::NOT_SUPPORTED => Ok(Seen::NotAskable),
            cause::RATE_LIMITED => Err(NO_TURN),
            cause::TIMED_OUT => Ok(failed(&answer.failing_hop, &answer.cause, &answer.message, Weight::Lost)),
            cause => Ok(failed(&answer.failing_hop, cause, &answer.message, Weight::Told)),
        },
        LinkHealth::Unspecified => {
            let message = format!("the adapter's answer makes no sense: health {}", answer.health);
            Ok(failed(ADAPTER, cause::UNKNOWN, &message, Weight::Told))
        }
    }
}

/// No instance is alive that could be asked.
pub(crate) fn no_adapter(vendor: &str) -> Seen {
    let message = format!("no instance of the adapter {vendor:?} is alive that serves the connection");
    failed(ADAPTER, cause::ADAPTER_DOWN, &message, Weight::Told)
}

/// A probe that nobody answered in time.
pub(crate) fn no_answer() -> Seen {
    failed(ADAPTER, cause::TIMED_OUT, "the adapter did not answer a probe in time", Weight::Lost)
}

fn probe_failed(status: &Status) -> Result<Seen, Duration> {
    if status.code() == Code::Unimplemented {
        return Ok(Seen::NotAskable);
    }
    if matches!(status.code(), Code::DeadlineExceeded) {
        return Ok(no_answer());
    }
    let reason = failure::reason(status);
    let told = |hop, cause: &str| Ok(failed(hop, cause, status.message(), Weight::Told));
    match reason.as_str() {
        "SETTINGS_INVALID" | "CONTEXT_MISSING" => told("platform", cause::MISCONFIGURED),
        failure::OVERLOADED => Ok(failed(ADAPTER, cause::ADAPTER_DOWN, status.message(), Weight::Lost)),
        "ADAPTER_CONNECTION_LOST" => Ok(failed(ADAPTER, cause::ADAPTER_DOWN, status.message(), Weight::Lost)),
        failure::NOT_HANDED_OVER => match failure::metadata(status, "cause").as_deref() {
            Some(cause::RATE_LIMITED) => Err(retry_after(status)),
            cause => told(ADAPTER, cause.unwrap_or(cause::UNKNOWN)),
        },
        _ => told(ADAPTER, cause::UNKNOWN),
    }
}

fn retry_after(status: &Status) -> Duration {
    failure::retry_after(status).unwrap_or_default().clamp(NO_TURN, LONGEST_PAUSE)
}

/// What came of a write that was forwarded; `of_answer` judges what the adapter answered.
pub(crate) fn call<A>(result: Result<&A, &Status>, of_answer: impl FnOnce(&A) -> Option<Seen>) -> Option<Seen> {
    let status = match result {
        Ok(answer) => return of_answer(answer),
        Err(status) => status,
    };
    let reason = failure::reason(status);
    if reason == failure::NOT_HANDED_OVER {
        let cause = failure::metadata(status, "cause").unwrap_or_default();
        let is_of_link = cause::scope(&cause) == Scope::Link;
        return is_of_link.then(|| failed(ADAPTER, &cause, status.message(), Weight::Call));
    }
    let cause = match (status.code(), reason.as_str()) {
        (_, "SETTINGS_INVALID") => cause::MISCONFIGURED,
        (Code::DeadlineExceeded, _) => cause::TIMED_OUT,
        (_, "OUTCOME_UNKNOWN") => cause::ADAPTER_DOWN,
        (Code::Internal | Code::Unknown, _) => cause::UNKNOWN,
        // The call was wrong, or came at a bad moment.
        _ => return None,
    };
    Some(failed(ADAPTER, cause, status.message(), Weight::Call))
}

/// What the POS made of an order.
pub(crate) fn submitted(answer: &SubmitOrderResponse) -> Option<Seen> {
    use submit_outcome::Outcome;
    let outcome = answer.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref());
    // Without the POS's time a refusal is the adapter's own: that the POS works is not proven.
    let refused = |cause: &str, message: &str| {
        said_no(cause, message).filter(|seen| *seen != Seen::Worked || answer.pos_latency.is_some())
    };
    match outcome {
        Some(Outcome::Placed(_)) => Some(Seen::Worked),
        Some(Outcome::Rejected(no)) => refused(&no.cause, &no.message),
        Some(Outcome::RefusedForNow(no)) => refused(&no.cause, &no.message),
        Some(Outcome::NotHandedOver(not)) => not_handed_over(&not.cause, &not.message),
        Some(Outcome::InDoubt(doubt)) => Some(failed(POS, &doubt.cause, &doubt.message, Weight::Call)),
        None => Some(failed(ADAPTER, cause::UNKNOWN, "the adapter's answer makes no sense: no outcome", Weight::Call)),
    }
}

/// What the POS made of a change of an order.
pub(crate) fn changed(outcome: Option<&ChangeOutcome>) -> Option<Seen> {
    use change_outcome::Outcome;
    match outcome.and_then(|outcome| outcome.outcome.as_ref())? {
        // That it takes changes does not prove that it takes orders.
        Outcome::Changed(_) | Outcome::NotFound(_) => None,
        Outcome::Rejected(no) => said_no(&no.cause, &no.message).filter(|seen| *seen != Seen::Worked),
        Outcome::RefusedForNow(no) => said_no(&no.cause, &no.message).filter(|seen| *seen != Seen::Worked),
        Outcome::NotHandedOver(not) => not_handed_over(&not.cause, &not.message),
        Outcome::InDoubt(doubt) => Some(failed(POS, &doubt.cause, &doubt.message, Weight::Call)),
    }
}

fn said_no(cause: &str, message: &str) -> Option<Seen> {
    match cause::scope(cause) {
        Scope::Link => Some(failed(POS, cause, message, Weight::Call)),
        Scope::Check | Scope::Order => Some(Seen::Worked),
        Scope::Call => None,
    }
}

fn not_handed_over(cause: &str, message: &str) -> Option<Seen> {
    (cause::scope(cause) == Scope::Link).then(|| failed(POS, cause, message, Weight::Call))
}

pub(crate) fn failed(hop: &str, cause: &str, message: &str, weight: Weight) -> Seen {
    Seen::Failed { fault: fault(hop, cause, message), weight }
}

/// A fault in the form that it may have, whatever was said.
pub(crate) fn fault(hop: &str, cause: &str, message: &str) -> Fault {
    let is_cause = |c: &str| {
        (1..=MAX_CAUSE_BYTES).contains(&c.len())
            && c.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let cause = if is_cause(cause) { cause } else { cause::UNKNOWN };
    let hop = match hop {
        "platform" | ADAPTER | "relay" | POS | "printer" => hop,
        _ if cause::is_of_printer(cause) => "printer",
        _ => POS,
    };
    // What was reached through the POS's own answer to an order: the printer is told by its cause.
    let hop = if hop == POS && cause::is_of_printer(cause) { "printer" } else { hop };
    Fault::new(hop, cause, shortened(message, MAX_MESSAGE_CHARS))
}

fn shortened(text: &str, chars: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars).collect()
}

#[cfg(test)]
mod tests {
    use posmesh_kit::Failure;
    use posmesh_proto::adapter::v1::{InDoubt, NotHandedOver, Placed, RefusedForNow, Rejected, SubmitOutcome};
    use submit_outcome::Outcome;

    use super::*;

    fn answer(health: i32, cause: &str) -> Result<ProbeLinkResponse, Status> {
        Ok(ProbeLinkResponse { health, cause: cause.into(), failing_hop: POS.into(), ..ProbeLinkResponse::default() })
    }

    fn weight(seen: impl IntoIterator<Item = Seen>) -> Option<(Weight, String)> {
        match seen.into_iter().next() {
            Some(Seen::Failed { fault, weight }) => Some((weight, format!("{} {}", fault.hop, fault.cause))),
            _ => None,
        }
    }

    #[test]
    fn a_probe_that_answers_nonsense_or_for_another_store_is_a_failure() {
        let told = |text: &str| Some((Weight::Told, text.to_owned()));
        assert_eq!(weight(probe(answer(0, ""), "c")), told("adapter UNKNOWN"));
        assert_eq!(weight(probe(answer(77, ""), "c")), told("adapter UNKNOWN"));
        let other = ProbeLinkResponse { health: 1, connection_id: "d".into(), ..ProbeLinkResponse::default() };
        assert_eq!(weight(probe(Ok(other), "c")), told("adapter MISCONFIGURED"));
        assert_eq!(weight(probe(answer(3, "no such\ncause"), "c")), told("pos UNKNOWN"));
        let settings = Failure::field("SETTINGS_INVALID", "context.settings_json", "no url").into();
        assert_eq!(weight(probe(Err(settings), "c")), told("platform MISCONFIGURED"));
        assert_eq!(weight(probe(Err(Status::internal("a fault")), "c")), told("adapter UNKNOWN"));
    }

    #[test]
    fn a_probe_that_is_lost_weighs_less_than_one_that_is_refused_and_one_without_a_turn_nothing() {
        assert_eq!(weight(probe(answer(3, cause::TIMED_OUT), "c")), Some((Weight::Lost, "pos TIMED_OUT".into())));
        assert_eq!(weight(probe(answer(3, cause::NETWORK_DOWN), "c")), Some((Weight::Told, "pos NETWORK_DOWN".into())));
        let late = probe(Err(Status::deadline_exceeded("")), "c");
        assert_eq!(weight(late), Some((Weight::Lost, "adapter TIMED_OUT".into())));
        let no_turn = Failure::not_handed_over(cause::RATE_LIMITED, "its limits");
        assert_eq!(probe(answer(3, cause::NOT_SUPPORTED), "c"), Ok(Seen::NotAskable));
        let turned_away = |failure: Failure| probe(Err(failure.into()), "c");
        let seconds = Duration::from_secs;
        assert_eq!(turned_away(no_turn.clone()), Err(seconds(1)));
        assert_eq!(turned_away(no_turn.clone().retry_after(seconds(7))), Err(seconds(7)));
        assert_eq!(turned_away(no_turn.retry_after(seconds(86_400))), Err(seconds(60)));
        assert_eq!(probe(answer(3, cause::RATE_LIMITED), "c"), Err(seconds(1)));
    }

    #[test]
    fn what_becomes_of_an_order_tells_of_the_link_by_the_scope_of_its_cause() {
        let judged = |outcome| {
            let outcome = Some(SubmitOutcome { outcome: Some(outcome) });
            let pos_latency = Some(prost_types::Duration::default());
            submitted(&SubmitOrderResponse { outcome, pos_latency, ..SubmitOrderResponse::default() })
        };
        let rejected = |cause: &str| judged(Outcome::Rejected(Rejected { cause: cause.into(), ..Rejected::default() }));
        assert_eq!(judged(Outcome::Placed(Placed::default())), Some(Seen::Worked));
        assert_eq!(rejected(cause::ITEM_SOLD_OUT), Some(Seen::Worked));
        assert_eq!(rejected(cause::CHECK_NOT_FOUND), Some(Seen::Worked));
        assert_eq!(rejected("SOMETHING_NEW"), None);
        let by_the_adapter =
            Outcome::Rejected(Rejected { cause: cause::CHECK_NOT_FOUND.into(), ..Rejected::default() });
        let outcome = Some(SubmitOutcome { outcome: Some(by_the_adapter) });
        assert_eq!(submitted(&SubmitOrderResponse { outcome, ..SubmitOrderResponse::default() }), None);
        let call = |text: &str| Some((Weight::Call, text.to_owned()));
        assert_eq!(weight(rejected(cause::CREDENTIALS_REJECTED)), call("pos CREDENTIALS_REJECTED"));
        let refused =
            Outcome::RefusedForNow(RefusedForNow { cause: cause::PRINTER_OFFLINE.into(), ..Default::default() });
        assert_eq!(weight(judged(refused)), call("printer PRINTER_OFFLINE"));
        let doubt = Outcome::InDoubt(InDoubt { cause: "???".into(), ..Default::default() });
        assert_eq!(weight(judged(doubt)), call("pos UNKNOWN"));
        let busy = NotHandedOver { cause: cause::RATE_LIMITED.into(), ..Default::default() };
        assert_eq!(judged(Outcome::NotHandedOver(busy)), None);
        assert_eq!(weight(submitted(&SubmitOrderResponse::default())), call("adapter UNKNOWN"));
    }
}
