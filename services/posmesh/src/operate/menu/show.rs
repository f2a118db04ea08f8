//! A menu for a terminal.

use std::{collections::HashMap, fmt::Write as _};

use posmesh_pricing::shown_amount;
use posmesh_proto::catalog::v1::{
    AllergenInfo, AllergenPresence, Menu, MenuCategory, MenuItem, MenuModifier, MenuModifierGroup, ServiceChargeBasis,
};

use crate::operate::table::table;

const HEAD: [&str; 6] = ["CODE", "ITEM", "PRICE", "TAX", "", "ID"];

/// Items under their headings, then the questions about them.
pub(super) fn menu(menu: &Menu) -> String {
    let mut text = format!(
        "{}, version {}: {} items for {} ({}), prices in {} with tax\n",
        menu.store_id,
        menu.catalog_version,
        menu.items.len(),
        words(menu.product().as_str_name(), "PRODUCT_"),
        words(menu.service_mode().as_str_name(), "SERVICE_MODE_"),
        menu.currency_code,
    );
    let items: HashMap<&str, &MenuItem> = menu.items.iter().map(|item| (item.id.as_str(), item)).collect();
    let questions: HashMap<&str, &MenuModifierGroup> =
        menu.modifier_groups.iter().map(|group| (group.id.as_str(), group)).collect();
    let mut placed: Vec<&str> = Vec::new();
    for category in &menu.categories {
        placed.extend(category.item_ids.iter().map(String::as_str));
        let rows = category.item_ids.iter().filter_map(|id| items.get(id.as_str()));
        section(&mut text, &path(menu, category), rows.copied(), &questions);
    }
    let lost = menu.items.iter().filter(|item| !placed.contains(&item.id.as_str()));
    section(&mut text, "Under no heading", lost, &questions);
    if !menu.modifier_groups.is_empty() {
        text.push_str("\nQuestions\n");
    }
    for group in &menu.modifier_groups {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} ({}): {}", group.name, how_many(group), choices(menu, group));
    }
    if !menu.service_charges.is_empty() {
        text.push_str("\nAdded to an order\n");
    }
    for charge in &menu.service_charges {
        let of = if charge.basis() == ServiceChargeBasis::WithTax { "with" } else { "without" };
        let rate = percent(charge.rate_bp.saturating_mul(100));
        let _ = writeln!(text, "  {}: {rate} of its prices {of} tax", charge.name);
    }
    let unknown = menu.items.iter().filter(|item| item.allergens.is_none()).count();
    if unknown > 0 {
        let _ = writeln!(text, "\nAllergens of {unknown} items are not known.");
    }
    text
}

/// A value of an enum as a person reads it.
pub(super) fn words(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', " ")
}

fn section<'a>(
    text: &mut String,
    heading: &str,
    items: impl Iterator<Item = &'a MenuItem>,
    questions: &HashMap<&str, &MenuModifierGroup>,
) {
    let rows: Vec<_> = items.map(|item| row(item, questions)).collect();
    if !rows.is_empty() {
        let _ = write!(text, "\n{heading}\n{}", table(HEAD, &rows));
    }
}

/// A heading with those above it.
fn path(menu: &Menu, category: &MenuCategory) -> String {
    let mut path = category.name.clone();
    let mut above = &category.parent_category_id;
    // A menu has no circles, but what comes over the wire is not ours.
    for _ in 0..menu.categories.len() {
        let Some(parent) = menu.categories.iter().find(|category| category.id == *above) else { break };
        path = format!("{} › {path}", parent.name);
        above = &parent.parent_category_id;
    }
    path
}

fn row(item: &MenuItem, questions: &HashMap<&str, &MenuModifierGroup>) -> [String; 6] {
    let price = item.display_price.as_ref();
    let asks = item.modifier_group_ids.iter().filter_map(|id| questions.get(id.as_str()));
    let asks: Vec<&str> = asks.map(|group| group.name.as_str()).collect();
    let mut notes = Vec::new();
    match item.remaining {
        _ if !item.available => notes.push("SOLD OUT".to_owned()),
        Some(left) => notes.push(format!("{left} left")),
        None => {}
    }
    if !asks.is_empty() {
        notes.push(format!("asks {}", asks.join(", ")));
    }
    if let Some(info) = &item.allergens {
        notes.extend(allergens(info));
    }
    [
        item.code.clone(),
        item.name.clone(),
        price.map(|price| shown_amount(&price.currency_code, price.amount)).unwrap_or_default(),
        percent(item.tax_rate_ppm),
        notes.join("; "),
        item.id.clone(),
    ]
}

/// `contains egg, milk`, `traces of shrimp`; nothing where none is named.
fn allergens(info: &AllergenInfo) -> impl Iterator<Item = String> {
    use AllergenPresence::{Contains, MayContain};
    [("contains", Contains), ("traces of", MayContain)].into_iter().filter_map(|(words, presence)| {
        let codes = info.allergens.iter().filter(|allergen| allergen.presence() == presence);
        let codes: Vec<&str> = codes.map(|allergen| allergen.code.as_str()).collect();
        (!codes.is_empty()).then(|| format!("{words} {}", codes.join(", ")))
    })
}

fn percent(ppm: i32) -> String {
    let digits = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn how_many(group: &MenuModifierGroup) -> String {
    match (group.min_choices, group.max_choices) {
        (min, max) if min == max => format!("choose {min}"),
        (0, max) => format!("up to {max}"),
        (min, max) => format!("{min} to {max}"),
    }
}

fn choices(menu: &Menu, group: &MenuModifierGroup) -> String {
    let choice = |choice: &MenuModifier| {
        let price = match choice.price.as_ref().map_or(0, |price| price.amount) {
            0 => String::new(),
            amount @ 1.. => format!(" +{}", shown_amount(&menu.currency_code, amount)),
            amount => format!(" {}", shown_amount(&menu.currency_code, amount)),
        };
        format!("{}{price}{}", choice.name, if choice.available { "" } else { " (SOLD OUT)" })
    };
    group.modifiers.iter().map(choice).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use posmesh_proto::{
        catalog::v1::{Allergen, MenuServiceCharge},
        common::v1::{Money, Product, ServiceMode},
    };

    use super::*;

    #[test]
    fn a_menu_is_printed_under_its_headings_with_prices_stock_outs_and_questions() {
        let yen = |amount| Some(Money { currency_code: "JPY".into(), amount });
        let item = |id: &str, name: &str, amount, available| MenuItem {
            id: id.into(),
            name: name.into(),
            display_price: yen(amount),
            tax_rate_ppm: 80_000,
            available,
            ..Default::default()
        };
        let category = |id: &str, name: &str, above: &str, item_ids: &[&str]| MenuCategory {
            id: id.into(),
            name: name.into(),
            parent_category_id: above.into(),
            item_ids: item_ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Default::default()
        };
        let choice = |name: &str, amount, available| MenuModifier {
            name: name.into(),
            price: yen(amount),
            available,
            ..Default::default()
        };
        let menu = Menu {
            store_id: "shibuya".into(),
            product: Product::ToGo.into(),
            service_mode: ServiceMode::Takeaway.into(),
            currency_code: "JPY".into(),
            catalog_version: 12,
            categories: vec![category("food", "料理", "", &[]), category("noodles", "麺", "food", &["ramen", "udon"])],
            items: vec![
                MenuItem {
                    modifier_group_ids: vec!["extra".into()],
                    code: "801".into(),
                    allergens: Some(AllergenInfo {
                        allergens: [("wheat", 1), ("egg", 1), ("shrimp", 2)]
                            .map(|(code, presence)| Allergen { code: code.into(), presence })
                            .to_vec(),
                        ..Default::default()
                    }),
                    ..item("ramen", "ラーメン", 1_080, true)
                },
                item("udon", "うどん", 700, false),
                item("bag", "Bag", 5, true),
            ],
            modifier_groups: vec![MenuModifierGroup {
                id: "extra".into(),
                name: "Extra".into(),
                max_choices: 3,
                modifiers: vec![choice("Egg", 120, true), choice("Nori", 0, false), choice("Half", -100, true)],
                ..Default::default()
            }],
            service_charges: vec![MenuServiceCharge {
                name: "サービス料".into(),
                rate_bp: 1_250,
                basis: ServiceChargeBasis::WithTax.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let expected = "\
shibuya, version 12: 3 items for to go (takeaway), prices in JPY with tax

料理 › 麺
CODE  ITEM      PRICE  TAX                                                     ID
801   ラーメン  1,080  8 %  asks Extra; contains wheat, egg; traces of shrimp  ramen
      うどん    700    8 %  SOLD OUT                                           udon

Under no heading
CODE  ITEM  PRICE  TAX    ID
      Bag   5      8 %    bag

Questions
  Extra (up to 3): Egg +120, Nori (SOLD OUT), Half -100

Added to an order
  サービス料: 12.5 % of its prices with tax

Allergens of 2 items are not known.
";
        assert_eq!(super::menu(&menu), expected);
    }
}
