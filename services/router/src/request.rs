//! What a request that reads says, checked: ids and pages.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use posmesh_kit::{Violation, failure::check_id};

use crate::error::Error;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: i32 = 500;

/// Whether an id of that form can exist; an empty one is an error. Anything else never reaches a database.
pub(crate) fn can_exist(field: &'static str, id: &str) -> Result<bool, Error> {
    match check_id(field, id) {
        Some(violation) if id.is_empty() => Err(violation.into()),
        violation => Ok(violation.is_none()),
    }
}

/// How many rows a page has; more than the maximum is cut to it.
pub(crate) fn page_size(asked: i32) -> Result<usize, Violation> {
    match usize::try_from(asked.min(MAX_PAGE)) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size),
        Err(_) => Err(Violation::new("PAGE_SIZE_INVALID", "page_size", "a page size is not negative")),
    }
}

/// The id after which the page begins; empty for the first page.
pub(crate) fn page_token(token: &str) -> Result<String, Violation> {
    if token.is_empty() {
        return Ok(String::new());
    }
    let id = BASE64.decode(token).ok().and_then(|id| String::from_utf8(id).ok());
    id.filter(|id| check_id("page_token", id).is_none()).ok_or_else(|| {
        let message = "take the token from the page before, or leave it empty";
        Violation::new("PAGE_TOKEN_INVALID", "page_token", message)
    })
}
