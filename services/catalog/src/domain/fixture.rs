//! A small izakaya whose data is right; the tests change what they are about. The tests of the whole service include
//! this file as well, so it depends on the contracts alone.

use posmesh_proto::{
    catalog::v1::{
        Area, Catalog, Category, Item, Modifier, ModifierGroup, Table, TaxClass, TaxRate, TaxRounding,
        TaxRoundingDirection, TaxRoundingScope, Tender, TenderKind,
    },
    common::v1::{LocalizedText, Money, Product, ServiceMode},
    store::v1::{ProductPolicy, Store},
};

/// The brand of the store.
pub(crate) const BRAND: &str = "izakaya";

/// A store of the group that sells through Table and ToGo, not through Kiosk.
pub(crate) fn store() -> Store {
    let policy = |product: Product| ProductPolicy { product: product.into(), ..Default::default() };
    Store {
        store_id: "shibuya".to_owned(),
        brand_id: BRAND.to_owned(),
        time_zone: "Asia/Tokyo".to_owned(),
        currency_code: "JPY".to_owned(),
        locales: vec!["ja".to_owned(), "en".to_owned()],
        product_policies: vec![policy(Product::Table), policy(Product::ToGo)],
        revision: 1,
        ..Default::default()
    }
}

/// Food at 10 % in the store and 8 % taken away, drinks at 10 % on top, rounded down once per rate and receipt.
pub(crate) fn catalog() -> Catalog {
    let rates = |dine_in, takeaway| {
        let modes = [(ServiceMode::DineIn, dine_in), (ServiceMode::Takeaway, takeaway)];
        modes.map(|(mode, rate_ppm)| TaxRate { service_mode: mode.into(), rate_ppm, ..TaxRate::default() }).to_vec()
    };
    let class = |id: &str, ja: &str, included_in_price, rates| TaxClass {
        id: id.to_owned(),
        name: text(&[("ja", ja)]),
        included_in_price,
        rates,
    };
    Catalog {
        currency_code: "JPY".to_owned(),
        tax_rounding: Some(TaxRounding {
            scope: TaxRoundingScope::Rate.into(),
            direction: TaxRoundingDirection::Down.into(),
        }),
        tax_classes: vec![
            class("drink", "酒類", false, rates(100_000, 100_000)),
            class("food", "食品", true, rates(100_000, 80_000)),
        ],
        categories: vec![
            category("drinks", "飲み物", "", 2),
            category("food", "料理", "", 1),
            category("grill", "串焼き", "food", 3),
            category("seasonal", "季節限定", "", 4),
        ],
        items: vec![
            item("beer", "生ビール", "Draft beer", 545, "drink", &["drinks"], &[]),
            item("yakitori", "焼き鳥", "Yakitori", 380, "food", &["grill"], &["sauce", "extra"]),
        ],
        modifier_groups: vec![
            group("extra", 0, 3, vec![modifier("set", "定食にする", 300, &["rice"])]),
            group("rice", 1, 1, vec![modifier("large", "大盛り", 50, &[]), modifier("normal", "普通", 0, &[])]),
            group("sauce", 1, 1, vec![modifier("salt", "塩", 0, &[]), modifier("tare", "たれ", 0, &[])]),
        ],
        areas: vec![Area { id: "floor".to_owned(), name: text(&[("ja", "ホール")]) }],
        tables: vec![Table { id: "t1".to_owned(), name: "1".to_owned(), area_id: "floor".to_owned(), seats: 4 }],
        tenders: vec![Tender { id: "cash".to_owned(), name: text(&[("ja", "現金")]), kind: TenderKind::Cash.into() }],
        ..Default::default()
    }
}

pub(crate) fn text(entries: &[(&str, &str)]) -> Option<LocalizedText> {
    let texts = entries.iter().map(|(locale, value)| ((*locale).to_owned(), (*value).to_owned())).collect();
    Some(LocalizedText { texts })
}

pub(crate) fn yen(amount: i64) -> Option<Money> {
    Some(Money { currency_code: "JPY".to_owned(), amount })
}

pub(crate) fn category(id: &str, ja: &str, parent: &str, sort_order: i32) -> Category {
    Category {
        id: id.to_owned(),
        name: text(&[("ja", ja)]),
        parent_category_id: parent.to_owned(),
        sort_order,
        ..Default::default()
    }
}

pub(crate) fn item(
    id: &str,
    ja: &str,
    en: &str,
    price: i64,
    tax_class_id: &str,
    categories: &[&str],
    groups: &[&str],
) -> Item {
    Item {
        id: id.to_owned(),
        name: text(&[("ja", ja), ("en", en)]),
        category_ids: strings(categories),
        price: yen(price),
        tax_class_id: tax_class_id.to_owned(),
        modifier_group_ids: strings(groups),
        available: true,
        ..Default::default()
    }
}

pub(crate) fn group(id: &str, min_choices: i32, max_choices: i32, modifiers: Vec<Modifier>) -> ModifierGroup {
    ModifierGroup { id: id.to_owned(), name: text(&[("ja", id)]), min_choices, max_choices, modifiers }
}

pub(crate) fn modifier(id: &str, ja: &str, price: i64, groups: &[&str]) -> Modifier {
    Modifier {
        id: id.to_owned(),
        name: text(&[("ja", ja)]),
        price: yen(price),
        available: true,
        max_quantity: 1,
        modifier_group_ids: strings(groups),
        ..Default::default()
    }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}
