//! What a request that reads says, checked: ids, pages and tokens.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use prost::Message;

use crate::{
    domain::{Violation, check_id},
    error::Error,
};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: i32 = 500;
/// A page ends early here: clients refuse answers above 4 MiB unless told otherwise.
const MAX_PAGE_BYTES: usize = 2 << 20;

/// Whether an id of that form can exist; an empty one is an error. Anything else never reaches a database.
pub(crate) fn can_exist(field: &'static str, id: &str) -> Result<bool, Error> {
    match check_id(field, id) {
        Some(violation) if id.is_empty() => Err(violation.into()),
        violation => Ok(violation.is_none()),
    }
}

/// How many rows a page has; more than the maximum is cut to it.
pub(crate) fn page_size(asked: i32) -> Result<usize, Error> {
    match usize::try_from(asked.min(MAX_PAGE)) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size),
        Err(_) => Err(Violation::new("PAGE_SIZE_INVALID", "page_size", "a page size is not negative").into()),
    }
}

/// What a token says: which list it belongs to, and the place in it.
pub(crate) struct Token<'a> {
    pub(crate) list: &'a str,
    pub(crate) place: &'a str,
}

impl Token<'_> {
    pub(crate) fn encode(&self) -> String {
        BASE64.encode(format!("{}\n{}", self.list, self.place))
    }
}

/// The place in `token`; `None` if it was not made for `list`.
fn place(list: &str, token: &str) -> Option<String> {
    let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
    let (of, place) = text.split_once('\n')?;
    (of == list).then(|| place.to_owned())
}

/// The id after which the page begins; empty for the first page.
pub(crate) fn page_token(list: &str, token: &str) -> Result<String, Error> {
    if token.is_empty() {
        return Ok(String::new());
    }
    place(list, token).filter(|id| check_id("page_token", id).is_none()).ok_or_else(|| {
        let message = "take the token from the page before, of the same list, or leave it empty";
        Violation::new("PAGE_TOKEN_INVALID", "page_token", message).into()
    })
}

/// The change after which a watch goes on; 0 for all.
pub(crate) fn resume_token(list: &str, token: &str) -> Result<i64, Error> {
    if token.is_empty() {
        return Ok(0);
    }
    place(list, token).and_then(|change| change.parse().ok()).filter(|change| *change >= 0).ok_or_else(bad_resume_token)
}

pub(crate) fn bad_resume_token() -> Error {
    let message = "take the token from an earlier answer, or leave it empty for everything";
    Violation::new("RESUME_TOKEN_INVALID", "resume_token", message).into()
}

/// Cuts `rows`, read with one row more than `size` if there is one, to a page. Returns the token of the next page, or an
/// empty one.
pub(crate) fn cut_page<M: Message>(rows: &mut Vec<M>, size: usize, list: &str, id: impl Fn(&M) -> &str) -> String {
    let mut bytes = 0;
    let fitting = rows.iter().take_while(|row| {
        bytes += row.encoded_len();
        bytes <= MAX_PAGE_BYTES
    });
    let length = fitting.count().clamp(1, size);
    if rows.len() <= length {
        return String::new();
    }
    rows.truncate(length);
    rows.last().map(|last| Token { list, place: id(last) }.encode()).unwrap_or_default()
}
