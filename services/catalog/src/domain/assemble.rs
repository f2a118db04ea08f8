//! The pieces of a pull, put together.

use posmesh_proto::catalog::v1::{AllergenInfo, Catalog};
use prost::Message as _;

/// Collects the pieces of one pull, up to a size.
#[derive(Debug)]
pub(crate) struct Assembly {
    catalog: Catalog,
    bytes: usize,
    max_bytes: usize,
}

/// The pull is larger than what is accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) max_bytes: usize,
}

impl Assembly {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { catalog: Catalog::default(), bytes: 0, max_bytes }
    }

    /// Appends a piece. Currency and rounding count where they come first; store, version and time are ours to set.
    pub(crate) fn add(&mut self, piece: Catalog) -> Result<(), TooLarge> {
        self.bytes = self.bytes.saturating_add(piece.encoded_len());
        if self.bytes > self.max_bytes {
            return Err(TooLarge { max_bytes: self.max_bytes });
        }
        let all = &mut self.catalog;
        if all.currency_code.is_empty() {
            all.currency_code = piece.currency_code;
        }
        all.tax_rounding = all.tax_rounding.or(piece.tax_rounding);
        all.tax_classes.extend(piece.tax_classes);
        all.categories.extend(piece.categories);
        all.items.extend(piece.items);
        all.modifier_groups.extend(piece.modifier_groups);
        all.areas.extend(piece.areas);
        all.tables.extend(piece.tables);
        all.tenders.extend(piece.tenders);
        all.menu_periods.extend(piece.menu_periods);
        all.stations.extend(piece.stations);
        all.courses.extend(piece.courses);
        all.service_charges.extend(piece.service_charges);
        Ok(())
    }

    /// The whole, in an order that does not depend on how the POS lists things: two pulls of the same data are equal.
    /// Where the order means something (choices of a group, questions about an item) it stays.
    pub(crate) fn finish(self, store_id: &str) -> Catalog {
        let mut catalog = self.catalog;
        store_id.clone_into(&mut catalog.store_id);
        catalog.tax_classes.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.tax_classes.iter_mut().for_each(|class| class.rates.sort_by_key(|rate| rate.service_mode));
        catalog.categories.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.items.sort_by(|a, b| a.id.cmp(&b.id));
        for item in &mut catalog.items {
            item.category_ids.sort();
            item.station_ids.sort();
            item.menu_period_ids.sort();
            item.allergens.iter_mut().for_each(sort_allergens);
        }
        catalog.modifier_groups.sort_by(|a, b| a.id.cmp(&b.id));
        let choices = catalog.modifier_groups.iter_mut().flat_map(|group| &mut group.modifiers);
        choices.flat_map(|choice| &mut choice.allergens).for_each(sort_allergens);
        catalog.areas.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.tables.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.tenders.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.menu_periods.sort_by(|a, b| a.id.cmp(&b.id));
        let hours = catalog.menu_periods.iter_mut().map(|period| &mut period.hours);
        hours.for_each(|hours| hours.sort_by_key(|h| (h.weekday, h.open_minutes, h.close_minutes)));
        catalog.stations.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.courses.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.service_charges.sort_by(|a, b| a.id.cmp(&b.id));
        catalog.service_charges.iter_mut().for_each(|charge| charge.service_modes.sort_unstable());
        catalog
    }
}

fn sort_allergens(info: &mut AllergenInfo) {
    info.allergens.sort_by(|a, b| a.code.cmp(&b.code));
    info.checked_lists.sort_unstable();
}

#[cfg(test)]
mod tests {
    use posmesh_proto::catalog::v1::Item;

    use super::*;

    fn piece(currency_code: &str, item_ids: &[&str]) -> Catalog {
        let items = item_ids.iter().map(|id| Item { id: (*id).to_owned(), ..Default::default() }).collect();
        Catalog { currency_code: currency_code.to_owned(), items, ..Default::default() }
    }

    fn assembled(pieces: Vec<Catalog>) -> Result<Catalog, TooLarge> {
        let mut assembly = Assembly::new(100);
        for piece in pieces {
            assembly.add(piece)?;
        }
        Ok(assembly.finish("shibuya"))
    }

    #[test]
    fn the_same_data_in_other_pieces_and_order_is_the_same_catalog() {
        let one = assembled(vec![piece("JPY", &["b"]), piece("", &["a", "c"])]);
        let other = assembled(vec![piece("JPY", &["c", "a", "b"])]);
        assert_eq!(one, other);
        assert_eq!(one.map(|c| (c.store_id, c.currency_code)), Ok(("shibuya".to_owned(), "JPY".to_owned())));
    }

    #[test]
    fn pieces_beyond_the_limit_are_refused_in_their_sum() {
        let large = "i".repeat(60);
        assert!(assembled(vec![piece("JPY", &[&large])]).is_ok());
        let refused = assembled(vec![piece("JPY", &[&large]), piece("", &[&large])]);
        assert_eq!(refused, Err(TooLarge { max_bytes: 100 }));
    }
}
