#![allow(clippy::unwrap_used)]

use posmesh_proto::{common::v1::Money, order::v1::Price};
use proptest::prelude::*;

use super::*;

const STATES: [OrderState; 11] = [
    OrderState::Pending,
    OrderState::Held,
    OrderState::Sending,
    OrderState::InDoubt,
    OrderState::Placed,
    OrderState::InPreparation,
    OrderState::Ready,
    OrderState::Completed,
    OrderState::Rejected,
    OrderState::Expired,
    OrderState::Cancelled,
];

const KINDS: [Kind; 17] = [
    Kind::Begin,
    Kind::Placed,
    Kind::PlacedWithout,
    Kind::Rejected,
    Kind::RefusedForNow,
    Kind::NotHandedOver,
    Kind::InDoubt,
    Kind::Absent,
    Kind::Partly,
    Kind::Stale,
    Kind::Cancel,
    Kind::Deadline,
    Kind::Person,
    Kind::CheckEnded,
    Kind::Over,
    Kind::Wait,
    Kind::Notice,
];

/// The table of the design, written down a second time by hand: one row per state, one column per [`KINDS`].
/// `.` stay, `-` refused, `!` stay and flag, else the first letters of the state to go to.
const TABLE: &str = "
                 Begin Placed Without Rejected Refused NotHanded InDoubt Absent Partly Stale Cancel Deadline Person CheckEnded Over Wait Notice
Pending          Sen   Pla    InD     .        .       .         .       .      InD    .     Can    Exp      .      Rej        -    Hel  .
Held             Sen   Pla    InD     .        .       .         .       .      InD    .     Can    Exp      .      Rej        -    .    .
Sending          -     Pla    .       Rej      Pen     Pen       InD     Pen    InD    .     -      -        InD    -          -    -    -
InDoubt          -     Pla    .       Rej      Pen     Pen       .       Pen    .      .     -      -        .      -          -    -    -
Placed           -     .      .       .        .       .         .       .      .      .     -      -        .      -          Com  -    -
InPreparation    -     .      .       .        .       .         .       .      .      .     -      -        .      -          Com  -    -
Ready            -     .      .       .        .       .         .       .      .      .     -      -        .      -          Com  -    -
Completed        -     .      .       .        .       .         .       .      .      .     -      -        .      -          -    -    -
Rejected         -     !      !       .        .       .         .       .      !      .     -      -        .      -          -    -    -
Expired          -     !      !       .        .       .         .       .      !      .     -      -        .      -          -    -    -
Cancelled        -     !      !       .        .       .         .       .      !      .     .      -        .      -          -    -    -
";

fn shown(next: Next) -> String {
    match next {
        Next::To(state) => format!("{state:?}")[..3].to_owned(),
        Next::Stay => ".".to_owned(),
        Next::StayAndFlag(_) => "!".to_owned(),
        Next::Refuse => "-".to_owned(),
    }
}

#[test]
fn every_state_and_event_does_what_the_written_table_says() {
    let rows: Vec<&str> = TABLE.trim_matches('\n').lines().skip(1).collect();
    assert_eq!(rows.len(), STATES.len());
    for (row, state) in rows.iter().zip(STATES) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[0], format!("{state:?}"));
        assert_eq!(cells.len(), KINDS.len() + 1, "{row}");
        for (cell, kind) in cells[1..].iter().zip(KINDS) {
            assert_eq!(*cell, shown(next(state, kind)), "{state:?} × {kind:?}");
        }
    }
}

fn order(state: OrderState, attempts: i32) -> Order {
    let mut order = Order {
        order_id: "o".into(),
        version: 1,
        price: Some(Price { total: Some(yen(980)), ..Price::default() }),
        attempts: (1..=attempts).map(|number| Attempt { number, ..Attempt::default() }).collect(),
        ..Order::default()
    };
    order.set_state(state);
    order
}

fn yen(amount: i64) -> Money {
    Money { currency_code: "JPY".into(), amount }
}

fn placed(reference: &str) -> Placed {
    Placed {
        evidence: vec![Evidence { reference: reference.into(), ..evidence(EvidenceKind::Pos) }],
        pos_order_reference: reference.into(),
        ..Placed::default()
    }
}

fn evidence(kind: EvidenceKind) -> Evidence {
    Evidence { kind: kind.into(), ..Evidence::default() }
}

fn now() -> Timestamp {
    Timestamp { seconds: 1_000, nanos: 0 }
}

fn attempted(attempt: i32, outcome: Outcome) -> Event {
    Event::Attempted { attempt, outcome }
}

#[test]
fn an_order_is_placed_only_with_the_evidence_that_the_store_asks_for() {
    let mut order = order(OrderState::Sending, 1);
    order.success_evidence = vec![EvidenceKind::Pos.into(), EvidenceKind::Printed.into()];
    apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap();
    assert_eq!(order.state(), OrderState::Sending, "the POS has it, but nothing is printed");
    let printed = Placed { evidence: vec![evidence(EvidenceKind::Printed)], ..placed("7") };
    apply(&mut order, attempted(1, Outcome::Placed(printed)), now()).unwrap();
    assert_eq!(order.state(), OrderState::Placed);
}

#[test]
fn a_relay_alone_does_not_make_an_order_placed() {
    let mut order = order(OrderState::Sending, 1);
    let relayed = Placed { evidence: vec![evidence(EvidenceKind::Relay)], ..Placed::default() };
    apply(&mut order, attempted(1, Outcome::Placed(relayed)), now()).unwrap();
    assert_eq!(order.state(), OrderState::Sending);
}

#[test]
fn a_late_yes_from_an_old_attempt_still_makes_the_order_placed() {
    let mut order = order(OrderState::Sending, 2);
    apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap();
    assert_eq!(order.state(), OrderState::Placed);
}

#[test]
fn a_late_no_from_an_old_attempt_says_nothing_about_the_newest() {
    for outcome in
        [Outcome::Rejected(Why::new("ITEM_SOLD_OUT", "")), Outcome::NotHandedOver(Why::default()), Outcome::Absent]
    {
        let mut order = order(OrderState::Sending, 2);
        apply(&mut order, attempted(1, outcome), now()).unwrap();
        assert_eq!(order.state(), OrderState::Sending);
    }
}

#[test]
fn a_yes_after_the_guest_was_told_no_is_kept_and_a_person_is_told() {
    for state in [OrderState::Rejected, OrderState::Expired, OrderState::Cancelled] {
        let mut order = order(state, 1);
        apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap();
        assert_eq!(order.state(), state);
        assert_eq!(order.attention, [attention::CONTRADICTED_END]);
        assert_eq!(order.pos_order_references, ["7"]);
    }
}

#[test]
fn what_the_pos_had_and_has_no_more_is_never_sent_again_but_told_to_a_person() {
    let waits_for_print = || {
        let mut order = order(OrderState::Sending, 1);
        order.success_evidence = vec![EvidenceKind::Printed.into()];
        apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap();
        order
    };
    let partly = || {
        let mut order = order(OrderState::Sending, 1);
        apply(&mut order, attempted(1, Outcome::Partly(Why::new("PARTLY_AT_POS", ""))), now()).unwrap();
        order
    };
    for mut order in [waits_for_print(), partly()] {
        apply(&mut order, attempted(1, Outcome::Absent), now()).unwrap();
        assert_eq!(order.state(), OrderState::InDoubt);
        assert!(order.attention.iter().any(|flag| flag == attention::GONE_FROM_POS));
    }
}

#[test]
fn that_an_old_attempt_left_nothing_is_no_news_when_a_newer_one_has_placed_the_order() {
    let mut order = order(OrderState::Sending, 2);
    apply(&mut order, attempted(2, Outcome::Placed(placed("7"))), now()).unwrap();
    apply(&mut order, attempted(1, Outcome::Absent), now()).unwrap();
    assert_eq!(order.state(), OrderState::Placed);
    assert!(order.attention.is_empty(), "nobody is called to an order that is where it was told to be");
}

#[test]
fn two_pos_orders_for_one_order_are_told_to_a_person() {
    let mut order = order(OrderState::Sending, 2);
    apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap();
    assert!(order.attention.is_empty());
    apply(&mut order, attempted(2, Outcome::Placed(placed("8"))), now()).unwrap();
    assert_eq!(order.attention, [attention::DUPLICATE_AT_POS]);
}

#[test]
fn the_same_yes_twice_changes_nothing() {
    let mut order = order(OrderState::Sending, 1);
    assert!(apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap());
    let once = order.clone();
    assert!(!apply(&mut order, attempted(1, Outcome::Placed(placed("7"))), now()).unwrap());
    assert_eq!(order, once);
}

#[test]
fn a_pos_total_that_differs_goes_to_a_person_and_an_equal_one_makes_the_price_final() {
    let mut wrong = order(OrderState::Sending, 1);
    let dearer = Placed { total: Some(yen(1_000)), ..placed("7") };
    apply(&mut wrong, attempted(1, Outcome::Placed(dearer)), now()).unwrap();
    assert_eq!(wrong.attention, [attention::TOTAL_DIFFERS]);

    let mut right = order(OrderState::Sending, 1);
    let equal = Placed { total: Some(yen(980)), ..placed("7") };
    apply(&mut right, attempted(1, Outcome::Placed(equal)), now()).unwrap();
    assert_eq!(right.price.unwrap().status(), PriceStatus::Final);
}

#[test]
fn an_order_that_may_be_at_the_pos_is_not_cancelled_and_does_not_expire() {
    for state in [OrderState::Sending, OrderState::InDoubt] {
        for event in [Event::CancelAsked, Event::DeadlinePassed] {
            let mut order = order(state, 1);
            let before = order.clone();
            assert!(apply(&mut order, event, now()).is_err());
            assert_eq!(order, before, "a refused event changes nothing");
        }
    }
}

#[test]
fn only_an_order_that_is_held_has_a_reason_for_it() {
    let mut round = order(OrderState::Pending, 1);
    apply(&mut round, Event::MustWait, now()).unwrap();
    assert_eq!((round.state(), round.hold_reason()), (OrderState::Held, HoldReason::RoundBefore));
    apply(&mut round, Event::AttemptBegun(Attempt { number: 2, ..Attempt::default() }), now()).unwrap();
    assert_eq!((round.state(), round.hold_reason()), (OrderState::Sending, HoldReason::Unspecified));
}

fn any_event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        "[1-2]".prop_map(|r| Outcome::Placed(placed(&r))),
        Just(Outcome::Rejected(Why::new("X", ""))),
        Just(Outcome::RefusedForNow(Why::new("X", ""))),
        Just(Outcome::NotHandedOver(Why::new("X", ""))),
        Just(Outcome::InDoubt(Why::new("X", ""))),
        Just(Outcome::Absent),
        Just(Outcome::Partly(Why::new("X", ""))),
    ];
    prop_oneof![
        (1..4).prop_map(|number| Event::AttemptBegun(Attempt { number, ..Attempt::default() })),
        (1..4, outcome).prop_map(|(attempt, outcome)| Event::Attempted { attempt, outcome }),
        Just(Event::CancelAsked),
        Just(Event::DeadlinePassed),
        Just(Event::MustWait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: PLACED needs evidence, evidence is never lost, progress never goes back, and
    /// the version counts exactly the changes.
    #[test]
    fn truth_holds_under_any_sequence_of_events(events in prop::collection::vec(any_event(), 0..30)) {
        let mut order = order(OrderState::Sending, 1);
        for event in events {
            let before = order.clone();
            let changed = apply(&mut order, event, now()).unwrap_or(false);
            prop_assert_eq!(changed, order != before);
            prop_assert_eq!(order.version, before.version + i64::from(changed));
            prop_assert!(order.evidence.starts_with(&before.evidence));
            prop_assert!(order.pos_order_references.starts_with(&before.pos_order_references));
            if order.state() == OrderState::Placed {
                prop_assert!(has_enough_evidence(&order));
            }
            if !is_in_flight(before.state()) && order.state() != OrderState::Completed {
                prop_assert_eq!(order.state(), before.state());
            }
            if !order.pos_order_references.is_empty() && !is_in_flight(order.state()) {
                let told = matches!(order.state(), OrderState::Placed | OrderState::Completed)
                    || !order.attention.is_empty();
                prop_assert!(told, "the POS has an order of which nobody was told: {:?}", order);
            }
        }
    }
}

#[test]
fn what_was_not_sent_before_its_check_ended_is_rejected_and_what_is_at_the_pos_is_completed() {
    let why = |cause: &str| Why::new(cause, "");
    let mut held = order(OrderState::Held, 0);
    apply(&mut held, Event::CheckEnded(why("CHECK_CLOSED")), now()).unwrap();
    assert_eq!((held.state(), held.cause.as_str()), (OrderState::Rejected, "CHECK_CLOSED"));
    let mut ready = order(OrderState::Ready, 1);
    apply(&mut ready, Event::Over(why("CHECK_CLOSED")), now()).unwrap();
    assert_eq!((ready.state(), ready.cause.as_str()), (OrderState::Completed, "CHECK_CLOSED"));
    let mut doubtful = order(OrderState::InDoubt, 1);
    for event in [Event::CheckEnded(why("CHECK_CLOSED")), Event::Over(why("CHECK_CLOSED"))] {
        let before = doubtful.clone();
        apply(&mut doubtful, event, now()).unwrap_err();
        assert_eq!(doubtful, before, "only the POS knows");
    }
}
