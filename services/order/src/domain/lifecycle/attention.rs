//! What a person has to look at.

use posmesh_proto::order::v1::{Order, OrderState, ResolutionKind};

/// The POS made the order twice.
pub(crate) const DUPLICATE_AT_POS: &str = "DUPLICATE_AT_POS";
/// The POS charges something else than the guest agreed to.
pub(crate) const TOTAL_DIFFERS: &str = "TOTAL_DIFFERS";
/// Nobody knows whether the POS has it, and the platform cannot find out.
pub(crate) const IN_DOUBT: &str = "IN_DOUBT";
/// The guest was told that the POS does not have it, and then it had.
pub(crate) const CONTRADICTED_END: &str = "CONTRADICTED_END";
/// The POS has only some of its lines.
pub(crate) const PARTLY_AT_POS: &str = "PARTLY_AT_POS";
/// The POS had it, or a part of it, and has it no more: the staff may have made it by hand.
pub(crate) const GONE_FROM_POS: &str = "GONE_FROM_POS";
/// The POS has it, but what the store asks for besides (the printed ticket, say) did not come in time.
pub(crate) const EVIDENCE_MISSING: &str = "EVIDENCE_MISSING";
/// Somebody changed its lines at the POS.
pub(crate) const LINES_DIFFER: &str = "LINES_DIFFER";
/// Nobody knows whether the POS took the order, or lines of it, back.
pub(crate) const CHANGE_IN_DOUBT: &str = "CHANGE_IN_DOUBT";
/// It should be taken back, and that did not come about: the staff may still do it by hand.
pub(crate) const CHANGE_REFUSED: &str = "CHANGE_REFUSED";
/// The kitchen has it from the fallback's ticket, and the staff must enter it at the POS.
pub(crate) const POS_ENTRY_DUE: &str = "POS_ENTRY_DUE";
/// Likewise: the POS does not take it from the platform.
pub(crate) const POS_ENTRY_REFUSED: &str = "POS_ENTRY_REFUSED";
/// Likewise, but nobody knows whether the platform has entered it.
pub(crate) const POS_ENTRY_IN_DOUBT: &str = "POS_ENTRY_IN_DOUBT";

/// Tells a person, once.
pub(super) fn raise(order: &mut Order, flag: &str) {
    if !is_raised(order, flag) {
        order.attention.push(flag.to_owned());
    }
}

/// The platform has found out by itself.
pub(super) fn clear(order: &mut Order, flags: &[&str]) {
    order.attention.retain(|raised| !flags.contains(&raised.as_str()));
}

/// Whether a person is told of this.
pub(crate) fn is_raised(order: &Order, flag: &str) -> bool {
    order.attention.iter().any(|raised| raised == flag)
}

/// Whether a person has seen this already, and nothing was tried since.
pub(crate) fn is_seen(order: &Order, flag: &str) -> bool {
    let begun_ms = order.attempts.last().and_then(|a| a.begin_time.as_ref()).map_or(0, posmesh_kit::time::to_unix_ms);
    order.resolutions.iter().any(|resolution| {
        resolution.kind() == ResolutionKind::Seen
            && resolution.cleared.iter().any(|cleared| cleared == flag)
            && resolution.time.as_ref().is_some_and(|time| posmesh_kit::time::to_unix_ms(time) >= begun_ms)
    })
}

/// Whether this is about an order of which nobody knows whether the POS has it as it should.
pub(super) fn is_about_doubt(flag: &str) -> bool {
    matches!(flag, IN_DOUBT | EVIDENCE_MISSING)
}

/// The state that was entered answers what was raised.
pub(super) fn settle(order: &mut Order, entered: OrderState) {
    use OrderState as S;
    match entered {
        S::Placed | S::InPreparation | S::Ready | S::Completed => {
            clear(order, &[IN_DOUBT, EVIDENCE_MISSING, PARTLY_AT_POS]);
        }
        S::Rejected | S::Expired | S::Cancelled => {
            clear(order, &[IN_DOUBT, EVIDENCE_MISSING, PARTLY_AT_POS, GONE_FROM_POS, CHANGE_IN_DOUBT, CHANGE_REFUSED]);
        }
        S::Pending => clear(order, &[IN_DOUBT, EVIDENCE_MISSING]),
        S::Unspecified | S::Held | S::Sending | S::InDoubt => {}
    }
}
