//! What a catalog says, apart from when it was published: the ground for calling two pulls equal.

use std::{mem, sync::Arc};

use posmesh_proto::{
    catalog::v1::{Catalog, CatalogCounts},
    common::v1::LocalizedText,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// A checked catalog on its way to be published. It has no version yet.
#[derive(Debug, Clone)]
pub struct Content {
    /// What the POS has.
    pub catalog: Arc<Catalog>,
    /// Equal for equal content.
    pub hash: Vec<u8>,
}

impl Content {
    pub(crate) fn new(mut catalog: Catalog) -> Self {
        let hash = hash(&mut catalog);
        Self { catalog: Arc::new(catalog), hash }
    }
}

/// A content hash as it is told.
pub(crate) fn shown_hash(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn counts(catalog: &Catalog) -> CatalogCounts {
    let count = |len: usize| i32::try_from(len).unwrap_or(i32::MAX);
    CatalogCounts {
        categories: count(catalog.categories.len()),
        items: count(catalog.items.len()),
        modifier_groups: count(catalog.modifier_groups.len()),
        tables: count(catalog.tables.len()),
    }
}

/// SHA-256 over the texts, each sorted by locale, and the encoding of all else but the publication. The texts go apart because
/// they are maps, which encode in any order. The catalog is lent for it, since a large one is slow to copy: it comes back as
/// it was.
fn hash(catalog: &mut Catalog) -> Vec<u8> {
    let publication = (mem::take(&mut catalog.version), catalog.publish_time.take());
    let apart: Vec<_> = texts(catalog).map(|text| mem::take(&mut text.texts)).collect();
    let mut hasher = Sha256::new();
    for text in &apart {
        let mut entries: Vec<_> = text.iter().collect();
        entries.sort();
        hasher.update(entries.len().to_le_bytes());
        for part in entries.iter().flat_map(|(locale, value)| [locale, value]) {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.update(catalog.encode_to_vec());
    for (text, taken) in texts(catalog).zip(apart) {
        text.texts = taken;
    }
    (catalog.version, catalog.publish_time) = publication;
    hasher.finalize().to_vec()
}

/// All texts for people, in a fixed order.
fn texts(catalog: &mut Catalog) -> impl Iterator<Item = &mut LocalizedText> {
    let classes = catalog.tax_classes.iter_mut().map(|class| &mut class.name);
    let categories = catalog.categories.iter_mut().map(|category| &mut category.name);
    let items = catalog.items.iter_mut().flat_map(|item| {
        let images = item.images.iter_mut().map(|image| &mut image.alt_text);
        [&mut item.name, &mut item.description].into_iter().chain(images)
    });
    let groups = catalog.modifier_groups.iter_mut().flat_map(|group| {
        let modifiers = group.modifiers.iter_mut().map(|modifier| &mut modifier.name);
        std::iter::once(&mut group.name).chain(modifiers)
    });
    let areas = catalog.areas.iter_mut().map(|area| &mut area.name);
    let tenders = catalog.tenders.iter_mut().map(|tender| &mut tender.name);
    let periods = catalog.menu_periods.iter_mut().map(|period| &mut period.name);
    let stations = catalog.stations.iter_mut().map(|station| &mut station.name);
    let courses = catalog.courses.iter_mut().map(|course| &mut course.name);
    let things = classes.chain(categories).chain(items).chain(groups).chain(areas).chain(tenders);
    let charges = catalog.service_charges.iter_mut().map(|charge| &mut charge.name);
    things.chain(periods).chain(stations).chain(courses).chain(charges).flatten()
}

#[cfg(test)]
mod tests {
    use posmesh_proto::catalog::v1::{Item, Modifier, ModifierGroup};

    use super::*;

    fn text(entries: &[(&str, &str)]) -> Option<LocalizedText> {
        let texts = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Some(LocalizedText { texts })
    }

    fn catalog(item_name: &[(&str, &str)], modifier_name: &[(&str, &str)]) -> Catalog {
        let modifiers = vec![Modifier { name: text(modifier_name), ..Default::default() }];
        Catalog {
            items: vec![Item { name: text(item_name), ..Default::default() }],
            modifier_groups: vec![ModifierGroup { modifiers, ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn equal_content_has_an_equal_hash_whatever_its_maps_look_like_inside() {
        let many: Vec<_> = (0..20).map(|i| (format!("l{i}"), format!("text {i}"))).collect();
        let many: Vec<_> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        // Each map has its own random seed, so a hash that depended on its order would differ.
        let hashes: Vec<_> = (0..5).map(|_| hash(&mut catalog(&many, &many))).collect();
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
        let mut published = Catalog { version: 4, publish_time: Some(Default::default()), ..catalog(&many, &many) };
        let lent = published.clone();
        assert_eq!(hash(&mut published), hashes[0]);
        assert_eq!(published, lent);
    }

    #[test]
    fn any_changed_text_changes_the_hash() {
        let mut tea = catalog(&[("ja", "茶"), ("en", "Tea")], &[("ja", "氷")]);
        let others = [
            catalog(&[("ja", "茶"), ("en", "Teas")], &[("ja", "氷")]),
            catalog(&[("ja", "茶"), ("en", "Tea")], &[("en", "氷")]),
            catalog(&[("ja", "茶")], &[("en", "Tea"), ("ja", "氷")]),
        ];
        for mut other in others {
            assert_ne!(hash(&mut tea), hash(&mut other));
        }
    }
}
