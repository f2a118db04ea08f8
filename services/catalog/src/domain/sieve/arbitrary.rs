//! Whatever a POS sends, the sieve neither panics nor lets through what breaks a rule.

use std::{collections::HashSet, sync::Arc};

use posmesh_pricing::{CatalogIndex, MAX_DEPTH, MAX_UNIT_PRICE, localized};
use posmesh_proto::{
    catalog::v1::{
        Area, Catalog, Category, Item, Modifier, ModifierGroup, Table, TaxClass, TaxRate, TaxRounding, Tender,
    },
    common::v1::{LocalizedText, Money, Product, ServiceMode},
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{Sieved, sieve};
use crate::domain::{Assembly, Content, Question, fixture::store, resolve_menu};

/// From so few that things meet: as ids and as references.
fn id() -> impl Strategy<Value = String> {
    let odd = vec!["".to_owned(), "x\0".to_owned(), "長".repeat(129)];
    prop_oneof![20 => select(vec!["a", "b", "c", "d", "e"]).prop_map(str::to_owned), 1 => select(odd)]
}

fn ids() -> impl Strategy<Value = Vec<String>> {
    vec(id(), 0..3)
}

fn text() -> impl Strategy<Value = Option<LocalizedText>> {
    let named = |tag: &str, name: String| Some(LocalizedText { texts: [(tag.to_owned(), name)].into() });
    prop_oneof![
        15 => Just(named("ja", "茶".to_owned())),
        1 => Just(None),
        1 => ("\\PC{0,3}|ja", any::<String>()).prop_map(move |(tag, name)| named(&tag, name)),
    ]
}

fn price() -> impl Strategy<Value = Option<Money>> {
    let yen = |amount| Some(Money { currency_code: "JPY".to_owned(), amount });
    prop_oneof![
        15 => (0_i64..2000).prop_map(yen),
        1 => any::<i64>().prop_map(yen),
        1 => Just(None),
        1 => Just(Some(Money { currency_code: "USD".to_owned(), amount: 1 })),
    ]
}

fn count() -> impl Strategy<Value = i32> {
    prop_oneof![10 => 0..3_i32, 1 => any::<i32>()]
}

prop_compose! {
    fn tax_class()(id in id(), name in text(), included in any::<bool>(), odd in 0..40_i32, rate in any::<i32>()) -> TaxClass {
        let rate_ppm = if odd == 0 { rate } else { 100_000 };
        TaxClass { id, name, included_in_price: included, rates: vec![TaxRate { service_mode: i32::from(odd == 1), rate_ppm, ..TaxRate::default() }] }
    }
}

prop_compose! {
    fn category()(id in id(), name in text(), parent in prop_oneof![Just(String::new()), id()]) -> Category {
        Category { id, name, parent_category_id: parent, sort_order: 0 }
    }
}

prop_compose! {
    fn item()(
        id in id(),
        (name, description) in (text(), text()),
        price in price(),
        category_ids in ids(),
        tax_class_id in id(),
        modifier_group_ids in ids(),
        available in any::<bool>(),
        service_modes in vec(0..4_i32, 0..3),
    ) -> Item {
        Item { id, name, description, category_ids, price, tax_class_id, modifier_group_ids, available, service_modes, ..Default::default() }
    }
}

prop_compose! {
    fn modifier()(
        id in id(),
        name in text(),
        price in price(),
        max_quantity in count(),
        modifier_group_ids in ids(),
        available in any::<bool>(),
    ) -> Modifier {
        Modifier { id, name, price, available, max_quantity, modifier_group_ids, ..Default::default() }
    }
}

prop_compose! {
    fn group()(id in id(), name in text(), (min, max) in (count(), count()), modifiers in vec(modifier(), 0..4)) -> ModifierGroup {
        ModifierGroup { id, name, min_choices: min, max_choices: max, modifiers }
    }
}

prop_compose! {
    fn catalog()(
        rounding in prop_oneof![20 => Just((1, 1)), 1 => (0..4_i32, 0..5_i32)],
        currency in prop_oneof![20 => Just("JPY"), 1 => Just("")],
        tax_classes in vec(tax_class(), 1..4),
        categories in vec(category(), 0..5),
        items in vec(item(), 0..8),
        modifier_groups in vec(group(), 0..6),
        areas in vec((id(), text()), 0..3),
        tables in vec((id(), "[0-9]?", id(), count()), 0..4),
        tenders in vec((id(), text(), 0..9_i32), 0..3),
    ) -> Catalog {
        Catalog {
            currency_code: currency.to_owned(),
            tax_rounding: Some(TaxRounding { scope: rounding.0, direction: rounding.1 }),
            tax_classes,
            categories,
            items,
            modifier_groups,
            areas: areas.into_iter().map(|(id, name)| Area { id, name }).collect(),
            tables: tables.into_iter().map(|(id, name, area_id, seats)| Table { id, name, area_id, seats }).collect(),
            tenders: tenders.into_iter().map(|(id, name, kind)| Tender { id, name, kind }).collect(),
            ..Default::default()
        }
    }
}

/// Catalogs as they are published.
pub(in crate::domain) fn sound() -> impl Strategy<Value = Catalog> {
    let publish = |catalog| {
        let mut assembly = Assembly::new(usize::MAX);
        assembly.add(catalog).unwrap();
        sieve(assembly.finish("shibuya"), &store()).ok().map(|sieved| sieved.catalog)
    };
    catalog().prop_filter_map("refused", publish)
}

fn unique<'a>(ids: impl Iterator<Item = &'a String>) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for id in ids {
        assert!(!id.is_empty() && seen.insert(id.as_str()), "{id:?}");
    }
    seen
}

fn is_named(name: Option<&LocalizedText>) {
    assert!(!localized(name, &store().locales).trim().is_empty());
}

/// The rules, written down a second time.
fn breaks_no_rule(catalog: &Catalog) {
    assert_eq!(catalog.currency_code, "JPY");
    let classes = unique(catalog.tax_classes.iter().map(|x| &x.id));
    let categories = unique(catalog.categories.iter().map(|x| &x.id));
    let groups = unique(catalog.modifier_groups.iter().map(|x| &x.id));
    let areas = unique(catalog.areas.iter().map(|x| &x.id));
    unique(catalog.items.iter().map(|x| &x.id));
    unique(catalog.tables.iter().map(|x| &x.id));
    unique(catalog.tenders.iter().map(|x| &x.id));
    let in_range = |price: &Money| {
        assert!(price.currency_code == "JPY" && price.amount.abs() <= MAX_UNIT_PRICE, "{price:?}");
    };
    let asks = |ids: &[String]| {
        assert!(unique(ids.iter()).iter().all(|id| groups.contains(id)), "{ids:?}");
    };
    for item in &catalog.items {
        is_named(item.name.as_ref());
        in_range(item.price.as_ref().unwrap());
        assert!(item.price.as_ref().unwrap().amount >= 0);
        assert!(classes.contains(item.tax_class_id.as_str()));
        assert!(item.category_ids.iter().all(|id| categories.contains(id.as_str())));
        assert!(item.service_modes.iter().all(|mode| [1, 2].contains(mode)), "{:?}", item.service_modes);
        asks(&item.modifier_group_ids);
    }
    for group in &catalog.modifier_groups {
        is_named(group.name.as_ref());
        assert!(0 <= group.min_choices && group.min_choices <= group.max_choices && group.max_choices <= 999);
        let offered: i64 = group.modifiers.iter().map(|modifier| i64::from(modifier.max_quantity)).sum();
        assert!(offered >= i64::from(group.min_choices));
        unique(group.modifiers.iter().map(|x| &x.id));
        for modifier in &group.modifiers {
            is_named(modifier.name.as_ref());
            modifier.price.iter().for_each(in_range);
            assert!((1..=999).contains(&modifier.max_quantity));
            asks(&modifier.modifier_group_ids);
        }
        // Ends: no way down is longer than the deepest that is allowed.
        let mut level: HashSet<&str> = [group.id.as_str()].into();
        for _ in 0..MAX_DEPTH {
            let of_level = catalog.modifier_groups.iter().filter(|group| level.contains(group.id.as_str()));
            let below = of_level.flat_map(|group| &group.modifiers).flat_map(|choice| &choice.modifier_group_ids);
            level = below.map(String::as_str).collect();
        }
        assert!(level.is_empty(), "{level:?}");
    }
    for category in &catalog.categories {
        let mut above = category;
        for _ in 0..catalog.categories.len() {
            let parent = catalog.categories.iter().find(|parent| parent.id == above.parent_category_id);
            assert!(parent.is_some() || above.parent_category_id.is_empty(), "{above:?}");
            let Some(parent) = parent else { break };
            above = parent;
        }
        assert_eq!(above.parent_category_id, "", "a circle");
    }
    let has_area = |table: &Table| table.area_id.is_empty() || areas.contains(table.area_id.as_str());
    assert!(catalog.tables.iter().all(|table| has_area(table) && table.seats >= 0 && !table.name.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_let_through_breaks_no_rule_and_everything_else_is_told(catalog in catalog()) {
        let sent = catalog.items.len();
        match sieve(catalog.clone(), &store()) {
            Err(problems) => prop_assert!(!problems.is_empty() && problems.iter().all(|p| !p.message.is_empty())),
            Ok(Sieved { catalog: left, problems, left_out }) => {
                breaks_no_rule(&left);
                prop_assert!(left.items.len() + left_out.items as usize <= sent);
                prop_assert_eq!(problems.is_empty(), left == catalog, "{:?}", problems);
                for item in catalog.items.iter().filter(|item| left.items.iter().all(|kept| kept.id != item.id)) {
                    let told = |p: &posmesh_proto::catalog::v1::CatalogProblem| item.id.starts_with(&p.entity_id);
                    prop_assert!(problems.iter().any(|p| p.entity == "item" && told(p)), "{:?}", item.id);
                }
                // What was let through is let through again, unchanged.
                let again = sieve(left.clone(), &store()).unwrap();
                prop_assert_eq!((&again.catalog, again.problems.len()), (&left, 0));
                prop_assert_eq!(Content::new(left.clone()).hash, Content::new(again.catalog).hash);
                let index = CatalogIndex::new(Arc::new(left)).unwrap();
                for mode in [ServiceMode::DineIn, ServiceMode::Takeaway] {
                    let question = Question { product: Product::Kiosk, mode, locale: "ja".into(), fallbacks: vec![] };
                    resolve_menu(&index, &question);
                }
            }
        }
    }
}
