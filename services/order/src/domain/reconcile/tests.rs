#![allow(clippy::unwrap_used)]
use posmesh_kit::time::from_unix_ms;
use posmesh_proto::{
    adapter::v1::PosOrderRecordLine,
    common::v1::{Evidence, Money},
    order::v1::{Attempt, AttemptKind, OrderChange, OrderLine, Price},
};

use super::*;

const NOW_MS: i64 = 1_795_348_800_000;

fn yen(amount: i64) -> Money {
    Money { currency_code: "JPY".into(), amount }
}

/// Two beers at 550 yen, PLACED, as the record below shows them.
fn ours() -> Order {
    Order {
        order_id: "o-1".into(),
        display_number: "K1".into(),
        state: OrderState::Placed.into(),
        lines: vec![OrderLine { line_id: "l-1".into(), name: "Beer".into(), quantity: 2, ..OrderLine::default() }],
        price: Some(Price { total: Some(yen(1100)), ..Price::default() }),
        evidence: vec![Evidence { kind: EvidenceKind::Pos.into(), ..Evidence::default() }],
        pos_order_references: vec!["pos-1".into()],
        attempts: vec![Attempt {
            number: 1,
            begin_time: Some(from_unix_ms(NOW_MS - 60_000)),
            not_after: Some(from_unix_ms(NOW_MS - 30_000)),
            ..Attempt::default()
        }],
        ..Order::default()
    }
}

fn in_state(state: OrderState) -> Order {
    Order { state: state.into(), ..ours() }
}

fn record() -> PosOrderRecord {
    PosOrderRecord {
        pos_order_reference: "pos-1".into(),
        reference: "o-1".into(),
        progress: PosOrderProgress::Accepted.into(),
        total: Some(yen(1100)),
        lines: vec![PosOrderRecordLine { line_id: "l-1".into(), quantity_milli: 2000 }],
        ..PosOrderRecord::default()
    }
}

fn with_progress(progress: PosOrderProgress) -> PosOrderRecord {
    PosOrderRecord { progress: progress.into(), ..record() }
}

fn found(order: &Order, records: impl IntoIterator<Item = PosOrderRecord>) -> Option<Finding> {
    compare(order, &Theirs::Shown(records.into_iter().collect()), NOW_MS)
}

fn verdict(finding: Option<Finding>) -> Option<(DiscrepancyKind, ProposedRepair, Option<&'static str>)> {
    finding.map(|f| (f.discrepancy.kind(), f.discrepancy.repair(), f.flag))
}

use DiscrepancyKind::{Different, DuplicateAtPos, ExtraAtPos, MissingAtPos};
use ProposedRepair::{CancelAtPos, Record, TellPerson};

#[test]
fn what_both_hold_alike_is_no_discrepancy() {
    assert_eq!(found(&ours(), [record()]), None);
    let silent = PosOrderRecord { total: None, lines: Vec::new(), ..with_progress(PosOrderProgress::Unspecified) };
    assert_eq!(found(&ours(), [silent]), None, "a POS that tells little contradicts nothing");
}

#[test]
fn an_order_that_the_pos_proves_not_to_have_any_more_is_for_a_person() {
    for state in [OrderState::Placed, OrderState::InPreparation, OrderState::Ready, OrderState::Completed] {
        let missing = verdict(compare(&in_state(state), &Theirs::Absent, NOW_MS));
        assert_eq!(missing, Some((MissingAtPos, TellPerson, Some("GONE_FROM_POS"))), "{state:?}");
    }
}

#[test]
fn what_is_not_held_as_placed_is_not_missing() {
    use OrderState as S;
    for state in [S::Pending, S::Held, S::Sending, S::InDoubt, S::Rejected, S::Expired, S::Cancelled] {
        assert_eq!(compare(&in_state(state), &Theirs::Absent, NOW_MS), None, "{state:?}");
    }
}

#[test]
fn what_the_staff_entered_by_hand_is_not_missing() {
    let by_hand =
        Order { evidence: vec![Evidence { kind: EvidenceKind::Staff.into(), ..Evidence::default() }], ..ours() };
    assert_eq!(compare(&by_hand, &Theirs::Absent, NOW_MS), None);
}

/// Printed by the fallback, which says that it has it; the POS is not known to have it.
fn printed(entry: PosEntry) -> Order {
    let divert = Attempt { kind: AttemptKind::Divert.into(), connection_id: "printer".into(), ..Attempt::default() };
    let proof =
        |kind: EvidenceKind| Evidence { kind: kind.into(), connection_id: "printer".into(), ..Default::default() };
    Order {
        evidence: vec![proof(EvidenceKind::Printed), proof(EvidenceKind::Pos)],
        pos_order_references: Vec::new(),
        attempts: vec![divert],
        pos_entry: entry.into(),
        ..ours()
    }
}

#[test]
fn what_the_kitchen_has_from_the_fallback_is_not_missing_at_the_pos() {
    for entry in [PosEntry::Due, PosEntry::ByStaff] {
        assert_eq!(compare(&printed(entry), &Theirs::Absent, NOW_MS), None, "{entry:?}");
    }
    let entered = Attempt { kind: AttemptKind::Enter.into(), connection_id: "till".into(), ..Attempt::default() };
    let mut order = printed(PosEntry::Entered);
    order.attempts.push(entered);
    let at_till = Evidence { kind: EvidenceKind::Pos.into(), connection_id: "till".into(), ..Default::default() };
    order.evidence.push(at_till);
    assert_eq!(verdict(compare(&order, &Theirs::Absent, NOW_MS)).map(|found| found.0), Some(MissingAtPos));
}

#[test]
fn what_turns_out_to_be_entered_is_noted_and_what_was_entered_is_no_discrepancy() {
    let extra = found(&printed(PosEntry::Due), [record()]).unwrap();
    assert_eq!(extra.records, [record()]);
    assert_eq!(verdict(Some(extra)), Some((ExtraAtPos, Record, None)));
    let entered = Order { pos_order_references: vec!["pos-1".into()], ..printed(PosEntry::Entered) };
    assert_eq!(found(&entered, [record()]), None);
    let mut entering = printed(PosEntry::Due);
    let not_after = Some(from_unix_ms(NOW_MS + 1));
    entering.attempts.push(Attempt { kind: AttemptKind::Enter.into(), not_after, ..Attempt::default() });
    assert_eq!(found(&entering, [record()]), None, "its answer is still to come");
}

#[test]
fn absence_that_proves_nothing_is_no_discrepancy() {
    assert_eq!(compare(&ours(), &Theirs::Unproven, NOW_MS), None);
}

#[test]
fn an_order_that_we_did_not_know_to_be_there_is_noted() {
    for state in [OrderState::InDoubt, OrderState::Pending, OrderState::Held, OrderState::Sending] {
        let extra = found(&in_state(state), [record()]).unwrap();
        assert_eq!(extra.records, [record()]);
        assert_eq!(verdict(Some(extra)), Some((ExtraAtPos, Record, None)), "{state:?}");
    }
}

#[test]
fn an_order_that_the_guest_was_told_is_not_there_is_taken_back_at_the_pos() {
    for state in [OrderState::Rejected, OrderState::Expired, OrderState::Cancelled] {
        assert_eq!(verdict(found(&in_state(state), [record()])), Some((ExtraAtPos, CancelAtPos, None)), "{state:?}");
        assert_eq!(found(&in_state(state), [with_progress(PosOrderProgress::Cancelled)]), None, "{state:?}");
    }
}

#[test]
fn what_the_pos_refused_to_take_back_is_for_a_person() {
    let refused = OrderChange {
        requested_by: PLATFORM.into(),
        state: OrderChangeState::Refused.into(),
        ..OrderChange::default()
    };
    let order = Order { changes: vec![refused], ..in_state(OrderState::Expired) };
    assert_eq!(verdict(found(&order, [record()])), Some((ExtraAtPos, TellPerson, Some("CONTRADICTED_END"))));
}

#[test]
fn what_stands_there_again_under_another_number_is_for_a_person() {
    let again = PosOrderRecord { pos_order_reference: "pos-2".into(), ..record() };
    let both = [with_progress(PosOrderProgress::Cancelled), again];
    let finding = verdict(found(&in_state(OrderState::Cancelled), both));
    assert_eq!(finding, Some((ExtraAtPos, TellPerson, Some("CONTRADICTED_END"))));
}

#[test]
fn an_attempt_whose_answer_may_still_come_is_left_to_its_owner() {
    let mut order = in_state(OrderState::Sending);
    order.attempts[0].not_after = Some(from_unix_ms(NOW_MS + 1));
    assert_eq!(found(&order, [record()]), None);
}

#[test]
fn an_order_made_twice_is_for_a_person_and_one_of_them_cancelled_is_once() {
    let second = PosOrderRecord { pos_order_reference: "pos-2".into(), ..record() };
    let twice = found(&ours(), [record(), second.clone()]).unwrap();
    assert_eq!(twice.records, [record(), second.clone()]);
    assert_eq!(verdict(Some(twice)), Some((DuplicateAtPos, TellPerson, Some("DUPLICATE_AT_POS"))));
    let taken_out = PosOrderRecord { progress: PosOrderProgress::Cancelled.into(), ..second.clone() };
    assert_eq!(found(&ours(), [record(), taken_out]), None);
    // The one that we know is not the one that the POS shows.
    assert_eq!(verdict(found(&ours(), [second])), Some((DuplicateAtPos, TellPerson, Some("DUPLICATE_AT_POS"))));
}

#[test]
fn progress_and_cancellation_at_the_pos_are_noted_and_never_undone() {
    for (here, there, differs) in [
        (OrderState::Placed, PosOrderProgress::Ready, true),
        (OrderState::InPreparation, PosOrderProgress::Completed, true),
        (OrderState::Ready, PosOrderProgress::InPreparation, false),
        (OrderState::Completed, PosOrderProgress::Accepted, false),
    ] {
        let expected = differs.then_some((Different, Record, None));
        assert_eq!(verdict(found(&in_state(here), [with_progress(there)])), expected, "{here:?} {there:?}");
    }
    let cancelled = with_progress(PosOrderProgress::Cancelled);
    assert_eq!(verdict(found(&ours(), [cancelled.clone()])), Some((Different, Record, None)));
    assert_eq!(verdict(found(&in_state(OrderState::InDoubt), [cancelled])), Some((ExtraAtPos, Record, None)));
}

#[test]
fn other_lines_or_another_total_are_for_a_person_and_named() {
    let mut fewer = record();
    fewer.lines[0].quantity_milli = 1000;
    fewer.total = Some(yen(550));
    let finding = found(&ours(), [fewer]).unwrap();
    let message = &finding.discrepancy.message;
    assert!(message.contains("Beer: 2 here, 1 there") && message.contains("1100 JPY here, 550 JPY there"), "{message}");
    assert_eq!(verdict(Some(finding)), Some((Different, TellPerson, Some("LINES_DIFFER"))));
    let dearer = PosOrderRecord { total: Some(yen(1200)), ..record() };
    assert_eq!(verdict(found(&ours(), [dearer])), Some((Different, TellPerson, Some("TOTAL_DIFFERS"))));
}

#[test]
fn what_was_voided_or_told_before_is_no_difference() {
    let mut voided = ours();
    voided.lines[0].quantity_voided = 1;
    let mut fewer = record();
    fewer.lines[0].quantity_milli = 1000;
    fewer.total = Some(yen(550));
    assert_eq!(found(&voided, [fewer]), None);
    let told = Order { pos_total: Some(yen(1000)), ..ours() };
    assert_eq!(found(&told, [PosOrderRecord { total: Some(yen(1000)), ..record() }]), None);
}

#[test]
fn an_order_of_ours_that_nobody_here_knows_is_for_a_person() {
    let discrepancy = unknown(record());
    assert_eq!((discrepancy.kind(), discrepancy.repair()), (ExtraAtPos, TellPerson));
    assert!(discrepancy.message.contains("o-1"));
}
