//! The till's master data in the platform's form.
//!
//! Whatever the platform cannot express exactly is left out, and the run's record says what and why.

mod build;
mod combos;
mod modifiers;
mod names;
mod prices;
mod records;
mod tax_classes;
mod times;

use std::collections::HashSet;

use posmesh_adapter_kit::{CatalogParts, PosError};
use posmesh_proto::catalog::v1::Catalog;

use crate::{api::Api, settings::Settings, till::Till};

/// Items that one part of the stream holds.
const ITEMS_PER_PART: usize = 500;

/// Prefix of groups that stand for one of a product's attributes; the attribute line's id follows.
pub(crate) const ATTRIBUTE_GROUP: &str = "attribute-";
/// Prefix of groups that stand for one choice of a combo; the combo's id follows.
pub(crate) const COMBO_GROUP: &str = "combo-";
/// Prefix of groups with the pieces of a combo beyond its free ones; the combo's id follows.
pub(crate) const COMBO_EXTRA_GROUP: &str = "combo-extra-";

/// Reads everything that the till sells, and sends it. Returns the warnings.
pub(crate) async fn pull(api: &Api<'_>, settings: &Settings, parts: &CatalogParts) -> Result<Vec<String>, PosError> {
    api.require_supported().await?;
    let till = Till::read(api, &settings.pos_config).await?;
    let mut warnings = Vec::new();
    let languages = names::languages(api, settings, &till, &mut warnings).await?;
    let base_language = languages.first().map(|(code, _)| code.as_str());
    let records = records::Records::read(api, &till, settings, base_language, &mut warnings).await?;
    let names = names::Names::read(api, &till, &records, &languages).await?;
    let mut catalog = build::build(&till, settings, &records, &names, &mut warnings);

    let items = std::mem::take(&mut catalog.items);
    parts.send(catalog).await?;
    for items in items.chunks(ITEMS_PER_PART) {
        parts.send(Catalog { items: items.to_vec(), ..Catalog::default() }).await?;
    }
    // A combo that two products share is looked at twice.
    let mut told = HashSet::new();
    warnings.retain(|warning| told.insert(warning.clone()));
    Ok(warnings)
}
