//! A store as its guests see it: JSON types of bootstrap and menu.

use std::collections::BTreeMap;

use posmesh_kit::time;
use posmesh_proto::{catalog::v1 as catalog, store::v1::Store};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    gates::Gate,
    views::{Money, ProductName, ServiceMode},
};

/// What a product needs to know before it shows anything.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bootstrap {
    store_id: String,
    product: ProductName,
    /// By BCP 47 tag.
    name: BTreeMap<String, String>,
    /// BCP 47 tags, the store's own language first.
    locales: Vec<String>,
    currency: Currency,
    /// IANA name.
    time_zone: String,
    /// RFC 3339. Count pickup times and code lifetimes from it, not from the guest's clock.
    server_time: String,
    /// The first one is used where none is named.
    service_modes: Vec<ServiceMode>,
    limits: Limits,
}

/// How to show and count money.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"code": "JPY", "minor_digits": 0}))]
pub(crate) struct Currency {
    /// ISO 4217.
    code: String,
    /// Decimal places of the minor unit that amounts are counted in.
    minor_digits: u8,
}

/// What a request may hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Limits {
    max_lines: u32,
    max_quantity: u32,
    max_note_characters: u32,
    max_pager_number_characters: u32,
    max_wait_seconds: u64,
    max_body_bytes: usize,
}

impl Bootstrap {
    pub(crate) fn new(store: &Store, product: ProductName, max_body_bytes: usize, max_wait_seconds: u64) -> Self {
        let name = store.name.clone().unwrap_or_default().texts;
        let service_modes = match product {
            ProductName::Togo => vec![ServiceMode::TakeAway, ServiceMode::EatIn],
            ProductName::Table | ProductName::Kiosk => vec![ServiceMode::EatIn, ServiceMode::TakeAway],
        };
        Self {
            store_id: store.store_id.clone(),
            product,
            name: name.into_iter().collect(),
            locales: store.locales.clone(),
            currency: Currency { minor_digits: minor_digits(&store.currency_code), code: store.currency_code.clone() },
            time_zone: store.time_zone.clone(),
            server_time: time::now().to_string(),
            service_modes,
            // The numbers of posmesh/order/v1/order.proto.
            limits: Limits {
                max_lines: 500,
                max_quantity: 999,
                max_note_characters: 200,
                max_pager_number_characters: 8,
                max_wait_seconds,
                max_body_bytes,
            },
        }
    }
}

/// Decimal places by ISO 4217 (list one, 2024): the currencies that do not have two.
fn minor_digits(currency_code: &str) -> u8 {
    match currency_code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// The store's menu for one product, in one language.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Menu {
    store_id: String,
    product: ProductName,
    /// The locale that was used.
    locale: String,
    service_mode: ServiceMode,
    currency: Currency,
    catalog_version: i64,
    /// Whether orders are taken now. Absent: nobody knows at the moment, and orders are welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Gate>,
    categories: Vec<Category>,
    items: Vec<Item>,
    /// Those that the items refer to, directly or through a choice.
    modifier_groups: Vec<ModifierGroup>,
    /// Those that the items refer to, in the order in which they are served.
    courses: Vec<Course>,
    /// What is added to orders in this service mode. Tell the guest before; the quote tells the amounts.
    service_charges: Vec<ServiceCharge>,
}

/// A share of what is ordered that the restaurant adds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "service", "name": "サービス料", "rate_bp": 1000, "basis": "with_tax", "tax_included": true}))]
struct ServiceCharge {
    id: String,
    name: String,
    /// In hundredths of a percent: 10 % is 1000.
    rate_bp: i32,
    basis: ChargeBasis,
    /// False: tax comes on top of it.
    tax_included: bool,
}

/// The sum that a charge is a share of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ChargeBasis {
    /// What the lines come to with their tax.
    WithTax,
    /// What they come to before tax.
    WithoutTax,
}

/// A heading of the menu.
#[derive(Debug, Serialize, ToSchema)]
struct Category {
    id: String,
    name: String,
    /// Absent at the top.
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_category_id: String,
    /// In display order.
    item_ids: Vec<String>,
    /// How the name is read, for sorting and search. Absent: not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    kana: String,
}

/// Something to order.
#[derive(Debug, Serialize, ToSchema)]
struct Item {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// Tax included, for one without modifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_price: Option<Money>,
    /// In millionths: 10 % is 100000.
    tax_rate_ppm: i32,
    modifier_group_ids: Vec<String>,
    /// False: show it as sold out.
    available: bool,
    /// The number or code by which the staff know it. Absent: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    /// How the name is read, for sorting, search and voice. Absent: not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    kana: String,
    /// The best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    /// Absent: **nobody told**. Say so to the guest, and never that there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    allergens: Option<Allergens>,
    /// In which course it is served. Absent: not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    course_id: String,
    /// How many are left. Absent: the store does not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<i32>,
}

/// A picture of an item.
#[derive(Debug, Serialize, ToSchema)]
struct Image {
    /// https.
    url: String,
    /// For those who cannot see it.
    #[serde(skip_serializing_if = "String::is_empty")]
    alt_text: String,
}

/// What is served together.
#[derive(Debug, Serialize, ToSchema)]
struct Course {
    id: String,
    name: String,
}

/// What is known of the allergens. What is neither named nor in a list that was checked is **not known**.
///
/// Codes are those of the EU's list (`gluten`, `crustacean`, `egg`, …) and of Japan's (`shrimp`, `crab`, `walnut`, …); show
/// others as they are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"contains": ["egg", "wheat"], "may_contain": ["shrimp"], "checked_lists": ["jp_mandatory"]}))]
struct Allergens {
    /// What is in it.
    contains: Vec<String>,
    /// What may have got in where it is made.
    may_contain: Vec<String>,
    /// `eu`, `jp_mandatory`, `jp_recommended`: what is in one of these and not named is not in it.
    checked_lists: Vec<String>,
}

/// A question about an item, with its choices.
#[derive(Debug, Serialize, ToSchema)]
struct ModifierGroup {
    id: String,
    name: String,
    /// How many choices in all, counting quantities.
    min_choices: i32,
    max_choices: i32,
    modifiers: Vec<Modifier>,
}

/// One choice.
#[derive(Debug, Serialize, ToSchema)]
struct Modifier {
    id: String,
    name: String,
    /// Added per unit, as the store's catalog has it; a quote tells the exact price of the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Money>,
    available: bool,
    selected_by_default: bool,
    max_quantity: i32,
    /// Questions about this choice.
    modifier_group_ids: Vec<String>,
    /// What this choice adds. Absent: **nobody told**.
    #[serde(skip_serializing_if = "Option::is_none")]
    allergens: Option<Allergens>,
    /// The item that this choice is, where it is sold by itself too. Absent: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    item_id: String,
}

impl Menu {
    pub(crate) fn new(
        menu: catalog::Menu,
        product: ProductName,
        default_mode: ServiceMode,
        gate: Option<Gate>,
    ) -> Self {
        Self {
            service_mode: ServiceMode::of(menu.service_mode()).unwrap_or(default_mode),
            store_id: menu.store_id,
            product,
            locale: menu.locale,
            currency: Currency { minor_digits: minor_digits(&menu.currency_code), code: menu.currency_code },
            catalog_version: menu.catalog_version,
            gate,
            categories: menu.categories.into_iter().map(Into::into).collect(),
            items: menu.items.into_iter().map(Into::into).collect(),
            modifier_groups: menu.modifier_groups.into_iter().map(Into::into).collect(),
            courses: menu.courses.into_iter().map(|course| Course { id: course.id, name: course.name }).collect(),
            service_charges: menu.service_charges.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<catalog::MenuServiceCharge> for ServiceCharge {
    fn from(charge: catalog::MenuServiceCharge) -> Self {
        Self {
            basis: match charge.basis() {
                catalog::ServiceChargeBasis::WithTax => ChargeBasis::WithTax,
                // No published catalog has one without a basis.
                catalog::ServiceChargeBasis::WithoutTax | catalog::ServiceChargeBasis::Unspecified => {
                    ChargeBasis::WithoutTax
                }
            },
            id: charge.id,
            name: charge.name,
            rate_bp: charge.rate_bp,
            tax_included: charge.tax_included,
        }
    }
}

impl From<catalog::MenuCategory> for Category {
    fn from(category: catalog::MenuCategory) -> Self {
        Self {
            id: category.id,
            name: category.name,
            parent_category_id: category.parent_category_id,
            item_ids: category.item_ids,
            kana: category.kana,
        }
    }
}

impl From<catalog::AllergenInfo> for Allergens {
    fn from(info: catalog::AllergenInfo) -> Self {
        let lists = info.checked_lists().map(|list| list.as_str_name().trim_start_matches("ALLERGEN_LIST_"));
        let checked_lists = lists.map(str::to_lowercase).collect();
        // What is not said to be traces is taken to be in it.
        let is_trace = |allergen: &catalog::Allergen| allergen.presence() == catalog::AllergenPresence::MayContain;
        let (may_contain, contains): (Vec<_>, Vec<_>) = info.allergens.into_iter().partition(is_trace);
        let codes = |allergens: Vec<catalog::Allergen>| allergens.into_iter().map(|allergen| allergen.code).collect();
        Self { contains: codes(contains), may_contain: codes(may_contain), checked_lists }
    }
}

impl From<catalog::MenuItem> for Item {
    fn from(item: catalog::MenuItem) -> Self {
        let image = |image: catalog::MenuImage| Image { url: image.url, alt_text: image.alt_text };
        Self {
            id: item.id,
            name: item.name,
            description: item.description,
            display_price: item.display_price.map(Into::into),
            tax_rate_ppm: item.tax_rate_ppm,
            modifier_group_ids: item.modifier_group_ids,
            available: item.available,
            code: item.code,
            kana: item.kana,
            images: item.images.into_iter().map(image).collect(),
            allergens: item.allergens.map(Into::into),
            course_id: item.course_id,
            remaining: item.remaining,
        }
    }
}

impl From<catalog::MenuModifierGroup> for ModifierGroup {
    fn from(group: catalog::MenuModifierGroup) -> Self {
        let modifiers = group.modifiers.into_iter().map(|modifier| Modifier {
            id: modifier.id,
            name: modifier.name,
            price: modifier.price.map(Into::into),
            available: modifier.available,
            selected_by_default: modifier.selected_by_default,
            max_quantity: modifier.max_quantity,
            modifier_group_ids: modifier.modifier_group_ids,
            allergens: modifier.allergens.map(Into::into),
            item_id: modifier.item_id,
        });
        Self {
            id: group.id,
            name: group.name,
            min_choices: group.min_choices,
            max_choices: group.max_choices,
            modifiers: modifiers.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_has_the_decimal_places_of_iso_4217() {
        for (code, digits) in [("JPY", 0), ("KRW", 0), ("USD", 2), ("EUR", 2), ("KWD", 3), ("CLF", 4)] {
            assert_eq!(minor_digits(code), digits, "{code}");
        }
    }
}
