//! Products' taxes as tax classes: one per pair of what is due here and what is due for taking away.

use std::collections::BTreeMap;

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
            let rate = |mode: ServiceMode, rate: Rate| TaxRate { service_mode: mode.into(), rate_ppm: rate.rate_ppm };
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
                rates: match here.rate_ppm == away.rate_ppm {
                    true => vec![rate(ServiceMode::Unspecified, here)],
                    false => vec![rate(ServiceMode::DineIn, here), rate(ServiceMode::Takeaway, away)],
                },
            }
        });
        Ok(class.id.clone())
    }

    /// Whether a class has tax on top of its prices.
    pub(super) fn is_on_top(&self, id: &str) -> bool {
        self.classes
            .values()
            .any(|class| class.id == id && !class.included_in_price && class.rates.iter().any(|r| r.rate_ppm > 0))
    }

    /// Rates that several of Odoo's taxes share: Odoo rounds each tax by itself, the platform each rate.
    pub(super) fn shared_rates(&self) -> Vec<String> {
        let mut taxes: BTreeMap<(i32, bool), Vec<i64>> = BTreeMap::new();
        for rate in self.classes.keys().flat_map(|(here, away)| [here, away]) {
            let ids = taxes.entry((rate.rate_ppm, rate.included)).or_default();
            ids.extend(rate.tax_id.filter(|id| rate.rate_ppm > 0 && !ids.contains(id)));
        }
        let shared = taxes.into_values().filter(|ids| ids.len() > 1);
        shared.map(|ids| ids.iter().map(|id| self.taxes.name(*id)).collect::<Vec<_>>().join(", ")).collect()
    }

    pub(super) fn into_classes(self) -> Vec<TaxClass> {
        self.classes.into_values().collect()
    }
}

fn id(here: Rate, away: Rate) -> String {
    let part = |rate: Rate| rate.tax_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    if here == away { format!("tax-{}", part(here)) } else { format!("tax-{}-{}", part(here), part(away)) }
}
