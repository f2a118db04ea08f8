//! Menu periods, codes, readings, pictures and allergens.

use std::collections::BTreeMap;

use posmesh_proto::{
    catalog::v1::{Allergen, AllergenInfo, AllergenList, AllergenPresence, Image, MenuPeriod, ProblemEffect},
    store::v1::OpeningHours,
};

use super::report::{At, MAX_ID_CHARS, MAX_NAME_CHARS, Report, is_id, quoted};

const MAX_HOURS: usize = 100;
const MINUTES_PER_DAY: i32 = 24 * 60;
const MAX_IMAGES: usize = 20;
const MAX_URL_CHARS: usize = 2_048;
const MAX_ALLERGENS: usize = 200;
const MAX_CODE_CHARS: usize = 64;

/// Strikes out a reading that is no text.
pub(super) fn kana(at: &At<'_>, kana: &mut String, report: &mut Report<'_>) {
    let before = report.found();
    report.plain_text(&at.corrected(), "kana", kana, MAX_NAME_CHARS);
    if report.found() > before {
        kana.clear();
    }
}

/// Strikes out a code that is none. What is kept by it is told by its exact characters.
pub(super) fn code(at: &At<'_>, code: &mut String, report: &mut Report<'_>) {
    if !code.is_empty() && !is_id(code) {
        let message = format!("the code must be at most {MAX_ID_CHARS} characters without control characters");
        report.add(&at.corrected(), "CODE_INVALID", "code", message);
        code.clear();
    }
}

/// A period that is wrong is left out, and with it what is sold in it: at which time is not to be guessed.
pub(super) fn menu_period(period: &MenuPeriod, report: &mut Report<'_>) {
    let at = report.at("menu_period", &period.id, period.name.as_ref(), ProblemEffect::LeftOut);
    report.id(&at);
    report.name(&at, period.name.as_ref());
    if period.hours.is_empty() || period.hours.len() > MAX_HOURS {
        let message = format!("it has {} times of the week; must be 1 to {MAX_HOURS}", period.hours.len());
        report.add(&at, "HOURS_INVALID", "hours", message);
    }
    for hours in period.hours.iter().filter(|hours| !is_stretch(hours)) {
        let OpeningHours { weekday, open_minutes, close_minutes } = hours;
        let message = format!(
            "minute {open_minutes} to {close_minutes} of weekday {weekday} is no time; days are 1 Monday to 7 Sunday, and a stretch ends after it begins, within the next day"
        );
        report.add(&at, "HOURS_INVALID", "hours", message);
    }
}

fn is_stretch(hours: &OpeningHours) -> bool {
    (1..=7).contains(&hours.weekday)
        && (0..MINUTES_PER_DAY).contains(&hours.open_minutes)
        && (hours.open_minutes + 1..=2 * MINUTES_PER_DAY).contains(&hours.close_minutes)
}

/// Strikes out the pictures that a guest's screen must not load, or cannot.
pub(super) fn images(at: &At<'_>, images: &mut Vec<Image>, report: &mut Report<'_>) {
    let at = at.corrected();
    images.retain_mut(|image| {
        let is_fine = is_https(&image.url);
        if !is_fine {
            let message = format!("{} is no https address; the picture is not shown", quoted(&image.url));
            report.add(&at, "IMAGE_INVALID", "images", message);
        }
        let before = report.found();
        report.text(&at, "images", image.alt_text.as_ref(), MAX_NAME_CHARS);
        if report.found() > before {
            image.alt_text = None;
        }
        is_fine
    });
    if images.len() > MAX_IMAGES {
        let message = format!("it has {} pictures; the first {MAX_IMAGES} are shown", images.len());
        report.add(&at, "TOO_MANY_IMAGES", "images", message);
        images.truncate(MAX_IMAGES);
    }
}

/// Whether a browser can be sent there: https, a host without credentials, nothing that ends an attribute or a header.
fn is_https(url: &str) -> bool {
    let is_plain = url.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"\"'<>\\`".contains(c));
    let host = url.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    is_plain && url.len() <= MAX_URL_CHARS && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
}

/// What is told of allergens is right as a whole, or it is not told: a guest must not take half of it for all.
pub(super) fn allergens(at: &At<'_>, info: &mut Option<AllergenInfo>, report: &mut Report<'_>) {
    let Some(told) = info else { return };
    if let Some(wrong) = wrong(told) {
        let message = format!("{wrong}; its allergens are shown as not known");
        report.add(&at.corrected(), "ALLERGENS_INVALID", "allergens", message);
        *info = None;
        return;
    }
    let mut by_code: BTreeMap<&str, &Allergen> = BTreeMap::new();
    for allergen in &told.allergens {
        // CONTAINS comes before MAY_CONTAIN, and counts more.
        let known = by_code.entry(&allergen.code).or_insert(allergen);
        *known = if allergen.presence < known.presence { allergen } else { known };
    }
    if by_code.len() < told.allergens.len() {
        report.add(&at.corrected(), "DUPLICATE_REFERENCE", "allergens", "it names an allergen twice; the worse counts");
        told.allergens = by_code.into_values().cloned().collect();
    }
}

fn wrong(info: &AllergenInfo) -> Option<String> {
    if info.allergens.len() > MAX_ALLERGENS {
        return Some(format!("it names {} allergens; at most {MAX_ALLERGENS} are taken", info.allergens.len()));
    }
    let is_code = |code: &str| {
        let well_formed = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        !code.is_empty() && code.len() <= MAX_CODE_CHARS && well_formed
    };
    let unknown = |presence| AllergenPresence::try_from(presence).unwrap_or_default() == AllergenPresence::Unspecified;
    if let Some(allergen) = info.allergens.iter().find(|allergen| !is_code(&allergen.code)) {
        return Some(format!("{} is no code of an allergen", quoted(&allergen.code)));
    }
    if let Some(allergen) = info.allergens.iter().find(|allergen| unknown(allergen.presence)) {
        return Some(format!("it does not tell whether it contains {}", allergen.code));
    }
    let lists = info.checked_lists.iter();
    let list =
        lists.copied().find(|&list| AllergenList::try_from(list).unwrap_or_default() == AllergenList::Unspecified);
    list.map(|list| format!("{list} is no list of allergens that is known here"))
}
