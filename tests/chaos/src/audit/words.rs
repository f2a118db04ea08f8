//! What must hold for every word that a caller was told about an order.

use std::collections::HashMap;

use super::{
    AtPos, Case, Kind,
    rules::{is_not_there, is_there},
    state_name,
};
use crate::book::{Seen, What};

/// The POS and the callers cut their times to milliseconds.
const CLOCK_MS: i64 = 1;

pub(super) fn judge(case: &Case<'_>, say: &mut impl FnMut(Kind, String)) {
    let told = &case.request.told;
    for at in told {
        match &at.what {
            What::Seen(seen) => {
                if let Some(what) = lie(case, seen, at.at_ms) {
                    say(Kind::Untruthful, what);
                }
            }
            What::NotFound => {
                let told_before = |id: &&str| {
                    told.iter().any(|other| other.at_ms < at.asked_ms && other.what.order_id() == Some(*id))
                };
                if case.told_ids.iter().any(told_before) {
                    say(Kind::Lost, "its caller was told that there is no such order".to_owned());
                }
            }
            What::LeftInTheDark => {
                if case.orders.first().is_some_and(|order| is_there(order.state()) || is_not_there(order.state())) {
                    say(Kind::Stuck, "a watcher was never told how it ended".to_owned());
                }
            }
            What::Refused(_) | What::Unknown(_) | What::Said(_) => {}
        }
    }
    if was_only_refused(case) && !(case.orders.is_empty() && case.records().next().is_none()) {
        say(Kind::Untruthful, "each call was refused, and it was taken".to_owned());
    }
    if let Some(what) = goes_back(case) {
        say(Kind::Untruthful, what);
    }
}

fn was_only_refused(case: &Case<'_>) -> bool {
    let told = &case.request.told;
    let says_no = |what: &What| matches!(what, What::Refused(_) | What::Said(_));
    told.iter().any(|at| matches!(at.what, What::Refused(_))) && told.iter().all(|at| says_no(&at.what))
}

/// What is wrong with a state that was told at a time.
fn lie(case: &Case<'_>, seen: &Seen, at_ms: i64) -> Option<String> {
    let state = state_name(seen.state);
    if is_there(seen.state) {
        let proof = case.records().any(|record| record.at_ms <= at_ms + CLOCK_MS);
        return (!proof).then(|| format!("{state} was told before the POS had it"));
    }
    if is_not_there(seen.state) {
        let is_live = |record: &&AtPos| record.voided_ms.is_none_or(|voided| voided > at_ms + CLOCK_MS);
        let live = case.records().find(is_live)?;
        return Some(format!("{state} was told, and the kitchen has it as {}", live.number));
    }
    None
}

/// Who asks after having been told something must not be told what was before.
fn goes_back(case: &Case<'_>) -> Option<String> {
    let mut known: HashMap<&str, Vec<(i64, i64)>> = HashMap::new();
    for told in &case.request.told {
        let What::Seen(Seen { order_id, state, version: Some(version) }) = &told.what else { continue };
        let before = known.entry(order_id).or_default();
        if let Some((_, newer)) = before.iter().find(|(at_ms, newer)| *at_ms < told.asked_ms && newer > version) {
            return Some(format!("{} v{version} was told after v{newer}", state_name(*state)));
        }
        before.push((told.at_ms, *version));
    }
    None
}
