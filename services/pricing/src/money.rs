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

/// An amount for people: `1,080` yen, `10.80` dollars. The minor units of a currency are those of ISO 4217.
pub fn shown_amount(currency_code: &str, amount: i64) -> String {
    let decimals = match currency_code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
        | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let digits = format!("{:0>1$}", amount.unsigned_abs(), decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let mut shown = String::from(if amount < 0 { "-" } else { "" });
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if decimals > 0 {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_as_its_currency_is_written() {
        let shown = [("JPY", 1080), ("JPY", 980), ("JPY", -1_234_567), ("USD", 1080), ("USD", -5), ("KWD", 1_000_000)]
            .map(|(currency, amount)| shown_amount(currency, amount));
        assert_eq!(shown, ["1,080", "980", "-1,234,567", "10.80", "-0.05", "1,000.000"]);
        assert_eq!(shown_amount("JPY", i64::MIN), "-9,223,372,036,854,775,808");
    }
}
