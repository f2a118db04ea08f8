//! Orders that are taken back, and their way through the kitchen.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Decided, known_check, not_expired, printed_at, text, till_is_ready};
use crate::api::control::Settings;
use crate::api::{
    CancelOrder, CheckState, Line, LineVoid, MAX_LINES, Order, Progress, Refusal, Ticket, TicketKind, TicketMark,
    VoidLines, cause,
};
use crate::journal::Event;
use crate::state::{Changed, OrderRecord, State};
use crate::ticket::{Head, void_slip};

/// Orders that move on in one entry of the journal at most.
const MAX_PROGRESS: usize = 500;

/// Who changes something.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// A caller, under a reference that makes a repetition harmless. Held to the restaurant's settings.
    Api,
    /// `staff:` and a name. May do what the API is refused.
    Staff(String),
}

impl By {
    pub(super) fn name(&self) -> &str {
        match self {
            By::Api => "api",
            By::Staff(name) => name,
        }
    }
}

/// Cancels the orders under a reference. Answers the number of the last, and whether it was so before.
pub(crate) fn cancel(state: &State, reference: &str, request: &CancelOrder, by: &By, now: i64) -> Decided<(u32, bool)> {
    if let By::Api = by {
        check_change(&request.change_reference, request.reason.as_deref())?;
        if is_repeated(state, &request.change_reference, &Changed::Cancelled(reference.to_owned()))? {
            return Ok((None, (last(state, reference)?.order.order_number, true)));
        }
        not_expired(request.not_after, now)?;
    }
    let answered = last(state, reference)?.order.order_number;
    let live: Vec<&OrderRecord> = state.orders(reference).filter(|record| record.cancelled_at.is_none()).collect();
    if live.is_empty() {
        return Ok((None, (answered, true)));
    }
    live.iter().try_for_each(|record| may_change(state, record, by))?;
    let mut tickets = Vec::with_capacity(live.len());
    for (ticket_number, record) in (state.next_ticket_number()..).zip(&live) {
        let left = record.order.lines.iter().map(|line| (line, line.quantity - record.voided(&line.reference)));
        let lines: Vec<Line> =
            left.filter(|(_, units)| *units > 0).map(|(line, units)| units_of(line, units)).collect();
        tickets.push(void_ticket(state, ticket_number, record, by, &lines, request.reason.as_deref(), now));
    }
    let event = Event::OrderCancelled {
        order_numbers: live.iter().map(|record| record.order.order_number).collect(),
        reference: reference.to_owned(),
        change_reference: change_reference(&request.change_reference, by),
        by: by.name().to_owned(),
        tickets,
    };
    Ok((Some(event), (answered, false)))
}

/// Makes lines of an order void. Answers its number, and whether they were so before.
pub(crate) fn void(state: &State, reference: &str, request: &VoidLines, by: &By, now: i64) -> Decided<(u32, bool)> {
    if let By::Api = by {
        check_change(&request.change_reference, request.reason.as_deref())?;
        let asked: BTreeMap<String, u32> =
            request.lines.iter().map(|line| (line.reference.clone(), line.quantity_voided)).collect();
        if is_repeated(state, &request.change_reference, &Changed::Voided(reference.to_owned(), asked))? {
            return Ok((None, (last(state, reference)?.order.order_number, true)));
        }
        not_expired(request.not_after, now)?;
    }
    let record = last(state, reference)?;
    if state.orders(reference).count() > 1 {
        let message = format!("several orders are recorded as {reference:?}: cancel them or void at the till");
        return Err(Refusal::new(409, cause::REFERENCE_AMBIGUOUS, message));
    }
    let order = &record.order;
    let lines = newly_void(record, &request.lines)?;
    if lines.is_empty() {
        return Ok((None, (order.order_number, true)));
    }
    if record.cancelled_at.is_some() {
        return Err(Refusal::new(422, cause::ORDER_CANCELLED, format!("order {} is cancelled", order.order_number)));
    }
    may_change(state, record, by)?;
    let number = state.next_ticket_number();
    let ticket = void_ticket(state, number, record, by, &lines, request.reason.as_deref(), now);
    let event = Event::LinesVoided {
        order_number: order.order_number,
        reference: reference.to_owned(),
        change_reference: change_reference(&request.change_reference, by),
        by: by.name().to_owned(),
        lines: request.lines.clone(),
        ticket,
    };
    Ok((Some(event), (order.order_number, false)))
}

/// Moves an order on in the kitchen; going back does nothing.
pub(crate) fn progress(state: &State, reference: &str, to: Progress) -> Decided<u32> {
    let record = last(state, reference)?;
    let number = record.order.order_number;
    let moves = record.progress < to && record.cancelled_at.is_none();
    Ok((moves.then(|| Event::OrdersProgressed { orders: vec![(number, to)] }), number))
}

/// Moves on the orders whose time has come.
pub(crate) fn progress_due(state: &State, now: i64) -> Decided<()> {
    let orders = state.due(now, MAX_PROGRESS);
    Ok(((!orders.is_empty()).then_some(Event::OrdersProgressed { orders }), ()))
}

/// Deletes an order without a trace.
pub(crate) fn lose(state: &State, reference: &str) -> Decided<()> {
    let order_number = last(state, reference)?.order.order_number;
    Ok((Some(Event::OrderLost { order_number, reference: reference.to_owned() }), ()))
}

/// Changes how the restaurant works.
pub(crate) fn set_settings(state: &State, settings: Settings) -> Decided<()> {
    Ok(((settings != state.settings).then_some(Event::SettingsChanged { settings }), ()))
}

/// The last order under a reference.
fn last<'a>(state: &'a State, reference: &str) -> Result<&'a OrderRecord, Refusal> {
    state.orders(reference).next_back().ok_or_else(|| unknown_order(state, reference))
}

/// Refuses with what the absence proves.
pub(crate) fn unknown_order(state: &State, reference: &str) -> Refusal {
    let refusal = Refusal::new(404, cause::ORDER_NOT_FOUND, format!("no order is recorded as {reference:?}"));
    Refusal { complete_since: state.complete_since, ..refusal }
}

/// Checks what every change by API brings.
pub(super) fn check_change(change_reference: &str, reason: Option<&str>) -> Result<(), Refusal> {
    text::reference(change_reference, "change_reference")?;
    text::printable(reason, "reason")
}

/// Whether the change was made before under its reference.
fn is_repeated(state: &State, change_reference: &str, what: &Changed) -> Result<bool, Refusal> {
    match state.change(change_reference) {
        None => Ok(false),
        Some(made) if made == what => Ok(true),
        Some(_) => Err(another_change(change_reference)),
    }
}

pub(super) fn another_change(change_reference: &str) -> Refusal {
    let message = format!("change {change_reference:?} was made and is another one");
    Refusal::new(409, cause::REFERENCE_REUSED, message).at("change_reference")
}

pub(super) fn change_reference(reference: &str, by: &By) -> Option<String> {
    matches!(by, By::Api).then(|| reference.to_owned())
}

/// Whether an order may be taken back, by whom. What its table has paid nobody takes back.
fn may_change(state: &State, record: &OrderRecord, by: &By) -> Result<(), Refusal> {
    let check = known_check(state, record.check_number())?;
    let number = check.head.number;
    if check.state == CheckState::Closed && check.head.table.is_some() {
        return Err(Refusal::new(422, cause::CHECK_CLOSED, format!("check {number} is closed")));
    }
    if let By::Staff(_) = by {
        return Ok(());
    }
    till_is_ready(state)?;
    if check.state == CheckState::BillRequested {
        let message = format!("the bill of check {number} is printed");
        return Err(Refusal::new(422, cause::CHECK_AWAITING_PAYMENT, message));
    }
    if state.settings.cancellable_until.is_none_or(|until| record.progress > until) {
        let message = format!("order {} is {:?}: ask the staff", record.order.order_number, record.progress);
        return Err(Refusal::new(422, cause::TOO_LATE, message));
    }
    Ok(())
}

/// The units that are void for the first time, as lines.
fn newly_void(record: &OrderRecord, voids: &[LineVoid]) -> Result<Vec<Line>, Refusal> {
    if voids.is_empty() || voids.len() > MAX_LINES {
        let message = format!("1 to {MAX_LINES} lines are void, got {}", voids.len());
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at("lines"));
    }
    let mut lines = Vec::with_capacity(voids.len());
    for (index, void) in voids.iter().enumerate() {
        let known = record.order.lines.iter().find(|line| line.reference == void.reference);
        let line = known.filter(|line| (1..=line.quantity).contains(&void.quantity_voided)).ok_or_else(|| {
            let message = format!("the order has no line {:?} with {} units", void.reference, void.quantity_voided);
            Refusal::new(422, cause::LINE_UNKNOWN, message).at(format!("lines[{index}]"))
        })?;
        if voids[..index].iter().any(|other| other.reference == void.reference) {
            let message = format!("line {:?} is named twice", void.reference);
            return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(format!("lines[{index}].reference")));
        }
        let units = void.quantity_voided.saturating_sub(record.voided(&line.reference));
        if units > 0 {
            lines.push(units_of(line, units));
        }
    }
    Ok(lines)
}

fn units_of(line: &Line, units: u32) -> Line {
    Line { quantity: units, total: line.unit_price * i64::from(units), ..line.clone() }
}

fn void_ticket(
    state: &State,
    number: u32,
    record: &OrderRecord,
    by: &By,
    lines: &[Line],
    reason: Option<&str>,
    now: i64,
) -> Arc<Ticket> {
    let Order { display_number, request, .. } = &*record.order;
    let check_number = record.check_number();
    let table = state.check(check_number).and_then(|check| check.head.table.clone());
    let head = Head { ticket_number: number, check_number, table: table.as_deref(), at: now };
    let text = void_slip(&head, display_number, by.name(), lines, reason);
    Arc::new(Ticket {
        number,
        kind: TicketKind::Kitchen,
        mark: TicketMark::Void,
        reprint_of: None,
        check_number,
        table,
        order_reference: Some(request.reference.clone()),
        display_number: Some(display_number.clone()),
        text,
        created_at: now,
        printed_at: printed_at(state, now),
    })
}
