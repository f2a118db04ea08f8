//! What a request says, checked.

use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use posmesh_kit::time;
use posmesh_pricing::{check_text, default_service_mode};
use posmesh_proto::{
    catalog::v1::{Availability, AvailabilitySource, Decision, SetAvailabilityRequest},
    common::v1::{Product, ServiceMode},
};
use prost::Message;
use prost_types::Timestamp;
use uuid::Uuid;

use crate::error::Error;

const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: i32 = 500;
/// A page ends early here: clients refuse answers above 4 MiB unless told otherwise.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// As RFC 5646 §4.4.1 has it.
const MAX_LOCALE_CHARS: usize = 35;
const MAX_TIME_AWAY_MS: u64 = 366 * 24 * 3600 * 1000;
const MAX_BY_CHARS: usize = 100;
const MAX_NOTE_CHARS: usize = 500;
const MAX_ID_CHARS: usize = 128;
/// How far ahead the time of return may lie.
const MAX_AWAY_MS: i64 = 366 * 86_400_000;

fn field(reason: &'static str, field: &'static str, message: impl Into<String>) -> Error {
    Error::Field { reason, field, message: message.into() }
}

/// 1-64 of [a-z0-9-], as a store's id is made. Anything else never reaches a database.
pub(crate) fn store_id(id: &str) -> Result<&str, Error> {
    let well_formed = id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    match id.len() {
        0 => Err(field("REQUIRED", "store_id", "name the store")),
        1..=64 if well_formed => Ok(id),
        _ => Err(field("STORE_ID_INVALID", "store_id", "a store id is 1 to 64 of a-z, 0-9 and -")),
    }
}

pub(crate) fn run_id(id: &str) -> Result<String, Error> {
    match Uuid::parse_str(id) {
        Ok(uuid) => Ok(uuid.to_string()),
        Err(_) if id.is_empty() => Err(field("REQUIRED", "sync_run_id", "name the run")),
        Err(_) => Err(Error::RunNotFound { run_id: id.chars().take(64).collect() }),
    }
}

pub(crate) fn product(number: i32) -> Result<Product, Error> {
    match Product::try_from(number) {
        Ok(Product::Unspecified) => Err(field("REQUIRED", "product", "name the product that asks")),
        Ok(product) => Ok(product),
        Err(_) => Err(field("PRODUCT_UNKNOWN", "product", format!("{number} is no product that is known here"))),
    }
}

pub(crate) fn service_mode(number: i32, product: Product) -> Result<ServiceMode, Error> {
    match ServiceMode::try_from(number) {
        Ok(ServiceMode::Unspecified) => Ok(default_service_mode(product)),
        Ok(mode) => Ok(mode),
        Err(_) => {
            let message = format!("{number} is no service mode that is known here");
            Err(field("SERVICE_MODE_UNKNOWN", "service_mode", message))
        }
    }
}

pub(crate) fn locale(tag: &str) -> Result<&str, Error> {
    if tag.len() > MAX_LOCALE_CHARS || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(field("LOCALE_INVALID", "locale", "a locale is a BCP 47 tag, e.g. ja or zh-Hant"));
    }
    Ok(tag)
}

/// A moment for which a menu may be asked, in milliseconds since the Unix epoch.
pub(crate) fn menu_time(time: Option<&Timestamp>) -> Result<Option<i64>, Error> {
    let Some(asked_ms) = time.map(time::to_unix_ms) else { return Ok(None) };
    if asked_ms.abs_diff(time::now_unix_ms()) > MAX_TIME_AWAY_MS {
        return Err(field("OUT_OF_RANGE", "time", "ask for a time within a year from now, or leave it out for now"));
    }
    Ok(Some(asked_ms))
}

pub(crate) fn version(name: &'static str, version: i64) -> Result<i64, Error> {
    if version < 0 {
        return Err(field("VERSION_INVALID", name, "a version is not negative"));
    }
    Ok(version)
}

/// Who says what, now.
pub(crate) fn decision(by: String, note: String) -> Result<Decision, Error> {
    if by.trim().is_empty() {
        return Err(field("REQUIRED", "by", "say who does it"));
    }
    for (name, text, max_chars) in [("by", &by, MAX_BY_CHARS), ("note", &note, MAX_NOTE_CHARS)] {
        check_text(name, text, max_chars).map_err(|problem| field(problem.reason.as_str(), name, problem.message))?;
    }
    Ok(Decision { by, note, time: Some(time::now()) })
}

/// What the staff say of a thing, now.
pub(crate) fn availability(request: &SetAvailabilityRequest) -> Result<Availability, Error> {
    let SetAvailabilityRequest { item_id, group_id, modifier_id, available, available_again_time, .. } = request;
    match (item_id.is_empty(), group_id.is_empty(), modifier_id.is_empty()) {
        (false, true, true) | (true, false, false) => {}
        (true, true, true) => return Err(field("REQUIRED", "item_id", "name the item, or the group and its choice")),
        (false, ..) => return Err(field("NOT_ALLOWED", "group_id", "name an item or a choice, not both")),
        (_, true, _) => return Err(field("REQUIRED", "group_id", "name the choice's group")),
        (_, _, true) => return Err(field("REQUIRED", "modifier_id", "name the choice")),
    }
    for (name, id) in [("item_id", item_id), ("group_id", group_id), ("modifier_id", modifier_id)] {
        check_text(name, id, MAX_ID_CHARS).map_err(|problem| field(problem.reason.as_str(), name, problem.message))?;
    }
    if let Some(again) = available_again_time {
        let ahead_ms = time::to_unix_ms(again).saturating_sub(time::now_unix_ms());
        let problem = match ahead_ms {
            _ if *available => "only what is sold out comes back at a time",
            1..=MAX_AWAY_MS => "",
            _ => "must be in the future and at most a year ahead",
        };
        if !problem.is_empty() {
            return Err(field("AVAILABLE_AGAIN_TIME_INVALID", "available_again_time", problem));
        }
    }
    let Decision { by, note, time } = decision(request.by.clone(), request.note.clone())?;
    Ok(Availability {
        item_id: item_id.clone(),
        group_id: group_id.clone(),
        modifier_id: modifier_id.clone(),
        available: *available,
        available_again_time: *available_again_time,
        source: AvailabilitySource::Staff.into(),
        by,
        note,
        time,
        remaining: None,
    })
}

/// How many rows a page has; more than the maximum is cut to it.
pub(crate) fn page_size(asked: i32) -> Result<usize, Error> {
    match usize::try_from(asked.min(MAX_PAGE)) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size),
        Err(_) => Err(field("PAGE_SIZE_INVALID", "page_size", "a page size is not negative")),
    }
}

/// A page of `rows`, of which one more than its size was asked for, and the token of the next page, empty on the last
/// one. It ends early where it would grow too large.
pub(crate) fn page<T: Message>(
    mut rows: Vec<T>,
    size: usize,
    list: &List<'_>,
    place: impl Fn(&T) -> String,
) -> (Vec<T>, String) {
    let mut bytes = 0;
    let mut fits = |row: &T| {
        bytes += row.encoded_len();
        bytes <= MAX_PAGE_BYTES
    };
    // A single row that is too large still makes a page.
    let size = size.min(rows.iter().take_while(|row| fits(row)).count().max(1));
    if rows.len() <= size {
        return (rows, String::new());
    }
    rows.truncate(size);
    let token = rows.last().map(|last| list.token(&place(last))).unwrap_or_default();
    (rows, token)
}

/// Which list a page token belongs to: one made for another is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) of: &'static str,
    pub(crate) store_id: &'a str,
}

impl List<'_> {
    fn token(&self, place: &str) -> String {
        BASE64.encode(format!("{}\n{}\n{place}", self.of, self.store_id))
    }

    /// The place where the page before ended; `None` for the first page.
    pub(crate) fn place<P: FromStr>(&self, token: &str) -> Result<Option<P>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        self.parse(token).map(Some).ok_or_else(|| {
            let message = "take the token from the page before, of the same list, or leave it empty";
            field("PAGE_TOKEN_INVALID", "page_token", message)
        })
    }

    fn parse<P: FromStr>(&self, token: &str) -> Option<P> {
        let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
        let place = text.strip_prefix(self.of)?.strip_prefix('\n')?.strip_prefix(self.store_id)?.strip_prefix('\n')?;
        place.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::catalog::v1::CatalogVersion;

    use super::*;

    const LIST: List<'static> = List { of: "versions", store_id: "shibuya" };

    fn reason(result: Result<impl std::fmt::Debug, Error>) -> &'static str {
        match result {
            Err(Error::Field { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_id_that_no_store_can_have_is_refused_before_it_reaches_a_database() {
        assert_eq!(reason(store_id("")), "REQUIRED");
        for bad in ["shi\0buya", "Shibuya", "渋谷", &"s".repeat(65)] {
            assert_eq!(reason(store_id(bad)), "STORE_ID_INVALID", "{bad:?}");
        }
        assert!(store_id("shibuya-2").is_ok());
    }

    #[test]
    fn a_page_is_cut_to_its_size_and_leads_to_the_next_one() {
        let rows = |count: i64| (1..=count).map(|version| CatalogVersion { version, ..Default::default() }).collect();
        let number = |row: &CatalogVersion| row.version.to_string();
        let (all, end) = page::<CatalogVersion>(rows(2), 2, &LIST, number);
        assert_eq!((all.len(), end.as_str()), (2, ""));
        let (cut, token) = page::<CatalogVersion>(rows(3), 2, &LIST, number);
        assert_eq!((cut.len(), LIST.place::<i64>(&token).unwrap()), (2, Some(2)));
    }

    #[test]
    fn a_page_of_large_rows_ends_early_but_is_never_empty() {
        let row = |version| CatalogVersion { version, sync_run_id: "x".repeat(MAX_PAGE_BYTES), ..Default::default() };
        let (cut, token) = page(vec![row(2), row(1)], 10, &LIST, |row| row.version.to_string());
        assert_eq!((cut.len(), LIST.place::<i64>(&token).unwrap()), (1, Some(2)));
    }

    #[test]
    fn a_token_of_another_list_or_no_token_at_all_is_refused() {
        let token = LIST.token("2");
        for other in [List { of: "runs", ..LIST }, List { store_id: "ueno", ..LIST }] {
            assert_eq!(reason(other.place::<i64>(&token)), "PAGE_TOKEN_INVALID");
        }
        for bad in ["2", "ÿ", &LIST.token("two")] {
            assert_eq!(reason(LIST.place::<i64>(bad)), "PAGE_TOKEN_INVALID");
        }
    }

    #[test]
    fn a_negative_page_size_is_refused_and_a_large_one_is_cut() {
        assert_eq!(reason(page_size(-1)), "PAGE_SIZE_INVALID");
        assert_eq!([0, 7, 100_000].map(|asked| page_size(asked).unwrap()), [50, 7, 500]);
    }
}
