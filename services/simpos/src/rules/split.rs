//! Splitting a check, evenly or by item.

use std::collections::BTreeMap;

use super::changes::{By, another_change, change_reference, check_change};
use super::checks::amount_line;
use super::{Decided, not_expired, open_check_of};
use crate::api::{Line, LineShare, MAX_PARTS, Refusal, SplitCheck, cause};
use crate::journal::{CheckHead, Event, NewPart, SplitAsked};
use crate::pricing::totals;
use crate::state::{Changed, CheckRecord, State};

/// Splits a check into itself and new ones; answers the numbers of all of them, its own first.
pub(crate) fn split(state: &State, number: u32, request: &SplitCheck, by: &By, now: i64) -> Decided<Vec<u32>> {
    let asked = asked(request)?;
    if let By::Api = by {
        check_change(&request.change_reference, None)?;
        if let Some(parts) = split_before(state, number, request, &asked)? {
            return Ok((None, parts));
        }
        not_expired(request.not_after, now)?;
    }
    let check = open_check_of(state, number)?;
    if !check.tenders.is_empty() {
        let message = format!("check {number} is paid in part: split it before");
        return Err(Refusal::new(422, cause::CHECK_AWAITING_PAYMENT, message));
    }
    let (off, parts) = match &asked {
        SplitAsked::Evenly(parts) => evenly(state, check, *parts)?,
        SplitAsked::ByItem(parts) => (Vec::new(), by_item(state, check, parts)?),
    };
    let numbers = std::iter::once(number).chain(parts.iter().map(|part| part.check.number)).collect();
    let change_reference = change_reference(&request.change_reference, by);
    let by = by.name().to_owned();
    Ok((Some(Event::CheckSplit { check_number: number, change_reference, by, asked, off, parts }), numbers))
}

/// The checks of a split that was made before under its reference.
fn split_before(
    state: &State,
    number: u32,
    request: &SplitCheck,
    asked: &SplitAsked,
) -> Result<Option<Vec<u32>>, Refusal> {
    match state.change(&request.change_reference) {
        None => Ok(None),
        Some(Changed::Split { check_number, asked: made, numbers }) if *check_number == number && made == asked => {
            Ok(Some(numbers.clone()))
        }
        Some(_) => Err(another_change(&request.change_reference)),
    }
}

fn asked(request: &SplitCheck) -> Result<SplitAsked, Refusal> {
    let invalid = |field: &str| {
        let message = format!("give parts, 2 to {MAX_PARTS}, or by_item with 1 to {} lists of lines", MAX_PARTS - 1);
        Refusal::new(400, cause::INVALID_REQUEST, message).at(field)
    };
    match (request.parts, request.by_item.len()) {
        (Some(parts), 0) if (2..=MAX_PARTS).contains(&parts) => Ok(SplitAsked::Evenly(parts)),
        (Some(_), _) => Err(invalid("parts")),
        (None, 1..) if request.by_item.len() < MAX_PARTS as usize => {
            Ok(SplitAsked::ByItem(request.by_item.iter().map(|part| part.lines.clone()).collect()))
        }
        (None, _) => Err(invalid("by_item")),
    }
}

/// Each new check bears its share of each rate's amount; what does not divide stays on the first.
fn evenly(state: &State, check: &CheckRecord, parts: u32) -> Result<(Vec<Line>, Vec<NewPart>), Refusal> {
    let totals = totals(check.lines());
    if totals.total == 0 {
        let message = format!("nothing is to be paid on check {}", check.head.number);
        return Err(Refusal::new(422, cause::INVALID_REQUEST, message));
    }
    let share = |index: u32, amount: fn(i64, i64) -> i64| -> Vec<Line> {
        let name = format!("割り勘 SPLIT {index}/{parts}");
        let lines = totals.taxes.iter().map(|tax| (tax.rate_percent, amount(tax.gross, i64::from(parts))));
        let lines = lines.filter(|(_, amount)| *amount != 0);
        lines.map(|(rate, amount)| amount_line(state, &name, amount, rate)).collect()
    };
    let new = |index: u32| NewPart {
        check: head(state, check, index),
        moved: Vec::new(),
        on: share(index + 2, |g, n| g / n),
    };
    Ok((share(1, |gross, parts| -(gross / parts) * (parts - 1)), (0..parts - 1).map(new).collect()))
}

fn by_item(state: &State, check: &CheckRecord, parts: &[Vec<LineShare>]) -> Result<Vec<NewPart>, Refusal> {
    let mut left: BTreeMap<u32, u32> =
        check.lines.iter().map(|line| (line.line_id, line.line.quantity - line.line.voided)).collect();
    let mut new = Vec::with_capacity(parts.len());
    for (index, shares) in parts.iter().enumerate() {
        if shares.is_empty() {
            let message = "a new check takes at least one line";
            return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(format!("by_item[{index}].lines")));
        }
        for (at, share) in shares.iter().enumerate() {
            let of_line = left.get_mut(&share.line_id).filter(|left| (1..=**left).contains(&share.quantity));
            let left = of_line.ok_or_else(|| {
                let message =
                    format!("check {} has not {} of line {}", check.head.number, share.quantity, share.line_id);
                Refusal::new(422, cause::LINE_UNKNOWN, message).at(format!("by_item[{index}].lines[{at}]"))
            })?;
            *left -= share.quantity;
        }
        // At most MAX_PARTS parts.
        let check = head(state, check, index as u32);
        new.push(NewPart { check, moved: shares.clone(), on: Vec::new() });
    }
    Ok(new)
}

/// The new check beside the one that was split.
fn head(state: &State, check: &CheckRecord, index: u32) -> CheckHead {
    CheckHead {
        number: state.next_check_number() + index,
        table: check.head.table.clone(),
        party_size: None,
        opened_by: check.head.opened_by.clone(),
    }
}
