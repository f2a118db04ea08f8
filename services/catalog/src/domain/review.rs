//! Items that nobody sells until a person has looked at them: new ones, and those that are called, taxed or priced
//! otherwise than when they were sold last.

use std::collections::{BTreeSet, HashMap};

use posmesh_pricing::localized;
use posmesh_proto::catalog::v1::{Catalog, CatalogChange, CatalogChangeKind as Kind, Item, ItemToReview, SoldItem};

use super::diff;

/// A step from the current version to the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) current: &'a Catalog,
    pub(crate) next: &'a Catalog,
    /// Of `next`.
    pub(crate) version: i64,
    /// Whether what changes with it waits from then on; else only what waited before.
    pub(crate) holds_changed: bool,
}

/// What waits after a step, by id, given what waited before it.
pub(crate) fn to_review(known: &[ItemToReview], step: Step<'_>) -> Vec<ItemToReview> {
    let known: HashMap<&str, &ItemToReview> = known.iter().map(|waits| (waits.item_id.as_str(), waits)).collect();
    let was: HashMap<&str, SoldItem> = step.current.items.iter().map(|item| (item.id.as_str(), looks(item))).collect();
    let waits = |item: &Item| {
        let (known, was, is) = (known.get(item.id.as_str()), was.get(item.id.as_str()), looks(item));
        let sold = match known {
            Some(known) => known.sold.as_ref(),
            None if step.holds_changed => was,
            None => return None,
        };
        if sold == Some(&is) {
            return None;
        }
        let stood = known.filter(|_| was == Some(&is)).map(|known| known.since_version);
        Some(ItemToReview {
            item_id: item.id.clone(),
            sold: sold.cloned(),
            since_version: stood.unwrap_or(step.version),
            changes: Vec::new(),
        })
    };
    let mut waiting: Vec<ItemToReview> = step.next.items.iter().filter_map(waits).collect();
    waiting.sort_by(|a, b| a.item_id.cmp(&b.item_id));
    waiting
}

/// What waits on when a person has looked at these items in a version. `Err`: this one has changed since.
pub(crate) fn reviewed(known: &[ItemToReview], ids: &[String], version: i64) -> Result<Vec<ItemToReview>, String> {
    let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let (seen, waiting): (Vec<_>, Vec<_>) =
        known.iter().cloned().partition(|waits| ids.contains(waits.item_id.as_str()));
    match seen.into_iter().find(|waits| waits.since_version > version) {
        Some(changed) => Err(changed.item_id),
        None => Ok(waiting),
    }
}

/// Says of each what differs from how it was sold, named in the first of `locales` that there is. What the catalog does not
/// have is dropped.
pub(crate) fn with_changes(catalog: &Catalog, waiting: Vec<ItemToReview>, locales: &[String]) -> Vec<ItemToReview> {
    let items: HashMap<&str, &Item> = catalog.items.iter().map(|item| (item.id.as_str(), item)).collect();
    let known: Vec<(ItemToReview, &Item)> =
        waiting.into_iter().filter_map(|waits| items.get(waits.item_id.as_str()).map(|item| (waits, *item))).collect();
    let with = |items| Catalog {
        items,
        currency_code: catalog.currency_code.clone(),
        tax_classes: catalog.tax_classes.clone(),
        ..Catalog::default()
    };
    let after = with(known.iter().map(|(_, item)| (*item).clone()).collect());
    let before = with(known.iter().filter_map(|(waits, item)| Some(as_sold(item, waits.sold.as_ref()?))).collect());
    let mut changes: HashMap<String, Vec<CatalogChange>> = HashMap::new();
    for change in diff(&before, &after, locales).changes {
        changes.entry(change.entity_id.clone()).or_default().push(change);
    }
    let told = |(waits, _): (ItemToReview, &Item)| {
        let changes = changes.remove(&waits.item_id).unwrap_or_default();
        ItemToReview { changes, ..waits }
    };
    known.into_iter().map(told).collect()
}

/// A line for each item that waits now and did not before, and for each that does no longer and is in the catalog.
pub(crate) fn review_lines(
    (before, after): (&BTreeSet<String>, &BTreeSet<String>),
    catalog: &Catalog,
    locales: &[String],
) -> Vec<CatalogChange> {
    let line = |item: &Item| {
        let (kind, text) = match (before.contains(&item.id), after.contains(&item.id)) {
            (false, true) => (Kind::Hidden, "hidden until it is reviewed"),
            (true, false) => (Kind::Shown, "sold again"),
            _ => return None,
        };
        let name = localized(item.name.as_ref(), locales);
        Some(CatalogChange {
            kind: kind.into(),
            entity: "item".to_owned(),
            entity_id: item.id.clone(),
            entity_name: name.to_owned(),
            text: format!("{}: {text}", if name.is_empty() { &item.id } else { name }),
            ..Default::default()
        })
    };
    if before == after { Vec::new() } else { catalog.items.iter().filter_map(line).collect() }
}

/// By what guests choose it, and what they pay.
fn looks(item: &Item) -> SoldItem {
    SoldItem { name: item.name.clone(), tax_class_id: item.tax_class_id.clone(), price: item.price.clone() }
}

fn as_sold(item: &Item, sold: &SoldItem) -> Item {
    let SoldItem { name, tax_class_id, price } = sold.clone();
    Item { name, tax_class_id, price, ..item.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::fixture::{catalog, item, text, yen};

    fn changed(change: impl FnOnce(&mut Catalog)) -> Catalog {
        let mut catalog = catalog();
        change(&mut catalog);
        catalog
    }

    fn after(known: &[ItemToReview], current: &Catalog, next: &Catalog, version: i64) -> Vec<ItemToReview> {
        to_review(known, Step { current, next, version, holds_changed: true })
    }

    fn ids(waiting: &[ItemToReview]) -> Vec<&str> {
        waiting.iter().map(|waits| waits.item_id.as_str()).collect()
    }

    fn beer_at(amount: i64) -> Catalog {
        changed(|c| c.items[0].price = yen(amount))
    }

    #[test]
    fn an_item_waits_that_is_new_or_called_taxed_or_priced_otherwise_and_no_other_does() {
        let held: [fn(&mut Catalog); 5] = [
            |c| c.items[0].price = yen(600),
            |c| c.items[0].tax_class_id = "food".to_owned(),
            |c| c.items[0].name = text(&[("ja", "生ビール"), ("en", "Lager")]),
            |c| c.items[0].name = text(&[("ja", "ビール"), ("en", "Draft beer")]),
            |c| c.items[0].id = "ale".to_owned(),
        ];
        for change in held {
            assert_eq!(after(&[], &catalog(), &changed(change), 2).len(), 1);
        }
        let sold: [fn(&mut Catalog); 5] = [
            |_| (),
            |c| c.items[0].available = false,
            |c| c.items[0].description = text(&[("ja", "冷たい")]),
            |c| c.items[0].category_ids.clear(),
            |c| drop(c.items.remove(0)),
        ];
        for change in sold {
            assert_eq!(after(&[], &catalog(), &changed(change), 2), []);
        }
    }

    #[test]
    fn what_waits_is_compared_with_how_it_was_sold_last_and_no_longer_waits_once_it_is_so_again() {
        let waiting = after(&[], &catalog(), &beer_at(600), 2);
        assert_eq!((waiting[0].sold.as_ref().unwrap().price.clone(), waiting[0].since_version), (yen(545), 2));
        let again = after(&waiting, &beer_at(600), &beer_at(650), 3);
        assert_eq!((again[0].sold.as_ref().unwrap().price.clone(), again[0].since_version), (yen(545), 3));
        let unrelated = changed(|c| {
            c.items[0].price = yen(650);
            c.items[1].available = false;
        });
        assert_eq!(after(&again, &beer_at(650), &unrelated, 4), again, "it looks as it did in version 3");
        assert_eq!(after(&again, &beer_at(650), &beer_at(545), 4), []);
        assert_eq!(after(&again, &beer_at(650), &changed(|c| drop(c.items.remove(0))), 4), []);
    }

    #[test]
    fn a_new_item_waits_on_through_versions_that_leave_it_alone() {
        let with_wine = |price| changed(|c| c.items.push(item("wine", "ワイン", "Wine", price, "drink", &[], &[])));
        let waiting = after(&[], &catalog(), &with_wine(700), 2);
        assert_eq!((ids(&waiting), &waiting[0].sold), (vec!["wine"], &None));
        assert_eq!(after(&waiting, &with_wine(700), &with_wine(700), 3), waiting);
        assert_eq!(after(&waiting, &with_wine(700), &with_wine(750), 3)[0].since_version, 3);
    }

    #[test]
    fn a_step_that_holds_nothing_leaves_what_waited_waiting_unless_it_is_as_it_was() {
        let step = |known: &[ItemToReview], current: &Catalog, next: &Catalog| {
            to_review(known, Step { current, next, version: 4, holds_changed: false })
        };
        assert_eq!(step(&[], &catalog(), &beer_at(600)), []);
        let waiting = after(&[], &catalog(), &beer_at(600), 2);
        assert_eq!(step(&waiting, &beer_at(600), &beer_at(545)), []);
        assert_eq!(step(&waiting, &beer_at(600), &beer_at(700))[0].since_version, 4);
    }

    #[test]
    fn a_word_about_an_item_counts_for_what_was_seen_of_it_and_for_no_later_change() {
        let both = changed(|c| c.items.iter_mut().for_each(|item| item.price = yen(999)));
        let waiting = after(&[], &catalog(), &both, 5);
        let word = |ids: &[&str], version| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            reviewed(&waiting, &ids, version)
        };
        assert_eq!(ids(&word(&["beer"], 5).unwrap()), ["yakitori"]);
        assert_eq!(word(&["beer", "yakitori", "rice"], 7).unwrap(), []);
        assert_eq!(word(&["rice"], 1).unwrap(), waiting);
        assert_eq!(word(&["yakitori"], 4), Err("yakitori".to_owned()));
    }

    #[test]
    fn what_waits_is_told_in_the_lines_of_a_diff() {
        let next = changed(|c| {
            c.items[0].price = yen(600);
            c.items[0].tax_class_id = "food".to_owned();
            c.items[1].name = text(&[("ja", "やきとり"), ("en", "Yakitori")]);
            c.items.push(item("wine", "ワイン", "Wine", 700, "drink", &[], &[]));
        });
        let mut waiting = after(&[], &catalog(), &next, 2);
        waiting.push(ItemToReview { item_id: "gone".to_owned(), ..Default::default() });
        let told = with_changes(&next, waiting, &["ja".to_owned()]);
        let lines = |waits: &ItemToReview| waits.changes.iter().map(|change| change.text.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&told), ["beer", "wine", "yakitori"]);
        assert_eq!(lines(&told[0]), ["生ビール: price 545 → 600", "生ビール: tax class 酒類 → 食品"]);
        assert_eq!(lines(&told[1]), ["ワイン: new, 700"]);
        assert_eq!(lines(&told[2]), ["焼き鳥: now called やきとり"]);
    }

    #[test]
    fn a_watcher_is_told_what_is_hidden_and_what_is_sold_again() {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
        let lines = |before: &[&str], after: &[&str]| {
            let lines = review_lines((&set(before), &set(after)), &catalog(), &["en".to_owned()]);
            lines.into_iter().map(|change| change.text).collect::<Vec<_>>()
        };
        assert_eq!(lines(&["beer"], &["beer"]), [""; 0]);
        let expected = ["Draft beer: sold again", "Yakitori: hidden until it is reviewed"];
        assert_eq!(lines(&["beer", "gone"], &["yakitori"]), expected);
    }
}
