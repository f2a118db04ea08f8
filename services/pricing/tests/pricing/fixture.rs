//! The small catalog that the tests share, and short ways to write orders on it.

use std::sync::Arc;

use posmesh_pricing::{CatalogIndex, ClosedPeriods, Problem, Reason, Terms, price_lines};
use posmesh_proto::{
    catalog::v1::{
        Catalog, Item, Modifier, ModifierGroup, ServiceCharge, ServiceChargeBasis, TaxClass, TaxRate, TaxRounding,
        TaxRoundingDirection, TaxRoundingScope,
    },
    common::v1::{LocalizedText, Money, ServiceMode},
    order::v1::{ModifierInput, OrderLineInput, Quote},
};

pub(crate) fn yen(amount: i64) -> Option<Money> {
    Some(Money { currency_code: "JPY".to_owned(), amount })
}

fn text(ja: &str, en: &str) -> Option<LocalizedText> {
    let texts = [("ja".to_owned(), ja.to_owned()), ("en".to_owned(), en.to_owned())].into();
    Some(LocalizedText { texts })
}

pub(crate) fn item(id: &str, price: i64, tax_class_id: &str, groups: &[&str]) -> Item {
    Item {
        id: id.to_owned(),
        name: text(&format!("{id} 和"), &format!("{id} en")),
        price: yen(price),
        tax_class_id: tax_class_id.to_owned(),
        modifier_group_ids: groups.iter().map(|g| (*g).to_owned()).collect(),
        available: true,
        ..Default::default()
    }
}

pub(crate) fn modifier(id: &str, price: i64, max_quantity: i32, groups: &[&str]) -> Modifier {
    Modifier {
        id: id.to_owned(),
        name: text(&format!("{id} 和"), &format!("{id} en")),
        price: yen(price),
        available: true,
        max_quantity,
        modifier_group_ids: groups.iter().map(|g| (*g).to_owned()).collect(),
        ..Default::default()
    }
}

pub(crate) fn group(id: &str, min_choices: i32, max_choices: i32, modifiers: Vec<Modifier>) -> ModifierGroup {
    ModifierGroup { id: id.to_owned(), name: text(id, id), min_choices, max_choices, modifiers }
}

pub(crate) fn tax_class(id: &str, included_in_price: bool, rates: &[(ServiceMode, i32)]) -> TaxClass {
    let rates = rates
        .iter()
        .map(|&(mode, rate_ppm)| TaxRate { service_mode: mode.into(), rate_ppm, ..TaxRate::default() })
        .collect();
    TaxClass { id: id.to_owned(), name: text(id, id), included_in_price, rates }
}

/// Asked in the store, rounded down.
pub(crate) fn charge(id: &str, rate_bp: i32, basis: ServiceChargeBasis, tax_class_id: &str) -> ServiceCharge {
    ServiceCharge {
        id: id.to_owned(),
        name: text(&format!("{id} 和"), &format!("{id} en")),
        rate_bp,
        basis: basis.into(),
        rounding: TaxRoundingDirection::Down.into(),
        tax_class_id: tax_class_id.to_owned(),
        service_modes: vec![ServiceMode::DineIn.into()],
    }
}

/// Japan's rules: food 10 % in the store and 8 % taken away, drink 10 % anywhere, floor once per rate and receipt.
/// `food` and `alcohol` contain their tax, `food-ex` and `alcohol-ex` do not.
pub(crate) fn catalog() -> Catalog {
    use ServiceMode::{DineIn, Takeaway, Unspecified};
    let food = [(DineIn, 100_000), (Takeaway, 80_000)];
    let alcohol = [(Unspecified, 100_000)];
    let mut sold_out = item("eel", 2_000, "food", &[]);
    sold_out.available = false;
    let mut no_cheese = modifier("blue", 90, 1, &[]);
    no_cheese.available = false;
    Catalog {
        version: 7,
        currency_code: "JPY".to_owned(),
        tax_rounding: Some(TaxRounding {
            scope: TaxRoundingScope::Rate.into(),
            direction: TaxRoundingDirection::Down.into(),
        }),
        tax_classes: vec![
            tax_class("food", true, &food),
            tax_class("food-ex", false, &food),
            tax_class("alcohol", true, &alcohol),
            tax_class("alcohol-ex", false, &alcohol),
        ],
        items: vec![
            item("onigiri", 148, "food-ex", &[]),
            item("salad", 299, "food-ex", &[]),
            item("beer", 218, "alcohol-ex", &[]),
            item("gyoza", 380, "food", &[]),
            item("draft", 590, "alcohol", &[]),
            item("burger", 900, "food", &["patty", "extra"]),
            sold_out,
        ],
        modifier_groups: vec![
            group("patty", 1, 3, vec![modifier("beef", 0, 2, &["cheese"]), modifier("tofu", -200, 3, &[])]),
            group("cheese", 0, 1, vec![modifier("cheddar", 80, 1, &[]), no_cheese]),
            group("extra", 0, 5, vec![modifier("egg", 50, 5, &[]), modifier("coupon", -2_000, 1, &[])]),
        ],
        ..Default::default()
    }
}

pub(crate) fn index(catalog: Catalog) -> CatalogIndex {
    CatalogIndex::new(Arc::new(catalog)).unwrap()
}

pub(crate) fn line(item_id: &str, quantity: i32) -> OrderLineInput {
    OrderLineInput { item_id: item_id.to_owned(), quantity, ..Default::default() }
}

pub(crate) fn choice(group_id: &str, modifier_id: &str, quantity: i32) -> ModifierInput {
    ModifierInput { group_id: group_id.to_owned(), modifier_id: modifier_id.to_owned(), quantity, ..Default::default() }
}

/// Priced in the store, names in Japanese.
pub(crate) fn quote(index: &CatalogIndex, lines: &[OrderLineInput]) -> Result<Quote, Vec<Problem>> {
    quote_while(index, lines, &ClosedPeriods::new())
}

/// As [`quote`], while some menu periods do not go on.
pub(crate) fn quote_while(
    index: &CatalogIndex,
    lines: &[OrderLineInput],
    closed: &ClosedPeriods,
) -> Result<Quote, Vec<Problem>> {
    let locales = &["ja".to_owned()];
    price_lines(index, lines, Terms { default_mode: ServiceMode::DineIn, locales, guest_locale: "", closed })
}

/// What a refused order names: reason and field.
pub(crate) fn problems(index: &CatalogIndex, lines: &[OrderLineInput]) -> Vec<(Reason, String)> {
    quote(index, lines).unwrap_err().into_iter().map(|p| (p.reason, p.field)).collect()
}
