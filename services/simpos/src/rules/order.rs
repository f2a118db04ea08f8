//! Taking an order.

use std::sync::Arc;

use super::{Decided, check_tenders, known_check, not_expired, price_lines, printed_at, text, till_is_ready};
use crate::api::{
    CheckState, MAX_QUANTITY, Order, Refusal, SubmitOrder, Ticket, TicketKind, TicketMark, Totals, Uniqueness, cause,
};
use crate::journal::{CheckHead, Event};
use crate::pricing::totals;
use crate::state::{CheckRecord, State};
use crate::ticket::{Head, order_slip};

/// Takes an order, or answers the one that its reference already has (`true`). Answers the order's number.
pub(crate) fn submit(state: &State, request: SubmitOrder, now: i64) -> Decided<(u32, bool)> {
    if let Some(recorded) = state.orders(&request.reference).last()
        && is_replay(&recorded.order, request.uniqueness, now)
    {
        return replayed(&recorded.order, request).map(|number| (None, (number, true)));
    }
    check_header(&request, now)?;
    till_is_ready(state)?;
    let (check, opened_check) = find_check(state, &request)?;
    let lines = price_lines(state, &request.lines, |_| false)?;
    let totals = totals(&lines);
    check_total(&request, &totals)?;
    check_tenders(state, &request.tenders, totals.total)?;

    let order_number = state.next_order_number();
    let order = Order {
        order_number,
        display_number: request.display_number.clone().unwrap_or_else(|| order_number.to_string()),
        check_number: check.number,
        table: check.table,
        ticket_number: (!request.without_ticket).then(|| state.next_ticket_number()),
        recorded_at: now,
        lines,
        totals,
        request,
    };
    let ticket = order.ticket_number.map(|number| Arc::new(kitchen_ticket(number, &order, printed_at(state, now))));
    let closes_check = order.table.is_none() && opened_check.is_some() && !order.request.tenders.is_empty();
    let event = Event::OrderRecorded { order: Arc::new(order), opened_check, closes_check, ticket };
    Ok((Some(event), (order_number, false)))
}

fn is_replay(recorded: &Order, uniqueness: Uniqueness, now: i64) -> bool {
    match uniqueness {
        Uniqueness::Forever => true,
        Uniqueness::Window { window_ms } => now <= recorded.recorded_at.saturating_add_unsigned(window_ms),
        Uniqueness::None => false,
    }
}

/// A replay must be the same order; only how it is sent may differ.
fn replayed(recorded: &Order, request: SubmitOrder) -> Result<u32, Refusal> {
    let SubmitOrder { not_after, uniqueness, without_ticket, .. } = recorded.request;
    let request = SubmitOrder { not_after, uniqueness, without_ticket, ..request };
    if request == recorded.request {
        return Ok(recorded.order_number);
    }
    let message = format!("reference {:?} is order {}, which is another", request.reference, recorded.order_number);
    Err(Refusal::new(409, cause::REFERENCE_REUSED, message).at("reference"))
}

fn check_header(request: &SubmitOrder, now: i64) -> Result<(), Refusal> {
    text::reference(&request.reference, "reference")?;
    text::reference(&request.product, "product")?;
    text::printable(request.display_number.as_deref(), "display_number")?;
    text::printable(request.note.as_deref(), "note")?;
    text::printable(request.pager.as_deref(), "pager")?;
    if request.party_size.is_some_and(|size| !(1..=MAX_QUANTITY).contains(&size)) {
        let message = format!("a party is 1 to {MAX_QUANTITY} guests");
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at("party_size"));
    }
    not_expired(request.not_after, now)
}

/// The check that the order goes to, and whether it has to be opened.
fn find_check(state: &State, request: &SubmitOrder) -> Result<(CheckHead, Option<CheckHead>), Refusal> {
    let joined = |check: &CheckRecord| takes_rounds(check).map(|()| (check.head.clone(), None));
    if let Some(number) = request.check_number {
        let check = known_check(state, number).map_err(|refusal| refusal.at("check_number"))?;
        if request.table.is_some() && request.table != check.head.table {
            let message = format!("check {number} is at table {:?}", check.head.table);
            return Err(Refusal::new(422, cause::TABLE_MISMATCH, message).at("table"));
        }
        return joined(check);
    }
    if let Some(table) = &request.table {
        if !state.menu.has_table(table) {
            let message = format!("there is no table {table:?}");
            return Err(Refusal::new(422, cause::TABLE_UNKNOWN, message).at("table"));
        }
        let mut open = state.open_checks().filter(|check| check.head.table.as_ref() == Some(table));
        match (open.next(), open.next()) {
            (Some(check), None) => return joined(check),
            (Some(_), Some(_)) => {
                let message = format!("table {table:?} has several open checks: name one in check_number");
                return Err(Refusal::new(422, cause::CHECK_AMBIGUOUS, message).at("table"));
            }
            (None, _) => {}
        }
    }
    let head = CheckHead {
        number: state.next_check_number(),
        table: request.table.clone(),
        party_size: request.party_size,
        opened_by: "api".to_owned(),
    };
    Ok((head.clone(), Some(head)))
}

fn takes_rounds(check: &CheckRecord) -> Result<(), Refusal> {
    let number = check.head.number;
    let (cause, message) = match check.state {
        CheckState::Open => return Ok(()),
        CheckState::BillRequested => (cause::CHECK_AWAITING_PAYMENT, format!("the bill of check {number} is printed")),
        CheckState::Closed | CheckState::Cancelled => (cause::CHECK_CLOSED, format!("check {number} is closed")),
        CheckState::Merged => (cause::CHECK_MERGED, format!("check {number} was joined into {:?}", check.merged_into)),
    };
    Err(Refusal::new(422, cause, message).at("check_number"))
}

fn check_total(request: &SubmitOrder, totals: &Totals) -> Result<(), Refusal> {
    match request.expected_total {
        Some(expected) if expected != totals.total => {
            let message = format!("the total is {} yen, not {expected}: read the menu again", totals.total);
            Err(Refusal::new(422, cause::PRICE_CHANGED, message).at("expected_total"))
        }
        _ => Ok(()),
    }
}

fn kitchen_ticket(number: u32, order: &Order, printed_at: Option<i64>) -> Ticket {
    let head = Head {
        ticket_number: number,
        check_number: order.check_number,
        table: order.table.as_deref(),
        at: order.recorded_at,
    };
    Ticket {
        number,
        kind: TicketKind::Kitchen,
        mark: TicketMark::Normal,
        reprint_of: None,
        check_number: order.check_number,
        table: order.table.clone(),
        order_reference: Some(order.request.reference.clone()),
        display_number: Some(order.display_number.clone()),
        text: order_slip(&head, &order.display_number, &order.request, &order.lines),
        created_at: order.recorded_at,
        printed_at,
    }
}
