//! Prices and taxes of lines: pure rules on a menu.

use std::collections::BTreeMap;

use crate::api::{
    ChargeTotal, Line, LineCharge, LineInput, MAX_QUANTITY, Menu, Modifier, ModifierInput, Refusal, ServiceMode,
    TaxTotal, Totals, cause,
};

/// No unit may cost more, whatever the menu says; keeps every sum far from overflow.
const MAX_UNIT_PRICE: i64 = 100_000_000;

/// Checks a line against the menu and prices it. `at` is the line's path for refusals.
pub(crate) fn price_line(menu: &Menu, input: &LineInput, at: &str) -> Result<Line, Refusal> {
    check_quantity(input.quantity, at)?;
    let Some((item, category)) = menu.item(&input.item_id) else {
        let message = format!("item {:?} is not on the menu: read the menu again", input.item_id);
        return Err(Refusal::new(422, cause::ITEM_UNKNOWN, message).at(format!("{at}.item_id")).item(&input.item_id));
    };
    let refuse = |cause, message: String| Refusal::new(422, cause, message).at(format!("{at}.item_id")).item(&item.id);
    let name = menu.printed_name(&item.name);
    if !item.available {
        return Err(refuse(cause::ITEM_SOLD_OUT, format!("{name} ({}) is sold out", item.id)));
    }
    if input.service_mode == ServiceMode::Takeaway && !item.takeaway {
        return Err(refuse(cause::ITEM_NOT_FOR_TAKEAWAY, format!("{name} ({}) is not sold for takeaway", item.id)));
    }
    let Some(tax_class) = menu.tax_classes.iter().find(|class| class.id == category.tax_class) else {
        return Err(refuse(cause::MASTER_BROKEN, format!("tax class {:?} does not exist", category.tax_class)));
    };
    let (modifiers, extra) = choose(menu, &item.groups, &input.modifiers, at)?;
    let unit_price = item.price.saturating_add(extra);
    if !(0..=MAX_UNIT_PRICE).contains(&unit_price) {
        return Err(refuse(cause::MASTER_BROKEN, format!("a unit of {name} would cost {unit_price} yen")));
    }
    Ok(Line {
        reference: input.reference.clone(),
        item_id: item.id.clone(),
        name,
        quantity: input.quantity,
        voided: 0,
        service_mode: input.service_mode,
        tax_rate_percent: match input.service_mode {
            ServiceMode::DineIn => tax_class.dine_in_rate_percent,
            ServiceMode::Takeaway => tax_class.takeaway_rate_percent,
        },
        unit_price,
        total: unit_price * i64::from(input.quantity),
        modifiers,
        note: input.note.clone(),
        service_charge: service_charge(menu, input.service_mode)
            .map_err(|message| refuse(cause::MASTER_BROKEN, message))?,
    })
}

/// What a line bears besides its price.
fn service_charge(menu: &Menu, mode: ServiceMode) -> Result<Option<LineCharge>, String> {
    let Some(charge) = menu.service_charge.as_ref().filter(|_| mode == ServiceMode::DineIn) else { return Ok(None) };
    if charge.percent > 100 {
        return Err(format!("the service charge would be {} %", charge.percent));
    }
    let class = menu.tax_classes.iter().find(|class| class.id == charge.tax_class);
    let class = class.ok_or_else(|| format!("tax class {:?} does not exist", charge.tax_class))?;
    Ok(Some(LineCharge {
        id: charge.id.clone(),
        name: menu.printed_name(&charge.name),
        percent: charge.percent,
        tax_rate_percent: class.dine_in_rate_percent,
    }))
}

/// Checks the choices made from `groups`; answers them and what they add to the unit price.
fn choose(menu: &Menu, groups: &[String], inputs: &[ModifierInput], at: &str) -> Result<(Vec<Modifier>, i64), Refusal> {
    let mut modifiers = Vec::with_capacity(inputs.len());
    let mut extra = 0i64;
    for (index, input) in inputs.iter().enumerate() {
        let at = format!("{at}.modifiers[{index}]");
        let (modifier, price) = choose_one(menu, groups, input, &at)?;
        modifiers.push(modifier);
        extra = extra.saturating_add(price);
    }
    for id in groups {
        let Some(group) = menu.group(id) else {
            let message = format!("the menu refers to modifier group {id:?}, which does not exist");
            return Err(Refusal::new(422, cause::MASTER_BROKEN, message).at(at));
        };
        let chosen: u64 = inputs.iter().filter(|input| input.group_id == *id).map(|i| u64::from(i.quantity)).sum();
        if !(u64::from(group.min)..=u64::from(group.max)).contains(&chosen) {
            let message = format!("group {id:?} takes {} to {} choices, got {chosen}", group.min, group.max);
            return Err(Refusal::new(422, cause::MODIFIER_COUNT, message).at(format!("{at}.modifiers")));
        }
    }
    Ok((modifiers, extra))
}

fn choose_one(menu: &Menu, groups: &[String], input: &ModifierInput, at: &str) -> Result<(Modifier, i64), Refusal> {
    check_quantity(input.quantity, at)?;
    let group = groups.iter().find(|id| **id == input.group_id).and_then(|id| menu.group(id));
    let option = group.and_then(|group| group.options.iter().find(|option| option.id == input.option_id));
    let Some(option) = option else {
        let message = format!("there is no option {:?} of group {:?} here", input.option_id, input.group_id);
        return Err(Refusal::new(422, cause::MODIFIER_UNKNOWN, message).at(at));
    };
    if let Some((item, _)) = option.item.as_ref().and_then(|id| menu.item(id)).filter(|(item, _)| !item.available) {
        let message = format!("{} ({}) is sold out", menu.printed_name(&option.name), item.id);
        return Err(Refusal::new(422, cause::ITEM_SOLD_OUT, message).at(at).item(&item.id));
    }
    let (modifiers, extra) = choose(menu, &option.groups, &input.modifiers, at)?;
    let price = option.price_delta.saturating_add(extra).saturating_mul(i64::from(input.quantity));
    let modifier = Modifier {
        group_id: input.group_id.clone(),
        option_id: option.id.clone(),
        name: menu.printed_name(&option.name),
        quantity: input.quantity,
        price_delta: option.price_delta,
        modifiers,
    };
    Ok((modifier, price))
}

fn check_quantity(quantity: u32, at: &str) -> Result<(), Refusal> {
    if (1..=MAX_QUANTITY).contains(&quantity) {
        return Ok(());
    }
    let message = format!("a quantity is 1 to {MAX_QUANTITY}, got {quantity}");
    Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(format!("{at}.quantity")))
}

/// The totals of a receipt: tax is contained in prices and charges, and rounded down once per rate.
pub(crate) fn totals<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Totals {
    let mut gross_by_rate: BTreeMap<u32, i64> = BTreeMap::new();
    let mut charged: BTreeMap<&LineCharge, i64> = BTreeMap::new();
    for line in lines {
        *gross_by_rate.entry(line.tax_rate_percent).or_default() += line.total;
        if let Some(charge) = &line.service_charge {
            *charged.entry(charge).or_default() += line.total;
        }
    }
    let share = |(charge, of): (&LineCharge, i64)| ChargeTotal {
        amount: of * i64::from(charge.percent) / 100,
        charge: charge.clone(),
    };
    let charges: Vec<ChargeTotal> = charged.into_iter().map(share).filter(|charge| charge.amount != 0).collect();
    for ChargeTotal { charge, amount } in &charges {
        *gross_by_rate.entry(charge.tax_rate_percent).or_default() += amount;
    }
    let tax = |rate: u32, gross: i64| gross * i64::from(rate) / (100 + i64::from(rate));
    Totals {
        total: gross_by_rate.values().sum(),
        taxes: gross_by_rate
            .into_iter()
            .map(|(rate_percent, gross)| TaxTotal { rate_percent, gross, tax: tax(rate_percent, gross) })
            .collect(),
        charges,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::ServiceCharge;
    use crate::builtin_menu;

    fn chosen(group_id: &str, option_id: &str, modifiers: Vec<ModifierInput>) -> ModifierInput {
        ModifierInput { group_id: group_id.into(), option_id: option_id.into(), quantity: 1, modifiers }
    }

    fn line(item_id: &str, quantity: u32, service_mode: ServiceMode, modifiers: Vec<ModifierInput>) -> LineInput {
        LineInput { reference: "l".into(), item_id: item_id.into(), quantity, service_mode, modifiers, note: None }
    }

    fn cause_of(input: &LineInput) -> (String, Option<String>) {
        let refusal = price_line(&builtin_menu(), input, "lines[0]").unwrap_err();
        (refusal.cause, refusal.field)
    }

    #[test]
    fn nested_modifiers_add_up_in_the_unit_price() {
        let size = chosen("highball_size", "mega", vec![]);
        let strength = chosen("highball_strength", "strong", vec![size]);
        let base = chosen("base_spirit", "whisky", vec![chosen("whisky_brand", "single_malt", vec![])]);
        let input = line("custom_highball", 2, ServiceMode::DineIn, vec![base, strength]);
        let line = price_line(&builtin_menu(), &input, "lines[0]").unwrap();
        assert_eq!((line.unit_price, line.total), (620 + 280 + 80 + 320, 2600));
    }

    #[test]
    fn tax_is_contained_per_rate_and_rounded_down() {
        let menu = builtin_menu();
        let price = |input| price_line(&menu, &input, "l").unwrap();
        let lines = [
            price(line("edamame", 1, ServiceMode::DineIn, vec![])),
            price(line("hiyayakko", 1, ServiceMode::Takeaway, vec![])),
            price(line("makgeolli", 1, ServiceMode::Takeaway, vec![])),
        ];
        let totals = totals(&lines);
        assert_eq!(totals.total, 380 + 380 + 520);
        // 380 × 8 / 108 = 28.1…; 900 × 10 / 110 = 81.8…
        assert_eq!(totals.taxes[0], TaxTotal { rate_percent: 8, gross: 380, tax: 28 });
        assert_eq!(totals.taxes[1], TaxTotal { rate_percent: 10, gross: 900, tax: 81 });
    }

    #[test]
    fn the_service_charge_is_a_share_of_what_is_eaten_here_rounded_down_once() {
        let mut menu = builtin_menu();
        let name = [("ja".to_owned(), "サービス料".to_owned())].into();
        menu.service_charge = Some(ServiceCharge { id: "service".into(), name, percent: 7, tax_class: "food".into() });
        let priced = |mode| price_line(&menu, &line("edamame", 1, mode, vec![]), "l").unwrap();
        let lines = [priced(ServiceMode::DineIn), priced(ServiceMode::DineIn), priced(ServiceMode::Takeaway)];
        let totals = totals(&lines);
        // 7 % of 760 is 53.2; twice 7 % of 380, 26.6, would be 52.
        assert_eq!((totals.charges.len(), totals.charges[0].amount, totals.total), (1, 53, 3 * 380 + 53));
        assert_eq!(totals.taxes[1], TaxTotal { rate_percent: 10, gross: 813, tax: 73 });
        menu.service_charge.as_mut().unwrap().tax_class = "gone".into();
        let input = line("edamame", 1, ServiceMode::DineIn, vec![]);
        assert_eq!(price_line(&menu, &input, "l").unwrap_err().cause, "MASTER_BROKEN");
    }

    #[test]
    fn what_the_menu_does_not_offer_is_refused_by_name() {
        let dine_in = ServiceMode::DineIn;
        let field = |text: &str| Some(text.to_owned());
        assert_eq!(cause_of(&line("pizza", 1, dine_in, vec![])), ("ITEM_UNKNOWN".into(), field("lines[0].item_id")));
        assert_eq!(
            cause_of(&line("edamame", 0, dine_in, vec![])),
            ("INVALID_REQUEST".into(), field("lines[0].quantity"))
        );
        assert_eq!(cause_of(&line("momo", 1, dine_in, vec![])), ("MODIFIER_COUNT".into(), field("lines[0].modifiers")));
        let unknown = chosen("seasoning", "curry", vec![]);
        assert_eq!(
            cause_of(&line("momo", 1, dine_in, vec![unknown])),
            ("MODIFIER_UNKNOWN".into(), field("lines[0].modifiers[0]"))
        );
        let nested_missing = chosen("highball_strength", "strong", vec![]);
        assert_eq!(
            cause_of(&line("highball", 1, dine_in, vec![nested_missing])),
            ("MODIFIER_COUNT".into(), field("lines[0].modifiers[0].modifiers"))
        );
        let sashimi = line("sashimi_3", 1, ServiceMode::Takeaway, vec![]);
        assert_eq!(cause_of(&sashimi).0, "ITEM_NOT_FOR_TAKEAWAY");
    }
}
