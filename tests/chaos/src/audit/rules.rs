//! What must hold for each order by itself.

use std::collections::BTreeSet;

use posmesh_proto::order::v1::{Order, OrderState};

use super::{AtPos, Case, Facts, Kind, Violation, state_name, words};

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
    for at_pos in case.at_pos.iter().filter(|at_pos| at_pos.kitchen_tickets > 1) {
        say(Kind::Duplicated, format!("the kitchen has {} tickets of it", at_pos.kitchen_tickets));
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
    match case.at_pos.iter().find(|at_pos| at_pos.voided_ms.is_none()) {
        None if is_there(state) => say(Kind::Lost, format!("it is {}, and the POS lacks it", state_name(state))),
        Some(at_pos) if is_not_there(state) => {
            say(Kind::Untruthful, format!("it is {}, and the POS has it as {}", state_name(state), at_pos.number));
        }
        _ => {}
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

/// Records of the POS that belong to nobody's request.
pub(super) fn nobodys(cases: &[Case<'_>], facts: &Facts) -> Vec<Violation> {
    let ours: BTreeSet<u64> = cases.iter().flat_map(|case| &case.at_pos).map(|at_pos| at_pos.number).collect();
    let foreign = facts.at_pos.iter().filter(|at_pos| !ours.contains(&at_pos.number));
    let violation = |at_pos: &AtPos| Violation {
        kind: Kind::Duplicated,
        key: at_pos.note.clone(),
        what: "the POS has an order that nobody asked for".to_owned(),
        history: format!("{at_pos:?}"),
    };
    foreign.map(violation).collect()
}
