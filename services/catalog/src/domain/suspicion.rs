//! Changes that are valid, and yet more likely a fault at the POS than meant: they wait for a person.

use std::{collections::HashMap, fmt::Write as _};

use posmesh_pricing::{localized, shown_amount};
use posmesh_proto::{
    catalog::v1::{Catalog, CatalogProblem, Item, ProblemEffect},
    common::v1::{LocalizedText, Money},
    store::v1::{CatalogPolicy, Store},
};

use super::sieve::problem_about_catalog;

/// Fewer items than these never wait: a small menu changes in large shares.
const MIN_ITEMS: usize = 5;
/// Names that a message tells.
const MAX_NAMES: usize = 10;
/// Prices that are told one by one.
const MAX_PRICES: usize = 100;

/// The store's bounds, the defaults where it says nothing. Why these: see `CatalogPolicy`.
struct Bounds {
    gone_percent: usize,
    sold_out_percent: usize,
    price_percent: i128,
}

impl Bounds {
    fn new(policy: Option<&CatalogPolicy>) -> Self {
        let policy = policy.copied().unwrap_or_default();
        let or = |value: i32, default: u16| u16::try_from(value).ok().filter(|&value| value > 0).unwrap_or(default);
        Self {
            gone_percent: or(policy.max_items_gone_percent, 20).into(),
            sold_out_percent: or(policy.max_items_sold_out_percent, 90).into(),
            price_percent: or(policy.max_price_change_percent, 100).into(),
        }
    }
}

/// Why the step from the current catalog to a new one waits for approval; empty: it does not.
pub(crate) fn suspicions(before: &Catalog, after: &Catalog, store: &Store) -> Vec<CatalogProblem> {
    let bounds = Bounds::new(store.catalog_policy.as_ref());
    let is_now: HashMap<&str, &Item> = after.items.iter().map(|item| (item.id.as_str(), item)).collect();
    let mut found = Vec::new();

    let gone: Vec<&Item> = before.items.iter().filter(|item| !is_now.contains_key(item.id.as_str())).collect();
    if is_many(gone.len(), before.items.len(), bounds.gone_percent) {
        found.push(about_items(
            "MANY_ITEMS_GONE",
            "items",
            "gone",
            &gone,
            (before.items.len(), bounds.gone_percent),
            store,
        ));
    }
    let sold: Vec<&Item> =
        before.items.iter().filter(|item| item.available && is_now.contains_key(item.id.as_str())).collect();
    let ran_out = |item: &&&Item| is_now.get(item.id.as_str()).is_some_and(|now| !now.available);
    let sold_out: Vec<&Item> = sold.iter().filter(ran_out).copied().collect();
    if is_many(sold_out.len(), sold.len(), bounds.sold_out_percent) {
        let of = (sold.len(), bounds.sold_out_percent);
        found.push(about_items("MANY_ITEMS_SOLD_OUT", "available", "sold out", &sold_out, of, store));
    }
    found.extend(prices(before, &is_now, after, &bounds, store));
    found
}

fn is_many(count: usize, of: usize, percent: usize) -> bool {
    count >= MIN_ITEMS && count * 100 > of * percent
}

fn about_items(
    reason: &str,
    field: &str,
    what: &str,
    items: &[&Item],
    (of, percent): (usize, usize),
    store: &Store,
) -> CatalogProblem {
    let mut message =
        format!("{} of {of} items are {what} at once; more than {percent} % wait for approval: ", items.len());
    let names: Vec<&str> =
        items.iter().take(MAX_NAMES).map(|item| localized(item.name.as_ref(), &store.locales)).collect();
    message.push_str(&names.join(", "));
    if let Some(more @ 1..) = items.len().checked_sub(MAX_NAMES) {
        // Writing to a string cannot fail.
        let _ = write!(message, " and {more} more");
    }
    let effect = ProblemEffect::NeedsApproval.into();
    CatalogProblem { effect, ..problem_about_catalog(reason, field, message) }
}

/// Prices that moved further than the store lets them, of items and of choices.
fn prices(
    before: &Catalog,
    items_now: &HashMap<&str, &Item>,
    after: &Catalog,
    bounds: &Bounds,
    store: &Store,
) -> Vec<CatalogProblem> {
    let items = before.items.iter().filter_map(|item| {
        let now = items_now.get(item.id.as_str())?;
        let (was, is) = (amount(item.price.as_ref()), amount(now.price.as_ref()));
        let is_far = is_far(was, is, bounds.price_percent) || was > 0 && is == 0;
        is_far.then_some(("item", &now.id, now.name.as_ref(), was, is))
    });
    let choices_before = choices(before);
    let choices = after.modifier_groups.iter().flat_map(|group| {
        let choices_before = &choices_before;
        group.modifiers.iter().filter_map(move |choice| {
            let was = *choices_before.get(&(group.id.as_str(), choice.id.as_str()))?;
            let is = amount(choice.price.as_ref());
            is_far(was, is, bounds.price_percent).then_some(("modifier", &choice.id, choice.name.as_ref(), was, is))
        })
    });
    items.chain(choices).take(MAX_PRICES).map(|moved| about_price(moved, after, bounds, store)).collect()
}

/// Prices by group and choice.
fn choices(catalog: &Catalog) -> HashMap<(&str, &str), i64> {
    let mut prices = HashMap::new();
    for group in &catalog.modifier_groups {
        for choice in &group.modifiers {
            prices.insert((group.id.as_str(), choice.id.as_str()), amount(choice.price.as_ref()));
        }
    }
    prices
}

fn about_price(
    (entity, id, name, was, is): (&str, &String, Option<&LocalizedText>, i64, i64),
    catalog: &Catalog,
    bounds: &Bounds,
    store: &Store,
) -> CatalogProblem {
    let shown = |amount| shown_amount(&catalog.currency_code, amount);
    let message = format!(
        "the price went from {} to {}; more than {} % waits for approval",
        shown(was),
        shown(is),
        bounds.price_percent
    );
    CatalogProblem {
        reason: "PRICE_MOVED_FAR".to_owned(),
        entity: entity.to_owned(),
        entity_id: id.clone(),
        entity_name: localized(name, &store.locales).to_owned(),
        field: "price".to_owned(),
        message,
        effect: ProblemEffect::NeedsApproval.into(),
    }
}

/// Relative to the lower one. A price that was free, or that lowers the bill, has nothing to compare with.
fn is_far(was: i64, is: i64, percent: i128) -> bool {
    was > 0 && is > 0 && i128::from(was.abs_diff(is)) * 100 > i128::from(was.min(is)) * percent
}

fn amount(price: Option<&Money>) -> i64 {
    price.map_or(0, |price| price.amount)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::fixture::{catalog, item, store, yen};

    /// A menu of so many items at 500.
    fn menu(items: usize) -> Catalog {
        let items =
            (0..items).map(|i| item(&format!("i{i:03}"), &format!("品{i}"), "x", 500, "food", &[], &[])).collect();
        Catalog { items, ..catalog() }
    }

    fn reasons(before: &Catalog, change: impl FnOnce(&mut Catalog)) -> Vec<String> {
        let mut after = before.clone();
        change(&mut after);
        suspicions(before, &after, &store()).into_iter().map(|problem| problem.reason).collect()
    }

    #[test]
    fn a_menu_that_loses_more_than_its_share_waits_and_the_names_are_told() {
        assert_eq!(reasons(&menu(100), |c| c.items.truncate(80)), [""; 0]);
        assert_eq!(reasons(&menu(100), |c| c.items.truncate(79)), ["MANY_ITEMS_GONE"]);
        let found = suspicions(&menu(12), &menu(0), &store());
        let names: Vec<_> = (0..10).map(|i| format!("品{i}")).collect();
        let expected = "12 of 12 items are gone at once; more than 20 % wait for approval: ";
        assert_eq!(found[0].message, format!("{expected}{} and 2 more", names.join(", ")));
        assert_eq!(found[0].effect(), ProblemEffect::NeedsApproval);
    }

    #[test]
    fn a_handful_of_items_may_always_go_or_sell_out() {
        assert_eq!(reasons(&menu(4), |c| c.items.clear()), [""; 0]);
        assert_eq!(reasons(&menu(4), |c| c.items.iter_mut().for_each(|item| item.available = false)), [""; 0]);
    }

    #[test]
    fn a_store_that_sells_nothing_all_at_once_waits() {
        let sold_out = |count: usize| {
            reasons(&menu(20), |c| c.items.iter_mut().take(count).for_each(|item| item.available = false))
        };
        assert_eq!(sold_out(18), [""; 0]);
        assert_eq!(sold_out(19), ["MANY_ITEMS_SOLD_OUT"]);
        let mut closed = menu(20);
        closed.items.iter_mut().for_each(|item| item.available = false);
        assert_eq!(reasons(&closed, |_| {}), [""; 0], "it was so before");
        assert_eq!(reasons(&closed, |c| c.items.iter_mut().for_each(|item| item.available = true)), [""; 0]);
    }

    #[test]
    fn a_price_may_double_or_halve_and_what_moves_further_waits() {
        let moved = |to| reasons(&menu(3), |c| c.items[1].price = yen(to));
        for harmless in [250, 1000, 550] {
            assert_eq!(moved(harmless), [""; 0], "{harmless}");
        }
        for far in [249, 1001, 50, 5000, 0] {
            assert_eq!(moved(far), ["PRICE_MOVED_FAR"], "{far}");
        }
        let mut after = menu(3);
        after.items[1].price = yen(50_000);
        let found = suspicions(&menu(3), &after, &store());
        assert_eq!((found[0].entity_name.as_str(), found[0].field.as_str()), ("品1", "price"));
        assert_eq!(found[0].message, "the price went from 500 to 50,000; more than 100 % waits for approval");
    }

    #[test]
    fn a_choice_is_told_by_its_group_and_a_free_one_may_cost_anything() {
        let choice = |from, to| {
            let mut before = catalog();
            before.modifier_groups[0].modifiers[0].price = yen(from);
            reasons(&before, |c| c.modifier_groups[0].modifiers[0].price = yen(to))
        };
        assert_eq!(choice(300, 3000), ["PRICE_MOVED_FAR"]);
        for (from, to) in [(0, 3000), (300, 0), (-50, -500), (300, -10)] {
            assert_eq!(choice(from, to), [""; 0], "{from} to {to}");
        }
    }

    #[test]
    fn the_stores_own_bounds_win() {
        let lenient = CatalogPolicy {
            max_items_gone_percent: 100,
            max_price_change_percent: 10_000,
            max_items_sold_out_percent: 100,
            ..Default::default()
        };
        let lenient = Store { catalog_policy: Some(lenient), ..store() };
        assert_eq!(suspicions(&menu(50), &menu(0), &lenient), []);
        let strict = CatalogPolicy { max_price_change_percent: 10, ..Default::default() };
        let strict = Store { catalog_policy: Some(strict), ..store() };
        let mut after = menu(3);
        after.items[0].price = yen(551);
        assert_eq!(suspicions(&menu(3), &after, &strict).len(), 1);
    }
}
