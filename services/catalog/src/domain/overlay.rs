//! What people lay over a catalog. It never adds anything that the POS does not have, and leaves a catalog as sound as
//! validation let it through.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use posmesh_proto::{
    catalog::v1::{
        Catalog, Category, Item, ModifierGroup, Overlay, OverlayModifier, ProductOverlay, overlay_subject::Subject,
    },
    common::v1::{LocalizedText, Money, Product},
};

mod lines;
#[cfg(test)]
mod tests;

pub(crate) use lines::overlay_lines;

/// By subject.
pub(crate) type OverlayMap = BTreeMap<String, Overlay>;

/// What an overlay is about, as a key: its kind and ids, a line each. No id has a line break.
pub(crate) fn subject_key(subject: &Subject) -> String {
    match subject {
        Subject::ItemId(id) => item_key(id),
        Subject::Modifier(OverlayModifier { group_id, modifier_id }) => modifier_key(group_id, modifier_id),
        Subject::CategoryId(id) => category_key(id),
        Subject::ItemCode(code) => code_key(code),
    }
}

fn item_key(id: &str) -> String {
    format!("item\n{id}")
}

fn modifier_key(group_id: &str, id: &str) -> String {
    format!("modifier\n{group_id}\n{id}")
}

fn category_key(id: &str) -> String {
    format!("category\n{id}")
}

fn code_key(code: &str) -> String {
    format!("code\n{code}")
}

/// All that is laid over the catalog of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub(crate) store: &'a OverlayMap,
    /// Of the store's brand.
    pub(crate) brand: &'a OverlayMap,
    /// Whether orders can carry prices of their own to the store's POS.
    pub(crate) carries_prices: bool,
    /// Ids of the items that no product sells before they are reviewed.
    pub(crate) to_review: &'a BTreeSet<String>,
}

/// The catalog as it is sold in a product. The catalog must have passed validation.
pub(crate) fn lay_over(catalog: &Catalog, layers: Layers<'_>, product: Product) -> Catalog {
    let mut sold = catalog.clone();
    let laying = Laying { layers, product, currency: &catalog.currency_code };
    let gone = laying.hidden_categories(&catalog.categories);
    sold.categories.retain(|category| !gone.contains(category.id.as_str()));
    sold.categories.iter_mut().for_each(|category| laying.category(category));
    let hidden = laying.hidden_items(&mut sold.items, &gone);
    sold.items.iter_mut().for_each(|item| laying.item(item, &gone));
    sold.modifier_groups.iter_mut().for_each(|group| laying.group(group, &hidden));
    close_questions(&mut sold);
    sold
}

/// What is said about one thing: by the store, then by its brand.
struct Voices<'a>([Option<&'a Overlay>; 2]);

impl<'a> Voices<'a> {
    /// The first to say something about the product, else about every product.
    fn rule<T>(&self, product: Product, says: impl Fn(&'a ProductOverlay) -> Option<T>) -> Option<T> {
        self.0.iter().flatten().find_map(|overlay| {
            let of = |wanted: Product| overlay.products.iter().find(|rules| rules.product() == wanted).and_then(&says);
            of(product).or_else(|| of(Product::Unspecified))
        })
    }

    fn hides(&self, product: Product) -> bool {
        self.rule(product, |rules| rules.hidden).unwrap_or(false)
    }

    fn lay_text(&self, text: &mut Option<LocalizedText>, of: fn(&Overlay) -> Option<&LocalizedText>) {
        // The store's last, so that it stays.
        for (locale, value) in self.0.iter().rev().flatten().filter_map(|overlay| of(overlay)).flat_map(|x| &x.texts) {
            let texts = &mut text.get_or_insert_default().texts;
            texts.retain(|tag, _| !tag.eq_ignore_ascii_case(locale));
            texts.insert(locale.clone(), value.clone());
        }
    }
}

struct Laying<'a> {
    layers: Layers<'a>,
    product: Product,
    currency: &'a str,
}

impl<'a> Laying<'a> {
    fn own(&self, subject: &str) -> Voices<'a> {
        Voices([self.layers.store.get(subject), None])
    }

    fn about_item(&self, item: &Item) -> Voices<'a> {
        let brand = match item.code.as_str() {
            "" => None,
            code => self.layers.brand.get(&code_key(code)),
        };
        Voices([self.layers.store.get(&item_key(&item.id)), brand])
    }

    /// Those that are hidden, and all below them.
    fn hidden_categories(&self, categories: &'a [Category]) -> HashSet<&'a str> {
        let is_hidden = |category: &Category| self.own(&category_key(&category.id)).hides(self.product);
        let hidden: HashSet<&str> =
            categories.iter().filter(|category| is_hidden(category)).map(|category| category.id.as_str()).collect();
        if hidden.is_empty() {
            return hidden;
        }
        let parents: HashMap<&str, &str> =
            categories.iter().map(|category| (category.id.as_str(), category.parent_category_id.as_str())).collect();
        let is_below = |category: &&Category| {
            let mut above = std::iter::successors(Some(category.id.as_str()), |id| parents.get(id).copied());
            above.any(|id| hidden.contains(id))
        };
        categories.iter().filter(is_below).map(|category| category.id.as_str()).collect()
    }

    fn category(&self, category: &mut Category) {
        let voices = self.own(&category_key(&category.id));
        voices.lay_text(&mut category.name, |overlay| overlay.name.as_ref());
        if let Some(place) = voices.rule(self.product, |rules| rules.sort_order) {
            category.sort_order = place;
        }
    }

    /// Takes the hidden ones out, and tells by id whether each was sold out.
    fn hidden_items(&self, items: &mut Vec<Item>, gone: &HashSet<&str>) -> HashMap<String, bool> {
        let hidden = items.extract_if(.., |item| self.hides_item(item, gone));
        hidden.map(|item| (item.id, !item.available)).collect()
    }

    fn hides_item(&self, item: &Item, gone: &HashSet<&str>) -> bool {
        let stands_nowhere = || {
            let mut ids = item.category_ids.iter();
            !item.category_ids.is_empty() && ids.all(|id| gone.contains(id.as_str()))
        };
        self.layers.to_review.contains(&item.id) || self.about_item(item).hides(self.product) || stands_nowhere()
    }

    fn item(&self, item: &mut Item, gone: &HashSet<&str>) {
        item.category_ids.retain(|id| !gone.contains(id.as_str()));
        let voices = self.about_item(item);
        voices.lay_text(&mut item.name, |overlay| overlay.name.as_ref());
        voices.lay_text(&mut item.description, |overlay| overlay.description.as_ref());
        if let Some(overlay) = voices.0.iter().flatten().find(|overlay| !overlay.images.is_empty()) {
            item.images.clone_from(&overlay.images);
        }
        if let Some(place) = voices.rule(self.product, |rules| rules.sort_order) {
            item.sort_order = place;
        }
        self.lay_price(&voices, &mut item.price);
    }

    /// A choice that is a hidden item stays: what is not sold by itself may be part of something else.
    fn group(&self, group: &mut ModifierGroup, hidden: &HashMap<String, bool>) {
        let ModifierGroup { id, modifiers, .. } = group;
        let voices = |modifier_id: &str| self.own(&modifier_key(id, modifier_id));
        modifiers.retain(|modifier| !voices(&modifier.id).hides(self.product));
        for modifier in modifiers {
            let voices = voices(&modifier.id);
            voices.lay_text(&mut modifier.name, |overlay| overlay.name.as_ref());
            self.lay_price(&voices, &mut modifier.price);
            if let Some(sold_out) = hidden.get(&modifier.item_id) {
                modifier.available &= !sold_out;
                modifier.item_id.clear();
            }
        }
    }

    fn lay_price(&self, voices: &Voices<'a>, price: &mut Option<Money>) {
        let in_currency =
            |rules: &'a ProductOverlay| rules.price.as_ref().filter(|price| price.currency_code == self.currency);
        if self.layers.carries_prices
            && let Some(own) = voices.rule(self.product, in_currency)
        {
            *price = Some(own.clone());
        }
    }
}

/// A question that must be answered and can no longer be is not asked, and what asks it is sold out.
fn close_questions(sold: &mut Catalog) {
    let can_be_answered = |group: &ModifierGroup| {
        let offered: i64 = group.modifiers.iter().map(|modifier| i64::from(modifier.max_quantity)).sum();
        group.min_choices == 0 || offered >= i64::from(group.min_choices)
    };
    let closed: HashSet<String> =
        sold.modifier_groups.iter().filter(|group| !can_be_answered(group)).map(|group| group.id.clone()).collect();
    if closed.is_empty() {
        return;
    }
    let close = |available: &mut bool, group_ids: &mut Vec<String>| {
        let asked = group_ids.len();
        group_ids.retain(|id| !closed.contains(id));
        *available &= group_ids.len() == asked;
    };
    sold.modifier_groups.retain(|group| !closed.contains(&group.id));
    sold.items.iter_mut().for_each(|item| close(&mut item.available, &mut item.modifier_group_ids));
    for modifier in sold.modifier_groups.iter_mut().flat_map(|group| &mut group.modifiers) {
        close(&mut modifier.available, &mut modifier.modifier_group_ids);
    }
}
