//! Rules without I/O: what a pull adds up to, whether it is fit to be published, and what a guest sees of it.

mod assemble;
mod content;
#[cfg(test)]
mod fixture;
mod nesting;
mod resolve;
mod run;
mod validate;

pub(crate) use assemble::{Assembly, TooLarge};
pub use content::Content;
pub(crate) use content::counts;
pub(crate) use resolve::{Question, effective_locale, locales, resolve_menu};
pub(crate) use run::{failed, interrupted, is_running, quarantined, succeeded};
pub(crate) use validate::{problem_about_catalog, validate};

/// Most items that a catalog may have.
pub(crate) const MAX_ITEMS: usize = 100_000;
