//! What is sold: a version, with what is said beside it.

use std::collections::{BTreeSet, HashMap, HashSet};

use posmesh_proto::{
    adapter::v1::CatalogState,
    catalog::v1::{Availability, AvailabilitySource, Catalog, Item, Modifier},
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

/// The catalog as it is sold in every product, before anything is laid over it. `None`: as the POS gave it.
pub(crate) fn offer(catalog: &Catalog, beside: &Beside) -> Option<Catalog> {
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
    remaining: Option<i32>,
    sold_out_by_staff: bool,
}

impl Word {
    fn available(&self, in_version: bool) -> bool {
        self.pos.unwrap_or(in_version) && self.remaining != Some(0) && !self.sold_out_by_staff
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
                AvailabilitySource::Pos => (word.pos, word.remaining) = (Some(said.available), said.remaining),
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

    fn remaining(&self, item: &Item) -> Option<i32> {
        self.items.get(item.id.as_str()).and_then(|word| word.remaining)
    }

    fn of_modifier(&self, group_id: &str, modifier: &Modifier) -> bool {
        let word = self.modifiers.get(&(group_id, modifier.id.as_str()));
        word.map_or(modifier.available, |word| word.available(modifier.available))
    }

    fn change(&self, catalog: &Catalog) -> bool {
        let groups = || catalog.modifier_groups.iter().filter(|_| !self.modifiers.is_empty());
        let changes = |item: &Item| self.of_item(item) != item.available || self.remaining(item) != item.remaining;
        catalog.items.iter().any(changes)
            || groups().any(|group| group.modifiers.iter().any(|m| self.of_modifier(&group.id, m) != m.available))
    }

    fn apply(&self, catalog: &mut Catalog) {
        for item in &mut catalog.items {
            (item.available, item.remaining) = (self.of_item(item), self.remaining(item));
        }
        for group in &mut catalog.modifier_groups {
            for modifier in &mut group.modifiers {
                modifier.available = self.of_modifier(&group.id, modifier);
            }
        }
    }
}

/// What the POS says by now of its version: of each item where it is something else, or that it counts.
pub(crate) fn pos_words(catalog: &Catalog, state: &CatalogState, now: Timestamp) -> Vec<Availability> {
    let sold_out: HashSet<&str> = state.sold_out_item_ids.iter().map(String::as_str).collect();
    let counts: HashMap<&str, i32> = state.counts.iter().map(|x| (x.item_id.as_str(), x.remaining)).collect();
    let word = |item: &Item| {
        let available = !sold_out.contains(item.id.as_str());
        let remaining = counts.get(item.id.as_str()).copied();
        (available != item.available || remaining.is_some()).then(|| pos_word(&item.id, available, remaining, now))
    };
    catalog.items.iter().filter_map(word).collect()
}

/// Takes what the POS counted out of its catalog: what is left is no part of a version.
pub(crate) fn take_counts(catalog: &mut Catalog, now: Timestamp) -> Vec<Availability> {
    let count = |item: &mut Item| {
        let remaining = item.remaining.take()?;
        Some(pos_word(&item.id, item.available, Some(remaining), now))
    };
    catalog.items.iter_mut().filter_map(count).collect()
}

fn pos_word(item_id: &str, available: bool, remaining: Option<i32>, now: Timestamp) -> Availability {
    Availability {
        item_id: item_id.to_owned(),
        available,
        source: AvailabilitySource::Pos.into(),
        time: Some(now),
        remaining: remaining.map(|left| left.max(0)),
        ..Availability::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::adapter::v1::ItemCount;

    use super::*;
    use crate::domain::fixture;

    fn word(item_id: &str, group_id: &str, modifier_id: &str) -> Availability {
        let [item_id, group_id, modifier_id] = [item_id, group_id, modifier_id].map(str::to_owned);
        Availability { item_id, group_id, modifier_id, available: false, ..Default::default() }
    }

    fn offered(words: Vec<Availability>) -> Option<Catalog> {
        offer(&fixture::catalog(), &Beside { availability: words, ..Default::default() })
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
        let said = |words: Vec<Availability>| offer(&catalog, &Beside { availability: words, ..Default::default() });
        let staff = Availability { available: true, ..word("beer", "", "") };
        assert_eq!(said(vec![staff]), None);
        let pos = Availability { available: true, source: AvailabilitySource::Pos.into(), ..word("beer", "", "") };
        assert!(said(vec![pos.clone()]).unwrap().items[0].available);
        assert_eq!(said(vec![word("beer", "", ""), pos]), None, "the staff still say that it is sold out");
    }

    #[test]
    fn what_the_pos_counts_is_offered_by_its_count_and_sold_out_when_none_is_left() {
        let count = |item_id: &str, remaining| ItemCount { item_id: item_id.to_owned(), remaining };
        let counts = vec![count("beer", 3), count("yakitori", -1), count("gone", 1)];
        let state = CatalogState { counts, ..CatalogState::default() };
        let sold = offered(pos_words(&fixture::catalog(), &state, Timestamp::default())).unwrap();
        let left: Vec<_> = sold.items.iter().map(|item| (item.available, item.remaining)).collect();
        assert_eq!(left, [(true, Some(3)), (false, Some(0))]);
        let mut words = pos_words(&fixture::catalog(), &state, Timestamp::default());
        words.push(word("beer", "", ""));
        assert!(!offered(words).unwrap().items[0].available, "the staff took it off");
    }

    #[test]
    fn what_is_left_is_no_part_of_a_version() {
        let mut pulled = fixture::catalog();
        (pulled.items[0].remaining, pulled.items[1].available) = (Some(3), false);
        pulled.items[1].remaining = Some(0);
        let words = take_counts(&mut pulled, Timestamp::default());
        let said: Vec<_> = words.iter().map(|word| (word.item_id.as_str(), word.available, word.remaining)).collect();
        assert_eq!(said, [("beer", true, Some(3)), ("yakitori", false, Some(0))]);
        pulled.items[1].available = true;
        assert_eq!(pulled, fixture::catalog());
    }

    #[test]
    fn the_pos_is_noted_where_it_says_something_else_than_in_its_version() {
        let mut catalog = fixture::catalog();
        catalog.items[0].available = false;
        let words = |sold_out: &[&str]| {
            let sold_out_item_ids = sold_out.iter().map(|id| (*id).to_owned()).collect();
            let state = CatalogState { sold_out_item_ids, ..CatalogState::default() };
            let words = pos_words(&catalog, &state, Timestamp::default());
            words.into_iter().map(|word| (word.item_id, word.available)).collect::<Vec<_>>()
        };
        assert_eq!(words(&["beer", "gone"]), []);
        assert_eq!(words(&["yakitori"]), [("beer".to_owned(), true), ("yakitori".to_owned(), false)]);
    }
}
