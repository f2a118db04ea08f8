//! A store's opening hours: the regular ones, nights past midnight, days of their own, in the store's time zone.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use posmesh_proto::store::v1::{OpeningHours, Store};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// Opening times run up to so many days on from the day on which they begin.
const MAX_OPEN_DAYS: i64 = 2;
/// So far ahead the next opening is looked for: over every holiday but not over a rebuilding.
const LOOK_AHEAD_MS: i64 = 15 * DAY_MS;
/// A day that is open all day, in minutes.
const WHOLE_DAY: (i32, i32) = (0, 24 * 60);

/// When a store is open. All moments are milliseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Hours {
    zone: TimeZone,
    /// Empty: always open, but for `special`.
    regular: Vec<OpeningHours>,
    /// In place of the regular hours that begin on these dates.
    special: BTreeMap<Date, Vec<OpeningHours>>,
}

/// Whether a store is open at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is.
    Open {
        /// When it closes; `None`: not within the next days.
        until_ms: Option<i64>,
    },
    /// It is not.
    Closed {
        /// When it closed; `None`: days ago.
        since_ms: Option<i64>,
        /// When it opens; `None`: not within the next two weeks.
        until_ms: Option<i64>,
    },
}

impl Opening {
    /// Whether it is open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// When this changes; `None`: not within the next days.
    pub fn until_ms(self) -> Option<i64> {
        match self {
            Self::Open { until_ms } | Self::Closed { until_ms, .. } => until_ms,
        }
    }
}

impl Hours {
    /// Of a store. `None` when its time zone is unknown here.
    pub fn of(store: &Store) -> Option<Self> {
        let special = store.special_days.iter();
        Some(Self {
            zone: TimeZone::get(&store.time_zone).ok()?,
            regular: store.opening_hours.clone(),
            special: special.filter_map(|day| Some((day.date.parse().ok()?, day.opening_hours.clone()))).collect(),
        })
    }

    /// That repeat every week in a time zone; at least one.
    pub(crate) fn weekly(zone: TimeZone, hours: &[OpeningHours]) -> Self {
        Self { zone, regular: hours.to_vec(), special: BTreeMap::new() }
    }

    /// The store's time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether the store is open at a moment, since when it is not, and until when that is so.
    pub fn at(&self, unix_ms: i64) -> Opening {
        let open = self.open(unix_ms, unix_ms.saturating_add(LOOK_AHEAD_MS));
        let known = |ms: i64| Some(ms).filter(|ms| *ms > i64::MIN && *ms < i64::MAX);
        if let Some((_, until)) = open.iter().find(|(from, until)| (*from..*until).contains(&unix_ms)) {
            return Opening::Open { until_ms: known(*until) };
        }
        Opening::Closed {
            since_ms: open.iter().rev().map(|(_, until)| *until).find(|until| *until <= unix_ms),
            until_ms: open.iter().map(|(from, _)| *from).find(|from| *from > unix_ms),
        }
    }

    /// When the store is open around a time, in order; stretches that touch are one. Always open is one stretch without
    /// ends.
    pub fn open(&self, from_ms: i64, until_ms: i64) -> Vec<(i64, i64)> {
        if self.regular.is_empty() && self.special.is_empty() {
            return vec![(i64::MIN, i64::MAX)];
        }
        let date_at = |ms| Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone()).date());
        // One day more on each side: a stretch is as long as all that it touches.
        let first = date_at(from_ms).and_then(|date| date.checked_sub((MAX_OPEN_DAYS + 1).days()).ok());
        let (Some(first), Some(last)) = (first, date_at(until_ms).and_then(|date| date.tomorrow().ok())) else {
            return Vec::new();
        };
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        for date in first.series(1.day()).take_while(|date| *date <= last) {
            self.add_stretches(date, &mut stretches);
        }
        stretches.sort_unstable();
        let mut open: Vec<(i64, i64)> = Vec::with_capacity(stretches.len());
        for (from, until) in stretches {
            match open.last_mut() {
                Some(before) if from <= before.1 => before.1 = before.1.max(until),
                _ => open.push((from, until)),
            }
        }
        open
    }

    /// What begins on a day.
    fn add_stretches(&self, date: Date, stretches: &mut Vec<(i64, i64)>) {
        let at = |minutes: i32| {
            let local = date.at(0, 0, 0, 0).checked_add(i64::from(minutes).minutes()).ok()?;
            Some(local.to_zoned(self.zone.clone()).ok()?.timestamp().as_millisecond())
        };
        let mut add = |open, close| stretches.extend(at(open).zip(at(close)));
        let weekday = i32::from(date.weekday().to_monday_one_offset());
        match self.special.get(&date) {
            Some(hours) => hours.iter().for_each(|hours| add(hours.open_minutes, hours.close_minutes)),
            None if self.regular.is_empty() => add(WHOLE_DAY.0, WHOLE_DAY.1),
            None => {
                let of_day = self.regular.iter().filter(|hours| hours.weekday == weekday);
                of_day.for_each(|hours| add(hours.open_minutes, hours.close_minutes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::store::v1::SpecialDay;

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn hours(weekday: i32, open_minutes: i32, close_minutes: i32) -> OpeningHours {
        OpeningHours { weekday, open_minutes, close_minutes }
    }

    fn day(date: &str, opening_hours: Vec<OpeningHours>) -> SpecialDay {
        SpecialDay { date: date.into(), opening_hours }
    }

    fn store(time_zone: &str, opening_hours: Vec<OpeningHours>, special_days: Vec<SpecialDay>) -> Hours {
        Hours::of(&Store { time_zone: time_zone.into(), opening_hours, special_days, ..Store::default() }).unwrap()
    }

    /// 17:00 to 02:00 on each day. 2026-11-23 is a Monday.
    fn izakaya(special: Vec<SpecialDay>) -> Hours {
        store("Asia/Tokyo", (1..=7).map(|weekday| hours(weekday, 17 * 60, 26 * 60)).collect(), special)
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_began() {
        let izakaya = izakaya(Vec::new());
        let two = at("2026-11-24T02:00:00+09:00");
        assert_eq!(izakaya.at(two - 1), Opening::Open { until_ms: Some(two) });
        let five = at("2026-11-24T17:00:00+09:00");
        assert_eq!(izakaya.at(two), Opening::Closed { since_ms: Some(two), until_ms: Some(five) });
        assert!(izakaya.at(five).is_open());
    }

    #[test]
    fn a_holiday_closes_its_own_evening_and_not_the_night_before() {
        let izakaya = izakaya(vec![day("2026-11-24", Vec::new())]);
        let night = at("2026-11-24T02:00:00+09:00");
        assert!(izakaya.at(night - 1).is_open());
        let next = at("2026-11-25T17:00:00+09:00");
        let closed = Opening::Closed { since_ms: Some(night), until_ms: Some(next) };
        assert_eq!(izakaya.at(at("2026-11-24T20:00:00+09:00")), closed);
        // Nor does the night go on into the next morning.
        assert_eq!(izakaya.at(at("2026-11-25T01:00:00+09:00")), closed);
    }

    #[test]
    fn a_long_night_replaces_the_regular_one() {
        let izakaya = izakaya(vec![day("2026-12-31", vec![hours(0, 12 * 60, 30 * 60)])]);
        assert!(izakaya.at(at("2026-12-31T12:00:00+09:00")).is_open());
        let six = at("2027-01-01T06:00:00+09:00");
        assert_eq!(izakaya.at(six - 1).until_ms(), Some(six));
    }

    #[test]
    fn a_store_without_hours_is_always_open_but_for_its_special_days() {
        assert_eq!(store("Asia/Tokyo", Vec::new(), Vec::new()).at(0), Opening::Open { until_ms: None });
        let closed_once = store("Asia/Tokyo", Vec::new(), vec![day("2027-01-01", Vec::new())]);
        let (from, until) = (at("2027-01-01T00:00:00+09:00"), at("2027-01-02T00:00:00+09:00"));
        assert_eq!(closed_once.at(from - 1), Opening::Open { until_ms: Some(from) });
        assert_eq!(closed_once.at(from), Opening::Closed { since_ms: Some(from), until_ms: Some(until) });
        assert!(closed_once.at(until).is_open());
    }

    #[test]
    fn hours_are_the_clock_on_the_wall_also_when_it_is_set() {
        // On 2026-03-29 there is no 02:30 in Berlin, on 2026-10-25 there are two.
        let berlin = store("Europe/Berlin", vec![hours(7, 60, 150), hours(7, 600, 660)], Vec::new());
        assert_eq!(berlin.at(at("2026-03-29T10:30:00+02:00")).until_ms(), Some(at("2026-03-29T11:00:00+02:00")));
        assert_eq!(berlin.at(at("2026-10-25T10:30:00+01:00")).until_ms(), Some(at("2026-10-25T11:00:00+01:00")));
        assert!(berlin.at(at("2026-03-29T01:30:00+01:00")).is_open());
    }

    #[test]
    fn an_unknown_time_zone_is_no_guess() {
        assert!(Hours::of(&Store { time_zone: "Mars/Olympus".into(), ..Store::default() }).is_none());
    }
}
