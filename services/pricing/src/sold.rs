//! Whether something is sold: in a service mode, at a time, while there is any of it.

use std::collections::BTreeMap;

use posmesh_proto::{
    catalog::v1::{Item, Modifier},
    common::v1::ServiceMode,
};

use crate::CatalogIndex;

/// The menu periods, by id, that do not go on at a moment, and when each begins again by the store's clock
/// (`2026-11-24 11:00`, so that the earlier one sorts first); empty where nobody knows.
pub type ClosedPeriods = BTreeMap<String, String>;

/// Whether an item is sold in a service mode: its own modes, or any where it names none.
pub fn is_sold_in(item: &Item, mode: ServiceMode) -> bool {
    item.service_modes.is_empty() || item.service_modes.contains(&mode.into())
}

/// Whether an item is sold while some menu periods do not go on: while any of its own does, or always where it names
/// none.
pub fn is_sold_while(item: &Item, is_closed: impl Fn(&str) -> bool) -> bool {
    item.menu_period_ids.is_empty() || !item.menu_period_ids.iter().all(|id| is_closed(id))
}

/// When an item is sold again that is not: the first of its menu periods to begin, as [`ClosedPeriods`] tells it.
pub(crate) fn sold_again<'a>(item: &Item, closed: &'a ClosedPeriods) -> Option<&'a str> {
    let begins = item.menu_period_ids.iter().filter_map(|id| closed.get(id));
    begins.map(String::as_str).filter(|begin| !begin.is_empty()).min()
}

/// Whether a choice can be made: it is there itself, and the item that it is is not sold out.
pub fn is_choice_available(index: &CatalogIndex, choice: &Modifier) -> bool {
    choice.available && index.item(&choice.item_id).is_none_or(|item| item.available)
}
