//! Whether master data is fit to be published, and if not, what the store has to mend at its POS.
//!
//! A thing that is wrong is left out alone, and what cannot be sold without it goes with it: an item whose question about
//! it is gone would be ordered without an answer that the kitchen needs. What only says where a thing stands (a heading, an
//! area) is struck out, and the thing stays. The whole is refused where it cannot be told apart what is right: other
//! money, tax or a service charge that nobody can reckon, one id for two things, and data of which most is wrong.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod arbitrary;
mod charges;
mod choices;
mod details;
mod report;
#[cfg(test)]
mod tests;
mod things;

use std::collections::{HashMap, hash_map::Entry};

use posmesh_proto::{
    catalog::v1::{Catalog, CatalogCounts, CatalogProblem, ProblemEffect},
    common::v1::LocalizedText,
    store::v1::Store,
};

pub(crate) use report::{MAX_NAME_CHARS, is_id, is_locale, problem_about_catalog, text_problem};
pub(crate) use things::MAX_DESCRIPTION_CHARS;

use self::report::Report;
use super::{MAX_ITEMS, counts};

/// What is fit to be published.
#[derive(Debug)]
pub(crate) struct Sieved {
    pub(crate) catalog: Catalog,
    /// What is wrong with the rest, and what was corrected.
    pub(crate) problems: Vec<CatalogProblem>,
    pub(crate) left_out: CatalogCounts,
}

/// What of a pull may be published in `store`.
///
/// # Errors
///
/// Nothing of it: everything that is wrong.
pub(crate) fn sieve(mut catalog: Catalog, store: &Store) -> Result<Sieved, Vec<CatalogProblem>> {
    if catalog.items.len() > MAX_ITEMS {
        let message = format!("the POS sent {} items; at most {MAX_ITEMS} are taken", catalog.items.len());
        return Err(vec![problem_about_catalog("TOO_MANY_ITEMS", "items", message)]);
    }
    let mut report = Report::new(store);
    things::whole(&catalog, &mut report);
    things::tax_classes(&catalog.tax_classes, &mut report);
    charges::service_charges(&mut catalog, &mut report);
    each_id_once(&mut catalog, &mut report);
    let sent = counts(&catalog);
    things::places(&mut catalog, &mut report);
    let groups = choices::groups(&mut catalog.modifier_groups, &mut report);
    things::items(&mut catalog, &groups, &mut report);
    choices::items_of_choices(&mut catalog, &mut report);
    let left = counts(&catalog);
    let left_out = CatalogCounts {
        categories: sent.categories - left.categories,
        items: sent.items - left.items,
        modifier_groups: sent.modifier_groups - left.modifier_groups,
        tables: sent.tables - left.tables,
    };
    if left_out.items > left.items {
        let message = format!(
            "{} of {} items are wrong: more than half, so the data as a whole is not to be trusted",
            left_out.items, sent.items
        );
        report.refuse(problem_about_catalog("MOSTLY_WRONG", "items", message));
    }
    let problems = report.finish()?;
    Ok(Sieved { catalog, problems, left_out })
}

/// Drops what was sent twice; two different things under one id refuse the whole.
fn each_id_once(catalog: &mut Catalog, report: &mut Report<'_>) {
    once(&mut catalog.tax_classes, "tax_class", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.categories, "category", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.items, "item", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.modifier_groups, "modifier_group", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.areas, "area", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.tables, "table", |x| (&x.id, None), report);
    once(&mut catalog.tenders, "tender", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.menu_periods, "menu_period", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.stations, "station", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.courses, "course", |x| (&x.id, x.name.as_ref()), report);
    once(&mut catalog.service_charges, "service_charge", |x| (&x.id, x.name.as_ref()), report);
}

fn once<T: PartialEq>(
    things: &mut Vec<T>,
    entity: &'static str,
    named: impl Fn(&T) -> (&String, Option<&LocalizedText>),
    report: &mut Report<'_>,
) {
    let mut again = vec![false; things.len()];
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(things.len());
    for (place, thing) in things.iter().enumerate() {
        let (id, name) = named(thing);
        match first.entry(id) {
            // An id that is none is told by the thing itself.
            _ if !report::is_id(id) => {}
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(first) if things[*first.get()] == *thing => {
                again[place] = true;
                let at = report.at(entity, id, name, ProblemEffect::Corrected);
                report.add(&at, "DUPLICATE_ID", "id", "the POS sent it twice");
            }
            Entry::Occupied(_) => {
                let at = report.at(entity, id, name, ProblemEffect::Refused);
                report.add(&at, "DUPLICATE_ID", "id", "the POS sent two different things with this id");
            }
        }
    }
    let mut again = again.into_iter();
    things.retain(|_| !again.next().unwrap_or(false));
}
