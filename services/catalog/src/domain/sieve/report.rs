//! The report: each problem with the thing and the field, in the words of the store.

use posmesh_pricing::localized;
use posmesh_proto::{
    catalog::v1::{CatalogProblem, ProblemEffect},
    common::v1::LocalizedText,
    store::v1::Store,
};

pub(super) const MAX_ID_CHARS: usize = 128;
pub(crate) const MAX_NAME_CHARS: usize = 500;
/// The longest well-formed tag that RFC 5646 §4.4.1 asks implementations to hold.
const MAX_LOCALE_CHARS: usize = 35;
/// Most problems that a report holds; a last one says how many more there are.
pub(super) const MAX_PROBLEMS: usize = 200;
/// What a decoder puts where it could not read the text.
const UNREADABLE: char = '\u{fffd}';

/// A problem of the pull as a whole.
pub(crate) fn problem_about_catalog(reason: &str, field: &str, message: String) -> CatalogProblem {
    CatalogProblem {
        reason: reason.to_owned(),
        entity: "catalog".to_owned(),
        field: field.to_owned(),
        message,
        effect: ProblemEffect::Refused.into(),
        ..Default::default()
    }
}

/// The thing that is being looked at, and what becomes of it if it is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    entity: &'static str,
    id: &'a str,
    name: &'a str,
    effect: ProblemEffect,
}

impl At<'_> {
    /// For what is put right instead.
    pub(super) fn corrected(self) -> Self {
        Self { effect: ProblemEffect::Corrected, ..self }
    }
}

pub(super) struct Report<'s> {
    pub(super) store: &'s Store,
    /// What refuses the whole comes first.
    refusals: Vec<CatalogProblem>,
    others: Vec<CatalogProblem>,
    /// All that were found, those beyond the limits too.
    found: usize,
    /// Of these, those that nothing put right.
    wrong: usize,
}

impl<'s> Report<'s> {
    pub(super) fn new(store: &'s Store) -> Self {
        Self { store, refusals: Vec::new(), others: Vec::new(), found: 0, wrong: 0 }
    }

    pub(super) fn at<'a>(
        &self,
        entity: &'static str,
        id: &'a str,
        name: Option<&'a LocalizedText>,
        effect: ProblemEffect,
    ) -> At<'a> {
        At { entity, id, name: localized(name, &self.store.locales), effect }
    }

    /// Something that has one name, in whatever language.
    pub(super) fn plainly<'a>(entity: &'static str, id: &'a str, name: &'a str) -> At<'a> {
        At { entity, id, name, effect: ProblemEffect::LeftOut }
    }

    /// Whether `look` finds nothing that leaves the thing out. What is found so does not count for what the thing is part
    /// of.
    pub(super) fn is_fine(&mut self, look: impl FnOnce(&mut Self)) -> bool {
        let before = std::mem::take(&mut self.wrong);
        look(self);
        std::mem::replace(&mut self.wrong, before) == 0
    }

    pub(super) fn add(&mut self, at: &At<'_>, reason: &str, field: &str, message: impl Into<String>) {
        self.found += 1;
        if at.effect != ProblemEffect::Corrected {
            self.wrong += 1;
        }
        let list = if at.effect == ProblemEffect::Refused { &mut self.refusals } else { &mut self.others };
        if list.len() < MAX_PROBLEMS {
            list.push(CatalogProblem {
                reason: reason.to_owned(),
                entity: at.entity.to_owned(),
                entity_id: cut(at.id, MAX_ID_CHARS),
                entity_name: cut(at.name, MAX_NAME_CHARS),
                field: field.to_owned(),
                message: message.into(),
                effect: at.effect.into(),
            });
        }
    }

    /// How many problems there are by now.
    pub(super) fn found(&self) -> usize {
        self.found
    }

    /// The whole is wrong.
    pub(super) fn refuse(&mut self, problem: CatalogProblem) {
        self.found += 1;
        self.refusals.push(problem);
    }

    /// The problems; as an error where they refuse the whole.
    pub(super) fn finish(self) -> Result<Vec<CatalogProblem>, Vec<CatalogProblem>> {
        let refused = !self.refusals.is_empty();
        let mut problems = self.refusals;
        problems.extend(self.others);
        problems.truncate(MAX_PROBLEMS);
        if refused {
            problems.iter_mut().for_each(|problem| problem.set_effect(ProblemEffect::Refused));
        }
        let more = self.found - problems.len();
        if more > 0 {
            let message = format!("{more} more problems were found; mend the ones above first");
            let effect = if refused { ProblemEffect::Refused } else { ProblemEffect::LeftOut }.into();
            problems.push(CatalogProblem { effect, ..problem_about_catalog("MORE_PROBLEMS", "", message) });
        }
        if refused { Err(problems) } else { Ok(problems) }
    }

    pub(super) fn dangling(&mut self, at: &At<'_>, field: &str, what: &str, id: &str) {
        let message = match id {
            "" => format!("it has no {what}"),
            id => format!("it refers to the {what} {}, which the POS did not send", quoted(id)),
        };
        self.add(at, "DANGLING_REFERENCE", field, message);
    }

    pub(super) fn needs_left_out(&mut self, at: &At<'_>, field: &str, what: &str, id: &str) {
        let message = format!("it goes with the {what} {}, which is wrong and was left out", quoted(id));
        self.add(at, "REFERENCE_LEFT_OUT", field, message);
    }

    pub(super) fn id(&mut self, at: &At<'_>) {
        if !is_id(at.id) {
            let message = format!("the id must be 1 to {MAX_ID_CHARS} characters without control characters");
            self.add(at, "ID_INVALID", "id", message);
        }
    }

    /// A name for people: required, in any language.
    pub(super) fn name(&mut self, at: &At<'_>, name: Option<&LocalizedText>) {
        if at.name.trim().is_empty() {
            self.add(at, "NAME_MISSING", "name", "it has no name");
        }
        self.text(at, "name", name, MAX_NAME_CHARS);
    }

    pub(super) fn text(&mut self, at: &At<'_>, field: &str, text: Option<&LocalizedText>, max_chars: usize) {
        for (locale, value) in text.iter().flat_map(|text| &text.texts) {
            if !is_locale(locale) {
                let message = format!("{} is no language tag", quoted(locale));
                self.add(at, "LOCALE_INVALID", field, message);
            }
            self.plain_text(at, field, value, max_chars);
        }
    }

    pub(super) fn plain_text(&mut self, at: &At<'_>, field: &str, text: &str, max_chars: usize) {
        if let Some((reason, message)) = text_problem(text, max_chars) {
            self.add(at, reason, field, message);
        }
    }
}

/// What is wrong with a text for people: reason and message.
pub(crate) fn text_problem(text: &str, max_chars: usize) -> Option<(&'static str, String)> {
    // Line breaks and tabs are what people type into descriptions. C1 controls are what UTF-8 looks like when it is read
    // as Latin-1.
    if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Some(("TEXT_INVALID", format!("it holds the control character U+{:04X}", u32::from(c))));
    }
    if text.contains(UNREADABLE) {
        let message = "some of it could not be read: the charset that is set for the POS may be another one";
        return Some(("TEXT_INVALID", message.to_owned()));
    }
    let chars = text.chars().count();
    let message = || format!("it has {chars} characters; at most {max_chars} are taken");
    (chars > max_chars).then(|| ("TEXT_TOO_LONG", message()))
}

/// Whether it is shaped as a language tag.
pub(crate) fn is_locale(tag: &str) -> bool {
    let well_formed = tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    !tag.is_empty() && tag.len() <= MAX_LOCALE_CHARS && well_formed
}

pub(crate) fn is_id(id: &str) -> bool {
    let chars = id.chars().count();
    chars > 0 && chars <= MAX_ID_CHARS && !id.chars().any(char::is_control)
}

pub(super) fn quoted(id: &str) -> String {
    format!("{:?}", cut(id, MAX_ID_CHARS))
}

fn cut(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}
