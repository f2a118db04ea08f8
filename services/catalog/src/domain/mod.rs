//! Rules without I/O: what a pull adds up to, whether it is fit to be published, and what a guest sees of it.

mod assemble;
mod content;
mod diff;
#[cfg(test)]
mod fixture;
mod nesting;
mod offer;
mod overlay;
mod resolve;
mod review;
mod run;
mod sieve;
mod suspicion;

pub(crate) use assemble::{Assembly, TooLarge};
pub use content::Content;
pub(crate) use content::{counts, shown_hash};
pub(crate) use diff::{Diff, diff};
pub(crate) use offer::{Beside, offer, pos_words, take_counts};
pub(crate) use overlay::{Layers, OverlayMap, lay_over, overlay_lines, subject_key};
pub(crate) use resolve::{Question, effective_locale, locales, resolve_menu};
pub(crate) use review::{Step, review_lines, reviewed, to_review, with_changes};
pub(crate) use run::{
    decided, failed, interrupted, is_running, quarantined, rejected, succeeded, superseded, waiting, waits_already,
};
pub(crate) use sieve::{
    MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, Sieved, is_id, is_locale, problem_about_catalog, sieve, text_problem,
};
pub(crate) use suspicion::suspicions;

/// Most items that a catalog may have.
pub(crate) const MAX_ITEMS: usize = 100_000;
