//! How a call ends that did not succeed, in types that let `?` keep the promises of the contract.

use std::time::Duration;

use posmesh_kit::{Failure, cause, time};
use posmesh_proto::adapter::v1::{
    ChangeOutcome, Changed, InDoubt, LineProblem, NotFound, NotHandedOver, Placed, RefusedForNow, Rejected,
    SubmitOutcome, change_outcome, submit_outcome,
};

use crate::SettingsError;

/// Why an order is not known to be placed. Whatever an adapter cannot classify by proof is [`Unplaced::in_doubt`].
#[derive(Debug, Clone, PartialEq)]
pub enum Unplaced {
    /// The POS does not have it and will not take it.
    Rejected(Rejected),
    /// The POS answered that it does not take it now.
    RefusedForNow(RefusedForNow),
    /// Proven that no byte of the order reached the POS.
    NotHandedOver(NotHandedOver),
    /// Nobody knows whether the POS has it.
    InDoubt(InDoubt),
}

impl Unplaced {
    /// The POS said no, for good. `cause` is one of [`posmesh_kit::cause`].
    pub fn rejected(cause: &str, message: impl Into<String>) -> Self {
        Self::rejected_lines(cause, message, Vec::new())
    }

    /// The POS said no because of these lines.
    pub fn rejected_lines(cause: &str, message: impl Into<String>, lines: Vec<LineProblem>) -> Self {
        Self::Rejected(Rejected { cause: cause.to_owned(), message: message.into(), lines })
    }

    /// The POS said: not now. `retry_after` where it told when.
    pub fn refused_for_now(cause: &str, message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let retry_after = retry_after.map(time::to_proto_duration);
        Self::RefusedForNow(RefusedForNow { cause: cause.to_owned(), message: message.into(), retry_after })
    }

    /// Nothing of the order was sent, and that is proven.
    pub fn not_handed_over(cause: &str, message: impl Into<String>) -> Self {
        Self::NotHandedOver(NotHandedOver { cause: cause.to_owned(), message: message.into(), retry_after: None })
    }

    /// The order was sent, or may have been.
    pub fn in_doubt(cause: &str, message: impl Into<String>) -> Self {
        Self::InDoubt(InDoubt { cause: cause.to_owned(), message: message.into() })
    }
}

impl From<SettingsError> for Unplaced {
    fn from(error: SettingsError) -> Self {
        Self::not_handed_over(cause::MISCONFIGURED, error.to_string())
    }
}

/// Why a change of an order, or of a check, is not known to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Unchanged {
    /// The POS was asked and has no such order. `authoritative` as in a find.
    NotFound(NotFound),
    /// As for a submit: what the POS said, or what is known of the way to it.
    Attempt(Unplaced),
}

impl Unchanged {
    /// This POS, or its adapter, cannot do this. Nothing was sent.
    pub fn not_supported(what: &str) -> Self {
        Unplaced::rejected(cause::NOT_SUPPORTED, cannot(what)).into()
    }
}

impl From<Unplaced> for Unchanged {
    fn from(unplaced: Unplaced) -> Self {
        Self::Attempt(unplaced)
    }
}

impl From<SettingsError> for Unchanged {
    fn from(error: SettingsError) -> Self {
        Self::Attempt(error.into())
    }
}

fn cannot(what: &str) -> String {
    format!("this POS cannot {what}")
}

pub(crate) fn submitted(result: Result<Placed, Unplaced>) -> SubmitOutcome {
    use submit_outcome::Outcome;
    let outcome = match result {
        Ok(placed) => Outcome::Placed(placed),
        Err(Unplaced::Rejected(rejected)) => Outcome::Rejected(rejected),
        Err(Unplaced::RefusedForNow(refused)) => Outcome::RefusedForNow(refused),
        Err(Unplaced::NotHandedOver(proof)) => Outcome::NotHandedOver(proof),
        Err(Unplaced::InDoubt(doubt)) => Outcome::InDoubt(doubt),
    };
    SubmitOutcome { outcome: Some(outcome) }
}

pub(crate) fn changed(result: Result<Changed, Unchanged>) -> ChangeOutcome {
    use change_outcome::Outcome;
    let outcome = match result {
        Ok(changed) => Outcome::Changed(changed),
        Err(Unchanged::NotFound(not_found)) => Outcome::NotFound(not_found),
        Err(Unchanged::Attempt(Unplaced::Rejected(rejected))) => Outcome::Rejected(rejected),
        Err(Unchanged::Attempt(Unplaced::RefusedForNow(refused))) => Outcome::RefusedForNow(refused),
        Err(Unchanged::Attempt(Unplaced::NotHandedOver(proof))) => Outcome::NotHandedOver(proof),
        Err(Unchanged::Attempt(Unplaced::InDoubt(doubt))) => Outcome::InDoubt(doubt),
    };
    ChangeOutcome { outcome: Some(outcome) }
}

/// Why anything but a submit came to nothing.
#[derive(Debug, Clone)]
pub enum PosError {
    /// The POS could not be asked, or said no. Becomes `failed` in the answer (OFFLINE in a probe's).
    Failed {
        /// One of [`posmesh_kit::cause`].
        cause: String,
        /// The vendor's own words, for staff and logs.
        message: String,
    },
    /// The call itself is wrong, or failed within the adapter. Becomes a gRPC error.
    Call(Failure),
}

impl PosError {
    /// The POS could not be asked, or said no. `cause` is one of [`posmesh_kit::cause`].
    pub fn failed(cause: &str, message: impl Into<String>) -> Self {
        Self::Failed { cause: cause.to_owned(), message: message.into() }
    }

    /// This adapter, or the POS behind it, cannot do this.
    pub fn not_supported(what: &str) -> Self {
        Self::failed(cause::NOT_SUPPORTED, cannot(what))
    }
}

impl From<SettingsError> for PosError {
    fn from(error: SettingsError) -> Self {
        Self::Call(error.into())
    }
}

impl From<Failure> for PosError {
    fn from(failure: Failure) -> Self {
        Self::Call(failure)
    }
}
