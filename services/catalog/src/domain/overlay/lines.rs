//! What is laid over a catalog otherwise than before, as a watcher is told.

use std::collections::HashMap;

use posmesh_pricing::localized;
use posmesh_proto::{
    catalog::v1::{Catalog, CatalogChange, CatalogChangeKind as Kind, Category, Modifier, Overlay},
    common::v1::LocalizedText,
};

use super::{OverlayMap, category_key, code_key, item_key, modifier_key, subject_key};

/// A line for each thing of the catalog over which the store, or its brand, lays something else than before.
pub(crate) fn overlay_lines(
    before: [&OverlayMap; 2],
    after: [&OverlayMap; 2],
    catalog: &Catalog,
    locales: &[String],
) -> Vec<CatalogChange> {
    let whose = ["what is laid over it changed", "what its brand lays over it changed"];
    let changed: Vec<(&Overlay, &str)> = before
        .into_iter()
        .zip(after)
        .zip(whose)
        .filter(|((before, after), _)| !std::ptr::eq(*before, *after))
        .flat_map(|((before, after), text)| {
            let now = after.iter().filter(|(key, overlay)| before.get(*key) != Some(*overlay));
            let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
            now.chain(gone).map(move |(_, overlay)| (overlay, text))
        })
        .collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let things = Things::new(catalog);
    let lines = changed.into_iter().flat_map(|(overlay, text)| {
        things.of(overlay).iter().map(|thing| line(*thing, text, locales)).collect::<Vec<_>>()
    });
    lines.collect()
}

/// What an overlay may be about.
#[derive(Clone, Copy)]
struct Thing<'a> {
    entity: &'static str,
    id: &'a str,
    group_id: &'a str,
    name: Option<&'a LocalizedText>,
}

/// What a catalog has, by subject; several items may have one code.
struct Things<'a>(HashMap<String, Vec<Thing<'a>>>);

impl<'a> Things<'a> {
    fn new(catalog: &'a Catalog) -> Self {
        let mut all: HashMap<String, Vec<Thing<'a>>> = HashMap::new();
        let mut add = |key, thing| all.entry(key).or_default().push(thing);
        for item in &catalog.items {
            let thing = Thing { entity: "item", id: &item.id, group_id: "", name: item.name.as_ref() };
            add(item_key(&item.id), thing);
            if !item.code.is_empty() {
                add(code_key(&item.code), thing);
            }
        }
        for Category { id, name, .. } in &catalog.categories {
            add(category_key(id), Thing { entity: "category", id, group_id: "", name: name.as_ref() });
        }
        for group in &catalog.modifier_groups {
            for Modifier { id, name, .. } in &group.modifiers {
                let thing = Thing { entity: "modifier", id, group_id: &group.id, name: name.as_ref() };
                add(modifier_key(&group.id, id), thing);
            }
        }
        Self(all)
    }

    fn of(&self, overlay: &Overlay) -> &[Thing<'a>] {
        let subject = overlay.subject.as_ref().and_then(|subject| subject.subject.as_ref());
        subject.and_then(|subject| self.0.get(&subject_key(subject))).map(Vec::as_slice).unwrap_or_default()
    }
}

fn line(thing: Thing<'_>, text: &str, locales: &[String]) -> CatalogChange {
    let name = localized(thing.name, locales);
    CatalogChange {
        kind: Kind::Overlay.into(),
        entity: thing.entity.to_owned(),
        entity_id: thing.id.to_owned(),
        entity_name: name.to_owned(),
        group_id: thing.group_id.to_owned(),
        text: format!("{}: {text}", if name.is_empty() { thing.id } else { name }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::catalog::v1::{OverlayModifier, OverlaySubject, overlay_subject::Subject};

    use super::*;
    use crate::domain::fixture;

    fn map(said: &[(Subject, &str)]) -> OverlayMap {
        let overlay = |(subject, note): &(Subject, &str)| Overlay {
            subject: Some(OverlaySubject { subject: Some(subject.clone()) }),
            note: (*note).to_owned(),
            ..Default::default()
        };
        said.iter().map(|said| (subject_key(&said.0), overlay(said))).collect()
    }

    #[test]
    fn each_thing_that_something_else_is_laid_over_is_told_once_and_nothing_that_is_not_there() {
        let mut catalog = fixture::catalog();
        catalog.items.iter_mut().for_each(|item| item.code = "4901".to_owned());
        let (beer, food) = (Subject::ItemId("beer".to_owned()), Subject::CategoryId("food".to_owned()));
        let tare = OverlayModifier { group_id: "sauce".to_owned(), modifier_id: "tare".to_owned() };
        let gone = Subject::ItemId("gone".to_owned());
        let before = map(&[(beer.clone(), "old"), (food, ""), (Subject::ItemId("yakitori".to_owned()), "same")]);
        let after = map(&[
            (beer, "new"),
            (Subject::Modifier(tare), ""),
            (gone, ""),
            (Subject::ItemId("yakitori".to_owned()), "same"),
        ]);
        let (nothing, brand) = (OverlayMap::new(), map(&[(Subject::ItemCode("4901".to_owned()), "")]));
        let lines = |before, after| {
            let lines = overlay_lines(before, after, &catalog, &["en".to_owned()]).into_iter();
            lines.map(|change| (change.entity, change.group_id, change.text)).collect::<Vec<_>>()
        };
        let own = "what is laid over it changed";
        let expected = [
            ("item", "", format!("Draft beer: {own}")),
            ("modifier", "sauce", format!("たれ: {own}")),
            ("category", "", format!("料理: {own}")),
        ];
        let expected = expected.map(|(entity, group_id, text)| (entity.to_owned(), group_id.to_owned(), text));
        assert_eq!(lines([&before, &nothing], [&after, &nothing]), expected);
        let of_brand: Vec<String> =
            lines([&after, &nothing], [&after, &brand]).into_iter().map(|line| line.2).collect();
        let text = "what its brand lays over it changed";
        assert_eq!(of_brand, [format!("Draft beer: {text}"), format!("Yakitori: {text}")]);
        assert_eq!(lines([&after, &brand], [&after, &brand]), []);
    }
}
