//! Taxes and totals of priced lines.

use std::collections::BTreeMap;

use posmesh_proto::{
    catalog::v1::{TaxRoundingDirection, TaxRoundingScope},
    order::v1::{OrderLine, Price, PriceStatus, TaxAmount},
};

use crate::{CatalogIndex, MAX_TOTAL, Problem, Reason, index::Rounding, money};

const WHOLE_PPM: i128 = 1_000_000;

/// What the lines come to. They must be priced and not negative.
///
/// # Errors
///
/// [`Reason::AmountOutOfRange`].
pub(crate) fn price(index: &CatalogIndex, lines: &[OrderLine]) -> Result<Price, Problem> {
    let mut net = 0;
    let mut tax = 0;
    let mut taxes = Vec::new();
    let money = |amount| {
        money::money(&index.catalog().currency_code, amount).ok_or_else(|| {
            let message = format!("the order costs more than {MAX_TOTAL} minor units; split it");
            Problem::new(Reason::AmountOutOfRange, "lines", message)
        })
    };
    for ((rate_ppm, included_in_price), rate) in by_rate(&groups(index, lines)) {
        net += rate.net;
        tax += rate.tax;
        taxes.push(TaxAmount { rate_ppm, included_in_price, net: Some(money(rate.net)?), tax: Some(money(rate.tax)?) });
    }
    Ok(Price {
        status: PriceStatus::Estimate.into(),
        net: Some(money(net)?),
        tax: Some(money(tax)?),
        total: Some(money(net + tax)?),
        taxes,
    })
}

/// A rate, and whether it is in the price.
type Rate = (i32, bool);

/// What is rounded together.
#[derive(Default)]
struct Group {
    /// What the lines come to as they are priced, with or without tax.
    priced: i128,
    tax: i128,
}

/// The lines' sums by rate and by the POS's id of the tax.
fn groups<'a>(index: &'a CatalogIndex, lines: &[OrderLine]) -> BTreeMap<(Rate, &'a str), Group> {
    let Rounding { scope, direction } = index.rounding();
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for line in lines {
        let priced = i128::from(money::amount(line.line_price.as_ref()));
        let tax_id = index.tax_id(&line.tax_class_id, line.service_mode());
        let group = groups.entry(((line.tax_rate_ppm, line.tax_included), tax_id)).or_default();
        group.priced += priced;
        if scope == TaxRoundingScope::Line {
            group.tax += tax_of(priced, line.tax_rate_ppm, line.tax_included, direction);
        }
    }
    if scope != TaxRoundingScope::Line {
        for (((rate_ppm, included), _), group) in &mut groups {
            group.tax = tax_of(group.priced, *rate_ppm, *included, direction);
        }
    }
    groups
}

/// What the lines of one rate come to.
#[derive(Default)]
struct Sums {
    net: i128,
    tax: i128,
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

/// The tax in (`included`) or on an amount that is not negative, in whole minor units.
pub(crate) fn tax_of(amount: i128, rate_ppm: i32, included: bool, direction: TaxRoundingDirection) -> i128 {
    let rate = i128::from(rate_ppm);
    let whole = if included { WHOLE_PPM + rate } else { WHOLE_PPM };
    let product = amount * rate;
    let (tax, rest) = (product / whole, product % whole);
    let up = match direction {
        // The index refuses a catalog without a direction.
        TaxRoundingDirection::Unspecified | TaxRoundingDirection::Down => false,
        TaxRoundingDirection::HalfUp => rest * 2 >= whole,
        TaxRoundingDirection::Up => rest > 0,
    };
    tax + i128::from(up)
}
