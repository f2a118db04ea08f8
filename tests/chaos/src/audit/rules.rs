//! What must hold for each order by itself.

use std::collections::BTreeSet;

use posmesh_proto::order::v1::{Order, OrderState, PosEntry};

use super::{AtPos, Case, Facts, Kind, Violation, entry_name, state_name, words};

/// The POS has it.
pub(super) fn is_there(state: OrderState) -> bool {
    use OrderState::{Completed, InPreparation, Placed, Ready};
    matches!(state, Placed | InPreparation | Ready | Completed)
}

/// The POS does not have it, and never will.
pub(super) fn is_not_there(state: OrderState) -> bool {
    matches!(state, OrderState::Rejected | OrderState::Expired | OrderState::Cancelled)
}

pub(super) fn judge(case: &Case<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut say = |kind, what: String| violations.push(case.violation(kind, what));
    once(case, &mut say);
    if let Some(order) = case.orders.first() {
        at_rest(case, order, &mut say);
    } else if !case.told_ids.is_empty() {
        say(Kind::Lost, "it was acknowledged, and the platform has no such order".to_owned());
    }
    words::judge(case, &mut say);
    violations
}

fn once(case: &Case<'_>, say: &mut impl FnMut(Kind, String)) {
    let known = case.orders.iter().map(|order| order.order_id.as_str());
    let ids: BTreeSet<&str> = case.told_ids.iter().copied().chain(known).collect();
    if ids.len() > 1 {
        say(Kind::Duplicated, format!("one key made {} orders", ids.len()));
    }
    if case.at_pos.len() > 1 {
        say(Kind::Duplicated, format!("the POS has it {} times", case.at_pos.len()));
    }
    if case.at_fallback.len() > 1 {
        say(Kind::Duplicated, format!("the fallback has it {} times", case.at_fallback.len()));
    }
    let tickets: usize = case.records().map(|record| record.kitchen_tickets).sum();
    // Those of an order that the POS has twice have been told of.
    if tickets > 1 && case.at_pos.len() < 2 && case.at_fallback.len() < 2 {
        say(Kind::Duplicated, format!("the kitchen has {tickets} tickets of it"));
    }
    let tenders = case.at_pos.iter().flat_map(|at_pos| &at_pos.tenders);
    let paid = tenders.filter(|reference| **reference == case.request.key).count();
    let due = usize::from(case.request.is_paid && !case.at_pos.is_empty());
    if paid > due {
        say(Kind::Duplicated, format!("its payment stands at the POS {paid} times"));
    } else if paid < due {
        say(Kind::Lost, "the POS has it without its payment".to_owned());
    }
}

fn at_rest(case: &Case<'_>, order: &Order, say: &mut impl FnMut(Kind, String)) {
    let state = order.state();
    let live =
        |records: &[&AtPos]| records.iter().find(|record| record.voided_ms.is_none()).map(|record| record.number);
    let (at_pos, at_fallback) = (live(&case.at_pos), live(&case.at_fallback));
    match (at_pos, at_fallback) {
        (None, None) if is_there(state) => {
            say(Kind::Lost, format!("it is {}, and the POS lacks it", state_name(state)))
        }
        (Some(number), _) | (None, Some(number)) if is_not_there(state) => {
            say(Kind::Untruthful, format!("it is {}, and the kitchen has it as {number}", state_name(state)));
        }
        _ => {}
    }
    if is_there(state) && order.pos_entry() != PosEntry::Unspecified {
        entry(order, at_pos.is_some(), at_fallback.is_some(), say);
    }
    if !is_there(state) && !is_not_there(state) && order.attention.is_empty() {
        say(Kind::Stuck, format!("it is still {}, and no person was told", state_name(state)));
    }
    let is_false = |mark: &&String| match mark.as_str() {
        "GONE_FROM_POS" | "CONTRADICTED_END" => is_there(state) && case.at_pos.len() == 1,
        "DUPLICATE_AT_POS" => case.at_pos.len() == 1,
        "TOTAL_DIFFERS" => case.at_pos.iter().all(|at_pos| at_pos.total == Some(case.request.total)),
        _ => false,
    };
    for mark in order.attention.iter().filter(is_false) {
        say(Kind::Untruthful, format!("a person was told {mark}, which is not so"));
    }
    for other in &case.retold {
        if other.version != order.version || other.state() != state {
            let (state, other) = (state_name(state), state_name(other.state()));
            say(Kind::Untruthful, format!("at rest one replica tells {state}, another one {other}"));
        }
    }
    for total in case.at_pos.iter().filter_map(|at_pos| at_pos.total).filter(|total| *total != case.request.total) {
        say(Kind::Untruthful, format!("the guest agreed to {}, the POS takes {total}", case.request.total));
    }
}

/// What must hold for an order that the kitchen cooks by the fallback's ticket.
fn entry(order: &Order, at_pos: bool, at_fallback: bool, say: &mut impl FnMut(Kind, String)) {
    let entry = entry_name(order.pos_entry());
    let has = |mark: &str| order.attention.iter().any(|known| known == mark);
    if !at_fallback {
        say(Kind::Lost, format!("its entry is {entry}, and the fallback lacks it"));
    }
    match order.pos_entry() {
        PosEntry::Entered if !at_pos => say(Kind::Lost, "it was entered, and the POS lacks it".to_owned()),
        PosEntry::NotDue => say(Kind::Stuck, "the kitchen has it, and its entry is not due".to_owned()),
        PosEntry::Due if !order.attention.iter().any(|mark| mark.starts_with("POS_ENTRY_")) => {
            say(Kind::Stuck, "it was never entered, and is not on the staff's list".to_owned());
        }
        // They would enter it once more; where it is in doubt they look first.
        PosEntry::Due if at_pos && !has("POS_ENTRY_IN_DOUBT") => {
            say(Kind::Untruthful, "the staff are to enter what the POS has".to_owned());
        }
        _ => {}
    }
}

/// Records of the POS and of the fallback that belong to nobody's request.
pub(super) fn nobodys(cases: &[Case<'_>], facts: &Facts) -> Vec<Violation> {
    let numbers = |of: for<'a> fn(&'a Case<'_>) -> &'a [&'a AtPos]| -> BTreeSet<u64> {
        cases.iter().flat_map(of).map(|record| record.number).collect()
    };
    let (ours, printed) = (numbers(|case| &case.at_pos), numbers(|case| &case.at_fallback));
    let at_pos = facts.at_pos.iter().filter(|record| !ours.contains(&record.number));
    let foreign = at_pos.chain(facts.at_fallback.iter().filter(|record| !printed.contains(&record.number)));
    let violation = |at_pos: &AtPos| Violation {
        kind: Kind::Duplicated,
        key: at_pos.note.clone(),
        what: "the kitchen has an order that nobody asked for".to_owned(),
        history: format!("{at_pos:?}"),
    };
    foreign.map(violation).collect()
}
