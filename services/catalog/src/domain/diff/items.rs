//! Items, and what is asked about them.

use std::collections::{HashMap, HashSet};

use posmesh_proto::{
    catalog::v1::{Catalog, CatalogChangeKind as Kind, Item},
    common::v1::LocalizedText,
};

use super::{Differ, What, details, mode_words};

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
type Named<'a> = (&'a String, Option<&'a LocalizedText>);

/// What items refer to, in both versions.
struct AllNames<'a> {
    groups: [Names<'a>; 2],
    categories: [Names<'a>; 2],
    stations: [Names<'a>; 2],
    courses: [Names<'a>; 2],
    periods: [Names<'a>; 2],
}

impl<'a> AllNames<'a> {
    fn new(differ: &Differ<'a>) -> Self {
        let both = |named: fn(&'a Catalog) -> Vec<Named<'a>>| {
            [differ.before, differ.after].map(|catalog| {
                named(catalog).into_iter().map(|(id, name)| (id.as_str(), differ.called(name))).collect()
            })
        };
        Self {
            groups: both(|catalog| catalog.modifier_groups.iter().map(|x| (&x.id, x.name.as_ref())).collect()),
            categories: both(|catalog| catalog.categories.iter().map(|x| (&x.id, x.name.as_ref())).collect()),
            stations: both(|catalog| catalog.stations.iter().map(|x| (&x.id, x.name.as_ref())).collect()),
            courses: both(|catalog| catalog.courses.iter().map(|x| (&x.id, x.name.as_ref())).collect()),
            periods: both(|catalog| catalog.menu_periods.iter().map(|x| (&x.id, x.name.as_ref())).collect()),
        }
    }
}

fn what<'a>(differ: &Differ<'a>, item: &'a Item) -> What<'a> {
    What { entity: "item", id: &item.id, name: differ.called(item.name.as_ref()), group_id: "" }
}

fn changed<'a>(differ: &mut Differ<'a>, names_of: &AllNames<'a>, what: What<'_>, was: &'a Item, is: &'a Item) {
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
        references(differ, (what, "modifier_group_ids"), ids, &names_of.groups, words);
    }
    if was.category_ids != is.category_ids {
        let words = ["now under", "no longer under", "its headings come in another order"];
        let ids = (was.category_ids.as_slice(), is.category_ids.as_slice());
        references(differ, (what, "category_ids"), ids, &names_of.categories, words);
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
    details_changed(differ, names_of, what, was, is);
}

fn details_changed<'a>(differ: &mut Differ<'a>, names_of: &AllNames<'a>, what: What<'_>, was: &'a Item, is: &'a Item) {
    if was.menu_period_ids != is.menu_period_ids {
        let names = |ids: &[String], of: &Names<'_>| match ids {
            [] => "always".to_owned(),
            ids => ids.iter().map(|id| of.get(id.as_str()).copied().unwrap_or(id)).collect::<Vec<_>>().join(", "),
        };
        let [before, after] = &names_of.periods;
        let text = format!("sold {} → {}", names(&was.menu_period_ids, before), names(&is.menu_period_ids, after));
        differ.tell(what, Kind::Changed, "menu_period_ids", text);
    }
    match is.remaining {
        remaining if remaining == was.remaining => {}
        Some(left) => differ.tell(what, Kind::Changed, "remaining", format!("{left} left")),
        None => differ.tell(what, Kind::Changed, "remaining", "no longer counted".to_owned()),
    }
    details::allergens(differ, what, was.allergens.as_ref(), is.allergens.as_ref());
    if was.station_ids != is.station_ids {
        let words = ["now made at", "no longer made at", "its stations come in another order"];
        let ids = (was.station_ids.as_slice(), is.station_ids.as_slice());
        references(differ, (what, "station_ids"), ids, &names_of.stations, words);
    }
    if was.course_id != is.course_id {
        let course = |id: &'a str, of: &Names<'a>| of.get(id).copied().unwrap_or(id);
        let [before, after] = &names_of.courses;
        let courses = (course(&was.course_id, before), course(&is.course_id, after));
        details::texts(differ, what, "course_id", "course", courses);
    }
    details::texts(differ, what, "code", "code", (&was.code, &is.code));
    details::texts(differ, what, "kana", "reading", (&was.kana, &is.kana));
    if was.images != is.images {
        differ.tell(what, Kind::Changed, "images", "pictures changed".to_owned());
    }
}

/// What a list of ids refers to that it did not, and the other way round.
fn references(
    differ: &mut Differ<'_>,
    (what, field): (What<'_>, &str),
    (was, is): (&[String], &[String]),
    [before, after]: &[Names<'_>; 2],
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
