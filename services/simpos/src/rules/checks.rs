//! Checks, staff at the till, and slips.

use std::sync::Arc;

use super::{Decided, check_tenders, known_check, price_lines, printed_at, staff, till_is_ready};
use crate::api::{CheckState, CloseCheck, MAX_QUANTITY, OpenCheck, Refusal, StaffLines, Ticket, TicketKind, cause};
use crate::journal::{CheckHead, Event};
use crate::pricing::totals;
use crate::state::{CheckRecord, State};
use crate::ticket::{Head, bill_slip, reprint as reprinted_text, staff_slip};

/// Opens a check at a table or joins the one that is open; answers its number and whether it was opened.
pub(crate) fn open_check(state: &State, request: &OpenCheck) -> Decided<(u32, bool)> {
    till_is_ready(state)?;
    if !state.menu.has_table(&request.table) {
        let message = format!("there is no table {:?}", request.table);
        return Err(Refusal::new(422, cause::TABLE_UNKNOWN, message).at("table"));
    }
    if !(1..=MAX_QUANTITY).contains(&request.party_size) {
        let message = format!("a party is 1 to {MAX_QUANTITY} guests");
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at("party_size"));
    }
    let opened_by = request.staff.as_deref().map_or_else(|| Ok("api".to_owned()), staff)?;
    let open = state.open_checks().find(|check| check.head.table.as_ref() == Some(&request.table));
    if let Some(check) = open.filter(|_| !request.separate) {
        return Ok((None, (check.head.number, false)));
    }
    let number = state.next_check_number();
    let table = Some(request.table.clone());
    let check = CheckHead { number, table, party_size: Some(request.party_size), opened_by };
    Ok((Some(Event::CheckOpened { check }), (number, true)))
}

/// Puts lines on a check as staff do at the till. A check whose bill was printed is open again.
pub(crate) fn enter_by_staff(state: &State, number: u32, request: &StaffLines, now: i64) -> Decided<()> {
    till_is_ready(state)?;
    let check = known_check(state, number)?;
    if check.state == CheckState::Closed {
        return Err(Refusal::new(422, cause::CHECK_CLOSED, format!("check {number} is closed")));
    }
    let by = staff(&request.staff)?;
    let taken = |reference: &str| check.lines().any(|line| line.reference == reference);
    let lines = price_lines(state, &request.lines, taken)?;
    let ticket = slip(state, check, TicketKind::Kitchen, now, |head| staff_slip(head, &by, &lines));
    Ok((Some(Event::StaffEntered { check_number: number, by, lines: Arc::new(lines), ticket }), ()))
}

/// Prints the bill; one that repeats the last says so.
pub(crate) fn bill(state: &State, number: u32, now: i64) -> Decided<()> {
    let check = known_check(state, number)?;
    if check.state == CheckState::Closed {
        return Err(Refusal::new(422, cause::CHECK_CLOSED, format!("check {number} is closed")));
    }
    if let Some(bill) = check.current_bill() {
        return reprint(state, bill, now).map(|(event, _)| (event, ()));
    }
    let view = check.view();
    let text = |head: &Head<'_>| bill_slip(head, check.lines(), &view.totals, &view.tenders);
    let ticket = slip(state, check, TicketKind::Bill, now, text);
    Ok((Some(Event::BillRequested { check_number: number, ticket }), ()))
}

/// Closes a check at the till. Without tenders it is settled beside the POS (an invoice, the house).
pub(crate) fn close(state: &State, number: u32, request: CloseCheck) -> Decided<()> {
    let check = known_check(state, number)?;
    if check.state == CheckState::Closed {
        return Ok((None, ()));
    }
    let by = staff(&request.staff)?;
    let due = totals(check.lines()).total - check.paid();
    check_tenders(state, &request.tenders, due)?;
    Ok((Some(Event::CheckClosed { check_number: number, by, tenders: request.tenders }), ()))
}

/// Makes a slip again, marked so; answers the new one's number.
pub(crate) fn reprint(state: &State, number: u32, now: i64) -> Decided<u32> {
    let Some(original) = state.ticket(number) else {
        return Err(Refusal::new(404, cause::TICKET_NOT_FOUND, format!("there is no ticket {number}")));
    };
    let ticket = Ticket {
        number: state.next_ticket_number(),
        reprint_of: Some(original.reprint_of.unwrap_or(number)),
        text: reprinted_text(original),
        created_at: now,
        printed_at: printed_at(state, now),
        ..(**original).clone()
    };
    let number = ticket.number;
    Ok((Some(Event::TicketReprinted { ticket: Arc::new(ticket) }), number))
}

/// A slip that belongs to a check but to no order.
fn slip(
    state: &State,
    check: &CheckRecord,
    kind: TicketKind,
    now: i64,
    text: impl FnOnce(&Head<'_>) -> String,
) -> Arc<Ticket> {
    let (number, check_number) = (state.next_ticket_number(), check.head.number);
    let table = check.head.table.as_deref();
    Arc::new(Ticket {
        number,
        kind,
        reprint_of: None,
        check_number,
        table: check.head.table.clone(),
        order_reference: None,
        display_number: None,
        text: text(&Head { ticket_number: number, check_number, table, at: now }),
        created_at: now,
        printed_at: printed_at(state, now),
    })
}
