//! Whether master data is fit to be published, and if not, what the store has to mend at its POS.

use std::collections::{HashMap, HashSet};

use posmesh_pricing::{MAX_DEPTH, MAX_UNIT_PRICE, localized};
use posmesh_proto::{
    catalog::v1::{
        Catalog, CatalogProblem, Category, Item, Modifier, ModifierGroup, Table, TaxClass, TaxRoundingDirection,
        TaxRoundingScope,
    },
    common::v1::{LocalizedText, Money, ServiceMode},
    store::v1::Store,
};

use super::{MAX_ITEMS, nesting};

#[cfg(test)]
mod tests;

const MAX_ID_CHARS: usize = 128;
const MAX_NAME_CHARS: usize = 500;
const MAX_DESCRIPTION_CHARS: usize = 5_000;
/// The longest well-formed tag that RFC 5646 §4.4.1 asks implementations to hold.
const MAX_LOCALE_CHARS: usize = 35;
/// Most choices that a group may take, and most times that one may be taken; the same as an order line's.
const MAX_CHOICES: i32 = 999;
/// Most problems that a report holds; a last one says how many more there are.
const MAX_PROBLEMS: usize = 200;

/// Everything that is wrong with the catalog of `store`; empty: it may be published.
pub(crate) fn validate(catalog: &Catalog, store: &Store) -> Vec<CatalogProblem> {
    if catalog.items.len() > MAX_ITEMS {
        let message = format!("the POS sent {} items; at most {MAX_ITEMS} are taken", catalog.items.len());
        return vec![problem_about_catalog("TOO_MANY_ITEMS", "items", message)];
    }
    let mut check = Check::new(catalog, store);
    check.whole();
    for class in &catalog.tax_classes {
        check.tax_class(class);
    }
    for category in &catalog.categories {
        check.category(category);
    }
    for item in &catalog.items {
        check.item(item);
    }
    for group in &catalog.modifier_groups {
        check.group(group);
    }
    for area in &catalog.areas {
        let at = check.at("area", &area.id, area.name.as_ref());
        check.name(&at, area.name.as_ref());
    }
    for table in &catalog.tables {
        check.table(table);
    }
    for tender in &catalog.tenders {
        let at = check.at("tender", &tender.id, tender.name.as_ref());
        check.name(&at, tender.name.as_ref());
    }
    check.duplicates();
    check.circles();
    check.report()
}

/// A problem of the pull as a whole.
pub(crate) fn problem_about_catalog(reason: &str, field: &str, message: String) -> CatalogProblem {
    CatalogProblem {
        reason: reason.to_owned(),
        entity: "catalog".to_owned(),
        field: field.to_owned(),
        message,
        ..Default::default()
    }
}

/// The thing that is being checked.
struct At {
    entity: &'static str,
    id: String,
    name: String,
}

struct Check<'a> {
    catalog: &'a Catalog,
    store: &'a Store,
    tax_classes: HashSet<&'a str>,
    categories: HashSet<&'a str>,
    groups: HashSet<&'a str>,
    areas: HashSet<&'a str>,
    problems: Vec<CatalogProblem>,
    /// Those beyond the limit.
    more: usize,
}

impl<'a> Check<'a> {
    fn new(catalog: &'a Catalog, store: &'a Store) -> Self {
        Self {
            catalog,
            store,
            tax_classes: catalog.tax_classes.iter().map(|class| class.id.as_str()).collect(),
            categories: catalog.categories.iter().map(|category| category.id.as_str()).collect(),
            groups: catalog.modifier_groups.iter().map(|group| group.id.as_str()).collect(),
            areas: catalog.areas.iter().map(|area| area.id.as_str()).collect(),
            problems: Vec::new(),
            more: 0,
        }
    }

    fn report(mut self) -> Vec<CatalogProblem> {
        if self.more > 0 {
            let message = format!("{} more problems were found; mend the ones above first", self.more);
            self.problems.push(problem_about_catalog("MORE_PROBLEMS", "", message));
        }
        self.problems
    }

    fn at(&self, entity: &'static str, id: &str, name: Option<&LocalizedText>) -> At {
        At { entity, id: id.to_owned(), name: localized(name, &self.store.locales).to_owned() }
    }

    fn problem(&mut self, at: &At, reason: &str, field: &str, message: impl Into<String>) {
        if self.problems.len() == MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        self.problems.push(CatalogProblem {
            reason: reason.to_owned(),
            entity: at.entity.to_owned(),
            entity_id: cut(&at.id, MAX_ID_CHARS),
            entity_name: cut(&at.name, MAX_NAME_CHARS),
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn whole(&mut self) {
        let at = At { entity: "catalog", id: self.catalog.store_id.clone(), name: String::new() };
        let (ours, theirs) = (&self.store.currency_code, &self.catalog.currency_code);
        if ours != theirs {
            let message = format!("the POS works in {theirs:?}, the store is set up for {ours:?}; change one of them");
            self.problem(&at, "CURRENCY_MISMATCH", "currency_code", message);
        }
        let known = self.catalog.tax_rounding.as_ref().is_some_and(|rule| {
            let scope = TaxRoundingScope::try_from(rule.scope).unwrap_or_default();
            let direction = TaxRoundingDirection::try_from(rule.direction).unwrap_or_default();
            scope != TaxRoundingScope::Unspecified && direction != TaxRoundingDirection::Unspecified
        });
        if !known {
            let message = "it is not known how the POS rounds tax; set it on the connection";
            self.problem(&at, "TAX_ROUNDING_MISSING", "tax_rounding", message);
        }
    }

    fn tax_class(&mut self, class: &TaxClass) {
        let at = self.at("tax_class", &class.id, class.name.as_ref());
        self.name(&at, class.name.as_ref());
        let mut modes = HashSet::new();
        for rate in &class.rates {
            if !(0..=1_000_000).contains(&rate.rate_ppm) {
                let message = format!("the rate is {} millionths; it must be 0 to 100 %", rate.rate_ppm);
                self.problem(&at, "TAX_RATE_OUT_OF_RANGE", "rates", message);
            }
            if !modes.insert(rate.service_mode) {
                self.problem(&at, "DUPLICATE_TAX_RATE", "rates", "there are two rates for one service mode");
            }
        }
        for mode in [ServiceMode::DineIn, ServiceMode::Takeaway] {
            if !modes.contains(&mode.into()) && !modes.contains(&ServiceMode::Unspecified.into()) {
                let message = format!("there is no rate for {}", mode.as_str_name());
                self.problem(&at, "TAX_RATE_MISSING", "rates", message);
            }
        }
    }

    fn category(&mut self, category: &Category) {
        let at = self.at("category", &category.id, category.name.as_ref());
        self.name(&at, category.name.as_ref());
        let parent = &category.parent_category_id;
        if !parent.is_empty() && !self.categories.contains(parent.as_str()) {
            self.dangling(&at, "parent_category_id", "category", parent);
        }
    }

    fn item(&mut self, item: &Item) {
        let at = self.at("item", &item.id, item.name.as_ref());
        self.name(&at, item.name.as_ref());
        self.text(&at, "description", item.description.as_ref(), MAX_DESCRIPTION_CHARS);
        match &item.price {
            None => self.problem(&at, "PRICE_MISSING", "price", "the item has no price"),
            Some(price) if price.amount < 0 => {
                let message = format!("the price is {}; it must not be negative", price.amount);
                self.problem(&at, "NEGATIVE_PRICE", "price", message);
            }
            Some(price) => self.price(&at, price),
        }
        if !self.tax_classes.contains(item.tax_class_id.as_str()) {
            self.dangling(&at, "tax_class_id", "tax class", &item.tax_class_id);
        }
        for id in &item.category_ids {
            if !self.categories.contains(id.as_str()) {
                self.dangling(&at, "category_ids", "category", id);
            }
        }
        self.group_references(&at, &item.modifier_group_ids);
        self.service_modes(&at, &item.service_modes);
    }

    /// A mode that is not known here must not be dropped: without it the item could seem to be sold in all of them.
    fn service_modes(&mut self, at: &At, modes: &[i32]) {
        let mut seen = HashSet::new();
        for &mode in modes {
            if matches!(ServiceMode::try_from(mode), Err(_) | Ok(ServiceMode::Unspecified)) {
                let message = format!("{mode} is no service mode; leave all out where it is sold in every one");
                self.problem(at, "SERVICE_MODE_UNKNOWN", "service_modes", message);
            } else if !seen.insert(mode) {
                self.problem(at, "DUPLICATE_SERVICE_MODE", "service_modes", "it names one service mode twice");
            }
        }
    }

    fn group(&mut self, group: &ModifierGroup) {
        let at = self.at("modifier_group", &group.id, group.name.as_ref());
        self.name(&at, group.name.as_ref());
        let (min, max) = (group.min_choices, group.max_choices);
        if min < 0 || min > max || max > MAX_CHOICES {
            let message = format!("{min} to {max} choices are asked for; 0 <= min <= max <= {MAX_CHOICES} must hold");
            self.problem(&at, "CHOICES_OUT_OF_RANGE", "min_choices", message);
        }
        let offered: i64 = group.modifiers.iter().map(|modifier| i64::from(modifier.max_quantity.max(0))).sum();
        if min > 0 && offered < i64::from(min) {
            let message = format!("at least {min} choices are asked for, but only {offered} are there to choose");
            self.problem(&at, "TOO_FEW_CHOICES", "modifiers", message);
        }
        for modifier in &group.modifiers {
            self.modifier(modifier);
        }
        let ids = group.modifiers.iter().map(|modifier| &modifier.id);
        for id in repeated(ids) {
            self.problem(&at, "DUPLICATE_ID", "modifiers", format!("two choices have the id {}", quoted(id)));
        }
    }

    fn modifier(&mut self, modifier: &Modifier) {
        let at = self.at("modifier", &modifier.id, modifier.name.as_ref());
        self.id(&at);
        self.name(&at, modifier.name.as_ref());
        // An absent price is none: the choice is free.
        if let Some(price) = &modifier.price {
            self.price(&at, price);
        }
        if !(1..=MAX_CHOICES).contains(&modifier.max_quantity) {
            let message = format!("it may be chosen {} times; must be 1 to {MAX_CHOICES}", modifier.max_quantity);
            self.problem(&at, "CHOICES_OUT_OF_RANGE", "max_quantity", message);
        }
        self.group_references(&at, &modifier.modifier_group_ids);
    }

    fn table(&mut self, table: &Table) {
        let at = At { entity: "table", id: table.id.clone(), name: table.name.clone() };
        if table.name.trim().is_empty() {
            self.problem(&at, "NAME_MISSING", "name", "the table has no name");
        }
        self.plain_text(&at, "name", &table.name, MAX_NAME_CHARS);
        if !table.area_id.is_empty() && !self.areas.contains(table.area_id.as_str()) {
            self.dangling(&at, "area_id", "area", &table.area_id);
        }
        if table.seats < 0 {
            self.problem(&at, "SEATS_OUT_OF_RANGE", "seats", format!("{} seats; must not be negative", table.seats));
        }
    }

    fn price(&mut self, at: &At, price: &Money) {
        let currency = &self.store.currency_code;
        if price.currency_code != *currency {
            let message = format!("the price is in {:?}, the store works in {currency:?}", price.currency_code);
            self.problem(at, "CURRENCY_MISMATCH", "price", message);
        }
        if !(-MAX_UNIT_PRICE..=MAX_UNIT_PRICE).contains(&price.amount) {
            let message = format!("the price is {} minor units; at most {MAX_UNIT_PRICE} are taken", price.amount);
            self.problem(at, "PRICE_OUT_OF_RANGE", "price", message);
        }
    }

    fn group_references(&mut self, at: &At, ids: &[String]) {
        for id in ids {
            if !self.groups.contains(id.as_str()) {
                self.dangling(at, "modifier_group_ids", "modifier group", id);
            }
        }
        for id in repeated(ids.iter()) {
            let message = format!("it asks the modifier group {} twice", quoted(id));
            self.problem(at, "DUPLICATE_REFERENCE", "modifier_group_ids", message);
        }
    }

    fn dangling(&mut self, at: &At, field: &str, what: &str, id: &str) {
        let message = match id {
            "" => format!("it has no {what}"),
            id => format!("it refers to the {what} {}, which the POS did not send", quoted(id)),
        };
        self.problem(at, "DANGLING_REFERENCE", field, message);
    }

    /// A name for people: required, in any language.
    fn name(&mut self, at: &At, name: Option<&LocalizedText>) {
        if at.name.trim().is_empty() {
            self.problem(at, "NAME_MISSING", "name", "it has no name");
        }
        self.text(at, "name", name, MAX_NAME_CHARS);
    }

    fn text(&mut self, at: &At, field: &str, text: Option<&LocalizedText>, max_chars: usize) {
        for (locale, value) in text.iter().flat_map(|text| &text.texts) {
            let well_formed = locale.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if locale.is_empty() || locale.len() > MAX_LOCALE_CHARS || !well_formed {
                let message = format!("{} is no language tag", quoted(locale));
                self.problem(at, "LOCALE_INVALID", field, message);
            }
            self.plain_text(at, field, value, max_chars);
        }
    }

    fn plain_text(&mut self, at: &At, field: &str, text: &str, max_chars: usize) {
        // Line breaks and tabs are what people type into descriptions.
        if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            let message = format!("it holds the control character U+{:04X}", u32::from(c));
            self.problem(at, "TEXT_INVALID", field, message);
        }
        let chars = text.chars().count();
        if chars > max_chars {
            let message = format!("it has {chars} characters; at most {max_chars} are taken");
            self.problem(at, "TEXT_TOO_LONG", field, message);
        }
    }

    fn id(&mut self, at: &At) {
        let chars = at.id.chars().count();
        if chars == 0 || chars > MAX_ID_CHARS || at.id.chars().any(char::is_control) {
            let message = format!("the id must be 1 to {MAX_ID_CHARS} characters without control characters");
            self.problem(at, "ID_INVALID", "id", message);
        }
    }

    /// Ids of each kind: well-formed, and each there once.
    fn duplicates(&mut self) {
        let catalog = self.catalog;
        self.ids("tax_class", catalog.tax_classes.iter().map(|x| (&x.id, x.name.as_ref())));
        self.ids("category", catalog.categories.iter().map(|x| (&x.id, x.name.as_ref())));
        self.ids("item", catalog.items.iter().map(|x| (&x.id, x.name.as_ref())));
        self.ids("modifier_group", catalog.modifier_groups.iter().map(|x| (&x.id, x.name.as_ref())));
        self.ids("area", catalog.areas.iter().map(|x| (&x.id, x.name.as_ref())));
        self.ids("table", catalog.tables.iter().map(|x| (&x.id, None)));
        self.ids("tender", catalog.tenders.iter().map(|x| (&x.id, x.name.as_ref())));
    }

    fn ids<'i>(&mut self, entity: &'static str, things: impl Iterator<Item = (&'i String, Option<&'i LocalizedText>)>) {
        let mut seen = HashSet::new();
        for (id, name) in things {
            let at = self.at(entity, id, name);
            self.id(&at);
            if !seen.insert(id) {
                self.problem(&at, "DUPLICATE_ID", "id", "the POS sent two with this id");
            }
        }
    }

    fn circles(&mut self) {
        let groups = &self.catalog.modifier_groups;
        let positions: HashMap<&str, usize> = groups.iter().enumerate().map(|(at, g)| (g.id.as_str(), at)).collect();
        let below = |group: &ModifierGroup| {
            let ids = group.modifiers.iter().flat_map(|modifier| &modifier.modifier_group_ids);
            ids.filter_map(|id| positions.get(id.as_str()).copied()).collect()
        };
        let contains: Vec<Vec<usize>> = groups.iter().map(below).collect();
        for at in nesting::circular(&contains) {
            let at = self.at("modifier_group", &groups[at].id, groups[at].name.as_ref());
            self.problem(&at, "CIRCULAR_REFERENCE", "modifiers", "its choices lead back to itself");
        }
        for (group, depth) in groups.iter().zip(nesting::depths(&contains)) {
            if let Some(depth) = depth.filter(|&depth| depth > MAX_DEPTH) {
                let at = self.at("modifier_group", &group.id, group.name.as_ref());
                let message = format!("its choices go {depth} deep; at most {MAX_DEPTH} are taken");
                self.problem(&at, "NESTING_TOO_DEEP", "modifiers", message);
            }
        }

        let categories = &self.catalog.categories;
        let positions: HashMap<&str, usize> =
            categories.iter().enumerate().map(|(at, c)| (c.id.as_str(), at)).collect();
        let above = |category: &Category| positions.get(category.parent_category_id.as_str()).copied();
        let contains: Vec<Vec<usize>> = categories.iter().map(|c| above(c).into_iter().collect()).collect();
        for at in nesting::circular(&contains) {
            let at = self.at("category", &categories[at].id, categories[at].name.as_ref());
            self.problem(&at, "CIRCULAR_REFERENCE", "parent_category_id", "it lies within itself");
        }
    }
}

/// Each value that comes more than once, once per repetition.
fn repeated<'i>(values: impl Iterator<Item = &'i String>) -> Vec<&'i String> {
    let mut seen = HashSet::new();
    values.filter(|value| !seen.insert(*value)).collect()
}

fn quoted(id: &str) -> String {
    format!("{:?}", cut(id, MAX_ID_CHARS))
}

fn cut(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}
