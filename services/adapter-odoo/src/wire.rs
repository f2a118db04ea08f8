//! Odoo's JSON: an empty text is `false`, a link is `[id, "name"]` or `false`, money is a float.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A link to another record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Link(pub(crate) i64, pub(crate) String);

/// A text, empty where Odoo says `false`.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        _ => String::new(),
    })
}

/// A link, `None` where Odoo says `false`.
pub(crate) fn link<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Link>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(false) | Value::Null => Ok(None),
        value => serde_json::from_value(value).map(Some).map_err(serde::de::Error::custom),
    }
}

/// A float as whole units of `10^-decimals`; `None` if it has more decimals than that or is beyond all sense.
pub(crate) fn to_units(value: f64, decimals: u32) -> Option<i64> {
    // Above 2^53 a float does not hold every whole number.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    let scaled = value * 10_f64.powi(decimals.try_into().ok()?);
    let whole = scaled.round();
    // What binary fractions and Odoo's own sums leave is far smaller than a real further decimal.
    let exact = (scaled - whole).abs() < 1e-4 && whole.abs() <= MAX_EXACT;
    // In the range of exact whole numbers the cast loses nothing.
    exact.then_some(whole as i64)
}

/// Whole units of `10^-decimals` as Odoo's float: the nearest one, which JSON shows with just these decimals.
pub(crate) fn from_units(units: i64, decimals: u32) -> f64 {
    // Amounts stay below 2^53; the quotient of two exact floats is rounded once.
    units as f64 / 10_f64.powi(decimals.min(18) as i32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Record {
        #[serde(deserialize_with = "text")]
        name: String,
        #[serde(deserialize_with = "link")]
        company_id: Option<Link>,
    }

    #[test]
    fn false_is_an_empty_text_and_no_link() {
        let record: Record = serde_json::from_str(r#"{"name":false,"company_id":false}"#).unwrap();
        assert!(record.name.is_empty() && record.company_id.is_none());
        let record: Record = serde_json::from_str(r#"{"name":"食品","company_id":[1,"Acme"]}"#).unwrap();
        assert_eq!((record.name.as_str(), record.company_id), ("食品", Some(Link(1, "Acme".into()))));
    }

    #[test]
    fn money_survives_the_way_to_odoos_floats_and_back() {
        for cents in [0, 1, 5, 10, 1550, 2289, 5348, -733, 999_999_999_999] {
            let float = from_units(cents, 2);
            assert_eq!(to_units(float, 2), Some(cents));
            let shown = serde_json::to_string(&float).unwrap();
            assert!(shown.split('.').nth(1).is_none_or(|d| d.len() <= 2), "{shown}");
        }
        assert_eq!(to_units(22.889_999_999_999_997, 2), Some(2289));
    }

    #[test]
    fn an_amount_finer_than_the_currency_is_no_amount() {
        assert_eq!(to_units(15.5, 0), None);
        assert_eq!(to_units(15.505, 2), None);
        assert_eq!(to_units(f64::NAN, 2), None);
        assert_eq!(to_units(1e300, 2), None);
    }
}
