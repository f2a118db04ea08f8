#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use posmesh_pricing::{CatalogIndex, MAX_UNIT_PRICE};
use posmesh_proto::{catalog::v1::Image, common::v1::ServiceMode};
use proptest::{
    collection::{btree_map, btree_set},
    prelude::*,
    sample::select,
};

use super::*;
use crate::domain::{
    Question,
    fixture::{catalog, store, text, yen},
    resolve_menu, sieve,
    sieve::arbitrary,
};

/// What an overlay says.
type Says = fn(&mut Overlay);

fn overlays(said: &[(String, Says)]) -> OverlayMap {
    let overlay = |says: &Says| {
        let mut overlay = Overlay::default();
        says(&mut overlay);
        overlay
    };
    said.iter().map(|(key, says)| (key.clone(), overlay(says))).collect()
}

fn sold(store: &[(String, Says)], brand: &[(String, Says)], product: Product) -> Catalog {
    let mut catalog = catalog();
    catalog.items[0].code = "4901".to_owned();
    let (store, brand) = (overlays(store), overlays(brand));
    lay_over(
        &catalog,
        Layers { store: &store, brand: &brand, carries_prices: true, to_review: &BTreeSet::new() },
        product,
    )
}

fn rules(overlay: &mut Overlay, product: Product) -> &mut ProductOverlay {
    overlay.products.push(ProductOverlay { product: product.into(), ..Default::default() });
    overlay.products.last_mut().unwrap()
}

fn hidden(overlay: &mut Overlay) {
    rules(overlay, Product::Unspecified).hidden = Some(true);
}

fn ids(catalog: &Catalog) -> Vec<&str> {
    catalog.items.iter().map(|item| item.id.as_str()).collect()
}

fn name<'a>(item: &'a Item, locale: &str) -> &'a str {
    &item.name.as_ref().unwrap().texts[locale]
}

#[test]
fn texts_and_photos_lie_over_what_the_pos_says_language_by_language() {
    let said: [(String, Says); 2] = [
        (item_key("beer"), |overlay| {
            overlay.name = text(&[("ko", "생맥주"), ("EN", "Draught beer")]);
            overlay.description = text(&[("ja", "きりっと冷えた")]);
            overlay.images = vec![Image { url: "https://img.example/beer.jpg".to_owned(), alt_text: None }];
        }),
        (category_key("drinks"), |overlay| overlay.name = text(&[("en", "Drinks")])),
    ];
    let sold = sold(&said, &[], Product::Table);
    let beer = &sold.items[0];
    assert_eq!((name(beer, "ja"), name(beer, "ko"), name(beer, "EN")), ("生ビール", "생맥주", "Draught beer"));
    assert_eq!(beer.name.as_ref().unwrap().texts.len(), 3, "en and EN are one language");
    assert_eq!(beer.description, text(&[("ja", "きりっと冷えた")]));
    assert_eq!(beer.images[0].url, "https://img.example/beer.jpg");
    assert_eq!(sold.categories[0].name, text(&[("ja", "飲み物"), ("en", "Drinks")]));
    assert_eq!(sold.items[1], catalog().items[1], "what is not spoken of stays");
}

#[test]
fn what_a_store_says_wins_over_its_brand_field_by_field() {
    let brand: [(String, Says); 1] = [(code_key("4901"), |overlay| {
        overlay.name = text(&[("en", "Brand beer"), ("ko", "맥주")]);
        overlay.images = vec![Image { url: "https://img.example/brand.jpg".to_owned(), alt_text: None }];
        *rules(overlay, Product::Kiosk) =
            ProductOverlay { product: Product::Kiosk.into(), hidden: Some(true), price: yen(500), sort_order: Some(3) };
    })];
    let own: [(String, Says); 1] = [(item_key("beer"), |overlay| {
        overlay.name = text(&[("en", "Our beer")]);
        rules(overlay, Product::Unspecified).hidden = Some(false);
        rules(overlay, Product::Kiosk).price = yen(480);
    })];
    assert_eq!(ids(&sold(&[], &brand, Product::Kiosk)), ["yakitori"]);
    assert_eq!(ids(&sold(&[], &brand, Product::Table)), ["beer", "yakitori"]);
    let sold = sold(&own, &brand, Product::Kiosk);
    let beer = &sold.items[0];
    assert_eq!((name(beer, "en"), name(beer, "ko"), beer.images.len()), ("Our beer", "맥주", 1));
    assert_eq!((beer.price.clone(), beer.sort_order), (yen(480), 3));
}

#[test]
fn an_item_without_a_code_hears_nothing_from_its_brand() {
    let brand: [(String, Says); 1] = [(code_key(""), hidden)];
    assert_eq!(ids(&sold(&[], &brand, Product::Kiosk)), ["beer", "yakitori"]);
}

#[test]
fn a_price_counts_only_in_the_money_of_the_store_and_where_the_pos_books_it() {
    let brand: [(String, Says); 1] = [(code_key("4901"), |overlay| {
        let dollars = Money { currency_code: "USD".to_owned(), amount: 700 };
        rules(overlay, Product::Unspecified).price = Some(dollars);
    })];
    assert_eq!(sold(&[], &brand, Product::Kiosk).items[0].price, yen(545));
    let own: [(String, Says); 2] = [
        (item_key("beer"), |overlay| rules(overlay, Product::ToGo).price = yen(600)),
        (modifier_key("extra", "set"), |overlay| rules(overlay, Product::ToGo).price = yen(250)),
    ];
    let to_go = sold(&own, &[], Product::ToGo);
    assert_eq!((&to_go.items[0].price, &to_go.modifier_groups[0].modifiers[0].price), (&yen(600), &yen(250)));
    assert_eq!(sold(&own, &[], Product::Table).items[0].price, yen(545), "of another product");
    let own = overlays(&own);
    let layers = Layers { store: &own, brand: &OverlayMap::new(), carries_prices: false, to_review: &BTreeSet::new() };
    assert_eq!(lay_over(&catalog(), layers, Product::ToGo), catalog());
}

#[test]
fn what_waits_for_a_review_is_sold_by_no_product_whatever_is_laid_over_it() {
    let shown: Says = |overlay| rules(overlay, Product::Table).hidden = Some(false);
    let (own, to_review) = (overlays(&[(item_key("beer"), shown)]), BTreeSet::from(["beer".to_owned()]));
    let layers = Layers { store: &own, brand: &OverlayMap::new(), carries_prices: false, to_review: &to_review };
    for product in [Product::Table, Product::Kiosk, Product::ToGo] {
        assert_eq!(ids(&lay_over(&catalog(), layers, product)), ["yakitori"]);
    }
}

#[test]
fn with_a_category_goes_what_stands_under_no_other() {
    assert_eq!(ids(&sold(&[(category_key("drinks"), hidden)], &[], Product::Table)), ["yakitori"]);
    // The grill is below the food.
    let sold = sold(&[(category_key("food"), hidden)], &[], Product::Table);
    let left: Vec<&str> = sold.categories.iter().map(|category| category.id.as_str()).collect();
    assert_eq!((ids(&sold), left), (vec!["beer"], vec!["drinks", "seasonal"]));
}

#[test]
fn hiding_one_of_several_choices_leaves_the_others() {
    let sold = sold(&[(modifier_key("sauce", "tare"), hidden)], &[], Product::Table);
    let sauce = sold.modifier_groups.iter().find(|group| group.id == "sauce").unwrap();
    assert_eq!(sauce.modifiers.len(), 1);
    assert!(sold.items[1].available);
}

#[test]
fn an_item_with_a_question_that_nobody_can_answer_any_more_is_sold_out() {
    let said: [(String, Says); 2] = [(modifier_key("sauce", "tare"), hidden), (modifier_key("sauce", "salt"), hidden)];
    let sold_now = sold(&said, &[], Product::Table);
    let yakitori = &sold_now.items[1];
    assert_eq!((yakitori.available, yakitori.modifier_group_ids.as_slice()), (false, ["extra".to_owned()].as_slice()));
    assert!(sold_now.modifier_groups.iter().all(|group| group.id != "sauce"));
    // A choice that asks it is sold out likewise; its item is not.
    let said: [(String, Says); 2] = [(modifier_key("rice", "large"), hidden), (modifier_key("rice", "normal"), hidden)];
    let sold_now = sold(&said, &[], Product::Table);
    let extra = sold_now.modifier_groups.iter().find(|group| group.id == "extra").unwrap();
    assert_eq!((sold_now.items[1].available, extra.modifiers[0].available), (true, false));
}

#[test]
fn a_choice_that_is_a_hidden_item_is_still_sold_with_what_asks_it_and_sold_out_with_the_item() {
    let hides_beer = overlays(&[(item_key("beer"), hidden as Says)]);
    for available in [true, false] {
        let mut catalog = catalog();
        catalog.items[0].available = available;
        catalog.modifier_groups[0].modifiers[0].item_id = "beer".to_owned();
        let layers = Layers {
            store: &hides_beer,
            brand: &OverlayMap::new(),
            carries_prices: false,
            to_review: &BTreeSet::new(),
        };
        let sold = lay_over(&catalog, layers, Product::Table);
        let choice = &sold.modifier_groups[0].modifiers[0];
        assert_eq!((ids(&sold), choice.item_id.as_str(), choice.available), (vec!["yakitori"], "", available));
    }
}

fn some_text() -> impl Strategy<Value = Option<LocalizedText>> {
    prop_oneof![2 => Just(None), 1 => select(vec!["ja", "en", "JA"]).prop_map(|tag| text(&[(tag, "別の名")]))]
}

prop_compose! {
    fn product_rules()(
        product in 0..4_i32,
        hidden in proptest::option::of(any::<bool>()),
        amount in proptest::option::of(0..=MAX_UNIT_PRICE),
        currency in select(vec!["JPY", "USD"]),
        sort_order in proptest::option::of(any::<i32>()),
    ) -> ProductOverlay {
        let price = amount.map(|amount| Money { currency_code: currency.to_owned(), amount });
        ProductOverlay { product, hidden, price, sort_order }
    }
}

prop_compose! {
    fn overlay()(
        name in some_text(),
        description in some_text(),
        products in proptest::collection::vec(product_rules(), 0..4),
        images in 0..3_usize,
    ) -> Overlay {
        let image = Image { url: "https://img.example/a.jpg".to_owned(), alt_text: None };
        Overlay { name, description, products, images: vec![image; images], ..Default::default() }
    }
}

/// About things that are there, and things that are not: ids are those of [`arbitrary`].
fn layer() -> impl Strategy<Value = OverlayMap> {
    let id = || select(vec!["a", "b", "c", "d", "e"]);
    let key = (id(), id(), 0..4_i32).prop_map(|(one, other, kind)| match kind {
        0 => item_key(one),
        1 => category_key(one),
        2 => code_key(one),
        _ => modifier_key(one, other),
    });
    btree_map(key, overlay(), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_is_added_and_what_is_sold_is_as_sound_as_what_the_pos_gave(
        mut catalog in arbitrary::sound(),
        (store_layer, brand_layer) in (layer(), layer()),
        product in select(vec![Product::Table, Product::ToGo, Product::Kiosk]),
        carries_prices in any::<bool>(),
        to_review in btree_set(select(vec!["a", "b", "c"]).prop_map(str::to_owned), 0..3),
    ) {
        catalog.items.iter_mut().for_each(|item| item.code.clone_from(&item.id));
        let layers = Layers { store: &store_layer, brand: &brand_layer, carries_prices, to_review: &to_review };
        let sold = lay_over(&catalog, layers, product);
        // Most of it may be gone, which validation alone would take for a fault of the POS.
        let sieved = sieve(sold.clone(), &store()).unwrap();
        prop_assert_eq!(sieved.problems.len(), 0, "{:?}", sieved.problems);
        prop_assert_eq!(&sieved.catalog, &sold);
        prop_assert_eq!(&lay_over(&sold, layers, product), &sold, "once is enough");
        let known: HashMap<&str, &Item> = catalog.items.iter().map(|item| (item.id.as_str(), item)).collect();
        for item in &sold.items {
            let was = known[item.id.as_str()];
            prop_assert!(was.available || !item.available);
            prop_assert!(carries_prices || was.price == item.price);
            prop_assert_eq!((&was.tax_class_id, &was.service_modes), (&item.tax_class_id, &item.service_modes));
        }
        let choices = |catalog: &Catalog| -> HashSet<(String, String)> {
            let groups = catalog.modifier_groups.iter();
            groups.flat_map(|group| group.modifiers.iter().map(|m| (group.id.clone(), m.id.clone()))).collect()
        };
        prop_assert!(choices(&sold).is_subset(&choices(&catalog)));
        prop_assert_eq!((&sold.tables, &sold.tenders, &sold.tax_classes), (&catalog.tables, &catalog.tenders, &catalog.tax_classes));
        // Whoever sells it can be asked: a menu has an answer to each of its questions, or is sold out.
        let index = CatalogIndex::new(Arc::new(sold)).unwrap();
        let question = Question { product, mode: ServiceMode::DineIn, locale: "ja".into(), fallbacks: vec![], closed: BTreeSet::new() };
        let menu = resolve_menu(&index, &question);
        for item in menu.items.iter().filter(|item| item.available) {
            let asked = menu.modifier_groups.iter().filter(|group| item.modifier_group_ids.contains(&group.id));
            for group in asked {
                let offered = group.modifiers.iter().filter(|m| m.available).map(|m| i64::from(m.max_quantity));
                prop_assert!(offered.sum::<i64>() >= i64::from(group.min_choices));
            }
        }
    }
}
