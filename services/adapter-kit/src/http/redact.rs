//! Traffic as it may be logged.

use std::{borrow::Cow, sync::Arc};

use reqwest::{Url, header::HeaderMap};
use serde_json::Value;

use crate::Connection;

const REDACTED: &str = "[redacted]";
/// Logged bodies are cut after this.
const MAX_LOGGED_BYTES: usize = 4096;
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"];
const SECRET_FIELDS: [&str; 10] = [
    "password",
    "passwd",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "refresh_token",
    "api_key",
    "apikey",
    "session_id",
];

/// Knows which names stand for secrets.
#[derive(Debug, Clone)]
pub(super) struct Redactor {
    fields: Arc<[String]>,
}

impl Redactor {
    pub(super) fn new(further_fields: &[&str]) -> Self {
        let fields = SECRET_FIELDS.iter().chain(further_fields).map(|f| f.to_ascii_lowercase());
        Self { fields: fields.collect() }
    }

    fn is_secret(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.eq_ignore_ascii_case(name))
    }

    /// Text without the values of the connection's credentials.
    pub(super) fn text(&self, text: &str, connection: &Connection) -> String {
        let mut text = Cow::Borrowed(text);
        for secret in connection.secrets().filter(|s| !s.is_empty()) {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, REDACTED));
            }
        }
        text.into_owned()
    }

    /// JSON without secret fields and values. Anything else is told by its size alone: a form, say, holds secrets in an
    /// encoding of its own.
    pub(super) fn body(&self, body: &[u8], connection: &Connection) -> String {
        if body.is_empty() {
            return String::new();
        }
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
            return format!("[{} bytes that are no JSON]", body.len());
        };
        self.value(&mut value, connection);
        let mut text = value.to_string();
        if text.len() > MAX_LOGGED_BYTES {
            text.truncate(text.floor_char_boundary(MAX_LOGGED_BYTES));
            text.push_str("… [cut]");
        }
        text
    }

    fn value(&self, value: &mut Value, connection: &Connection) {
        match value {
            Value::String(text) => *text = self.text(text, connection),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, connection)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    if self.is_secret(name) {
                        *field = Value::String(REDACTED.to_owned());
                    } else {
                        self.value(field, connection);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    pub(super) fn headers(&self, headers: &HeaderMap, connection: &Connection) -> String {
        let mut shown = Vec::new();
        for (name, value) in headers {
            let name = name.as_str();
            let secret = SECRET_HEADERS.contains(&name) || value.is_sensitive() || self.is_secret(name);
            match value.to_str() {
                Ok(value) if !secret => shown.push(format!("{name}: {}", self.text(value, connection))),
                _ => shown.push(format!("{name}: {REDACTED}")),
            }
        }
        shown.join(", ")
    }

    pub(super) fn url(&self, url: &Url, connection: &Connection) -> String {
        let query: Vec<String> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if self.is_secret(&name) { REDACTED.to_owned() } else { self.text(&value, connection) };
                format!("{name}={value}")
            })
            .collect();
        let path = self.text(url.path(), connection);
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}://{host}{port}{path}{mark}{}", url.scheme(), query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::adapter::v1::PosContext;

    use super::*;

    fn connection() -> Connection {
        let credentials = [("api_key".to_owned(), "k\"ey-1".to_owned())].into();
        Connection::new(PosContext { credentials, ..PosContext::default() })
    }

    #[test]
    fn a_logged_body_shows_neither_secret_fields_nor_credentials_anywhere_in_it() {
        let redactor = Redactor::new(&["pin"]);
        let body = r#"{"params":{"args":["db",2,"k\"ey-1"],"Password":"p4ss","deep":[{"PIN":1234}]},"name":"ramen"}"#;
        let shown = redactor.body(body.as_bytes(), &connection());
        assert!(shown.contains("ramen") && shown.contains("db"), "{shown}");
        for secret in ["ey-1", "p4ss", "1234"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(!redactor.body(b"user=a&password=p4ss", &connection()).contains("p4ss"));
    }

    #[test]
    fn logged_headers_and_urls_show_no_secret() {
        let redactor = Redactor::new(&[]);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer abc".parse().unwrap());
        headers.insert("cookie", "session=abc".parse().unwrap());
        headers.insert("x-shop", "k\"ey-1 of shop".parse().unwrap());
        let shown = redactor.headers(&headers, &connection());
        assert!(shown.contains("of shop") && !shown.contains("abc") && !shown.contains("ey-1"), "{shown}");
        let url = Url::parse("http://u:p4ss@pos:8069/menu?api_key=abc&page=2").unwrap();
        assert_eq!(redactor.url(&url, &connection()), "http://pos:8069/menu?api_key=[redacted]&page=2");
    }
}
