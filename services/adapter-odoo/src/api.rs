//! Odoo's JSON-2 API: `POST /json/2/<model>/<method>` with named arguments and a bearer key.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use posmesh_adapter_kit::{
    Connection, PosError, SettingsError, Unplaced,
    http::{Answer, HttpClient, HttpError},
};
use posmesh_kit::cause;
use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::settings::{API_KEY, Settings};

/// The one major version whose behaviour this adapter knows.
pub(crate) const MAJOR_VERSION: i64 = 19;

/// Why a call brought no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer of Odoo's.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Odoo itself answered with an error: its transaction is over.
    #[error("{0}")]
    Refused(Refusal),
    /// Something answered, but not Odoo's API as it should: a proxy, another program, another database.
    #[error("{message}")]
    Strange {
        /// One of [`posmesh_kit::cause`].
        cause: &'static str,
        /// For staff and logs.
        message: String,
    },
}

/// An error in Odoo's own words, without its traceback.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Odoo answered {status}: {message} ({name})")]
pub(crate) struct Refusal {
    /// HTTP status. Below 500 the transaction was rolled back; from 500 on an error after the commit is possible.
    pub(crate) status: u16,
    /// The exception's full name, e.g. `odoo.exceptions.UserError`.
    pub(crate) name: String,
    /// For people.
    pub(crate) message: String,
}

impl Refusal {
    /// The shared cause, as far as name and status tell it apart.
    fn cause(&self) -> &'static str {
        match self.status {
            401 => cause::CREDENTIALS_REJECTED,
            // The key's user lacks a right; a module that is not installed lacks a model or a field.
            403 => cause::MISCONFIGURED,
            404 if self.name.starts_with("werkzeug.") => cause::MISCONFIGURED,
            429 => cause::RATE_LIMITED,
            _ if self.message.starts_with("Invalid field ") => cause::MISCONFIGURED,
            400..=499 => cause::MASTER_MISMATCH,
            _ => cause::VENDOR_SERVICE_DOWN,
        }
    }

    fn advice(&self) -> &'static str {
        match self.status {
            401 => "; make a new API key in Odoo and put the connection with it",
            403 => "; give the key's user the group Point of Sale / User, and access to the till's company",
            404 if self.name.starts_with("werkzeug.") => "; install the modules point_of_sale and pos_restaurant",
            _ if self.message.starts_with("Invalid field ") => "; install the modules point_of_sale and pos_restaurant",
            _ => "",
        }
    }
}

impl ApiError {
    fn into_cause_and_message(self) -> (&'static str, String) {
        match self {
            Self::Http(HttpError::NotSent { cause, message } | HttpError::InDoubt { cause, message }) => {
                (cause, format!("Odoo gives no answer ({message}): see whether its server runs, and base_url"))
            }
            Self::Strange { cause, message } => (cause, message),
            Self::Refused(refusal) => (refusal.cause(), format!("{refusal}{}", refusal.advice())),
        }
    }

    /// For a read before the order's write: nothing of the order was sent.
    pub(crate) fn before_the_write(self) -> Unplaced {
        let (cause, message) = self.into_cause_and_message();
        Unplaced::not_handed_over(cause, message)
    }

    /// For a read after the order's write.
    pub(crate) fn after_the_write(self) -> Unplaced {
        let (cause, message) = self.into_cause_and_message();
        Unplaced::in_doubt(cause, message)
    }
}

impl From<ApiError> for PosError {
    fn from(error: ApiError) -> Self {
        let (cause, message) = error.into_cause_and_message();
        PosError::failed(cause, message)
    }
}

/// The Odoo servers whose version was asked and is supported.
#[derive(Debug, Clone, Default)]
pub(crate) struct SupportedServers(Arc<Mutex<HashSet<String>>>);

impl SupportedServers {
    fn contains(&self, base_url: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(base_url)
    }

    fn set(&self, base_url: &str, supported: bool) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if supported {
            servers.insert(base_url.to_owned());
        } else {
            servers.remove(base_url);
        }
    }
}

/// Calls of one connection.
pub(crate) struct Api<'a> {
    http: &'a HttpClient,
    supported: &'a SupportedServers,
    connection: &'a Connection,
    settings: &'a Settings,
    api_key: &'a str,
}

#[derive(Deserialize)]
struct ErrorBody {
    name: String,
    message: String,
    // Odoo's own errors always carry it; a proxy's JSON does not.
    #[serde(rename = "debug")]
    _debug: Value,
}

#[derive(Deserialize)]
struct VersionBody {
    version: String,
    version_info: Vec<Value>,
}

impl<'a> Api<'a> {
    pub(crate) fn new(
        http: &'a HttpClient,
        supported: &'a SupportedServers,
        connection: &'a Connection,
        settings: &'a Settings,
    ) -> Result<Self, SettingsError> {
        Ok(Self { http, supported, connection, settings, api_key: connection.credential(API_KEY)? })
    }

    /// Asks for the version unless this process knows that the server's is supported.
    pub(crate) async fn require_supported(&self) -> Result<(), ApiError> {
        if self.supported.contains(&self.settings.base_url) {
            return Ok(());
        }
        self.version().await.map(drop)
    }

    /// The server's version, e.g. `19.0`. Another major version than ours is an error that names both.
    pub(crate) async fn version(&self) -> Result<String, ApiError> {
        let url = format!("{}/web/version", self.settings.base_url);
        let answer = self.http.send(self.http.request(Method::GET, &url), self.connection).await?;
        let version = understand_version(&answer);
        self.supported.set(&self.settings.base_url, version.is_ok());
        version
    }

    /// Calls a method. `arguments` are named; `ids` and `context` are among them.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        model: &str,
        method: &str,
        arguments: &Value,
    ) -> Result<T, ApiError> {
        let url = format!("{}/json/2/{model}/{method}", self.settings.base_url);
        let request = self
            .http
            .request(Method::POST, &url)
            .bearer_auth(self.api_key)
            .header("X-Odoo-Database", &self.settings.database)
            .json(arguments);
        let answer = self.http.send(request, self.connection).await?;
        match understand(&answer, &format!("{model}.{method}")) {
            Err(ApiError::Strange { cause: cause::MISCONFIGURED, .. }) => Err(self.without_database().await),
            result => result,
        }
    }

    /// Why Odoo, which is at this address, does not know the database.
    async fn without_database(&self) -> ApiError {
        // It knows none while its database server is down.
        let (cause, message) = if self.has_database_server().await {
            let database = &self.settings.database;
            let message = format!(
                "Odoo has no database {database:?}: it was dropped, renamed or takes no connections; bring it back, or \
                 correct the setting database"
            );
            (cause::MISCONFIGURED, message)
        } else {
            let message = "Odoo runs, but cannot reach its database server; start PostgreSQL".to_owned();
            (cause::VENDOR_SERVICE_DOWN, message)
        };
        ApiError::Strange { cause, message }
    }

    /// False only where Odoo says so.
    async fn has_database_server(&self) -> bool {
        #[derive(Deserialize)]
        struct Health {
            db_server_status: bool,
        }
        let url = format!("{}/web/health?db_server_status=1", self.settings.base_url);
        let health = self.http.send(self.http.request(Method::GET, &url), self.connection).await;
        health.ok().and_then(|answer| answer.json::<Health>().ok()).is_none_or(|health| health.db_server_status)
    }

    /// The records that match, in the language and company of `scope`.
    pub(crate) async fn search_read<T: DeserializeOwned>(
        &self,
        model: &str,
        domain: Value,
        fields: &[&str],
        scope: &Scope<'_>,
    ) -> Result<Vec<T>, ApiError> {
        let arguments = json!({"domain": domain, "fields": fields, "context": scope.context()});
        self.call(model, "search_read", &arguments).await
    }
}

/// In whose eyes records are read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    /// The till's company. `None` before it is known.
    pub(crate) company_id: Option<i64>,
    /// Odoo's language code; `None`: the user's.
    pub(crate) language: Option<&'a str>,
    /// Whether archived records are found too.
    pub(crate) archived: bool,
}

impl Scope<'_> {
    pub(crate) fn context(&self) -> Value {
        let mut context = serde_json::Map::new();
        if let Some(company_id) = self.company_id {
            context.insert("allowed_company_ids".into(), json!([company_id]));
        }
        if let Some(language) = self.language {
            context.insert("lang".into(), json!(language));
        }
        if self.archived {
            context.insert("active_test".into(), json!(false));
        }
        Value::Object(context)
    }
}

fn understand<T: DeserializeOwned>(answer: &Answer, what: &str) -> Result<T, ApiError> {
    if answer.status == 200 {
        return answer.json().map_err(|error| ApiError::Strange {
            cause: cause::VENDOR_SERVICE_DOWN,
            message: format!("the answer to {what} is not what Odoo {MAJOR_VERSION} sends: {error}"),
        });
    }
    if let Ok(ErrorBody { name, message, .. }) = answer.json() {
        return Err(ApiError::Refused(Refusal { status: answer.status, name, message }));
    }
    let (cause, advice) = match answer.status {
        404 => {
            (cause::MISCONFIGURED, "no such Odoo database or no Odoo 19 at this address; check base_url and database")
        }
        429 => (cause::RATE_LIMITED, "a proxy before Odoo limits the calls"),
        _ => (cause::VENDOR_SERVICE_DOWN, "the answer is not Odoo's own; look at the proxy and the server's log"),
    };
    Err(ApiError::Strange { cause, message: format!("{what} was answered with {}: {advice}", answer.status) })
}

fn understand_version(answer: &Answer) -> Result<String, ApiError> {
    let body: Option<VersionBody> = (answer.status == 200).then(|| answer.json().ok()).flatten();
    let Some(VersionBody { version, version_info }) = body else {
        let (cause, what) = match answer.status {
            500..=599 => (cause::VENDOR_SERVICE_DOWN, "the server has a fault of its own; look at its log".to_owned()),
            _ => (cause::MISCONFIGURED, format!("no Odoo {MAJOR_VERSION} is at this address; check base_url")),
        };
        let message = format!("/web/version was answered with {}: {what}", answer.status);
        return Err(ApiError::Strange { cause, message });
    };
    if version_info.first().and_then(Value::as_i64) == Some(MAJOR_VERSION) {
        return Ok(version);
    }
    let message = format!("this is Odoo {version}; the adapter supports Odoo {MAJOR_VERSION}");
    Err(ApiError::Strange { cause: cause::MISCONFIGURED, message })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    fn cause_of(status: u16, body: &str) -> (&'static str, String) {
        understand::<Value>(&answer(status, body), "pos.config.read").unwrap_err().into_cause_and_message()
    }

    #[test]
    fn odoos_errors_are_told_apart_by_name_and_never_show_the_traceback() {
        let error = |name: &str, message: &str| {
            json!({"name": name, "message": message, "arguments": [], "context": {}, "debug": "Traceback /opt/odoo"})
                .to_string()
        };
        let (cause, message) = cause_of(401, &error("werkzeug.exceptions.Unauthorized", "Invalid apikey"));
        assert_eq!(cause, cause::CREDENTIALS_REJECTED);
        assert!(message.contains("Invalid apikey") && !message.contains("Traceback"), "{message}");
        let (cause, message) = cause_of(403, &error("odoo.exceptions.AccessError", "You are not allowed"));
        assert_eq!(cause, cause::MISCONFIGURED);
        assert!(message.contains("Point of Sale / User"), "{message}");
        let nope = error("werkzeug.exceptions.NotFound", "the model 'restaurant.table' does not exist");
        assert_eq!(cause_of(404, &nope).0, cause::MISCONFIGURED);
        let field = error("builtins.ValueError", "Invalid field 'floor_ids' on 'pos.config'");
        assert_eq!(cause_of(500, &field).0, cause::MISCONFIGURED);
        assert_eq!(cause_of(500, &error("psycopg2.OperationalError", "gone")).0, cause::VENDOR_SERVICE_DOWN);
    }

    #[test]
    fn a_missing_database_and_a_proxy_are_not_odoos_own_refusals() {
        assert_eq!(cause_of(404, "<!doctype html><title>404</title>").0, cause::MISCONFIGURED);
        assert_eq!(cause_of(502, "<html>Bad Gateway</html>").0, cause::VENDOR_SERVICE_DOWN);
        assert_eq!(cause_of(503, r#"{"message":"no upstream"}"#).0, cause::VENDOR_SERVICE_DOWN);
    }

    #[test]
    fn another_major_version_is_refused_by_name() {
        let body = |major: i64| format!(r#"{{"version_info":[{major},0,0,"final",0,""],"version":"{major}.0"}}"#);
        assert_eq!(understand_version(&answer(200, &body(19))).unwrap(), "19.0");
        let (cause, message) = understand_version(&answer(200, &body(20))).unwrap_err().into_cause_and_message();
        assert_eq!(cause, cause::MISCONFIGURED);
        assert!(message.contains("Odoo 20.0") && message.contains("supports Odoo 19"), "{message}");
        assert!(understand_version(&answer(404, "<html>")).is_err());
    }
}
