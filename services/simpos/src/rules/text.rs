//! Which texts the POS takes.

use crate::api::{MAX_REFERENCE_CHARS, MAX_TEXT_CHARS, Refusal, cause};

/// An id made by a caller: 1 to [`MAX_REFERENCE_CHARS`] printable ASCII characters.
pub(super) fn reference(text: &str, field: &str) -> Result<(), Refusal> {
    if (1..=MAX_REFERENCE_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let message = format!("wants 1 to {MAX_REFERENCE_CHARS} printable ASCII characters without spaces");
    Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(field))
}

/// A text that slips show: the printer knows no control characters and nothing beyond the Basic Multilingual Plane
/// (no emoji).
pub(super) fn printable(text: Option<&str>, field: &str) -> Result<(), Refusal> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().count() > MAX_TEXT_CHARS {
        let message = format!("at most {MAX_TEXT_CHARS} characters");
        return Err(Refusal::new(400, cause::INVALID_REQUEST, message).at(field));
    }
    match text.chars().find(|c| c.is_control() || u32::from(*c) > 0xFFFF) {
        None => Ok(()),
        Some(c) => {
            let message = format!("the printer cannot print {c:?} (U+{:04X}): leave it out", u32::from(c));
            Err(Refusal::new(400, cause::TEXT_NOT_PRINTABLE, message).at(field))
        }
    }
}
