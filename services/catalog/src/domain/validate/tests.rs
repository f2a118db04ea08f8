#![allow(clippy::unwrap_used)]

use posmesh_proto::catalog::v1::{TaxRate, TaxRounding};

use super::*;
use crate::domain::fixture::{self, catalog, group, modifier, store, text, yen};

fn problems(change: impl FnOnce(&mut Catalog)) -> Vec<CatalogProblem> {
    let mut catalog = catalog();
    change(&mut catalog);
    validate(&catalog, &store())
}

/// The one problem that the change makes: reason, entity, id and field.
fn one(change: impl FnOnce(&mut Catalog)) -> (String, String, String, String) {
    let found = problems(change);
    assert_eq!(found.len(), 1, "{found:#?}");
    let problem = found.into_iter().next().unwrap();
    assert!(!problem.message.is_empty());
    (problem.reason, problem.entity, problem.entity_id, problem.field)
}

fn is(found: (String, String, String, String), expected: [&str; 4]) {
    let (reason, entity, id, field) = found;
    assert_eq!([reason, entity, id, field], expected.map(str::to_owned));
}

#[test]
fn right_data_has_no_problem() {
    assert_eq!(problems(|_| {}), []);
}

#[test]
fn a_problem_tells_the_thing_by_its_name_in_the_stores_language() {
    let found = problems(|c| c.items[1].price = yen(-380));
    assert_eq!(
        found,
        [CatalogProblem {
            reason: "NEGATIVE_PRICE".to_owned(),
            entity: "item".to_owned(),
            entity_id: "yakitori".to_owned(),
            entity_name: "焼き鳥".to_owned(),
            field: "price".to_owned(),
            message: "the price is -380; it must not be negative".to_owned(),
        }]
    );
}

#[test]
fn a_reference_to_what_the_pos_did_not_send_is_dangling() {
    is(one(|c| c.items[0].tax_class_id = "gone".into()), ["DANGLING_REFERENCE", "item", "beer", "tax_class_id"]);
    is(one(|c| c.items[0].tax_class_id.clear()), ["DANGLING_REFERENCE", "item", "beer", "tax_class_id"]);
    is(one(|c| c.items[0].category_ids.push("x".into())), ["DANGLING_REFERENCE", "item", "beer", "category_ids"]);
    is(
        one(|c| c.items[0].modifier_group_ids.push("x".into())),
        ["DANGLING_REFERENCE", "item", "beer", "modifier_group_ids"],
    );
    is(
        one(|c| c.modifier_groups[2].modifiers[0].modifier_group_ids.push("x".into())),
        ["DANGLING_REFERENCE", "modifier", "salt", "modifier_group_ids"],
    );
    is(
        one(|c| c.categories[0].parent_category_id = "x".into()),
        ["DANGLING_REFERENCE", "category", "drinks", "parent_category_id"],
    );
    is(one(|c| c.tables[0].area_id = "x".into()), ["DANGLING_REFERENCE", "table", "t1", "area_id"]);
}

#[test]
fn a_price_that_is_missing_absurd_or_in_other_money_is_refused() {
    is(one(|c| c.items[0].price = None), ["PRICE_MISSING", "item", "beer", "price"]);
    is(one(|c| c.items[0].price = yen(i64::MIN)), ["NEGATIVE_PRICE", "item", "beer", "price"]);
    is(one(|c| c.items[0].price = yen(i64::MAX)), ["PRICE_OUT_OF_RANGE", "item", "beer", "price"]);
    is(
        one(|c| c.modifier_groups[2].modifiers[0].price = yen(i64::MIN)),
        ["PRICE_OUT_OF_RANGE", "modifier", "salt", "price"],
    );
    is(
        one(|c| c.items[0].price.as_mut().unwrap().currency_code = "USD".into()),
        ["CURRENCY_MISMATCH", "item", "beer", "price"],
    );
    is(one(|c| c.currency_code = "EUR".into()), ["CURRENCY_MISMATCH", "catalog", "", "currency_code"]);
}

#[test]
fn a_free_and_a_cheaper_choice_are_fine() {
    let found = problems(|c| {
        c.modifier_groups[2].modifiers[0].price = None;
        c.modifier_groups[2].modifiers[1].price = yen(-50);
    });
    assert_eq!(found, []);
}

#[test]
fn two_things_with_one_id_are_refused() {
    is(one(|c| c.items.push(c.items[0].clone())), ["DUPLICATE_ID", "item", "beer", "id"]);
    is(one(|c| c.tables.push(c.tables[0].clone())), ["DUPLICATE_ID", "table", "t1", "id"]);
    is(one(|c| c.tax_classes.push(c.tax_classes[0].clone())), ["DUPLICATE_ID", "tax_class", "drink", "id"]);
    is(
        one(|c| {
            let twice = c.modifier_groups[2].modifiers[0].clone();
            c.modifier_groups[2].modifiers.push(twice);
        }),
        ["DUPLICATE_ID", "modifier_group", "sauce", "modifiers"],
    );
    is(
        one(|c| c.items[1].modifier_group_ids.push("sauce".into())),
        ["DUPLICATE_REFERENCE", "item", "yakitori", "modifier_group_ids"],
    );
}

#[test]
fn an_id_that_is_empty_too_long_or_holds_nul_is_refused() {
    for bad in [String::new(), "x".repeat(129), "b\0".to_owned()] {
        let found = one(|c| c.items[0].id.clone_from(&bad));
        is(found, ["ID_INVALID", "item", &bad.chars().take(128).collect::<String>(), "id"]);
    }
    let found = one(|c| c.modifier_groups[2].modifiers[0].id.clear());
    is(found, ["ID_INVALID", "modifier", "", "id"]);
}

#[test]
fn choices_that_cannot_be_made_are_refused() {
    let sauce =
        |min, max| one(move |c| (c.modifier_groups[2].min_choices, c.modifier_groups[2].max_choices) = (min, max));
    is(sauce(2, 1), ["CHOICES_OUT_OF_RANGE", "modifier_group", "sauce", "min_choices"]);
    is(sauce(-1, 1), ["CHOICES_OUT_OF_RANGE", "modifier_group", "sauce", "min_choices"]);
    is(sauce(0, 1_000), ["CHOICES_OUT_OF_RANGE", "modifier_group", "sauce", "min_choices"]);
    is(sauce(3, 3), ["TOO_FEW_CHOICES", "modifier_group", "sauce", "modifiers"]);
    is(
        one(|c| c.modifier_groups[2].modifiers[0].max_quantity = 0),
        ["CHOICES_OUT_OF_RANGE", "modifier", "salt", "max_quantity"],
    );
    // Sold out is no fault of the data.
    assert_eq!(problems(|c| c.modifier_groups[2].modifiers.iter_mut().for_each(|m| m.available = false)), []);
}

#[test]
fn groups_that_lead_back_to_themselves_are_refused() {
    let found = problems(|c| c.modifier_groups[1].modifiers[0].modifier_group_ids.push("extra".into()));
    let ids: Vec<_> = found.iter().map(|p| (p.reason.as_str(), p.entity_id.as_str())).collect();
    assert_eq!(ids, [("CIRCULAR_REFERENCE", "extra"), ("CIRCULAR_REFERENCE", "rice")]);
    is(
        one(|c| c.categories[1].parent_category_id = "food".into()),
        ["CIRCULAR_REFERENCE", "category", "food", "parent_category_id"],
    );
}

#[test]
fn groups_may_nest_eight_deep_and_no_deeper() {
    let chain = |length: usize| {
        problems(|c| {
            for level in 1..=length {
                let below = format!("level {}", level + 1);
                let groups: &[&str] = if level == length { &[] } else { &[&below] };
                c.modifier_groups.push(group(&format!("level {level}"), 0, 1, vec![modifier("m", "m", 0, groups)]));
            }
        })
    };
    assert_eq!(chain(8), []);
    let found = chain(9);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].reason.as_str(), found[0].entity_id.as_str()), ("NESTING_TOO_DEEP", "level 1"));
}

#[test]
fn tax_that_cannot_be_told_for_every_service_mode_is_refused() {
    let rate = |service_mode: ServiceMode, rate_ppm| TaxRate { service_mode: service_mode.into(), rate_ppm };
    is(one(|c| c.tax_rounding = None), ["TAX_ROUNDING_MISSING", "catalog", "", "tax_rounding"]);
    is(
        one(|c| c.tax_rounding = Some(TaxRounding { scope: 1, direction: 9 })),
        ["TAX_ROUNDING_MISSING", "catalog", "", "tax_rounding"],
    );
    is(one(|c| c.tax_classes[0].rates.truncate(1)), ["TAX_RATE_MISSING", "tax_class", "drink", "rates"]);
    for wrong in [-1, 1_000_001] {
        let found = one(|c| c.tax_classes[0].rates[0].rate_ppm = wrong);
        is(found, ["TAX_RATE_OUT_OF_RANGE", "tax_class", "drink", "rates"]);
    }
    is(
        one(|c| c.tax_classes[0].rates.push(rate(ServiceMode::DineIn, 50_000))),
        ["DUPLICATE_TAX_RATE", "tax_class", "drink", "rates"],
    );
    assert_eq!(problems(|c| c.tax_classes[0].rates = vec![rate(ServiceMode::Unspecified, 0)]), []);
}

#[test]
fn service_modes_of_an_item_are_known_and_named_once() {
    let modes = |modes: &[i32]| problems(|c| c.items[0].service_modes = modes.to_vec());
    for unknown in [0, 9, -1] {
        let found = one(|c| c.items[0].service_modes = vec![ServiceMode::DineIn.into(), unknown]);
        is(found, ["SERVICE_MODE_UNKNOWN", "item", "beer", "service_modes"]);
    }
    is(
        one(|c| c.items[0].service_modes = vec![ServiceMode::DineIn.into(); 2]),
        ["DUPLICATE_SERVICE_MODE", "item", "beer", "service_modes"],
    );
    assert_eq!(modes(&[ServiceMode::Takeaway.into(), ServiceMode::DineIn.into()]), []);
}

#[test]
fn a_name_that_is_missing_or_no_text_is_refused() {
    is(one(|c| c.items[0].name = None), ["NAME_MISSING", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("ja", " ")])), ["NAME_MISSING", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("ja", "ビ\0ル")])), ["TEXT_INVALID", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("ja", &"酒".repeat(501))])), ["TEXT_TOO_LONG", "item", "beer", "name"]);
    is(one(|c| c.items[0].name = text(&[("日本", "酒")])), ["LOCALE_INVALID", "item", "beer", "name"]);
    is(
        one(|c| c.items[0].description = text(&[("ja", "冷\u{7}たい")])),
        ["TEXT_INVALID", "item", "beer", "description"],
    );
    is(one(|c| c.tables[0].name.clear()), ["NAME_MISSING", "table", "t1", "name"]);
    is(one(|c| c.tables[0].seats = -1), ["SEATS_OUT_OF_RANGE", "table", "t1", "seats"]);
    assert_eq!(problems(|c| c.items[0].description = text(&[("ja", "冷たい\n生ビール")])), []);
}

#[test]
fn more_items_than_a_catalog_takes_are_refused_without_looking_at_them() {
    is(
        one(|c| c.items = vec![fixture::item("same", "x", "x", -1, "", &[], &[]); MAX_ITEMS + 1]),
        ["TOO_MANY_ITEMS", "catalog", "", "items"],
    );
}

#[test]
fn a_report_of_very_many_problems_is_cut_and_says_so() {
    let found = problems(|c| {
        c.items = (0..1_000).map(|i| fixture::item(&format!("i{i}"), "x", "x", -1, "food", &[], &[])).collect();
    });
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    let last = found.last().unwrap();
    assert_eq!((last.reason.as_str(), last.message.starts_with("800 more")), ("MORE_PROBLEMS", true));
}
