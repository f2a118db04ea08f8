//! The code in a table's QR: proves that somebody sat there not long ago.
//!
//! `base64url(table id) "." window "." base64url(first 16 bytes of the MAC)`. The window is the number of the stretch of
//! time in which it is shown; a code is taken during its own window and the next, so that a photo of last week's QR
//! opens nothing.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::token::Signer;

const PURPOSE: &str = "posmesh/table-code/1";
const TAG_BYTES: usize = 16;
/// A table id has at most 128 characters.
const MAX_CODE_CHARS: usize = 1024;

/// Makes and checks the codes of all stores.
#[derive(Clone)]
pub(crate) struct TableCodes {
    signer: Signer,
    window_s: i64,
}

/// A code as it stands in the QR now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableCode {
    pub(crate) code: String,
    /// When the next code replaces it in the QR.
    pub(crate) rotates_unix_s: i64,
    /// When it is no longer taken.
    pub(crate) expires_unix_s: i64,
}

/// Why a code is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeError {
    /// Not ours, altered, or another store's.
    Invalid,
    /// Ours, but shown too long ago.
    Expired,
}

impl TableCodes {
    pub(crate) fn new(signer: Signer, window: Duration) -> Self {
        Self { signer, window_s: i64::try_from(window.as_secs()).unwrap_or(i64::MAX).max(1) }
    }

    /// The code that stands in the table's QR at `now_unix_s`.
    pub(crate) fn current(&self, store_id: &str, table_id: &str, now_unix_s: i64) -> TableCode {
        let window = now_unix_s.div_euclid(self.window_s);
        let mac = self.signer.sign(PURPOSE, &message(store_id, table_id, window));
        let code =
            format!("{}.{window}.{}", URL_SAFE_NO_PAD.encode(table_id), URL_SAFE_NO_PAD.encode(&mac[..TAG_BYTES]));
        let end_of = |windows: i64| (window.saturating_add(windows)).saturating_mul(self.window_s);
        TableCode { code, rotates_unix_s: end_of(1), expires_unix_s: end_of(2) }
    }

    /// The table that a code was made for.
    pub(crate) fn table_id(&self, store_id: &str, code: &str, now_unix_s: i64) -> Result<String, CodeError> {
        if code.len() > MAX_CODE_CHARS {
            return Err(CodeError::Invalid);
        }
        let (table_id, window, tag) = split(code).ok_or(CodeError::Invalid)?;
        if !self.signer.verify(PURPOSE, &message(store_id, &table_id, window), &tag) {
            return Err(CodeError::Invalid);
        }
        let now = now_unix_s.div_euclid(self.window_s);
        if window != now && window != now - 1 {
            return Err(CodeError::Expired);
        }
        Ok(table_id)
    }
}

fn split(code: &str) -> Option<(String, i64, Vec<u8>)> {
    let mut parts = code.split('.');
    let (table_id, window, tag) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let table_id = String::from_utf8(URL_SAFE_NO_PAD.decode(table_id).ok()?).ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok().filter(|tag| tag.len() == TAG_BYTES)?;
    Some((table_id, window.parse().ok()?, tag))
}

/// Each part with its length before it: no two triples give the same bytes.
fn message(store_id: &str, table_id: &str, window: i64) -> Vec<u8> {
    format!("{}:{store_id}{}:{table_id}{window}", store_id.len(), table_id.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Secret;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const HOUR: i64 = 3600;

    fn codes() -> TableCodes {
        let signer = Signer::new(&Secret::new(KEY)).unwrap();
        TableCodes::new(signer, Duration::from_secs(12 * 3600))
    }

    #[test]
    fn a_code_is_taken_in_its_own_window_and_the_next_and_then_no_more() {
        let codes = codes();
        let made = 100 * 12 * HOUR + 5;
        let code = codes.current("shibuya", "table.12/窓", made);
        for now in [made, code.rotates_unix_s, code.expires_unix_s - 1] {
            assert_eq!(codes.table_id("shibuya", &code.code, now), Ok("table.12/窓".to_owned()), "{now}");
        }
        assert_eq!(codes.table_id("shibuya", &code.code, code.expires_unix_s), Err(CodeError::Expired));
        assert_eq!(code.expires_unix_s - code.rotates_unix_s, 12 * HOUR);
    }

    #[test]
    fn a_code_rotates_with_the_window() {
        let codes = codes();
        let first = codes.current("shibuya", "t1", 0);
        assert_eq!(first, codes.current("shibuya", "t1", 12 * HOUR - 1));
        assert_ne!(first.code, codes.current("shibuya", "t1", 12 * HOUR).code);
    }

    #[test]
    fn a_code_of_another_store_or_with_another_table_or_window_is_not_taken() {
        let codes = codes();
        let code = codes.current("shibuya", "t1", 0).code;
        assert_eq!(codes.table_id("ginza", &code, 0), Err(CodeError::Invalid));
        let other = URL_SAFE_NO_PAD.encode("t2");
        let (_, rest) = code.split_once('.').unwrap();
        assert_eq!(codes.table_id("shibuya", &format!("{other}.{rest}"), 0), Err(CodeError::Invalid));
        assert_eq!(codes.table_id("shibuya", &code.replace(".0.", ".1."), 12 * HOUR), Err(CodeError::Invalid));
    }

    #[test]
    fn what_is_no_code_is_not_taken() {
        let codes = codes();
        for bad in ["", "..", "dDE.0.", "dDE.0.AAAA", "dDE.x.AAAAAAAAAAAAAAAAAAAAAA", "a.b.c.d", "窓.0.x"] {
            assert_eq!(codes.table_id("shibuya", bad, 0), Err(CodeError::Invalid), "{bad}");
        }
    }
}
