//! Texts and language tags.

use posmesh_proto::common::v1::LocalizedText;

use super::{Violation, Violations};

/// Names of stores, brands and contacts.
pub(super) const MAX_NAME_CHARS: usize = 200;
const MAX_TEXTS: usize = 20;
/// As RFC 5646 §4.4.1 has it.
const MAX_LOCALE_CHARS: usize = 35;

/// What is wrong with a text: it must not be blank, nor too long, nor hold control characters, which a database or a
/// receipt printer would choke on.
pub(super) fn check_text(field: &str, text: &str, max_chars: usize) -> Option<Violation> {
    if text.trim().is_empty() {
        return Some(Violation::new("REQUIRED", field, "must not be blank"));
    }
    if text.chars().count() > max_chars {
        return Some(Violation::new("TEXT_TOO_LONG", field, format!("must have at most {max_chars} characters")));
    }
    let message = "must not hold control characters such as line breaks or NUL";
    text.chars().any(char::is_control).then(|| Violation::new("TEXT_HAS_CONTROL_CHARACTERS", field, message))
}

/// A name in at least one language.
pub(super) fn check_name(found: &mut Violations, field: &str, name: Option<&LocalizedText>) {
    let Some(name) = name.filter(|name| !name.texts.is_empty()) else {
        return found.refuse("REQUIRED", field, "give a name in at least one language");
    };
    if name.texts.len() > MAX_TEXTS {
        return found.refuse("TOO_MANY", field, format!("at most {MAX_TEXTS} languages"));
    }
    let mut locales: Vec<_> = name.texts.iter().collect();
    locales.sort();
    for (locale, text) in locales {
        // A tag that is none is not repeated in the path, whatever it holds.
        if !is_locale(locale) {
            found.refuse("LOCALE_INVALID", format!("{field}.texts"), not_a_locale(locale));
            continue;
        }
        found.add(check_text(&format!("{field}.texts[{locale}]"), text, MAX_NAME_CHARS));
    }
}

/// Whether a tag has the form of BCP 47: a language of 2 to 8 letters, then subtags of 1 to 8 letters and digits.
pub(super) fn is_locale(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let language = subtags.next().unwrap_or_default();
    tag.len() <= MAX_LOCALE_CHARS
        && (2..=8).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphabetic())
        && subtags.all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()))
}

pub(super) fn not_a_locale(tag: &str) -> String {
    let shown: String = tag.chars().take(MAX_LOCALE_CHARS).collect();
    format!("{shown:?} is no BCP 47 language tag such as ja, ko, en or zh-Hant")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<&'static str> {
        check_text("f", text, 5).map(|v| v.reason)
    }

    #[test]
    fn a_text_is_neither_blank_nor_too_long_nor_holds_control_characters() {
        assert_eq!(reason("居酒屋🍺!"), None);
        assert_eq!(reason(" \u{3000}"), Some("REQUIRED"));
        assert_eq!(reason("abcdef"), Some("TEXT_TOO_LONG"));
        for bad in ["a\0", "a\nb", "\u{1b}@", "\u{85}x"] {
            assert_eq!(reason(bad), Some("TEXT_HAS_CONTROL_CHARACTERS"), "{bad:?}");
        }
    }

    #[test]
    fn language_tags_have_the_form_of_bcp_47() {
        for good in ["ja", "ko", "en-US", "zh-Hant-TW", "de-CH-1996"] {
            assert!(is_locale(good), "{good}");
        }
        for bad in ["", "j", "ja_JP", "ja-", "-ja", "日本", "ja--JP", "en-abcdefghi", &"ab-".repeat(20)] {
            assert!(!is_locale(bad), "{bad:?}");
        }
    }
}
