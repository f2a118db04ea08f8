//! What a store may say.

use std::collections::HashSet;

use http::Uri;
use posmesh_proto::store::v1::{Store, StoreContact, StoreLifecycle};

use super::{Violation, Violations, catalog, check_id, check_revision, hours, policy, text};

const MAX_LOCALES: usize = 20;
const MAX_CONTACTS: usize = 20;
const MAX_URI_CHARS: usize = 500;
const MAX_TAX_REGISTRATION_CHARS: usize = 64;

/// Everything that is wrong with a store to be written.
pub(crate) fn check_store(store: &Store) -> Result<(), Vec<Violation>> {
    let mut found = Violations::default();
    found.add(check_id("store.store_id", &store.store_id));
    found.add(check_id("store.brand_id", &store.brand_id));
    text::check_name(&mut found, "store.name", store.name.as_ref());
    found.add(check_currency("store.currency_code", &store.currency_code));
    check_locales(&mut found, &store.locales);
    hours::check(&mut found, store);
    check_lifecycle(&mut found, store.lifecycle);
    if !store.tax_registration.is_empty() {
        let limit = MAX_TAX_REGISTRATION_CHARS;
        found.add(text::check_text("store.tax_registration", &store.tax_registration, limit));
    }
    policy::check_all(&mut found, &store.product_policies);
    check_contacts(&mut found, &store.contacts);
    if let Some(policy) = &store.catalog_policy {
        catalog::check(&mut found, policy);
    }
    found.add(check_revision("store.revision", store.revision));
    found.into_result()
}

/// The form of ISO 4217 alone: its list changes more often than this program.
fn check_currency(field: &str, code: &str) -> Option<Violation> {
    let well_formed = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    let message = "an ISO 4217 code is three capital letters, e.g. JPY";
    (!well_formed).then(|| Violation::new("CURRENCY_INVALID", field, message))
}

fn check_locales(found: &mut Violations, locales: &[String]) {
    match locales.len() {
        0 => found.refuse("REQUIRED", "store.locales", "name at least the store's own language"),
        1..=MAX_LOCALES => {}
        _ => return found.refuse("TOO_MANY", "store.locales", format!("at most {MAX_LOCALES} languages")),
    }
    let mut seen = HashSet::new();
    for (i, locale) in locales.iter().enumerate() {
        let field = format!("store.locales[{i}]");
        if !text::is_locale(locale) {
            found.refuse("LOCALE_INVALID", field, text::not_a_locale(locale));
        } else if !seen.insert(locale.to_ascii_lowercase()) {
            found.refuse("LOCALE_DUPLICATE", field, format!("{locale} stands here twice"));
        }
    }
}

fn check_lifecycle(found: &mut Violations, number: i32) {
    match StoreLifecycle::try_from(number) {
        Ok(StoreLifecycle::Unspecified) => {
            found.refuse("REQUIRED", "store.lifecycle", "say how far the store is; a new one is in SETUP");
        }
        Ok(_) => {}
        Err(_) => {
            let message = format!("{number} is no lifecycle that is known here");
            found.refuse("LIFECYCLE_UNKNOWN", "store.lifecycle", message);
        }
    }
}

fn check_contacts(found: &mut Violations, contacts: &[StoreContact]) {
    if contacts.len() > MAX_CONTACTS {
        return found.refuse("TOO_MANY", "store.contacts", format!("at most {MAX_CONTACTS} contacts"));
    }
    for (i, contact) in contacts.iter().enumerate() {
        let field = format!("store.contacts[{i}]");
        found.add(text::check_text(&format!("{field}.name"), &contact.name, text::MAX_NAME_CHARS));
        found.refuse_unless(
            contact.uri.chars().count() <= MAX_URI_CHARS && is_contact_uri(&contact.uri),
            "CONTACT_URI_INVALID",
            format!("{field}.uri"),
            "one of mailto:name@example.com, tel:+81-3-0000-0000 and https://example.com/path, at most 500 characters",
        );
    }
}

fn is_contact_uri(uri: &str) -> bool {
    if uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return false;
    }
    match uri.split_once(':') {
        Some(("mailto", address)) => address
            .rsplit_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !name.contains('@') && is_host(host)),
        Some(("tel", number)) => {
            let digits = number.bytes().filter(u8::is_ascii_digit).count();
            (3..=20).contains(&digits) && number.bytes().all(|b| b.is_ascii_digit() || b"+-.()".contains(&b))
        }
        // A user and password in the address would be shown to everyone who may read the store.
        Some(("https", _)) => uri.parse::<Uri>().is_ok_and(|uri| {
            uri.authority().is_some_and(|authority| is_host(authority.host()) && !authority.as_str().contains('@'))
        }),
        _ => false,
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.starts_with('.') && host.chars().all(|c| c.is_alphanumeric() || "-.:[]".contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::{
        common::v1::LocalizedText,
        store::v1::{OpeningHours, ProductPolicy},
    };

    use super::*;

    fn store() -> Store {
        let name = LocalizedText { texts: [("ja".to_owned(), "渋谷店".to_owned())].into() };
        Store {
            store_id: "shibuya".to_owned(),
            brand_id: "izakaya".to_owned(),
            name: Some(name),
            time_zone: "Asia/Tokyo".to_owned(),
            currency_code: "JPY".to_owned(),
            locales: vec!["ja".to_owned(), "en".to_owned()],
            lifecycle: StoreLifecycle::Live.into(),
            ..Default::default()
        }
    }

    fn wrong(change: impl FnOnce(&mut Store)) -> Vec<(&'static str, String)> {
        let mut store = store();
        change(&mut store);
        let found = check_store(&store).err().unwrap_or_default();
        found.into_iter().map(|v| (v.reason, v.field.replacen("store.", "", 1))).collect()
    }

    fn one(reason: &'static str, field: &str) -> Vec<(&'static str, String)> {
        vec![(reason, field.to_owned())]
    }

    #[test]
    fn a_store_without_anything_optional_is_taken() {
        assert_eq!(wrong(|_| {}), []);
    }

    #[test]
    fn an_empty_store_is_told_everything_that_it_lacks_at_once() {
        let found = check_store(&Store::default()).unwrap_err();
        let fields: Vec<_> = found.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "store.store_id",
                "store.brand_id",
                "store.name",
                "store.currency_code",
                "store.locales",
                "store.time_zone",
                "store.lifecycle"
            ]
        );
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for bad in ["", "jpy", "JP", "JPYX", "¥", "J1Y"] {
            assert_eq!(wrong(|s| s.currency_code = bad.into()), one("CURRENCY_INVALID", "currency_code"), "{bad}");
        }
    }

    #[test]
    fn a_language_stands_once_in_the_list() {
        assert_eq!(wrong(|s| s.locales.push("JA".into())), one("LOCALE_DUPLICATE", "locales[2]"));
        assert_eq!(wrong(|s| s.locales.push("ja_JP".into())), one("LOCALE_INVALID", "locales[2]"));
        assert_eq!(wrong(|s| s.locales = vec!["ja".into(); 21]), one("TOO_MANY", "locales"));
    }

    #[test]
    fn a_business_day_begins_within_a_day() {
        assert_eq!(wrong(|s| s.business_day_cutoff_minutes = 1439), []);
        for bad in [-1, 1440] {
            let found = wrong(|s| s.business_day_cutoff_minutes = bad);
            assert_eq!(found, one("OUT_OF_RANGE", "business_day_cutoff_minutes"), "{bad}");
        }
    }

    #[test]
    fn lists_without_end_are_refused_as_such() {
        let hours = OpeningHours { weekday: 1, open_minutes: 0, close_minutes: 1 };
        assert_eq!(wrong(|s| s.opening_hours = vec![hours; 101]), one("TOO_MANY", "opening_hours"));
        assert_eq!(wrong(|s| s.contacts = vec![StoreContact::default(); 21]), one("TOO_MANY", "contacts"));
        let flood = wrong(|s| s.product_policies = vec![ProductPolicy::default(); 100_000]);
        assert_eq!(flood.len(), Violations::MOST);
    }

    #[test]
    fn a_lifecycle_is_one_that_is_known() {
        assert_eq!(wrong(|s| s.lifecycle = 99), one("LIFECYCLE_UNKNOWN", "lifecycle"));
    }

    #[test]
    fn a_tax_registration_can_be_printed() {
        assert_eq!(wrong(|s| s.tax_registration = "T1234567890123".into()), []);
        let found = wrong(|s| s.tax_registration = "T12\0".into());
        assert_eq!(found, one("TEXT_HAS_CONTROL_CHARACTERS", "tax_registration"));
    }

    #[test]
    fn a_contact_can_be_reached_by_its_uri() {
        for good in [
            "mailto:shop@example.com",
            "mailto:a+b@例え.jp",
            "tel:+81-3-1234-5678",
            "tel:119",
            "https://hooks.example.com/x?y=1",
            "https://[::1]:8443/hook",
        ] {
            assert!(is_contact_uri(good), "{good}");
        }
        for bad in [
            "",
            "shop@example.com",
            "mailto:",
            "mailto:shop",
            "mailto:@example.com",
            "mailto:a@",
            "tel:",
            "tel:call me",
            "tel:+81 3",
            "http://example.com",
            "https://",
            "https:///x",
            "https://user:pw@example.com/",
            "ftp://x",
            "javascript:alert(1)",
            "https://example.com/\0",
            "https://exa mple.com",
        ] {
            assert!(!is_contact_uri(bad), "{bad:?}");
        }
        let contact = |uri: &str| StoreContact { name: "Kim".into(), uri: uri.into() };
        let found = wrong(|s| s.contacts = vec![contact("tel:119"), contact("fax:1")]);
        assert_eq!(found, one("CONTACT_URI_INVALID", "contacts[1].uri"));
    }
}
