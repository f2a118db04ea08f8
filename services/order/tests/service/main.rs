//! The order service with scripted peers: what a product, a guest and the staff can rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod checks;
mod clock_jumps;
mod diverting;
mod entering;
mod fakes;
mod gates;
mod polling;
mod progress;
mod reconciling;
mod settling;
mod taking_back;
mod times;
mod watching;

use std::{sync::Arc, time::Duration};

use fakes::{Act, BEER_PRICE, Pos, STORE, beer, beer_to_go, config, replica, yen};
use posmesh_kit::{Failure, cause, failure};
use posmesh_order::storage::{CheckStorage as _, MemoryStorage};
use posmesh_proto::{
    adapter::v1::{PosCheck, RefusedForNow, Rejected, submit_outcome::Outcome},
    common::v1::Product,
    order::v1::{
        AttemptOutcome, CancelOrderRequest, Check, CheckState, ExternalTender, GetCheckRequest, GetOrderRequest,
        ListOrdersRequest, OpenCheckRequest, Order, OrderState, PlaceOrderRequest, PriceStatus, Quote,
        QuoteOrderRequest, cancel_order_request, get_order_request,
    },
};
use tokio::sync::Notify;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::default())
}

fn attempts(order: &Order) -> Vec<AttemptOutcome> {
    order.attempts.iter().map(|a| a.outcome()).collect()
}

fn field(status: &Status) -> String {
    status
        .get_details_bad_request()
        .and_then(|b| b.field_violations.first().map(|v| v.field.clone()))
        .unwrap_or_default()
}

#[tokio::test]
async fn a_placed_order_brings_the_pos_number_evidence_and_final_price() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!(order.state(), OrderState::Placed);
    assert_eq!(order.display_number, "K1");
    assert_eq!(order.evidence[0].connection_id, "till");
    assert_eq!(order.price.unwrap().status(), PriceStatus::Final);
    assert_eq!(pos.orders(), 1);
}

#[tokio::test]
async fn the_same_request_again_is_the_same_order_even_when_the_price_has_moved_since() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let first = replica.place(beer_to_go("r1")).await.unwrap();
    let mut again = beer_to_go("r1");
    again.pickup_time = Some(first.pickup_time.unwrap());
    assert_eq!(replica.place(again.clone()).await.unwrap().order_id, first.order_id);
    pos.state.lock().unwrap().price = 600;
    let quote = || QuoteOrderRequest {
        store_id: STORE.into(),
        product: Product::ToGo.into(),
        lines: vec![beer(1)],
        ..Default::default()
    };
    let total = |quote: Quote| quote.price.unwrap().total.unwrap().amount;
    while total(replica.client.clone().quote_order(quote()).await.unwrap().into_inner().quote.unwrap()) != 600 {}
    assert_eq!(replica.place(again).await.unwrap().order_id, first.order_id);
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn a_request_id_with_another_body_is_refused_by_name() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    replica.place(beer_to_go("r1")).await.unwrap();
    let other =
        PlaceOrderRequest { lines: vec![beer(2)], expected_total: Some(yen(2 * BEER_PRICE)), ..beer_to_go("r1") };
    let refused = replica.place(other).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_found_and_not_sent_again() {
    let pos = Pos::default();
    pos.script([Act::TakeAndLoseAnswer]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!(order.state(), OrderState::Placed);
    assert_eq!((pos.submits(), pos.orders()), (1, 1));
}

#[tokio::test]
async fn an_order_that_got_lost_is_sent_again_only_after_the_pos_proved_its_absence() {
    let pos = Pos::default();
    pos.script([Act::Lose]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!(attempts(&order), [AttemptOutcome::Absent, AttemptOutcome::Placed]);
    let proven = order.attempts[0].not_after.unwrap();
    let again = order.attempts[1].begin_time.unwrap();
    assert!(
        (again.seconds, again.nanos) > (proven.seconds, proven.nanos),
        "sent again while the first could still write"
    );
    assert_eq!(pos.orders(), 1);
}

#[tokio::test]
async fn an_order_in_doubt_is_never_sent_again_where_the_pos_cannot_prove_absence() {
    let pos = Pos::default();
    pos.state.lock().unwrap().find_proves_nothing = true;
    pos.script([Act::Lose]);
    let replica = replica(memory(), &pos, &config());
    let mut request = beer_to_go("r1");
    request.wait = None;
    let order = replica.place(request).await.unwrap();
    replica.until(&order.order_id, OrderState::InDoubt).await;
    let asked = || pos.state.lock().unwrap().finds;
    let enough = asked() + 5;
    while asked() < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn an_order_in_doubt_is_not_sent_again_over_a_connection_that_was_changed_meanwhile() {
    let pos = Pos::default();
    pos.script([Act::Lose]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    pos.submitted.notified().await;
    pos.state.lock().unwrap().repointed = 1;
    replica.until(&order.order_id, OrderState::InDoubt).await;
    let asked = || pos.state.lock().unwrap().finds;
    let enough = asked() + 8;
    while asked() < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pos.submits(), 1, "the POS that is asked now may not be the one that has it");
}

#[tokio::test]
async fn an_order_is_refused_where_the_menu_is_that_of_another_pos() {
    let pos = Pos::default();
    pos.state.lock().unwrap().second_pos = true;
    let replica = replica(memory(), &pos, &config());
    let kiosk = PlaceOrderRequest { product: Product::Kiosk.into(), pickup_time: None, ..beer_to_go("r1") };
    let refused = replica.place(kiosk).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "MENU_OF_ANOTHER_POS");
    assert_eq!(replica.place(beer_to_go("r2")).await.unwrap().state(), OrderState::Placed);
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn an_order_that_was_refused_for_now_or_not_handed_over_is_sent_again() {
    let pos = Pos::default();
    let busy = RefusedForNow { cause: cause::RATE_LIMITED.into(), ..RefusedForNow::default() };
    let down = Failure::not_handed_over(cause::ADAPTER_DOWN, "no instance");
    pos.script([Act::Answer(Outcome::RefusedForNow(busy)), Act::Fail(down.into())]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let expected = [AttemptOutcome::RefusedForNow, AttemptOutcome::NotHandedOver, AttemptOutcome::Placed];
    assert_eq!(attempts(&order), expected);
    assert_eq!(order.state(), OrderState::Placed);
}

#[tokio::test]
async fn what_the_pos_refuses_is_rejected_with_its_cause() {
    let pos = Pos::default();
    let no = Rejected { cause: cause::ITEM_SOLD_OUT.into(), message: "beer is out".into(), ..Rejected::default() };
    pos.script([Act::Answer(Outcome::Rejected(no))]);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!((order.state(), order.cause.as_str()), (OrderState::Rejected, cause::ITEM_SOLD_OUT));
}

#[tokio::test]
async fn an_order_that_cannot_be_delivered_in_time_expires_with_the_reason() {
    let pos = Pos::default();
    let down = || Act::Fail(Failure::not_handed_over(cause::NETWORK_DOWN, "refused").into());
    pos.script((0..2_000).map(|_| down()));
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    let expired = replica.until(&order.order_id, OrderState::Expired).await;
    assert_eq!(expired.cause, cause::NETWORK_DOWN);
    assert_eq!(pos.orders(), 0);
}

#[tokio::test]
async fn another_replica_settles_the_order_of_a_dead_one_and_does_not_send_it_again() {
    let (pos, storage) = (Pos::default(), memory());
    let never = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&never))]);
    let dead = replica(storage.clone(), &pos, &config());
    let order = dead.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    pos.submitted.notified().await;
    // It had reached the POS.
    let sent = pos.state.lock().unwrap().submits[0].clone();
    pos.state.lock().unwrap().orders.insert(sent.reference.clone(), sent);
    drop(dead);
    let heir = replica(storage, &pos, &config());
    let order = heir.until(&order.order_id, OrderState::Placed).await;
    assert_eq!((order.attempts.len(), pos.submits()), (1, 1));
}

#[tokio::test]
async fn a_guest_who_stops_waiting_does_not_stop_the_order() {
    let pos = Pos::default();
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    let replica = replica(memory(), &pos, &config());
    let mut client = replica.client.clone();
    let waiting = tokio::spawn(async move { client.place_order(beer_to_go("r1")).await });
    pos.submitted.notified().await;
    waiting.abort();
    go.notify_one();
    let key = Some(get_order_request::Key::RequestId("r1".into()));
    let order = replica.client.clone().get_order(GetOrderRequest { key }).await.unwrap().into_inner().order.unwrap();
    replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(pos.submits(), 1);
}

/// The lease is long here: an order that nobody sends would stay where it is.
#[tokio::test]
async fn a_guest_who_leaves_while_the_order_is_written_leaves_no_order_that_nobody_sends() {
    let pos = Pos::default();
    let patient = posmesh_order::Config { attempt_timeout: Duration::from_secs(600), ..config() };
    let replica = replica(memory(), &pos, &patient);
    for moment in 0..60 {
        let mut client = replica.client.clone();
        let request = PlaceOrderRequest { wait: None, ..beer_to_go(&format!("r{moment}")) };
        let placing = tokio::spawn(async move { client.place_order(request).await });
        for _ in 0..moment / 2 {
            tokio::task::yield_now().await;
        }
        placing.abort();
    }
    let all = ListOrdersRequest { store_id: STORE.into(), page_size: 100, ..ListOrdersRequest::default() };
    let orders = replica.client.clone().list_orders(all).await.unwrap().into_inner().orders;
    assert!(!orders.is_empty() && orders.len() < 60, "{} of 60 were taken", orders.len());
    for order in orders {
        replica.until(&order.order_id, OrderState::Placed).await;
    }
}

#[tokio::test]
async fn the_same_request_again_is_the_same_order_even_when_the_item_is_off_the_menu_since() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let request = beer_to_go("r1");
    let first = replica.place(request.clone()).await.unwrap();
    pos.state.lock().unwrap().gone = true;
    let quote = || QuoteOrderRequest {
        store_id: STORE.into(),
        product: Product::ToGo.into(),
        lines: vec![beer(1)],
        ..Default::default()
    };
    while replica.client.clone().quote_order(quote()).await.is_ok() {}
    assert_eq!(replica.place(request.clone()).await.unwrap().order_id, first.order_id);
    let in_english = PlaceOrderRequest { locale: "en".into(), ..request.clone() };
    assert_eq!(replica.place(in_english).await.unwrap().order_id, first.order_id);
    let other_body = PlaceOrderRequest { note: "cold".into(), ..request };
    let refused = replica.place(other_body).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn what_the_pos_cannot_hold_is_refused_with_its_field_before_anything_is_taken() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let mut rare = beer_to_go("r1");
    rare.lines[0].note = "🎂".into();
    let long = PlaceOrderRequest { note: "twenty-one characters".into(), ..beer_to_go("r1") };
    let tender = ExternalTender { tender_id: "gold".into(), amount: Some(yen(BEER_PRICE)), reference: "p".into() };
    let unknown = PlaceOrderRequest { tenders: vec![tender], ..beer_to_go("r1") };
    for (request, reason, at) in [
        (rare, "TEXT_NOT_REPRESENTABLE", "lines[0].note"),
        (long, "TEXT_TOO_LONG", "note"),
        (unknown, "TENDER_NOT_FOUND", "tenders[0].tender_id"),
    ] {
        let refused = replica.place(request).await.unwrap_err();
        assert_eq!((failure::reason(&refused).as_str(), field(&refused).as_str()), (reason, at));
    }
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn guests_do_not_join_a_check_on_which_earlier_ones_never_ordered() {
    let pos = Pos::default();
    let storage = memory();
    let replica = replica(storage.clone(), &pos, &config());
    let an_hour_ago = posmesh_kit::time::from_unix_ms(posmesh_kit::time::now_unix_ms() - 3_600_000);
    let left = Check {
        check_id: "left".into(),
        store_id: STORE.into(),
        table_id: "t1".into(),
        state: CheckState::Open.into(),
        version: 1,
        open_time: Some(an_hour_ago),
        ..Check::default()
    };
    storage.open_check("default", &left, Duration::from_secs(60)).await.unwrap();
    let table = OpenCheckRequest { store_id: STORE.into(), table_id: "t1".into(), party_size: 2 };
    let opened = replica.client.clone().open_check(table.clone()).await.unwrap().into_inner();
    let check = opened.check.unwrap();
    assert!(!opened.joined && check.check_id != "left");
    let again = replica.client.clone().open_check(table).await.unwrap().into_inner();
    assert!(again.joined && again.check.unwrap().check_id == check.check_id, "the others of the party join");
}

#[tokio::test]
async fn an_order_cancelled_before_it_was_seen_is_never_sent() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let cancel = CancelOrderRequest {
        key: Some(cancel_order_request::Key::RequestId("r1".into())),
        store_id: STORE.into(),
        product: Product::ToGo.into(),
        ..CancelOrderRequest::default()
    };
    replica.client.clone().cancel_order(cancel).await.unwrap();
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!(order.state(), OrderState::Cancelled);
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn a_price_that_moved_is_refused_with_the_new_quote() {
    let pos = Pos::default();
    pos.state.lock().unwrap().price = 600;
    let replica = replica(memory(), &pos, &config());
    let refused = replica.place(beer_to_go("r1")).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "PRICE_CHANGED");
    let quote: Quote = failure::detail(&refused).unwrap();
    assert_eq!(quote.price.unwrap().total, Some(yen(600)));
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn bad_input_is_refused_with_reason_and_field_and_nothing_is_sent() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let good = || beer_to_go("r1");
    let cases: Vec<(&str, &str, PlaceOrderRequest)> = vec![
        ("REQUIRED", "request_id", PlaceOrderRequest { request_id: String::new(), ..good() }),
        ("INVALID", "request_id", PlaceOrderRequest { request_id: "ä".into(), ..good() }),
        ("REQUIRED", "product", PlaceOrderRequest { product: 0, ..good() }),
        ("UNKNOWN_VALUE", "product", PlaceOrderRequest { product: 99, ..good() }),
        ("REQUIRED", "pickup_time", PlaceOrderRequest { pickup_time: None, ..good() }),
        ("OUT_OF_RANGE", "pickup_time", PlaceOrderRequest { pickup_time: Some(Default::default()), ..good() }),
        ("EMPTY_ORDER", "lines", PlaceOrderRequest { lines: vec![], ..good() }),
        ("TOO_MANY_LINES", "lines", PlaceOrderRequest { lines: vec![beer(1); 10_000], ..good() }),
        ("QUANTITY_OUT_OF_RANGE", "lines[0].quantity", PlaceOrderRequest { lines: vec![beer(0)], ..good() }),
        ("QUANTITY_OUT_OF_RANGE", "lines[0].quantity", PlaceOrderRequest { lines: vec![beer(i32::MAX)], ..good() }),
        ("REQUIRED", "expected_total", PlaceOrderRequest { expected_total: None, ..good() }),
        ("TEXT_INVALID", "note", PlaceOrderRequest { note: "a\0b".into(), ..good() }),
        ("TEXT_TOO_LONG", "note", PlaceOrderRequest { note: "x".repeat(201), ..good() }),
        ("NOT_ALLOWED", "pager_number", PlaceOrderRequest { pager_number: "7".into(), ..good() }),
        ("NOT_ALLOWED", "check_id", PlaceOrderRequest { check_id: "c".into(), ..good() }),
        ("LOCALE_INVALID", "locale", PlaceOrderRequest { locale: "日本語".into(), ..good() }),
        (
            "OUT_OF_RANGE",
            "wait",
            PlaceOrderRequest { wait: Some(prost_types::Duration { seconds: 31, nanos: 0 }), ..good() },
        ),
    ];
    for (reason, at, request) in cases {
        let refused = replica.place(request).await.unwrap_err();
        assert_eq!((failure::reason(&refused).as_str(), field(&refused).as_str()), (reason, at));
        assert_eq!(refused.code(), Code::InvalidArgument, "{at}");
    }
    let currency = posmesh_proto::common::v1::Money { currency_code: "USD".into(), amount: BEER_PRICE };
    let refused = replica.place(PlaceOrderRequest { expected_total: Some(currency), ..good() }).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CURRENCY_MISMATCH");
    let refused = replica.place(PlaceOrderRequest { store_id: "nowhere".into(), ..good() }).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::NotFound, "STORE_NOT_FOUND"));
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn a_sold_out_item_is_refused_by_name_before_anything_is_sent() {
    let pos = Pos::default();
    pos.state.lock().unwrap().sold_out = true;
    let replica = replica(memory(), &pos, &config());
    let refused = replica.place(beer_to_go("r1")).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::FailedPrecondition, "ITEM_UNAVAILABLE"));
    assert_eq!(field(&refused), "lines[0].item_id");
}

pub(crate) fn round(check_id: &str, request_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        check_id: check_id.into(),
        product: Product::Table.into(),
        pickup_time: None,
        ..beer_to_go(request_id)
    }
}

#[tokio::test]
async fn rounds_of_one_check_reach_the_pos_one_after_the_other_in_their_order() {
    let pos = Pos::default();
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    let replica = replica(memory(), &pos, &config());
    let table = OpenCheckRequest { store_id: STORE.into(), table_id: "t1".into(), party_size: 2 };
    let check = replica.client.clone().open_check(table).await.unwrap().into_inner().check.unwrap();
    let now = |id: &str| PlaceOrderRequest { wait: None, ..round(&check.check_id, id) };
    let first = replica.place(now("r1")).await.unwrap();
    pos.submitted.notified().await;
    let second = replica.place(now("r2")).await.unwrap();
    let third = replica.place(now("r3")).await.unwrap();
    assert_eq!([first.round, second.round, third.round], [1, 2, 3]);
    assert_eq!([second.state(), third.state()], [OrderState::Held; 2]);
    assert_eq!(pos.submits(), 1);
    go.notify_one();
    replica.until(&third.order_id, OrderState::Placed).await;
    let rounds: Vec<(i32, String)> = pos
        .state
        .lock()
        .unwrap()
        .submits
        .iter()
        .map(|o| {
            let check = o.check.clone().unwrap();
            (check.round, check.pos_check_reference)
        })
        .collect();
    let joined = || "pos-check-t1".to_owned();
    assert_eq!(rounds, [(1, String::new()), (2, joined()), (3, joined())]);
}

#[tokio::test]
async fn a_check_that_the_staff_opened_is_joined_and_one_that_the_pos_closed_takes_no_more_rounds() {
    let pos = Pos::default();
    let staffs =
        PosCheck { pos_check_reference: "pos-check-t1".into(), open: true, party_size: 4, ..PosCheck::default() };
    pos.state.lock().unwrap().open_checks = vec![staffs];
    let replica = replica(memory(), &pos, &config());
    let table = OpenCheckRequest { store_id: STORE.into(), table_id: "t1".into(), party_size: 0 };
    let mut client = replica.client.clone();
    let opened = client.open_check(table.clone()).await.unwrap().into_inner();
    let check = opened.check.unwrap();
    assert!(opened.joined);
    assert_eq!((check.party_size, check.opened_by.as_str()), (4, "POS"));
    let again = client.open_check(table.clone()).await.unwrap().into_inner();
    assert_eq!(again.check.unwrap().check_id, check.check_id);

    pos.state.lock().unwrap().open_checks.clear();
    let next_guests = client.open_check(table).await.unwrap().into_inner().check.unwrap();
    assert_ne!(next_guests.check_id, check.check_id, "the next guests never join the last ones' check");
    let old = GetCheckRequest { check_id: check.check_id.clone(), include_bill: false };
    let old = client.get_check(old).await.unwrap().into_inner().check.unwrap();
    assert_eq!((old.state(), old.cause.as_str()), (CheckState::Closed, "CLOSED_AT_POS"));
    let refused = replica.place(round(&check.check_id, "r9")).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CHECK_CLOSED");
}

#[tokio::test]
async fn a_check_of_nobody_and_a_table_of_nowhere_are_refused_by_name() {
    let replica = replica(memory(), &Pos::default(), &config());
    let refused = replica.place(round("nobody", "r1")).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "CHECK_NOT_FOUND");
    let nowhere = OpenCheckRequest { store_id: STORE.into(), table_id: "t99".into(), party_size: 0 };
    let refused = replica.client.clone().open_check(nowhere).await.unwrap_err();
    assert_eq!((failure::reason(&refused).as_str(), field(&refused).as_str()), ("TABLE_NOT_FOUND", "table_id"));
}

#[tokio::test]
async fn more_orders_than_a_replica_can_bring_away_are_refused_before_they_are_taken() {
    let pos = Pos::default();
    let never = Arc::new(Notify::new());
    pos.script([Act::Hang(never)]);
    let replica = replica(memory(), &pos, &posmesh_order::Config { max_in_flight: 1, ..config() });
    replica.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    let refused = replica.place(beer_to_go("r2")).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "OVERLOADED");
    let key = Some(get_order_request::Key::RequestId("r2".into()));
    let unknown = replica.client.clone().get_order(GetOrderRequest { key }).await.unwrap_err();
    assert_eq!(failure::reason(&unknown), "ORDER_NOT_FOUND");
}
