//! Which business day a moment belongs to.

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use posmesh_proto::store::v1::Store;

/// The store's business day at a moment, as an ISO 8601 date: the local date, or the day before as long as the store's
/// cutoff has not been reached. `None` when the store's time zone is unknown here.
pub(crate) fn business_date(store: &Store, unix_ms: i64) -> Option<String> {
    let zone = TimeZone::get(&store.time_zone).ok()?;
    let local = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(zone).datetime();
    let shifted = local.checked_sub(i64::from(store.business_day_cutoff_minutes).minutes()).ok()?;
    Some(shifted.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(unix_ms: i64, cutoff: i32) -> Option<String> {
        let store = Store { time_zone: "Asia/Tokyo".into(), business_day_cutoff_minutes: cutoff, ..Store::default() };
        business_date(&store, unix_ms)
    }

    #[test]
    fn two_in_the_morning_belongs_to_the_evening_before() {
        // 2026-11-22T17:00:00Z is 02:00 on the 23rd in Tokyo.
        let two_am = 1_795_366_800_000;
        assert_eq!(date(two_am, 300).as_deref(), Some("2026-11-22"));
        assert_eq!(date(two_am, 0).as_deref(), Some("2026-11-23"));
    }

    #[test]
    fn an_unknown_time_zone_is_no_guess() {
        let store = Store { time_zone: "Mars/Olympus".into(), ..Store::default() };
        assert_eq!(business_date(&store, 0), None);
    }
}
