//! Texts for people.

use posmesh_proto::common::v1::LocalizedText;

use crate::{Problem, Reason};

/// The text in the first of the locales that it exists in; empty if there is none at all.
///
/// Each locale falls back to its shorter forms ("zh-Hant-TW", "zh-Hant", "zh": the lookup of RFC 4647 §3.4) before the
/// next one is tried. If none fits, the text of the alphabetically first tag is taken, so that the answer is always the
/// same one. Tags compare without regard to case.
pub fn localized<'a, S: AsRef<str>>(text: Option<&'a LocalizedText>, locales: &[S]) -> &'a str {
    let Some(text) = text else { return "" };
    for locale in locales {
        let mut tag = locale.as_ref();
        while !tag.is_empty() {
            if let Some(found) = text.texts.iter().find(|(key, _)| key.eq_ignore_ascii_case(tag)) {
                return found.1;
            }
            tag = tag.rsplit_once('-').map_or("", |(shorter, _)| shorter);
        }
    }
    text.texts.iter().min_by_key(|(key, _)| key.as_str()).map_or("", |(_, value)| value)
}

/// Checks a text that a caller sent: at most `max_chars` characters, none of them a control character.
///
/// # Errors
///
/// [`Reason::TextTooLong`] or [`Reason::TextInvalid`] at `field`.
pub fn check_text(field: &str, text: &str, max_chars: usize) -> Result<(), Problem> {
    let chars = text.chars().count();
    if chars > max_chars {
        let message = format!("has {chars} characters; at most {max_chars} are taken");
        return Err(Problem::new(Reason::TextTooLong, field, message));
    }
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(c) => {
            let message = format!("holds the control character U+{:04X}; remove it", u32::from(c));
            Err(Problem::new(Reason::TextInvalid, field, message))
        }
    }
}

/// An id from a request, quoted and cut to a length that is fit for a message.
pub(crate) fn shown(id: &str) -> String {
    const MAX_CHARS: usize = 64;
    match id.char_indices().nth(MAX_CHARS) {
        None => format!("{id:?}"),
        Some((end, _)) => format!("{:?}…", &id[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entries: &[(&str, &str)]) -> LocalizedText {
        LocalizedText { texts: entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() }
    }

    #[test]
    fn a_locale_falls_back_to_its_language_then_to_the_next_locale_then_to_any() {
        let text = text(&[("ja", "茶"), ("zh-Hant", "茶飲"), ("en", "Tea")]);
        assert_eq!(localized(Some(&text), &["zh-Hant-TW", "ja"]), "茶飲");
        assert_eq!(localized(Some(&text), &["JA-jp"]), "茶");
        assert_eq!(localized(Some(&text), &["ko", "ja"]), "茶");
        assert_eq!(localized(Some(&text), &["ko"]), "Tea");
        assert_eq!(localized::<&str>(None, &[]), "");
    }

    #[test]
    fn a_text_with_nul_or_too_many_characters_is_refused_with_its_field() {
        assert!(check_text("note", "玉ねぎ抜き", 5).is_ok());
        assert_eq!(check_text("note", "玉ねぎ抜き", 4).map_err(|p| p.reason), Err(Reason::TextTooLong));
        let nul = check_text("note", "a\0b", 200);
        assert_eq!(nul.map_err(|p| (p.reason, p.field)), Err((Reason::TextInvalid, "note".to_owned())));
    }

    #[test]
    fn a_monstrous_id_is_cut_in_messages() {
        assert_eq!(shown("ramen"), "\"ramen\"");
        assert!(shown(&"長".repeat(100_000)).chars().count() < 80);
    }
}
