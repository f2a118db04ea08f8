//! Amounts and their bounds.

use posmesh_proto::common::v1::Money;

/// Greatest price of an item, and greatest absolute price of a modifier, in minor units.
pub const MAX_UNIT_PRICE: i64 = 10_000_000_000;
/// Greatest price of a line or an order, in minor units. Below 2^53, so that every JSON reader keeps it exact.
pub const MAX_TOTAL: i64 = 1_000_000_000_000_000;

/// The amount of a price; an absent one is free.
pub(crate) fn amount(price: Option<&Money>) -> i64 {
    price.map_or(0, |money| money.amount)
}

/// `None` if the amount is beyond [`MAX_TOTAL`] either way.
pub(crate) fn money(currency_code: &str, amount: i128) -> Option<Money> {
    let amount = i64::try_from(amount).ok().filter(|a| (-MAX_TOTAL..=MAX_TOTAL).contains(a))?;
    Some(Money { currency_code: currency_code.to_owned(), amount })
}
