use posmesh_proto::order::v1::{Attempt, AttemptKind, OrderChange, OrderChangeKind, OrderChangeState, PosEntry};

use super::*;

fn attempt(kind: AttemptKind, outcome: AttemptOutcome) -> Attempt {
    Attempt { kind: kind.into(), outcome: outcome.into(), ..Attempt::default() }
}

fn order(state: OrderState, attempts: &[(AttemptKind, AttemptOutcome)]) -> Order {
    let attempts = attempts.iter().map(|(kind, outcome)| attempt(*kind, *outcome)).collect();
    Order { state: state.into(), attempts, ..Order::default() }
}

#[test]
fn only_what_provably_never_went_out_is_diverted() {
    use AttemptKind::{Divert, Submit};
    use AttemptOutcome as O;
    for state in [OrderState::Pending, OrderState::Held] {
        assert!(may_divert(&order(state, &[])));
        for outcome in [O::NotHandedOver, O::RefusedForNow, O::Absent] {
            assert!(may_divert(&order(state, &[(Submit, outcome), (Divert, outcome)])), "{outcome:?}");
        }
        for outcome in [O::Unspecified, O::InDoubt, O::Placed, O::Rejected] {
            assert!(!may_divert(&order(state, &[(Submit, outcome), (Submit, O::Absent)])), "{outcome:?}");
            assert!(!may_divert(&order(state, &[(Divert, outcome)])), "{outcome:?}");
        }
    }
    for state in [OrderState::Sending, OrderState::InDoubt, OrderState::Placed, OrderState::Rejected] {
        assert!(!may_divert(&order(state, &[])), "{state:?}");
    }
    let mut shown = order(OrderState::Pending, &[(Submit, O::Absent)]);
    shown.evidence.push(posmesh_proto::common::v1::Evidence::default());
    assert!(!may_divert(&shown), "the POS had some of it once");
}

#[test]
fn a_diverted_order_is_placed_when_it_is_printed_unless_the_store_asks_for_something_else() {
    let kitchen = vec![EvidenceKind::Kitchen.into()];
    let policy = ProductPolicy { fallback_evidence: kitchen.clone(), ..ProductPolicy::default() };
    assert_eq!(fallback_evidence(&ProductPolicy::default()), [i32::from(EvidenceKind::Printed)]);
    assert_eq!(fallback_evidence(&policy), kitchen);
    let evidence = vec![EvidenceKind::Printed.into()];
    let printer = AdapterDescriptor { evidence: evidence.clone(), ..AdapterDescriptor::default() };
    assert!(can_prove(&printer, &evidence) && !can_prove(&printer, &kitchen));
}

fn due(attempts: &[(AttemptKind, AttemptOutcome)]) -> Order {
    let printed = [(AttemptKind::Divert, AttemptOutcome::Placed)];
    Order { pos_entry: PosEntry::Due.into(), ..order(OrderState::Placed, &[&printed, attempts].concat()) }
}

const BACK: Entrance = Entrance { takes_entries: true, is_away: false, day_is_over: false, is_behind: false };

#[test]
fn the_platform_enters_an_order_when_the_pos_is_back_and_can_and_the_rounds_before_it_are_there() {
    let order = due(&[]);
    assert_eq!(next_step(&order, BACK), Step::Enter);
    assert_eq!(next_step(&order, Entrance { is_behind: true, ..BACK }), Step::AwaitRounds);
    assert_eq!(next_step(&order, Entrance { is_away: true, is_behind: true, ..BACK }), Step::AwaitPos);
    let completed = Order { state: OrderState::Completed.into(), ..order };
    assert_eq!(next_step(&completed, BACK), Step::Enter, "a meal that is eaten is on the bill all the same");
}

#[test]
fn the_staff_enter_what_the_pos_cannot_take_without_a_ticket_and_what_is_left_of_the_day() {
    let order = due(&[]);
    for away in [false, true] {
        let pos = Entrance { is_away: away, ..BACK };
        assert_eq!(next_step(&order, Entrance { takes_entries: false, ..pos }), Step::Staff);
        assert_eq!(next_step(&order, Entrance { day_is_over: true, ..pos }), Step::Staff);
    }
}

#[test]
fn what_came_of_an_attempt_to_enter_it_decides_what_follows() {
    use AttemptOutcome as O;
    let after = |outcome| next_step(&due(&[(AttemptKind::Enter, outcome)]), BACK);
    for outcome in [O::Unspecified, O::InDoubt] {
        assert_eq!(after(outcome), Step::Settle, "{outcome:?}");
    }
    for outcome in [O::NotHandedOver, O::RefusedForNow, O::Absent] {
        assert_eq!(after(outcome), Step::Enter, "{outcome:?}");
    }
}

#[test]
fn what_is_not_due_or_is_the_staffs_or_is_wished_back_is_left_alone() {
    for entry in [PosEntry::Unspecified, PosEntry::NotDue, PosEntry::Entered, PosEntry::ByStaff] {
        assert_eq!(next_step(&Order { pos_entry: entry.into(), ..due(&[]) }, BACK), Step::Nothing, "{entry:?}");
    }
    for flag in ["POS_ENTRY_DUE", "POS_ENTRY_REFUSED", "POS_ENTRY_IN_DOUBT"] {
        let listed = Order { attention: vec![flag.to_owned()], ..due(&[]) };
        assert_eq!(next_step(&listed, BACK), Step::Nothing, "{flag}");
    }
    let doubtful = due(&[(AttemptKind::Enter, AttemptOutcome::InDoubt)]);
    let listed = Order { attention: vec!["POS_ENTRY_IN_DOUBT".to_owned()], ..doubtful };
    assert_eq!(next_step(&listed, BACK), Step::Settle, "it may turn up by itself");
    let (kind, state) = (OrderChangeKind::Cancel.into(), OrderChangeState::Requested.into());
    let wish = OrderChange { kind, state, ..OrderChange::default() };
    assert_eq!(next_step(&Order { changes: vec![wish], ..due(&[]) }, BACK), Step::Nothing);
}
