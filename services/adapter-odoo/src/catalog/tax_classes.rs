//! Products' taxes as tax classes: one per pair of what is due here and what is due for taking away.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use posmesh_proto::{
    catalog::v1::{TaxClass, TaxRate},
    common::v1::ServiceMode,
};

use crate::tax::{FiscalPosition, Rate, Taxes};

use super::names::Names;

/// The classes that the products so far need.
#[derive(Debug)]
pub(super) struct TaxClasses<'a> {
    taxes: &'a Taxes,
    here: &'a FiscalPosition,
    away: &'a FiscalPosition,
    names: &'a Names,
    classes: BTreeMap<(Rate, Rate), TaxClass>,
}

impl<'a> TaxClasses<'a> {
    pub(super) fn new(taxes: &'a Taxes, here: &'a FiscalPosition, away: &'a FiscalPosition, names: &'a Names) -> Self {
        Self { taxes, here, away, names, classes: BTreeMap::new() }
    }

    /// The id of the class for a product's `taxes_id`; `Err` says why there can be none.
    pub(super) fn class_of(&mut self, taxes_id: &[i64]) -> Result<String, String> {
        let own = self.taxes.of_company(taxes_id);
        let here = self.taxes.rate(&self.here.map(&own))?;
        let away = self.taxes.rate(&self.away.map(&own))?;
        let (has_here, has_away) = (here.rate_ppm > 0, away.rate_ppm > 0);
        if has_here && has_away && here.included != away.included {
            return Err("its tax is in the price in the store, but on top of it for taking away, or the reverse".into());
        }
        let included = if has_here { here.included } else { away.included };
        let class = self.classes.entry((here, away)).or_insert_with(|| {
            let rate = |mode: ServiceMode, rate: Rate| TaxRate {
                service_mode: mode.into(),
                rate_ppm: rate.rate_ppm,
                // Odoo rounds each tax by itself.
                tax_id: rate.tax_id.map(|id| id.to_string()).unwrap_or_default(),
            };
            let name = match (here.tax_id, away.tax_id) {
                (Some(a), Some(b)) if a != b => format!("{} / {}", self.taxes.name(a), self.taxes.name(b)),
                (Some(id), _) | (None, Some(id)) => self.taxes.name(id).to_owned(),
                (None, None) => "0%".to_owned(),
            };
            let name = if name.trim().is_empty() { id(here, away) } else { name };
            TaxClass {
                id: id(here, away),
                name: Some(self.names.plain(&name)),
                included_in_price: included,
                rates: match here == away {
                    true => vec![rate(ServiceMode::Unspecified, here)],
                    false => vec![rate(ServiceMode::DineIn, here), rate(ServiceMode::Takeaway, away)],
                },
            }
        });
        Ok(class.id.clone())
    }

    /// Whether a class has tax on top of its prices.
    pub(super) fn is_on_top(&self, id: &str) -> bool {
        self.bears_tax(id) && self.classes.values().any(|class| class.id == id && !class.included_in_price)
    }

    /// Whether a class has any rate above zero.
    pub(super) fn bears_tax(&self, id: &str) -> bool {
        self.classes.values().any(|class| class.id == id && class.rates.iter().any(|rate| rate.rate_ppm > 0))
    }

    /// The classes to leave out, so that each receipt comes to what Odoo says; `sold` are the products' classes.
    ///
    /// Where any tax of a receipt is on top of its price and tax is rounded once per receipt, Odoo rounds the net of the
    /// whole receipt, prices that contain their tax included, and adds the rounded taxes. With two taxes in prices, or
    /// one that can end in half a minor unit, the guest then pays a minor unit more or less than the prices say. The kind
    /// that fewer products are of is left out.
    pub(super) fn unmixable(&self, sold: impl Iterator<Item = impl AsRef<str>>) -> HashSet<String> {
        let rates = || self.classes.keys().flat_map(|(here, away)| [here, away]).filter(|rate| rate.tax_id.is_some());
        let inside: BTreeSet<&Rate> = rates().filter(|rate| rate.included && rate.rate_ppm > 0).collect();
        let differs = inside.len() > 1 || inside.iter().any(|rate| rate.may_end_in_a_half());
        if !differs || rates().all(|rate| rate.included) {
            return HashSet::new();
        }
        let on_top =
            |(here, away): &(Rate, Rate)| [here, away].iter().any(|rate| rate.tax_id.is_some() && !rate.included);
        let within = |(here, away): &(Rate, Rate)| inside.contains(here) || inside.contains(away);
        let ids = |of: &dyn Fn(&(Rate, Rate)) -> bool| -> HashSet<String> {
            self.classes.iter().filter(|(rates, _)| of(rates)).map(|(_, class)| class.id.clone()).collect()
        };
        let (on_top, within) = (ids(&on_top), ids(&within));
        let (mut above, mut contained) = (0, 0);
        for class in sold {
            above += usize::from(on_top.contains(class.as_ref()));
            contained += usize::from(within.contains(class.as_ref()));
        }
        if above < contained { on_top } else { within }
    }

    pub(super) fn into_classes(self) -> Vec<TaxClass> {
        self.classes.into_values().collect()
    }
}

fn id(here: Rate, away: Rate) -> String {
    let part = |rate: Rate| rate.tax_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    if here == away { format!("tax-{}", part(here)) } else { format!("tax-{}-{}", part(here), part(away)) }
}
