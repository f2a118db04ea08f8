//! What differs between two versions of a store's master data, as a person needs it told: one line for each change, of
//! things that are told apart by their ids.

mod charges;
mod choices;
mod details;
mod items;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use posmesh_pricing::{localized, shown_amount};
use posmesh_proto::{
    catalog::v1::{
        Area, Catalog, CatalogChange, CatalogChangeKind as Kind, Category, Course, MenuPeriod, ServiceCharge, Station,
        Table, TaxClass, Tender,
    },
    common::v1::{LocalizedText, Money, ServiceMode},
};

/// Most changes that are told; more are counted.
pub(crate) const MAX_CHANGES: usize = 2_000;

/// The step from one version to another.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Diff {
    pub(crate) changes: Vec<CatalogChange>,
    /// Further ones.
    pub(crate) omitted: usize,
}

impl Diff {
    /// Adds further ones, as many as are told.
    pub(crate) fn add(&mut self, changes: Vec<CatalogChange>) {
        changes.into_iter().for_each(|change| self.push(change));
    }

    fn push(&mut self, change: CatalogChange) {
        if self.changes.len() < MAX_CHANGES {
            self.changes.push(change);
        } else {
            self.omitted += 1;
        }
    }
}

/// What leads from `before` to `after`, named in the first of `locales` that there is. Empty exactly if their content is
/// equal.
pub(crate) fn diff(before: &Catalog, after: &Catalog, locales: &[String]) -> Diff {
    let mut differ = Differ { before, after, locales, diff: Diff::default() };
    items::compare(&mut differ);
    choices::compare(&mut differ);
    differ.things("category", (&before.categories, &after.categories), category);
    differ.things("area", (&before.areas, &after.areas), area);
    differ.things("table", (&before.tables, &after.tables), table);
    differ.things("tender", (&before.tenders, &after.tenders), tender);
    differ.things("tax_class", (&before.tax_classes, &after.tax_classes), tax_class);
    differ.things("menu_period", (&before.menu_periods, &after.menu_periods), details::menu_period);
    differ.things("station", (&before.stations, &after.stations), details::station);
    differ.things("course", (&before.courses, &after.courses), details::course);
    differ.things("service_charge", (&before.service_charges, &after.service_charges), charges::service_charge);
    if (&before.currency_code, &before.tax_rounding) != (&after.currency_code, &after.tax_rounding) {
        let what = What { entity: "catalog", id: "", name: "The store", group_id: "" };
        differ.tell(what, Kind::Changed, "tax_rounding", "currency or the rounding of tax changed".to_owned());
    }
    differ.diff
}

/// The thing that a change is about.
#[derive(Debug, Clone, Copy)]
struct What<'a> {
    entity: &'static str,
    id: &'a str,
    name: &'a str,
    /// Of a choice: its group.
    group_id: &'a str,
}

struct Differ<'a> {
    before: &'a Catalog,
    after: &'a Catalog,
    locales: &'a [String],
    diff: Diff,
}

/// Anything with an id and a name.
trait Thing: PartialEq {
    fn id(&self) -> &str;
    fn name<'a>(&'a self, locales: &[String]) -> &'a str;
}

macro_rules! things {
    ($($thing:ty),+) => {$(
        impl Thing for $thing {
            fn id(&self) -> &str {
                &self.id
            }
            fn name<'a>(&'a self, locales: &[String]) -> &'a str {
                localized(self.name.as_ref(), locales)
            }
        }
    )+};
}
things!(Category, Area, Tender, TaxClass, MenuPeriod, Station, Course, ServiceCharge);

impl Thing for Table {
    fn id(&self) -> &str {
        &self.id
    }
    fn name<'a>(&'a self, _: &[String]) -> &'a str {
        &self.name
    }
}

impl<'a> Differ<'a> {
    fn called(&self, name: Option<&'a LocalizedText>) -> &'a str {
        localized(name, self.locales)
    }

    fn tell(&mut self, what: What<'_>, kind: Kind, field: &str, text: String) {
        self.push(CatalogChange {
            kind: kind.into(),
            entity: what.entity.to_owned(),
            entity_id: what.id.to_owned(),
            entity_name: what.name.to_owned(),
            group_id: what.group_id.to_owned(),
            field: field.to_owned(),
            text: format!("{}: {text}", if what.name.is_empty() { what.id } else { what.name }),
            ..Default::default()
        });
    }

    fn push(&mut self, change: CatalogChange) {
        self.diff.push(change);
    }

    /// How many there are, told or not.
    fn count(&self) -> usize {
        self.diff.changes.len() + self.diff.omitted
    }

    /// A name in the reader's language, or in another one.
    fn names(&mut self, what: What<'_>, before: Option<&LocalizedText>, after: Option<&LocalizedText>) {
        let (was, is) = (localized(before, self.locales).to_owned(), localized(after, self.locales));
        if was != is {
            let text = format!("now called {is}");
            self.tell(What { name: &was, ..what }, Kind::Renamed, "name", text);
        } else if before != after {
            self.tell(what, Kind::Renamed, "name", "its name in another language changed".to_owned());
        }
    }

    fn prices(&mut self, what: What<'_>, before: Option<&Money>, after: Option<&Money>) {
        if before == after {
            return;
        }
        let text = format!("{}: price {} → {}", what.name, self.shown(before), self.shown(after));
        self.push(CatalogChange {
            kind: Kind::Price.into(),
            entity: what.entity.to_owned(),
            entity_id: what.id.to_owned(),
            entity_name: what.name.to_owned(),
            group_id: what.group_id.to_owned(),
            field: "price".to_owned(),
            text,
            old_price: before.cloned(),
            new_price: after.cloned(),
        });
    }

    fn availability(&mut self, what: What<'_>, before: bool, after: bool) {
        match (before, after) {
            (true, false) => self.tell(what, Kind::SoldOut, "available", "sold out".to_owned()),
            (false, true) => self.tell(what, Kind::Back, "available", "back".to_owned()),
            _ => {}
        }
    }

    fn shown(&self, price: Option<&Money>) -> String {
        shown_amount(&self.after.currency_code, price.map_or(0, |price| price.amount))
    }

    /// Whatever differs and was not told since `count`.
    fn rest(&mut self, what: What<'_>, count: usize) {
        if self.count() == count {
            self.tell(what, Kind::Changed, "", "changed in a detail".to_owned());
        }
    }

    /// New, gone and changed things of a kind.
    fn things<T: Thing>(
        &mut self,
        entity: &'static str,
        (before, after): (&'a [T], &'a [T]),
        compare: fn(&mut Self, What<'_>, &'a T, &'a T),
    ) {
        let known: HashMap<&str, &T> = before.iter().map(|thing| (thing.id(), thing)).collect();
        let what = |thing: &'a T| What { entity, id: thing.id(), name: thing.name(self.locales), group_id: "" };
        let after: Vec<(What<'_>, &T)> = after.iter().map(|thing| (what(thing), thing)).collect();
        let before: Vec<(What<'_>, &T)> = before.iter().map(|thing| (what(thing), thing)).collect();
        let is_there: HashSet<&str> = after.iter().map(|(what, _)| what.id).collect();
        for (what, thing) in after {
            match known.get(what.id) {
                None => self.tell(what, Kind::Added, "", format!("new {}", words(entity))),
                Some(was) if *was != thing => {
                    let count = self.count();
                    compare(self, what, was, thing);
                    self.rest(what, count);
                }
                Some(_) => {}
            }
        }
        for (what, _) in before.into_iter().filter(|(what, _)| !is_there.contains(what.id)) {
            self.tell(what, Kind::Removed, "", format!("{} gone", words(entity)));
        }
    }
}

/// An entity as a person calls it.
fn words(entity: &str) -> String {
    entity.replace('_', " ")
}

fn category<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a Category, after: &'a Category) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
    if before.parent_category_id != after.parent_category_id {
        let name = |catalog: &'a Catalog, id: &str, differ: &Differ<'a>| {
            let parent = catalog.categories.iter().find(|category| category.id == id);
            parent.map_or("the top", |parent| differ.called(parent.name.as_ref())).to_owned()
        };
        let was = name(differ.before, &before.parent_category_id, differ);
        let is = name(differ.after, &after.parent_category_id, differ);
        differ.tell(what, Kind::Changed, "parent_category_id", format!("moved from {was} to {is}"));
    }
    if before.sort_order != after.sort_order {
        differ.tell(what, Kind::Changed, "sort_order", "its place in the menu changed".to_owned());
    }
    details::texts(differ, what, "kana", "reading", (&before.kana, &after.kana));
}

fn area<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a Area, after: &'a Area) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
}

fn table<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a Table, after: &'a Table) {
    if before.name != after.name {
        let what = What { name: &before.name, ..what };
        differ.tell(what, Kind::Renamed, "name", format!("now called {}", after.name));
    }
    if before.seats != after.seats {
        differ.tell(what, Kind::Changed, "seats", format!("seats {} → {}", before.seats, after.seats));
    }
    if before.area_id != after.area_id {
        differ.tell(what, Kind::Changed, "area_id", "moved to another area".to_owned());
    }
}

fn tender<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a Tender, after: &'a Tender) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
    if before.kind != after.kind {
        differ.tell(what, Kind::Changed, "kind", "another kind of tender".to_owned());
    }
}

fn tax_class<'a>(differ: &mut Differ<'a>, what: What<'_>, before: &'a TaxClass, after: &'a TaxClass) {
    differ.names(what, before.name.as_ref(), after.name.as_ref());
    if before.included_in_price != after.included_in_price {
        let is = if after.included_in_price { "contain" } else { "no longer contain" };
        differ.tell(what, Kind::Changed, "included_in_price", format!("prices {is} the tax"));
    }
    for mode in [ServiceMode::DineIn, ServiceMode::Takeaway] {
        let ((was, was_id), (is, is_id)) = (rate(before, mode), rate(after, mode));
        if was != is {
            let text = format!("tax for {} {} → {}", mode_words(mode), percent(was), percent(is));
            differ.tell(what, Kind::Changed, "rates", text);
        } else if was_id != is_id {
            let text = format!("tax for {} is another one of the POS, at {}", mode_words(mode), percent(is));
            differ.tell(what, Kind::Changed, "rates", text);
        }
    }
}

/// In millionths, and the POS's id of the tax.
fn rate(class: &TaxClass, mode: ServiceMode) -> (i32, &str) {
    let of = |mode: ServiceMode| class.rates.iter().find(|rate| rate.service_mode() == mode);
    of(mode).or_else(|| of(ServiceMode::Unspecified)).map_or((0, ""), |rate| (rate.rate_ppm, &rate.tax_id))
}

fn mode_words(mode: ServiceMode) -> String {
    let name = mode.as_str_name();
    name.trim_start_matches("SERVICE_MODE_").to_lowercase().replace('_', "-")
}

/// Of millionths: `8 %`, `7.25 %`.
fn percent(ppm: i32) -> String {
    let digits = format!("{}.{:04}", ppm / 10_000, ppm.unsigned_abs() % 10_000);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}
