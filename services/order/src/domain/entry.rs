//! Which orders may go to a store's fallback, and what is to be done about the entry of those that did.

use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    common::v1::EvidenceKind,
    order::v1::{AttemptOutcome, Order, OrderState},
    store::v1::ProductPolicy,
};

use super::lifecycle::{open_change, submits, was_at_pos};

/// The evidence that makes a diverted order PLACED.
pub(crate) fn fallback_evidence(policy: &ProductPolicy) -> Vec<i32> {
    match policy.fallback_evidence.as_slice() {
        [] => vec![EvidenceKind::Printed.into()],
        said => said.to_vec(),
    }
}

/// Whether a fallback can prove what it must.
pub(crate) fn can_prove(descriptor: &AdapterDescriptor, kinds: &[i32]) -> bool {
    kinds.iter().all(|kind| descriptor.evidence.contains(kind))
}

/// Whether nothing of an order is at the POS, nor can be by now, and the fallback has not refused it for good.
pub(crate) fn may_divert(order: &Order) -> bool {
    let left_nothing = |outcome| {
        matches!(outcome, AttemptOutcome::NotHandedOver | AttemptOutcome::RefusedForNow | AttemptOutcome::Absent)
    };
    matches!(order.state(), OrderState::Pending | OrderState::Held)
        && submits(order).all(|attempt| left_nothing(attempt.outcome()))
        && !was_at_pos(order)
        && open_change(order).is_none()
}
