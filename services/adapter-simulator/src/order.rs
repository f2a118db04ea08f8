//! Orders: into the vendor's form, and back as evidence.

use posmesh_adapter_kit::{Submit, Unplaced};
use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{
        CancelledAtPos, LineProblem, PartlyFound, Placed, PosLine, PosOrder, PosOrderProgress, PosTender,
        find_order_response::Result as Found,
    },
    common::v1::{Evidence, EvidenceKind, Money, Product, ServiceMode},
};

use prost_types::Timestamp;
use tokio::time::Instant;

use crate::{
    descriptor::MAX_NOTE_CHARS,
    modifiers,
    profile::{Device, FindProfile, IdempotencyProfile, Profile},
    wire,
};

/// All amounts of this POS are in it.
pub(crate) const CURRENCY: &str = "JPY";
/// Longer ones are cut on the slip.
const MAX_GUEST_NAME_CHARS: usize = 45;
const MAX_TABLE_CHARS: usize = 20;

/// The order as the POS shall record it.
pub(crate) fn to_wire(
    submit: &Submit,
    external_tender: &str,
    profile: &Profile,
) -> Result<wire::SubmitOrder, Unplaced> {
    let order = &submit.order;
    if order.without_ticket && !profile.submits_without_ticket() {
        return Err(Unplaced::rejected(cause::NOT_SUPPORTED, "it would print a ticket that the kitchen has already"));
    }
    let slip = wire::SubmitOrder {
        reference: order.reference.clone(),
        uniqueness: uniqueness(profile),
        not_after: not_after_ms(submit.deadline, profile),
        product: product(order.product())?,
        check_number: None,
        table: None,
        party_size: None,
        display_number: text(&order.display_number),
        lines: order.lines.iter().map(line).collect::<Result<_, _>>()?,
        tenders: Vec::new(),
        expected_total: None,
        note: note(order, profile.device)?,
        pickup_at: order.pickup_time.as_ref().map(time::to_unix_ms),
        pager: text(&order.pager_number),
        without_ticket: order.without_ticket,
    };
    match profile.device {
        Device::Printer => Ok(slip),
        Device::Pos => on_the_bill(slip, order, external_tender),
    }
}

/// Adds what a till takes besides what the kitchen reads: the check, the price, the payment.
fn on_the_bill(
    slip: wire::SubmitOrder,
    order: &PosOrder,
    external_tender: &str,
) -> Result<wire::SubmitOrder, Unplaced> {
    let check = order.check.as_ref();
    let check_number = match check.map(|check| check.pos_check_reference.as_str()).filter(|r| !r.is_empty()) {
        Some(reference) => Some(reference.parse().map_err(|_| {
            Unplaced::rejected(cause::CHECK_NOT_FOUND, format!("{reference:?} is no check number of this POS"))
        })?),
        None => None,
    };
    Ok(wire::SubmitOrder {
        check_number,
        // A check that is known is named alone: staff may have moved its guests to another table.
        table: check.filter(|_| check_number.is_none()).and_then(|check| text(&check.table_id)),
        party_size: check.and_then(|check| u32::try_from(check.party_size).ok()).filter(|size| *size > 0),
        tenders: order.tenders.iter().map(|t| tender(t, external_tender)).collect::<Result<_, _>>()?,
        expected_total: order.expected_total.as_ref().map(yen).transpose()?,
        ..slip
    })
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn uniqueness(profile: &Profile) -> wire::Uniqueness {
    match profile.idempotency {
        IdempotencyProfile::Forever => wire::Uniqueness::Forever,
        IdempotencyProfile::Window => {
            let window_ms = u64::try_from(profile.idempotency_window.as_millis()).unwrap_or(u64::MAX);
            wire::Uniqueness::Window { window_ms }
        }
        IdempotencyProfile::None => wire::Uniqueness::None,
    }
}

/// Until when the POS may carry out a write: the attempt's deadline on the wall clock, rounded towards now, and what the
/// profile promises no better.
pub(crate) fn not_after_ms(deadline: Instant, profile: &Profile) -> i64 {
    let left = deadline.saturating_duration_since(Instant::now()) + profile.max_apply_delay;
    time::now_unix_ms().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
}

fn product(product: Product) -> Result<&'static str, Unplaced> {
    match product {
        Product::Table => Ok("table"),
        Product::ToGo => Ok("togo"),
        Product::Kiosk => Ok("kiosk"),
        Product::Unspecified => Err(Unplaced::rejected(cause::NOT_SUPPORTED, "the order names no product")),
    }
}

fn yen(money: &Money) -> Result<i64, Unplaced> {
    if money.currency_code == CURRENCY {
        return Ok(money.amount);
    }
    let message = format!("an amount is in {:?}; this POS knows {CURRENCY} alone", money.currency_code);
    Err(Unplaced::rejected(cause::MASTER_MISMATCH, message))
}

fn line(line: &PosLine) -> Result<wire::LineInput, Unplaced> {
    let refuse = |cause: &str, message: String| {
        let problem = LineProblem { line_id: line.line_id.clone(), cause: cause.to_owned(), message: message.clone() };
        Unplaced::rejected_lines(cause, message, vec![problem])
    };
    let service_mode = match line.service_mode() {
        ServiceMode::DineIn => wire::ServiceMode::DineIn,
        ServiceMode::Takeaway => wire::ServiceMode::Takeaway,
        ServiceMode::Unspecified => {
            return Err(refuse(cause::NOT_SUPPORTED, "a line does not say how it is served".to_owned()));
        }
    };
    let quantity = u32::try_from(line.quantity)
        .map_err(|_| refuse(cause::NOT_SUPPORTED, format!("a quantity of {} is none", line.quantity)))?;
    Ok(wire::LineInput {
        reference: line.line_id.clone(),
        item_id: line.item_id.clone(),
        quantity,
        service_mode,
        modifiers: modifiers::to_wire(&line.modifiers).map_err(|message| refuse(cause::NOT_SUPPORTED, message))?,
        note: text(&line.note),
    })
}

fn tender(tender: &PosTender, external_tender: &str) -> Result<wire::TenderInput, Unplaced> {
    let amount = tender.amount.as_ref().map(yen).transpose()?;
    Ok(wire::TenderInput {
        tender_id: text(&tender.tender_id).unwrap_or_else(|| external_tender.to_owned()),
        amount: amount.ok_or_else(|| Unplaced::rejected(cause::MASTER_MISMATCH, "a tender has no amount"))?,
        external_reference: text(&tender.reference),
    })
}

/// The POS has one text for the kitchen: the mark of a rehearsal, the guest's name and the note go into it, and the table
/// where there are no checks that would tell it.
fn note(order: &PosOrder, device: Device) -> Result<Option<String>, Unplaced> {
    if order.note.chars().count() > MAX_NOTE_CHARS {
        let message = format!("the note has more than {MAX_NOTE_CHARS} characters");
        return Err(Unplaced::rejected(cause::TEXT_NOT_REPRESENTABLE, message));
    }
    let test = if order.test { "TEST" } else { "" };
    let guest: String = order.guest_name.chars().take(MAX_GUEST_NAME_CHARS).collect();
    let table = order.check.as_ref().filter(|_| device == Device::Printer).map(|check| check.table_id.as_str());
    let table: String = table.unwrap_or_default().chars().take(MAX_TABLE_CHARS).collect();
    let parts: Vec<&str> = [test, &table, &guest, &order.note].into_iter().filter(|part| !part.is_empty()).collect();
    Ok(text(&parts.join(" / ")))
}

/// What the device's own record proves.
pub(crate) fn placed(answer: &wire::OrderAnswer, device: Device) -> Placed {
    match device {
        Device::Pos => at_the_till(answer),
        Device::Printer => on_the_slip(answer),
    }
}

fn at_the_till(answer: &wire::OrderAnswer) -> Placed {
    let order = &answer.order;
    let recorded = time::from_unix_ms(order.recorded_at);
    let mut evidence = vec![proof(EvidenceKind::Pos, order.order_number, recorded)];
    // It was made more than once: that must not stay unseen.
    evidence.extend(answer.copies.iter().map(|copy| proof(EvidenceKind::Pos, *copy, recorded)));
    if let Some(ticket_number) = order.ticket_number.filter(|_| answer.printed) {
        // The POS tells that it is printed, not when.
        evidence.push(proof(EvidenceKind::Printed, ticket_number, time::now()));
    }
    Placed {
        evidence,
        pos_order_reference: order.order_number.to_string(),
        pos_check_reference: answer.check_number.to_string(),
        display_number: own_number(order),
        total: Some(money(answer.total)),
        progress: progress(answer.progress).into(),
    }
}

/// A printer knows its slips by the numbers of its jobs; those of repeated jobs must not stay unseen.
fn on_the_slip(answer: &wire::OrderAnswer) -> Placed {
    let job = answer.order.order_number;
    // As the POS, it tells that it is printed, not when.
    let slip = |job: u32| proof(EvidenceKind::Printed, job, time::now());
    Placed {
        evidence: std::iter::once(job).chain(answer.copies.iter().copied()).map(slip).collect(),
        pos_order_reference: job.to_string(),
        display_number: own_number(&answer.order),
        ..Placed::default()
    }
}

fn proof(kind: EvidenceKind, reference: u32, time: Timestamp) -> Evidence {
    Evidence { kind: kind.into(), reference: reference.to_string(), time: Some(time), ..Evidence::default() }
}

fn own_number(order: &wire::Order) -> String {
    if order.request.display_number.is_none() { order.display_number.clone() } else { String::new() }
}

/// A slip that a printer has taken and not printed proves nothing yet: somebody may throw it away with the paper jam.
pub(crate) fn waits_for_the_printer(answer: &wire::OrderAnswer, device: Device) -> bool {
    device == Device::Printer && !answer.printed
}

/// An order that was found, compared with the lines that it was submitted with.
pub(crate) fn found(answer: &wire::OrderAnswer, line_ids: &[String], device: Device) -> Found {
    let is_there = |id: &&String| answer.order.lines.iter().any(|line| line.reference == **id);
    let (found, missing): (Vec<&String>, Vec<&String>) = line_ids.iter().partition(is_there);
    let placed = placed(answer, device);
    if let Some(cancelled_at) = answer.cancelled_at {
        let placed = Placed { progress: PosOrderProgress::Cancelled.into(), ..placed };
        let cancel_time = Some(time::from_unix_ms(cancelled_at));
        return Found::Cancelled(CancelledAtPos { placed: Some(placed), cancel_time });
    }
    if missing.is_empty() {
        return Found::Found(placed);
    }
    Found::PartlyFound(PartlyFound {
        found_line_ids: found.into_iter().cloned().collect(),
        missing_line_ids: missing.into_iter().cloned().collect(),
        placed: Some(placed),
    })
}

/// How far an order is, in the platform's words.
pub(crate) fn progress(progress: wire::Progress) -> PosOrderProgress {
    match progress {
        wire::Progress::Accepted => PosOrderProgress::Accepted,
        wire::Progress::InPreparation => PosOrderProgress::InPreparation,
        wire::Progress::Ready => PosOrderProgress::Ready,
        wire::Progress::Completed => PosOrderProgress::Completed,
        wire::Progress::Other => PosOrderProgress::Unspecified,
    }
}

/// Whether an order that the POS does not find is not there: it must not be so old that the POS may have forgotten it.
pub(crate) fn absence_is_proof(profile: &Profile, refusal: &wire::Refusal, placed: Option<&Timestamp>) -> bool {
    let forgotten = refusal.complete_since.is_some_and(|since| placed.is_none_or(|at| time::to_unix_ms(at) < since));
    profile.find == FindProfile::Authoritative && !forgotten
}

pub(crate) fn money(amount: i64) -> Money {
    Money { currency_code: CURRENCY.to_owned(), amount }
}
