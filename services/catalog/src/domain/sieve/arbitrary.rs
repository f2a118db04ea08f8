//! Whatever a POS sends, the sieve neither panics nor lets through what breaks a rule.

use std::{collections::HashSet, sync::Arc};

use posmesh_pricing::{CatalogIndex, MAX_DEPTH, MAX_UNIT_PRICE, localized};
use posmesh_proto::{
    catalog::v1::{
        Allergen, AllergenInfo, Area, Catalog, Category, Course, Image, Item, MenuPeriod, Modifier, ModifierGroup,
        ServiceCharge, Station, Table, TaxClass, TaxRate, TaxRounding, Tender,
    },
    common::v1::{LocalizedText, Money, Product, ServiceMode},
    store::v1::OpeningHours,
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
    fn service_charge()(
        (id, name) in (id(), text()),
        rate_bp in prop_oneof![20 => 1..5001_i32, 1 => any::<i32>()],
        (basis, rounding) in prop_oneof![20 => (1..3_i32, 1..4_i32), 1 => (0..4_i32, 0..5_i32)],
        tax_class_id in id(),
        service_modes in prop_oneof![20 => vec(1..3_i32, 0..3), 1 => vec(0..4_i32, 1..3)],
    ) -> ServiceCharge {
        ServiceCharge { id, name, rate_bp, basis, rounding, tax_class_id, service_modes }
    }
}

prop_compose! {
    fn category()(id in id(), name in text(), kana in word(), parent in prop_oneof![Just(String::new()), id()]) -> Category {
        Category { id, name, parent_category_id: parent, sort_order: 0, kana }
    }
}

/// A reading or a code.
fn word() -> impl Strategy<Value = String> {
    select(vec!["", "ｶﾅ", "ｶﾅ", "101", "a\0"]).prop_map(str::to_owned)
}

fn minutes() -> impl Strategy<Value = i32> {
    prop_oneof![20 => 0..2881_i32, 1 => any::<i32>()]
}

prop_compose! {
    fn menu_period()(id in id(), name in text(), hours in vec((0..9_i32, minutes(), minutes()), 0..3)) -> MenuPeriod {
        let stretch = |(weekday, open_minutes, close_minutes)| OpeningHours { weekday, open_minutes, close_minutes };
        MenuPeriod { id, name, hours: hours.into_iter().map(stretch).collect() }
    }
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    let of = |url: &str, alt_text: &str| Image {
        url: url.to_owned(),
        alt_text: Some(LocalizedText { texts: [("ja".to_owned(), alt_text.to_owned())].into() }),
    };
    let fine = of("https://x.example/a.jpg", "茶");
    select(vec![vec![], vec![fine.clone()], vec![of("http://x.example/", "茶"), of("https://x/", "a\0"), fine]])
}

fn allergens() -> impl Strategy<Value = Option<AllergenInfo>> {
    let told = |allergens: &[(&str, i32)], list: i32| {
        let allergen = |&(code, presence): &(&str, i32)| Allergen { code: code.to_owned(), presence };
        Some(AllergenInfo { allergens: allergens.iter().map(allergen).collect(), checked_lists: vec![list] })
    };
    let fine = told(&[("egg", 1), ("milk", 2)], 1);
    let wrong = [told(&[("egg", 9)], 1), told(&[("ÉGG", 1)], 1), told(&[], 9), told(&[("egg", 2), ("egg", 1)], 2)];
    select([vec![None, None, fine.clone(), fine, told(&[], 3)], wrong.to_vec()].concat())
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
        (code, kana, images, allergens) in (word(), word(), images(), allergens()),
        (station_ids, course_id, menu_period_ids) in (ids(), id(), ids()),
    ) -> Item {
        Item {
            id, name, description, category_ids, price, tax_class_id, modifier_group_ids, available, service_modes, code, kana,
            images, allergens, station_ids, course_id, menu_period_ids, ..Default::default()
        }
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
        allergens in allergens(),
        item_id in prop_oneof![Just(String::new()), id()],
    ) -> Modifier {
        Modifier { id, name, price, available, max_quantity, modifier_group_ids, allergens, item_id, ..Default::default() }
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
        menu_periods in vec(menu_period(), 0..4),
        (stations, courses) in (vec((id(), text()), 0..4), vec((id(), text()), 0..4)),
        service_charges in prop_oneof![5 => Just(vec![]), 2 => vec(service_charge(), 1..3)],
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
            menu_periods,
            stations: stations.into_iter().map(|(id, name)| Station { id, name }).collect(),
            courses: courses.into_iter().map(|(id, name)| Course { id, name, sort_order: 0 }).collect(),
            service_charges,
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

/// Each allergen once, and nothing that says neither yes nor no.
fn are_told(info: Option<&AllergenInfo>) {
    let allergens = info.into_iter().flat_map(|info| &info.allergens);
    unique(allergens.clone().map(|allergen| &allergen.code));
    assert!(allergens.into_iter().all(|allergen| [1, 2].contains(&allergen.presence)));
    assert!(info.into_iter().flat_map(|info| &info.checked_lists).all(|list| (1..=3).contains(list)));
}

/// The rules, written down a second time.
fn breaks_no_rule(catalog: &Catalog) {
    assert_eq!(catalog.currency_code, "JPY");
    let classes = unique(catalog.tax_classes.iter().map(|x| &x.id));
    let categories = unique(catalog.categories.iter().map(|x| &x.id));
    let groups = unique(catalog.modifier_groups.iter().map(|x| &x.id));
    let areas = unique(catalog.areas.iter().map(|x| &x.id));
    let items = unique(catalog.items.iter().map(|x| &x.id));
    let periods = unique(catalog.menu_periods.iter().map(|x| &x.id));
    let stations = unique(catalog.stations.iter().map(|x| &x.id));
    let courses = unique(catalog.courses.iter().map(|x| &x.id));
    unique(catalog.tables.iter().map(|x| &x.id));
    unique(catalog.tenders.iter().map(|x| &x.id));
    unique(catalog.service_charges.iter().map(|x| &x.id));
    for charge in &catalog.service_charges {
        is_named(charge.name.as_ref());
        assert!((1..=5_000).contains(&charge.rate_bp) && [1, 2].contains(&charge.basis));
        assert!((1..=3).contains(&charge.rounding) && classes.contains(charge.tax_class_id.as_str()));
        assert!(charge.service_modes.iter().all(|mode| [1, 2].contains(mode)), "{:?}", charge.service_modes);
    }
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
        assert!(unique(item.menu_period_ids.iter()).iter().all(|id| periods.contains(id)));
        assert!(item.station_ids.iter().all(|id| stations.contains(id.as_str())));
        assert!(item.course_id.is_empty() || courses.contains(item.course_id.as_str()));
        assert!(item.images.iter().all(|image| image.url.starts_with("https://") && !image.url.contains(['"', '@'])));
        are_told(item.allergens.as_ref());
    }
    for period in &catalog.menu_periods {
        is_named(period.name.as_ref());
        assert!(!period.hours.is_empty());
        for OpeningHours { weekday, open_minutes, close_minutes } in &period.hours {
            assert!((1..=7).contains(weekday) && (0..1440).contains(open_minutes) && close_minutes > open_minutes);
            assert!(*close_minutes <= 2880);
        }
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
            are_told(modifier.allergens.as_ref());
            assert!(modifier.item_id.is_empty() || items.contains(modifier.item_id.as_str()));
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
                    let question = Question { product: Product::Kiosk, mode, locale: "ja".into(), fallbacks: vec![], closed: ["a".to_owned()].into() };
                    resolve_menu(&index, &question);
                }
            }
        }
    }
}
