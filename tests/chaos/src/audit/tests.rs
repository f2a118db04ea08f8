//! The audit bites: whatever must not be, planted, is found, and nothing else.

#![allow(clippy::unwrap_used)]

use posmesh_proto::common::v1::Product;

use super::*;
use crate::book::{Seen, Told};

const KEY: &str = "chaos-1-00000001";
const ID: &str = "order-1";

fn told(at_ms: i64, what: What) -> Told {
    Told { asked_ms: at_ms - 10, at_ms, by: "gateway place".into(), what }
}

fn seen(state: OrderState, version: i64) -> What {
    What::Seen(Seen { order_id: ID.into(), state, version: Some(version) })
}

fn request(told: Vec<Told>) -> Request {
    Request { key: KEY.into(), product: Product::Kiosk, party: None, total: 500, is_paid: true, told }
}

fn order(state: OrderState) -> Order {
    Order { order_id: ID.into(), note: KEY.into(), state: state.into(), version: 2, ..Order::default() }
}

fn at_pos() -> AtPos {
    AtPos {
        number: 7,
        at_ms: 1000,
        reference: ID.into(),
        note: KEY.into(),
        check: "3".into(),
        total: Some(500),
        kitchen_tickets: 1,
        tenders: vec![KEY.into()],
        voided_ms: None,
    }
}

fn facts(orders: Vec<Order>, at_pos: Vec<AtPos>) -> Facts {
    let orders = orders.into_iter().map(|order| (order.order_id.clone(), vec![order.clone(), order])).collect();
    Facts { orders, at_pos, ..Facts::default() }
}

/// The kinds of violation, each once.
fn kinds(requests: &[Request], facts: &Facts) -> Vec<Kind> {
    let found: BTreeSet<Kind> = audit(requests, facts).violations.iter().map(|violation| violation.kind).collect();
    found.into_iter().collect()
}

/// An order that was told as SENDING, then as PLACED once the POS had it.
fn good() -> (Request, Facts) {
    let request = request(vec![told(900, seen(OrderState::Sending, 1)), told(1100, seen(OrderState::Placed, 2))]);
    (request, facts(vec![order(OrderState::Placed)], vec![at_pos()]))
}

#[test]
fn an_order_that_is_once_where_it_was_told_to_be_is_no_violation() {
    let (request, facts) = good();
    let findings = audit(&[request], &facts);
    assert_eq!(findings.violations, []);
    assert_eq!((findings.acknowledged, findings.by_state["PLACED"]), (1, 1));
}

#[test]
fn an_acknowledged_order_that_is_nowhere_is_lost() {
    let (request, _) = good();
    assert!(kinds(&[request], &facts(vec![], vec![at_pos()])).contains(&Kind::Lost), "not on the platform");
    let (request, _) = good();
    assert!(kinds(&[request], &facts(vec![order(OrderState::Placed)], vec![])).contains(&Kind::Lost), "not at the POS");
    let (mut request, facts) = good();
    request.told.push(told(1200, What::NotFound));
    assert_eq!(kinds(&[request], &facts), [Kind::Lost], "told to be nowhere");
}

#[test]
fn a_second_order_ticket_or_payment_is_a_duplicate() {
    let again = || AtPos { number: 8, ..at_pos() };
    let others = || AtPos { number: 8, reference: "order-2".into(), tenders: vec![], ..at_pos() };
    for second in [again(), others()] {
        let (request, mut facts) = good();
        facts.at_pos.push(second);
        assert_eq!(kinds(&[request], &facts), [Kind::Duplicated]);
    }
    let (request, mut facts) = good();
    facts.at_pos[0].kitchen_tickets = 2;
    assert_eq!(kinds(&[request], &facts), [Kind::Duplicated]);
    let (request, mut facts) = good();
    facts.at_pos[0].tenders.push(KEY.into());
    assert_eq!(kinds(&[request], &facts), [Kind::Duplicated]);
}

#[test]
fn one_key_that_made_two_orders_is_a_duplicate() {
    let (request, _) = good();
    let second = Order { order_id: "order-2".into(), ..order(OrderState::Cancelled) };
    let facts = facts(vec![order(OrderState::Placed), second], vec![at_pos()]);
    assert!(kinds(&[request], &facts).contains(&Kind::Duplicated));
}

#[test]
fn an_order_that_nobody_asked_for_is_a_duplicate() {
    let (request, mut facts) = good();
    let strange = AtPos { number: 8, reference: "x".into(), note: "y".into(), tenders: vec![], ..at_pos() };
    facts.at_pos.push(strange);
    assert_eq!(kinds(&[request], &facts), [Kind::Duplicated]);
}

#[test]
fn placed_told_before_the_pos_had_it_is_untruthful() {
    let (mut request, facts) = good();
    request.told[0] = told(900, seen(OrderState::Placed, 2));
    assert_eq!(kinds(&[request], &facts), [Kind::Untruthful]);
}

#[test]
fn an_end_without_the_pos_that_it_has_after_all_is_untruthful_unless_it_was_voided() {
    for state in [OrderState::Rejected, OrderState::Expired, OrderState::Cancelled] {
        let request = || request(vec![told(1100, seen(state, 2))]);
        let mut facts = facts(vec![order(state)], vec![at_pos()]);
        assert_eq!(kinds(&[request()], &facts), [Kind::Untruthful], "{state:?}");
        facts.at_pos[0].voided_ms = Some(1050);
        assert_eq!(kinds(&[request()], &facts), [], "{state:?}, voided before");
        facts.at_pos[0].voided_ms = Some(1150);
        assert_eq!(kinds(&[request()], &facts), [Kind::Untruthful], "{state:?}, voided afterwards");
    }
}

#[test]
fn a_refusal_of_every_call_is_untruthful_when_it_was_taken_and_says_nothing_after_a_doubt() {
    let refused = || told(900, What::Refused("503 DATABASE_UNAVAILABLE".into()));
    let taken = facts(vec![order(OrderState::Placed)], vec![at_pos()]);
    assert_eq!(kinds(&[request(vec![refused()])], &taken), [Kind::Untruthful]);
    let in_doubt = told(800, What::Unknown("timed out".into()));
    assert_eq!(kinds(&[request(vec![in_doubt, refused()])], &taken), []);
}

#[test]
fn a_word_that_goes_back_in_time_and_replicas_that_differ_are_untruthful() {
    let (mut request, facts) = good();
    request.told.push(told(1200, seen(OrderState::Sending, 1)));
    assert_eq!(kinds(&[request], &facts), [Kind::Untruthful]);
    let (request, mut facts) = good();
    facts.orders.get_mut(ID).unwrap()[1].version = 3;
    assert_eq!(kinds(&[request], &facts), [Kind::Untruthful]);
}

#[test]
fn another_price_at_the_pos_and_a_false_alarm_are_untruthful() {
    let (request, mut facts) = good();
    facts.at_pos[0].total = Some(501);
    assert_eq!(kinds(&[request], &facts), [Kind::Untruthful]);
    let (request, mut facts) = good();
    facts.orders.get_mut(ID).unwrap()[0].attention = vec!["GONE_FROM_POS".into()];
    assert_eq!(kinds(&[request], &facts), [Kind::Untruthful]);
}

#[test]
fn an_order_that_did_not_end_is_stuck_unless_a_person_was_told() {
    let request = || request(vec![told(900, seen(OrderState::Sending, 1))]);
    let mut facts = facts(vec![order(OrderState::InDoubt)], vec![at_pos()]);
    assert_eq!(kinds(&[request()], &facts), [Kind::Stuck]);
    for telling in facts.orders.get_mut(ID).unwrap() {
        telling.attention = vec!["IN_DOUBT".into()];
    }
    assert_eq!(kinds(&[request()], &facts), []);
}

#[test]
fn a_watcher_who_was_never_told_the_end_is_stuck() {
    let (mut request, facts) = good();
    request.told.push(told(9000, What::LeftInTheDark));
    assert_eq!(kinds(&[request], &facts), [Kind::Stuck]);
}

/// Two rounds of one check as the POS recorded them: platform's round, POS's number, POS's check, party.
fn rounds(rounds: [(i32, u64, &str, &str); 2]) -> (Vec<Request>, Facts) {
    let (mut requests, mut orders, mut at_pos_all) = (Vec::new(), Vec::new(), Vec::new());
    for (round, number, check, party) in rounds {
        let (key, id) = (format!("key-{round}"), format!("order-{round}"));
        let party = Some(party.to_owned());
        requests.push(Request { key: key.clone(), party, is_paid: false, ..request(vec![]) });
        let placed = order(OrderState::Placed);
        orders.push(Order { order_id: id.clone(), note: key.clone(), check_id: "c".into(), round, ..placed });
        let check = check.to_owned();
        at_pos_all.push(AtPos { number, reference: id, note: key, check, tenders: vec![], ..at_pos() });
    }
    (requests, facts(orders, at_pos_all))
}

#[test]
fn rounds_that_overtake_leave_their_check_or_share_it_with_others_are_out_of_order() {
    let judge = |given| {
        let (requests, facts) = rounds(given);
        kinds(&requests, &facts)
    };
    assert_eq!(judge([(1, 1, "3", "T1/1"), (2, 2, "3", "T1/1")]), []);
    assert_eq!(judge([(1, 2, "3", "T1/1"), (2, 1, "3", "T1/1")]), [Kind::OutOfOrder], "overtaken");
    assert_eq!(judge([(1, 1, "3", "T1/1"), (2, 2, "4", "T1/1")]), [Kind::OutOfOrder], "a second check");
    assert_eq!(judge([(1, 1, "3", "T1/1"), (2, 2, "3", "T1/2")]), [Kind::OutOfOrder], "the next party's");
    let (requests, mut facts) = rounds([(1, 1, "3", "T1/1"), (2, 2, "4", "T1/1")]);
    facts.closed_checks.insert("3".into(), 900);
    assert_eq!(kinds(&requests, &facts), [], "the staff closed the first check");
}

/// An order that the fallback printed while the POS was away, with what the platform says of its entry.
fn diverted(entry: PosEntry, attention: &[&str]) -> (Request, Facts) {
    let attention = attention.iter().map(|mark| (*mark).to_owned()).collect();
    let order = Order { pos_entry: entry.into(), attention, ..order(OrderState::Placed) };
    let slip = AtPos { number: 1, total: None, tenders: vec![], note: format!("T1 / {KEY}"), ..at_pos() };
    let (request, _) = good();
    (request, Facts { at_fallback: vec![slip], ..facts(vec![order], vec![]) })
}

/// As the POS has it that was told of it without a second ticket.
fn entered() -> AtPos {
    AtPos { at_ms: 9000, kitchen_tickets: 0, ..at_pos() }
}

#[test]
fn what_the_fallback_printed_is_entered_once_or_the_staffs() {
    let (request, mut facts) = diverted(PosEntry::Entered, &[]);
    facts.at_pos.push(entered());
    assert_eq!(kinds(&[request], &facts), []);
    for (entry, attention) in [(PosEntry::ByStaff, &[][..]), (PosEntry::Due, &["POS_ENTRY_REFUSED"])] {
        let (request, facts) = diverted(entry, attention);
        assert_eq!(kinds(&[request], &facts), [], "{entry:?}");
    }
}

#[test]
fn a_diverted_order_that_the_pos_is_never_told_of_is_lost_or_stuck() {
    let (request, facts) = diverted(PosEntry::Entered, &[]);
    assert_eq!(kinds(&[request], &facts), [Kind::Lost], "told to be entered");
    for entry in [PosEntry::Due, PosEntry::NotDue] {
        let (request, facts) = diverted(entry, &[]);
        assert_eq!(kinds(&[request], &facts), [Kind::Stuck], "{entry:?}");
    }
    let (request, mut facts) = diverted(PosEntry::ByStaff, &[]);
    facts.at_fallback.clear();
    assert_eq!(kinds(&[request], &facts), [Kind::Lost, Kind::Untruthful], "the kitchen never had it");
}

#[test]
fn a_second_ticket_on_whichever_device_is_a_duplicate() {
    let (request, mut facts) = diverted(PosEntry::Entered, &[]);
    facts.at_pos.push(AtPos { kitchen_tickets: 1, ..entered() });
    assert_eq!(kinds(&[request], &facts), [Kind::Duplicated], "entered with its ticket");
    let (request, mut facts) = diverted(PosEntry::ByStaff, &[]);
    facts.at_fallback.push(AtPos { number: 2, ..facts.at_fallback[0].clone() });
    assert_eq!(kinds(&[request], &facts), [Kind::Duplicated], "printed twice");
    let (request, mut facts) = diverted(PosEntry::Due, &["POS_ENTRY_DUE"]);
    facts.at_pos.push(entered());
    assert_eq!(kinds(&[request], &facts), [Kind::Untruthful], "the staff would enter it once more");
}

#[test]
fn an_end_that_was_told_of_what_the_kitchen_cooks_by_the_fallback_is_untruthful() {
    let (_, mut facts) = diverted(PosEntry::Unspecified, &[]);
    for order in facts.orders.get_mut(ID).unwrap() {
        order.set_state(OrderState::Expired);
    }
    assert_eq!(kinds(&[request(vec![told(1100, seen(OrderState::Expired, 2))])], &facts), [Kind::Untruthful]);
    let strange = AtPos { reference: "x".into(), ..facts.at_fallback[0].clone() };
    let (request, mut facts) = good();
    facts.at_fallback.push(AtPos { number: 9, ..strange });
    assert_eq!(kinds(&[request], &facts), [Kind::Duplicated], "nobody asked for it");
}

#[test]
fn rounds_that_the_fallback_prints_in_another_order_are_out_of_order() {
    let judge = |given| {
        let (requests, mut facts) = rounds(given);
        facts.at_fallback = std::mem::take(&mut facts.at_pos);
        for order in facts.orders.values_mut().flatten() {
            order.set_pos_entry(PosEntry::ByStaff);
        }
        kinds(&requests, &facts)
    };
    assert_eq!(judge([(1, 1, "3", "T1/1"), (2, 2, "4", "T1/1")]), [], "a printer has no checks");
    assert_eq!(judge([(1, 2, "3", "T1/1"), (2, 1, "3", "T1/1")]), [Kind::OutOfOrder]);
}

#[test]
fn a_violation_is_one_line_with_the_whole_history() {
    let (mut request, facts) = good();
    request.told[0] = told(900, seen(OrderState::Placed, 2));
    let line = audit(&[request], &facts).violations[0].to_string();
    assert!(!line.contains('\n') && line.starts_with("UNTRUTHFUL chaos-1-00000001: PLACED was told before"), "{line}");
    assert!(line.contains("gateway place: PLACED v2") && line.contains("order 7 on check 3"), "{line}");
}
