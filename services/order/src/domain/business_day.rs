//! Which business day a moment belongs to, and when a business day ends.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use posmesh_proto::store::v1::Store;

/// The store's business day at a moment, as an ISO 8601 date: the local date, or the day before as long as the store's
/// cutoff has not been reached. `None` when the store's time zone is unknown here.
pub(crate) fn business_date(store: &Store, unix_ms: i64) -> Option<String> {
    let zone = TimeZone::get(&store.time_zone).ok()?;
    let local = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(zone).datetime();
    let shifted = local.checked_sub(i64::from(store.business_day_cutoff_minutes).minutes()).ok()?;
    Some(shifted.date().to_string())
}

/// When the store's business day of a date ends, in milliseconds since the Unix epoch. `None` when the store's time zone
/// is unknown here, or the date is none.
pub(crate) fn end_of_day_ms(store: &Store, business_date: &str) -> Option<i64> {
    let zone = TimeZone::get(&store.time_zone).ok()?;
    let next = business_date.parse::<Date>().ok()?.tomorrow().ok()?;
    let cutoff = i64::from(store.business_day_cutoff_minutes).minutes();
    Some(next.at(0, 0, 0, 0).checked_add(cutoff).ok()?.to_zoned(zone).ok()?.timestamp().as_millisecond())
}

/// Stores' days end at the same moment in a whole country; what ends with them is spread over so long.
const SPREAD_MS: u64 = 15 * 60 * 1000;

/// When an order of a store's business day counts as over if nobody told its end: soon after the end of the day.
pub(crate) fn over_ms(store: &Store, business_date: &str) -> Option<i64> {
    let mut hasher = DefaultHasher::new();
    store.store_id.hash(&mut hasher);
    let spread_ms = i64::try_from(hasher.finish() % SPREAD_MS).unwrap_or(0);
    Some(end_of_day_ms(store, business_date)?.saturating_add(spread_ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tokyo(cutoff: i32) -> Store {
        Store { time_zone: "Asia/Tokyo".into(), business_day_cutoff_minutes: cutoff, ..Store::default() }
    }

    #[test]
    fn two_in_the_morning_belongs_to_the_evening_before() {
        // 2026-11-22T17:00:00Z is 02:00 on the 23rd in Tokyo.
        let two_am = 1_795_366_800_000;
        assert_eq!(business_date(&tokyo(300), two_am).as_deref(), Some("2026-11-22"));
        assert_eq!(business_date(&tokyo(0), two_am).as_deref(), Some("2026-11-23"));
    }

    #[test]
    fn a_day_ends_where_the_next_one_begins_also_when_the_clocks_are_set() {
        let berlin = Store { time_zone: "Europe/Berlin".into(), business_day_cutoff_minutes: 120, ..Store::default() };
        for (store, dates) in [
            (tokyo(300), ["2026-11-22", "2026-11-23"]),
            (berlin.clone(), ["2026-03-28", "2026-03-29"]),
            (berlin, ["2026-03-29", "2026-03-30"]),
        ] {
            let end_ms = end_of_day_ms(&store, dates[0]).unwrap();
            assert_eq!(business_date(&store, end_ms - 1).as_deref(), Some(dates[0]));
            assert_eq!(business_date(&store, end_ms).as_deref(), Some(dates[1]));
        }
    }

    #[test]
    fn the_orders_of_many_stores_are_not_over_at_the_same_moment() {
        let over = |id: u32| over_ms(&Store { store_id: id.to_string(), ..tokyo(0) }, "2026-11-22").unwrap();
        let end_ms = end_of_day_ms(&tokyo(0), "2026-11-22").unwrap();
        let mut minutes: Vec<i64> = (0..1000).map(|id| (over(id) - end_ms) / 60_000).collect();
        minutes.sort_unstable();
        minutes.dedup();
        assert_eq!(minutes, (0..15).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_time_zone_is_no_guess() {
        let store = Store { time_zone: "Mars/Olympus".into(), ..Store::default() };
        assert_eq!(business_date(&store, 0), None);
        assert_eq!(end_of_day_ms(&store, "2026-11-22"), None);
        assert_eq!(end_of_day_ms(&tokyo(0), ""), None);
    }
}
