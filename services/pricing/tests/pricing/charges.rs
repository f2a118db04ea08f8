//! Service charges: receipts worked out by hand, and what holds for every order.

use std::sync::Arc;

use posmesh_pricing::{CatalogIndex, UnusableCatalog};
use posmesh_proto::{
    catalog::v1::{Catalog, ServiceCharge, ServiceChargeBasis, TaxRounding, TaxRoundingDirection, TaxRoundingScope},
    common::v1::{Money, ServiceMode},
    order::v1::{OrderLineInput, Price},
};
use proptest::{prelude::*, sample::Index};

use crate::fixture::{catalog, charge, index, item, line, quote, tax_class, yen};

use ServiceChargeBasis::{WithTax, WithoutTax};

fn with(charges: Vec<ServiceCharge>) -> CatalogIndex {
    let mut catalog = catalog();
    catalog.service_charges = charges;
    index(catalog)
}

fn priced(charges: Vec<ServiceCharge>, lines: &[OrderLineInput]) -> Price {
    quote(&with(charges), lines).unwrap().price.unwrap()
}

fn takeaway(item_id: &str, quantity: i32) -> OrderLineInput {
    OrderLineInput { service_mode: ServiceMode::Takeaway.into(), ..line(item_id, quantity) }
}

fn charged(price: &Price) -> Vec<(&str, i64)> {
    price.charges.iter().map(|c| (c.charge_id.as_str(), c.amount.as_ref().unwrap().amount)).collect()
}

#[test]
fn a_charge_on_prices_with_tax_is_taxed_and_rounded_with_the_lines_of_its_rate() {
    // 2 × 380 + 590 = 1350 in the store; 10 % of it 135. 10 %: 1485 × 10/110 = 135, net 1350.
    let price = priced(vec![charge("service", 1_000, WithTax, "food")], &[line("gyoza", 2), line("draft", 1)]);
    let told = &price.charges[0];
    assert_eq!((told.name.as_str(), told.amount.clone(), told.tax_rate_ppm), ("service 和", yen(135), 100_000));
    assert_eq!((told.service_mode(), told.tax_included), (ServiceMode::DineIn, true));
    assert_eq!((price.net, price.tax, price.total), (yen(1350), yen(135), yen(1485)));
    assert_eq!((price.taxes.len(), price.taxes[0].net.clone()), (1, yen(1350)));
}

#[test]
fn a_charge_on_prices_without_tax_takes_the_tax_out_of_them_first() {
    // 760 × 10/110 = 69.09… → 69, net 691; 10 % of that 69.1 → 69, tax on top. Inside 69; on top 69 × 0.1 = 6.9 → 6.
    let price = priced(vec![charge("service", 1_000, WithoutTax, "food-ex")], &[line("gyoza", 2)]);
    assert_eq!(charged(&price), [("service", 69)]);
    assert_eq!((price.net, price.tax, price.total), (yen(760), yen(75), yen(835)));
}

#[test]
fn what_is_taken_away_bears_no_charge_that_is_asked_in_the_store() {
    let service = vec![charge("service", 1_000, WithTax, "food")];
    let lines = [line("gyoza", 1), takeaway("gyoza", 1)];
    assert_eq!(charged(&priced(service.clone(), &lines)), [("service", 38)]);
    assert_eq!(priced(service, &lines[1..]).charges, []);
    // One for all modes is asked in each at its own rate of tax.
    let all = ServiceCharge { service_modes: vec![], ..charge("all", 500, WithTax, "food") };
    let price = priced(vec![all], &lines);
    let rates: Vec<(i32, i64)> =
        price.charges.iter().map(|c| (c.tax_rate_ppm, c.amount.as_ref().unwrap().amount)).collect();
    assert_eq!((rates, price.total), (vec![(100_000, 19), (80_000, 19)], yen(798)));
}

#[test]
fn no_charge_is_reckoned_on_another_and_one_that_comes_to_nothing_is_not_told() {
    let late = ServiceCharge { rounding: TaxRoundingDirection::Up.into(), ..charge("late", 1_500, WithTax, "food") };
    let tiny = charge("tiny", 1, WithTax, "food");
    // 10 % of 590 is 59; 15 % of it 88.5 → 89; a ten-thousandth of it is nothing.
    let price = priced(vec![charge("service", 1_000, WithTax, "food"), late, tiny], &[line("draft", 1)]);
    assert_eq!((charged(&price), price.total.clone()), (vec![("service", 59), ("late", 89)], yen(738)));
}

#[test]
fn a_catalog_with_a_charge_that_cannot_be_reckoned_is_not_priced() {
    let refused = |change: fn(&mut ServiceCharge)| {
        let mut catalog = catalog();
        let mut charge = charge("service", 1_000, WithTax, "food");
        change(&mut charge);
        catalog.service_charges = vec![charge];
        CatalogIndex::new(Arc::new(catalog)).is_err_and(|e| matches!(e, UnusableCatalog::UnusableCharge { .. }))
    };
    assert!(!refused(|_| {}));
    assert!(refused(|c| c.rate_bp = 0));
    assert!(refused(|c| c.rate_bp = 5_001));
    assert!(refused(|c| c.basis = 0));
    assert!(refused(|c| c.rounding = 4));
    assert!(refused(|c| c.tax_class_id = "gone".to_owned()));
    assert!(refused(|c| c.service_modes = vec![9]));
}

fn amount(money: &Option<Money>) -> i128 {
    money.as_ref().unwrap().amount.into()
}

/// A store that sells `0`, `1`, … in the store, with two charges of which one contains its tax.
fn store(
    (scope, direction): (TaxRoundingScope, TaxRoundingDirection),
    items: &[(i64, i32, bool)],
    (with_tax, without_tax): (i32, i32),
) -> CatalogIndex {
    let mut catalog = catalog();
    catalog.tax_rounding = Some(TaxRounding { scope: scope.into(), direction: direction.into() });
    for (at, &(price, rate_ppm, included)) in items.iter().enumerate() {
        let class = format!("class {at}");
        catalog.tax_classes.push(tax_class(&class, included, &[(ServiceMode::Unspecified, rate_ppm)]));
        catalog.items.push(item(&at.to_string(), price, &class, &[]));
    }
    catalog.service_charges =
        vec![charge("gross", with_tax, WithTax, "food"), charge("net", without_tax, WithoutTax, "alcohol-ex")];
    index(catalog)
}

proptest! {
    #[test]
    fn with_charges_too_net_and_tax_are_the_total_and_the_sums_of_their_rates(
        items in prop::collection::vec((0..5_000_000_i64, 0..=1_000_000_i32, any::<bool>()), 1..5),
        picks in prop::collection::vec((any::<Index>(), 1..=999), 1..30),
        rates in (1..=5_000_i32, 1..=5_000_i32),
        scope in prop_oneof![Just(TaxRoundingScope::Rate), Just(TaxRoundingScope::Line)],
        direction in prop_oneof![
            Just(TaxRoundingDirection::Down), Just(TaxRoundingDirection::HalfUp), Just(TaxRoundingDirection::Up)
        ],
    ) {
        let lines: Vec<_> =
            picks.iter().map(|(at, quantity)| line(&at.index(items.len()).to_string(), *quantity)).collect();
        let store = store((scope, direction), &items, rates);
        let mut bare = Catalog::clone(store.catalog());
        bare.service_charges.clear();
        let plain = quote(&index(bare), &lines).unwrap().price.unwrap();
        let price = quote(&store, &lines).unwrap().price.unwrap();
        prop_assert_eq!(amount(&price.net) + amount(&price.tax), amount(&price.total));
        prop_assert_eq!(price.taxes.iter().map(|t| amount(&t.tax)).sum::<i128>(), amount(&price.tax));
        prop_assert_eq!(price.taxes.iter().map(|t| amount(&t.net)).sum::<i128>(), amount(&price.net));
        // Each is its share of what the lines come to, rounded down; and all of it is in the total.
        let of = |id: &str| price.charges.iter().find(|c| c.charge_id == id).map_or(0, |c| amount(&c.amount));
        prop_assert_eq!(of("gross"), amount(&plain.total) * i128::from(rates.0) / 10_000);
        prop_assert_eq!(of("net"), amount(&plain.net) * i128::from(rates.1) / 10_000);
        let added = amount(&price.total) - amount(&plain.total) - of("gross") - of("net");
        // Besides, tax of 10 % on the second; sums that are rounded with others move by one.
        prop_assert!((added - of("net") / 10).abs() <= 2, "{}", added);
    }
}
