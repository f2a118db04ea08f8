//! A catalog as a guest of one product sees it.

use std::collections::{BTreeSet, HashMap, HashSet};

use posmesh_pricing::{
    CatalogIndex, display_price, is_charged_in, is_choice_available, is_sold_in, is_sold_while, localized, tax_rate_ppm,
};
use posmesh_proto::{
    catalog::v1::{
        Catalog, Category, Course, Image, Item, Menu, MenuCategory, MenuCourse, MenuImage, MenuItem, MenuModifier,
        MenuModifierGroup, MenuServiceCharge, Modifier, ModifierGroup, ServiceCharge,
    },
    common::v1::{Money, Product, ServiceMode},
};

#[cfg(test)]
mod tests;

/// What a menu is resolved for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) product: Product,
    pub(crate) mode: ServiceMode,
    /// As [`effective_locale`] gave it.
    pub(crate) locale: String,
    /// Where a text lacks that locale: the store's, its own first.
    pub(crate) fallbacks: Vec<String>,
    /// The menu periods that do not go on.
    pub(crate) closed: BTreeSet<String>,
}

/// The locales that a catalog's items are named in.
pub(crate) fn locales(catalog: &Catalog) -> BTreeSet<String> {
    let names = catalog.items.iter().filter_map(|item| item.name.as_ref());
    names.flat_map(|name| name.texts.keys().cloned()).collect()
}

/// The locale in which a menu is shown, out of those the items are named in: the one asked for or its language, else
/// the first of the store's, else any.
pub(crate) fn effective_locale(asked: &str, store_locales: &[String], named: &BTreeSet<String>) -> String {
    for locale in std::iter::once(asked).chain(store_locales.iter().map(String::as_str)) {
        let mut tag = locale;
        while !tag.is_empty() {
            if let Some(found) = named.iter().find(|named| named.eq_ignore_ascii_case(tag)) {
                return found.clone();
            }
            tag = tag.rsplit_once('-').map_or("", |(shorter, _)| shorter);
        }
    }
    named.first().cloned().unwrap_or_default()
}

/// The menu. The catalog must have passed validation: it has no circles.
pub(crate) fn resolve_menu(index: &CatalogIndex, question: &Question) -> Menu {
    let catalog = index.catalog();
    let mut resolver = Resolver {
        index,
        locales: std::iter::once(&question.locale).chain(&question.fallbacks).collect(),
        mode: question.mode,
        can_be_answered: HashMap::new(),
    };
    let is_sold =
        |item: &&Item| is_sold_in(item, question.mode) && is_sold_while(item, |id| question.closed.contains(id));
    let mut items: Vec<&Item> = catalog.items.iter().filter(is_sold).collect();
    items.sort_by(|a, b| (a.sort_order, &a.id).cmp(&(b.sort_order, &b.id)));
    Menu {
        store_id: catalog.store_id.clone(),
        product: question.product.into(),
        locale: question.locale.clone(),
        service_mode: question.mode.into(),
        currency_code: catalog.currency_code.clone(),
        catalog_version: catalog.version,
        categories: resolver.categories(&items),
        modifier_groups: resolver.modifier_groups(&items),
        courses: resolver.courses(&items),
        service_charges: resolver.service_charges(),
        items: items.iter().map(|item| resolver.item(item)).collect(),
    }
}

struct Resolver<'a> {
    index: &'a CatalogIndex,
    locales: Vec<&'a String>,
    mode: ServiceMode,
    /// By group: whether enough of its choices are available.
    can_be_answered: HashMap<&'a str, bool>,
}

impl<'a> Resolver<'a> {
    /// Those that hold an item, or a category that does; by sort order.
    fn categories(&self, items: &[&'a Item]) -> Vec<MenuCategory> {
        let mut item_ids: HashMap<&str, Vec<String>> = HashMap::new();
        for item in items {
            for category in &item.category_ids {
                item_ids.entry(category).or_default().push(item.id.clone());
            }
        }
        let all = &self.index.catalog().categories;
        let parents: HashMap<&str, &str> = all.iter().map(|c| (c.id.as_str(), c.parent_category_id.as_str())).collect();
        let mut shown: HashSet<&str> = HashSet::new();
        for &category in item_ids.keys() {
            let mut next = Some(category);
            while let Some(category) = next.filter(|category| shown.insert(category)) {
                next = parents.get(category).copied();
            }
        }
        let mut categories: Vec<&Category> = all.iter().filter(|c| shown.contains(c.id.as_str())).collect();
        categories.sort_by(|a, b| (a.sort_order, &a.id).cmp(&(b.sort_order, &b.id)));
        categories
            .into_iter()
            .map(|category| MenuCategory {
                id: category.id.clone(),
                name: localized(category.name.as_ref(), &self.locales).to_owned(),
                parent_category_id: category.parent_category_id.clone(),
                item_ids: item_ids.remove(category.id.as_str()).unwrap_or_default(),
                kana: category.kana.clone(),
            })
            .collect()
    }

    fn item(&mut self, item: &'a Item) -> MenuItem {
        MenuItem {
            id: item.id.clone(),
            name: localized(item.name.as_ref(), &self.locales).to_owned(),
            description: localized(item.description.as_ref(), &self.locales).to_owned(),
            display_price: display_price(self.index, &item.id, self.mode),
            tax_rate_ppm: tax_rate_ppm(self.index, &item.id, self.mode).unwrap_or_default(),
            modifier_group_ids: item.modifier_group_ids.clone(),
            available: item.available && self.all_can_be_answered(&item.modifier_group_ids),
            code: item.code.clone(),
            kana: item.kana.clone(),
            images: item.images.iter().map(|image| self.image(image)).collect(),
            allergens: item.allergens.clone(),
            course_id: item.course_id.clone(),
            remaining: item.remaining,
        }
    }

    fn image(&self, image: &Image) -> MenuImage {
        let alt_text = localized(image.alt_text.as_ref(), &self.locales).to_owned();
        MenuImage { url: image.url.clone(), alt_text }
    }

    /// Those that an item refers to, in the order in which they are served.
    fn courses(&self, items: &[&'a Item]) -> Vec<MenuCourse> {
        let served: HashSet<&str> = items.iter().map(|item| item.course_id.as_str()).collect();
        let all = self.index.catalog().courses.iter();
        let mut courses: Vec<&Course> = all.filter(|course| served.contains(course.id.as_str())).collect();
        courses.sort_by(|a, b| (a.sort_order, &a.id).cmp(&(b.sort_order, &b.id)));
        let named = |course: &Course| localized(course.name.as_ref(), &self.locales).to_owned();
        courses.into_iter().map(|course| MenuCourse { id: course.id.clone(), name: named(course) }).collect()
    }

    /// What is added to orders in the menu's mode.
    fn service_charges(&self) -> Vec<MenuServiceCharge> {
        let all = self.index.catalog().service_charges.iter();
        let told = |charge: &ServiceCharge| MenuServiceCharge {
            id: charge.id.clone(),
            name: localized(charge.name.as_ref(), &self.locales).to_owned(),
            rate_bp: charge.rate_bp,
            basis: charge.basis,
            tax_included: self.index.tax_class(&charge.tax_class_id).is_some_and(|class| class.included_in_price),
        };
        all.filter(|charge| is_charged_in(charge, self.mode)).map(told).collect()
    }

    /// Those that an item asks, directly or through a choice; by id.
    fn modifier_groups(&mut self, items: &[&'a Item]) -> Vec<MenuModifierGroup> {
        let catalog = self.index.catalog();
        let mut asked: HashSet<&str> = HashSet::new();
        let mut next: Vec<&str> = items.iter().flat_map(|item| &item.modifier_group_ids).map(String::as_str).collect();
        while let Some(id) = next.pop() {
            if asked.insert(id) {
                let modifiers = self.index.modifier_group(id).into_iter().flat_map(|group| &group.modifiers);
                next.extend(modifiers.flat_map(|modifier| &modifier.modifier_group_ids).map(String::as_str));
            }
        }
        let groups = catalog.modifier_groups.iter().filter(|group| asked.contains(group.id.as_str()));
        groups.map(|group| self.modifier_group(group)).collect()
    }

    fn modifier_group(&mut self, group: &'a ModifierGroup) -> MenuModifierGroup {
        MenuModifierGroup {
            id: group.id.clone(),
            name: localized(group.name.as_ref(), &self.locales).to_owned(),
            min_choices: group.min_choices,
            max_choices: group.max_choices,
            modifiers: group.modifiers.iter().map(|modifier| self.modifier(modifier)).collect(),
        }
    }

    fn modifier(&mut self, modifier: &'a Modifier) -> MenuModifier {
        let amount = modifier.price.as_ref().map_or(0, |price| price.amount);
        MenuModifier {
            id: modifier.id.clone(),
            name: localized(modifier.name.as_ref(), &self.locales).to_owned(),
            price: Some(Money { currency_code: self.index.catalog().currency_code.clone(), amount }),
            available: self.can_be_chosen(modifier),
            selected_by_default: modifier.selected_by_default,
            max_quantity: modifier.max_quantity,
            modifier_group_ids: modifier.modifier_group_ids.clone(),
            allergens: modifier.allergens.clone(),
            item_id: modifier.item_id.clone(),
        }
    }

    fn can_be_chosen(&mut self, modifier: &'a Modifier) -> bool {
        is_choice_available(self.index, modifier) && self.all_can_be_answered(&modifier.modifier_group_ids)
    }

    /// What must be asked but can no longer be answered is sold out, whatever the POS says of the item itself.
    fn all_can_be_answered(&mut self, group_ids: &'a [String]) -> bool {
        group_ids.iter().all(|id| self.can_be_answered(id))
    }

    /// Recursion is as deep as the groups nest, which validation bounds.
    fn can_be_answered(&mut self, group_id: &'a str) -> bool {
        if let Some(&known) = self.can_be_answered.get(group_id) {
            return known;
        }
        let Some(group) = self.index.modifier_group(group_id) else { return true };
        let enough = group.min_choices == 0 || {
            let choices = group.modifiers.iter().filter(|modifier| self.can_be_chosen(modifier));
            choices.map(|modifier| i64::from(modifier.max_quantity)).sum::<i64>() >= i64::from(group.min_choices)
        };
        self.can_be_answered.insert(group_id, enough);
        enough
    }
}
