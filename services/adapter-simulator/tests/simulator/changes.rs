//! Orders that are taken back, followed, listed, and checks that are split: each promise, and each fault.

use std::time::{Duration, Instant};

use posmesh_kit::{cause, time};
use posmesh_proto::{
    adapter::v1::{
        CancelOrderRequest, FindOrderRequest, ListPosOrdersRequest, Placed, PollEventsRequest, PosCheckRef, PosEvent,
        PosLineShare, PosLineVoid, PosOrder, PosOrderFacts, PosOrderProgress, PosOrderRecord, SplitByItem,
        SplitCheckRequest, SplitPart, VoidLinesRequest, change_outcome::Outcome, find_order_response::Result as Found,
        list_pos_orders_response, poll_events_response, split_check_request::How, split_check_response, submit_outcome,
    },
    common::v1::{EvidenceKind, Product},
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Adapter, PATIENCE, Pair, order, yen};

async fn place(pair: &Pair, order: &PosOrder) -> Placed {
    match pair.submit(order.clone()).await {
        submit_outcome::Outcome::Placed(placed) => placed,
        other => panic!("{other:?}"),
    }
}

fn facts(order: &PosOrder) -> Option<PosOrderFacts> {
    Some(PosOrderFacts {
        reference: order.reference.clone(),
        place_time: Some(time::now()),
        ..PosOrderFacts::default()
    })
}

fn in_time(left: Duration) -> Option<prost_types::Timestamp> {
    Some(time::from_unix_ms(time::now_unix_ms() + i64::try_from(left.as_millis()).unwrap()))
}

/// A change under a reference of its own.
fn change(adapter: &Adapter, order: &PosOrder, left: Duration) -> CancelOrderRequest {
    CancelOrderRequest {
        context: Some(adapter.context.clone()),
        order: facts(order),
        change_reference: Uuid::now_v7().to_string(),
        attempt: 1,
        not_after: in_time(left),
        reason: "the guest left 🎂".to_owned(),
        ..CancelOrderRequest::default()
    }
}

pub(crate) async fn cancel(adapter: &Adapter, order: &PosOrder) -> Outcome {
    cancel_as(adapter, change(adapter, order, PATIENCE)).await
}

async fn cancel_as(adapter: &Adapter, request: CancelOrderRequest) -> Outcome {
    adapter.client.clone().cancel_order(request).await.unwrap().into_inner().outcome.unwrap().outcome.unwrap()
}

fn void_request(adapter: &Adapter, order: &PosOrder, quantity_voided: i32, left: Duration) -> VoidLinesRequest {
    let CancelOrderRequest { context, order: facts, change_reference, attempt, not_after, reason, .. } =
        change(adapter, order, left);
    let lines = vec![PosLineVoid { line_id: order.lines[0].line_id.clone(), quantity_voided }];
    VoidLinesRequest { target: None, context, order: facts, change_reference, attempt, not_after, reason, lines }
}

pub(crate) async fn void(adapter: &Adapter, order: &PosOrder, quantity_voided: i32) -> Outcome {
    void_as(adapter, void_request(adapter, order, quantity_voided, PATIENCE)).await
}

async fn void_as(adapter: &Adapter, request: VoidLinesRequest) -> Outcome {
    adapter.client.clone().void_lines(request).await.unwrap().into_inner().outcome.unwrap().outcome.unwrap()
}

/// Kitchen slips of an order that are not to be cooked, and those that are.
async fn slips(pair: &Pair, order: &PosOrder) -> (usize, usize) {
    let tickets = pair.pos(reqwest::Method::GET, "/api/tickets", json!(null)).await;
    let of = |mark: &str| {
        let all = tickets["tickets"].as_array().unwrap().iter();
        all.filter(|t| t["order_reference"] == order.reference.as_str() && t["mark"] == mark).count()
    };
    (of("void"), of("normal"))
}

async fn staff(pair: &Pair, action: serde_json::Value) {
    let mut action = action;
    action["staff"] = json!("sato");
    pair.pos(reqwest::Method::POST, "/control/staff", action).await;
}

async fn set(pair: &Pair, settings: serde_json::Value) {
    pair.pos(reqwest::Method::PUT, "/control/settings", settings).await;
}

#[tokio::test]
async fn a_cancelled_order_is_confirmed_by_the_pos_found_as_cancelled_and_void_once() {
    let pair = Pair::start().await;
    let order = order();
    place(&pair, &order).await;
    let request = change(&pair, &order, PATIENCE);
    for _ in 0..3 {
        match cancel_as(&pair, request.clone()).await {
            Outcome::Changed(changed) => {
                assert_eq!(changed.total, yen(0));
                assert_eq!(changed.evidence[0].kind(), EvidenceKind::Pos);
            }
            other => panic!("{other:?}"),
        }
    }
    match pair.find(&order).await {
        Found::Cancelled(cancelled) => {
            assert!(cancelled.cancel_time.is_some());
            assert_eq!(cancelled.placed.unwrap().progress(), PosOrderProgress::Cancelled);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(slips(&pair, &order).await, (1, 1));
}

#[tokio::test]
async fn lines_are_void_by_quantity_in_all_and_the_rest_stays() {
    let pair = Pair::start().await;
    let order = order();
    place(&pair, &order).await;
    for _ in 0..3 {
        match void(&pair, &order, 1).await {
            Outcome::Changed(changed) => assert_eq!(changed.total, yen(380)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(slips(&pair, &order).await, (1, 1));
    match pair.find(&order).await {
        Found::Found(placed) => assert_eq!(placed.total, yen(380)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(void(&pair, &order, 3).await, Outcome::Rejected(r) if r.cause == cause::MASTER_MISMATCH));
    assert!(matches!(void(&pair, &order, -1).await, Outcome::Rejected(r) if r.cause == cause::NOT_SUPPORTED));
}

#[tokio::test]
async fn what_the_kitchen_has_begun_is_too_late_and_stays() {
    let pair = Pair::start().await;
    let order = order();
    place(&pair, &order).await;
    staff(&pair, json!({"action": "progress", "reference": order.reference, "to": "in_preparation"})).await;
    assert!(matches!(cancel(&pair, &order).await, Outcome::Rejected(r) if r.cause == cause::TOO_LATE));
    assert!(matches!(void(&pair, &order, 1).await, Outcome::Rejected(r) if r.cause == cause::TOO_LATE));
    match pair.find(&order).await {
        Found::Found(placed) => assert_eq!(placed.progress(), PosOrderProgress::InPreparation),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_order_that_was_never_there_cannot_be_taken_back_and_the_pos_says_so() {
    let pair = Pair::start().await;
    assert!(matches!(cancel(&pair, &order()).await, Outcome::NotFound(n) if n.authoritative));
    assert!(matches!(void(&pair, &order(), 1).await, Outcome::NotFound(n) if n.authoritative));
    let lost = order();
    place(&pair, &lost).await;
    staff(&pair, json!({"action": "lose_order", "reference": lost.reference})).await;
    assert!(matches!(cancel(&pair, &lost).await, Outcome::NotFound(_)));
}

#[tokio::test]
async fn each_fault_of_a_change_is_told_by_what_it_proves() {
    let pair = Pair::start().await;
    let doubt = |told: &Outcome| matches!(told, Outcome::InDoubt(d) if d.cause == cause::NETWORK_DOWN);
    let undone = async |order: &PosOrder| match pair.find(order).await {
        Found::Found(placed) => placed.total == yen(760),
        Found::Cancelled(_) => false,
        other => panic!("{other:?}"),
    };
    for on in ["cancel", "void"] {
        let write = async |order: &PosOrder, left: Duration| match on {
            "cancel" => cancel_as(&pair, change(&pair, order, left)).await,
            _ => void_as(&pair, void_request(&pair, order, 1, left)).await,
        };
        let strike = async |fault: serde_json::Value, left: Duration| {
            let order = order();
            place(&pair, &order).await;
            let mut fault = fault;
            (fault["on"], fault["times"]) = (json!(on), json!(1));
            pair.fault(fault).await;
            let told = write(&order, left).await;
            (order, told)
        };
        let (order, told) = strike(json!({"kind": "drop_answer_after_record"}), PATIENCE).await;
        assert!(doubt(&told) && !undone(&order).await, "{on}: {told:?}");
        assert!(matches!(write(&order, PATIENCE).await, Outcome::Changed(_)), "{on} again is harmless");
        assert_eq!(slips(&pair, &order).await, (1, 1));

        let (order, told) = strike(json!({"kind": "drop_before_record"}), PATIENCE).await;
        assert!(doubt(&told) && undone(&order).await, "{on}: {told:?}");

        let (order, told) = strike(json!({"kind": "refuse", "cause": "TABLE_LOCKED"}), PATIENCE).await;
        assert!(matches!(&told, Outcome::Rejected(r) if r.cause == cause::TABLE_LOCKED), "{on}: {told:?}");
        assert!(undone(&order).await);

        let refuse = json!({"kind": "refuse", "cause": "TABLE_LOCKED", "retry_after_ms": 1500});
        let (order, told) = strike(refuse, PATIENCE).await;
        assert!(matches!(&told, Outcome::RefusedForNow(r) if r.retry_after.is_some()), "{on}: {told:?}");
        assert!(undone(&order).await);

        let (order, told) = strike(json!({"kind": "rate_limit", "per_second": 0}), PATIENCE).await;
        assert!(matches!(&told, Outcome::RefusedForNow(r) if r.cause == cause::RATE_LIMITED), "{on}: {told:?}");
        assert!(undone(&order).await);

        // Carried out later, but within its time.
        let (order, told) = strike(json!({"kind": "record_late", "delay_ms": 50}), PATIENCE).await;
        assert!(doubt(&told), "{on}: {told:?}");
        let begun = Instant::now();
        while undone(&order).await {
            assert!(begun.elapsed() < PATIENCE, "it was never carried out");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        let slow = Duration::from_millis(300);
        let (order, told) = strike(json!({"kind": "delay", "delay_ms": 600}), slow).await;
        assert!(matches!(&told, Outcome::InDoubt(d) if d.cause == cause::TIMED_OUT), "{on}: {told:?}");
        // The next one waits as long and was sent later: once it is done, the POS has decided about the slow one.
        let (_, told) = strike(json!({"kind": "delay", "delay_ms": 600}), PATIENCE).await;
        assert!(matches!(told, Outcome::Changed(_)) && undone(&order).await, "{on}: nothing is done after not_after");
    }
}

#[tokio::test]
async fn a_pos_that_crashes_over_a_change_leaves_it_in_doubt_and_the_next_not_handed_over() {
    for fault in ["crash_before_record", "crash_after_record"] {
        let pair = Pair::start().await;
        let order = order();
        place(&pair, &order).await;
        pair.fault(json!({"kind": fault, "on": "cancel"})).await;
        assert!(matches!(cancel(&pair, &order).await, Outcome::InDoubt(d) if d.cause == cause::NETWORK_DOWN));
        let begun = Instant::now();
        while !matches!(cancel(&pair, &order).await, Outcome::NotHandedOver(p) if p.cause == cause::NETWORK_DOWN) {
            assert!(begun.elapsed() < PATIENCE, "it still listens");
        }
    }
}

fn poll(adapter: &Adapter, cursor: &str, max_events: i32) -> PollEventsRequest {
    let context = Some(adapter.context.clone());
    PollEventsRequest { context, cursor: cursor.to_owned(), max_events, ..PollEventsRequest::default() }
}

async fn polled(adapter: &Adapter, cursor: &str, max_events: i32) -> poll_events_response::Result {
    let answer = adapter.client.clone().poll_events(poll(adapter, cursor, max_events)).await.unwrap();
    answer.into_inner().result.unwrap()
}

#[tokio::test]
async fn a_poller_hears_every_step_of_an_order_once_and_in_order() {
    use poll_events_response::Result::{Events, Failed};
    let pair = Pair::start().await;
    let Events(begin) = polled(&pair, "", 100).await else { panic!() };
    assert!(begin.events.is_empty() && !begin.more);
    let (first, second) = (order(), order());
    place(&pair, &first).await;
    place(&pair, &second).await;
    for to in ["in_preparation", "ready", "completed"] {
        staff(&pair, json!({"action": "progress", "reference": first.reference, "to": to})).await;
    }
    cancel(&pair, &second).await;
    let (mut cursor, mut heard): (String, Vec<PosEvent>) = (begin.cursor, Vec::new());
    loop {
        let Events(page) = polled(&pair, &cursor, 2).await else { panic!() };
        cursor = page.cursor;
        heard.extend(page.events);
        if !page.more {
            break;
        }
    }
    use PosOrderProgress::{Accepted, Cancelled, Completed, InPreparation, Ready, Unspecified};
    let steps = |order: &PosOrder| -> Vec<PosOrderProgress> {
        heard.iter().filter(|event| event.reference == order.reference).map(PosEvent::progress).collect()
    };
    assert_eq!(steps(&first), [Accepted, Unspecified, InPreparation, Ready, Completed]);
    assert_eq!(steps(&second), [Accepted, Unspecified, Cancelled]);
    let printed = heard.iter().find(|event| event.progress() == Unspecified).unwrap();
    assert_eq!(printed.evidence[0].kind(), EvidenceKind::Printed);
    let ids: std::collections::BTreeSet<_> = heard.iter().map(|event| event.event_id.clone()).collect();
    assert_eq!(ids.len(), heard.len());

    set(&pair, json!({"keep_events": 1})).await;
    place(&pair, &order()).await;
    assert!(matches!(polled(&pair, "0", 2).await, Failed(failed) if failed.cause == cause::CURSOR_TOO_OLD));
    let status = pair.client.clone().poll_events(poll(&pair, "no number", 2)).await.unwrap_err();
    assert_eq!(posmesh_kit::failure::reason(&status), "CURSOR_INVALID");
}

fn list(adapter: &Adapter) -> ListPosOrdersRequest {
    ListPosOrdersRequest {
        context: Some(adapter.context.clone()),
        from: Some(time::from_unix_ms(time::now_unix_ms() - 60_000)),
        before: Some(time::from_unix_ms(time::now_unix_ms() + 60_000)),
        ..ListPosOrdersRequest::default()
    }
}

pub(crate) async fn listed(adapter: &Adapter, request: ListPosOrdersRequest) -> Vec<PosOrderRecord> {
    let (mut request, mut orders) = (request, Vec::new());
    loop {
        let answer = adapter.client.clone().list_pos_orders(request.clone()).await.unwrap().into_inner();
        match answer.result.unwrap() {
            list_pos_orders_response::Result::Orders(page) => {
                orders.extend(page.orders);
                if page.next_page_token.is_empty() {
                    return orders;
                }
                request.page_token = page.next_page_token;
            }
            list_pos_orders_response::Result::Failed(failed) => panic!("{failed:?}"),
        }
    }
}

#[tokio::test]
async fn the_pos_lists_what_it_holds_with_what_is_left_of_it() {
    let pair = Pair::start().await;
    let orders: Vec<PosOrder> = (0..5).map(|_| order()).collect();
    for order in &orders {
        place(&pair, order).await;
    }
    void(&pair, &orders[1], 1).await;
    cancel(&pair, &orders[2]).await;
    let records = listed(&pair, ListPosOrdersRequest { page_size: 2, ..list(&pair) }).await;
    let references: Vec<&str> = records.iter().map(|record| record.reference.as_str()).collect();
    assert_eq!(references, orders.iter().map(|order| order.reference.as_str()).collect::<Vec<_>>());
    assert_eq!((records[1].total.clone(), records[1].lines[0].quantity_milli), (yen(380), 1000));
    assert_eq!(records[1].lines[0].line_id, orders[1].lines[0].line_id);
    assert_eq!(records[2].progress(), PosOrderProgress::Cancelled);
    let past = Some(time::from_unix_ms(1_000));
    let none = listed(&pair, ListPosOrdersRequest { from: past, before: past, ..list(&pair) }).await;
    assert!(none.is_empty());
    for wrong in [
        ListPosOrdersRequest { from: None, ..list(&pair) },
        ListPosOrdersRequest { business_date: "2026-11-22".to_owned(), ..list(&pair) },
    ] {
        let status = pair.client.clone().list_pos_orders(wrong).await.unwrap_err();
        assert_eq!(posmesh_kit::failure::reason(&status), "LIST_RANGE_INVALID");
    }
}

#[tokio::test]
async fn a_check_is_split_evenly_or_by_item_and_once_only() {
    let pair = Pair::start().await;
    let check = PosCheckRef { table_id: "T4".to_owned(), round: 1, ..PosCheckRef::default() };
    let order = PosOrder { product: Product::Table.into(), check: Some(check), ..order() };
    let reference = place(&pair, &order).await.pos_check_reference;
    let request = |how: How| SplitCheckRequest {
        context: Some(pair.context.clone()),
        pos_check_reference: reference.clone(),
        change_reference: Uuid::now_v7().to_string(),
        not_after: in_time(PATIENCE),
        how: Some(how),
        ..SplitCheckRequest::default()
    };
    let split = async |request: SplitCheckRequest| {
        pair.client.clone().split_check(request).await.unwrap().into_inner().result.unwrap()
    };
    let evenly = request(How::Parts(2));
    let split_check_response::Result::Split(parts) = split(evenly.clone()).await else { panic!() };
    assert_eq!(parts.checks.iter().map(|check| check.total.clone()).collect::<Vec<_>>(), [yen(380), yen(380)]);
    assert_eq!(parts.checks[0].pos_check_reference, reference);
    let split_check_response::Result::Split(again) = split(evenly).await else { panic!() };
    assert_eq!(again, parts);

    let line = parts.checks[0].lines.iter().find(|line| !line.line_id.is_empty()).unwrap();
    let share = |quantity_milli| {
        let lines = vec![PosLineShare { pos_line_reference: line.pos_line_reference.clone(), quantity_milli }];
        How::ByItem(SplitByItem { parts: vec![SplitPart { lines }] })
    };
    let split_check_response::Result::Split(parts) = split(request(share(1000))).await else { panic!() };
    assert_eq!(parts.checks[1].lines[0].quantity_milli, 1000);
    assert_eq!(parts.checks[1].lines[0].line_id, order.lines[0].line_id);
    let split_check_response::Result::Failed(failed) = split(request(share(500))).await else { panic!() };
    assert_eq!(failed.cause, cause::NOT_SUPPORTED);

    pair.fault(json!({"kind": "drop_answer_after_record", "on": "split", "times": 1})).await;
    let pos_check_reference = parts.checks[1].pos_check_reference.clone();
    let lost = SplitCheckRequest { pos_check_reference, ..request(How::Parts(2)) };
    let status = pair.client.clone().split_check(lost.clone()).await.unwrap_err();
    assert!(!posmesh_kit::failure::is_not_handed_over(&status));
    assert!(matches!(split(lost).await, split_check_response::Result::Split(_)), "repeating it is the answer");
}

#[tokio::test]
async fn an_order_that_the_pos_may_have_forgotten_is_not_proven_absent() {
    let pair = Pair::remembering(20).await;
    let old = order();
    place(&pair, &old).await;
    for _ in 0..25 {
        place(&pair, &order()).await;
    }
    let request = |place_time| FindOrderRequest {
        context: Some(pair.context.clone()),
        reference: old.reference.clone(),
        place_time,
        ..FindOrderRequest::default()
    };
    let find = async |place_time| {
        pair.client.clone().find_order(request(place_time)).await.unwrap().into_inner().result.unwrap()
    };
    let before = Some(time::from_unix_ms(time::now_unix_ms() - 60_000));
    assert!(matches!(find(before).await, Found::NotFound(n) if !n.authoritative));
    assert!(matches!(find(None).await, Found::NotFound(n) if !n.authoritative));
    assert!(
        matches!(find(Some(time::now())).await, Found::NotFound(n) if n.authoritative),
        "one of now would be there"
    );
}
