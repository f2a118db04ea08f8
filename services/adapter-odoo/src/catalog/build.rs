//! Records to catalog: pure.

use std::collections::{HashMap, HashSet};

use posmesh_proto::catalog::v1::{
    Area, Catalog, Category, Item, Table, TaxRounding, TaxRoundingDirection, TaxRoundingScope, Tender, TenderKind,
};

use crate::{settings::Settings, tax::RoundingScope, till::Till};

use super::{
    modifiers::Groups,
    names::{Named, Names},
    records::{PaymentMethod, Records, Template, Variant},
    tax_classes::TaxClasses,
    times,
};

/// Everything that the till sells. What cannot be told is left out and named in `warnings`.
pub(super) fn build(
    till: &Till,
    settings: &Settings,
    records: &Records,
    names: &Names,
    warnings: &mut Vec<String>,
) -> Catalog {
    let mut builder = Builder {
        till,
        records,
        names,
        classes: TaxClasses::new(&records.taxes, &records.here, &records.away, names),
        groups: Groups::new(till, records, names),
        category_ids: records.categories.iter().map(|category| category.id).collect(),
        items: Vec::new(),
    };
    for template in &records.sellable {
        builder.template(template, warnings);
    }
    if till.rounding == RoundingScope::Rate {
        builder.keep_to_one_kind_of_prices(warnings);
    }
    let Builder { classes, mut groups, items, category_ids, .. } = builder;
    // Parts of combos that the till does not sell by themselves are no items.
    let sold: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
    let choices = groups.groups.values_mut().flat_map(|group| &mut group.modifiers);
    choices.filter(|choice| !sold.contains(choice.item_id.as_str())).for_each(|choice| choice.item_id.clear());
    if till.config.cash_rounding {
        warnings.push(format!("till {:?} rounds cash totals; the menu shows them unrounded", till.config.name));
    }
    let scope = match till.rounding {
        RoundingScope::Rate => TaxRoundingScope::Rate,
        RoundingScope::Line => TaxRoundingScope::Line,
    };
    Catalog {
        currency_code: till.currency_code.clone(),
        tax_rounding: Some(TaxRounding { scope: scope.into(), direction: TaxRoundingDirection::HalfUp.into() }),
        categories: categories(records, names, &category_ids),
        tax_classes: classes.into_classes(),
        items,
        modifier_groups: groups.groups.into_values().collect(),
        areas: areas(records, names),
        tables: tables(records),
        menu_periods: times::menu_periods(records, names),
        stations: times::stations(records, names),
        tenders: records.payment_methods.iter().map(|method| tender(method, settings, names)).collect(),
        ..Catalog::default()
    }
}

struct Builder<'a> {
    till: &'a Till,
    records: &'a Records,
    names: &'a Names,
    classes: TaxClasses<'a>,
    groups: Groups<'a>,
    category_ids: HashSet<i64>,
    items: Vec<Item>,
}

impl Builder<'_> {
    fn template(&mut self, template: &Template, warnings: &mut Vec<String>) {
        let records = self.records;
        let variants: Vec<&Variant> =
            records.variants.iter().filter(|v| v.active && v.template_id() == template.id).collect();
        if variants.is_empty() {
            warnings.push(format!(
                "product {:?}: left out, it has no variant yet; sell it once at the till",
                template.name
            ));
        }
        for variant in variants {
            match self.item(template, variant, warnings) {
                Ok(item) => self.items.push(item),
                Err(why) => warnings.push(format!("product {:?}: left out, {why}", template.name)),
            }
        }
    }

    /// Leaves out what Odoo would round otherwise than the platform on a receipt with the rest.
    fn keep_to_one_kind_of_prices(&mut self, warnings: &mut Vec<String>) {
        let unmixable = self.classes.unmixable(self.items.iter().map(|item| &item.tax_class_id));
        let names: HashMap<String, &str> = self
            .records
            .variants
            .iter()
            .filter_map(|v| Some((v.id.to_string(), self.records.templates.get(&v.template_id())?.name.as_str())))
            .collect();
        for item in self.items.extract_if(.., |item| unmixable.contains(&item.tax_class_id)) {
            warnings.push(format!(
                "product {:?}: left out, some products have their tax in the price and others on top of it, and Odoo \
                 rounds a receipt with both to another total; have it one way for all, or let Odoo round per line",
                names.get(&item.id).copied().unwrap_or_default()
            ));
        }
    }

    fn item(&mut self, template: &Template, variant: &Variant, warnings: &mut Vec<String>) -> Result<Item, String> {
        if template.to_weight {
            return Err("it is sold by weight".to_owned());
        }
        let price = self.records.prices.price(variant);
        let price = self.till.to_minor(price).ok_or_else(|| self.groups.too_fine(price))?;
        if price < 0 {
            return Err("its price is negative".to_owned());
        }
        let (tax_class_id, modifier_group_ids) = if template.is_combo() {
            let per_line = self.till.rounding == RoundingScope::Line;
            let combo = self.groups.of_combo(template, price, per_line, &mut self.classes, warnings)?;
            (combo.tax_class_id, combo.group_ids)
        } else {
            (self.classes.class_of(&template.taxes_id)?, self.groups.of_template(template, warnings)?)
        };
        let values = &variant.product_template_variant_value_ids;
        let category_ids = template.pos_categ_ids.iter().filter(|id| self.category_ids.contains(id));
        Ok(Item {
            id: variant.id.to_string(),
            name: self.names.with_values(Named::Template, template.id, values),
            description: self.names.text(Named::Description, template.id),
            category_ids: category_ids.map(ToString::to_string).collect(),
            price: Some(self.till.money(price)),
            tax_class_id,
            modifier_group_ids,
            available: template.self_order_available,
            sort_order: i32::try_from(self.items.len()).unwrap_or(i32::MAX),
            code: variant.code().to_owned(),
            station_ids: times::station_ids(self.records, template),
            menu_period_ids: times::menu_period_ids(self.records, template),
            ..Item::default()
        })
    }
}

fn categories(records: &Records, names: &Names, published: &HashSet<i64>) -> Vec<Category> {
    let parent = |id: i64| published.contains(&id).then(|| id.to_string());
    let category = |category: &super::records::Category| Category {
        id: category.id.to_string(),
        name: names.text(Named::Category, category.id),
        parent_category_id: category.parent().and_then(parent).unwrap_or_default(),
        sort_order: category.sequence,
        ..Category::default()
    };
    records.categories.iter().map(category).collect()
}

fn areas(records: &Records, names: &Names) -> Vec<Area> {
    records.floors.iter().map(|floor| Area { id: floor.id.to_string(), name: Some(names.plain(&floor.name)) }).collect()
}

fn tables(records: &Records) -> Vec<Table> {
    let table = |table: &super::records::Table| Table {
        id: table.id.to_string(),
        name: table.table_number.to_string(),
        area_id: table.floor_id.as_ref().map(|link| link.0.to_string()).unwrap_or_default(),
        seats: table.seats.max(0),
    };
    records.tables.iter().map(table).collect()
}

fn tender(method: &PaymentMethod, settings: &Settings, names: &Names) -> Tender {
    let external = settings.external_payment_method.as_ref();
    let kind = match method.kind.as_str() {
        "pay_later" => TenderKind::Account,
        _ if external.is_some_and(|wanted| wanted.is(method.id, &method.name)) => TenderKind::External,
        "cash" => TenderKind::Cash,
        "bank" => TenderKind::Card,
        _ => TenderKind::Unspecified,
    };
    Tender { id: method.id.to_string(), name: names.text(Named::PaymentMethod, method.id), kind: kind.into() }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
