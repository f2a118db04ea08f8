//! What must hold for the rounds of one check.

use std::collections::BTreeMap;

use super::{AtPos, Case, Facts, Kind, Violation};

/// A round that the POS has.
struct Round<'a> {
    case: &'a Case<'a>,
    number: i32,
    at_pos: &'a AtPos,
}

pub(super) fn judge(cases: &[Case<'_>], facts: &Facts) -> Vec<Violation> {
    let mut checks: BTreeMap<&str, Vec<Round<'_>>> = BTreeMap::new();
    for case in cases {
        let (Some(order), Some(at_pos)) = (case.orders.first(), case.at_pos.first()) else { continue };
        if !order.check_id.is_empty() {
            checks.entry(&order.check_id).or_default().push(Round { case, number: order.round, at_pos });
        }
    }
    let mut violations = printed(cases);
    for rounds in checks.values_mut() {
        rounds.sort_by_key(|round| round.at_pos.number);
        for pair in rounds.windows(2) {
            violations.extend(between(&pair[0], &pair[1], facts));
        }
    }
    violations
}

/// What is wrong with the order in which the fallback printed rounds.
fn printed(cases: &[Case<'_>]) -> Vec<Violation> {
    let mut checks: BTreeMap<&str, Vec<(u64, i32, &Case<'_>)>> = BTreeMap::new();
    for case in cases {
        let (Some(order), Some(slip)) = (case.orders.first(), case.at_fallback.first()) else { continue };
        if !order.check_id.is_empty() {
            checks.entry(&order.check_id).or_default().push((slip.number, order.round, case));
        }
    }
    let mut violations = Vec::new();
    for rounds in checks.values_mut() {
        rounds.sort_by_key(|(number, ..)| *number);
        for pair in rounds.windows(2) {
            let ((_, first, _), (_, next, case)) = (pair[0], pair[1]);
            if first >= next {
                let what = format!("round {next} was printed after round {first}");
                violations.push(case.violation(Kind::OutOfOrder, what));
            }
        }
    }
    violations
}

/// What is wrong between a round and the one of its check that the POS recorded next.
fn between(first: &Round<'_>, next: &Round<'_>, facts: &Facts) -> Option<Violation> {
    let wrong = |what| Some(next.case.violation(Kind::OutOfOrder, what));
    if first.number >= next.number {
        let (late, early) = (next.number, first.number);
        return wrong(format!("round {late} reached the POS after round {early} ({})", first.case.history()));
    }
    let (before, after) = (&first.at_pos.check, &next.at_pos.check);
    // A check whose only round is taken back is no more, either.
    let ended_ms = facts.closed_checks.get(before).copied().or(first.at_pos.voided_ms);
    let was_closed = ended_ms.is_some_and(|ended_ms| ended_ms <= next.at_pos.at_ms);
    if before != after && !was_closed {
        return wrong(format!("round {} opened check {after} beside the open check {before}", next.number));
    }
    if before == after && first.case.request.party != next.case.request.party {
        return wrong(format!("two parties share check {after}"));
    }
    None
}
