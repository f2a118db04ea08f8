//! A catalog with its things by id.

use std::{collections::HashMap, sync::Arc};

use posmesh_proto::{
    catalog::v1::{
        Catalog, Item, Modifier, ModifierGroup, ServiceCharge, ServiceChargeBasis, Table, TaxClass, TaxRate,
        TaxRoundingDirection, TaxRoundingScope, Tender,
    },
    common::v1::ServiceMode,
};

use crate::{
    charge::{MAX_CHARGE_RATE_BP, MODES},
    money::{self, MAX_UNIT_PRICE},
};

/// A catalog made ready for look-ups and prices. Cheap to share, immutable.
#[derive(Debug)]
pub struct CatalogIndex {
    catalog: Arc<Catalog>,
    rounding: Rounding,
    // Positions in the lists of the catalog.
    items: HashMap<String, usize>,
    groups: HashMap<String, Group>,
    tax_classes: HashMap<String, usize>,
    tables: HashMap<String, usize>,
    tenders: HashMap<String, usize>,
}

#[derive(Debug)]
struct Group {
    position: usize,
    modifiers: HashMap<String, usize>,
}

/// The catalog's rule, both parts known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    pub(crate) scope: TaxRoundingScope,
    pub(crate) direction: TaxRoundingDirection,
}

/// Nothing can be priced on such a catalog. One that the catalog service has published never is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnusableCatalog {
    /// Without it tax cannot become whole minor units.
    #[error("the catalog does not say how tax is rounded")]
    NoTaxRounding,
    /// Negative, or beyond [`MAX_UNIT_PRICE`].
    #[error("the price of {what} {id:?} is out of range")]
    PriceOutOfRange {
        /// "item" or "modifier".
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The item's tax class is not in the catalog.
    #[error("item {item_id:?} has the unknown tax class {tax_class_id:?}")]
    UnknownTaxClass {
        /// The item.
        item_id: String,
        /// What it refers to.
        tax_class_id: String,
    },
    /// A tax class lacks a rate for a service mode, or has one that is not 0 to 100 %.
    #[error("tax class {tax_class_id:?} has no usable rate for {mode}")]
    NoTaxRate {
        /// The class.
        tax_class_id: String,
        /// The mode's name in the contract.
        mode: &'static str,
    },
    /// A total without it would be less than the POS asks.
    #[error("the service charge {id:?} cannot be reckoned: {reason}")]
    UnusableCharge {
        /// Of the charge.
        id: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl CatalogIndex {
    /// Builds the index. Of things with the same id the last one counts.
    ///
    /// # Errors
    ///
    /// What makes prices impossible.
    pub fn new(catalog: Arc<Catalog>) -> Result<Self, UnusableCatalog> {
        let index = Self {
            rounding: rounding(&catalog)?,
            items: positions(&catalog.items, |item| &item.id),
            groups: groups(&catalog.modifier_groups),
            tax_classes: positions(&catalog.tax_classes, |class| &class.id),
            tables: positions(&catalog.tables, |table| &table.id),
            tenders: positions(&catalog.tenders, |tender| &tender.id),
            catalog,
        };
        index.check_taxes()?;
        index.check_prices()?;
        index.check_charges()?;
        Ok(index)
    }

    /// The catalog itself.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// An item by id.
    pub fn item(&self, id: &str) -> Option<&Item> {
        self.items.get(id).and_then(|&at| self.catalog.items.get(at))
    }

    /// An item with its tax class, which every item of an index has.
    pub fn item_with_tax(&self, id: &str) -> Option<(&Item, &TaxClass)> {
        let item = self.item(id)?;
        Some((item, self.tax_class(&item.tax_class_id)?))
    }

    /// A modifier group by id.
    pub fn modifier_group(&self, id: &str) -> Option<&ModifierGroup> {
        self.groups.get(id).and_then(|group| self.catalog.modifier_groups.get(group.position))
    }

    /// A modifier of a group.
    pub fn modifier(&self, group_id: &str, id: &str) -> Option<&Modifier> {
        let at = *self.groups.get(group_id)?.modifiers.get(id)?;
        self.modifier_group(group_id)?.modifiers.get(at)
    }

    /// A tax class by id.
    pub fn tax_class(&self, id: &str) -> Option<&TaxClass> {
        self.tax_classes.get(id).and_then(|&at| self.catalog.tax_classes.get(at))
    }

    /// The POS's id of the tax of a class in a mode; empty where the catalog tells none.
    pub(crate) fn tax_id(&self, tax_class_id: &str, mode: ServiceMode) -> &str {
        self.tax_class(tax_class_id).and_then(|class| rate(class, mode)).map_or("", |rate| &rate.tax_id)
    }

    /// A table by id.
    pub fn table(&self, id: &str) -> Option<&Table> {
        self.tables.get(id).and_then(|&at| self.catalog.tables.get(at))
    }

    /// A tender by id.
    pub fn tender(&self, id: &str) -> Option<&Tender> {
        self.tenders.get(id).and_then(|&at| self.catalog.tenders.get(at))
    }

    pub(crate) fn rounding(&self) -> Rounding {
        self.rounding
    }

    fn check_taxes(&self) -> Result<(), UnusableCatalog> {
        for item in &self.catalog.items {
            let class = self.tax_class(&item.tax_class_id).ok_or_else(|| UnusableCatalog::UnknownTaxClass {
                item_id: item.id.clone(),
                tax_class_id: item.tax_class_id.clone(),
            })?;
            check_rates(class)?;
        }
        Ok(())
    }

    fn check_charges(&self) -> Result<(), UnusableCatalog> {
        for charge in &self.catalog.service_charges {
            if let Some(reason) = what_is_wrong(charge) {
                return Err(UnusableCatalog::UnusableCharge { id: charge.id.clone(), reason });
            }
            let unknown =
                || UnusableCatalog::UnusableCharge { id: charge.id.clone(), reason: "its tax class is not known" };
            check_rates(self.tax_class(&charge.tax_class_id).ok_or_else(unknown)?)?;
        }
        Ok(())
    }

    fn check_prices(&self) -> Result<(), UnusableCatalog> {
        for item in &self.catalog.items {
            if !(0..=MAX_UNIT_PRICE).contains(&money::amount(item.price.as_ref())) {
                return Err(UnusableCatalog::PriceOutOfRange { what: "item", id: item.id.clone() });
            }
        }
        for modifier in self.catalog.modifier_groups.iter().flat_map(|group| &group.modifiers) {
            if !(-MAX_UNIT_PRICE..=MAX_UNIT_PRICE).contains(&money::amount(modifier.price.as_ref())) {
                return Err(UnusableCatalog::PriceOutOfRange { what: "modifier", id: modifier.id.clone() });
            }
        }
        Ok(())
    }
}

fn check_rates(class: &TaxClass) -> Result<(), UnusableCatalog> {
    for mode in MODES {
        rate_ppm(class, mode)
            .filter(|rate| (0..=1_000_000).contains(rate))
            .ok_or_else(|| UnusableCatalog::NoTaxRate { tax_class_id: class.id.clone(), mode: mode.as_str_name() })?;
    }
    Ok(())
}

fn what_is_wrong(charge: &ServiceCharge) -> Option<&'static str> {
    if !(1..=MAX_CHARGE_RATE_BP).contains(&charge.rate_bp) {
        return Some("its rate is out of range");
    }
    if ServiceChargeBasis::try_from(charge.basis).unwrap_or_default() == ServiceChargeBasis::Unspecified {
        return Some("it is not known of what sum it is a share");
    }
    if TaxRoundingDirection::try_from(charge.rounding).unwrap_or_default() == TaxRoundingDirection::Unspecified {
        return Some("it is not known how it is rounded");
    }
    let is_known = |mode: &i32| MODES.iter().any(|known| *known as i32 == *mode);
    (!charge.service_modes.iter().all(is_known)).then_some("it is asked in a service mode that is not known")
}

/// The rate of a class in a mode, in millionths.
pub(crate) fn rate_ppm(class: &TaxClass, mode: ServiceMode) -> Option<i32> {
    rate(class, mode).map(|rate| rate.rate_ppm)
}

/// The rate of a class in a mode: the mode's own entry, else the one for all modes.
fn rate(class: &TaxClass, mode: ServiceMode) -> Option<&TaxRate> {
    let of = |mode: ServiceMode| class.rates.iter().find(|rate| rate.service_mode == mode as i32);
    of(mode).or_else(|| of(ServiceMode::Unspecified))
}

fn rounding(catalog: &Catalog) -> Result<Rounding, UnusableCatalog> {
    let rule = catalog.tax_rounding.as_ref().ok_or(UnusableCatalog::NoTaxRounding)?;
    let scope = TaxRoundingScope::try_from(rule.scope).unwrap_or_default();
    let direction = TaxRoundingDirection::try_from(rule.direction).unwrap_or_default();
    if scope == TaxRoundingScope::Unspecified || direction == TaxRoundingDirection::Unspecified {
        return Err(UnusableCatalog::NoTaxRounding);
    }
    Ok(Rounding { scope, direction })
}

fn positions<T>(list: &[T], id: impl Fn(&T) -> &String) -> HashMap<String, usize> {
    list.iter().enumerate().map(|(at, thing)| (id(thing).clone(), at)).collect()
}

fn groups(list: &[ModifierGroup]) -> HashMap<String, Group> {
    list.iter()
        .enumerate()
        .map(|(position, group)| {
            let modifiers = positions(&group.modifiers, |modifier| &modifier.id);
            (group.id.clone(), Group { position, modifiers })
        })
        .collect()
}
