//! What a failed call says about the adapter, and how it is told on.

use std::error::Error as _;

use posmesh_kit::{Failure, call, cause, failure};
use tonic::{Code, Status, TimeoutExpired};

/// What a failed call on an instance says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The instance answered with an error: it lives.
    Answered,
    /// Proven that it did not get the call: it could not be reached, or it shuts down.
    NotSent,
    /// The connection broke after the call was sent.
    Broken,
    /// It did not answer before the caller's deadline.
    NoAnswer,
}

pub(crate) fn verdict(status: &Status) -> Verdict {
    let reason = failure::reason(status);
    if reason == failure::NOT_HANDED_OVER {
        // Other causes are the adapter's own answer (its limits, say). A POS that cannot be reached is an outcome, never
        // an error with this reason, so NETWORK_DOWN here is our own channel's.
        let cause = failure::metadata(status, "cause").unwrap_or_default();
        let is_gone = cause == cause::NETWORK_DOWN || cause == cause::ADAPTER_DOWN;
        return if is_gone { Verdict::NotSent } else { Verdict::Answered };
    }
    if status.code() == Code::DeadlineExceeded || is_timeout(status) {
        return Verdict::NoAnswer;
    }
    // An error that came over the wire has no source; one of the connection has. A proxy on the way that lost the adapter
    // says UNAVAILABLE without a reason of ours.
    let from_proxy = reason.is_empty() && status.code() == Code::Unavailable;
    if status.source().is_some() || from_proxy { Verdict::Broken } else { Verdict::Answered }
}

/// The transport's own deadline, here or at the adapter: it may end a call just before ours does, and says CANCELLED.
fn is_timeout(status: &Status) -> bool {
    let expired = std::iter::successors(status.source(), |e| (*e).source()).any(|e| e.is::<TimeoutExpired>());
    expired || (status.code() == Code::Cancelled && status.source().is_none())
}

/// A call that was not answered in time.
pub(crate) fn no_answer() -> Status {
    call::deadline_exceeded("the call to the adapter")
}

/// An adapter's error as the router's own answer: what its connection carried besides stays behind.
pub(crate) fn relayed(status: &Status) -> Status {
    Status::with_details(status.code(), status.message(), status.details().to_vec().into())
}

/// A write whose connection broke.
pub(crate) fn in_doubt(status: &Status) -> Status {
    let message =
        format!("the connection to the adapter broke; whether it was written is unknown: {}", status.message());
    Failure::new(Code::Unknown, "OUTCOME_UNKNOWN", message).into()
}

/// A read whose connection broke, everywhere it was tried.
pub(crate) fn read_failed(status: &Status) -> Status {
    let message = format!("the connection to the adapter broke: {}", status.message());
    Failure::new(Code::Unavailable, "ADAPTER_CONNECTION_LOST", message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_adapter_that_is_gone_loses_its_calls_to_another() {
        let not_handed_over = |cause| verdict(&Failure::not_handed_over(cause, "x").into());
        assert_eq!(not_handed_over(cause::NETWORK_DOWN), Verdict::NotSent);
        assert_eq!(not_handed_over(cause::ADAPTER_DOWN), Verdict::NotSent);
        assert_eq!(not_handed_over(cause::RATE_LIMITED), Verdict::Answered);
        let shed = Failure::new(Code::ResourceExhausted, failure::OVERLOADED, "x");
        assert_eq!(verdict(&shed.into()), Verdict::Answered);
        assert_eq!(verdict(&Status::internal("a fault of the adapter")), Verdict::Answered);
        assert_eq!(verdict(&Status::unknown("an exception in another language")), Verdict::Answered);
        assert_eq!(verdict(&Status::unavailable("upstream connect error")), Verdict::Broken);
        assert_eq!(verdict(&Status::from_error(Box::new(std::io::Error::other("reset")))), Verdict::Broken);
        assert_eq!(verdict(&Status::deadline_exceeded("")), Verdict::NoAnswer);
        assert_eq!(verdict(&Status::cancelled("Timeout expired")), Verdict::NoAnswer);
        assert_eq!(verdict(&Status::from_error(Box::new(TimeoutExpired(())))), Verdict::NoAnswer);
    }

    #[test]
    fn a_broken_write_is_never_told_as_not_handed_over() {
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert!(!failure::is_not_handed_over(&in_doubt(&broken)));
        assert_eq!(failure::reason(&in_doubt(&broken)), "OUTCOME_UNKNOWN");
    }
}
