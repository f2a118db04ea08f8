//! What is left of items that the staff count.

use std::collections::BTreeMap;

use crate::api::{Line, Menu, Modifier, Refusal, cause};

/// Refuses lines, the last of which is at `at`, that want more of an item than is left.
pub(crate) fn check(menu: &Menu, lines: &[Line], at: &str) -> Result<(), Refusal> {
    let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
    for (item_id, units) in lines.iter().flat_map(|line| used(menu, line, line.quantity)) {
        let wanted = wanted.entry(item_id).or_default();
        *wanted = wanted.saturating_add(units);
    }
    for (item_id, wanted) in wanted {
        let Some((item, left)) = menu.item(&item_id).and_then(|(item, _)| Some((item, item.remaining?))) else {
            continue;
        };
        if wanted > left {
            let message = format!("{} ({item_id}): {left} left, {wanted} wanted", menu.printed_name(&item.name));
            return Err(Refusal::new(422, cause::ITEM_SOLD_OUT, message).at(format!("{at}.item_id")).item(&item_id));
        }
    }
    Ok(())
}

/// A line was ordered.
pub(crate) fn lower(menu: &mut Menu, line: &Line) {
    change(menu, line, line.quantity, u32::saturating_sub);
}

/// Units of a line were taken back.
pub(crate) fn give_back(menu: &mut Menu, line: &Line, units: u32) {
    change(menu, line, units, u32::saturating_add);
}

fn change(menu: &mut Menu, line: &Line, units: u32, to: fn(u32, u32) -> u32) {
    for (item_id, units) in used(menu, line, units) {
        let counted = menu.item_mut(&item_id).and_then(|item| Some((item.remaining?, item)));
        let Some((left, item)) = counted.filter(|_| units > 0) else { continue };
        let now = to(left, units);
        // What the staff took off by hand stays off.
        item.available = if now == 0 { false } else { item.available || left == 0 };
        item.remaining = Some(now);
        menu.revision += 1;
    }
}

/// The items in so many units of a line, its choices included, that are items.
fn used(menu: &Menu, line: &Line, units: u32) -> Vec<(String, u32)> {
    let mut used = vec![(line.item_id.clone(), units)];
    chosen(menu, &line.modifiers, units, &mut used);
    used
}

fn chosen(menu: &Menu, modifiers: &[Modifier], units: u32, used: &mut Vec<(String, u32)>) {
    for modifier in modifiers {
        let units = units.saturating_mul(modifier.quantity);
        let options = menu.group(&modifier.group_id).into_iter().flat_map(|group| &group.options);
        let item = options.filter(|option| option.id == modifier.option_id).find_map(|option| option.item.clone());
        used.extend(item.map(|item| (item, units)));
        chosen(menu, &modifier.modifiers, units, used);
    }
}
