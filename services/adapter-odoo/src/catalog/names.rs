//! Names in the languages of the store.

use std::collections::{BTreeMap, HashMap};

use posmesh_proto::common::v1::LocalizedText;
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{Api, ApiError},
    settings::Settings,
    till::{Till, misconfigured},
    wire,
};

use super::records::Records;

/// What has names of its own in each language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Named {
    Template,
    Description,
    Attribute,
    Value,
    Category,
    Combo,
    PaymentMethod,
}

/// Texts by thing, id and BCP 47 tag.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    tags: Vec<String>,
    texts: HashMap<(Named, i64), BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct NameRecord {
    id: i64,
    #[serde(deserialize_with = "wire::text")]
    name: String,
    #[serde(default, deserialize_with = "wire::text")]
    description_sale: String,
}

/// The languages to pull: Odoo's code and the tag that it gets.
pub(super) async fn languages(
    api: &Api<'_>,
    settings: &Settings,
    till: &Till,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, String)>, ApiError> {
    #[derive(Deserialize)]
    struct Language {
        code: String,
    }
    let active: Vec<Language> = api.search_read("res.lang", json!([]), &["code"], &till.scope(None)).await?;
    let mut active: Vec<String> = active.into_iter().map(|language| language.code).collect();
    // The language that untranslated texts are in comes first: prices and rules are read along with it.
    active.sort_by_key(|code| (code != "en_US", code.clone()));
    if settings.languages.is_empty() {
        return Ok(tags(&active));
    }
    for code in settings.languages.keys().filter(|code| !active.contains(code)) {
        warnings.push(format!("language {code}: not active in Odoo; activate it there, or take it off the settings"));
    }
    let wanted = |code: String| Some((code.clone(), settings.languages.get(&code)?.clone()));
    let wanted: Vec<(String, String)> = active.into_iter().filter_map(wanted).collect();
    if wanted.is_empty() {
        return Err(misconfigured("none of the languages of the settings is active in Odoo".to_owned()));
    }
    Ok(wanted)
}

/// The language alone as the tag (`ja_JP`: `ja`), but the region or script too where two would share it.
fn tags(codes: &[String]) -> Vec<(String, String)> {
    let language = |code: &str| code.split(['_', '@']).next().unwrap_or_default().to_owned();
    let whole = |code: &str| match code {
        "zh_CN" => "zh-Hans".to_owned(),
        "zh_TW" | "zh_HK" => format!("zh-Hant-{}", &code[3..]),
        // Odoo writes scripts as glibc does.
        _ => code.replace("@latin", "-Latn").replace("@Cyrl", "-Cyrl").replace('_', "-"),
    };
    let tag = |code: &String| {
        let shared = codes.iter().filter(|other| language(other) == language(code)).count() > 1;
        if shared || code.starts_with("zh_") || code.contains('@') { whole(code) } else { language(code) }
    };
    codes.iter().map(|code| (code.clone(), tag(code))).collect()
}

impl Names {
    pub(super) async fn read(
        api: &Api<'_>,
        till: &Till,
        records: &Records,
        languages: &[(String, String)],
    ) -> Result<Self, ApiError> {
        let ids = |ids: &mut dyn Iterator<Item = i64>| ids.collect::<Vec<i64>>();
        let wanted = [
            (Named::Template, "product.template", ids(&mut records.templates.keys().copied())),
            (Named::Attribute, "product.attribute", ids(&mut records.attribute_ids())),
            (Named::Value, "product.template.attribute.value", ids(&mut records.values.keys().copied())),
            (Named::Category, "pos.category", ids(&mut records.categories.iter().map(|c| c.id))),
            (Named::Combo, "product.combo", ids(&mut records.combos.keys().copied())),
            (Named::PaymentMethod, "pos.payment.method", ids(&mut records.payment_methods.iter().map(|m| m.id))),
        ];
        let tags = languages.iter().map(|(_, tag)| tag.clone()).collect();
        let mut names = Self { tags, ..Self::default() };
        for (code, tag) in languages {
            for (what, model, ids) in wanted.iter().filter(|(_, _, ids)| !ids.is_empty()) {
                let fields: &[&str] = if *what == Named::Template { &["name", "description_sale"] } else { &["name"] };
                let domain = json!([["id", "in", ids]]);
                let records: Vec<NameRecord> = api.search_read(model, domain, fields, &till.scope(Some(code))).await?;
                for record in records {
                    names.add(*what, record.id, tag, record.name);
                    names.add(Named::Description, record.id, tag, record.description_sale);
                }
            }
        }
        Ok(names)
    }

    fn add(&mut self, what: Named, id: i64, tag: &str, text: String) {
        if !text.trim().is_empty() {
            self.texts.entry((what, id)).or_default().insert(tag.to_owned(), text);
        }
    }

    /// The texts of one thing; `None` where it has none.
    pub(super) fn text(&self, what: Named, id: i64) -> Option<LocalizedText> {
        let texts = self.texts.get(&(what, id))?;
        Some(LocalizedText { texts: texts.clone().into_iter().collect() })
    }

    /// A name with parts of other things in brackets, in each language: `T-shirt (M, Black)`.
    pub(super) fn with_values(&self, what: Named, id: i64, values: &[i64]) -> Option<LocalizedText> {
        let mut name = self.text(what, id)?;
        for (tag, text) in &mut name.texts {
            let value = |id: &i64| self.texts.get(&(Named::Value, *id)).and_then(|texts| texts.get(tag)).cloned();
            let values: Vec<String> = values.iter().filter_map(value).collect();
            if !values.is_empty() {
                *text = format!("{text} ({})", values.join(", "));
            }
        }
        Some(name)
    }

    /// A name in the languages' own words, changed alike in all.
    pub(super) fn map(&self, what: Named, id: i64, change: impl Fn(&str) -> String) -> Option<LocalizedText> {
        let mut name = self.text(what, id)?;
        name.texts.values_mut().for_each(|text| *text = change(text));
        Some(name)
    }

    /// A text that Odoo keeps once for all languages.
    pub(super) fn plain(&self, text: &str) -> LocalizedText {
        LocalizedText { texts: self.tags.iter().map(|tag| (tag.clone(), text.to_owned())).collect() }
    }

    #[cfg(test)]
    pub(super) fn of(entries: &[(Named, i64, &str, &str)]) -> Self {
        let mut names = Self { tags: vec!["en".to_owned()], ..Self::default() };
        for (what, id, tag, text) in entries {
            names.add(*what, *id, tag, (*text).to_owned());
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags_of(codes: &[&str]) -> Vec<String> {
        let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
        tags(&codes).into_iter().map(|(_, tag)| tag).collect()
    }

    #[test]
    fn odoos_language_codes_become_bcp_47_tags() {
        assert_eq!(tags_of(&["en_US", "ja_JP", "ko_KR"]), ["en", "ja", "ko"]);
        assert_eq!(tags_of(&["en_US", "en_GB"]), ["en-US", "en-GB"]);
        assert_eq!(tags_of(&["zh_CN", "zh_TW"]), ["zh-Hans", "zh-Hant-TW"]);
        assert_eq!(tags_of(&["sr@latin", "es_419"]), ["sr-Latn", "es"]);
    }
}
