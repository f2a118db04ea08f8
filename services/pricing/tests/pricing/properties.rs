//! What holds for every order.

use std::sync::Arc;

use crate::fixture::{catalog, choice, group, index, item, line, modifier, quote, tax_class};
use posmesh_pricing::{CatalogIndex, MAX_TOTAL, MAX_UNIT_PRICE, Reason};
use posmesh_proto::{
    catalog::v1::{TaxRounding, TaxRoundingDirection, TaxRoundingScope},
    common::v1::{Money, ServiceMode},
    order::v1::{OrderLine, OrderLineInput, Quote},
};
use proptest::{prelude::*, sample::Index};

/// A store with this rounding whose items are `0`, `1`, …: one per price, rate and kind.
fn store(scope: TaxRoundingScope, direction: TaxRoundingDirection, items: &[(i64, i32, bool)]) -> CatalogIndex {
    let mut catalog = catalog();
    catalog.tax_rounding = Some(TaxRounding { scope: scope.into(), direction: direction.into() });
    for (at, &(price, rate_ppm, included)) in items.iter().enumerate() {
        let class = format!("class {at}");
        catalog.tax_classes.push(tax_class(&class, included, &[(ServiceMode::Unspecified, rate_ppm)]));
        catalog.items.push(item(&at.to_string(), price, &class, &[]));
    }
    index(catalog)
}

fn rate() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(80_000), Just(100_000), Just(1_000_000), 0..=1_000_000]
}

fn items() -> impl Strategy<Value = Vec<(i64, i32, bool)>> {
    prop::collection::vec((0..5_000_000_i64, rate(), any::<bool>()), 1..5)
}

fn orders() -> impl Strategy<Value = Vec<(Index, i32)>> {
    prop::collection::vec((any::<Index>(), 1..=999), 1..30)
}

fn scope() -> impl Strategy<Value = TaxRoundingScope> {
    prop_oneof![Just(TaxRoundingScope::Rate), Just(TaxRoundingScope::Line)]
}

fn direction() -> impl Strategy<Value = TaxRoundingDirection> {
    use TaxRoundingDirection::{Down, HalfUp, Up};
    prop_oneof![Just(Down), Just(HalfUp), Just(Up)]
}

fn lines(items: &[(i64, i32, bool)], picks: &[(Index, i32)]) -> Vec<OrderLineInput> {
    picks.iter().map(|(at, quantity)| line(&at.index(items.len()).to_string(), *quantity)).collect()
}

fn amount(money: &Option<Money>) -> i128 {
    money.as_ref().unwrap().amount.into()
}

/// The exact tax of a line as a fraction: numerator and denominator.
fn exact_tax(line: &OrderLine) -> (i128, i128) {
    let rate = i128::from(line.tax_rate_ppm);
    (amount(&line.line_price) * rate, if line.tax_included { 1_000_000 + rate } else { 1_000_000 })
}

/// How far the rounded tax of each rate is above the exact one, as a fraction, with the number of its lines.
fn deviations(quote: &Quote) -> Vec<(i128, i128, i128)> {
    let taxes = &quote.price.as_ref().unwrap().taxes;
    taxes
        .iter()
        .map(|tax| {
            let of_rate =
                |line: &&OrderLine| line.tax_rate_ppm == tax.rate_ppm && line.tax_included == tax.included_in_price;
            let lines: Vec<_> = quote.lines.iter().filter(of_rate).collect();
            let whole = exact_tax(lines[0]).1;
            let exact: i128 = lines.iter().map(|line| exact_tax(line).0).sum();
            (amount(&tax.tax) * whole - exact, whole, lines.len() as i128)
        })
        .collect()
}

proptest! {
    #[test]
    fn net_and_tax_are_the_total_and_the_sums_of_their_rates(
        items in items(), picks in orders(), scope in scope(), direction in direction()
    ) {
        let quote = quote(&store(scope, direction, &items), &lines(&items, &picks)).unwrap();
        let price = quote.price.unwrap();
        prop_assert_eq!(amount(&price.net) + amount(&price.tax), amount(&price.total));
        prop_assert_eq!(price.taxes.iter().map(|t| amount(&t.tax)).sum::<i128>(), amount(&price.tax));
        prop_assert_eq!(price.taxes.iter().map(|t| amount(&t.net)).sum::<i128>(), amount(&price.net));
    }

    #[test]
    fn prices_that_contain_their_tax_are_what_the_guest_pays(
        items in items(), picks in orders(), scope in scope(), direction in direction()
    ) {
        let items: Vec<_> = items.into_iter().map(|(price, rate, _)| (price, rate, true)).collect();
        let quote = quote(&store(scope, direction, &items), &lines(&items, &picks)).unwrap();
        let sum: i128 = quote.lines.iter().map(|line| amount(&line.line_price)).sum();
        prop_assert_eq!(sum, amount(&quote.price.unwrap().total));
    }

    #[test]
    fn the_order_of_the_lines_does_not_change_the_price(
        items in items(), picks in orders(), scope in scope(), direction in direction(), seed in any::<Index>()
    ) {
        let store = store(scope, direction, &items);
        let lines = lines(&items, &picks);
        let mut turned = lines.clone();
        turned.rotate_left(seed.index(lines.len()));
        turned.reverse();
        prop_assert_eq!(quote(&store, &lines).unwrap().price, quote(&store, &turned).unwrap().price);
    }

    #[test]
    fn splitting_a_line_does_not_change_a_price_that_is_rounded_per_receipt(
        items in items(), quantity in 2..=999, part in any::<Index>(), direction in direction()
    ) {
        let store = store(TaxRoundingScope::Rate, direction, &items);
        let part = 1 + part.index(quantity as usize - 1) as i32;
        let whole = quote(&store, &[line("0", quantity)]).unwrap();
        let split = quote(&store, &[line("0", part), line("0", quantity - part)]).unwrap();
        prop_assert_eq!(whole.price, split.price);
    }

    #[test]
    fn tax_deviates_from_the_exact_one_only_in_the_declared_direction(
        items in items(), picks in orders(), scope in scope(), direction in direction()
    ) {
        let quote = quote(&store(scope, direction, &items), &lines(&items, &picks)).unwrap();
        for (above, whole, lines) in deviations(&quote) {
            let roundings = if scope == TaxRoundingScope::Line { lines } else { 1 };
            match direction {
                TaxRoundingDirection::Down => prop_assert!(above <= 0 && -above < whole * roundings),
                TaxRoundingDirection::Up => prop_assert!(above >= 0 && above < whole * roundings),
                _ => prop_assert!(above.abs() * 2 <= whole * roundings),
            }
        }
    }

    #[test]
    fn the_bill_is_what_all_rounds_cost_at_once_and_each_round_is_an_estimate_of_its_share(
        items in items(), rounds in prop::collection::vec(orders(), 1..6), scope in scope(), direction in direction()
    ) {
        let store = store(scope, direction, &items);
        let price = |picks: &[(Index, i32)]| quote(&store, &lines(&items, picks)).unwrap().price.unwrap();
        let bill = price(&rounds.concat());
        let estimates: i128 = rounds.iter().map(|round| amount(&price(round).total)).sum();
        let off = (amount(&bill.total) - estimates).unsigned_abs();
        match scope {
            TaxRoundingScope::Line => prop_assert_eq!(off, 0),
            _ => prop_assert!(off < (rounds.len() * bill.taxes.len()) as u128, "{} off", off),
        }
    }

    #[test]
    fn a_price_with_its_tax_inside_is_the_price_without_and_its_tax(
        net in 0..5_000_000_i64, rate in rate(), quantity in 1..=999, scope in scope(), direction in direction()
    ) {
        let on_top = store(scope, direction, &[(net, rate, false)]);
        let on_top = quote(&on_top, &[line("0", quantity)]).unwrap().price.unwrap();
        // The whole line as one piece, at what the guest paid for it.
        let paid = on_top.total.as_ref().unwrap().amount;
        let inside = quote(&store(scope, direction, &[(paid, rate, true)]), &[line("0", 1)]).unwrap().price.unwrap();
        prop_assert_eq!(amount(&inside.total), amount(&on_top.total));
        // What the tax was rounded by is in the price, and is taxed with it.
        prop_assert!((amount(&inside.tax) - amount(&on_top.tax)).abs() <= 1);
    }

    #[test]
    fn nothing_costs_less_than_zero_and_beyond_the_range_is_an_error(
        prices in prop::collection::vec((0..=MAX_UNIT_PRICE, rate(), any::<bool>()), 1..5),
        picks in prop::collection::vec((any::<Index>(), 1..=999), 1..=500), scope in scope(), direction in direction()
    ) {
        match quote(&store(scope, direction, &prices), &lines(&prices, &picks)) {
            Ok(quote) => {
                let price = quote.price.unwrap();
                let sums = price.taxes.iter().flat_map(|tax| [&tax.net, &tax.tax]);
                for sum in sums.chain([&price.net, &price.tax, &price.total]) {
                    prop_assert!((0..=i128::from(MAX_TOTAL)).contains(&amount(sum)));
                }
            }
            Err(problems) => {
                let exact: i128 = lines(&prices, &picks).iter().map(|line| {
                    let (price, rate, included) = prices[line.item_id.parse::<usize>().unwrap()];
                    let priced = i128::from(price) * i128::from(line.quantity);
                    if included { priced } else { priced + priced * i128::from(rate) / 1_000_000 }
                }).sum();
                // Each line's tax is rounded by less than one.
                prop_assert!(exact + 500 > i128::from(MAX_TOTAL));
                prop_assert!(problems.iter().all(|problem| problem.reason == Reason::AmountOutOfRange));
            }
        }
    }

    #[test]
    fn a_catalog_with_any_price_and_rate_is_priced_or_refused(
        price in any::<i64>(), extra in any::<i64>(), rate in any::<i32>(), quantity in any::<i32>()
    ) {
        let mut catalog = catalog();
        catalog.tax_classes.push(tax_class("odd", false, &[(ServiceMode::Unspecified, rate)]));
        catalog.modifier_groups.push(group("odd", 0, i32::MAX, vec![modifier("odd", extra, i32::MAX, &[])]));
        catalog.items.push(item("odd", price, "odd", &["odd"]));
        if let Ok(index) = CatalogIndex::new(Arc::new(catalog)) {
            let choice = choice("odd", "odd", quantity.unsigned_abs() as i32 & 0x3ff);
            let order = OrderLineInput { modifiers: vec![choice], ..line("odd", quantity & 0x3ff) };
            if let Ok(quote) = quote(&index, &[order]) {
                prop_assert!(amount(&quote.price.unwrap().total) >= 0);
            }
        } else {
            let sane = (0..=MAX_UNIT_PRICE).contains(&price) && extra.unsigned_abs() <= MAX_UNIT_PRICE as u64;
            prop_assert!(!sane || !(0..=1_000_000).contains(&rate));
        }
    }
}
