//! The store's tie to a POS that one call runs on.

use std::collections::BTreeMap;

use posmesh_kit::Failure;
use posmesh_proto::adapter::v1::PosContext;
use serde::de::DeserializeOwned;

/// What the router says about the connection of a call. `Debug` shows no credential.
#[derive(Clone)]
pub struct Connection {
    /// The brand owner.
    pub tenant_id: String,
    /// Unique within the tenant.
    pub connection_id: String,
    /// The store that the POS stands in.
    pub store_id: String,
    /// Changes whenever settings or credentials do: what an adapter caches per connection (a session, say) belongs to
    /// one revision.
    pub revision: i64,
    settings_json: String,
    credentials: BTreeMap<String, String>,
}

/// Settings or credentials that the adapter cannot work with. Nothing was sent to the POS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SettingsError {
    /// The field that is wrong, e.g. `settings_json` or `credentials.api_key`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Connection {
    /// From what the router sent. Adapters need it in tests only: the server makes it for each call.
    pub fn new(context: PosContext) -> Self {
        Self {
            tenant_id: context.tenant_id,
            connection_id: context.connection_id,
            store_id: context.store_id,
            revision: context.revision,
            settings_json: context.settings_json,
            credentials: context.credentials.into_iter().collect(),
        }
    }

    /// The settings in the adapter's own type. To be read before the first byte goes to the POS.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        serde_json::from_str(&self.settings_json)
            .map_err(|e| SettingsError { field: "settings_json".to_owned(), message: e.to_string() })
    }

    /// A credential by its name in the descriptor. To be read before the first byte goes to the POS.
    pub fn credential(&self, name: &str) -> Result<&str, SettingsError> {
        self.credentials.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or_else(|| SettingsError {
            field: format!("credentials.{name}"),
            message: "is missing; put the connection with it".to_owned(),
        })
    }

    /// The values that no log may show.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.credentials.values().map(String::as_str)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("tenant_id", &self.tenant_id)
            .field("connection_id", &self.connection_id)
            .field("store_id", &self.store_id)
            .field("revision", &self.revision)
            .field("settings_json", &self.settings_json)
            .field("credentials", &format_args!("{} [redacted]", self.credentials.len()))
            .finish()
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Failure::field("SETTINGS_INVALID", error.field, error.message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Settings {
        url: String,
    }

    fn connection(settings_json: &str) -> Connection {
        Connection::new(PosContext {
            settings_json: settings_json.into(),
            credentials: [("api_key".to_owned(), "s3cret".to_owned()), ("empty".to_owned(), String::new())].into(),
            ..PosContext::default()
        })
    }

    #[test]
    fn settings_that_do_not_fit_the_adapters_type_are_named() {
        assert_eq!(connection(r#"{"url":"http://pos"}"#).settings::<Settings>().unwrap().url, "http://pos");
        let error = connection(r#"{"url":7}"#).settings::<Settings>().unwrap_err();
        assert_eq!(error.field, "settings_json");
        assert_eq!(Failure::from(error).reason(), "SETTINGS_INVALID");
    }

    #[test]
    fn a_missing_or_empty_credential_is_named_and_none_is_ever_shown() {
        let connection = connection("{}");
        assert_eq!(connection.credential("api_key").unwrap(), "s3cret");
        assert_eq!(connection.credential("empty").unwrap_err().field, "credentials.empty");
        assert_eq!(connection.credential("token").unwrap_err().field, "credentials.token");
        assert!(!format!("{connection:?}").contains("s3cret"));
    }
}
