#![allow(clippy::unwrap_used)]

use posmesh_proto::store::v1::OpeningHours;
use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 60 * MINUTE_MS;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn minutes(minutes: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: minutes * 60, nanos: 0 })
}

fn open(weekday: i32, open_minutes: i32, close_minutes: i32) -> OpeningHours {
    OpeningHours { weekday, open_minutes, close_minutes }
}

/// In Tokyo, with a kitchen that takes 20 minutes.
fn kitchen(hours: Vec<OpeningHours>) -> Kitchen {
    kitchen_in("Asia/Tokyo", hours, &ProductPolicy { preparation_time: minutes(20), ..ProductPolicy::default() })
}

fn kitchen_in(time_zone: &str, opening_hours: Vec<OpeningHours>, policy: &ProductPolicy) -> Kitchen {
    let store = Store { time_zone: time_zone.into(), opening_hours, ..Store::default() };
    Kitchen::new(&store, policy, []).unwrap()
}

/// 2026-11-22 is a Sunday.
const SUNDAY: i32 = 7;

#[test]
fn an_order_fires_so_long_before_its_pickup_as_its_slowest_item_takes() {
    let item = |id: &str, m| (id.to_owned(), minutes(m).unwrap());
    let policy = ProductPolicy {
        preparation_time: minutes(10),
        item_preparation_times: [item("ramen", 5), item("roast", 45)].into(),
        ..ProductPolicy::default()
    };
    let store = Store { time_zone: "Asia/Tokyo".into(), ..Store::default() };
    let before = |items: &[&str]| {
        let kitchen = Kitchen::new(&store, &policy, items.iter().copied()).unwrap();
        kitchen.fire_ms(HOUR_MS).map(|fire_ms| (HOUR_MS - fire_ms) / MINUTE_MS)
    };
    assert_eq!(before(&["beer"]), Some(10));
    assert_eq!(before(&["ramen"]), Some(10), "what needs less does not speed up the kitchen");
    assert_eq!(before(&["beer", "roast", "ramen"]), Some(45));
    let at_once = kitchen_in("Asia/Tokyo", Vec::new(), &ProductPolicy::default());
    assert_eq!(at_once.fire_ms(HOUR_MS), None);
}

#[test]
fn a_pickup_before_the_kitchen_can_be_ready_is_too_early_but_for_the_time_of_a_checkout() {
    let kitchen = kitchen(Vec::new());
    let now = at("2026-11-22T12:00:00+09:00");
    let then = |m: i64| kitchen.check(now + m * MINUTE_MS, now);
    assert_eq!(then(20), Ok(()));
    assert_eq!(then(15), Ok(()));
    assert_eq!(then(14), Err(NotThen::TooEarly));
}

#[test]
fn nothing_is_picked_up_while_the_store_is_closed_or_before_the_kitchen_has_begun() {
    let kitchen = kitchen(vec![open(SUNDAY, 11 * 60, 14 * 60), open(SUNDAY, 17 * 60, 25 * 60)]);
    let now = at("2026-11-22T06:00:00+09:00");
    let then = |text: &str| kitchen.check(at(text), now);
    assert_eq!(then("2026-11-22T10:59:00+09:00"), Err(NotThen::Closed));
    assert_eq!(then("2026-11-22T11:19:00+09:00"), Err(NotThen::TooEarly));
    assert_eq!(then("2026-11-22T11:20:00+09:00"), Ok(()));
    assert_eq!(then("2026-11-22T14:00:00+09:00"), Err(NotThen::Closed));
    assert_eq!(then("2026-11-23T00:59:00+09:00"), Ok(()), "Sunday's evening goes on after midnight");
    assert_eq!(then("2026-11-23T01:00:00+09:00"), Err(NotThen::Closed));
}

#[test]
fn stretches_that_touch_at_midnight_are_one() {
    let kitchen = kitchen((1..=7).map(|day| open(day, 0, 1440)).collect());
    let now = at("2026-11-22T23:00:00+09:00");
    assert_eq!(kitchen.check(at("2026-11-23T00:05:00+09:00"), now), Ok(()));
}

#[test]
fn slots_begin_at_midnight_and_tell_the_first_moment_at_which_the_order_can_be_ready() {
    let kitchen = kitchen(vec![open(SUNDAY, 11 * 60, 14 * 60)]);
    let now = at("2026-11-22T11:03:30+09:00");
    let ready: Vec<Ready> = kitchen.ready(now, now, now + DAY_MS).collect();
    assert_eq!(ready[0].slot.start_ms, at("2026-11-22T11:20:00+09:00"));
    assert_eq!(ready[0].at_ms, at("2026-11-22T11:24:00+09:00"));
    assert_eq!(ready[1].at_ms, at("2026-11-22T11:30:00+09:00"));
    assert_eq!(ready.last().unwrap().at_ms, at("2026-11-22T13:50:00+09:00"));
    assert_eq!(ready.len(), 16);
}

#[test]
fn slots_go_on_over_midnight() {
    let kitchen = kitchen(vec![open(SUNDAY, 17 * 60, 25 * 60)]);
    let now = at("2026-11-22T23:29:00+09:00");
    let ready: Vec<i64> = kitchen.ready(now, now, now + DAY_MS).map(|ready| ready.at_ms).collect();
    assert_eq!(ready[0], at("2026-11-22T23:49:00+09:00"));
    assert!(ready.contains(&at("2026-11-23T00:00:00+09:00")));
    assert_eq!(*ready.last().unwrap(), at("2026-11-23T00:50:00+09:00"));
}

#[test]
fn the_hour_that_a_clock_skips_or_repeats_makes_no_slot_twice_and_loses_no_moment() {
    let policy = ProductPolicy { pickup_slot: minutes(240), ..ProductPolicy::default() };
    let kitchen = kitchen_in("Europe/Berlin", Vec::new(), &policy);
    // The last Sundays of March and October of 2026.
    for (midnight, hours) in [(at("2026-03-29T00:00:00+01:00"), 23), (at("2026-10-25T00:00:00+02:00"), 25)] {
        let slots: Vec<Slot> = (0..hours * 60).map(|m| kitchen.slot_at(midnight + m * MINUTE_MS).unwrap()).collect();
        assert_eq!(slots[0].start_ms, midnight);
        for pair in slots.windows(2) {
            assert!(pair[0] == pair[1] || pair[0].end_ms == pair[1].start_ms, "{pair:?}");
        }
        assert_eq!(slots.last().unwrap().end_ms, midnight + hours * HOUR_MS);
    }
}

#[test]
fn opening_times_are_those_on_the_wall_also_on_the_day_on_which_the_clocks_are_set() {
    let policy = ProductPolicy { preparation_time: minutes(0), ..ProductPolicy::default() };
    let kitchen = kitchen_in("Europe/Berlin", vec![open(SUNDAY, 11 * 60, 22 * 60)], &policy);
    let now = at("2026-03-29T00:00:00+01:00");
    assert_eq!(kitchen.check(at("2026-03-29T11:00:00+02:00"), now), Ok(()));
    assert_eq!(kitchen.check(at("2026-03-29T10:59:00+02:00"), now), Err(NotThen::Closed));
    let first = kitchen.ready(now, now, now + DAY_MS).next().unwrap();
    assert_eq!(first.at_ms, at("2026-03-29T11:00:00+02:00"));
}

proptest! {
    /// Whatever is offered is taken, lies in its slot, and slots come one after the other.
    #[test]
    fn each_slot_that_is_offered_is_one_that_an_order_may_name(
        now_minutes in 0..14 * 24 * 60i64,
        preparation in 0..180i64,
        slot in prop::sample::select(vec![1i64, 10, 15, 60, 240]),
        stretches in prop::collection::vec((1..=7i32, 0..1440i32, 1..1440i32), 0..6),
    ) {
        let policy = ProductPolicy {
            preparation_time: minutes(preparation),
            pickup_slot: minutes(slot),
            ..ProductPolicy::default()
        };
        let hours = stretches.into_iter().map(|(day, from, long)| open(day, from, from + long)).collect();
        // A fortnight with a day of 23 hours in it.
        let kitchen = kitchen_in("Europe/Berlin", hours, &policy);
        let now = at("2026-03-22T00:00:00Z") + now_minutes * MINUTE_MS;
        let mut before = i64::MIN;
        for ready in kitchen.ready(now, now, now + 2 * DAY_MS).take(200) {
            prop_assert_eq!(kitchen.check(ready.at_ms, now), Ok(()));
            prop_assert_eq!(kitchen.slot_at(ready.at_ms), Some(ready.slot));
            prop_assert!(ready.at_ms > before && ready.at_ms >= now + preparation * MINUTE_MS);
            before = ready.at_ms;
        }
    }
}
