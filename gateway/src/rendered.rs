//! Menus as they go to guests: written as JSON once and compressed once, however many read them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use posmesh_kit::{Channel, Failure, ambient, byte_cache::ByteCache};
use posmesh_proto::{
    catalog::v1::{self as catalog, GetMenuRequest, catalog_service_client::CatalogServiceClient},
    common::v1::{self as common, Product},
};
use prost_types::Timestamp;
use tokio::time::Instant;
use tonic::Code;

use crate::{
    config::Config,
    extract,
    gates::Gate,
    menu::Menu,
    problem::Problem,
    views::{ProductName, ServiceMode},
};

/// Whose menu is asked for, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) store_id: String,
    pub(crate) product: ProductName,
    pub(crate) locale: String,
    pub(crate) service_mode: Option<ServiceMode>,
    /// Absent: now.
    pub(crate) time: Option<Timestamp>,
}

/// A menu with the gate that stood beside it.
#[derive(Debug)]
struct Rendered {
    menu_etag: String,
    gate_tag: String,
    /// When the catalog service was last asked, of the times that it said that this menu stands.
    stood: Mutex<Instant>,
    json: Bytes,
    gzip: Bytes,
}

#[derive(Debug)]
pub(crate) struct Menus {
    catalog: CatalogServiceClient<Channel>,
    max_age: Duration,
    rendered: ByteCache<Question, Rendered>,
}

impl Menus {
    pub(crate) fn new(catalog: CatalogServiceClient<Channel>, config: &Config) -> Self {
        Self { catalog, max_age: config.menu_max_age, rendered: ByteCache::new(config.menu_cache_bytes) }
    }

    /// The menu beside this gate, as what these request headers ask for: plain, compressed, or only that it still stands.
    pub(crate) async fn answer(
        &self,
        question: Question,
        gate: Option<Gate>,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        Ok(self.current(question, gate).await?.answer(headers))
    }

    async fn current(&self, question: Question, gate: Option<Gate>) -> Result<Arc<Rendered>, Problem> {
        let gate_tag = gate_tag(gate.as_ref());
        let known = self.rendered.get(&question).filter(|known| known.gate_tag == gate_tag);
        if let Some(known) = known.as_ref().filter(|known| known.stood().elapsed() < self.max_age) {
            return Ok(Arc::clone(known));
        }
        let asked = Instant::now();
        let held = known.as_ref().map_or_else(String::new, |known| known.menu_etag.clone());
        let answer = self.ask(&question, held).await?;
        match (answer.menu, known) {
            (Some(menu), _) => self.render(question, (menu, answer.etag, asked), (gate, gate_tag)).await,
            (None, Some(known)) => {
                let mut stood = known.stood();
                *stood = asked.max(*stood);
                drop(stood);
                Ok(known)
            }
            (None, None) => {
                let message = "the catalog service says that a menu is unchanged which nobody holds; ask again";
                Err(Failure::new(Code::Unavailable, "MENU_NOT_GIVEN", message).into())
            }
        }
    }

    async fn ask(&self, question: &Question, if_none_match: String) -> Result<catalog::GetMenuResponse, Problem> {
        let request = GetMenuRequest {
            store_id: question.store_id.clone(),
            product: Product::from(question.product).into(),
            locale: question.locale.clone(),
            service_mode: question.service_mode.map_or(common::ServiceMode::Unspecified, Into::into).into(),
            if_none_match,
            time: question.time,
        };
        Ok(self.catalog.clone().get_menu(request).await?.into_inner())
    }

    async fn render(
        &self,
        question: Question,
        (menu, menu_etag, asked): (catalog::Menu, String, Instant),
        (gate, gate_tag): (Option<Gate>, String),
    ) -> Result<Arc<Rendered>, Problem> {
        let default_mode = question.service_mode.unwrap_or(match question.product {
            ProductName::Togo => ServiceMode::TakeAway,
            ProductName::Table | ProductName::Kiosk => ServiceMode::EatIn,
        });
        let product = question.product;
        let write = move || {
            let json = serde_json::to_vec(&Menu::new(menu, product, default_mode, gate))?;
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(&json)?;
            std::io::Result::Ok((Bytes::from(json), Bytes::from(gzip.finish()?)))
        };
        let written = ambient::blocking(write).await.map_err(std::io::Error::other).flatten();
        let (json, gzip) = written.map_err(|error| Failure::internal("a menu cannot be written", error))?;
        let bytes = json.len() + gzip.len();
        let rendered = Arc::new(Rendered { menu_etag, gate_tag, stood: Mutex::new(asked), json, gzip });
        // A time is asked for once, by one guest; what all read would be lost for it.
        if question.time.is_none() {
            self.rendered.insert(question, Arc::clone(&rendered), bytes);
        }
        Ok(rendered)
    }
}

impl Rendered {
    fn stood(&self) -> MutexGuard<'_, Instant> {
        self.stood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let etag = format!("{}.{}", self.menu_etag, self.gate_tag);
        let is_held = extract::if_none_match(headers).iter().any(|tag| *tag == etag || tag == "*");
        let takes_gzip = accepts_gzip(headers);
        let body = if takes_gzip { &self.gzip } else { &self.json };
        let mut response = Response::new(if is_held { Body::empty() } else { body.clone().into() });
        let head = response.headers_mut();
        // Weak: it stands for the menu, compressed or not (RFC 9110, 8.8.3.3).
        if let Ok(etag) = HeaderValue::try_from(format!("W/\"{etag}\"")) {
            head.insert(header::ETAG, etag);
        }
        // Keep it, but ask each time whether it still stands: a stock-out must show at once.
        head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        head.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if is_held {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if takes_gzip {
            head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Equal as long as the gate is.
fn gate_tag(gate: Option<&Gate>) -> String {
    let mut hasher = DefaultHasher::new();
    gate.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// Whether `Accept-Encoding` lists gzip, or anything, and does not forbid it by a weight of zero (RFC 9110, 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings = values.flat_map(|value| value.split(',')).map(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        (name.trim().to_ascii_lowercase(), weight.unwrap_or(1.0) > 0.0)
    });
    let (mut named, mut any) = (None, false);
    for (name, wanted) in codings {
        match name.as_str() {
            "gzip" | "x-gzip" => named = Some(wanted),
            "*" => any = wanted,
            _ => {}
        }
    }
    named.unwrap_or(any)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_menu_is_compressed_for_whoever_takes_gzip() {
        for (accepted, gzip) in [
            ("gzip", true),
            ("br;q=1.0, GZIP;q=0.8, *;q=0.1", true),
            ("*", true),
            ("deflate, gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("br", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), gzip, "{accepted:?}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
