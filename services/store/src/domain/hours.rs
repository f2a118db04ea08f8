//! Time zone, opening hours and business day.

use std::collections::HashSet;

use jiff::{civil::Date, tz::TimeZone};
use posmesh_proto::store::v1::{OpeningHours, SpecialDay, Store};

use super::{Violation, Violations};

const MAX_OPENING_HOURS: usize = 100;
const MAX_SPECIAL_DAYS: usize = 400;
/// Stretches of one special day.
const MAX_STRETCHES: usize = 20;
const DAY_MINUTES: i32 = 24 * 60;

pub(super) fn check(found: &mut Violations, store: &Store) {
    found.add(check_time_zone("store.time_zone", &store.time_zone));
    if store.opening_hours.len() > MAX_OPENING_HOURS {
        let message = format!("at most {MAX_OPENING_HOURS} stretches");
        found.refuse("TOO_MANY", "store.opening_hours", message);
    } else {
        for (i, hours) in store.opening_hours.iter().enumerate() {
            let field = format!("store.opening_hours[{i}]");
            let (weekday, message) = ((1..=7).contains(&hours.weekday), "1 is Monday, 7 is Sunday");
            found.refuse_unless(weekday, "OUT_OF_RANGE", format!("{field}.weekday"), message);
            check_stretch(found, &field, hours);
        }
    }
    check_special_days(found, &store.special_days);
    found.refuse_unless(
        (0..DAY_MINUTES).contains(&store.business_day_cutoff_minutes),
        "OUT_OF_RANGE",
        "store.business_day_cutoff_minutes",
        "minutes after midnight, 0 to 1439",
    );
}

/// A zone of the IANA database, spelled as there: other programs look it up by this very name.
fn check_time_zone(field: &str, name: &str) -> Option<Violation> {
    if name.is_empty() {
        return Some(Violation::new("REQUIRED", field, "name the IANA time zone, e.g. Asia/Tokyo"));
    }
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    let message = match zone.as_ref().and_then(TimeZone::iana_name) {
        Some(known) if known == name => return None,
        Some(known) => format!("write it as {known}"),
        None => {
            let shown: String = name.chars().take(64).collect();
            format!("{shown:?} is no IANA time zone such as Asia/Tokyo")
        }
    };
    Some(Violation::new("TIME_ZONE_UNKNOWN", field, message))
}

fn check_special_days(found: &mut Violations, days: &[SpecialDay]) {
    if days.len() > MAX_SPECIAL_DAYS {
        return found.refuse("TOO_MANY", "store.special_days", format!("at most {MAX_SPECIAL_DAYS} days"));
    }
    let mut seen = HashSet::new();
    for (i, day) in days.iter().enumerate() {
        let field = format!("store.special_days[{i}]");
        let date: Option<Date> = day.date.parse().ok().filter(|date: &Date| date.to_string() == day.date);
        match date {
            None => found.refuse("DATE_INVALID", format!("{field}.date"), "write it as 2026-12-31"),
            Some(date) if !seen.insert(date) => {
                found.refuse("DATE_DUPLICATE", format!("{field}.date"), format!("{date} stands here twice"));
            }
            Some(_) => {}
        }
        if day.opening_hours.len() > MAX_STRETCHES {
            let message = format!("at most {MAX_STRETCHES} stretches");
            found.refuse("TOO_MANY", format!("{field}.opening_hours"), message);
            continue;
        }
        for (j, hours) in day.opening_hours.iter().enumerate() {
            let field = format!("{field}.opening_hours[{j}]");
            let message = "leave it out: the date says which day it is";
            found.refuse_unless(hours.weekday == 0, "NOT_ALLOWED", format!("{field}.weekday"), message);
            check_stretch(found, &field, hours);
        }
    }
}

fn check_stretch(found: &mut Violations, field: &str, hours: &OpeningHours) {
    let OpeningHours { open_minutes, close_minutes, .. } = *hours;
    found.refuse_unless(
        (0..DAY_MINUTES).contains(&open_minutes),
        "OUT_OF_RANGE",
        format!("{field}.open_minutes"),
        "minutes after midnight, 0 to 1439",
    );
    found.refuse_unless(
        close_minutes > open_minutes && close_minutes <= 2 * DAY_MINUTES,
        "OUT_OF_RANGE",
        format!("{field}.close_minutes"),
        "greater than open_minutes; past midnight it goes on, up to 2880",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(weekday: i32, open_minutes: i32, close_minutes: i32) -> OpeningHours {
        OpeningHours { weekday, open_minutes, close_minutes }
    }

    fn wrong(weekday: i32, open_minutes: i32, close_minutes: i32) -> Vec<String> {
        let opening_hours = vec![stretch(weekday, open_minutes, close_minutes)];
        let mut found = Violations::default();
        check(&mut found, &Store { time_zone: "UTC".to_owned(), opening_hours, ..Store::default() });
        found.0.into_iter().map(|v| v.field.replace("store.opening_hours[0]", "h")).collect()
    }

    #[test]
    fn a_special_day_has_a_date_of_its_own_and_hours_without_a_weekday() {
        let day = |date: &str, opening_hours| SpecialDay { date: date.to_owned(), opening_hours };
        let wrong = |days: &[SpecialDay]| {
            let mut found = Violations::default();
            check_special_days(&mut found, days);
            found.0.into_iter().map(|v| (v.reason, v.field.replace("store.special_days", ""))).collect::<Vec<_>>()
        };
        let new_year = || day("2026-12-31", vec![stretch(0, 600, 1800)]);
        assert_eq!(wrong(&[new_year(), day("2027-01-01", Vec::new())]), []);
        assert_eq!(wrong(&[new_year(), new_year()]), [("DATE_DUPLICATE", "[1].date".to_owned())]);
        for bad in ["", "2026-02-30", "31.12.2026", "2026-12-31T10:00:00", "20261231"] {
            assert_eq!(wrong(&[day(bad, Vec::new())]), [("DATE_INVALID", "[0].date".to_owned())], "{bad}");
        }
        let weekday = day("2026-12-31", vec![stretch(4, 600, 1800)]);
        assert_eq!(wrong(&[weekday]), [("NOT_ALLOWED", "[0].opening_hours[0].weekday".to_owned())]);
        let backwards = day("2026-12-31", vec![stretch(0, 600, 500)]);
        assert_eq!(wrong(&[backwards]), [("OUT_OF_RANGE", "[0].opening_hours[0].close_minutes".to_owned())]);
        let many: Vec<SpecialDay> = (0..401).map(|_| new_year()).collect();
        assert_eq!(wrong(&many), [("TOO_MANY", String::new())]);
    }

    #[test]
    fn a_stretch_may_run_past_midnight_but_never_backwards() {
        assert!(wrong(1, 0, 1).is_empty() && wrong(7, 1439, 2880).is_empty() && wrong(5, 1020, 1500).is_empty());
        assert_eq!(wrong(0, 600, 700), ["h.weekday"]);
        assert_eq!(wrong(8, 600, 700), ["h.weekday"]);
        assert_eq!(wrong(1, 1440, 1500), ["h.open_minutes"]);
        assert_eq!(wrong(1, -1, 10), ["h.open_minutes"]);
        assert_eq!(wrong(1, 600, 600), ["h.close_minutes"]);
        assert_eq!(wrong(1, 600, 2881), ["h.close_minutes"]);
    }

    #[test]
    fn a_time_zone_is_one_that_every_program_finds() {
        for good in ["Asia/Tokyo", "Asia/Seoul", "Europe/Berlin", "UTC"] {
            assert_eq!(check_time_zone("f", good), None, "{good}");
        }
        for bad in ["Asia/Tokio", "asia/tokyo", "JST", "+09:00", "JST-9", "../etc/passwd", "Etc/Unknown", "a\0", "/"] {
            assert_eq!(check_time_zone("f", bad).map(|v| v.reason), Some("TIME_ZONE_UNKNOWN"), "{bad}");
        }
        assert_eq!(check_time_zone("f", "").map(|v| v.reason), Some("REQUIRED"));
    }
}
