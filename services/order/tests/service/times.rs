//! Orders and time: what waits and fires, what is offered for pickup, what ends by itself, who waits for whom.

use std::time::{Duration, Instant};

use posmesh_kit::{Failure, cause, failure, time};
use posmesh_order::{
    Config,
    storage::{OrderFilter, Storage as _},
};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{
        CancelOrderRequest, HoldReason, ListPickupSlotsRequest, OpenCheckRequest, Order, OrderState, PlaceOrderRequest,
        QuoteOrderRequest, cancel_order_request,
    },
    store::v1::{GatePolicy, OpeningHours, ProductPolicy},
};
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{
    attempts,
    fakes::{Act, BEER, OTHER_STORE, Pos, Replica, STORE, beer, beer_to_go, config, replica},
    field, memory,
};

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn ms(ms: u64) -> Option<prost_types::Duration> {
    Some(time::to_proto_duration(Duration::from_millis(ms)))
}

fn in_ms(ms: i64) -> Timestamp {
    time::from_unix_ms(time::now_unix_ms() + ms)
}

/// A POS of a store whose kitchen needs so many seconds.
fn kitchen_of(preparation_s: i64) -> Pos {
    let pos = Pos::default();
    pos.state.lock().unwrap().togo = ProductPolicy { preparation_time: seconds(preparation_s), ..Default::default() };
    pos
}

/// A beer that is picked up then, not waited for.
fn beer_at(request_id: &str, pickup: Timestamp) -> PlaceOrderRequest {
    PlaceOrderRequest { pickup_time: Some(pickup), wait: None, ..beer_to_go(request_id) }
}

fn next_pickup_time(refused: &Status) -> Timestamp {
    let next = failure::metadata(refused, "next_pickup_time").expect("no next time");
    assert!(refused.message().contains(&next), "{}", refused.message());
    assert!(next.ends_with("+09:00"), "in the store's own time: {next}");
    next.parse().unwrap()
}

#[tokio::test]
async fn an_advance_order_waits_until_the_kitchen_must_begin_and_then_goes_once() {
    let pos = kitchen_of(600);
    let replica = replica(memory(), &pos, &config());
    let pickup = in_ms(601_000);
    let request = PlaceOrderRequest { wait: seconds(30), ..beer_at("r1", pickup) };
    let asked = Instant::now();
    let order = replica.place(request).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "nobody waits for what happens later");
    assert_eq!((order.state(), order.hold_reason()), (OrderState::Held, HoldReason::FireTime));
    let fire_ms = time::to_unix_ms(&order.fire_time.unwrap());
    assert_eq!(fire_ms, time::to_unix_ms(&pickup) - 600_000);
    assert_eq!(time::to_unix_ms(&order.deliver_by.unwrap()), fire_ms + 10_000);
    assert_eq!((order.attempts.len(), pos.submits()), (0, 0));
    let placed = replica.until(&order.order_id, OrderState::Placed).await;
    assert!(time::to_unix_ms(&placed.attempts[0].begin_time.unwrap()) >= fire_ms, "it went too early");
    assert_eq!((placed.hold_reason(), placed.attempts.len()), (HoldReason::Unspecified, 1));
    assert_eq!((pos.submits(), pos.orders()), (1, 1));
}

#[tokio::test]
async fn an_advance_order_belongs_to_the_business_day_of_its_pickup() {
    let pos = kitchen_of(60);
    let replica = replica(memory(), &pos, &config());
    let pickup_ms = time::now_unix_ms() + 30 * 3_600_000;
    let order = replica.place(beer_at("r1", time::from_unix_ms(pickup_ms))).await.unwrap();
    // Tokyo has no summer time.
    let local = time::from_unix_ms(pickup_ms + 9 * 3_600_000).to_string();
    assert_eq!(order.business_date, local[..10]);
}

#[tokio::test]
async fn another_replica_fires_the_order_of_one_that_is_gone() {
    let (pos, storage) = (kitchen_of(600), memory());
    let gone = replica(storage.clone(), &pos, &config());
    let order = gone.place(beer_at("r1", in_ms(600_800))).await.unwrap();
    drop(gone);
    let heir = replica(storage, &pos, &config());
    heir.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn an_order_whose_time_passed_while_nobody_was_there_expires_unsent() {
    let (pos, storage) = (kitchen_of(600), memory());
    pos.state.lock().unwrap().togo.deliver_within = ms(300);
    let gone = replica(storage.clone(), &pos, &config());
    let order = gone.place(beer_at("r1", in_ms(600_500))).await.unwrap();
    assert_eq!(order.state(), OrderState::Held);
    gone.mounted.stop.cancel();
    gone.mounted.background.close();
    gone.mounted.background.wait().await;
    tokio::time::sleep(time::until(&order.deliver_by.unwrap())).await;
    let heir = replica(storage, &pos, &config());
    let expired = heir.until(&order.order_id, OrderState::Expired).await;
    assert_eq!((expired.cause.as_str(), pos.submits()), ("DEADLINE_PASSED", 0));
}

#[tokio::test]
async fn an_order_that_was_taken_goes_also_when_its_item_is_gone_by_then_and_the_pos_decides() {
    let pos = kitchen_of(600);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(beer_at("r1", in_ms(600_500))).await.unwrap();
    pos.state.lock().unwrap().gone = true;
    let placed = replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!((placed.cause.as_str(), pos.submits()), ("", 1));
}

#[tokio::test]
async fn a_slot_that_is_full_is_refused_with_the_next_one_and_a_cancelled_order_makes_room() {
    let pos = kitchen_of(600);
    pos.state.lock().unwrap().togo.orders_per_slot = 1;
    let replica = replica(memory(), &pos, &config());
    let pickup = in_ms(4 * 3_600_000);
    let first = replica.place(beer_at("r1", pickup)).await.unwrap();
    let again = replica.place(beer_at("r1", pickup)).await.unwrap();
    assert_eq!(again.order_id, first.order_id, "a repetition takes no second place");
    let refused = replica.place(beer_at("r2", pickup)).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::FailedPrecondition, "PICKUP_SLOT_FULL"));
    let next = next_pickup_time(&refused);
    assert!(next.seconds > pickup.seconds && next.seconds % 600 == 0, "{next}");
    replica.place(beer_at("r3", next)).await.unwrap();
    let key = Some(cancel_order_request::Key::OrderId(first.order_id));
    let cancel = CancelOrderRequest { key, ..CancelOrderRequest::default() };
    replica.client.clone().cancel_order(cancel).await.unwrap();
    replica.place(beer_at("r4", pickup)).await.unwrap();
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn a_pickup_that_the_kitchen_cannot_make_is_refused_with_the_earliest_one_that_the_quote_tells_as_well() {
    let pos = kitchen_of(30 * 60);
    let item = (BEER.to_owned(), seconds(60 * 60).unwrap());
    pos.state.lock().unwrap().togo.item_preparation_times = [item].into();
    let replica = replica(memory(), &pos, &config());
    let refused = replica.place(beer_at("r1", in_ms(45 * 60_000))).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "PICKUP_TOO_EARLY");
    let next = next_pickup_time(&refused);
    let wait_s = next.seconds - in_ms(0).seconds;
    assert!((3_599..=3_661).contains(&wait_s), "{wait_s}");
    let quote = QuoteOrderRequest {
        store_id: STORE.into(),
        product: Product::ToGo.into(),
        lines: vec![beer(1)],
        ..Default::default()
    };
    let quote = replica.client.clone().quote_order(quote).await.unwrap().into_inner().quote.unwrap();
    assert!((0..=60).contains(&(quote.earliest_pickup_time.unwrap().seconds - next.seconds)));
    assert_eq!(replica.place(beer_at("r2", next)).await.unwrap().state(), OrderState::Held);
}

#[tokio::test]
async fn a_pickup_while_the_store_is_closed_is_refused_with_the_time_at_which_it_opens() {
    let pos = kitchen_of(600);
    let zone = jiff::tz::TimeZone::get("Asia/Tokyo").unwrap();
    let opens = jiff::Timestamp::from_millisecond(time::now_unix_ms() + 3 * 3_600_000).unwrap().to_zoned(zone);
    let open_minutes = i32::from(opens.hour()) * 60 + i32::from(opens.minute());
    let weekday = i32::from(opens.weekday().to_monday_one_offset());
    // For an hour, once a week.
    let hours = OpeningHours { weekday, open_minutes, close_minutes: open_minutes + 60 };
    pos.state.lock().unwrap().hours = vec![hours];
    let replica = replica(memory(), &pos, &config());
    let refused = replica.place(beer_at("r1", in_ms(2 * 3_600_000))).await.unwrap_err();
    let told = (refused.code(), failure::reason(&refused));
    assert_eq!(told, (Code::FailedPrecondition, "PICKUP_OUTSIDE_HOURS".to_owned()));
    let next = next_pickup_time(&refused);
    let opens_s = opens.timestamp().as_second() / 60 * 60;
    assert!((opens_s..=opens_s + 600).contains(&next.seconds), "{next} with {opens}");
    assert_eq!(replica.place(beer_at("r2", next)).await.unwrap().state(), OrderState::Held);
    let after_hours = time::from_unix_ms((opens_s + 3_601) * 1000);
    let refused = replica.place(beer_at("r3", after_hours)).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "PICKUP_OUTSIDE_HOURS");
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn what_is_sold_in_a_menu_period_is_ordered_for_a_pickup_within_it_and_refused_by_name_outside() {
    let pos = kitchen_of(600);
    let zone = jiff::tz::TimeZone::get("Asia/Tokyo").unwrap();
    let begins = jiff::Timestamp::from_millisecond(time::now_unix_ms() + 3 * 3_600_000).unwrap().to_zoned(zone);
    let open_minutes = i32::from(begins.hour()) * 60 + i32::from(begins.minute());
    let weekday = i32::from(begins.weekday().to_monday_one_offset());
    // For an hour, once a week.
    let hours = OpeningHours { weekday, open_minutes, close_minutes: open_minutes + 60 };
    pos.state.lock().unwrap().beer_hours = vec![hours];
    let replica = replica(memory(), &pos, &config());
    let refused = replica.place(beer_at("r1", in_ms(2 * 3_600_000))).await.unwrap_err();
    let told = (refused.code(), failure::reason(&refused));
    assert_eq!(told, (Code::FailedPrecondition, "ITEM_NOT_SOLD_NOW".to_owned()));
    let again = begins.strftime("%Y-%m-%d %H:%M").to_string();
    assert!(refused.message().contains("Beer") && refused.message().contains(&again), "{}", refused.message());
    assert_eq!(field(&refused), "lines[0].item_id");

    let within = in_ms(3 * 3_600_000 + 60_000);
    let quote = |pickup_time| {
        let request = QuoteOrderRequest {
            store_id: STORE.into(),
            product: Product::ToGo.into(),
            lines: vec![beer(1)],
            pickup_time,
            ..Default::default()
        };
        let mut client = replica.client.clone();
        async move { client.quote_order(request).await.map_err(|refused| failure::reason(&refused)) }
    };
    assert_eq!(quote(None).await.unwrap_err(), "ITEM_NOT_SOLD_NOW");
    assert_eq!(quote(Some(in_ms(-1_000))).await.unwrap_err(), "OUT_OF_RANGE");
    assert!(quote(Some(within)).await.is_ok());
    assert_eq!(replica.place(beer_at("r2", within)).await.unwrap().state(), OrderState::Held);
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn free_pickup_times_are_listed_with_the_places_that_they_have_left() {
    let pos = kitchen_of(0);
    pos.state.lock().unwrap().togo.orders_per_slot = 2;
    let replica = replica(memory(), &pos, &config());
    let list = |limit| {
        let request = ListPickupSlotsRequest { store_id: STORE.into(), item_ids: vec![BEER.into()], limit };
        let mut client = replica.client.clone();
        async move { client.list_pickup_slots(request).await.map(|answer| answer.into_inner().slots) }
    };
    let Some(second) = list(2).await.unwrap().get(1).cloned() else {
        // The last slot of the day: none follows.
        return;
    };
    assert_eq!(second.free, 2);
    replica.place(beer_at("r1", second.pickup_time.unwrap())).await.unwrap();
    let one_taken = list(50).await.unwrap();
    let taken = one_taken.iter().find(|slot| slot.pickup_time == second.pickup_time).unwrap();
    assert_eq!(taken.free, 1);
    replica.place(beer_at("r2", second.pickup_time.unwrap())).await.unwrap();
    assert!(list(50).await.unwrap().iter().all(|slot| slot.pickup_time != second.pickup_time));
    let refused = list(201).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "OUT_OF_RANGE");
}

#[tokio::test]
async fn an_order_of_which_the_pos_tells_no_end_is_completed_a_while_after_its_pickup_and_says_so() {
    let pos = Pos::default();
    pos.state.lock().unwrap().togo.complete_after = ms(100);
    let replica = replica(memory(), &pos, &config());
    let order = replica.place(PlaceOrderRequest { wait: seconds(10), ..beer_at("r1", in_ms(1_000)) }).await.unwrap();
    assert_eq!(order.state(), OrderState::Placed);
    let completed = replica.until(&order.order_id, OrderState::Completed).await;
    assert_eq!(completed.cause, "PICKUP_TIME_PASSED");
    assert!(time::to_unix_ms(&completed.update_time.unwrap()) >= time::to_unix_ms(&order.pickup_time.unwrap()) + 100);
}

/// Opens a check and places two rounds on it, of which the first gets lost on its way.
async fn lost_round_and_the_next(replica: &Replica, pos: &Pos) -> (Order, Order) {
    pos.script([Act::Lose]);
    pos.state.lock().unwrap().find_broken = true;
    let table = OpenCheckRequest { store_id: STORE.into(), table_id: "t1".into(), party_size: 2 };
    let check_id = replica.client.clone().open_check(table).await.unwrap().into_inner().check.unwrap().check_id;
    let round = |request_id: &str| PlaceOrderRequest {
        product: Product::Table.into(),
        check_id: check_id.clone(),
        pickup_time: None,
        wait: None,
        ..beer_to_go(request_id)
    };
    let first = replica.place(round("r1")).await.unwrap();
    let second = replica.place(round("r2")).await.unwrap();
    (first, second)
}

#[tokio::test]
async fn a_round_passes_one_that_stays_in_doubt_where_the_store_wants_that_and_the_doubtful_one_goes_later() {
    let pos = Pos::default();
    pos.state.lock().unwrap().table =
        ProductPolicy { rounds_may_pass: true, round_wait: ms(400), ..ProductPolicy::default() };
    let replica = replica(memory(), &pos, &config());
    let (first, second) = lost_round_and_the_next(&replica, &pos).await;
    assert_eq!((second.state(), second.hold_reason()), (OrderState::Held, HoldReason::RoundBefore));
    let passed = replica.until(&second.order_id, OrderState::Placed).await;
    assert!(passed.passed_doubtful_round);
    pos.state.lock().unwrap().find_broken = false;
    let late = replica.until(&first.order_id, OrderState::Placed).await;
    assert!(!late.passed_doubtful_round);
    let references: Vec<String> = pos.state.lock().unwrap().submits.iter().map(|o| o.reference.clone()).collect();
    assert_eq!(references, [&first.order_id, &second.order_id, &first.order_id].map(String::clone));
    assert_eq!((attempts(&late).len(), pos.orders()), (2, 2));
}

#[tokio::test]
async fn a_round_never_passes_one_in_doubt_where_the_store_does_not_want_that() {
    let pos = Pos::default();
    let replica = replica(memory(), &pos, &config());
    let (_, second) = lost_round_and_the_next(&replica, &pos).await;
    let finds = || pos.state.lock().unwrap().finds;
    let enough = finds() + 8;
    while finds() < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pos.submits(), 1);
    pos.state.lock().unwrap().find_broken = false;
    assert!(!replica.until(&second.order_id, OrderState::Placed).await.passed_doubtful_round);
}

/// How long orders of a store take, one after the other, each sent twice because its POS says "not now" once.
async fn times_of(replica: &Replica, pos: &Pos, prefix: &str) -> Vec<Duration> {
    let mut times = Vec::new();
    for index in 0..10 {
        let not_now = Failure::not_handed_over(cause::RATE_LIMITED, "not now");
        let begun = Instant::now();
        let request = PlaceOrderRequest { store_id: OTHER_STORE.into(), ..beer_to_go(&format!("{prefix}-{index}")) };
        pos.state.lock().unwrap().refuses_once = Some((OTHER_STORE.into(), not_now.into()));
        assert_eq!(replica.place(request).await.unwrap().state(), OrderState::Placed);
        times.push(begun.elapsed());
    }
    times.sort();
    times
}

#[tokio::test]
async fn a_store_whose_pos_hangs_is_refused_more_and_does_not_slow_another_one() {
    let pos = Pos::default();
    // Its gate stays open, however many of its orders are in doubt.
    let gate = Some(GatePolicy { max_in_doubt: 1000, max_waiting: 10_000, ..GatePolicy::default() });
    pos.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    let bounded =
        Config { max_in_flight: 64, max_in_flight_per_store: 32, attempt_timeout: Duration::from_secs(1), ..config() };
    let storage = memory();
    let replica = replica(storage.clone(), &pos, &bounded);
    let alone = times_of(&replica, &pos, "alone").await;

    let let_go = CancellationToken::new();
    pos.state.lock().unwrap().hangs = Some((STORE.into(), let_go.clone()));
    let hung_until = Instant::now() + Duration::from_secs(4);
    let (mut taken, mut refused) = (0, 0);
    let mut beside = Vec::new();
    // Each one hangs for the time of an attempt, then in doubt and asked for in vain, while new ones come.
    for wave in 0.. {
        let crowd = (0..60).map(|index| {
            let request = PlaceOrderRequest { wait: None, ..beer_to_go(&format!("hung-{wave}-{index}")) };
            replica.place(request)
        });
        for answer in futures_util::future::join_all(crowd).await {
            match answer {
                Ok(_) => taken += 1,
                Err(status) => {
                    let told = (status.code(), failure::reason(&status));
                    assert_eq!(told, (Code::ResourceExhausted, "STORE_BUSY".to_owned()));
                    refused += 1;
                }
            }
        }
        beside.extend(times_of(&replica, &pos, &format!("beside-{wave}")).await);
        if Instant::now() > hung_until && taken >= 100 {
            break;
        }
    }
    beside.sort();
    assert!(refused > 0, "{taken} were taken");
    let (alone, beside) = (alone[alone.len() / 2], beside[beside.len() / 2]);
    // Whoever waited for a place of the hanging store would wait for the time of an attempt.
    let bound = alone * 3 + Duration::from_millis(300);
    assert!(beside < bound, "{beside:?} beside a store that hangs, {alone:?} alone");
    let_go.cancel();
    let hanging = OrderFilter { store_id: STORE.into(), limit: 10_000, ..OrderFilter::default() };
    let orders = storage.orders("default", &hanging).await.unwrap();
    assert_eq!(orders.len(), taken);
    for order in orders {
        replica.until(&order.order_id, OrderState::Placed).await;
    }
}
