//! What is sold: a version, with what is said beside it.

use std::collections::{BTreeSet, HashMap, HashSet};

use posmesh_proto::{
    catalog::v1::{Availability, AvailabilitySource, Catalog, Item, Modifier},
    common::v1::Product,
};
use prost_types::Timestamp;

/// What is said beside the versions of a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Beside {
    /// Of its items and choices.
    pub(crate) availability: Vec<Availability>,
    /// Ids of the items that wait for a review.
    pub(crate) to_review: BTreeSet<String>,
}

/// The catalog as it is sold in a product; unspecified: as far as it is the same in all of them. `None`: as the POS gave it.
pub(crate) fn offer(catalog: &Catalog, beside: &Beside, _product: Product) -> Option<Catalog> {
    let words = Words::new(&beside.availability);
    words.change(catalog).then(|| {
        let mut offered = catalog.clone();
        words.apply(&mut offered);
        offered
    })
}

/// What is said of items and choices. The POS's word is newer than the version; that of the staff is another one, and both
/// must agree that a thing is there: what the till refuses must not be ordered, and what the staff took off stays off.
struct Words<'a> {
    items: HashMap<&'a str, Word>,
    modifiers: HashMap<(&'a str, &'a str), Word>,
}

#[derive(Default)]
struct Word {
    pos: Option<bool>,
    sold_out_by_staff: bool,
}

impl Word {
    fn available(&self, in_version: bool) -> bool {
        self.pos.unwrap_or(in_version) && !self.sold_out_by_staff
    }
}

impl<'a> Words<'a> {
    fn new(words: &'a [Availability]) -> Self {
        let mut all = Self { items: HashMap::new(), modifiers: HashMap::new() };
        for said in words {
            let word = match said.item_id.as_str() {
                "" => all.modifiers.entry((&said.group_id, &said.modifier_id)).or_default(),
                item_id => all.items.entry(item_id).or_default(),
            };
            match said.source() {
                AvailabilitySource::Pos => word.pos = Some(said.available),
                AvailabilitySource::Staff | AvailabilitySource::Unspecified => {
                    word.sold_out_by_staff |= !said.available
                }
            }
        }
        all
    }

    fn of_item(&self, item: &Item) -> bool {
        self.items.get(item.id.as_str()).map_or(item.available, |word| word.available(item.available))
    }

    fn of_modifier(&self, group_id: &str, modifier: &Modifier) -> bool {
        let word = self.modifiers.get(&(group_id, modifier.id.as_str()));
        word.map_or(modifier.available, |word| word.available(modifier.available))
    }

    fn change(&self, catalog: &Catalog) -> bool {
        let groups = || catalog.modifier_groups.iter().filter(|_| !self.modifiers.is_empty());
        catalog.items.iter().any(|item| self.of_item(item) != item.available)
            || groups().any(|group| group.modifiers.iter().any(|m| self.of_modifier(&group.id, m) != m.available))
    }

    fn apply(&self, catalog: &mut Catalog) {
        for item in &mut catalog.items {
            item.available = self.of_item(item);
        }
        for group in &mut catalog.modifier_groups {
            for modifier in &mut group.modifiers {
                modifier.available = self.of_modifier(&group.id, modifier);
            }
        }
    }
}

/// What the POS says by now, of its version, where it is something else: all the items that are sold out there.
pub(crate) fn pos_words(catalog: &Catalog, sold_out_item_ids: &[String], now: Timestamp) -> Vec<Availability> {
    let sold_out: HashSet<&str> = sold_out_item_ids.iter().map(String::as_str).collect();
    let news = catalog.items.iter().filter(|item| item.available == sold_out.contains(item.id.as_str()));
    let word = |item: &Item| Availability {
        item_id: item.id.clone(),
        available: !item.available,
        source: AvailabilitySource::Pos.into(),
        time: Some(now),
        ..Availability::default()
    };
    news.map(word).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::fixture;

    fn word(item_id: &str, group_id: &str, modifier_id: &str) -> Availability {
        let [item_id, group_id, modifier_id] = [item_id, group_id, modifier_id].map(str::to_owned);
        Availability { item_id, group_id, modifier_id, available: false, ..Default::default() }
    }

    fn offered(words: Vec<Availability>) -> Option<Catalog> {
        offer(&fixture::catalog(), &Beside { availability: words, ..Default::default() }, Product::Table)
    }

    #[test]
    fn what_somebody_says_is_sold_out_is_and_all_else_is_as_the_pos_gave_it() {
        let sold = offered(vec![word("beer", "", ""), word("", "sauce", "tare")]).unwrap();
        let mut expected = fixture::catalog();
        expected.items[0].available = false;
        let sauce = expected.modifier_groups.iter_mut().find(|group| group.id == "sauce").unwrap();
        sauce.modifiers.iter_mut().find(|modifier| modifier.id == "tare").unwrap().available = false;
        assert_eq!(sold, expected);
    }

    #[test]
    fn where_nothing_is_said_that_matters_the_catalog_is_not_copied() {
        assert_eq!(offered(Vec::new()), None);
        assert_eq!(offered(vec![word("gone", "", ""), word("", "beer", "salt")]), None);
    }

    #[test]
    fn the_staff_do_not_make_available_what_the_pos_has_not_but_the_pos_does() {
        let mut catalog = fixture::catalog();
        catalog.items[0].available = false;
        let said = |words: Vec<Availability>| {
            offer(&catalog, &Beside { availability: words, ..Default::default() }, Product::Table)
        };
        let staff = Availability { available: true, ..word("beer", "", "") };
        assert_eq!(said(vec![staff]), None);
        let pos = Availability { available: true, source: AvailabilitySource::Pos.into(), ..word("beer", "", "") };
        assert!(said(vec![pos.clone()]).unwrap().items[0].available);
        assert_eq!(said(vec![word("beer", "", ""), pos]), None, "the staff still say that it is sold out");
    }

    #[test]
    fn the_pos_is_noted_where_it_says_something_else_than_in_its_version() {
        let mut catalog = fixture::catalog();
        catalog.items[0].available = false;
        let words = |sold_out: &[&str]| {
            let sold_out: Vec<String> = sold_out.iter().map(|id| (*id).to_owned()).collect();
            let words = pos_words(&catalog, &sold_out, Timestamp::default());
            words.into_iter().map(|word| (word.item_id, word.available)).collect::<Vec<_>>()
        };
        assert_eq!(words(&["beer", "gone"]), []);
        assert_eq!(words(&["yakitori"]), [("beer".to_owned(), true), ("yakitori".to_owned(), false)]);
    }
}
