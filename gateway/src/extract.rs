//! What handlers take from a request. Each refusal is a problem.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequest, FromRequestParts, RawPathParams,
        rejection::{BytesRejection, FailedToBufferBody, JsonRejection, QueryRejection},
    },
    http::request::Parts,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use posmesh_proto::order::v1::{Check, CheckState, GetCheckRequest};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    app::{self, App},
    inputs,
    problem::{Place, Problem},
    token::{Claims, GuestClaims, TokenError},
};

/// The longest wait that `Prefer: wait=` can ask for, as in PlaceOrder.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);
/// PlaceOrder's limit.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// As in PlaceOrder.
const MAX_LANGUAGE_CHARS: usize = 64;
const MIN_KEY_CHARS: usize = 16;
const MAX_KEY_CHARS: usize = 255;

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(crate) struct Json<T>(pub(crate) T);

/// The parameters in the path, without control characters.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = RawPathParams::from_request_parts(parts, state).await.map_err(|_| not_found())?;
        for (name, text) in &texts {
            if let Some(problem) = inputs::refused_character(text) {
                return Err(Problem::field("INVALID_PARAMETER", Place::Path, name, problem));
            }
        }
        // One that does not fit its parameters' types leads nowhere.
        let path = axum::extract::Path::from_request_parts(parts, state).await.map_err(|_| not_found())?;
        Ok(Self(path.0))
    }
}

/// The parameters behind the question mark.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match &rejection {
            JsonRejection::JsonDataError(error) => match source::<serde_path_to_error::Error<serde_json::Error>>(error)
            {
                Some(error) => {
                    Self::field("INVALID_BODY", Place::Body, &pointer(error.path()), error.inner().to_string())
                }
                None => Self::new(StatusCode::BAD_REQUEST, "INVALID_BODY", rejection.body_text()),
            },
            JsonRejection::JsonSyntaxError(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "MALFORMED_JSON",
                "the body is no JSON document, or one that is nested too deep; check quotes, commas and brackets",
            ),
            JsonRejection::MissingJsonContentType(_) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "send the body as Content-Type: application/json",
            ),
            JsonRejection::BytesRejection(BytesRejection::FailedToBufferBody(
                FailedToBufferBody::LengthLimitError(_),
            )) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                "the body is longer than limits.max_body_bytes of the bootstrap",
            ),
            _ => Self::new(StatusCode::BAD_REQUEST, "INVALID_BODY", "the body could not be read to its end"),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        match source::<serde_path_to_error::Error<serde::de::value::Error>>(&rejection) {
            Some(error) => {
                Self::field("INVALID_PARAMETER", Place::Query, &error.path().to_string(), error.inner().to_string())
            }
            None => Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", rejection.body_text()),
        }
    }
}

/// 404 about the path itself.
pub(crate) fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NO_SUCH_ROUTE", "nothing is here; GET /openapi.json lists what there is")
}

fn source<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |e| (*e).source()).find_map(|e| e.downcast_ref())
}

/// The JSON pointer (RFC 6901) of the place at which parsing failed.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// The token of an `Authorization: Bearer` header.
pub(crate) struct Bearer(String);

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| {
            // RFC 9110: schemes are case-insensitive.
            scheme.eq_ignore_ascii_case("bearer")
        });
        match token {
            Some((_, token)) => Ok(Self(token.trim().to_owned())),
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "TOKEN_REQUIRED",
                "send the token as Authorization: Bearer TOKEN",
            )),
        }
    }
}

impl Bearer {
    /// What the token says, if it is of this kind, ours and not expired.
    pub(crate) fn open<C: Claims>(&self, app: &App) -> Result<C, Problem> {
        app.signer.open(&self.0, app::now_unix_s()).map_err(|error| match error {
            TokenError::Invalid => {
                Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_INVALID", "this token is not valid here")
            }
            TokenError::Expired => {
                Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED", "this token has expired; get a new one")
            }
        })
    }

    /// Whether it equals `secret`; neither its content nor its length shows in the time that it takes.
    pub(crate) fn equals(&self, secret: &str) -> bool {
        Sha256::digest(&self.0).ct_eq(&Sha256::digest(secret)).into()
    }
}

/// A guest whose check may be over by now: enough to place a round. The order service refuses one on a closed check, and
/// answers one that it took before, which a guest who never saw the answer must be able to repeat.
pub(crate) struct Seat(pub(crate) GuestClaims);

impl FromRequestParts<Arc<App>> for Seat {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self(Bearer::from_request_parts(parts, app).await?.open(app)?))
    }
}

/// A guest whose visit is not over: the check is open, or was joined into one that takes its place.
pub(crate) struct Guest {
    pub(crate) store_id: String,
    pub(crate) check: Check,
}

impl FromRequestParts<Arc<App>> for Guest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Seat(claims) = Seat::from_request_parts(parts, app).await?;
        let request = GetCheckRequest { check_id: claims.check_id, include_bill: false };
        let check = app.orders.clone().get_check(request).await?.into_inner().check.unwrap_or_default();
        if check.state() == CheckState::Closed {
            return Err(check_closed());
        }
        Ok(Self { store_id: claims.store_id, check })
    }
}

/// The guest's visit is over.
pub(crate) fn check_closed() -> Problem {
    let detail = "this visit is over; scan the code at the table to begin a new one";
    Problem::new(StatusCode::GONE, "CHECK_CLOSED", detail)
}

/// The `Idempotency-Key` of a request that places something.
pub(crate) struct IdempotencyKey(String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wrong = |reason, detail: String| Err(Problem::field(reason, Place::Header, "Idempotency-Key", detail));
        let Some(value) = parts.headers.get("idempotency-key") else {
            return wrong(
                "IDEMPOTENCY_KEY_REQUIRED",
                "send a new UUID with each new order, and the same one with each repetition".to_owned(),
            );
        };
        // The IETF draft writes it as a quoted string, most clients do not.
        let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
        if !(MIN_KEY_CHARS..=MAX_KEY_CHARS).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let rule = format!("must be {MIN_KEY_CHARS} to {MAX_KEY_CHARS} printable ASCII characters, best a UUID");
            return wrong("INVALID_IDEMPOTENCY_KEY", rule);
        }
        Ok(Self(key.to_owned()))
    }
}

impl IdempotencyKey {
    /// The order service's request_id: within `scope` (product and store, or check), so that the keys of guests who do
    /// not know each other cannot meet.
    pub(crate) fn request_id(&self, scope: &str) -> String {
        let plain = format!("{scope}:{}", self.0);
        if plain.len() <= MAX_REQUEST_ID_CHARS && plain.bytes().all(|b| b.is_ascii_graphic()) {
            return plain;
        }
        // No plain one begins so: a scope begins with a product's name.
        format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(plain)))
    }
}

/// How long the answer may wait for the POS: `Prefer: wait=SECONDS` (RFC 7240), at most [`MAX_WAIT`]. What cannot be
/// read is ignored, as that RFC says.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = preferences.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').parse::<u64>().ok()).flatten()
    })?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The language that the guest likes best: of `Accept-Language` (RFC 9110 §12.5.4) the first tag of the highest weight.
/// Empty where it names none that can be read; the store's own language is used then.
pub(crate) fn language(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    let mut best = ("", 0.0);
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
        let is_tag = (1..=MAX_LANGUAGE_CHARS).contains(&tag.len())
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some(weight) = weight.filter(|weight| is_tag && *weight > best.1) {
            best = (tag, weight);
        }
    }
    best.0.to_owned()
}

/// The entity tags of an `If-None-Match` header, without quotes and weakness marks; `*` stands for itself.
pub(crate) fn if_none_match(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned())
        .filter(|tag| !tag.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_wait_is_read_from_any_preference_and_never_longer_than_the_limit() {
        let cases: [(&[&str], Option<u64>); 8] = [
            (&["wait=5"], Some(5)),
            (&["respond-async, WAIT = \"7\"; x=1"], Some(7)),
            (&["return=minimal", "wait=3"], Some(3)),
            (&["wait=31"], Some(30)),
            (&["wait=99999999999999999999"], None),
            (&["wait=-1"], None),
            (&["wait"], None),
            (&[], None),
        ];
        for (values, seconds) in cases {
            assert_eq!(preferred_wait(&headers("prefer", values)), seconds.map(Duration::from_secs), "{values:?}");
        }
    }

    #[test]
    fn the_language_that_is_liked_best_counts_and_what_cannot_be_read_does_not() {
        let cases: [(&[&str], &str); 7] = [
            (&["ko-KR, ko;q=0.9, en;q=0.8"], "ko-KR"),
            (&["en;q=0.5, ja ; q=0.7", "zh-Hant;q=0.6"], "ja"),
            (&["*, en;q=0.1"], "en"),
            (&["fr;q=0, de;q=x"], ""),
            (&["日本語, e n"], ""),
            (&[&"x".repeat(65)], ""),
            (&[], ""),
        ];
        for (values, expected) in cases {
            assert_eq!(language(&headers("accept-language", values)), expected, "{values:?}");
        }
    }

    #[test]
    fn entity_tags_are_read_one_by_one() {
        let tags = if_none_match(&headers("if-none-match", &["\"a\", W/\"b\"", "*"]));
        assert_eq!(tags, ["a", "b", "*"]);
    }

    #[test]
    fn a_request_id_fits_the_contract_however_long_the_key_is() {
        let key = |length: usize| IdempotencyKey("k".repeat(length));
        assert_eq!(key(16).request_id("togo:shibuya"), format!("togo:shibuya:{}", "k".repeat(16)));
        let long = key(255).request_id("togo:shibuya");
        assert!(long.len() <= MAX_REQUEST_ID_CHARS && long.starts_with("sha256:"), "{long}");
        assert_ne!(long, key(254).request_id("togo:shibuya"));
        assert_ne!(long, key(255).request_id("togo:ginza"));
        let odd = key(16).request_id("table:伝票");
        assert!(odd.bytes().all(|b| b.is_ascii_graphic()), "{odd}");
    }
}
