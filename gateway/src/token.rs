//! Signed, compact bearer tokens: what a guest's browser holds instead of an account.
//!
//! A token is `base64url(payload) "." base64url(HMAC-SHA256(key, purpose NUL payload))`. The purpose keeps a token of
//! one kind from being taken for another. Tokens are not encrypted: they hold ids only.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use posmesh_kit::config::ConfigError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::{config::Secret, views::ProductName};

const KEY_BYTES: usize = 32;
/// Of SHA-256.
const MAC_BYTES: usize = 32;
/// Far above what we issue; a longer one is not even decoded.
const MAX_TOKEN_CHARS: usize = 2048;

/// What a token says, and of which kind it is.
pub(crate) trait Claims: Serialize + DeserializeOwned {
    const PURPOSE: &'static str;
}

/// A guest at a table: may act on one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestClaims {
    #[serde(rename = "s")]
    pub(crate) store_id: String,
    #[serde(rename = "c")]
    pub(crate) check_id: String,
}

impl Claims for GuestClaims {
    const PURPOSE: &'static str = "posmesh/guest/1";
}

/// Who placed a ToGo or Kiosk order: may read, watch and cancel it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderClaims {
    #[serde(rename = "p")]
    pub(crate) product: ProductName,
    #[serde(rename = "s")]
    pub(crate) store_id: String,
    #[serde(rename = "o")]
    pub(crate) order_id: String,
}

impl Claims for OrderClaims {
    const PURPOSE: &'static str = "posmesh/order/1";
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// Not ours, or altered, or of another kind.
    Invalid,
    /// Ours, but its time is over.
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Payload<C> {
    #[serde(rename = "e")]
    expires_unix_s: i64,
    #[serde(rename = "c")]
    claims: C,
}

/// The signing keys: the first one signs, all of them verify.
#[derive(Clone)]
pub(crate) struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl Signer {
    pub(crate) fn new(keys: &Secret) -> Result<Self, ConfigError> {
        let wrong = |what: &str| ConfigError::invalid("gateway.signing_keys", what);
        let mut parsed = Vec::new();
        for text in keys.expose().split(',').map(str::trim).filter(|key| !key.is_empty()) {
            let bytes = STANDARD.decode(text).map_err(|_| wrong("a key is no base64"))?;
            if bytes.len() != KEY_BYTES {
                return Err(wrong("a key is not 32 bytes long"));
            }
            parsed.push(Hmac::new_from_slice(&bytes).map_err(|_| wrong("a key is not usable"))?);
        }
        if parsed.is_empty() {
            return Err(wrong("no key; make one with `openssl rand -base64 32`"));
        }
        Ok(Self { keys: parsed })
    }

    /// A token that says `claims` until `expires_unix_s`.
    pub(crate) fn seal<C: Claims>(&self, claims: C, expires_unix_s: i64) -> String {
        let payload = Payload { expires_unix_s, claims };
        // Plain structs of strings and numbers: serializing them cannot fail.
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        let mac = self.sign(C::PURPOSE, &payload);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(mac))
    }

    /// What a token says, if it is ours and its time is not over.
    pub(crate) fn open<C: Claims>(&self, token: &str, now_unix_s: i64) -> Result<C, TokenError> {
        if token.len() > MAX_TOKEN_CHARS {
            return Err(TokenError::Invalid);
        }
        let (payload, mac) = token.split_once('.').ok_or(TokenError::Invalid)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Invalid)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| TokenError::Invalid)?;
        if mac.len() != MAC_BYTES || !self.verify(C::PURPOSE, &payload, &mac) {
            return Err(TokenError::Invalid);
        }
        let payload: Payload<C> = serde_json::from_slice(&payload).map_err(|_| TokenError::Invalid)?;
        if payload.expires_unix_s <= now_unix_s {
            return Err(TokenError::Expired);
        }
        Ok(payload.claims)
    }

    /// The newest key's MAC.
    pub(crate) fn sign(&self, purpose: &str, message: &[u8]) -> [u8; MAC_BYTES] {
        // `new` refuses an empty list.
        mac(&self.keys[0], purpose, message).finalize().into_bytes().into()
    }

    /// Whether `tag` is a MAC by any of the keys, or the first bytes of one; in constant time per key.
    pub(crate) fn verify(&self, purpose: &str, message: &[u8], tag: &[u8]) -> bool {
        self.keys.iter().any(|key| mac(key, purpose, message).verify_truncated_left(tag).is_ok())
    }
}

fn mac(key: &Hmac<Sha256>, purpose: &str, message: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(super) fn signer(keys: &str) -> Signer {
        Signer::new(&Secret::new(keys)).unwrap()
    }

    const OLD: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const NEW: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn guest() -> GuestClaims {
        GuestClaims { store_id: "shibuya".to_owned(), check_id: "c1".to_owned() }
    }

    #[test]
    fn a_token_opens_until_it_expires() {
        let signer = signer(NEW);
        let token = signer.seal(guest(), 1_000);
        assert_eq!(signer.open(&token, 999), Ok(guest()));
        assert_eq!(signer.open::<GuestClaims>(&token, 1_000), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_an_old_key_opens_as_long_as_the_key_is_listed() {
        let token = signer(OLD).seal(guest(), 1_000);
        assert_eq!(signer(&format!("{NEW},{OLD}")).open(&token, 1), Ok(guest()));
        assert_eq!(signer(NEW).open::<GuestClaims>(&token, 1), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_altered_in_any_character_does_not_open() {
        let signer = signer(NEW);
        let token = signer.seal(guest(), 1_000);
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(signer.open::<GuestClaims>(&altered, 1), Err(TokenError::Invalid), "{altered}");
        }
    }

    #[test]
    fn a_token_of_another_kind_does_not_open() {
        let signer = signer(NEW);
        let order =
            OrderClaims { product: ProductName::Togo, store_id: "shibuya".to_owned(), order_id: "c1".to_owned() };
        let token = signer.seal(order, 1_000);
        assert_eq!(signer.open::<GuestClaims>(&token, 1), Err(TokenError::Invalid));
    }

    #[test]
    fn what_is_no_token_does_not_open() {
        let signer = signer(NEW);
        for bad in ["", ".", "a", "a.b", "e30.", "日本.語", &"A".repeat(10_000)] {
            assert_eq!(signer.open::<GuestClaims>(bad, 1), Err(TokenError::Invalid), "{bad}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_with_the_name_of_the_setting() {
        for bad in ["", " , ", "AAAA", "not base64!"] {
            let error = Signer::new(&Secret::new(bad)).err().unwrap().to_string();
            assert!(error.contains("gateway.signing_keys"), "{error}");
        }
    }
}
