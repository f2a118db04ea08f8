//! What a request says about an overlay, checked.

use std::collections::HashSet;

use http::Uri;
use posmesh_kit::{Failure, Violation, failure::check_id};
use posmesh_pricing::MAX_UNIT_PRICE;
use posmesh_proto::{
    catalog::v1::{
        Image, Overlay, OverlayModifier, OverlayScope, OverlaySubject, ProductOverlay, overlay_scope::Scope,
        overlay_subject::Subject,
    },
    common::v1::{LocalizedText, Money, Product},
};

use crate::domain::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, is_id, is_locale, subject_key, text_problem};

const MAX_IMAGES: usize = 10;
const MAX_URL_CHARS: usize = 2_048;
const MAX_ALT_CHARS: usize = 500;
/// Languages of one text.
const MAX_LOCALES: usize = 50;

/// Whose overlays are meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Store(String),
    Brand(String),
}

/// What kind of thing an overlay is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Item,
    Choice,
    Category,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Choice => "choice",
            Self::Category => "category",
        }
    }
}

/// The thing that an overlay is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) kind: Kind,
    /// As [`subject_key`] makes it.
    pub(super) key: String,
    pub(super) subject: Subject,
}

pub(super) fn owner(scope: Option<OverlayScope>, field: &str) -> Result<Owner, Failure> {
    let (of, owner) = match scope.and_then(|scope| scope.scope) {
        Some(Scope::StoreId(id)) => ("store_id", Owner::Store(id)),
        Some(Scope::BrandId(id)) => ("brand_id", Owner::Brand(id)),
        None => return Err(Failure::field("REQUIRED", field, "say whose overlays: a store's or a brand's")),
    };
    let (Owner::Store(id) | Owner::Brand(id)) = &owner;
    check_id(&format!("{field}.{of}"), id).map_or(Ok(owner), |violation| Err(Failure::invalid(vec![violation])))
}

pub(super) fn about(owner: &Owner, about: Option<OverlaySubject>, field: &str) -> Result<About, Failure> {
    let Some(about) = about.and_then(|about| about.subject) else {
        return Err(Failure::field("REQUIRED", field, "say what it is about"));
    };
    let is_brand = matches!(owner, Owner::Brand(_));
    if is_brand != matches!(about, Subject::ItemCode(_)) {
        let message = if is_brand {
            "a brand's overlay names an item_code: the ids of its stores differ"
        } else {
            "a store's overlay names an item_id, a modifier or a category_id"
        };
        return Err(Failure::field("NOT_ALLOWED", field, message));
    }
    let id = |name: &str, id: &str| match is_id(id) {
        true => Ok(()),
        false if id.is_empty() => Err(Failure::field("REQUIRED", format!("{field}.{name}"), "say which")),
        false => {
            let message = "an id is 1 to 128 characters without control characters";
            Err(Failure::field("ID_INVALID", format!("{field}.{name}"), message))
        }
    };
    let kind = match &about {
        Subject::ItemId(item) => id("item_id", item).map(|()| Kind::Item),
        Subject::CategoryId(category) => id("category_id", category).map(|()| Kind::Category),
        Subject::ItemCode(code) => id("item_code", code).map(|()| Kind::Item),
        Subject::Modifier(OverlayModifier { group_id, modifier_id }) => id("modifier.group_id", group_id)
            .and_then(|()| id("modifier.modifier_id", modifier_id))
            .map(|()| Kind::Choice),
    }?;
    Ok(About { kind, key: subject_key(&about), subject: about })
}

/// What is wrong with an overlay of this kind of thing. `currency`: the store's; a brand's stores may have several.
pub(super) fn check(overlay: &Overlay, kind: Kind, currency: Option<&str>) -> Result<(), Failure> {
    let mut found = Found(Vec::new());
    found.text("overlay.name", overlay.name.as_ref(), MAX_NAME_CHARS);
    found.text("overlay.description", overlay.description.as_ref(), MAX_DESCRIPTION_CHARS);
    if kind != Kind::Item {
        found.refuse_if(overlay.description.is_some(), "NOT_ALLOWED", "overlay.description", "only items have one");
        found.refuse_if(!overlay.images.is_empty(), "NOT_ALLOWED", "overlay.images", "only items have images");
    }
    found.images(&overlay.images);
    found.products(&overlay.products, kind, currency);
    let says_nothing = overlay.name.is_none()
        && overlay.description.is_none()
        && overlay.images.is_empty()
        && overlay.products.is_empty();
    found.refuse_if(says_nothing, "REQUIRED", "overlay", "it says nothing; delete it instead");
    found.refuse_if(overlay.revision < -1, "OUT_OF_RANGE", "overlay.revision", "a revision, 0 or -1");
    if found.0.is_empty() { Ok(()) } else { Err(Failure::invalid(found.0)) }
}

struct Found(Vec<Violation>);

impl Found {
    fn refuse_if(
        &mut self,
        is_wrong: bool,
        reason: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        if is_wrong {
            self.0.push(Violation::new(reason, field, message));
        }
    }

    fn text(&mut self, field: &str, text: Option<&LocalizedText>, max_chars: usize) {
        let Some(text) = text else { return };
        self.refuse_if(text.texts.is_empty(), "REQUIRED", field, "it has no text; leave it out");
        let count = text.texts.len();
        let message = format!("{count} languages; at most {MAX_LOCALES} are taken");
        self.refuse_if(count > MAX_LOCALES, "TOO_MANY", field, message);
        let mut entries: Vec<_> = text.texts.iter().take(MAX_LOCALES).collect();
        entries.sort();
        let mut seen = HashSet::new();
        for (locale, value) in entries {
            let field = format!("{field}.texts[{:?}]", cut(locale));
            self.refuse_if(
                !is_locale(locale),
                "LOCALE_INVALID",
                &field,
                "a locale is a BCP 47 tag, e.g. ja or zh-Hant",
            );
            let again = !seen.insert(locale.to_ascii_lowercase());
            self.refuse_if(again, "DUPLICATE_LOCALE", &field, "there is a text for it already");
            self.refuse_if(value.trim().is_empty(), "REQUIRED", &field, "it is blank; leave it out");
            if let Some((reason, message)) = text_problem(value, max_chars) {
                self.refuse_if(true, reason, &field, message);
            }
        }
    }

    fn images(&mut self, images: &[Image]) {
        let message = format!("{} images; at most {MAX_IMAGES} are taken", images.len());
        self.refuse_if(images.len() > MAX_IMAGES, "TOO_MANY", "overlay.images", message);
        for (place, image) in images.iter().take(MAX_IMAGES).enumerate() {
            let field = format!("overlay.images[{place}]");
            let message = "an image is an https address without user and password, at most 2048 characters";
            self.refuse_if(!is_https(&image.url), "IMAGE_URL_INVALID", format!("{field}.url"), message);
            self.text(&format!("{field}.alt_text"), image.alt_text.as_ref(), MAX_ALT_CHARS);
        }
    }

    fn products(&mut self, products: &[ProductOverlay], kind: Kind, currency: Option<&str>) {
        let mut seen = HashSet::new();
        for (place, rules) in products.iter().enumerate() {
            let field = format!("overlay.products[{place}]");
            let is_known = Product::try_from(rules.product).is_ok();
            self.refuse_if(!is_known, "PRODUCT_UNKNOWN", format!("{field}.product"), "no product that is known here");
            let again = !seen.insert(rules.product);
            self.refuse_if(again, "DUPLICATE_PRODUCT", format!("{field}.product"), "there is an entry for it already");
            let says_nothing = rules.hidden.is_none() && rules.price.is_none() && rules.sort_order.is_none();
            self.refuse_if(says_nothing, "REQUIRED", &field, "it says nothing; leave it out");
            let unordered = kind == Kind::Choice && rules.sort_order.is_some();
            let message = "choices stand as the POS has them";
            self.refuse_if(unordered, "NOT_ALLOWED", format!("{field}.sort_order"), message);
            if let Some(price) = &rules.price {
                self.price(&format!("{field}.price"), price, kind, currency);
            }
        }
    }

    fn price(&mut self, field: &str, price: &Money, kind: Kind, currency: Option<&str>) {
        self.refuse_if(kind == Kind::Category, "NOT_ALLOWED", field, "a category has no price");
        let least = if kind == Kind::Choice { -MAX_UNIT_PRICE } else { 0 };
        let amount = price.amount;
        let message = format!("{amount} minor units; {least} to {MAX_UNIT_PRICE} are taken");
        self.refuse_if(!(least..=MAX_UNIT_PRICE).contains(&amount), "PRICE_OUT_OF_RANGE", field, message);
        let code = price.currency_code.as_str();
        let (is_wrong, message) = match currency {
            Some(ours) => (code != ours, format!("the store works in {ours}")),
            None => {
                let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
                (!is_code, "an ISO 4217 code, e.g. JPY".to_owned())
            }
        };
        self.refuse_if(is_wrong, "CURRENCY_MISMATCH", format!("{field}.currency_code"), message);
    }
}

fn is_https(url: &str) -> bool {
    let is_plain = url.len() <= MAX_URL_CHARS && url.bytes().all(|b| b.is_ascii_graphic());
    is_plain
        && url.parse::<Uri>().is_ok_and(|uri| {
            // A user and password in the address would be shown to every guest.
            let has_host =
                |authority: &http::uri::Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
            uri.scheme_str() == Some("https") && uri.authority().is_some_and(has_host)
        })
}

/// For a message.
fn cut(text: &str) -> String {
    text.chars().take(35).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reason(result: Result<impl std::fmt::Debug, Failure>) -> String {
        result.unwrap_err().reason().to_owned()
    }

    fn named(texts: &[(&str, &str)]) -> Overlay {
        let texts = texts.iter().map(|(locale, text)| ((*locale).to_owned(), (*text).to_owned())).collect();
        Overlay { name: Some(LocalizedText { texts }), ..Default::default() }
    }

    fn rules(change: impl FnOnce(&mut ProductOverlay)) -> Overlay {
        let mut rules = ProductOverlay { product: Product::Kiosk.into(), ..Default::default() };
        change(&mut rules);
        Overlay { products: vec![rules], ..Default::default() }
    }

    fn priced(currency: &str, amount: i64) -> Overlay {
        rules(|rules| rules.price = Some(Money { currency_code: currency.to_owned(), amount }))
    }

    #[test]
    fn a_store_names_ids_and_a_brand_names_codes() {
        let (store, brand) = (Owner::Store("ueno".to_owned()), Owner::Brand("kushi".to_owned()));
        let of = |subject| Some(OverlaySubject { subject: Some(subject) });
        let item = about(&store, of(Subject::ItemId("7".to_owned())), "subject").unwrap();
        assert_eq!((item.kind, item.key.as_str()), (Kind::Item, "item\n7"));
        assert!(about(&brand, of(Subject::ItemCode("7".to_owned())), "subject").is_ok());
        assert_eq!(reason(about(&brand, of(Subject::ItemId("7".to_owned())), "subject")), "NOT_ALLOWED");
        assert_eq!(reason(about(&store, of(Subject::ItemCode("7".to_owned())), "subject")), "NOT_ALLOWED");
        assert_eq!(reason(about(&store, of(Subject::ItemId(String::new())), "subject")), "REQUIRED");
        assert_eq!(reason(about(&store, of(Subject::ItemId("a\nb".to_owned())), "subject")), "ID_INVALID");
        assert_eq!(reason(about(&store, None, "subject")), "REQUIRED");
        let choice = OverlayModifier { group_id: "sauce".to_owned(), modifier_id: String::new() };
        assert_eq!(reason(about(&store, of(Subject::Modifier(choice)), "subject")), "REQUIRED");
    }

    #[test]
    fn an_owner_is_named_by_a_well_formed_id() {
        let of = |scope| Some(OverlayScope { scope: Some(scope) });
        assert_eq!(owner(of(Scope::BrandId("kushi".to_owned())), "scope").unwrap(), Owner::Brand("kushi".to_owned()));
        assert_eq!(reason(owner(of(Scope::StoreId("Ueno!".to_owned())), "scope")), "ID_INVALID");
        assert_eq!(reason(owner(None, "scope")), "REQUIRED");
    }

    #[test]
    fn a_price_that_is_negative_absurd_or_in_other_money_is_refused() {
        let yen = Some("JPY");
        assert!(check(&priced("JPY", 0), Kind::Item, yen).is_ok());
        assert!(check(&priced("JPY", -50), Kind::Choice, yen).is_ok(), "a choice may make it cheaper");
        assert_eq!(reason(check(&priced("JPY", -1), Kind::Item, yen)), "PRICE_OUT_OF_RANGE");
        assert_eq!(reason(check(&priced("JPY", i64::MIN), Kind::Choice, yen)), "PRICE_OUT_OF_RANGE");
        assert_eq!(reason(check(&priced("JPY", MAX_UNIT_PRICE + 1), Kind::Item, yen)), "PRICE_OUT_OF_RANGE");
        assert_eq!(reason(check(&priced("USD", 1), Kind::Item, yen)), "CURRENCY_MISMATCH");
        assert_eq!(reason(check(&priced("JPY", 1), Kind::Category, yen)), "NOT_ALLOWED");
        assert!(check(&priced("USD", 1), Kind::Item, None).is_ok(), "a brand has stores in several countries");
        assert_eq!(reason(check(&priced("yen", 1), Kind::Item, None)), "CURRENCY_MISMATCH");
    }

    #[test]
    fn an_image_is_shown_over_https_alone_and_tells_no_password() {
        for good in ["https://img.example/a.jpg", "https://img.example:8443/a?w=1"] {
            assert!(is_https(good), "{good}");
        }
        let long = format!("https://img.example/{}", "x".repeat(MAX_URL_CHARS));
        for bad in
            ["http://img.example/a.jpg", "https://u:p@img.example/", "https://", "//a", "", "https://a b/", &long]
        {
            assert!(!is_https(bad), "{bad}");
        }
        let image = Image { url: "javascript:alert(1)".to_owned(), alt_text: None };
        let overlay = Overlay { images: vec![image.clone()], ..Default::default() };
        assert_eq!(reason(check(&overlay, Kind::Item, None)), "IMAGE_URL_INVALID");
        assert_eq!(
            reason(check(&Overlay { images: vec![image; 11], ..named(&[("ja", "茶")]) }, Kind::Item, None)),
            "TOO_MANY"
        );
    }

    #[test]
    fn texts_are_readable_in_a_language_that_exists_and_never_blank() {
        assert!(check(&named(&[("ja", "茶"), ("zh-Hant", "茶")]), Kind::Category, None).is_ok());
        for (locale, value) in [("", "茶"), ("j a", "茶"), ("ja", " "), ("ja", "\0"), ("ja", &"長".repeat(501))] {
            assert!(check(&named(&[(locale, value)]), Kind::Item, None).is_err(), "{locale:?} {value:?}");
        }
    }

    #[test]
    fn what_says_nothing_or_speaks_of_what_the_thing_does_not_have_is_refused() {
        assert_eq!(reason(check(&Overlay::default(), Kind::Item, None)), "REQUIRED");
        assert_eq!(reason(check(&rules(|_| ()), Kind::Item, None)), "REQUIRED");
        assert_eq!(reason(check(&rules(|rules| rules.sort_order = Some(1)), Kind::Choice, None)), "NOT_ALLOWED");
        let described = Overlay { description: named(&[("ja", "x")]).name, ..Default::default() };
        assert_eq!(reason(check(&described, Kind::Category, None)), "NOT_ALLOWED");
        let mut twice = rules(|rules| rules.hidden = Some(true));
        twice.products.push(twice.products[0].clone());
        assert_eq!(reason(check(&twice, Kind::Item, None)), "DUPLICATE_PRODUCT");
        twice.products.truncate(1);
        twice.products[0].product = 99;
        assert_eq!(reason(check(&twice, Kind::Item, None)), "PRODUCT_UNKNOWN");
    }
}
