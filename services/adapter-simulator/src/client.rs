//! One connection's POS, asked over HTTP.

use posmesh_adapter_kit::{
    Connection, PosError, SettingsError,
    http::{HttpClient, HttpError},
};
use posmesh_kit::cause;
use reqwest::{Method, RequestBuilder, Url};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{descriptor::API_KEY, refusal, wire};

/// A connection's settings; the schema stands in the descriptor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    base_url: String,
    #[serde(default = "external")]
    external_tender: String,
}

fn external() -> String {
    "external".to_owned()
}

/// What the POS answered.
pub(crate) enum Said<T> {
    Yes(T),
    /// With its proof that nothing was recorded, unless the cause says otherwise.
    No(wire::Refusal),
    /// Something that this POS does not say: a proxy's page, say.
    Unclear(String),
}

pub(crate) struct Pos<'a> {
    http: &'a HttpClient,
    connection: &'a Connection,
    base_url: Url,
    external_tender: String,
    api_key: &'a str,
}

impl<'a> Pos<'a> {
    pub(crate) fn new(http: &'a HttpClient, connection: &'a Connection) -> Result<Self, SettingsError> {
        let Settings { base_url, external_tender } = connection.settings()?;
        let parsed = Url::parse(&base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base_url = parsed.ok_or_else(|| SettingsError {
            field: "settings_json".to_owned(),
            message: format!("base_url {base_url:?} is neither http://… nor https://…"),
        })?;
        let api_key = connection.credential(API_KEY)?;
        Ok(Self { http, connection, base_url, external_tender, api_key })
    }

    /// The tender for payments that name none.
    pub(crate) fn external_tender(&self) -> &str {
        &self.external_tender
    }

    pub(crate) fn get(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base_url.clone();
        // Fails only for a URL that cannot be a base; http and https can. Escapes what a segment may not hold.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url.as_str()).bearer_auth(self.api_key)
    }

    /// Sends once.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Said<T>, HttpError> {
        let answer = self.http.send(request, self.connection).await?;
        if answer.status == 200 {
            return Ok(answer.json().map_or_else(
                |error| Said::Unclear(format!("the POS answered 200 with what is not its format: {error}")),
                Said::Yes,
            ));
        }
        Ok(match answer.json::<wire::RefusalBody>() {
            Ok(body) => Said::No(body.error),
            Err(_) => Said::Unclear(format!("the POS answered HTTP {} without saying why", answer.status)),
        })
    }

    /// Asks for what can be asked again.
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, PosError> {
        match self.ask(request).await? {
            Said::Yes(answer) => Ok(answer),
            Said::No(refusal) => Err(refusal::pos_error(&refusal)),
            Said::Unclear(message) => Err(PosError::failed(cause::VENDOR_SERVICE_DOWN, message)),
        }
    }
}
