//! The vendor's menu as the platform's catalog. Ids are the vendor's own.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use posmesh_proto::{
    adapter::v1::{CatalogState, ItemCount},
    catalog::v1::{
        Allergen, AllergenInfo, AllergenList, AllergenPresence, Area, Catalog, Category, Course, Image, Item,
        MenuPeriod, Modifier, ModifierGroup, ServiceCharge, ServiceChargeBasis, Station, Table, TaxClass, TaxRate,
        TaxRounding, TaxRoundingDirection, TaxRoundingScope, Tender, TenderKind,
    },
    common::v1::{LocalizedText, Money, ServiceMode},
    store::v1::OpeningHours,
};

use serde_json::Value;

use crate::wire;

/// Items in one part.
const ITEMS_PER_PART: usize = 200;

/// The whole menu; what everything else refers to comes first.
pub(crate) fn to_parts(menu: wire::Menu) -> Vec<Catalog> {
    let currency = menu.currency;
    let locale = menu.locales.first().map_or("en", String::as_str);
    let (mut categories, mut items) = (Vec::new(), Vec::new());
    for (index, mut category) in menu.categories.into_iter().enumerate() {
        for item_on_page in std::mem::take(&mut category.items) {
            items.push(item(item_on_page, &category, items.len(), &currency));
        }
        categories.push(Category {
            id: category.id,
            name: texts(category.name),
            parent_category_id: String::new(),
            sort_order: position(index),
            kana: category.kana.unwrap_or_default(),
        });
    }
    let mut parts = vec![Catalog {
        currency_code: currency.clone(),
        // Once per rate and receipt, down, as the vendor documents.
        tax_rounding: Some(TaxRounding {
            scope: TaxRoundingScope::Rate.into(),
            direction: TaxRoundingDirection::Down.into(),
        }),
        tax_classes: menu.tax_classes.into_iter().map(|class| tax_class(class, locale)).collect(),
        categories,
        modifier_groups: menu.modifier_groups.into_iter().map(|group| modifier_group(group, &currency)).collect(),
        tables: menu.areas.iter().flat_map(tables).collect(),
        areas: menu.areas.into_iter().map(|area| Area { id: area.id, name: texts(area.name) }).collect(),
        tenders: menu.tenders.into_iter().map(tender).collect(),
        menu_periods: menu.periods.into_iter().map(period).collect(),
        stations: menu.stations.into_iter().map(|x| Station { id: x.id, name: texts(x.name) }).collect(),
        courses: menu.courses.into_iter().enumerate().map(course).collect(),
        service_charges: menu.service_charge.into_iter().map(service_charge).collect(),
        ..Catalog::default()
    }];
    let of_items = items.chunks(ITEMS_PER_PART).map(|items| Catalog { items: items.to_vec(), ..Catalog::default() });
    parts.extend(of_items);
    parts
}

/// What is sold out, what is left, and a fingerprint of all else.
pub(crate) fn state(mut menu: Value) -> CatalogState {
    let (mut sold_out_item_ids, mut counts) = (Vec::new(), Vec::new());
    for item in list(&mut menu, "categories").flat_map(|category| list(category, "items")) {
        let is_sold_out = item.get_mut("available").map(Value::take) == Some(Value::Bool(false));
        let remaining = item.as_object_mut().and_then(|item| item.remove("remaining")?.as_i64());
        let Some(id) = item.get("id").and_then(Value::as_str) else { continue };
        if is_sold_out {
            sold_out_item_ids.push(id.to_owned());
        }
        let count = |left| ItemCount { item_id: id.to_owned(), remaining: i32::try_from(left).unwrap_or(i32::MAX) };
        counts.extend(remaining.map(count));
    }
    // It counts stock-outs as well.
    menu.get_mut("revision").map(Value::take);
    let mut hasher = DefaultHasher::new();
    menu.to_string().hash(&mut hasher);
    CatalogState { fingerprint: format!("{:016x}", hasher.finish()), sold_out_item_ids, counts, least_interval: None }
}

fn list<'a>(of: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    of.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

fn texts(texts: wire::Texts) -> Option<LocalizedText> {
    Some(LocalizedText { texts: texts.into_iter().collect() })
}

fn money(currency: &str, amount: i64) -> Option<Money> {
    Some(Money { currency_code: currency.to_owned(), amount })
}

fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The vendor gives tax classes no names.
fn tax_class(class: wire::TaxClass, locale: &str) -> TaxClass {
    let rate = |mode: ServiceMode, percent: u32| TaxRate {
        service_mode: mode.into(),
        rate_ppm: count(percent.saturating_mul(10_000)),
        ..TaxRate::default()
    };
    TaxClass {
        name: texts([(locale.to_owned(), class.id.clone())].into()),
        id: class.id,
        included_in_price: true,
        rates: vec![
            rate(ServiceMode::DineIn, class.dine_in_rate_percent),
            rate(ServiceMode::Takeaway, class.takeaway_rate_percent),
        ],
    }
}

fn period(period: wire::Period) -> MenuPeriod {
    let stretches = |hours: wire::PeriodHours| {
        let stretch = move |weekday: u32| OpeningHours {
            weekday: count(weekday),
            open_minutes: count(hours.from_minutes),
            close_minutes: count(hours.until_minutes),
        };
        hours.weekdays.into_iter().map(stretch)
    };
    MenuPeriod {
        id: period.id,
        name: texts(period.name),
        hours: period.hours.into_iter().flat_map(stretches).collect(),
    }
}

/// As the vendor documents it; it adds nothing to what is taken away.
fn service_charge(charge: wire::ServiceCharge) -> ServiceCharge {
    ServiceCharge {
        id: charge.id,
        name: texts(charge.name),
        rate_bp: count(charge.percent.saturating_mul(100)),
        basis: ServiceChargeBasis::WithTax.into(),
        rounding: TaxRoundingDirection::Down.into(),
        tax_class_id: charge.tax_class,
        service_modes: vec![ServiceMode::DineIn.into()],
    }
}

fn course((index, course): (usize, wire::Named)) -> Course {
    Course { id: course.id, name: texts(course.name), sort_order: position(index) }
}

fn allergens(allergens: wire::Allergens) -> AllergenInfo {
    let told = |codes: Vec<String>, presence: AllergenPresence| {
        codes.into_iter().map(move |code| Allergen { code, presence: presence.into() })
    };
    let contains = told(allergens.contains, AllergenPresence::Contains);
    AllergenInfo {
        allergens: contains.chain(told(allergens.may_contain, AllergenPresence::MayContain)).collect(),
        // The list that the vendor has its restaurants go through.
        checked_lists: vec![AllergenList::JpMandatory.into()],
    }
}

fn item(item: wire::Item, category: &wire::Category, index: usize, currency: &str) -> Item {
    Item {
        id: item.id,
        name: texts(item.name),
        description: None,
        category_ids: vec![category.id.clone()],
        price: money(currency, item.price),
        tax_class_id: category.tax_class.clone(),
        modifier_group_ids: item.groups,
        available: item.available,
        service_modes: if item.takeaway { Vec::new() } else { vec![ServiceMode::DineIn.into()] },
        sort_order: position(index),
        code: item.code.unwrap_or_default(),
        kana: item.kana.unwrap_or_default(),
        images: item.photo.into_iter().map(|url| Image { url, alt_text: None }).collect(),
        allergens: item.allergens.map(allergens),
        station_ids: category.station.iter().cloned().collect(),
        course_id: category.course.clone().unwrap_or_default(),
        menu_period_ids: item.periods,
        remaining: item.remaining.map(count),
    }
}

fn modifier_group(group: wire::ModifierGroup, currency: &str) -> ModifierGroup {
    let max = count(group.max);
    let modifier = |option: wire::ModifierOption| Modifier {
        id: option.id,
        name: texts(option.name),
        price: money(currency, option.price_delta),
        available: true,
        selected_by_default: option.default,
        // Only the group has a limit.
        max_quantity: max.max(1),
        modifier_group_ids: option.groups,
        allergens: None,
        item_id: option.item.unwrap_or_default(),
    };
    ModifierGroup {
        id: group.id,
        name: texts(group.name),
        min_choices: count(group.min),
        max_choices: max,
        modifiers: group.options.into_iter().map(modifier).collect(),
    }
}

fn tables(area: &wire::Area) -> impl Iterator<Item = Table> {
    area.tables.iter().map(|table| Table {
        id: table.id.clone(),
        name: table.id.clone(),
        area_id: area.id.clone(),
        seats: count(table.seats),
    })
}

/// The vendor tells only what is taken elsewhere; its cash has a fixed id, and everything else runs at the till.
fn tender(tender: wire::Tender) -> Tender {
    let kind = match tender.id.as_str() {
        _ if tender.external => TenderKind::External,
        "cash" => TenderKind::Cash,
        _ => TenderKind::Card,
    };
    Tender { id: tender.id, name: texts(tender.name), kind: kind.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_sold_out_and_what_is_left_is_told_and_changes_no_fingerprint() {
        let menu = |revision: u64, eel: Value, price: i64| {
            json!({"revision": revision, "categories": [{"items": [
                eel, {"id": "rice", "available": true, "price": price}]}]})
        };
        let eel = |available: bool| json!({"id": "eel", "available": available});
        let counted = |remaining: u32| json!({"id": "eel", "available": remaining > 0, "remaining": remaining});
        let before = state(menu(1, eel(true), 200));
        assert!(before.counts.is_empty() && before.sold_out_item_ids.is_empty());
        for (menu, left, sold_out) in [
            (menu(2, counted(3), 200), Some(3), false),
            (menu(3, counted(0), 200), Some(0), true),
            (menu(4, eel(false), 200), None, true),
        ] {
            let state = state(menu);
            let count = |remaining| ItemCount { item_id: "eel".to_owned(), remaining };
            assert_eq!(state.counts, left.map(count).into_iter().collect::<Vec<_>>());
            assert_eq!(state.sold_out_item_ids.is_empty(), !sold_out);
            assert_eq!(state.fingerprint, before.fingerprint);
        }
        assert_ne!(state(menu(1, eel(true), 210)).fingerprint, before.fingerprint);
    }
}
