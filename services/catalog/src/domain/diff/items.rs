//! Items, and what is asked about them.

use std::collections::{HashMap, HashSet};

use posmesh_proto::catalog::v1::{Catalog, CatalogChangeKind as Kind, Item};

use super::{Differ, What, mode_words};

pub(super) fn compare(differ: &mut Differ<'_>) {
    let known: HashMap<&str, &Item> = differ.before.items.iter().map(|item| (item.id.as_str(), item)).collect();
    let is_there: HashSet<&str> = differ.after.items.iter().map(|item| item.id.as_str()).collect();
    let names = AllNames::new(differ);
    for item in &differ.after.items {
        let what = what(differ, item);
        match known.get(item.id.as_str()) {
            None => {
                let sold_out = if item.available { "" } else { ", sold out" };
                let text = format!("new, {}{sold_out}", differ.shown(item.price.as_ref()));
                differ.tell(what, Kind::Added, "", text);
            }
            Some(was) if *was != item => {
                let count = differ.count();
                changed(differ, &names, what, was, item);
                differ.rest(what, count);
            }
            Some(_) => {}
        }
    }
    for item in differ.before.items.iter().filter(|item| !is_there.contains(item.id.as_str())) {
        differ.tell(what(differ, item), Kind::Removed, "", "gone".to_owned());
    }
}

/// By id.
type Names<'a> = HashMap<&'a str, &'a str>;

/// What items refer to, in both versions.
struct AllNames<'a> {
    groups_before: Names<'a>,
    groups_after: Names<'a>,
    categories_before: Names<'a>,
    categories_after: Names<'a>,
}

impl<'a> AllNames<'a> {
    fn new(differ: &Differ<'a>) -> Self {
        let groups = |catalog: &'a Catalog| {
            let groups = catalog.modifier_groups.iter();
            groups.map(|group| (group.id.as_str(), differ.called(group.name.as_ref()))).collect()
        };
        let categories = |catalog: &'a Catalog| {
            let categories = catalog.categories.iter();
            categories.map(|category| (category.id.as_str(), differ.called(category.name.as_ref()))).collect()
        };
        Self {
            groups_before: groups(differ.before),
            groups_after: groups(differ.after),
            categories_before: categories(differ.before),
            categories_after: categories(differ.after),
        }
    }
}

fn what<'a>(differ: &Differ<'a>, item: &'a Item) -> What<'a> {
    What { entity: "item", id: &item.id, name: differ.called(item.name.as_ref()), group_id: "" }
}

fn changed<'a>(differ: &mut Differ<'a>, names: &AllNames<'a>, what: What<'_>, was: &'a Item, is: &'a Item) {
    differ.names(what, was.name.as_ref(), is.name.as_ref());
    differ.prices(what, was.price.as_ref(), is.price.as_ref());
    differ.availability(what, was.available, is.available);
    if was.tax_class_id != is.tax_class_id {
        let name = |catalog: &'a Catalog, id: &str, differ: &Differ<'a>| {
            let class = catalog.tax_classes.iter().find(|class| class.id == id);
            class.map_or("none", |class| differ.called(class.name.as_ref())).to_owned()
        };
        let (from, to) = (name(differ.before, &was.tax_class_id, differ), name(differ.after, &is.tax_class_id, differ));
        differ.tell(what, Kind::Changed, "tax_class_id", format!("tax class {from} → {to}"));
    }
    if was.modifier_group_ids != is.modifier_group_ids {
        let words = ["now asks", "no longer asks", "its questions come in another order"];
        let ids = (was.modifier_group_ids.as_slice(), is.modifier_group_ids.as_slice());
        references(differ, (what, "modifier_group_ids"), ids, (&names.groups_before, &names.groups_after), words);
    }
    if was.category_ids != is.category_ids {
        let words = ["now under", "no longer under", "its headings come in another order"];
        let ids = (was.category_ids.as_slice(), is.category_ids.as_slice());
        references(differ, (what, "category_ids"), ids, (&names.categories_before, &names.categories_after), words);
    }
    if was.service_modes != is.service_modes {
        let text = format!("sold for {} → {}", modes(is_modes(was)), modes(is_modes(is)));
        differ.tell(what, Kind::Changed, "service_modes", text);
    }
    if was.description != is.description {
        differ.tell(what, Kind::Changed, "description", "description changed".to_owned());
    }
    if was.sort_order != is.sort_order {
        differ.tell(what, Kind::Changed, "sort_order", "its place in the menu changed".to_owned());
    }
}

/// What a list of ids refers to that it did not, and the other way round.
fn references(
    differ: &mut Differ<'_>,
    (what, field): (What<'_>, &str),
    (was, is): (&[String], &[String]),
    (before, after): (&Names<'_>, &Names<'_>),
    [more, less, order]: [&str; 3],
) {
    let count = differ.count();
    for id in is.iter().filter(|id| !was.contains(id)) {
        let name = after.get(id.as_str()).copied().unwrap_or(id);
        differ.tell(what, Kind::Changed, field, format!("{more} {name}"));
    }
    for id in was.iter().filter(|id| !is.contains(id)) {
        let name = before.get(id.as_str()).copied().unwrap_or(id);
        differ.tell(what, Kind::Changed, field, format!("{less} {name}"));
    }
    if differ.count() == count {
        differ.tell(what, Kind::Changed, field, order.to_owned());
    }
}

fn is_modes(item: &Item) -> Vec<String> {
    item.service_modes().map(mode_words).collect()
}

fn modes(modes: Vec<String>) -> String {
    if modes.is_empty() { "everything".to_owned() } else { modes.join(" and ") }
}
