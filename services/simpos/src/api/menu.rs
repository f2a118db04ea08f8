//! Master data: menu, taxes, tables, tenders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A text per locale (`ja`, `ko`, `en`).
pub type Texts = BTreeMap<String, String>;

/// The whole master data, as `GET /api/menu` answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Menu {
    /// Counts every change of master data, sold-out marks included. Set by the POS.
    #[serde(default)]
    pub revision: u64,
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// Locales in which every name is given; the first is the one that slips are printed in.
    pub locales: Vec<String>,
    /// Tax rates by class.
    pub tax_classes: Vec<TaxClass>,
    /// Items by category, in the order of the menu card.
    pub categories: Vec<Category>,
    /// Modifier groups that items and options refer to by id.
    pub modifier_groups: Vec<ModifierGroup>,
    /// Areas with their tables.
    pub areas: Vec<Area>,
    /// Means of payment.
    pub tenders: Vec<TenderType>,
}

/// The rates of one tax class. Prices include tax, whatever the rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxClass {
    /// Id, `food` or `alcohol` in the built-in menu.
    pub id: String,
    /// Percent when eaten in the restaurant.
    pub dine_in_rate_percent: u32,
    /// Percent when taken away.
    pub takeaway_rate_percent: u32,
}

/// One page of the menu card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Id, unique among categories.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// Tax class of its items.
    pub tax_class: String,
    /// The items.
    pub items: Vec<Item>,
}

/// Something to order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Id, unique among items.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// Price in yen, tax included, without modifiers.
    pub price: i64,
    /// False while sold out.
    #[serde(default = "yes")]
    pub available: bool,
    /// False for what cannot leave the house (sashimi, draught beer).
    #[serde(default = "yes")]
    pub takeaway: bool,
    /// Ids of the modifier groups to choose from.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Options of which some are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifierGroup {
    /// Id, unique among groups.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// Least number of choices, counted with their quantities. A group with `min` of 1 or more is never filled in by
    /// the POS: `default` tells a screen what to show as chosen.
    pub min: u32,
    /// Greatest number of choices.
    pub max: u32,
    /// The options.
    pub options: Vec<ModifierOption>,
}

/// One option of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifierOption {
    /// Id, unique in its group.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// Yen added to the unit price for each one chosen; may be negative.
    #[serde(default)]
    pub price_delta: i64,
    /// Chosen on the screen unless the guest changes it.
    #[serde(default)]
    pub default: bool,
    /// Ids of groups to choose from once this option is chosen.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A part of the restaurant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// Id, unique among areas.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// Its tables.
    pub tables: Vec<Table>,
}

/// A table or a seat at the counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Id and printed name, unique in the restaurant.
    pub id: String,
    /// Seats.
    pub seats: u32,
}

/// A means of payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenderType {
    /// Id, unique among tenders.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// True where the money was taken elsewhere and the POS only notes it.
    #[serde(default)]
    pub external: bool,
}

/// Body of `PUT /api/items/{id}/availability`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAvailability {
    /// False marks the item sold out.
    pub available: bool,
}

/// Answer of `PUT /api/items/{id}/availability`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AvailabilityAnswer {
    /// The item.
    pub item_id: String,
    /// As it is now.
    pub available: bool,
    /// Revision of the menu that holds it.
    pub revision: u64,
}

fn yes() -> bool {
    true
}
