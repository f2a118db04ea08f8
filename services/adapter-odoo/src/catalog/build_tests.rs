//! Records as Odoo 19 was seen to send them, and what a menu says of them.

#![allow(clippy::unwrap_used)]

use posmesh_proto::catalog::v1::MenuPeriod;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{catalog::records::Category, tax::Taxes};

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn with<T: DeserializeOwned>(mut value: Value, changes: Value) -> T {
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    read(value)
}

fn template(changes: Value) -> Template {
    with(
        json!({"id": 77, "name": "Bacon Burger", "type": "consu", "to_weight": false, "taxes_id": [1, 17],
               "pos_categ_ids": [9, 12], "combo_ids": [], "pos_sequence": 1, "self_order_available": true}),
        changes,
    )
}

fn variant(id: i64, template: i64, price: f64) -> Variant {
    read(json!({"id": id, "product_tmpl_id": [template, "x"], "lst_price": price,
                "default_code": false, "barcode": "490100", "product_template_variant_value_ids": [], "active": true}))
}

fn tax(id: i64, percent: f64) -> Value {
    tax_of_kind(id, percent, false)
}

fn tax_of_kind(id: i64, percent: f64, in_price: bool) -> Value {
    json!({"id": id, "name": format!("{percent}%"), "amount_type": "percent", "amount": percent,
           "price_include": in_price, "company_id": [1, "Acme"]})
}

fn settings() -> Settings {
    read(json!({"base_url": "http://pos", "database": "d", "pos_config": 4, "external_payment_method": "Card"}))
}

/// A restaurant with one burger; `changes` make it odd.
fn records(changes: impl FnOnce(&mut Records)) -> Records {
    let mut records = Records {
        sellable: vec![template(json!({}))],
        variants: vec![variant(161, 77, 15.5)],
        categories: vec![read(json!({"id": 9, "name": "Food", "parent_id": false, "sequence": 1,
                                     "hour_after": 0.0, "hour_until": 24.0}))],
        taxes: Taxes::new(read(json!([tax(1, 15.0), tax(2, 8.0)]))),
        payment_methods: read(
            json!([{"id": 2, "name": "Card", "type": "bank"}, {"id": 6, "name": "Cash", "type": "cash"},
                                     {"id": 3, "name": "Customer Account", "type": "pay_later"}]),
        ),
        ..Records::default()
    };
    changes(&mut records);
    let all = records.sellable.iter().map(|template| (template.id, template.clone()));
    records.templates.extend(all.collect::<Vec<_>>());
    records
}

/// The burger menu: two burgers to choose from, one of them taxed by `tax`.
fn burger_menu(tax: i64) -> Records {
    records(|records| {
        records
            .sellable
            .push(template(json!({"id": 101, "name": "Menu", "type": "combo", "taxes_id": [], "combo_ids": [6]})));
        records.templates.insert(78, template(json!({"id": 78, "name": "Cheese Burger", "taxes_id": [tax]})));
        records.variants.extend([variant(162, 78, 13.0), variant(185, 101, 10.0)]);
        records.combos.insert(
            6,
            read(json!({"id": 6, "name": "Burgers", "base_price": 13.0, "qty_free": 1, "qty_max": 3,
                                             "combo_item_ids": [14, 15]})),
        );
        for (id, product, extra) in [(14, 162, 0.0), (15, 161, 1.5)] {
            let item = json!({"id": id, "product_id": [product, "x"], "extra_price": extra});
            records.combo_items.insert(id, read(item));
        }
    })
}

fn menu(records: &Records) -> (Catalog, Vec<String>) {
    let names = Names::of(&[
        (Named::Template, 77, "en", "Bacon Burger"),
        (Named::Template, 78, "en", "Cheese Burger"),
        (Named::Combo, 6, "en", "Burgers"),
        (Named::Value, 5, "en", "Large"),
        (Named::Category, 9, "en", "Food"),
    ]);
    let mut warnings = Vec::new();
    let catalog = build(&crate::till::tests::till(), &settings(), records, &names, &mut warnings);
    (catalog, warnings)
}

#[test]
fn a_product_keeps_its_price_company_tax_and_published_categories() {
    let (catalog, warnings) = menu(&records(|_| {}));
    assert!(warnings.is_empty(), "{warnings:?}");
    let [burger] = catalog.items.as_slice() else { panic!("{:?}", catalog.items) };
    assert_eq!((burger.id.as_str(), burger.price.as_ref().unwrap().amount), ("161", 1550));
    assert_eq!(burger.category_ids, ["9"], "12 is not on this till");
    assert_eq!((burger.tax_class_id.as_str(), catalog.tax_classes[0].rates[0].rate_ppm), ("tax-1", 150_000));
    let kinds: Vec<TenderKind> = catalog.tenders.iter().map(Tender::kind).collect();
    assert_eq!(kinds, [TenderKind::External, TenderKind::Cash, TenderKind::Account]);
}

#[test]
fn what_cannot_be_told_exactly_is_left_out_and_named() {
    let leave_out = |why: &str, changes: &dyn Fn(&mut Records)| {
        let (catalog, warnings) = menu(&records(changes));
        assert!(catalog.items.is_empty(), "{why}");
        assert!(warnings.iter().any(|w| w.contains("Bacon Burger") && w.contains(why)), "{why}: {warnings:?}");
    };
    leave_out("by weight", &|r| r.sellable[0].to_weight = true);
    leave_out("several taxes", &|r| r.sellable[0].taxes_id = vec![1, 2]);
    leave_out("negative", &|r| r.variants[0].lst_price = -1.0);
    leave_out("more decimals", &|r| r.variants[0].lst_price = 1.005);
    leave_out("exclude each other", &|r| r.exclusions = [77].into());
    leave_out("no variant", &|r| r.variants.clear());
    leave_out("no percentage", &|r| {
        let fixed = json!({"id": 1, "name": "Bottle", "amount_type": "fixed", "amount": 0.1, "price_include": false,
                           "company_id": [1, "Acme"]});
        r.taxes = Taxes::new(vec![read(fixed)]);
    });
}

#[test]
fn variants_are_items_of_their_own_named_by_their_values() {
    let (catalog, _) = menu(&records(|records| {
        records.variants.push(read(json!({"id": 170, "product_tmpl_id": [77, "x"], "lst_price": 18.0,
                                          "default_code": " BBL ", "barcode": false,
                                          "product_template_variant_value_ids": [5], "active": true})));
    }));
    let names: Vec<&str> = catalog.items.iter().map(|item| item.name.as_ref().unwrap().texts["en"].as_str()).collect();
    assert_eq!(names, ["Bacon Burger", "Bacon Burger (Large)"]);
    let codes: Vec<&str> = catalog.items.iter().map(|item| item.code.as_str()).collect();
    assert_eq!(codes, ["490100", "BBL"], "the internal reference, else the barcode");
}

#[test]
fn a_combos_pieces_beyond_the_free_ones_are_a_group_with_the_base_price() {
    let (catalog, warnings) = menu(&burger_menu(1));
    assert!(warnings.is_empty(), "{warnings:?}");
    let combo = catalog.items.iter().find(|item| item.id == "185").unwrap();
    assert_eq!((combo.tax_class_id.as_str(), combo.modifier_group_ids.len()), ("tax-1", 2));
    let group = |id: &str| catalog.modifier_groups.iter().find(|group| group.id == id).unwrap();
    let prices = |id: &str| group(id).modifiers.iter().map(|m| m.price.as_ref().unwrap().amount).collect::<Vec<_>>();
    assert_eq!((group("combo-6").min_choices, group("combo-6").max_choices, prices("combo-6")), (1, 1, vec![0, 150]));
    let extra = group("combo-extra-6");
    assert_eq!((extra.min_choices, extra.max_choices, prices("combo-extra-6")), (0, 2, vec![1300, 1450]));
    let items: Vec<&str> = extra.modifiers.iter().map(|choice| choice.item_id.as_str()).collect();
    assert_eq!(items, ["", "161"], "the till sells the one only within combos");
}

fn category(id: i64, parent: Value, hours: (f64, f64)) -> Category {
    read(json!({"id": id, "name": format!("Category {id}"), "parent_id": parent, "sequence": id,
                "hour_after": hours.0, "hour_until": hours.1}))
}

#[test]
fn a_product_is_sold_while_one_of_its_categories_is_and_always_where_one_always_is() {
    let periods = |categories: &[(i64, (f64, f64))], of_template: &[i64]| {
        let (catalog, warnings) = menu(&records(|records| {
            records.categories = categories.iter().map(|&(id, hours)| category(id, json!(false), hours)).collect();
            records.sellable[0].pos_categ_ids = of_template.to_vec();
        }));
        assert!(warnings.is_empty(), "{warnings:?}");
        (catalog.items[0].menu_period_ids.clone(), catalog.menu_periods)
    };
    let (ids, all) = periods(&[(9, (11.5, 14.0)), (10, (17.0, 24.0))], &[9, 10]);
    assert_eq!(ids, ["category-9", "category-10"]);
    let hours = |period: &MenuPeriod| {
        assert_eq!(period.hours.iter().map(|hours| hours.weekday).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        (period.hours[0].open_minutes, period.hours[0].close_minutes)
    };
    assert_eq!(all.iter().map(hours).collect::<Vec<_>>(), [(690, 840), (1020, 1440)]);
    assert!(periods(&[(9, (11.5, 14.0)), (10, (0.0, 24.0))], &[9, 10]).0.is_empty());
    assert!(periods(&[(9, (11.5, 14.0))], &[]).0.is_empty());
    // As Odoo's own menu reads them: equal, or the wrong way round.
    assert!(periods(&[(9, (6.0, 6.0))], &[9]).0.is_empty() && periods(&[(9, (22.0, 0.0))], &[9]).0.is_empty());
}

#[test]
fn a_product_is_made_where_the_printer_of_its_category_or_of_one_above_stands() {
    let (catalog, _) = menu(&records(|records| {
        let whole_day = (0.0, 24.0);
        records.categories = vec![category(9, json!([11, "x"]), whole_day), category(11, json!([9, "x"]), whole_day)];
        records.printers = [(1, "Grill", 9), (2, "Hot", 11), (3, "Bar", 10)]
            .map(|(id, name, of)| read(json!({"id": id, "name": name, "product_categories_ids": [of]})))
            .to_vec();
    }));
    assert_eq!(catalog.items[0].station_ids, ["1", "2"]);
    let names: Vec<&str> = catalog.stations.iter().map(|x| x.name.as_ref().unwrap().texts["en"].as_str()).collect();
    assert_eq!(names, ["Grill", "Hot", "Bar"]);
}

#[test]
fn a_combo_of_differently_taxed_parts_is_left_out_and_named() {
    let (catalog, warnings) = menu(&burger_menu(2));
    assert!(catalog.items.iter().all(|item| item.id != "185"));
    assert!(warnings.iter().any(|w| w.contains("Menu") && w.contains("different taxes")), "{warnings:?}");
}

#[test]
fn a_choice_of_the_guests_own_words_is_left_out_and_the_first_one_is_the_default() {
    let (catalog, warnings) = menu(&records(|records| {
        let value = |id: i64, name: &str, custom: bool| {
            read(json!({"id": id, "name": name, "price_extra": 0.5, "is_custom": custom, "ptav_active": true}))
        };
        records.values =
            [(78, value(78, "As you say", true)), (79, value(79, "Fries", false)), (80, value(80, "Salad", false))]
                .into();
        records.add_attribute(
            json!({"id": 13, "display_type": "pills", "create_variant": "no_variant"}),
            json!({"id": 18, "product_tmpl_id": [77, "x"], "attribute_id": [13, "Sides"], "sequence": 1,
                   "product_template_value_ids": [78, 79, 80]}),
        );
    }));
    assert!(warnings.iter().any(|w| w.contains("As you say")), "{warnings:?}");
    let group = &catalog.modifier_groups[0];
    assert_eq!((group.id.as_str(), group.min_choices, group.max_choices), ("attribute-18", 1, 1));
    let defaults: Vec<bool> = group.modifiers.iter().map(|m| m.selected_by_default).collect();
    assert_eq!(defaults, [true, false]);
}

/// Names of what is left on the menu of products 77, 78, …, each with a tax of its own.
fn sold_with(taxes: &[(f64, bool)]) -> (Vec<String>, Vec<String>) {
    let (catalog, warnings) = menu(&records(|records| {
        let all = (1..).zip(taxes).map(|(id, (percent, in_price))| tax_of_kind(id, *percent, *in_price));
        records.taxes = Taxes::new(read(all.collect()));
        let products = (77..).zip(1..).take(taxes.len());
        (records.sellable, records.variants) = products
            .map(|(id, tax)| (template(json!({"id": id, "taxes_id": [tax]})), variant(id + 100, id, 1.0)))
            .unzip();
    }));
    (catalog.items.into_iter().map(|item| item.id).collect(), warnings)
}

#[test]
fn taxes_of_one_rate_are_told_apart_as_odoo_rounds_each_by_itself() {
    let (catalog, warnings) = menu(&records(|records| {
        records.taxes = Taxes::new(read(json!([tax(1, 20.0), tax(2, 20.0)])));
        records.sellable.push(template(json!({"id": 78, "name": "Service", "taxes_id": [2]})));
        records.variants.push(variant(162, 78, 5.0));
    }));
    assert!(warnings.is_empty(), "{warnings:?}");
    let taxes: Vec<_> = catalog.tax_classes.iter().map(|class| class.rates[0].tax_id.as_str()).collect();
    assert_eq!(taxes, ["1", "2"]);
}

#[test]
fn prices_that_odoo_rounds_otherwise_on_one_receipt_are_not_sold_together() {
    // 8 % and 10 % in the price: with a tax on top, Odoo rounds what is left of both as one.
    let (sold, warnings) = sold_with(&[(8.0, true), (10.0, true), (10.0, false)]);
    assert_eq!(sold, ["177", "178"]);
    assert!(warnings.iter().any(|w| w.contains("in the price and others on top")), "{warnings:?}");
    let (sold, _) = sold_with(&[(8.0, false), (10.0, false), (20.0, true)]);
    assert_eq!(sold, ["177", "178"], "3 cents with 20 % hold half a cent of tax");
    // One tax that never ends in a half, or none on top: nothing differs.
    for harmless in [&[(10.0, true), (8.875, false)][..], &[(8.0, true), (10.0, true), (20.0, true)]] {
        let (sold, warnings) = sold_with(harmless);
        assert!(sold.len() == harmless.len() && warnings.is_empty(), "{warnings:?}");
    }
}
