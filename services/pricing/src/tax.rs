//! Taxes and totals of priced lines.

use std::collections::BTreeMap;

use posmesh_proto::{
    catalog::v1::{TaxRoundingDirection, TaxRoundingScope},
    common::v1::{Money, ServiceMode},
    order::v1::{ChargeAmount, OrderLine, Price, PriceStatus, TaxAmount},
};

use crate::{CatalogIndex, MAX_TOTAL, Problem, Reason, charge, index::Rounding, money};

const WHOLE_PPM: i128 = 1_000_000;

/// What the lines come to, with what the POS adds to them. They must be priced and not negative.
///
/// # Errors
///
/// [`Reason::AmountOutOfRange`].
pub(crate) fn price(index: &CatalogIndex, lines: &[OrderLine], locales: &[String]) -> Result<Price, Problem> {
    let charges = charge::charges(index, lines, locales)?;
    let amounts = lines.iter().map(|line| of_line(index, line)).chain(charges.iter().map(|c| of_charge(index, c)));
    let groups = groups(index, amounts);
    let Sums { net, tax } = sum(&groups);
    let mut taxes = Vec::new();
    for ((rate_ppm, included_in_price), rate) in by_rate(&groups) {
        let (net, tax) = (in_range(index, rate.net)?, in_range(index, rate.tax)?);
        taxes.push(TaxAmount { rate_ppm, included_in_price, net: Some(net), tax: Some(tax) });
    }
    Ok(Price {
        status: PriceStatus::Estimate.into(),
        net: Some(in_range(index, net)?),
        tax: Some(in_range(index, tax)?),
        total: Some(in_range(index, net + tax)?),
        taxes,
        charges,
    })
}

/// What the lines in a service mode come to without charges, their tax rounded as if they were a receipt of their own.
pub(crate) fn sums_in(index: &CatalogIndex, lines: &[OrderLine], mode: ServiceMode) -> Sums {
    let in_mode = lines.iter().filter(|line| line.service_mode() == mode);
    sum(&groups(index, in_mode.map(|line| of_line(index, line))))
}

/// An amount in the catalog's currency.
///
/// # Errors
///
/// [`Reason::AmountOutOfRange`].
pub(crate) fn in_range(index: &CatalogIndex, amount: i128) -> Result<Money, Problem> {
    money::money(&index.catalog().currency_code, amount).ok_or_else(|| {
        let message = format!("the order costs more than {MAX_TOTAL} minor units; split it");
        Problem::new(Reason::AmountOutOfRange, "lines", message)
    })
}

/// A rate, and whether it is in the price.
type Rate = (i32, bool);

/// Something that bears tax.
struct Amount<'a> {
    /// As it is priced, with or without tax.
    priced: i128,
    rate: Rate,
    /// The POS's id of the tax.
    tax_id: &'a str,
}

fn of_line<'a>(index: &'a CatalogIndex, line: &OrderLine) -> Amount<'a> {
    Amount {
        priced: money::amount(line.line_price.as_ref()).into(),
        rate: (line.tax_rate_ppm, line.tax_included),
        tax_id: index.tax_id(&line.tax_class_id, line.service_mode()),
    }
}

fn of_charge<'a>(index: &'a CatalogIndex, charge: &ChargeAmount) -> Amount<'a> {
    Amount {
        priced: money::amount(charge.amount.as_ref()).into(),
        rate: (charge.tax_rate_ppm, charge.tax_included),
        tax_id: index.tax_id(&charge.tax_class_id, charge.service_mode()),
    }
}

/// What is rounded together.
#[derive(Default)]
struct Group {
    /// What it comes to as it is priced, with or without tax.
    priced: i128,
    tax: i128,
}

/// Sums by rate and by the POS's id of the tax.
fn groups<'a>(index: &CatalogIndex, amounts: impl Iterator<Item = Amount<'a>>) -> BTreeMap<(Rate, &'a str), Group> {
    let Rounding { scope, direction } = index.rounding();
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for Amount { priced, rate, tax_id } in amounts {
        let group = groups.entry((rate, tax_id)).or_default();
        group.priced += priced;
        if scope == TaxRoundingScope::Line {
            group.tax += tax_of(priced, rate.0, rate.1, direction);
        }
    }
    if scope != TaxRoundingScope::Line {
        for (((rate_ppm, included), _), group) in &mut groups {
            group.tax = tax_of(group.priced, *rate_ppm, *included, direction);
        }
    }
    groups
}

/// What amounts come to.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) net: i128,
    pub(crate) tax: i128,
}

/// The lowest rate first.
fn by_rate(groups: &BTreeMap<(Rate, &str), Group>) -> BTreeMap<Rate, Sums> {
    let mut rates: BTreeMap<Rate, Sums> = BTreeMap::new();
    for ((rate, _), group) in groups {
        let sums = rates.entry(*rate).or_default();
        sums.net += if rate.1 { group.priced - group.tax } else { group.priced };
        sums.tax += group.tax;
    }
    rates
}

fn sum(groups: &BTreeMap<(Rate, &str), Group>) -> Sums {
    let rates = by_rate(groups).into_values();
    rates.fold(Sums::default(), |all, rate| Sums { net: all.net + rate.net, tax: all.tax + rate.tax })
}

/// The tax in (`included`) or on an amount that is not negative, in whole minor units.
pub(crate) fn tax_of(amount: i128, rate_ppm: i32, included: bool, direction: TaxRoundingDirection) -> i128 {
    let rate = i128::from(rate_ppm);
    let whole = if included { WHOLE_PPM + rate } else { WHOLE_PPM };
    rounded(amount * rate, whole, direction)
}

/// A fraction that is not negative as a whole number.
pub(crate) fn rounded(numerator: i128, denominator: i128, direction: TaxRoundingDirection) -> i128 {
    let (floor, rest) = (numerator / denominator, numerator % denominator);
    let up = match direction {
        // The index refuses a catalog without a direction.
        TaxRoundingDirection::Unspecified | TaxRoundingDirection::Down => false,
        TaxRoundingDirection::HalfUp => rest * 2 >= denominator,
        TaxRoundingDirection::Up => rest > 0,
    };
    floor + i128::from(up)
}
