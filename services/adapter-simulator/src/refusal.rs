//! The vendor's causes in the shared vocabulary, and what a refused submit means.

use std::time::Duration;

use posmesh_adapter_kit::{PosError, Unplaced};
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{LineProblem, PosOrder};

use crate::wire::Refusal;

/// The shared cause. One that this adapter does not know is passed on: fault rules name shared ones.
pub(crate) fn shared_cause(refusal: &Refusal) -> &str {
    match refusal.cause.as_str() {
        "UNAUTHORIZED" => cause::CREDENTIALS_REJECTED,
        "PATH_UNKNOWN" => cause::MISCONFIGURED,
        "CHECK_CLOSED" | "CHECK_AMBIGUOUS" | "CHECK_MERGED" => cause::CHECK_NOT_FOUND,
        "EXPIRED" => cause::NOT_AFTER_PASSED,
        "STOPPING" => cause::POS_APP_NOT_RUNNING,
        "ITEM_UNKNOWN"
        | "ITEM_NOT_FOR_TAKEAWAY"
        | "MODIFIER_UNKNOWN"
        | "MODIFIER_COUNT"
        | "MASTER_BROKEN"
        | "TABLE_UNKNOWN"
        | "TABLE_MISMATCH"
        | "TENDER_UNKNOWN"
        | "TENDER_MISMATCH"
        | "PRICE_CHANGED"
        | "LINE_UNKNOWN" => cause::MASTER_MISMATCH,
        "TEXT_NOT_PRINTABLE" => cause::TEXT_NOT_REPRESENTABLE,
        "INVALID_REQUEST"
        | "BODY_TOO_LARGE"
        | "REFERENCE_REUSED"
        | "REFERENCE_AMBIGUOUS"
        | "ORDER_CANCELLED"
        | "ORDER_NOT_FOUND"
        | "TICKET_NOT_FOUND" => {
            if is_about_text(refusal) {
                cause::TEXT_NOT_REPRESENTABLE
            } else {
                cause::UNKNOWN
            }
        }
        other => other,
    }
}

/// A text that is too long is an invalid request to this POS.
fn is_about_text(refusal: &Refusal) -> bool {
    let field = refusal.field.as_deref().unwrap_or_default();
    refusal.cause == "INVALID_REQUEST"
        && ["note", "display_number", "pager", "external_reference"].iter().any(|text| field.ends_with(text))
}

pub(crate) fn message(refusal: &Refusal) -> String {
    match &refusal.field {
        Some(field) => format!("{} at {field}: {}", refusal.cause, refusal.message),
        None => format!("{}: {}", refusal.cause, refusal.message),
    }
}

/// For anything but a submit.
pub(crate) fn pos_error(refusal: &Refusal) -> PosError {
    PosError::failed(shared_cause(refusal), message(refusal))
}

/// What the refusal of a submit means. A refusal is the POS's proof that it recorded nothing, with two exceptions.
pub(crate) fn unplaced(refusal: &Refusal, order: &PosOrder) -> Unplaced {
    let (cause, message) = (shared_cause(refusal), message(refusal));
    match refusal.cause.as_str() {
        // It stops, and does not know itself.
        "STOPPING" => Unplaced::in_doubt(cause, message),
        // It has something under our reference that is not what was sent now: to be found and compared.
        "REFERENCE_REUSED" => Unplaced::in_doubt(cause, message),
        // Final for this attempt, not for the order.
        "EXPIRED" => Unplaced::refused_for_now(cause, message, None),
        _ if refusal.is_final => Unplaced::rejected_lines(cause, message.clone(), line_problem(refusal, order)),
        _ => Unplaced::refused_for_now(cause, message, refusal.retry_after_ms.map(Duration::from_millis)),
    }
}

fn line_problem(refusal: &Refusal, order: &PosOrder) -> Vec<LineProblem> {
    let index = refusal.field.as_deref().and_then(|field| field.strip_prefix("lines[")?.split(']').next());
    let line = index.and_then(|index| order.lines.get(index.parse::<usize>().ok()?));
    let problem = line.map(|line| LineProblem {
        line_id: line.line_id.clone(),
        cause: shared_cause(refusal).to_owned(),
        message: refusal.message.clone(),
    });
    problem.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(cause: &str, field: Option<&str>) -> Refusal {
        Refusal {
            cause: cause.to_owned(),
            message: "words".to_owned(),
            field: field.map(str::to_owned),
            is_final: true,
            complete_since: None,
            retry_after_ms: None,
        }
    }

    #[test]
    fn every_cause_that_the_vendor_documents_is_told_in_the_shared_vocabulary() {
        let documented = [
            ("UNAUTHORIZED", cause::CREDENTIALS_REJECTED),
            ("PATH_UNKNOWN", cause::MISCONFIGURED),
            ("ORDER_NOT_FOUND", cause::UNKNOWN),
            ("CHECK_NOT_FOUND", cause::CHECK_NOT_FOUND),
            ("TICKET_NOT_FOUND", cause::UNKNOWN),
            ("INVALID_REQUEST", cause::UNKNOWN),
            ("TEXT_NOT_PRINTABLE", cause::TEXT_NOT_REPRESENTABLE),
            ("REFERENCE_REUSED", cause::UNKNOWN),
            ("BODY_TOO_LARGE", cause::UNKNOWN),
            ("EXPIRED", cause::NOT_AFTER_PASSED),
            ("ITEM_UNKNOWN", cause::MASTER_MISMATCH),
            ("ITEM_SOLD_OUT", cause::ITEM_SOLD_OUT),
            ("ITEM_NOT_FOR_TAKEAWAY", cause::MASTER_MISMATCH),
            ("MODIFIER_UNKNOWN", cause::MASTER_MISMATCH),
            ("MODIFIER_COUNT", cause::MASTER_MISMATCH),
            ("MASTER_BROKEN", cause::MASTER_MISMATCH),
            ("TABLE_UNKNOWN", cause::MASTER_MISMATCH),
            ("TABLE_MISMATCH", cause::MASTER_MISMATCH),
            ("CHECK_AMBIGUOUS", cause::CHECK_NOT_FOUND),
            ("CHECK_CLOSED", cause::CHECK_NOT_FOUND),
            ("CHECK_AWAITING_PAYMENT", cause::CHECK_AWAITING_PAYMENT),
            ("TENDER_UNKNOWN", cause::MASTER_MISMATCH),
            ("TENDER_MISMATCH", cause::MASTER_MISMATCH),
            ("PRICE_CHANGED", cause::MASTER_MISMATCH),
            ("TOO_LATE", cause::TOO_LATE),
            ("LINE_UNKNOWN", cause::MASTER_MISMATCH),
            ("ORDER_CANCELLED", cause::UNKNOWN),
            ("REFERENCE_AMBIGUOUS", cause::UNKNOWN),
            ("CHECK_MERGED", cause::CHECK_NOT_FOUND),
            ("CURSOR_TOO_OLD", cause::CURSOR_TOO_OLD),
            ("RATE_LIMITED", cause::RATE_LIMITED),
            ("BUSINESS_DAY_NOT_OPEN", cause::BUSINESS_DAY_NOT_OPEN),
            ("MASTER_UPDATING", cause::MASTER_UPDATING),
            ("STOPPING", cause::POS_APP_NOT_RUNNING),
        ];
        for (vendor, shared) in documented {
            assert_eq!(shared_cause(&refusal(vendor, None)), shared, "{vendor}");
        }
        assert_eq!(shared_cause(&refusal("INVALID_REQUEST", Some("lines[0].note"))), cause::TEXT_NOT_REPRESENTABLE);
    }

    #[test]
    fn an_attempt_that_came_too_late_by_the_pos_own_clock_may_be_made_again() {
        let unplaced = unplaced(&refusal("EXPIRED", Some("not_after")), &PosOrder::default());
        assert!(matches!(unplaced, Unplaced::RefusedForNow(refused) if refused.cause == cause::NOT_AFTER_PASSED));
    }

    #[test]
    fn a_pos_that_stops_or_has_another_order_under_our_reference_leaves_the_order_in_doubt() {
        for vendor in ["STOPPING", "REFERENCE_REUSED"] {
            let unplaced = unplaced(&refusal(vendor, None), &PosOrder::default());
            assert!(matches!(unplaced, Unplaced::InDoubt(_)), "{vendor}");
        }
    }
}
