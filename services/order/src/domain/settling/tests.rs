#![allow(clippy::unwrap_used)]

use posmesh_kit::time::{from_unix_ms, to_proto_duration};
use posmesh_proto::{
    adapter::v1::Find,
    common::v1::Evidence,
    order::v1::{AttemptKind, AttemptOutcome, OrderChange, OrderChangeKind},
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TERMS: Terms = Terms {
    attempt_timeout: Duration::from_secs(30),
    margin: Duration::from_secs(5),
    change_within: Duration::from_secs(120),
    call_within: Duration::from_secs(1000),
};

fn window(seconds: u64) -> Idempotency {
    let window = Some(to_proto_duration(Duration::from_secs(seconds)));
    Idempotency { kind: IdempotencyKind::Window.into(), window }
}

fn forever() -> Idempotency {
    Idempotency { kind: IdempotencyKind::Forever.into(), window: None }
}

fn find(authoritative: bool) -> Find {
    Find { kind: FindKind::ByReference.into(), authoritative }
}

fn descriptor(idempotency: Idempotency, delay_s: u64) -> AdapterDescriptor {
    AdapterDescriptor {
        idempotency: Some(idempotency),
        find: Some(find(false)),
        max_apply_delay: Some(to_proto_duration(Duration::from_secs(delay_s))),
        ..AdapterDescriptor::default()
    }
}

/// Its only attempt began at 0 and might write until 30 s; it is to be delivered by 1000 s.
fn in_doubt(promised: &AdapterDescriptor) -> Order {
    let attempt = Attempt {
        number: 1,
        kind: AttemptKind::Submit.into(),
        begin_time: Some(from_unix_ms(0)),
        not_after: Some(from_unix_ms(30_000)),
        outcome: AttemptOutcome::InDoubt.into(),
        idempotency: promised.idempotency,
        find: promised.find,
        max_apply_delay: promised.max_apply_delay,
        ..Attempt::default()
    };
    Order {
        state: OrderState::InDoubt.into(),
        attempts: vec![attempt],
        deliver_by: Some(from_unix_ms(1_000_000)),
        ..Order::default()
    }
}

fn pos(descriptor: &AdapterDescriptor) -> Pos<'_> {
    Pos { descriptor, leads_there: true, shows_nothing: true, can_cancel: false }
}

fn wished(mut order: Order, by: &str) -> Order {
    let mut change = OrderChange { change_id: "c".into(), requested_by: by.into(), ..OrderChange::default() };
    change.set_kind(OrderChangeKind::Cancel);
    change.set_state(OrderChangeState::Requested);
    order.changes = vec![change];
    order
}

fn step(order: &Order, pos: &Pos<'_>, now_s: i64) -> Step {
    next_step(order, pos, TERMS, now_s * 1_000)
}

#[test]
fn a_submit_is_replayed_only_when_no_writer_is_left_and_the_vendor_still_remembers_it_when_it_takes_effect() {
    let vendor = descriptor(window(120), 10);
    let order = in_doubt(&vendor);
    for (now_s, expected) in
        [(30, Step::Wait), (35, Step::Wait), (36, Step::Replay), (75, Step::Replay), (76, Step::Wait)]
    {
        assert_eq!(step(&order, &pos(&vendor), now_s), expected, "at {now_s} s");
    }
}

#[test]
fn of_what_the_vendor_promised_then_and_promises_now_the_weaker_counts() {
    let (long, short) = (descriptor(forever(), 0), descriptor(window(60), 0));
    assert_eq!(step(&in_doubt(&long), &pos(&long), 500), Step::Replay);
    assert_eq!(step(&in_doubt(&long), &pos(&short), 500), Step::Wait);
    assert_eq!(step(&in_doubt(&short), &pos(&long), 500), Step::Wait);
    let forgets = AdapterDescriptor { idempotency: None, ..long.clone() };
    assert_eq!(step(&in_doubt(&forgets), &pos(&long), 500), Step::Wait);
}

#[test]
fn the_window_is_counted_from_the_first_attempt() {
    let vendor = descriptor(window(200), 0);
    let mut order = in_doubt(&vendor);
    order.attempts.push(Attempt {
        number: 2,
        begin_time: Some(from_unix_ms(100_000)),
        not_after: Some(from_unix_ms(130_000)),
        ..order.attempts[0].clone()
    });
    assert_eq!(step(&order, &pos(&vendor), 160), Step::Replay);
    assert_eq!(step(&order, &pos(&vendor), 170), Step::Wait);
}

#[test]
fn nothing_is_replayed_that_is_wished_back_was_seen_there_is_too_late_or_would_go_elsewhere() {
    let vendor = descriptor(forever(), 0);
    let order = in_doubt(&vendor);
    assert_eq!(step(&order, &pos(&vendor), 500), Step::Replay);
    assert_eq!(step(&wished(order.clone(), "guest"), &pos(&vendor), 500), Step::Wait);
    let seen = Order { evidence: vec![Evidence::default()], ..order.clone() };
    assert_eq!(step(&seen, &pos(&vendor), 500), Step::Wait);
    assert_eq!(step(&order, &Pos { leads_there: false, ..pos(&vendor) }, 500), Step::Wait);
    assert_eq!(step(&order, &Pos { shows_nothing: false, ..pos(&vendor) }, 500), Step::Wait);
    assert_eq!(step(&order, &pos(&vendor), 1_000), Step::TellPerson);
    let proves = AdapterDescriptor { find: Some(find(true)), ..vendor.clone() };
    assert_eq!(step(&in_doubt(&proves), &pos(&proves), 500), Step::Wait, "there its no is waited for");
}

#[test]
fn what_is_wished_back_or_too_late_is_asked_back_once_nothing_can_reach_the_pos_any_more() {
    let vendor = descriptor(Idempotency::default(), 60);
    let can = Pos { can_cancel: true, ..pos(&vendor) };
    let order = in_doubt(&vendor);
    assert_eq!(step(&wished(order.clone(), "guest"), &can, 94), Step::Wait);
    assert_eq!(step(&wished(order.clone(), "guest"), &can, 95), Step::Compensate);
    assert_eq!(step(&order, &can, 999), Step::Wait);
    assert_eq!(step(&order, &can, 1_000), Step::Compensate);
    assert_eq!(step(&order, &pos(&vendor), 1_000), Step::TellPerson, "where the POS cannot take it back");
    let seen = Order { evidence: vec![Evidence::default()], ..order.clone() };
    assert_eq!(
        step(&seen, &can, 1_000),
        Step::TellPerson,
        "what the POS has is not taken back behind the guest's back"
    );
    let mut refused = wished(order, PLATFORM);
    refused.changes[0].set_state(OrderChangeState::Refused);
    assert_eq!(step(&refused, &can, 1_000), Step::TellPerson, "the platform asks once");
}

#[test]
fn a_person_is_told_once() {
    let vendor = descriptor(Idempotency::default(), 0);
    let told = Order { attention: vec![attention::IN_DOUBT.to_owned()], ..in_doubt(&vendor) };
    assert_eq!(step(&told, &pos(&vendor), 2_000), Step::Wait);
}

#[test]
fn absence_proves_something_after_the_last_of_all_attempts_and_the_longer_delay() {
    let vendor = descriptor(Idempotency::default(), 10);
    let mut order = in_doubt(&vendor);
    order.attempts.push(Attempt { not_after: Some(from_unix_ms(50_000)), ..order.attempts[0].clone() });
    assert_eq!(proof_ms(submits(&order), 3 * SECOND, 5 * SECOND), Some(65_000));
    assert_eq!(proof_ms(submits(&order), 20 * SECOND, 5 * SECOND), Some(75_000));
    order.attempts[0].max_apply_delay = None;
    assert_eq!(proof_ms(submits(&order), SECOND, SECOND), None, "nobody knows what was promised then");
}

#[test]
fn an_attempt_that_provably_never_left_keeps_absence_a_proof() {
    let left = in_doubt(&descriptor(forever(), 10)).attempts.remove(0);
    let mut never_left = Attempt { max_apply_delay: None, ..left.clone() };
    never_left.set_outcome(AttemptOutcome::NotHandedOver);
    let proof = |attempts: &[&Attempt]| proof_ms(attempts.iter().copied(), Duration::ZERO, SECOND);
    assert_eq!(proof(&[&left]), Some(41_000));
    assert_eq!(proof(&[&never_left, &left]), Some(41_000));
    assert_eq!(proof(&[&Attempt { max_apply_delay: None, ..left.clone() }, &left]), None);
}

#[test]
fn an_order_that_was_held_for_long_calls_a_person_as_soon_as_any_other() {
    let promised = descriptor(Idempotency::default(), 0);
    let order = in_doubt(&promised);
    let soon = Terms { call_within: Duration::from_secs(120), ..TERMS };
    assert_eq!(next_step(&order, &pos(&promised), soon, 119_999), Step::Wait);
    assert_eq!(next_step(&order, &pos(&promised), soon, 120_000), Step::TellPerson);
}
