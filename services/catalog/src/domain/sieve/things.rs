//! The catalog as a whole, and its things one by one.

use std::collections::{HashMap, HashSet};

use posmesh_pricing::MAX_UNIT_PRICE;
use posmesh_proto::{
    catalog::v1::{Catalog, Category, Item, ProblemEffect, Table, TaxClass, TaxRoundingDirection, TaxRoundingScope},
    common::v1::{LocalizedText, Money, ServiceMode},
};

use super::{
    choices::Groups,
    details,
    report::{At, MAX_NAME_CHARS, Report, problem_about_catalog, quoted},
};
use crate::domain::nesting;

pub(crate) const MAX_DESCRIPTION_CHARS: usize = 5_000;

/// What every price and every receipt hangs on.
pub(super) fn whole(catalog: &Catalog, report: &mut Report<'_>) {
    let (ours, theirs) = (&report.store.currency_code, &catalog.currency_code);
    if ours != theirs {
        let message =
            format!("the POS works in {}, the store is set up for {ours:?}; change one of them", quoted(theirs));
        report.refuse(problem_about_catalog("CURRENCY_MISMATCH", "currency_code", message));
    }
    let known = catalog.tax_rounding.as_ref().is_some_and(|rule| {
        let scope = TaxRoundingScope::try_from(rule.scope).unwrap_or_default();
        let direction = TaxRoundingDirection::try_from(rule.direction).unwrap_or_default();
        scope != TaxRoundingScope::Unspecified && direction != TaxRoundingDirection::Unspecified
    });
    if !known {
        let message = "it is not known how the POS rounds tax; set it on the connection".to_owned();
        report.refuse(problem_about_catalog("TAX_ROUNDING_MISSING", "tax_rounding", message));
    }
}

/// A tax class that is wrong refuses the whole: what it is meant to be decides every bill.
pub(super) fn tax_classes(classes: &[TaxClass], report: &mut Report<'_>) {
    for class in classes {
        let at = report.at("tax_class", &class.id, class.name.as_ref(), ProblemEffect::Refused);
        report.id(&at);
        report.name(&at, class.name.as_ref());
        let mut modes = HashSet::new();
        for rate in &class.rates {
            if !(0..=1_000_000).contains(&rate.rate_ppm) {
                let message = format!("the rate is {} millionths; it must be 0 to 100 %", rate.rate_ppm);
                report.add(&at, "TAX_RATE_OUT_OF_RANGE", "rates", message);
            }
            if !modes.insert(rate.service_mode) {
                report.add(&at, "DUPLICATE_TAX_RATE", "rates", "there are two rates for one service mode");
            }
        }
        for mode in [ServiceMode::DineIn, ServiceMode::Takeaway] {
            if !modes.contains(&mode.into()) && !modes.contains(&ServiceMode::Unspecified.into()) {
                let message = format!("there is no rate for {}", mode.as_str_name());
                report.add(&at, "TAX_RATE_MISSING", "rates", message);
            }
        }
    }
}

/// Headings, areas with their tables, tenders, and what items refer to.
pub(super) fn places(catalog: &mut Catalog, report: &mut Report<'_>) {
    let effect = ProblemEffect::LeftOut;
    let sent = ids(catalog.categories.iter().map(|category| &category.id));
    catalog.categories.retain_mut(|category| {
        let at = report.at("category", &category.id, category.name.as_ref(), effect);
        report.is_fine(|report| {
            report.id(&at);
            report.name(&at, category.name.as_ref());
            details::kana(&at, &mut category.kana, report);
        })
    });
    parents(&mut catalog.categories, &sent, report);

    let sent = ids(catalog.areas.iter().map(|area| &area.id));
    catalog.areas.retain(|x| named(("area", &x.id, x.name.as_ref()), report));
    let kept = ids(catalog.areas.iter().map(|area| &area.id));
    catalog.tables.retain_mut(|table| report.is_fine(|report| check_table(table, (&sent, &kept), report)));

    catalog.tenders.retain(|x| named(("tender", &x.id, x.name.as_ref()), report));
    catalog.stations.retain(|x| named(("station", &x.id, x.name.as_ref()), report));
    catalog.courses.retain(|x| named(("course", &x.id, x.name.as_ref()), report));
}

/// Whether something of which nothing but its id and name is needed has both.
fn named((entity, id, name): (&'static str, &String, Option<&LocalizedText>), report: &mut Report<'_>) -> bool {
    let at = report.at(entity, id, name, ProblemEffect::LeftOut);
    report.is_fine(|report| {
        report.id(&at);
        report.name(&at, name);
    })
}

/// A heading whose place is wrong stands at the top.
fn parents(categories: &mut [Category], sent: &HashSet<String>, report: &mut Report<'_>) {
    let places: HashMap<&str, usize> = categories.iter().enumerate().map(|(place, c)| (c.id.as_str(), place)).collect();
    let above = |category: &Category| places.get(category.parent_category_id.as_str()).copied();
    let contains: Vec<Vec<usize>> = categories.iter().map(|c| above(c).into_iter().collect()).collect();
    let circular: HashSet<usize> = nesting::circular(&contains).into_iter().collect();
    let kept = ids(categories.iter().map(|category| &category.id));
    for (place, category) in categories.iter_mut().enumerate() {
        let at = report.at("category", &category.id, category.name.as_ref(), ProblemEffect::Corrected);
        let parent = &category.parent_category_id;
        if circular.contains(&place) {
            report.add(&at, "CIRCULAR_REFERENCE", "parent_category_id", "it lies within itself; it is put at the top");
        } else if parent.is_empty() || !is_gone(&at, "parent_category_id", "category", parent, (sent, &kept), report) {
            continue;
        }
        category.parent_category_id.clear();
    }
}

fn check_table(table: &mut Table, areas: (&HashSet<String>, &HashSet<String>), report: &mut Report<'_>) {
    let Table { id, name, area_id, seats } = table;
    let at = Report::plainly("table", id, name);
    report.id(&at);
    if name.trim().is_empty() {
        report.add(&at, "NAME_MISSING", "name", "the table has no name");
    }
    report.plain_text(&at, "name", name, MAX_NAME_CHARS);
    if *seats < 0 {
        report.add(&at, "SEATS_OUT_OF_RANGE", "seats", format!("{seats} seats; must not be negative"));
    }
    if !area_id.is_empty() && is_gone(&at.corrected(), "area_id", "area", area_id, areas, report) {
        area_id.clear();
    }
}

/// Whether a place is not among those that are `kept`, and why.
fn is_gone(
    at: &At<'_>,
    field: &str,
    what: &str,
    id: &str,
    (sent, kept): (&HashSet<String>, &HashSet<String>),
    report: &mut Report<'_>,
) -> bool {
    if kept.contains(id) {
        return false;
    }
    if sent.contains(id) {
        report.needs_left_out(at, field, what, id);
    } else {
        report.dangling(at, field, what, id);
    }
    true
}

/// What items refer to.
struct Referred<'a> {
    groups: &'a Groups,
    tax_classes: HashSet<String>,
    categories: HashSet<String>,
    stations: HashSet<String>,
    courses: HashSet<String>,
    periods: HashSet<String>,
    /// Those that were left out too.
    periods_sent: HashSet<String>,
}

/// Leaves out the items that are wrong, those that ask what is gone, and those of which it is not known when they are
/// sold.
pub(super) fn items(catalog: &mut Catalog, groups: &Groups, report: &mut Report<'_>) {
    let periods_sent = ids(catalog.menu_periods.iter().map(|period| &period.id));
    catalog.menu_periods.retain(|period| report.is_fine(|report| details::menu_period(period, report)));
    let referred = Referred {
        groups,
        tax_classes: ids(catalog.tax_classes.iter().map(|class| &class.id)),
        categories: ids(catalog.categories.iter().map(|category| &category.id)),
        stations: ids(catalog.stations.iter().map(|station| &station.id)),
        courses: ids(catalog.courses.iter().map(|course| &course.id)),
        periods: ids(catalog.menu_periods.iter().map(|period| &period.id)),
        periods_sent,
    };
    catalog.items.retain_mut(|item| report.is_fine(|report| check_item(item, &referred, report)));
}

fn check_item(item: &mut Item, referred: &Referred<'_>, report: &mut Report<'_>) {
    let at = report.at("item", &item.id, item.name.as_ref(), ProblemEffect::LeftOut);
    report.id(&at);
    report.name(&at, item.name.as_ref());
    report.text(&at, "description", item.description.as_ref(), MAX_DESCRIPTION_CHARS);
    match &item.price {
        None => report.add(&at, "PRICE_MISSING", "price", "the item has no price"),
        Some(amount) if amount.amount < 0 => {
            let message = format!("the price is {}; it must not be negative", amount.amount);
            report.add(&at, "NEGATIVE_PRICE", "price", message);
        }
        Some(amount) => price(&at, amount, report),
    }
    if !referred.tax_classes.contains(&item.tax_class_id) {
        report.dangling(&at, "tax_class_id", "tax class", &item.tax_class_id);
    }
    item.category_ids.retain(|id| is_there(&at, ("category_ids", "category"), id, &referred.categories, report));
    referred.groups.check(&at, &mut item.modifier_group_ids, report);
    service_modes(&at, &mut item.service_modes, report);
    menu_periods(&at, &mut item.menu_period_ids, referred, report);

    details::code(&at, &mut item.code, report);
    details::kana(&at, &mut item.kana, report);
    details::images(&at, &mut item.images, report);
    details::allergens(&at, &mut item.allergens, report);
    item.station_ids.retain(|id| is_there(&at, ("station_ids", "station"), id, &referred.stations, report));
    if !item.course_id.is_empty() && !is_there(&at, ("course_id", "course"), &item.course_id, &referred.courses, report)
    {
        item.course_id.clear();
    }
}

/// Whether there is what an item can stand without.
fn is_there(
    at: &At<'_>,
    (field, what): (&str, &str),
    id: &String,
    kept: &HashSet<String>,
    report: &mut Report<'_>,
) -> bool {
    let is_there = kept.contains(id);
    if !is_there {
        let message = format!("its {what} {} is not there; it stands without", quoted(id));
        report.add(&at.corrected(), "DANGLING_REFERENCE", field, message);
    }
    is_there
}

/// A period that is not there must not be dropped: without it the item could seem to be sold always.
fn menu_periods(at: &At<'_>, ids: &mut Vec<String>, referred: &Referred<'_>, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    ids.retain(|id| {
        is_gone(at, "menu_period_ids", "menu period", id, (&referred.periods_sent, &referred.periods), report);
        let is_first = seen.insert(id.clone());
        if !is_first {
            let message = format!("it names the menu period {} twice", quoted(id));
            report.add(&at.corrected(), "DUPLICATE_REFERENCE", "menu_period_ids", message);
        }
        is_first
    });
}

/// A mode that is not known here must not be dropped: without it the item could seem to be sold in all of them.
pub(super) fn service_modes(at: &At<'_>, modes: &mut Vec<i32>, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    modes.retain(|&mode| {
        if matches!(ServiceMode::try_from(mode), Err(_) | Ok(ServiceMode::Unspecified)) {
            let message = format!("{mode} is no service mode; leave all out where it is sold in every one");
            report.add(at, "SERVICE_MODE_UNKNOWN", "service_modes", message);
        }
        let is_first = seen.insert(mode);
        if !is_first {
            let message = "it names one service mode twice";
            report.add(&at.corrected(), "DUPLICATE_SERVICE_MODE", "service_modes", message);
        }
        is_first
    });
}

pub(super) fn price(at: &At<'_>, price: &Money, report: &mut Report<'_>) {
    let currency = &report.store.currency_code;
    if price.currency_code != *currency {
        let message = format!("the price is in {}, the store works in {currency:?}", quoted(&price.currency_code));
        report.add(at, "CURRENCY_MISMATCH", "price", message);
    }
    if !(-MAX_UNIT_PRICE..=MAX_UNIT_PRICE).contains(&price.amount) {
        let message = format!("the price is {} minor units; at most {MAX_UNIT_PRICE} are taken", price.amount);
        report.add(at, "PRICE_OUT_OF_RANGE", "price", message);
    }
}

fn ids<'a>(ids: impl Iterator<Item = &'a String>) -> HashSet<String> {
    ids.cloned().collect()
}
