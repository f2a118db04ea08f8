#![allow(clippy::unwrap_used)]

use posmesh_proto::{
    catalog::v1::{Allergen, AllergenInfo, AllergenList, Image, ServiceChargeBasis, TaxRoundingDirection},
    store::v1::OpeningHours,
};
use proptest::prelude::*;

use super::*;
use crate::domain::{
    Content,
    fixture::{catalog, item, modifier, store, text, yen},
    sieve::arbitrary,
};

fn lines(change: impl FnOnce(&mut Catalog)) -> Vec<String> {
    let mut after = catalog();
    change(&mut after);
    let diff = diff(&catalog(), &after, &["en".to_owned(), "ja".to_owned()]);
    assert_eq!(diff.omitted, 0);
    diff.changes.into_iter().map(|change| change.text).collect()
}

#[test]
fn each_change_that_a_guest_or_the_staff_would_notice_is_one_line() {
    assert_eq!(lines(|c| c.items[0].price = yen(1_645)), ["Draft beer: price 545 → 1,645"]);
    assert_eq!(lines(|c| c.items[0].available = false), ["Draft beer: sold out"]);
    assert_eq!(lines(|c| c.items[1].name = text(&[("en", "Skewer")])), ["Yakitori: now called Skewer"]);
    assert_eq!(lines(|c| drop(c.items.remove(0))), ["Draft beer: gone"]);
    assert_eq!(lines(|c| c.items.push(item("ramen", "ラーメン", "Ramen", 980, "food", &[], &[]))), ["Ramen: new, 980"]);
    assert_eq!(lines(|c| c.items[0].tax_class_id = "food".into()), ["Draft beer: tax class 酒類 → 食品"]);
    assert_eq!(
        lines(|c| c.items[0].category_ids = vec!["food".into()]),
        ["Draft beer: now under 料理", "Draft beer: no longer under 飲み物"]
    );
    assert_eq!(lines(|c| c.items[0].modifier_group_ids = vec!["sauce".into()]), ["Draft beer: now asks sauce"]);
    assert_eq!(lines(|c| c.items[0].service_modes = vec![1]), ["Draft beer: sold for everything → dine-in"]);
    assert_eq!(lines(|c| c.tables[0].seats = 6), ["1: seats 4 → 6"]);
    assert_eq!(lines(|c| c.tax_classes[1].rates[1].rate_ppm = 72_500), ["食品: tax for takeaway 8 % → 7.25 %"]);
    assert_eq!(lines(|c| c.categories[2].parent_category_id.clear()), ["串焼き: moved from 料理 to the top"]);
}

#[test]
fn what_an_item_tells_besides_is_told_in_words_as_well() {
    let with = |change: fn(&mut Catalog)| {
        let mut before = catalog();
        before.menu_periods = vec![lunch(660)];
        before.stations = vec![Station { id: "bar".into(), name: text(&[("en", "Bar")]) }];
        before.courses = vec![Course { id: "first".into(), name: text(&[("en", "First")]), sort_order: 1 }];
        let mut after = before.clone();
        change(&mut after);
        let changes = diff(&before, &after, &["en".to_owned(), "ja".to_owned()]).changes;
        changes.into_iter().map(|change| change.text).collect::<Vec<_>>()
    };
    assert_eq!(with(|c| c.items[0].code = "101".into()), ["Draft beer: code none → 101"]);
    assert_eq!(with(|c| c.items[0].kana = "ナマビール".into()), ["Draft beer: reading none → ナマビール"]);
    assert_eq!(with(|c| c.items[0].menu_period_ids = vec!["lunch".into()]), ["Draft beer: sold always → Lunch"]);
    assert_eq!(with(|c| c.items[0].station_ids = vec!["bar".into()]), ["Draft beer: now made at Bar"]);
    assert_eq!(with(|c| c.items[0].course_id = "first".into()), ["Draft beer: course none → First"]);
    assert_eq!(with(|c| c.items[0].images.push(Image::default())), ["Draft beer: pictures changed"]);
    let allergens = |c: &mut Catalog| {
        let of = |code: &str, presence| Allergen { code: code.to_owned(), presence };
        let checked_lists = vec![AllergenList::JpMandatory.into()];
        c.items[0].allergens = Some(AllergenInfo { allergens: vec![of("wheat", 1), of("egg", 2)], checked_lists });
    };
    assert_eq!(with(allergens), ["Draft beer: allergens not known → wheat, egg (traces) of jp mandatory"]);
    assert_eq!(
        with(|c| c.items[0].allergens = Some(AllergenInfo::default())),
        ["Draft beer: allergens not known → none told"]
    );
    let later = with(|c| c.menu_periods = vec![lunch(690)]);
    assert_eq!(later, ["Lunch: Mon-Fri 11:00-14:00, Sat Sun 12:00-26:00 → Mon-Fri 11:30-14:00, Sat Sun 12:00-26:00"]);
    assert_eq!(with(|c| c.stations.clear()), ["Bar: station gone"]);
    assert_eq!(with(|c| c.courses[0].sort_order = 2), ["First: its place among the courses changed"]);
    assert_eq!(with(|c| c.modifier_groups[2].modifiers[0].item_id = "beer".into()), ["sauce, 塩: it is another item"]);
}

#[test]
fn a_service_charge_that_changes_is_told_with_both_rates() {
    let mut before = catalog();
    before.service_charges = vec![ServiceCharge {
        id: "service".into(),
        name: text(&[("en", "Service")]),
        rate_bp: 1_000,
        basis: ServiceChargeBasis::WithTax.into(),
        rounding: TaxRoundingDirection::Down.into(),
        tax_class_id: "food".into(),
        service_modes: vec![1],
    }];
    let told = |before: &Catalog, after: &Catalog| {
        let changes = diff(before, after, &["en".to_owned(), "ja".to_owned()]).changes;
        changes.into_iter().map(|change| change.text).collect::<Vec<_>>()
    };
    let with = |change: fn(&mut ServiceCharge)| {
        let mut after = before.clone();
        change(&mut after.service_charges[0]);
        told(&before, &after)
    };
    assert_eq!(with(|c| c.rate_bp = 1_250), ["Service: service charge 10 % → 12.5 %"]);
    assert_eq!(with(|c| c.basis = 1), ["Service: share of prices with tax → prices without tax"]);
    assert_eq!(with(|c| c.rounding = 2), ["Service: rounded down → half up"]);
    assert_eq!(with(|c| c.tax_class_id = "drink".into()), ["Service: tax class 食品 → 酒類"]);
    assert_eq!(with(|c| c.service_modes.clear()), ["Service: asked for dine-in → everything"]);
    assert_eq!(told(&catalog(), &before), ["Service: new service charge"]);
    assert_eq!(told(&before, &catalog()), ["Service: service charge gone"]);
}

/// On working days from a minute on, at the weekend until two at night.
fn lunch(from: i32) -> MenuPeriod {
    let hours = |weekday, open_minutes, close_minutes| OpeningHours { weekday, open_minutes, close_minutes };
    let mut all: Vec<OpeningHours> = (1..=5).map(|weekday| hours(weekday, from, 840)).collect();
    all.extend([hours(6, 720, 1560), hours(7, 720, 1560)]);
    MenuPeriod { id: "lunch".into(), name: text(&[("en", "Lunch")]), hours: all }
}

#[test]
fn a_choice_is_told_with_its_question() {
    let sauce = |change: fn(&mut Vec<posmesh_proto::catalog::v1::Modifier>)| {
        lines(|c| change(&mut c.modifier_groups[2].modifiers))
    };
    assert_eq!(sauce(|m| m.push(modifier("miso", "味噌", 50, &[]))), ["sauce, 味噌: new choice, 50"]);
    assert_eq!(sauce(|m| m[0].available = false), ["sauce, 塩: sold out"]);
    assert_eq!(sauce(|m| m[1].price = yen(30)), ["sauce, たれ: price 0 → 30"]);
    assert_eq!(sauce(|m| drop(m.remove(0))), ["sauce, 塩: choice gone"]);
    assert_eq!(sauce(|m| m.reverse()), ["sauce: changed in a detail"]);
    assert_eq!(lines(|c| c.modifier_groups[2].max_choices = 2), ["sauce: choices 1 to 1 → 1 to 2"]);
}

#[test]
fn a_change_tells_programs_the_id_the_field_and_both_prices() {
    let mut after = catalog();
    after.items[0].price = yen(600);
    let change = diff(&catalog(), &after, &store().locales).changes.pop().unwrap();
    assert_eq!((change.kind(), change.entity.as_str(), change.entity_id.as_str()), (Kind::Price, "item", "beer"));
    assert_eq!((change.field.as_str(), change.old_price, change.new_price), ("price", yen(545), yen(600)));
}

#[test]
fn what_was_sold_out_is_back() {
    let mut before = catalog();
    before.items[0].available = false;
    let told = diff(&before, &catalog(), &store().locales).changes;
    assert_eq!((told.len(), told[0].text.as_str(), told[0].kind()), (1, "生ビール: back", Kind::Back));
}

#[test]
fn very_many_changes_are_counted_beyond_the_first() {
    let of = |price| {
        let items = (0..5_000).map(|i| item(&format!("i{i}"), "x", "x", price, "food", &[], &[])).collect();
        Catalog { items, ..catalog() }
    };
    let told = diff(&of(1), &of(2), &[]);
    assert_eq!((told.changes.len(), told.omitted), (MAX_CHANGES, 5_000 - MAX_CHANGES));
}

proptest! {
    #[test]
    fn nothing_is_told_exactly_when_nothing_changed(before in arbitrary::sound(), after in arbitrary::sound()) {
        let hash = |catalog: &Catalog| Content::new(catalog.clone()).hash;
        prop_assert!(diff(&before, &before, &[]) == Diff::default());
        prop_assert_eq!(diff(&before, &after, &[]) == Diff::default(), hash(&before) == hash(&after));
        for change in diff(&before, &after, &[]).changes {
            prop_assert!(change.kind() != Kind::Unspecified && !change.text.is_empty());
            prop_assert_eq!(change.entity_id.is_empty(), change.entity == "catalog");
        }
    }
}
