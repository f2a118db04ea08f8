//! Where our orders and the POS's do not agree, and what would mend it. No rule sends an order again: what is missing at
//! the POS is for a person, who knows whether it was made.

use posmesh_kit::time::to_unix_ms;
use posmesh_proto::{
    adapter::v1::{PosOrderProgress, PosOrderRecord},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{Attempt, Discrepancy, DiscrepancyKind, Order, OrderChangeState, OrderState, PosEntry, ProposedRepair},
};

use super::lifecycle::{PLATFORM, attention, entry, is_fallback, last_submit, told_not_there};

/// What the POS shows of an order of ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Theirs {
    /// These; at least one.
    Shown(Vec<PosOrderRecord>),
    /// It was asked for this very order, and proved that it does not have it.
    Absent,
    /// It shows nothing, which proves nothing.
    Unproven,
}

/// Where the two do not agree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// For the caller.
    pub(crate) discrepancy: Discrepancy,
    /// What the POS shows of it, to be noted.
    pub(crate) records: Vec<PosOrderRecord>,
    /// What a person must look at, beyond what the records raise by themselves.
    pub(crate) flag: Option<&'static str>,
}

/// Compares an order of ours with what the POS shows of it.
pub(crate) fn compare(order: &Order, theirs: &Theirs, now_ms: i64) -> Option<Finding> {
    let records = match theirs {
        Theirs::Shown(records) => records,
        Theirs::Absent => return missing(order),
        Theirs::Unproven => return None,
    };
    if is_under_way(order, now_ms) {
        return None;
    }
    let alive: Vec<&PosOrderRecord> = records.iter().filter(|r| r.progress() != PosOrderProgress::Cancelled).collect();
    match alive.as_slice() {
        [] => cancelled(order, records),
        [record] => shown(order, record),
        several => Some(twice(order, several.iter().map(|record| (*record).clone()).collect())),
    }
}

/// An order at the POS that claims to be ours, and that nobody here knows.
pub(crate) fn unknown(record: PosOrderRecord) -> Discrepancy {
    let message = format!(
        "the POS has an order under the platform's reference {:?} ({}), which the platform does not know",
        record.reference,
        number(&record)
    );
    Discrepancy {
        kind: DiscrepancyKind::ExtraAtPos.into(),
        order: None,
        record: Some(record),
        message,
        repair: ProposedRepair::TellPerson.into(),
        repaired: false,
    }
}

/// Its answer is still to come: its owner sees to it.
fn is_under_way(order: &Order, now_ms: i64) -> bool {
    let ends_ms = |attempt: Option<&Attempt>| attempt.and_then(|a| a.not_after.as_ref()).map_or(0, to_unix_ms);
    order.state() == OrderState::Sending && now_ms < ends_ms(last_submit(order))
        || entry::is_pending(order) && now_ms < ends_ms(entry::open_entry(order))
}

fn is_at_pos(state: OrderState) -> bool {
    use OrderState as S;
    matches!(state, S::Placed | S::InPreparation | S::Ready | S::Completed)
}

/// Only what the POS itself has shown once can be missing there: what the staff entered by hand is under no reference.
fn missing(order: &Order) -> Option<Finding> {
    let shown = |e: &Evidence| e.kind() == EvidenceKind::Pos && !is_fallback(order, &e.connection_id);
    let was_shown = order.evidence.iter().any(shown);
    if !is_at_pos(order.state()) || !was_shown {
        return None;
    }
    let message = format!("{} is {} here, and the POS does not have it any more", name(order), state(order));
    let finding = finding(DiscrepancyKind::MissingAtPos, order, None, message, ProposedRepair::TellPerson);
    Some(Finding { flag: Some(attention::GONE_FROM_POS), ..finding })
}

fn cancelled(order: &Order, records: &[PosOrderRecord]) -> Option<Finding> {
    if told_not_there(order.state()) {
        return None;
    }
    let kind = if is_at_pos(order.state()) { DiscrepancyKind::Different } else { DiscrepancyKind::ExtraAtPos };
    let record = records.first()?;
    let message =
        format!("{} is {} here, and was cancelled at the POS ({})", name(order), state(order), number(record));
    Some(Finding { records: records.to_vec(), ..finding(kind, order, Some(record), message, ProposedRepair::Record) })
}

fn twice(order: &Order, records: Vec<PosOrderRecord>) -> Finding {
    let numbers: Vec<String> = records.iter().map(number).collect();
    let message = format!("{} was made {} times at the POS: {}", name(order), records.len(), numbers.join(", "));
    let first = records.first();
    let finding = finding(DiscrepancyKind::DuplicateAtPos, order, first, message, ProposedRepair::TellPerson);
    Finding { flag: Some(attention::DUPLICATE_AT_POS), records, ..finding }
}

/// The POS has it, once.
fn shown(order: &Order, record: &PosOrderRecord) -> Option<Finding> {
    let is_entered = !matches!(order.pos_entry(), PosEntry::NotDue | PosEntry::Due);
    if is_at_pos(order.state()) && is_entered {
        return held_as_placed(order, record);
    }
    let noted = |message, repair| Finding {
        records: vec![record.clone()],
        ..finding(DiscrepancyKind::ExtraAtPos, order, Some(record), message, repair)
    };
    let (name, state, number) = (name(order), state(order), number(record));
    if !is_entered {
        let message = format!("{name} is not known to be entered here, and the POS has it ({number})");
        return Some(noted(message, ProposedRepair::Record));
    }
    if !told_not_there(order.state()) {
        let message = format!("{name} is {state} here, and the POS has it ({number})");
        return Some(noted(message, ProposedRepair::Record));
    }
    let message = format!("the guest was told that {name} is {state}, and the POS has it ({number})");
    let is_refused = |change: &posmesh_proto::order::v1::OrderChange| {
        change.requested_by == PLATFORM && change.state() == OrderChangeState::Refused
    };
    // What the POS made twice, or does not take back, only a person can sort out.
    let why = if is_another_one(order, record) {
        format!(", which it had as {} before", order.pos_order_references.join(", "))
    } else if order.changes.iter().any(is_refused) {
        ", and does not take it back".to_owned()
    } else {
        return Some(noted(message, ProposedRepair::CancelAtPos));
    };
    let finding = noted(format!("{message}{why}"), ProposedRepair::TellPerson);
    Some(Finding { flag: Some(attention::CONTRADICTED_END), ..finding })
}

/// The POS had the order under another number before.
fn is_another_one(order: &Order, record: &PosOrderRecord) -> bool {
    let (known, reference) = (&order.pos_order_references, &record.pos_order_reference);
    !known.is_empty() && !reference.is_empty() && !known.contains(reference)
}

fn held_as_placed(order: &Order, record: &PosOrderRecord) -> Option<Finding> {
    if is_another_one(order, record) {
        let (name, known) = (name(order), order.pos_order_references.join(", "));
        let message = format!("{name} was {known} at the POS, and is {} there now", number(record));
        let finding =
            finding(DiscrepancyKind::DuplicateAtPos, order, Some(record), message, ProposedRepair::TellPerson);
        return Some(Finding { records: vec![record.clone()], flag: Some(attention::DUPLICATE_AT_POS), ..finding });
    }
    let lines = line_differences(order, record);
    let total = total_difference(order, record);
    let progress = progress_difference(order, record);
    let flag = match (lines.is_empty(), total.is_some()) {
        (false, _) => Some(attention::LINES_DIFFER),
        (true, true) => Some(attention::TOTAL_DIFFERS),
        (true, false) => None,
    };
    let repair = if flag.is_some() { ProposedRepair::TellPerson } else { ProposedRepair::Record };
    let differences: Vec<String> = lines.into_iter().chain(total).chain(progress).collect();
    if differences.is_empty() {
        return None;
    }
    let message = format!("{} differs at the POS ({}): {}", name(order), number(record), differences.join("; "));
    Some(Finding {
        records: vec![record.clone()],
        flag,
        ..finding(DiscrepancyKind::Different, order, Some(record), message, repair)
    })
}

/// Where the POS lists lines at all.
fn line_differences(order: &Order, record: &PosOrderRecord) -> Vec<String> {
    if record.lines.is_empty() {
        return Vec::new();
    }
    let difference = |line: &posmesh_proto::order::v1::OrderLine| {
        let ordered_milli = i64::from(line.quantity.saturating_sub(line.quantity_voided)) * 1000;
        let theirs = record.lines.iter().filter(|other| other.line_id == line.line_id);
        let found_milli: i64 = theirs.map(|other| other.quantity_milli).sum();
        (ordered_milli != found_milli)
            .then(|| format!("{}: {} here, {} there", line.name, quantity(ordered_milli), quantity(found_milli)))
    };
    order.lines.iter().filter_map(difference).collect()
}

/// What the POS told before counts, else what the guest agreed to while the order is whole.
fn total_difference(order: &Order, record: &PosOrderRecord) -> Option<String> {
    let there = record.total.as_ref()?;
    let is_whole = order.lines.iter().all(|line| line.quantity_voided == 0);
    let agreed = order.price.as_ref().and_then(|price| price.total.as_ref()).filter(|_| is_whole);
    let here = order.pos_total.as_ref().or(agreed)?;
    let amount = |money: &posmesh_proto::common::v1::Money| format!("{} {}", money.amount, money.currency_code);
    (here != there).then(|| format!("total {} here, {} there", amount(here), amount(there)))
}

/// Only news: an order never goes back.
fn progress_difference(order: &Order, record: &PosOrderRecord) -> Option<String> {
    let there = match record.progress() {
        PosOrderProgress::InPreparation => OrderState::InPreparation,
        PosOrderProgress::Ready => OrderState::Ready,
        PosOrderProgress::Completed => OrderState::Completed,
        PosOrderProgress::Unspecified | PosOrderProgress::Accepted | PosOrderProgress::Cancelled => return None,
    };
    (there as i32 > order.state)
        .then(|| format!("{} here, {} there", state(order), there.as_str_name().trim_start_matches("ORDER_STATE_")))
}

fn finding(
    kind: DiscrepancyKind,
    order: &Order,
    record: Option<&PosOrderRecord>,
    message: String,
    repair: ProposedRepair,
) -> Finding {
    let discrepancy = Discrepancy {
        kind: kind.into(),
        order: Some(order.clone()),
        record: record.cloned(),
        message,
        repair: repair.into(),
        repaired: false,
    };
    Finding { discrepancy, records: Vec::new(), flag: None }
}

/// As the staff call it.
fn name(order: &Order) -> String {
    format!("order {}", if order.display_number.is_empty() { &order.order_id } else { &order.display_number })
}

fn state(order: &Order) -> &'static str {
    order.state().as_str_name().trim_start_matches("ORDER_STATE_")
}

/// As the POS calls it.
fn number(record: &PosOrderRecord) -> String {
    if record.pos_order_reference.is_empty() {
        "without a number".to_owned()
    } else {
        record.pos_order_reference.clone()
    }
}

/// Thousandths, for people.
fn quantity(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{}.{:03}", milli / 1000, milli.abs() % 1000) }
}

#[cfg(test)]
mod tests;
