#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use posmesh_proto::{
    adapter::v1::{Changed, Placed, PosOrderProgress},
    common::v1::{Evidence, EvidenceKind, Money},
    order::v1::{
        Attempt, AttemptKind, AttemptOutcome, HoldReason, LineVoid, OrderChange, OrderChangeKind, OrderChangeState,
        OrderLine, PosEntry, Price, PriceStatus, ResolutionKind,
    },
};
use proptest::prelude::*;
use prost_types::Timestamp;

use super::{
    table::{KINDS, Next, STATES, next},
    *,
};

mod fallback;
mod wishes;

/// The table of the design, written down a second time by hand: one row per state and wish to take it back, one column
/// per [`KINDS`]. `.` stay, `-` refused, `!` stay and flag, else the first letters of the state to go to.
const TABLE: &str = "
                       Begin  Replay Plcd   Wout   InPr   Rdy    Comp   CanP   Rejd   NotTh  Doubt  Part   Cancl  Void   BegCh  Chgd   Deadl  Pers   AtPos  Again  NotAt  Noted  Busy  ChkEnd Over  Wait  Notice
Pending       Any      Sen    -      Pla    InD    InP    Rea    Com    Can    .      .      .      InD    Can    -      -      Can    Exp    .      -      -      -      .      -     Rej    -     Hel   .
Held          Any      Sen    -      Pla    InD    InP    Rea    Com    Can    .      .      .      InD    Can    -      -      Can    Exp    .      -      -      -      .      -     Rej    -     .     .
Sending       None     -      -      Pla    .      InP    Rea    Com    Can    Rej    Pen    InD    InD    .      -      -      Can    -      InD    -      -      -      .      -     -      -     -     -
Sending       Caller   -      -      Pla    .      InP    Rea    Com    Can    Can    Can    InD    InD    .      -      -      Can    -      InD    -      -      -      .      -     -      -     -     -
Sending       Platform -      -      Pla    .      InP    Rea    Com    Can    Rej    Exp    InD    InD    .      -      -      Exp    -      InD    -      -      -      .      -     -      -     -     -
InDoubt       None     -      Sen    Pla    .      InP    Rea    Com    Can    Rej    Pen    .      .      .      -      .      Can    -      .      Pla    Pen    Rej    .      -     -      -     -     -
InDoubt       Caller   -      -      Pla    .      InP    Rea    Com    Can    Can    Can    .      .      .      -      .      Can    -      .      Pla    Can    Can    .      -     -      -     -     -
InDoubt       Platform -      -      Pla    .      InP    Rea    Com    Can    Rej    Exp    .      .      .      -      .      Exp    -      .      Pla    Exp    Rej    .      -     -      -     -     -
Placed        Any      -      -      .      .      InP    Rea    Com    Can    .      .      .      .      .      .      .      Can    -      .      .      -      Can    .      -     -      Com   -     -
InPreparation Any      -      -      .      .      .      Rea    Com    Can    .      .      .      .      .      .      .      Can    -      .      .      -      Can    .      -     -      Com   -     -
Ready         Any      -      -      .      .      .      .      Com    Can    .      .      .      .      -      -      .      Can    -      .      .      -      Can    .      -     -      Com   -     -
Completed     Any      -      -      .      .      .      .      .      Can    .      .      .      .      -      -      .      Can    -      .      .      -      Can    .      -     -      -     -     -
Rejected      Any      -      -      !      !      !      !      !      .      .      .      .      !      -      -      .      .      -      .      -      -      -      .      -     -      -     -     -
Expired       Any      -      -      !      !      !      !      !      .      .      .      .      !      -      -      .      .      -      .      -      -      -      .      -     -      -     -     -
Cancelled     Any      -      -      !      !      !      !      !      .      .      .      .      !      .      -      .      .      -      .      -      -      -      .      -     -      -     -     -
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
    let mut tested = HashSet::new();
    for row in TABLE.trim_matches('\n').lines().skip(1) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let state = STATES.into_iter().find(|state| format!("{state:?}") == cells[0]).unwrap();
        let wishes = [Wish::None, Wish::Caller, Wish::Platform];
        let wishes = wishes.into_iter().filter(|wish| cells[1] == "Any" || format!("{wish:?}") == cells[1]);
        assert_eq!(cells.len(), KINDS.len() + 2, "{row}");
        for wish in wishes {
            for (cell, kind) in cells[2..].iter().zip(KINDS) {
                assert_eq!(*cell, shown(next(state, kind, wish)), "{state:?} × {kind:?} × {wish:?}");
                tested.insert((state, kind, wish));
            }
        }
    }
    assert_eq!(tested.len(), STATES.len() * KINDS.len() * 3, "the written table has every combination");
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
    apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap();
    assert_eq!(order.state(), OrderState::Sending, "the POS has it, but nothing is printed");
    let printed = Placed { evidence: vec![evidence(EvidenceKind::Printed)], ..placed("7") };
    apply(&mut order, attempted(1, Outcome::Placed(Box::new(printed))), now()).unwrap();
    assert_eq!(order.state(), OrderState::Placed);
}

#[test]
fn a_relay_alone_does_not_make_an_order_placed() {
    let mut order = order(OrderState::Sending, 1);
    let relayed = Placed { evidence: vec![evidence(EvidenceKind::Relay)], ..Placed::default() };
    apply(&mut order, attempted(1, Outcome::Placed(Box::new(relayed))), now()).unwrap();
    assert_eq!(order.state(), OrderState::Sending);
}

#[test]
fn a_late_yes_from_an_old_attempt_still_makes_the_order_placed() {
    let mut order = order(OrderState::Sending, 2);
    apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap();
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
        apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap();
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
        apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap();
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
    apply(&mut order, attempted(2, Outcome::Placed(Box::new(placed("7")))), now()).unwrap();
    apply(&mut order, attempted(1, Outcome::Absent), now()).unwrap();
    assert_eq!(order.state(), OrderState::Placed);
    assert!(order.attention.is_empty(), "nobody is called to an order that is where it was told to be");
}

#[test]
fn two_pos_orders_for_one_order_are_told_to_a_person() {
    let mut order = order(OrderState::Sending, 2);
    apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap();
    assert!(order.attention.is_empty());
    apply(&mut order, attempted(2, Outcome::Placed(Box::new(placed("8")))), now()).unwrap();
    assert_eq!(order.attention, [attention::DUPLICATE_AT_POS]);
}

#[test]
fn the_same_yes_twice_changes_nothing() {
    let mut order = order(OrderState::Sending, 1);
    assert!(apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap());
    let once = order.clone();
    assert!(!apply(&mut order, attempted(1, Outcome::Placed(Box::new(placed("7")))), now()).unwrap());
    assert_eq!(order, once);
}

#[test]
fn a_pos_total_that_differs_goes_to_a_person_and_an_equal_one_makes_the_price_final() {
    let mut wrong = order(OrderState::Sending, 1);
    let dearer = Placed { total: Some(yen(1_000)), ..placed("7") };
    apply(&mut wrong, attempted(1, Outcome::Placed(Box::new(dearer))), now()).unwrap();
    assert_eq!(wrong.attention, [attention::TOTAL_DIFFERS]);

    let mut right = order(OrderState::Sending, 1);
    let equal = Placed { total: Some(yen(980)), ..placed("7") };
    apply(&mut right, attempted(1, Outcome::Placed(Box::new(equal))), now()).unwrap();
    assert_eq!(right.price.unwrap().status(), PriceStatus::Final);
}

#[test]
fn an_order_that_may_be_at_the_pos_does_not_expire() {
    for state in [OrderState::Sending, OrderState::InDoubt] {
        let mut order = order(state, 1);
        let before = order.clone();
        assert!(apply(&mut order, Event::DeadlinePassed, now()).is_err());
        assert_eq!(order, before, "a refused event changes nothing");
    }
}

fn cancel(by: &str) -> Event {
    let mut change = OrderChange { change_id: "c".into(), requested_by: by.into(), ..OrderChange::default() };
    change.set_kind(OrderChangeKind::Cancel);
    Event::ChangeAsked(Box::new(change))
}

fn begin(kind: AttemptKind, change_id: &str, at_s: i64) -> Event {
    Event::AttemptBegun(Box::new(Attempt {
        kind: kind.into(),
        change_id: change_id.into(),
        begin_time: Some(at(at_s)),
        not_after: Some(at(at_s + 30)),
        ..Attempt::default()
    }))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn apply_all(order: &mut Order, events: impl IntoIterator<Item = Event>) {
    for event in events {
        apply(order, event.clone(), now()).unwrap_or_else(|refused| panic!("{event:?}: {refused}"));
    }
}

fn changes(order: &Order) -> Vec<OrderChangeState> {
    order.changes.iter().map(|change| change.state()).collect()
}

fn said(kind: ResolutionKind) -> Event {
    Event::Resolved(Box::new(Said { kind, by: "kim".into(), note: String::new(), pos_order_reference: String::new() }))
}

fn any_event() -> impl Strategy<Value = Event> {
    let why = || Why::new("X", "");
    let any_placed = ("[1-2]", 0..6i32).prop_map(|(r, progress)| Box::new(Placed { progress, ..placed(&r) }));
    let outcome = prop_oneof![
        any_placed.clone().prop_map(Outcome::Placed),
        any_placed.clone().prop_map(Outcome::CancelledAtPos),
        Just(Outcome::Rejected(why())),
        Just(Outcome::RefusedForNow(why(), None)),
        Just(Outcome::NotHandedOver(why())),
        Just(Outcome::InDoubt(why())),
        Just(Outcome::Absent),
        Just(Outcome::Gone),
        Just(Outcome::Changed(Changed::default())),
        Just(Outcome::Partly(why())),
    ];
    let resolution = prop_oneof![
        Just(ResolutionKind::AtPos),
        Just(ResolutionKind::SendAgain),
        Just(ResolutionKind::NotAtPos),
        Just(ResolutionKind::EnteredByStaff),
        Just(ResolutionKind::Seen),
    ];
    prop_oneof![
        (0..2000i64).prop_map(|at_s| begin(AttemptKind::Submit, "", at_s)),
        (0..2000i64).prop_map(|at_s| begin(AttemptKind::Cancel, "c", at_s)),
        (0..2000i64).prop_map(fallback::divert),
        (0..2000i64).prop_map(|at_s| fallback::to_till(AttemptKind::Enter, at_s)),
        Just(Event::PersonNeeded(attention::POS_ENTRY_DUE)),
        (1..6, outcome).prop_map(|(attempt, outcome)| Event::Attempted { attempt, outcome }),
        any_placed.clone().prop_map(Event::Reported),
        any_placed.prop_map(Event::SeenAtPos),
        Just(cancel("guest")),
        Just(Event::ChangeGivenUp(why())),
        Just(Event::DeadlinePassed),
        Just(Event::MustWait),
        Just(Event::PersonNeeded(attention::IN_DOUBT)),
        resolution.prop_map(said),
    ]
}

/// Each wish has an id of its own, and an attempt is for the wish that is open.
fn as_it_would_be(event: Event, order: &Order) -> Event {
    match event {
        Event::ChangeAsked(change) => {
            let change_id = format!("c{}", order.changes.len());
            Event::ChangeAsked(Box::new(OrderChange { change_id, ..*change }))
        }
        Event::AttemptBegun(attempt) if attempt.kind() == AttemptKind::Cancel => {
            let change_id = open_change(order).map(|change| change.change_id.clone()).unwrap_or_default();
            Event::AttemptBegun(Box::new(Attempt { change_id, ..*attempt }))
        }
        other => other,
    }
}

fn tells_of_cancelled(event: &Event) -> bool {
    match event {
        Event::Reported(placed)
        | Event::SeenAtPos(placed)
        | Event::Attempted { outcome: Outcome::Placed(placed), .. } => placed.progress() == PosOrderProgress::Cancelled,
        Event::Attempted { outcome: Outcome::CancelledAtPos(_), .. } => true,
        _ => false,
    }
}

fn told_by_staff(order: &Order) -> bool {
    order.resolutions.iter().any(|r| r.kind() != ResolutionKind::Seen)
}

proptest! {
    /// Whatever happens in whatever order: PLACED needs evidence, evidence is never lost, progress never goes back, one
    /// side at a time may have it, only what the kitchen has is to be entered, the version counts exactly the changes, at most one wish is open, and an end has no open wish but the platform's.
    #[test]
    fn truth_holds_under_any_sequence_of_events(events in prop::collection::vec(any_event(), 0..30)) {
        let mut order = order(OrderState::Sending, 1);
        let (mut seen, mut was_cancelled) = (false, false);
        for event in events {
            let before = order.clone();
            let event = as_it_would_be(event, &order);
            seen |= matches!(event, Event::Resolved(ref said) if said.kind == ResolutionKind::Seen);
            was_cancelled |= tells_of_cancelled(&event);
            let changed = apply(&mut order, event, now()).unwrap_or(false);
            prop_assert_eq!(changed, order != before);
            prop_assert_eq!(order.version, before.version + i64::from(changed));
            prop_assert!(order.evidence.starts_with(&before.evidence));
            prop_assert!(order.pos_order_references.starts_with(&before.pos_order_references));
            let at_pos = |o: &Order| !is_in_flight(o.state()) && !told_not_there(o.state());
            if at_pos(&order) {
                prop_assert!(has_enough_evidence(&order));
            }
            if at_pos(&before) {
                let moved_on = order.state() as i32 >= before.state() as i32;
                prop_assert!(at_pos(&order) && moved_on || order.state() == OrderState::Cancelled);
            }
            if told_not_there(before.state()) {
                prop_assert_eq!(order.state(), before.state());
            }
            match order.pos_entry() {
                PosEntry::NotDue => prop_assert!(is_in_flight(order.state()), "{:?}", order),
                PosEntry::Due => prop_assert!(is_there(order.state()), "{:?}", order),
                _ => {
                    let on_list = |flag: &String| flag.starts_with("POS_ENTRY");
                    prop_assert!(!order.attention.iter().any(on_list), "{:?}", order);
                }
            }
            // One side at a time.
            let may_be = |diverts: bool| submits(&order).any(|a| is_divert(a) == diverts && is_open(a));
            prop_assert!(!is_in_flight(order.state()) || !may_be(true) || !may_be(false), "{:?}", order);
            prop_assert!(changes(&order).iter().filter(|c| **c == OrderChangeState::Requested).count() <= 1);
            if told_not_there(order.state()) && wish(&order) == Wish::Caller {
                prop_assert!(false, "a wish of the guest outlived the order: {:?}", order);
            }
            let taken_back = changes(&order).contains(&OrderChangeState::Confirmed) || was_cancelled
                || order.attempts.iter().any(|a| a.outcome() == AttemptOutcome::Changed);
            if !order.pos_order_references.is_empty() && told_not_there(order.state()) && !seen {
                let told = !order.attention.is_empty() || taken_back || told_by_staff(&order);
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

#[test]
fn only_an_order_that_is_held_has_a_reason_for_it() {
    let mut round = order(OrderState::Pending, 1);
    apply(&mut round, Event::MustWait, now()).unwrap();
    assert_eq!((round.state(), round.hold_reason()), (OrderState::Held, HoldReason::RoundBefore));
    apply(&mut round, begin(AttemptKind::Submit, "", 900), now()).unwrap();
    assert_eq!((round.state(), round.hold_reason()), (OrderState::Sending, HoldReason::Unspecified));
}
