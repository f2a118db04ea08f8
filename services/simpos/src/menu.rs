//! The built-in menu and look-ups in a menu.

use crate::api::{Category, Item, Menu, ModifierGroup, Texts};

const IZAKAYA: &str = include_str!("../menu/izakaya.toml");

/// The built-in menu: an izakaya with 121 items and 24 tables.
#[expect(clippy::expect_used, reason = "the file is compiled in and a test parses it")]
pub fn builtin_menu() -> Menu {
    toml::from_str(IZAKAYA).expect("the built-in menu parses")
}

impl Menu {
    /// The item and its category.
    pub(crate) fn item(&self, id: &str) -> Option<(&Item, &Category)> {
        self.categories.iter().find_map(|category| Some((category.items.iter().find(|item| item.id == id)?, category)))
    }

    pub(crate) fn item_mut(&mut self, id: &str) -> Option<&mut Item> {
        self.categories.iter_mut().flat_map(|category| &mut category.items).find(|item| item.id == id)
    }

    pub(crate) fn group(&self, id: &str) -> Option<&ModifierGroup> {
        self.modifier_groups.iter().find(|group| group.id == id)
    }

    pub(crate) fn has_table(&self, id: &str) -> bool {
        self.areas.iter().flat_map(|area| &area.tables).any(|table| table.id == id)
    }

    pub(crate) fn has_tender(&self, id: &str) -> bool {
        self.tenders.iter().any(|tender| tender.id == id)
    }

    /// The text that slips show: the first locale's, else any.
    pub(crate) fn printed_name(&self, name: &Texts) -> String {
        let first = self.locales.first().and_then(|locale| name.get(locale));
        first.or_else(|| name.values().next()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_built_in_menu_is_a_sound_izakaya_in_three_languages() {
        let menu = builtin_menu();
        let items: Vec<&Item> = menu.categories.iter().flat_map(|category| &category.items).collect();
        let options: Vec<_> = menu.modifier_groups.iter().flat_map(|group| &group.options).collect();
        assert_eq!((items.len(), menu.categories.len()), (121, 13));
        assert_eq!(items.iter().map(|item| &item.id).collect::<BTreeSet<_>>().len(), items.len());
        assert_eq!(menu.areas.iter().map(|area| area.tables.len()).sum::<usize>(), 24);
        assert!(items.iter().all(|item| item.price > 0));
        let names = menu.categories.iter().map(|category| &category.name);
        let names = names.chain(items.iter().map(|item| &item.name)).chain(options.iter().map(|option| &option.name));
        for name in names {
            assert!(menu.locales.iter().all(|locale| name.contains_key(locale)), "{name:?}");
        }
        let referred = items.iter().flat_map(|item| &item.groups).chain(options.iter().flat_map(|o| &o.groups));
        for group in referred {
            assert!(menu.group(group).is_some(), "{group}");
        }
        assert!(options.iter().filter_map(|option| option.item.as_ref()).all(|id| menu.item(id).is_some()));
        for category in &menu.categories {
            assert!(menu.stations.iter().any(|station| Some(&station.id) == category.station.as_ref()));
            assert!(menu.courses.iter().any(|course| Some(&course.id) == category.course.as_ref()));
        }
        let codes: BTreeSet<_> = items.iter().filter_map(|item| item.code.as_ref()).collect();
        assert_eq!(codes.len(), items.len());
        assert!(items.iter().all(|item| item.kana.is_some()));
    }

    #[test]
    fn the_defaults_of_every_required_group_are_enough() {
        for group in builtin_menu().modifier_groups.iter().filter(|group| group.min > 0) {
            let defaults = group.options.iter().filter(|option| option.default).count();
            assert!((group.min as usize..=group.max as usize).contains(&defaults), "{}: {defaults}", group.id);
        }
    }
}
