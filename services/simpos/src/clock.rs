//! The restaurant's clock.

use jiff::{SignedDuration, Timestamp, Zoned, tz};

/// The restaurant is in Japan, which has no daylight saving time.
const UTC_OFFSET_HOURS: i8 = 9;
/// The day of business turns when the last guests have gone.
const DAY_TURNS_AT_HOUR: i64 = 5;

/// Unix milliseconds now.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Local date and time for slips, `2026-11-22 18:05`. Empty for a time outside the calendar.
pub(crate) fn local_time(at_ms: i64) -> String {
    local(at_ms).map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
}

/// Day of business, `2026-11-22`.
pub(crate) fn business_date(at_ms: i64) -> String {
    local(at_ms)
        .and_then(|at| at.checked_sub(SignedDuration::from_hours(DAY_TURNS_AT_HOUR)).ok())
        .map(|at| at.date().to_string())
        .unwrap_or_default()
}

fn local(at_ms: i64) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(at_ms).ok()?.to_zoned(tz::offset(UTC_OFFSET_HOURS).to_time_zone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_business_day_turns_at_five_in_the_morning() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(business_date(at("2026-11-22T04:59:59+09:00")), "2026-11-21");
        assert_eq!(business_date(at("2026-11-22T05:00:00+09:00")), "2026-11-22");
        assert_eq!(local_time(at("2026-11-22T18:05:00+09:00")), "2026-11-22 18:05");
    }
}
