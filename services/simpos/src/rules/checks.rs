//! Checks, staff at the till, and slips.

use std::sync::Arc;

use super::{Decided, check_tenders, known_check, open_check_of, price_lines, printed_at, staff, text, till_is_ready};
use crate::api::{
    CheckState, CloseCheck, Line, MAX_QUANTITY, OpenCheck, Refusal, ServiceMode, StaffLines, Ticket, TicketKind,
    TicketMark, cause,
};
use crate::journal::{CheckHead, Event};
use crate::pricing::totals;
use crate::state::{CheckRecord, State};
use crate::ticket::{Head, bill_slip, reprint as reprinted_text, staff_slip};

/// Opens a check at a table or joins the one that is open; answers its number and whether it was opened.
pub(crate) fn open_check(state: &State, request: &OpenCheck) -> Decided<(u32, bool)> {
    till_is_ready(state)?;
    known_table(state, &request.table)?;
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
    let check = open_check_of(state, number)?;
    let by = staff(&request.staff)?;
    let taken = |reference: &str| check.lines().any(|line| line.reference == reference);
    let lines = price_lines(state, &request.lines, taken)?;
    let ticket = slip(state, check, TicketKind::Kitchen, now, |head| staff_slip(head, &by, &lines));
    Ok((Some(Event::StaffEntered { check_number: number, by, lines: Arc::new(lines), ticket }), ()))
}

/// Prints the bill; one that repeats the last says so.
pub(crate) fn bill(state: &State, number: u32, now: i64) -> Decided<()> {
    let check = open_check_of(state, number)?;
    if let Some(bill) = check.bill {
        return reprint(state, bill, now).map(|(event, _)| (event, ()));
    }
    let view = check.view();
    let text = |head: &Head<'_>| bill_slip(head, check.lines(), &view.totals, &view.tenders);
    let ticket = slip(state, check, TicketKind::Bill, now, text);
    Ok((Some(Event::BillRequested { check_number: number, ticket }), ()))
}

/// Closes a check at the till. Without tenders it is settled beside the POS (an invoice, the house).
pub(crate) fn close(state: &State, number: u32, request: CloseCheck) -> Decided<()> {
    if known_check(state, number)?.state == CheckState::Closed {
        return Ok((None, ()));
    }
    let check = open_check_of(state, number)?;
    let by = staff(&request.staff)?;
    let due = totals(check.lines()).total - check.paid();
    check_tenders(state, &request.tenders, due)?;
    Ok((Some(Event::CheckClosed { check_number: number, by, tenders: request.tenders }), ()))
}

/// Moves guests to another table.
pub(crate) fn move_table(state: &State, number: u32, table: String, by: &str) -> Decided<()> {
    let check = open_check_of(state, number)?;
    known_table(state, &table)?;
    let moves = check.head.table.as_ref() != Some(&table);
    Ok((moves.then(|| Event::TableMoved { check_number: number, table, by: by.to_owned() }), ()))
}

/// Joins a check into another one. Doing it again is harmless.
pub(crate) fn merge(state: &State, number: u32, into: u32, by: &str) -> Decided<()> {
    if known_check(state, number)?.merged_into == Some(into) {
        return Ok((None, ()));
    }
    open_check_of(state, number)?;
    open_check_of(state, into)?;
    if number == into {
        return Err(Refusal::new(400, cause::INVALID_REQUEST, "a check is not joined into itself").at("into"));
    }
    Ok((Some(Event::ChecksMerged { check_number: number, into, by: by.to_owned() }), ()))
}

/// Puts a discount or a charge on a check.
pub(crate) fn adjust(state: &State, number: u32, line: (String, i64, u32), by: &str) -> Decided<()> {
    let check = open_check_of(state, number)?;
    let (name, amount, tax_rate_percent) = line;
    text::printable(Some(&name), "name")?;
    let left = totals(check.lines()).total;
    if amount == 0 || left.checked_add(amount).is_none_or(|left| left < 0) {
        let message = format!("an adjustment is not 0 and leaves nothing below 0; the check stands at {left}");
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at("amount"));
    }
    let line = amount_line(state, &name, amount, tax_rate_percent);
    Ok((Some(Event::CheckAdjusted { check_number: number, by: by.to_owned(), line }), ()))
}

/// An amount as a line without an item.
pub(super) fn amount_line(state: &State, name: &str, amount: i64, tax_rate_percent: u32) -> Line {
    Line {
        // Unique, since no other entry has the number.
        reference: format!("a{}-{tax_rate_percent}", state.next_seq()),
        item_id: String::new(),
        name: name.to_owned(),
        quantity: 1,
        voided: 0,
        service_mode: ServiceMode::DineIn,
        tax_rate_percent,
        unit_price: amount,
        total: amount,
        modifiers: Vec::new(),
        note: None,
        service_charge: None,
    }
}

fn known_table(state: &State, table: &str) -> Result<(), Refusal> {
    if state.menu.has_table(table) {
        return Ok(());
    }
    Err(Refusal::new(422, cause::TABLE_UNKNOWN, format!("there is no table {table:?}")).at("table"))
}

/// Makes a slip again, marked so; answers the new one's number.
pub(crate) fn reprint(state: &State, number: u32, now: i64) -> Decided<u32> {
    let Some(original) = state.ticket(number) else {
        return Err(Refusal::new(404, cause::TICKET_NOT_FOUND, format!("there is no ticket {number}")));
    };
    let ticket = Ticket {
        number: state.next_ticket_number(),
        mark: TicketMark::Reprint,
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
        mark: TicketMark::Normal,
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
