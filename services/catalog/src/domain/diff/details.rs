//! Menu periods, stations and courses, and what items and choices tell of themselves besides name and price.

use posmesh_proto::{
    catalog::v1::{Allergen, AllergenInfo, AllergenPresence, CatalogChangeKind as Kind, Course, MenuPeriod, Station},
    store::v1::OpeningHours,
};

use super::{Differ, What};

pub(super) fn menu_period<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a MenuPeriod, after: &'a MenuPeriod) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
    if before.hours != after.hours {
        let text = format!("{} → {}", hours(&before.hours), hours(&after.hours));
        differ.tell(what, Kind::Changed, "hours", text);
    }
}

pub(super) fn station<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a Station, after: &'a Station) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
}

pub(super) fn course<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a Course, after: &'a Course) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
    if before.sort_order != after.sort_order {
        differ.tell(what, Kind::Changed, "sort_order", "its place among the courses changed".to_owned());
    }
}

/// What a guest with an allergy must be told at once.
pub(super) fn allergens(
    differ: &mut Differ<'_>,
    what: What<'_>,
    before: Option<&AllergenInfo>,
    after: Option<&AllergenInfo>,
) {
    if before != after {
        let text = format!("allergens {} → {}", allergens_told(before), allergens_told(after));
        differ.tell(what, Kind::Changed, "allergens", text);
    }
}

/// A text that is the same in all languages.
pub(super) fn texts(differ: &mut Differ<'_>, what: What<'_>, field: &str, word: &str, (was, is): (&str, &str)) {
    if was != is {
        let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        differ.tell(what, Kind::Changed, field, format!("{word} {} → {}", shown(was), shown(is)));
    }
}

fn allergens_told(info: Option<&AllergenInfo>) -> String {
    let Some(info) = info else { return "not known".to_owned() };
    let told = |allergen: &Allergen| match allergen.presence() {
        AllergenPresence::MayContain => format!("{} (traces)", allergen.code),
        AllergenPresence::Contains | AllergenPresence::Unspecified => allergen.code.clone(),
    };
    let mut words: Vec<String> = info.allergens.iter().map(told).collect();
    let lists = info.checked_lists().map(|list| list.as_str_name().trim_start_matches("ALLERGEN_LIST_"));
    let lists: Vec<String> = lists.map(|list| list.to_lowercase().replace('_', " ")).collect();
    if words.is_empty() {
        words.push(if lists.is_empty() { "none told" } else { "none" }.to_owned());
    }
    let of = if lists.is_empty() { String::new() } else { format!(" of {}", lists.join(", ")) };
    format!("{}{of}", words.join(", "))
}

/// `Mon-Fri 11:00-14:00, Sat 11:00-15:00`.
fn hours(hours: &[OpeningHours]) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let mut stretches: Vec<(i32, i32, Vec<i32>)> = Vec::new();
    for OpeningHours { weekday, open_minutes, close_minutes } in hours {
        match stretches.iter_mut().find(|(open, close, _)| (open, close) == (open_minutes, close_minutes)) {
            Some((.., days)) => days.push(*weekday),
            None => stretches.push((*open_minutes, *close_minutes, vec![*weekday])),
        }
    }
    let day = |weekday: i32| usize::try_from(weekday - 1).ok().and_then(|day| DAYS.get(day)).copied().unwrap_or("?");
    let clock = |minutes: i32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let shown = |(open, close, days): &(i32, i32, Vec<i32>)| {
        let days = match days.as_slice() {
            [first, _, .., last] if i32::try_from(days.len()).is_ok_and(|count| count == last - first + 1) => {
                format!("{}-{}", day(*first), day(*last))
            }
            days => days.iter().map(|weekday| day(*weekday)).collect::<Vec<_>>().join(" "),
        };
        format!("{days} {}-{}", clock(*open), clock(*close))
    };
    stretches.iter().map(shown).collect::<Vec<_>>().join(", ")
}
