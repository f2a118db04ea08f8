//! Receipts worked out by hand.

use crate::fixture::{catalog, choice, index, item, line, quote, tax_class, yen};
use posmesh_pricing::{default_service_mode, display_price, tax_rate_ppm};
use posmesh_proto::{
    catalog::v1::{TaxRounding, TaxRoundingDirection, TaxRoundingScope},
    common::v1::{Product, ServiceMode},
    order::v1::{OrderLineInput, Price, PriceStatus, TaxAmount},
};

fn takeaway(item_id: &str, quantity: i32) -> OrderLineInput {
    OrderLineInput { service_mode: ServiceMode::Takeaway.into(), ..line(item_id, quantity) }
}

fn tax(rate_ppm: i32, included_in_price: bool, net: i64, tax: i64) -> TaxAmount {
    TaxAmount { rate_ppm, included_in_price, net: yen(net), tax: yen(tax) }
}

fn rounding(scope: TaxRoundingScope, direction: TaxRoundingDirection) -> Option<TaxRounding> {
    Some(TaxRounding { scope: scope.into(), direction: direction.into() })
}

#[test]
fn a_receipt_with_8_and_10_percent_on_top_floors_once_per_rate() {
    // 8 %:  2 × 148 + 299 = 595; 595 × 0.08 = 47.6 → 47
    // 10 %: 3 × 218 = 654;       654 × 0.10 = 65.4 → 65
    // net 595 + 654 = 1249; tax 47 + 65 = 112; total 1361
    let quote = quote(&index(catalog()), &[takeaway("onigiri", 2), takeaway("salad", 1), line("beer", 3)]).unwrap();
    assert_eq!(
        quote.price.unwrap(),
        Price {
            status: PriceStatus::Estimate.into(),
            net: yen(1249),
            tax: yen(112),
            total: yen(1361),
            taxes: vec![tax(80_000, false, 595, 47), tax(100_000, false, 654, 65)],
            charges: vec![],
        }
    );
    assert_eq!(quote.catalog_version, 7);
}

#[test]
fn a_receipt_with_8_and_10_percent_in_the_prices_keeps_its_total() {
    // 8 %:  2 × 380 = 760;            760 × 8/108  = 56.29… → 56, net 704
    // 10 %: 380 + 2 × 590 = 1560;     1560 × 10/110 = 141.81… → 141, net 1419
    // total 760 + 1560 = 2320; tax 56 + 141 = 197; net 704 + 1419 = 2123
    let quote = quote(&index(catalog()), &[takeaway("gyoza", 2), line("gyoza", 1), line("draft", 2)]).unwrap();
    let price = quote.price.unwrap();
    assert_eq!((price.net, price.tax, price.total), (yen(2123), yen(197), yen(2320)));
    assert_eq!(price.taxes, [tax(80_000, true, 704, 56), tax(100_000, true, 1419, 141)]);
}

#[test]
fn rounding_each_line_differs_from_rounding_once() {
    // Three lines of one rice ball at 8 %: 148 × 0.08 = 11.84.
    // Per rate: 444 × 0.08 = 35.52 → down 35, half up 36, up 36.
    // Per line: 11.84 → down 11 × 3 = 33, half up 12 × 3 = 36, up 12 × 3 = 36.
    let lines = [takeaway("onigiri", 1), takeaway("onigiri", 1), takeaway("onigiri", 1)];
    let tax_by = |scope, direction| {
        let mut catalog = catalog();
        catalog.tax_rounding = rounding(scope, direction);
        quote(&index(catalog), &lines).unwrap().price.unwrap().tax.unwrap().amount
    };
    use TaxRoundingDirection::{Down, HalfUp, Up};
    assert_eq!([Down, HalfUp, Up].map(|d| tax_by(TaxRoundingScope::Rate, d)), [35, 36, 36]);
    assert_eq!([Down, HalfUp, Up].map(|d| tax_by(TaxRoundingScope::Line, d)), [33, 36, 36]);
}

#[test]
fn a_half_goes_up_only_where_the_catalog_says_so() {
    // 5 × 299 = 1495; 1495 × 0.10 = 149.5
    let tax_by = |direction| {
        let mut catalog = catalog();
        catalog.tax_rounding = rounding(TaxRoundingScope::Rate, direction);
        quote(&index(catalog), &[line("salad", 5)]).unwrap().price.unwrap().tax.unwrap().amount
    };
    use TaxRoundingDirection::{Down, HalfUp, Up};
    assert_eq!([Down, HalfUp, Up].map(tax_by), [149, 150, 150]);
}

#[test]
fn taxes_of_one_rate_that_the_pos_keeps_apart_are_rounded_each_by_itself() {
    // Two salads under tax 1 and three under tax 2: 598 × 0.10 = 59.8 → 60 and 897 × 0.10 = 89.7 → 90, together 150. As
    // one tax 1495 × 0.10 = 149.5 → 150 half up, but 149 down, where they are 59 + 89.
    let tax_by = |direction, ids: [&str; 2]| {
        let mut catalog = catalog();
        catalog.tax_rounding = rounding(TaxRoundingScope::Rate, direction);
        for (at, id) in ids.into_iter().enumerate() {
            let mut class = tax_class(&format!("tax {at}"), false, &[(ServiceMode::Unspecified, 100_000)]);
            class.rates[0].tax_id = id.to_owned();
            catalog.items.push(item(&format!("salad {at}"), 299, &class.id, &[]));
            catalog.tax_classes.push(class);
        }
        let price = quote(&index(catalog), &[line("salad 0", 2), line("salad 1", 3)]).unwrap().price.unwrap();
        assert_eq!(price.taxes.len(), 1, "a receipt shows one sum per rate");
        assert_eq!(price.taxes[0].net, yen(1495));
        price.tax.unwrap().amount
    };
    use TaxRoundingDirection::{Down, HalfUp};
    assert_eq!([Down, HalfUp].map(|direction| tax_by(direction, ["1", "2"])), [148, 150]);
    assert_eq!([Down, HalfUp].map(|direction| tax_by(direction, ["1", "1"])), [149, 150]);
    assert_eq!([Down, HalfUp].map(|direction| tax_by(direction, ["", ""])), [149, 150]);
}

#[test]
fn choices_count_per_unit_at_every_depth() {
    // One burger: 900 + 2 × beef 0 + 2 × cheddar 80 + 3 × egg 50 = 1210; two of them 2420, of which
    // 2420 × 10/110 = 220 tax.
    let mut beef = choice("patty", "beef", 2);
    beef.modifiers = vec![choice("cheese", "cheddar", 2)];
    let order = OrderLineInput { modifiers: vec![beef, choice("extra", "egg", 3)], ..line("burger", 2) };
    let quote = quote(&index(catalog()), &[order]).unwrap();
    let burger = &quote.lines[0];
    assert_eq!((burger.unit_price.clone(), burger.line_price.clone()), (yen(900), yen(2420)));
    assert_eq!(quote.price.unwrap().tax, yen(220));
    assert_eq!((burger.name.as_str(), burger.modifiers[0].modifiers[0].name.as_str()), ("burger 和", "cheddar 和"));
    assert_eq!((burger.tax_class_id.as_str(), burger.tax_rate_ppm, burger.tax_included), ("food", 100_000, true));
    assert!(burger.line_id.is_empty());
}

#[test]
fn a_menu_shows_the_price_with_tax_of_one_unit() {
    let index = index(catalog());
    let shown = |item, mode| display_price(&index, item, mode);
    // 299 × 1.08 = 322.92 → 322; 299 × 1.10 = 328.9 → 328
    assert_eq!(shown("salad", ServiceMode::Takeaway), yen(322));
    assert_eq!(shown("salad", ServiceMode::DineIn), yen(328));
    assert_eq!(shown("gyoza", ServiceMode::Takeaway), yen(380));
    assert_eq!(shown("unknown", ServiceMode::DineIn), None);
    assert_eq!(tax_rate_ppm(&index, "salad", ServiceMode::Takeaway), Some(80_000));
    assert_eq!(tax_rate_ppm(&index, "beer", ServiceMode::Takeaway), Some(100_000));
}

#[test]
fn togo_is_takeaway_unless_the_line_says_otherwise() {
    assert_eq!(default_service_mode(Product::ToGo), ServiceMode::Takeaway);
    assert_eq!(default_service_mode(Product::Table), ServiceMode::DineIn);
    assert_eq!(default_service_mode(Product::Kiosk), ServiceMode::DineIn);
}
