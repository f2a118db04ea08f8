//! What a request says, checked.

use posmesh_pricing::default_service_mode;
use posmesh_proto::common::v1::{Product, ServiceMode};
use uuid::Uuid;

use crate::error::Error;

const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: i32 = 500;
/// As RFC 5646 §4.4.1 has it.
const MAX_LOCALE_CHARS: usize = 35;

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

pub(crate) fn version(name: &'static str, version: i64) -> Result<i64, Error> {
    if version < 0 {
        return Err(field("VERSION_INVALID", name, "a version is not negative"));
    }
    Ok(version)
}

/// How many rows a page has; more than the maximum is cut to it.
pub(crate) fn page_size(asked: i32) -> Result<usize, Error> {
    match usize::try_from(asked.min(MAX_PAGE)) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size),
        Err(_) => Err(field("PAGE_SIZE_INVALID", "page_size", "a page size is not negative")),
    }
}

/// The position after which a page of versions begins.
pub(crate) fn version_token(token: &str) -> Result<i64, Error> {
    if token.is_empty() {
        return Ok(i64::MAX);
    }
    token.parse().ok().filter(|version| *version > 0).ok_or_else(bad_token)
}

/// The position after which a page of runs begins.
pub(crate) fn run_token(token: &str) -> Result<String, Error> {
    if token.is_empty() {
        return Ok(Uuid::max().to_string());
    }
    Uuid::parse_str(token).map(|id| id.to_string()).map_err(|_| bad_token())
}

fn bad_token() -> Error {
    field("PAGE_TOKEN_INVALID", "page_token", "take the token from the page before, or leave it empty")
}
