//! Odoo's taxes, as far as they can be told exactly: percentages, in the price or on top of it.
//!
//! Odoo rounds halves away from zero, once per tax and order (`round_globally`) or per line (`round_per_line`).

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{Api, ApiError},
    settings::IdOrName,
    till::Till,
    wire,
};

const TAX_FIELDS: [&str; 7] =
    ["name", "amount_type", "amount", "price_include", "company_id", "children_tax_ids", "sequence"];

/// What is summed up before it is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoundingScope {
    Rate,
    Line,
}

/// An `account.tax`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tax {
    pub(crate) id: i64,
    pub(crate) name: String,
    amount_type: String,
    amount: f64,
    price_include: bool,
    #[serde(deserialize_with = "wire::link")]
    company_id: Option<wire::Link>,
}

/// What one line bears: at most one percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Rate {
    /// `None`: no tax.
    pub(crate) tax_id: Option<i64>,
    /// In millionths.
    pub(crate) rate_ppm: i32,
    pub(crate) included: bool,
}

impl Rate {
    /// Whether the tax within a price of whole minor units can be some and a half.
    pub(crate) fn may_end_in_a_half(self) -> bool {
        const WHOLE: i32 = 1_000_000;
        let (mut divisor, mut rest) = (WHOLE, self.rate_ppm);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        // The tax is price × rate / (whole + rate), in lowest terms.
        (WHOLE + self.rate_ppm) / divisor.max(1) % 2 == 0
    }
}

/// An `account.fiscal.position`; the default one changes nothing.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct FiscalPosition {
    id: i64,
    name: String,
    tax_ids: Vec<i64>,
    tax_map: Value,
}

impl FiscalPosition {
    pub(crate) fn matches(&self, wanted: &IdOrName) -> bool {
        wanted.is(self.id, &self.name)
    }

    /// The taxes that stand in the place of these; as Odoo maps them, taxes without an entry stay.
    pub(crate) fn map(&self, taxes: &[i64]) -> Vec<i64> {
        if self.id == 0 {
            return taxes.to_vec();
        }
        // A position without any tax of its own removes all.
        if self.tax_ids.is_empty() {
            return Vec::new();
        }
        let mut mapped = Vec::new();
        for tax in taxes {
            let others = self.tax_map.get(tax.to_string()).and_then(Value::as_array);
            let others = others.map_or_else(|| vec![*tax], |ids| ids.iter().filter_map(Value::as_i64).collect());
            mapped.extend(others.into_iter().filter(|id| !mapped.contains(id)).collect::<Vec<_>>());
        }
        mapped
    }
}

/// The sale taxes of the till's company.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taxes(HashMap<i64, Tax>);

impl Taxes {
    pub(crate) async fn read(api: &Api<'_>, till: &Till) -> Result<Self, ApiError> {
        let domain = json!([["type_tax_use", "=", "sale"], ["company_id", "parent_of", [till.company_id]]]);
        let taxes: Vec<Tax> = api.search_read("account.tax", domain, &TAX_FIELDS, &till.scope_with_archived()).await?;
        Ok(Self::new(taxes))
    }

    pub(crate) fn new(taxes: Vec<Tax>) -> Self {
        Self(taxes.into_iter().map(|tax| (tax.id, tax)).collect())
    }

    pub(crate) fn name(&self, id: i64) -> &str {
        self.0.get(&id).map_or("", |tax| &tax.name)
    }

    /// A product's taxes in the till's company: `taxes_id` holds those of all companies.
    pub(crate) fn of_company(&self, taxes_id: &[i64]) -> Vec<i64> {
        taxes_id.iter().copied().filter(|id| self.0.get(id).is_some_and(|tax| tax.company_id.is_some())).collect()
    }

    /// The one percentage that these taxes are; `Err` says why they are something else.
    pub(crate) fn rate(&self, taxes: &[i64]) -> Result<Rate, String> {
        let id = match taxes {
            [] => return Ok(Rate::default()),
            [id] => id,
            _ => return Err("it bears several taxes at once".to_owned()),
        };
        let Some(tax) = self.0.get(id) else { return Err(format!("its tax {id} is not one of the till's company")) };
        if tax.amount_type != "percent" {
            return Err(format!("its tax {:?} is no percentage but of the kind {:?}", tax.name, tax.amount_type));
        }
        // Odoo keeps four decimals of a percent, which are millionths.
        let rate_ppm = wire::to_units(tax.amount, 4).and_then(|ppm| i32::try_from(ppm).ok());
        match rate_ppm.filter(|ppm| (0..=1_000_000).contains(ppm)) {
            Some(rate_ppm) => Ok(Rate { tax_id: Some(*id), rate_ppm, included: tax.price_include }),
            None => Err(format!("its tax {:?} of {} % is out of range", tax.name, tax.amount)),
        }
    }
}

/// Tax within (`included`) or on top of a priced amount, in minor units.
pub(crate) fn tax_of(priced: i64, rate: Rate) -> i64 {
    let ppm = i128::from(rate.rate_ppm);
    let whole = if rate.included { 1_000_000 + ppm } else { 1_000_000 };
    let product = i128::from(priced.abs()) * ppm;
    let rounded = (2 * product + whole) / (2 * whole);
    // A rate of at most 100 % never makes more than the amount itself.
    let rounded = i64::try_from(rounded).unwrap_or(i64::MAX);
    if priced < 0 { -rounded } else { rounded }
}

/// What priced lines come to, tax included, in minor units, by Odoo's own rule.
pub(crate) fn total(lines: impl IntoIterator<Item = (i64, Rate)>, scope: RoundingScope) -> i64 {
    let with_tax = |priced: i64, rate: Rate| if rate.included { priced } else { priced + tax_of(priced, rate) };
    match scope {
        RoundingScope::Line => lines.into_iter().map(|(priced, rate)| with_tax(priced, rate)).sum(),
        RoundingScope::Rate => {
            let mut sums: BTreeMap<Rate, i64> = BTreeMap::new();
            for (priced, rate) in lines {
                *sums.entry(rate).or_default() += priced;
            }
            sums.into_iter().map(|(rate, priced)| with_tax(priced, rate)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn taxes() -> Taxes {
        let tax = |id: i64, kind: &str, amount: f64, include: bool| {
            json!({"id": id, "name": format!("T{id}"), "amount_type": kind, "amount": amount, "price_include": include,
                   "company_id": [1, "Acme"], "children_tax_ids": [], "sequence": 1})
        };
        let records = json!([
            tax(1, "percent", 15.0, false),
            tax(2, "percent", 8.0, true),
            tax(3, "fixed", 1.0, false),
            tax(4, "percent", 8.875, false)
        ]);
        Taxes::new(serde_json::from_value(records).unwrap())
    }

    #[test]
    fn three_burgers_come_to_what_odoo_19_was_seen_to_compute() {
        let rate = taxes().rate(&[1]).unwrap();
        assert_eq!(total([(1550, rate); 3], RoundingScope::Rate), 5348);
        assert_eq!(total([(1550, rate); 3], RoundingScope::Line), 5349);
    }

    #[test]
    fn tax_in_the_price_never_changes_the_total() {
        let rate = taxes().rate(&[2]).unwrap();
        assert_eq!(total([(1080, rate), (333, rate)], RoundingScope::Rate), 1413);
        assert_eq!(tax_of(1080, rate), 80);
    }

    #[test]
    fn taxes_of_other_companies_are_dropped_and_odd_ones_named() {
        let taxes = taxes();
        assert_eq!(taxes.of_company(&[1, 17]), [1]);
        assert_eq!(taxes.rate(&[]).unwrap(), Rate::default());
        assert_eq!(taxes.rate(&[4]).unwrap().rate_ppm, 88_750);
        assert!(taxes.rate(&[3]).unwrap_err().contains("fixed"));
        assert!(taxes.rate(&[1, 4]).unwrap_err().contains("several"));
    }

    #[test]
    fn a_fiscal_position_maps_as_odoo_does() {
        let position: FiscalPosition =
            serde_json::from_value(json!({"id": 7, "name": "Away", "tax_ids": [2], "tax_map": {"1": [2]}})).unwrap();
        assert_eq!(position.map(&[1]), [2]);
        assert_eq!(position.map(&[4]), [4], "a tax without an entry stays");
        let empty: FiscalPosition =
            serde_json::from_value(json!({"id": 8, "name": "Free", "tax_ids": [], "tax_map": {}})).unwrap();
        assert!(empty.map(&[1]).is_empty(), "a position without taxes removes all");
        assert_eq!(FiscalPosition::default().map(&[1]), [1]);
    }
}
