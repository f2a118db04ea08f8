#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use posmesh_proto::catalog::v1::{
    Allergen, AllergenInfo, AllergenList, AllergenPresence, ServiceChargeBasis, TaxRoundingDirection,
};

use super::*;
use crate::domain::fixture::{self, catalog, yen};

fn question(mode: ServiceMode, locale: &str) -> Question {
    let fallbacks = fixture::store().locales;
    Question { product: Product::Table, mode, locale: locale.to_owned(), fallbacks, closed: BTreeSet::new() }
}

fn menu(catalog: Catalog, mode: ServiceMode, locale: &str) -> Menu {
    resolve_menu(&CatalogIndex::new(Arc::new(catalog)).unwrap(), &question(mode, locale))
}

#[test]
fn prices_include_the_tax_of_the_service_mode() {
    // beer 545 + 10 % = 599.5, rounded down; yakitori contains its tax.
    let shown = |mode| {
        let menu = menu(catalog(), mode, "ja");
        menu.items.into_iter().map(|item| (item.id, item.display_price, item.tax_rate_ppm)).collect::<Vec<_>>()
    };
    let (beer, yakitori) = ("beer".to_owned(), "yakitori".to_owned());
    assert_eq!(shown(ServiceMode::DineIn), [(beer.clone(), yen(599), 100_000), (yakitori.clone(), yen(380), 100_000)]);
    assert_eq!(shown(ServiceMode::Takeaway), [(beer, yen(599), 100_000), (yakitori, yen(380), 80_000)]);
}

#[test]
fn texts_fall_back_to_the_stores_language_one_by_one() {
    let mut catalog = catalog();
    catalog.modifier_groups[1].modifiers[0].name = fixture::text(&[("de", "Groß"), ("ja", "大盛り")]);
    let menu = menu(catalog, ServiceMode::DineIn, "en");
    assert_eq!(menu.items[0].name, "Draft beer");
    // It has no English name, and German is not the store's.
    assert_eq!(menu.modifier_groups.iter().find(|g| g.id == "rice").unwrap().modifiers[0].name, "大盛り");
}

#[test]
fn the_locale_is_the_one_asked_for_then_the_stores_then_any() {
    let named = locales(&catalog());
    let store = fixture::store().locales;
    assert_eq!(effective_locale("en-US", &store, &named), "en");
    assert_eq!(effective_locale("ko", &store, &named), "ja");
    assert_eq!(effective_locale("", &store, &named), "ja");
    assert_eq!(effective_locale("ko", &["fr".to_owned()], &named), "en");
    assert_eq!(effective_locale("ko", &store, &BTreeSet::new()), "");
}

#[test]
fn only_categories_with_something_in_them_are_shown_in_their_order() {
    let menu = menu(catalog(), ServiceMode::DineIn, "ja");
    let shown: Vec<_> = menu.categories.iter().map(|c| (c.id.as_str(), c.item_ids.join(","))).collect();
    // "food" holds nothing itself but the category "grill"; "seasonal" is empty.
    assert_eq!(shown, [("food", String::new()), ("drinks", "beer".to_owned()), ("grill", "yakitori".to_owned())]);
}

#[test]
fn what_is_not_sold_at_the_time_is_not_shown_nor_is_its_heading() {
    let mut catalog = catalog();
    catalog.items[0].menu_period_ids = vec!["happy".into(), "lunch".into()];
    let index = CatalogIndex::new(Arc::new(catalog)).unwrap();
    let shown = |closed: &[&str]| {
        let closed = closed.iter().map(|&id| id.to_owned()).collect();
        let menu = resolve_menu(&index, &Question { closed, ..question(ServiceMode::DineIn, "ja") });
        let categories: Vec<_> = menu.categories.into_iter().map(|category| category.id).collect();
        (menu.items.len(), categories.contains(&"drinks".to_owned()))
    };
    assert_eq!(shown(&["happy"]), (2, true));
    assert_eq!(shown(&["happy", "lunch"]), (1, false));
}

#[test]
fn a_guest_sees_what_the_pos_tells_of_an_item_and_not_known_is_not_none() {
    let mut catalog = catalog();
    catalog.courses = [("last", 2), ("main", 1), ("first", 0)]
        .map(|(id, sort_order)| Course { id: id.to_owned(), name: fixture::text(&[("ja", id)]), sort_order })
        .to_vec();
    let alt_text = fixture::text(&[("ja", "串"), ("en", "Skewers")]);
    let egg = Allergen { code: "egg".to_owned(), presence: AllergenPresence::MayContain.into() };
    let told = AllergenInfo { allergens: vec![egg], checked_lists: vec![AllergenList::Eu.into()] };
    let item = &mut catalog.items[1];
    (item.code, item.kana, item.course_id) = ("401".to_owned(), "ヤキトリ".to_owned(), "main".to_owned());
    item.images = vec![Image { url: "https://x.example/a.jpg".to_owned(), alt_text }];
    item.allergens = Some(told.clone());
    catalog.categories[2].kana = "クシヤキ".to_owned();
    let menu = menu(catalog, ServiceMode::DineIn, "en");
    let [beer, yakitori] = menu.items.as_slice() else { panic!("{:?}", menu.items) };
    assert_eq!(
        (yakitori.code.as_str(), yakitori.kana.as_str(), yakitori.course_id.as_str()),
        ("401", "ヤキトリ", "main")
    );
    assert_eq!(yakitori.images[0].alt_text, "Skewers");
    assert_eq!((&yakitori.allergens, &beer.allergens), (&Some(told), &None));
    assert_eq!(menu.courses.iter().map(|course| course.id.as_str()).collect::<Vec<_>>(), ["main"]);
    assert_eq!(menu.categories.iter().find(|category| category.id == "grill").unwrap().kana, "クシヤキ");
}

#[test]
fn a_question_that_nobody_can_answer_because_its_items_are_sold_out_sells_out_what_asks_it() {
    let mut catalog = catalog();
    for choice in &mut catalog.modifier_groups[2].modifiers {
        choice.item_id = "beer".to_owned();
    }
    assert!(menu(catalog.clone(), ServiceMode::DineIn, "ja").items[1].available);
    catalog.items[0].available = false;
    let menu = menu(catalog, ServiceMode::DineIn, "ja");
    assert!(!menu.items[1].available);
    let sauce = menu.modifier_groups.iter().find(|group| group.id == "sauce").unwrap();
    assert!(sauce.modifiers.iter().all(|choice| !choice.available && choice.item_id == "beer"));
}

#[test]
fn items_come_by_sort_order_then_by_id() {
    let mut catalog = catalog();
    catalog.items.push(fixture::item("ale", "エール", "Ale", 700, "drink", &["drinks"], &[]));
    catalog.items[0].sort_order = 2;
    catalog.items[1].sort_order = 1;
    catalog.items[2].sort_order = 2;
    let menu = menu(catalog, ServiceMode::DineIn, "ja");
    assert_eq!(menu.items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["yakitori", "ale", "beer"]);
    let drinks = menu.categories.iter().find(|c| c.id == "drinks").unwrap();
    assert_eq!(drinks.item_ids, ["ale", "beer"]);
}

#[test]
fn only_groups_that_are_asked_are_shown() {
    let mut catalog = catalog();
    catalog.modifier_groups.push(fixture::group("orphan", 0, 1, vec![]));
    let menu = menu(catalog, ServiceMode::DineIn, "ja");
    assert_eq!(menu.modifier_groups.iter().map(|g| g.id.as_str()).collect::<Vec<_>>(), ["extra", "rice", "sauce"]);
}

#[test]
fn an_item_whose_question_can_no_longer_be_answered_is_sold_out() {
    let mut catalog = catalog();
    let availability = |catalog: &Catalog| {
        let menu = menu(catalog.clone(), ServiceMode::DineIn, "ja");
        let extra = menu.modifier_groups.iter().find(|g| g.id == "extra").unwrap();
        (menu.items.iter().find(|i| i.id == "yakitori").unwrap().available, extra.modifiers[0].available)
    };
    catalog.modifier_groups[2].modifiers[0].available = false;
    assert_eq!(availability(&catalog), (true, true));
    catalog.modifier_groups[2].modifiers[1].available = false;
    assert_eq!(availability(&catalog), (false, true));
    // No rice: the set cannot be chosen any more, but it is no must.
    catalog.modifier_groups[2].modifiers[1].available = true;
    catalog.modifier_groups[1].modifiers.iter_mut().for_each(|rice| rice.available = false);
    assert_eq!(availability(&catalog), (true, false));
}

#[test]
fn an_item_stands_only_on_menus_of_the_service_modes_in_which_it_is_sold() {
    let mut catalog = catalog();
    catalog.items[1].service_modes = vec![ServiceMode::DineIn.into()];
    let shown = |mode| {
        let menu = menu(catalog.clone(), mode, "ja");
        let items: Vec<_> = menu.items.into_iter().map(|item| item.id).collect();
        let categories: Vec<_> = menu.categories.into_iter().map(|category| category.id).collect();
        let groups: Vec<_> = menu.modifier_groups.into_iter().map(|group| group.id).collect();
        (items.join(" "), categories.join(" "), groups.join(" "))
    };
    let menu = |items: &str, categories: &str, groups: &str| (items.into(), categories.into(), groups.into());
    assert_eq!(shown(ServiceMode::DineIn), menu("beer yakitori", "food drinks grill", "extra rice sauce"));
    // Neither a heading nor a question is left of what is not sold.
    assert_eq!(shown(ServiceMode::Takeaway), menu("beer", "drinks", ""));
}

#[test]
fn a_service_charge_is_told_on_the_menus_of_the_modes_that_it_is_asked_in() {
    let mut catalog = catalog();
    catalog.service_charges = vec![ServiceCharge {
        id: "service".into(),
        name: fixture::text(&[("ja", "サービス料"), ("en", "Service charge")]),
        rate_bp: 1_000,
        basis: ServiceChargeBasis::WithTax.into(),
        rounding: TaxRoundingDirection::Down.into(),
        tax_class_id: "food".into(),
        service_modes: vec![ServiceMode::DineIn.into()],
    }];
    let told = menu(catalog.clone(), ServiceMode::DineIn, "en").service_charges;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].name.as_str(), told[0].rate_bp, told[0].tax_included), ("Service charge", 1_000, true));
    assert_eq!(menu(catalog, ServiceMode::Takeaway, "en").service_charges, []);
}
