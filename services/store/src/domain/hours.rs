//! Time zone, opening hours and business day.

use jiff::tz::TimeZone;
use posmesh_proto::store::v1::{OpeningHours, Store};

use super::{Violation, Violations};

const MAX_OPENING_HOURS: usize = 100;
const DAY_MINUTES: i32 = 24 * 60;

pub(super) fn check(found: &mut Violations, store: &Store) {
    found.add(check_time_zone("store.time_zone", &store.time_zone));
    if store.opening_hours.len() > MAX_OPENING_HOURS {
        let message = format!("at most {MAX_OPENING_HOURS} stretches");
        found.refuse("TOO_MANY", "store.opening_hours", message);
    } else {
        for (i, hours) in store.opening_hours.iter().enumerate() {
            check_stretch(found, &format!("store.opening_hours[{i}]"), hours);
        }
    }
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

fn check_stretch(found: &mut Violations, field: &str, hours: &OpeningHours) {
    let OpeningHours { weekday, open_minutes, close_minutes } = *hours;
    found.refuse_unless(
        (1..=7).contains(&weekday),
        "OUT_OF_RANGE",
        format!("{field}.weekday"),
        "1 is Monday, 7 is Sunday",
    );
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

    fn wrong(weekday: i32, open_minutes: i32, close_minutes: i32) -> Vec<String> {
        let mut found = Violations::default();
        check_stretch(&mut found, "h", &OpeningHours { weekday, open_minutes, close_minutes });
        found.0.into_iter().map(|v| v.field).collect()
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
