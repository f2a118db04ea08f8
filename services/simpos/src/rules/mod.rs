//! What the POS decides: from its state, a request and the time to an event or a refusal. No I/O.

mod changes;
mod checks;
mod order;
mod split;
mod text;

pub(crate) use changes::{By, cancel, lose, progress, progress_due, set_settings, unknown_order, void};
pub(crate) use checks::{adjust, bill, close, enter_by_staff, merge, move_table, open_check, reprint};
pub(crate) use order::submit;
pub(crate) use split::split;

use crate::api::{
    Item, Line, LineInput, MAX_LINES, MAX_TENDERS, Menu, PrinterState, Refusal, SetAvailability, Tender, TicketKind,
    TicketMark, cause,
};
use crate::journal::{Conditions, Event};
use crate::pricing::price_line;
use crate::state::{CheckRecord, State};
use crate::stock;

/// How long a caller should wait before asking a till that is closed or loading.
const NOT_READY_RETRY_MS: u64 = 5_000;

/// What was decided: the event to record, if any, and what the caller is told.
pub(crate) type Decided<T> = Result<(Option<Event>, T), Refusal>;

/// Marks an item sold out or available, or counts it. Answers whether it is available then, and how many are left.
pub(crate) fn set_availability(state: &State, item_id: &str, set: &SetAvailability) -> Decided<(bool, Option<u32>)> {
    let item = known_item(state, item_id)?;
    let counted_before = item.remaining.filter(|left| *left > 0 || !set.available);
    let remaining = set.remaining.or(counted_before);
    let available = set.available && remaining != Some(0);
    let event = Event::AvailabilityChanged { item_id: item_id.to_owned(), available, remaining };
    let is_news = (item.available, item.remaining) != (available, remaining);
    Ok((is_news.then_some(event), (available, remaining)))
}

/// Changes a price.
pub(crate) fn change_price(state: &State, item_id: &str, price: i64) -> Decided<()> {
    known_item(state, item_id)?;
    Ok((Some(Event::PriceChanged { item_id: item_id.to_owned(), price }), ()))
}

/// Replaces the menu by any other, sound or not.
pub(crate) fn replace_master(menu: Menu) -> Decided<()> {
    Ok((Some(Event::MasterReplaced { menu: Box::new(menu) }), ()))
}

/// Changes printer and till; a printer that is ready prints what waits.
pub(crate) fn set_conditions(state: &State, conditions: Conditions, now: i64) -> Decided<()> {
    let ready = conditions.printer == PrinterState::Ready;
    let printed_tickets: Vec<u32> = if ready { state.waiting_tickets().iter().copied().collect() } else { Vec::new() };
    let changed = conditions != state.conditions || !printed_tickets.is_empty();
    let late_tickets = printed_tickets.iter().copied().filter(|number| is_late(state, *number, now)).collect();
    Ok((changed.then_some(Event::ConditionsChanged { conditions, printed_tickets, late_tickets }), ()))
}

/// Whether the kitchen must be told that the slip is an old one.
fn is_late(state: &State, ticket_number: u32, now: i64) -> bool {
    let Some(ticket) = state.ticket(ticket_number) else { return false };
    let to_be_cooked = ticket.kind == TicketKind::Kitchen && ticket.mark == TicketMark::Normal;
    to_be_cooked && now > ticket.created_at.saturating_add_unsigned(state.settings.late_after_ms)
}

fn known_item<'a>(state: &'a State, item_id: &str) -> Result<&'a Item, Refusal> {
    let unknown = || Refusal::new(404, cause::ITEM_UNKNOWN, format!("item {item_id:?} is not on the menu"));
    state.menu.item(item_id).map(|(item, _)| item).ok_or_else(|| unknown().item(item_id))
}

/// Refuses writes while the till is not ready for them.
fn till_is_ready(state: &State) -> Result<(), Refusal> {
    let not_now = |cause, message: &str| Err(Refusal::for_now(503, cause, message, NOT_READY_RETRY_MS));
    if state.conditions.business_day_closed {
        return not_now(cause::BUSINESS_DAY_NOT_OPEN, "the till's day is closed: open it at the till");
    }
    if state.conditions.master_updating {
        return not_now(cause::MASTER_UPDATING, "the till is loading master data: wait until it has");
    }
    Ok(())
}

/// A check that guests still sit at.
fn open_check_of(state: &State, number: u32) -> Result<&CheckRecord, Refusal> {
    let check = known_check(state, number)?;
    if check.is_open() {
        return Ok(check);
    }
    let (cause, message) = match check.merged_into {
        Some(into) => (cause::CHECK_MERGED, format!("check {number} was joined into {into}")),
        None => (cause::CHECK_CLOSED, format!("check {number} is closed")),
    };
    Err(Refusal::new(422, cause, message))
}

fn known_check(state: &State, number: u32) -> Result<&CheckRecord, Refusal> {
    let unknown = || Refusal::new(404, cause::CHECK_NOT_FOUND, format!("there is no check {number}"));
    state.check(number).ok_or_else(unknown)
}

/// Prices lines; references must be unique among them and not be `taken`.
fn price_lines(state: &State, inputs: &[LineInput], taken: impl Fn(&str) -> bool) -> Result<Vec<Line>, Refusal> {
    if inputs.is_empty() || inputs.len() > MAX_LINES {
        let message = format!("an order has 1 to {MAX_LINES} lines, got {}", inputs.len());
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at("lines"));
    }
    let mut lines: Vec<Line> = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let at = format!("lines[{index}]");
        text::reference(&input.reference, &format!("{at}.reference"))?;
        text::printable(input.note.as_deref(), &format!("{at}.note"))?;
        if taken(&input.reference) || lines.iter().any(|line| line.reference == input.reference) {
            let message = format!("line reference {:?} is used twice", input.reference);
            return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(format!("{at}.reference")));
        }
        lines.push(price_line(&state.menu, input, &at)?);
        stock::check(&state.menu, &lines, &at)?;
    }
    Ok(lines)
}

/// Checks payments, which must make exactly `due` if there are any.
fn check_tenders(state: &State, tenders: &[Tender], due: i64) -> Result<(), Refusal> {
    if tenders.len() > MAX_TENDERS {
        let message = format!("at most {MAX_TENDERS} tenders, got {}", tenders.len());
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at("tenders"));
    }
    for (index, tender) in tenders.iter().enumerate() {
        let at = |field: &str| format!("tenders[{index}].{field}");
        if !state.menu.has_tender(&tender.tender_id) {
            let message = format!("there is no tender {:?}", tender.tender_id);
            return Err(Refusal::new(422, cause::TENDER_UNKNOWN, message).at(at("tender_id")));
        }
        if tender.amount <= 0 {
            let message = format!("a payment is above 0, got {}", tender.amount);
            return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(at("amount")));
        }
        text::printable(tender.external_reference.as_deref(), &at("external_reference"))?;
    }
    let paid = tenders.iter().fold(0i64, |sum, tender| sum.saturating_add(tender.amount));
    if !tenders.is_empty() && paid != due {
        let message = format!("the tenders make {paid} yen, to pay are {due}");
        return Err(Refusal::new(422, cause::TENDER_MISMATCH, message).at("tenders"));
    }
    Ok(())
}

/// Refuses what came too late.
fn not_expired(not_after: Option<i64>, now: i64) -> Result<(), Refusal> {
    match not_after {
        Some(not_after) if now > not_after => {
            let message = format!("not_after passed {} ms ago: nothing was recorded", now.saturating_sub(not_after));
            Err(Refusal::new(422, cause::EXPIRED, message).at("not_after"))
        }
        _ => Ok(()),
    }
}

/// A slip is printed as it is made, if the printer can.
fn printed_at(state: &State, now: i64) -> Option<i64> {
    (state.conditions.printer == PrinterState::Ready).then_some(now)
}

/// What the journal calls a member of the staff.
pub(crate) fn staff(name: &str) -> Result<String, Refusal> {
    text::reference(name, "staff")?;
    Ok(format!("staff:{name}"))
}
