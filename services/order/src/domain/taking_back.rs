//! Which wishes to take an order back, or lines of it, can be noted, and why others cannot.

use std::collections::HashSet;

use posmesh_kit::{Failure, Violation, ambient, cause};
use posmesh_proto::order::v1::{
    LineVoid, Order, OrderChange, OrderChangeKind, OrderChangeState, OrderState, PosEntry, ResolutionKind,
};
use tonic::Code;

use super::lifecycle::{attention, entry, open_change};

/// So many wishes one order may see: each is kept.
const MAX_CHANGES: usize = 20;

/// Of a diverted order that the POS does not know of yet.
const ONLY_PRINTED: &str =
    "the kitchen has its ticket from the store's fallback, and the POS does not know of it yet; ask the staff";

/// Of one that it knows of by now: what is taken out of the POS is still on the kitchen's ticket.
const COOKED_BY_FALLBACK: &str =
    "the kitchen cooks by the ticket of the store's fallback, which the POS does not take back; ask the staff";

/// What a wish comes to before it is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wished {
    /// It is as wished already.
    Done,
    /// The same wish is noted and not decided yet.
    Waiting,
    /// It is to be noted; the POS decides about it, as it has the order.
    AskPos,
    /// It is to be noted; nothing of it is at the POS as far as is known.
    Ask,
}

/// Looks at a wish to take the whole order back.
pub(crate) fn check_cancel(order: &Order) -> Result<Wished, Failure> {
    if order.state() == OrderState::Cancelled {
        return Ok(Wished::Done);
    }
    if let Some(open) = open_change(order) {
        return if open.kind() == OrderChangeKind::Cancel { Ok(Wished::Waiting) } else { Err(under_way(order, open)) };
    }
    check_may_change(order, OrderChangeKind::Cancel)?;
    match order.state() {
        OrderState::Pending | OrderState::Held | OrderState::Sending | OrderState::InDoubt => Ok(Wished::Ask),
        OrderState::Placed | OrderState::InPreparation => Ok(Wished::AskPos),
        OrderState::Ready | OrderState::Completed => Err(cancel_too_late(order, "it is ready or handed out")),
        _ => Err(cancel_too_late(order, "it has ended already")),
    }
}

/// Looks at a wish to take lines back.
pub(crate) fn check_void(order: &Order, lines: &[LineVoid]) -> Result<Wished, Failure> {
    check_lines(order, lines)?;
    if let Some(open) = open_change(order) {
        let is_same = open.kind() == OrderChangeKind::VoidLines && open.lines == lines;
        return if is_same { Ok(Wished::Waiting) } else { Err(under_way(order, open)) };
    }
    let is_void = |void: &LineVoid| {
        order.lines.iter().any(|l| l.line_id == void.line_id && l.quantity_voided >= void.quantity_voided)
    };
    if lines.iter().all(is_void) {
        return Ok(Wished::Done);
    }
    check_may_change(order, OrderChangeKind::VoidLines)?;
    match order.state() {
        OrderState::Placed | OrderState::InPreparation => Ok(Wished::AskPos),
        OrderState::Ready | OrderState::Completed => {
            Err(of_order(order, "VOID_TOO_LATE", "the order is ready or handed out; ask the staff"))
        }
        _ => {
            Err(of_order(order, "NOT_AT_POS", "the POS does not have the order, so it has no line of it to take back"))
        }
    }
}

fn check_may_change(order: &Order, kind: OrderChangeKind) -> Result<(), Failure> {
    let by_staff = order.pos_entry() == PosEntry::ByStaff;
    if by_staff || order.resolutions.iter().any(|r| r.kind() == ResolutionKind::EnteredByStaff) {
        let message = "the staff entered the order by hand, so only they can take it back";
        return Err(not_supported(order, kind, message));
    }
    if entry::is_pending(order) && entry::open_entry(order).is_some() {
        let message = "the POS is being told of the order; ask again when that is done";
        return Err(busy(order, message));
    }
    if order.pos_entry() == PosEntry::Due && kind == OrderChangeKind::VoidLines {
        return Err(not_supported(order, kind, ONLY_PRINTED));
    }
    if order.pos_entry() == PosEntry::Entered {
        return Err(not_supported(order, kind, COOKED_BY_FALLBACK));
    }
    if attention::is_raised(order, attention::DUPLICATE_AT_POS) {
        let message = "the POS has the order twice; only the staff can say which one is to be taken back";
        return Err(not_supported(order, kind, message));
    }
    // A kitchen that has begun does not un-begin.
    let refused = order.changes.iter().rev().find(|change| change.kind() == kind);
    let is_too_late = refused.is_some_and(|c| c.state() == OrderChangeState::Refused && c.cause == cause::TOO_LATE);
    if is_too_late || order.changes.len() >= MAX_CHANGES {
        let words = refused.map_or("the POS refused it", |refused| refused.message.as_str());
        return Err(match kind {
            OrderChangeKind::VoidLines => of_order(order, "VOID_TOO_LATE", words),
            _ => cancel_too_late(order, words),
        });
    }
    Ok(())
}

fn check_lines(order: &Order, lines: &[LineVoid]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Err(Failure::field("REQUIRED", "lines", "say which lines, and how much of each"));
    }
    if lines.len() > order.lines.len() {
        let message = format!("names {} lines, but the order has {}", lines.len(), order.lines.len());
        return Err(Failure::field("TOO_MANY", "lines", message));
    }
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for (i, void) in lines.iter().enumerate() {
        let line = order.lines.iter().find(|line| line.line_id == void.line_id);
        let (reason, field, message) = match line {
            None => ("LINE_NOT_FOUND", "line_id", "names no line of the order".to_owned()),
            Some(_) if !seen.insert(void.line_id.as_str()) => {
                ("TOO_MANY", "line_id", "names a line that was named before".to_owned())
            }
            Some(line) if !(1..=line.quantity).contains(&void.quantity_voided) => {
                ("OUT_OF_RANGE", "quantity_voided", format!("must be 1 to {}", line.quantity))
            }
            Some(line) if void.quantity_voided < line.quantity_voided => {
                let message = format!("is in all: {} of the line are void already", line.quantity_voided);
                ("OUT_OF_RANGE", "quantity_voided", message)
            }
            Some(_) => continue,
        };
        wrong.push(Violation::new(reason, format!("lines[{i}].{field}"), message));
    }
    if !wrong.is_empty() {
        return Err(Failure::invalid(wrong));
    }
    let left = |line: &posmesh_proto::order::v1::OrderLine| {
        let void = lines.iter().find(|void| void.line_id == line.line_id);
        line.quantity - void.map_or(line.quantity_voided, |void| void.quantity_voided)
    };
    if order.lines.iter().all(|line| left(line) <= 0) {
        let message = "nothing would be left of the order; cancel it instead";
        return Err(Failure::field("NOT_ALLOWED", "lines", message));
    }
    Ok(())
}

/// The wish as it is noted; the rest is set when it is.
pub(crate) fn change(kind: OrderChangeKind, lines: &[LineVoid], by: &str, reason: &str) -> OrderChange {
    OrderChange {
        change_id: ambient::new_id().to_string(),
        kind: kind.into(),
        lines: lines.to_vec(),
        requested_by: by.to_owned(),
        reason: reason.to_owned(),
        ..OrderChange::default()
    }
}

/// The vendor's POS cannot do it; `step` is what the staff must do instead, or why.
pub(crate) fn not_supported(order: &Order, kind: OrderChangeKind, step: &str) -> Failure {
    let is_only_printed = order.pos_entry() == PosEntry::Due;
    let step = match step {
        _ if is_only_printed => ONLY_PRINTED,
        "" => "this store's POS cannot do it; ask the staff",
        step => step,
    };
    match kind {
        OrderChangeKind::VoidLines => of_order(order, "VOID_NOT_SUPPORTED", step),
        _ => of_order(order, "CANCEL_NOT_SUPPORTED", step),
    }
}

fn cancel_too_late(order: &Order, words: &str) -> Failure {
    let message = format!("the order is {}: {words}", order.state().as_str_name());
    of_order(order, "CANCEL_TOO_LATE", &message)
}

fn under_way(order: &Order, open: &OrderChange) -> Failure {
    let message = "another wish about the order is not decided yet; ask again when it is";
    busy(order, message).meta("change_id", &open.change_id)
}

fn busy(order: &Order, message: &str) -> Failure {
    of_order(order, "CHANGE_UNDER_WAY", message).retry_after(std::time::Duration::from_secs(2))
}

fn of_order(order: &Order, reason: &str, message: &str) -> Failure {
    Failure::new(Code::FailedPrecondition, reason, message)
        .meta("order_id", &order.order_id)
        .meta("state", order.state().as_str_name())
}
