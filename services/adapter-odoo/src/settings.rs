//! What a connection says about one till of an Odoo server.

use std::collections::BTreeMap;

use posmesh_adapter_kit::{Connection, SettingsError};
use serde::Deserialize;

/// Name of the one credential: an API key of a user in the group "Point of Sale / User".
pub(crate) const API_KEY: &str = "api_key";

/// JSON Schema of [`Settings`].
pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// The connection's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// `https://host[:port]` of the Odoo server.
    pub(crate) base_url: String,
    /// The server's database.
    pub(crate) database: String,
    /// The till: a `pos.config`.
    pub(crate) pos_config: IdOrName,
    /// The method that payments taken elsewhere are booked on, unless the tender names one.
    #[serde(default)]
    pub(crate) external_payment_method: Option<IdOrName>,
    /// Odoo's language codes to BCP 47 tags. Empty: all languages that are active in Odoo.
    #[serde(default)]
    pub(crate) languages: BTreeMap<String, String>,
    /// What changes the taxes of lines that are taken away. Absent: the same taxes as in the store.
    #[serde(default)]
    pub(crate) takeaway_fiscal_position: Option<IdOrName>,
    /// The preset that marks orders to take away.
    #[serde(default)]
    pub(crate) takeaway_preset: Option<IdOrName>,
    /// The words of the note by which staff see that a table wants to pay.
    #[serde(default = "bill_request_text")]
    pub(crate) bill_request_text: String,
}

fn bill_request_text() -> String {
    "Bill requested".to_owned()
}

/// A record by its id, or by its exact name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum IdOrName {
    Id(i64),
    Name(String),
}

impl IdOrName {
    /// Whether it stands for the record.
    pub(crate) fn is(&self, id: i64, name: &str) -> bool {
        match self {
            Self::Id(wanted) => *wanted == id,
            Self::Name(wanted) => wanted == name,
        }
    }
}

impl std::fmt::Display for IdOrName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

impl Settings {
    /// Reads and checks the settings of a connection.
    pub(crate) fn of(connection: &Connection) -> Result<Self, SettingsError> {
        let mut settings: Self = connection.settings()?;
        while settings.base_url.ends_with('/') {
            settings.base_url.pop();
        }
        let scheme = reqwest::Url::parse(&settings.base_url).map(|url| url.scheme().to_owned());
        if !scheme.is_ok_and(|scheme| scheme == "http" || scheme == "https") {
            return Err(wrong("base_url", "must be http:// or https:// with the host of the Odoo server"));
        }
        // It goes into a header.
        if settings.database.is_empty() || !settings.database.chars().all(|c| c.is_ascii_graphic()) {
            return Err(wrong("database", "must be the name of the Odoo database, in ASCII"));
        }
        Ok(settings)
    }
}

fn wrong(field: &str, message: &str) -> SettingsError {
    SettingsError { field: format!("settings_json.{field}"), message: message.to_owned() }
}
