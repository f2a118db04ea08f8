//! What a person may say of an order, and when.

use std::time::Duration;

use posmesh_kit::{
    Failure,
    time::{from_proto_duration, to_unix_ms},
};
use posmesh_pricing::check_text;
use posmesh_proto::order::v1::{Order, OrderState, PosEntry, ResolutionKind, ResolveOrderRequest};
use tonic::Code;

use super::{
    accept::from_problems,
    lifecycle::{Said, attention, is_open, is_there, open_change},
};

const MAX_NAME_CHARS: usize = 64;
const MAX_NOTE_CHARS: usize = 200;
const MAX_REFERENCE_CHARS: usize = 128;

/// Checks everything about the request that needs no order.
pub(crate) fn check_request(request: &ResolveOrderRequest) -> Result<Said, Failure> {
    let kind = match ResolutionKind::try_from(request.kind) {
        Ok(ResolutionKind::Unspecified) => return Err(Failure::field("REQUIRED", "kind", "say what became of it")),
        Ok(kind) => kind,
        Err(_) => return Err(Failure::field("UNKNOWN_VALUE", "kind", "is no kind of this version")),
    };
    if request.resolved_by.is_empty() {
        return Err(Failure::field("REQUIRED", "resolved_by", "say who says so"));
    }
    for (field, text, most) in [
        ("resolved_by", &request.resolved_by, MAX_NAME_CHARS),
        ("note", &request.note, MAX_NOTE_CHARS),
        ("pos_order_reference", &request.pos_order_reference, MAX_REFERENCE_CHARS),
    ] {
        check_text(field, text, most).map_err(|problem| from_problems(&[problem]))?;
    }
    let takes_reference = matches!(kind, ResolutionKind::AtPos | ResolutionKind::EnteredByStaff);
    if !request.pos_order_reference.is_empty() && !takes_reference {
        return Err(Failure::field("NOT_ALLOWED", "pos_order_reference", "only what is at the POS has a number there"));
    }
    Ok(Said {
        kind,
        by: request.resolved_by.clone(),
        note: request.note.clone(),
        pos_order_reference: request.pos_order_reference.clone(),
    })
}

/// Whether this was said before: then there is nothing to do.
pub(crate) fn is_said(order: &Order, said: &Said) -> bool {
    let same = order
        .resolutions
        .last()
        .is_some_and(|r| r.kind() == said.kind && r.resolved_by == said.by && r.note == said.note);
    same && order.state() != OrderState::InDoubt && order.attention.is_empty()
}

/// Whether the order is such that a person's word decides. That something is not at the POS can be said only when
/// nothing is on its way there any more.
pub(crate) fn check(order: &Order, said: &Said, margin: Duration, now_ms: i64) -> Result<(), Failure> {
    use OrderState as S;
    let is_due = order.pos_entry() == PosEntry::Due;
    let is_raised = !order.attention.is_empty() || open_change(order).is_some();
    match (said.kind, order.state()) {
        (ResolutionKind::Seen, _) => Ok(()),
        (_, S::Sending) => Err(under_way(order, margin, now_ms)),
        (ResolutionKind::AtPos | ResolutionKind::EnteredByStaff, S::InDoubt) => Ok(()),
        (ResolutionKind::SendAgain | ResolutionKind::NotAtPos, S::InDoubt) => check_over(order, margin, now_ms),
        (ResolutionKind::AtPos | ResolutionKind::EnteredByStaff, state) if is_due && is_there(state) => {
            check_over(order, margin, now_ms)
        }
        (ResolutionKind::NotAtPos, state) if is_due && is_there(state) && open_change(order).is_none() => {
            if attention::is_raised(order, attention::POS_ENTRY_IN_DOUBT) {
                return check_over(order, margin, now_ms);
            }
            Err(not_in_doubt(order))
        }
        (ResolutionKind::AtPos | ResolutionKind::NotAtPos, state) if is_raised && is_there(state) => {
            check_over(order, margin, now_ms)
        }
        (_, _) => Err(not_in_doubt(order)),
    }
}

fn not_in_doubt(order: &Order) -> Failure {
    let state = order.state().as_str_name();
    let message = format!("the order is {state}: there is no doubt that a person could settle");
    Failure::new(Code::FailedPrecondition, "NOT_IN_DOUBT", message)
        .meta("order_id", &order.order_id)
        .meta("state", state)
}

fn check_over(order: &Order, margin: Duration, now_ms: i64) -> Result<(), Failure> {
    if ends_ms(order, margin) > now_ms { Err(under_way(order, margin, now_ms)) } else { Ok(()) }
}

/// When nothing of the open attempts can take effect any more.
fn ends_ms(order: &Order, margin: Duration) -> i64 {
    let ends = order.attempts.iter().filter(|attempt| is_open(attempt)).map(|attempt| {
        let delay = attempt.max_apply_delay.as_ref().and_then(from_proto_duration).unwrap_or_default();
        let delay_ms = i64::try_from(delay.saturating_add(margin).as_millis()).unwrap_or(i64::MAX);
        attempt.not_after.as_ref().map_or(0, to_unix_ms).saturating_add(delay_ms)
    });
    ends.max().unwrap_or_default()
}

fn under_way(order: &Order, margin: Duration, now_ms: i64) -> Failure {
    let message = "an attempt is on its way to the POS, or may still take effect there; say it again when it is over";
    let left_ms = ends_ms(order, margin).saturating_sub(now_ms).max(1_000);
    Failure::new(Code::FailedPrecondition, "ATTEMPT_UNDER_WAY", message)
        .meta("order_id", &order.order_id)
        .retry_after(Duration::from_millis(u64::try_from(left_ms).unwrap_or(1_000)))
}
