//! When and where things are made: a category's hours, and the kitchen's printers.

use posmesh_proto::{
    catalog::v1::{MenuPeriod, Station},
    store::v1::OpeningHours,
};

use super::{
    names::{Named, Names},
    records::{Category, Records, Template},
};

/// Prefix of the periods that stand for a category's hours; the category's id follows.
const CATEGORY_PERIOD: &str = "category-";

/// The hours of those categories that have any, every day alike and named as the category.
pub(super) fn menu_periods(records: &Records, names: &Names) -> Vec<MenuPeriod> {
    let period = |category: &Category| {
        let (open_minutes, close_minutes) = category.hours()?;
        let hours = (1..=7).map(|weekday| OpeningHours { weekday, open_minutes, close_minutes });
        Some(MenuPeriod {
            id: period_id(category),
            name: names.text(Named::Category, category.id),
            hours: hours.collect(),
        })
    };
    records.categories.iter().filter_map(period).collect()
}

fn period_id(category: &Category) -> String {
    format!("{CATEGORY_PERIOD}{}", category.id)
}

/// As Odoo's own menu for guests: a product can be ordered while one of its categories can; what stands above a category
/// says nothing.
pub(super) fn menu_period_ids(records: &Records, template: &Template) -> Vec<String> {
    let categories = records.categories.iter().filter(|category| template.pos_categ_ids.contains(&category.id));
    let hours: Option<Vec<String>> = categories.map(|c| c.hours().map(|_| period_id(c))).collect();
    // One that is always there, or none at all.
    hours.unwrap_or_default()
}

/// The kitchen's printers.
pub(super) fn stations(records: &Records, names: &Names) -> Vec<Station> {
    let printers = records.printers.iter();
    printers.map(|printer| Station { id: printer.id.to_string(), name: Some(names.plain(&printer.name)) }).collect()
}

/// The printers that print a product: those of its categories, and of the categories above these.
pub(super) fn station_ids(records: &Records, template: &Template) -> Vec<String> {
    let mut of_template = template.pos_categ_ids.clone();
    let mut next = 0;
    // Each once, so that a circle ends.
    while let Some(id) = of_template.get(next).copied() {
        let category = records.categories.iter().find(|category| category.id == id);
        let parent = category.and_then(Category::parent).filter(|parent| !of_template.contains(parent));
        of_template.extend(parent);
        next += 1;
    }
    let prints = |ids: &[i64]| ids.iter().any(|id| of_template.contains(id));
    let printers = records.printers.iter().filter(|printer| prints(&printer.product_categories_ids));
    printers.map(|printer| printer.id.to_string()).collect()
}
