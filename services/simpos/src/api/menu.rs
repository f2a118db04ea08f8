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
    /// Parts of the kitchen that categories refer to by id.
    #[serde(default)]
    pub stations: Vec<Station>,
    /// What is served together, in order; categories refer to it by id.
    #[serde(default)]
    pub courses: Vec<Course>,
    /// Times of the week that items refer to by id.
    #[serde(default)]
    pub periods: Vec<Period>,
    /// What is added to what is eaten in the restaurant. None: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_charge: Option<ServiceCharge>,
}

/// A share of what is eaten in the restaurant, tax included, rounded down once per check. Tax is contained in it. What was
/// entered before it changed keeps the one that it was entered with; discounts do not lower it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceCharge {
    /// Id.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// Percent of the lines, at most 100.
    pub percent: u32,
    /// Tax class, by whose dine-in rate it is taxed.
    pub tax_class: String,
}

/// A part of the kitchen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Station {
    /// Id, unique among stations.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
}

/// What is served together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// Id, unique among courses.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
}

/// A time of the week in which some items are on the card: lunch, happy hour. Screens of guests keep to it; the till sells
/// everything at any time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Id, unique among periods.
    pub id: String,
    /// Name per locale.
    pub name: Texts,
    /// When it goes on, by the restaurant's clock.
    pub hours: Vec<PeriodHours>,
}

/// A stretch of some days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodHours {
    /// 1 Monday to 7 Sunday.
    pub weekdays: Vec<u32>,
    /// Minutes after midnight.
    pub from_minutes: u32,
    /// Likewise; beyond 1440 it ends on the next day.
    pub until_minutes: u32,
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
    /// How the name is read, in katakana.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kana: Option<String>,
    /// Tax class of its items.
    pub tax_class: String,
    /// Where its items are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// The course in which its items are served unless somebody says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<String>,
    /// The items.
    pub items: Vec<Item>,
}

/// Something to order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Id, unique among items.
    pub id: String,
    /// The number on the card, by which staff enter it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Name per locale.
    pub name: Texts,
    /// How the name is read, in katakana.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kana: Option<String>,
    /// Price in yen, tax included, without modifiers.
    pub price: i64,
    /// False while sold out.
    #[serde(default = "yes")]
    pub available: bool,
    /// How many are left, where the staff count: orders lower it, and at 0 the item is sold out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u32>,
    /// False for what cannot leave the house (sashimi, draught beer).
    #[serde(default = "yes")]
    pub takeaway: bool,
    /// Ids of the modifier groups to choose from.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Address of a photo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
    /// What the restaurant has looked up; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allergens: Option<Allergens>,
    /// Ids of the periods in which it is on the card; always, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<String>,
}

/// The allergens of an item, looked up in the list that Japan's law demands (8) and told as `egg`, `milk`, `wheat`, `shrimp`,
/// `crab`, `walnut`, `buckwheat`, `peanut`; others as the restaurant knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allergens {
    /// What is in it.
    #[serde(default)]
    pub contains: Vec<String>,
    /// What is worked with beside it.
    #[serde(default)]
    pub may_contain: Vec<String>,
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
    /// The item that the option is, where it is on the card by itself: sold out with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
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
    /// How many are left. Absent: as counted before; an item that is back although none was left is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u32>,
}

/// Answer of `PUT /api/items/{id}/availability`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AvailabilityAnswer {
    /// The item.
    pub item_id: String,
    /// As it is now.
    pub available: bool,
    /// How many are left, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u32>,
    /// Revision of the menu that holds it.
    pub revision: u64,
}

fn yes() -> bool {
    true
}
