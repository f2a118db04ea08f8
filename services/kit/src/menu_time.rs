//! What of a menu is sold at a moment: its menu periods, in the store's time zone.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use posmesh_proto::catalog::v1::MenuPeriod;

use crate::hours::{Hours, Opening};

/// A menu at one moment, as far as time decides what is sold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MenuTime {
    /// The periods, by id, that do not go on, and when each begins again by the store's clock (`2026-11-24 11:00`); empty:
    /// not within the next two weeks.
    pub closed: BTreeMap<String, String>,
    /// When a period begins or ends; `None`: not within the next days.
    pub until_ms: Option<i64>,
}

impl MenuTime {
    /// At a moment in milliseconds since the Unix epoch. In a time zone that is not known here nothing is closed: the POS
    /// decides.
    pub fn at(periods: &[MenuPeriod], time_zone: &str, unix_ms: i64) -> Self {
        let mut time = Self::default();
        if periods.is_empty() {
            return time;
        }
        let Ok(zone) = TimeZone::get(time_zone) else { return time };
        for period in periods {
            let opening = Hours::weekly(zone.clone(), &period.hours).at(unix_ms);
            let until_ms = opening.until_ms();
            time.until_ms = time.until_ms.into_iter().chain(until_ms).min();
            if let Opening::Closed { until_ms, .. } = opening {
                let begins = until_ms.and_then(|ms| clock(&zone, ms)).unwrap_or_default();
                time.closed.insert(period.id.clone(), begins);
            }
        }
        time
    }
}

/// A moment by the clock on the wall.
fn clock(zone: &TimeZone, unix_ms: i64) -> Option<String> {
    let local = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(zone.clone());
    Some(local.strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::store::v1::OpeningHours;

    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn period(id: &str, weekdays: std::ops::RangeInclusive<i32>, open_minutes: i32, close_minutes: i32) -> MenuPeriod {
        let hours = weekdays.map(|weekday| OpeningHours { weekday, open_minutes, close_minutes }).collect();
        MenuPeriod { id: id.into(), name: None, hours }
    }

    /// Lunch on working days; late dishes from Friday night into Saturday morning. 2026-11-27 is a Friday.
    fn periods() -> [MenuPeriod; 2] {
        [period("lunch", 1..=5, 11 * 60, 14 * 60), period("late", 5..=5, 22 * 60, 26 * 60)]
    }

    fn at(text: &str) -> (Vec<String>, Option<i64>) {
        let time = MenuTime::at(&periods(), "Asia/Tokyo", ms(text));
        (time.closed.into_iter().map(|(id, begins)| format!("{id} {begins}")).collect(), time.until_ms)
    }

    #[test]
    fn a_period_goes_on_by_the_clock_of_the_store_and_tells_when_it_begins_again() {
        assert_eq!(
            at("2026-11-27T02:00:00Z"),
            (vec!["late 2026-11-27 22:00".into()], Some(ms("2026-11-27T14:00:00+09:00")))
        );
        let closed = vec!["late 2026-11-27 22:00".into(), "lunch 2026-11-30 11:00".into()];
        assert_eq!(at("2026-11-27T14:00:00+09:00"), (closed, Some(ms("2026-11-27T22:00:00+09:00"))));
        // Past midnight it still goes on.
        assert_eq!(
            at("2026-11-28T01:59:00+09:00"),
            (vec!["lunch 2026-11-30 11:00".into()], Some(ms("2026-11-28T02:00:00+09:00")))
        );
    }

    #[test]
    fn without_periods_or_in_an_unknown_time_zone_nothing_is_closed() {
        assert_eq!(MenuTime::at(&[], "Asia/Tokyo", 0), MenuTime::default());
        assert_eq!(MenuTime::at(&periods(), "Mars/Olympus", 0), MenuTime::default());
    }
}
