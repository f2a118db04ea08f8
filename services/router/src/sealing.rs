//! Credentials at rest: sealed with XChaCha20-Poly1305, bound to the connection that they belong to.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, Key, Payload},
};
use posmesh_kit::config::ConfigError;
use serde::Deserialize;

const KEY: &str = "router.sealing_keys";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Keys as configured: `ID:BASE64` of 32 bytes each, separated by commas. The first seals, all open. `Debug` shows none.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SealingKeys(String);

impl SealingKeys {
    /// The text of the configuration.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// One new key under an id of 1 to 64 letters, digits and `-`: what a deployment puts into its configuration.
    pub fn generate(id: &str) -> Self {
        Self(format!("{id}:{}", BASE64.encode(Key::<XChaCha20Poly1305>::generate())))
    }

    /// To be written into a configuration. Secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Sealed credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens them.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {:?}, {} bytes)", self.key_id, self.ciphertext.len())
    }
}

/// Why sealed credentials cannot be had. Tells nothing of their content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the credentials are sealed with the key {0:?}, which router.sealing_keys does not hold")]
    UnknownKey(String),
    #[error(
        "the sealed credentials do not open: they were damaged, belong to another connection, or the key {0:?} is another one now"
    )]
    Forged(String),
    #[error("the credentials cannot be sealed")]
    NotSealed,
}

/// Seals and opens.
pub(crate) struct Vault {
    /// The first seals. Never empty.
    keys: Vec<(String, XChaCha20Poly1305)>,
}

impl Vault {
    pub(crate) fn new(keys: &SealingKeys) -> Result<Self, ConfigError> {
        let mut parsed: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        for entry in keys.0.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            // No part of an entry is repeated in an error: a wrong one may still hold a key.
            let number = parsed.len() + 1;
            let wrong = |what: &str| ConfigError::invalid(KEY, format!("entry {number}: {what}"));
            let (id, key) = entry.split_once(':').ok_or_else(|| wrong("is not ID:BASE64"))?;
            if !is_key_id(id) {
                return Err(wrong("its id is not 1 to 64 letters, digits and -"));
            }
            if parsed.iter().any(|(other, _)| other == id) {
                return Err(wrong("its id stands there twice"));
            }
            let bytes = BASE64.decode(key).map_err(|_| wrong("its key is not base64"))?;
            let cipher = XChaCha20Poly1305::new_from_slice(&bytes)
                .map_err(|_| wrong(&format!("its key has {} bytes, not {KEY_BYTES}", bytes.len())))?;
            parsed.push((id.to_owned(), cipher));
        }
        if parsed.is_empty() {
            let message = "holds no key; put ID:KEY there, the key as `openssl rand -base64 32` makes one";
            return Err(ConfigError::invalid(KEY, message));
        }
        Ok(Self { keys: parsed })
    }

    pub(crate) fn seal(
        &self,
        tenant_id: &str,
        connection_id: &str,
        credentials: &BTreeMap<String, String>,
    ) -> Result<Sealed, SealError> {
        let (key_id, cipher) = self.keys.first().ok_or(SealError::NotSealed)?;
        let plain = serde_json::to_vec(credentials).map_err(|_| SealError::NotSealed)?;
        let nonce = XNonce::generate();
        let owner = owner(tenant_id, connection_id);
        let sealed =
            cipher.encrypt(&nonce, Payload { msg: &plain, aad: owner.as_bytes() }).map_err(|_| SealError::NotSealed)?;
        Ok(Sealed { key_id: key_id.clone(), ciphertext: [nonce.as_slice(), &sealed].concat() })
    }

    pub(crate) fn open(
        &self,
        tenant_id: &str,
        connection_id: &str,
        sealed: &Sealed,
    ) -> Result<BTreeMap<String, String>, SealError> {
        let unknown = || SealError::UnknownKey(sealed.key_id.clone());
        let forged = || SealError::Forged(sealed.key_id.clone());
        let (_, cipher) = self.keys.iter().find(|(id, _)| *id == sealed.key_id).ok_or_else(unknown)?;
        let (nonce, ciphertext) = sealed.ciphertext.split_at_checked(NONCE_BYTES).ok_or_else(forged)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| forged())?;
        let owner = owner(tenant_id, connection_id);
        let plain = cipher.decrypt(&nonce, Payload { msg: ciphertext, aad: owner.as_bytes() }).map_err(|_| forged())?;
        serde_json::from_slice(&plain).map_err(|_| forged())
    }
}

/// What sealed credentials are bound to: copied to another row, they do not open. The length parts the two ids
/// unambiguously.
fn owner(tenant_id: &str, connection_id: &str) -> String {
    format!("{}:{tenant_id}/{connection_id}", tenant_id.len())
}

fn is_key_id(id: &str) -> bool {
    matches!(id.len(), 1..=64) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn credentials() -> BTreeMap<String, String> {
        [("api_key".to_owned(), "s3cret".to_owned())].into()
    }

    #[test]
    fn what_is_sealed_opens_for_its_own_connection_only() {
        let vault = Vault::new(&SealingKeys::generate("k1")).unwrap();
        let sealed = vault.seal("t", "c-1", &credentials()).unwrap();
        assert!(!sealed.ciphertext.windows(6).any(|w| w == b"s3cret"));
        assert_eq!(vault.open("t", "c-1", &sealed), Ok(credentials()));
        let forged = Err(SealError::Forged("k1".into()));
        assert_eq!(vault.open("t", "c-2", &sealed), forged);
        assert_eq!(vault.open("other", "c-1", &sealed), forged);
        let mut damaged = sealed.clone();
        *damaged.ciphertext.last_mut().unwrap() ^= 1;
        assert_eq!(vault.open("t", "c-1", &damaged), forged);
        assert_eq!(vault.open("t", "c-1", &Sealed { ciphertext: vec![1; 5], ..sealed }), forged);
    }

    #[test]
    fn after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() {
        let (old, new) = (SealingKeys::generate("2026-01"), SealingKeys::generate("2026-02"));
        let sealed = Vault::new(&old).unwrap().seal("t", "c", &credentials()).unwrap();
        let rotated = Vault::new(&SealingKeys(format!("{}, {}", new.0, old.0))).unwrap();
        assert_eq!(rotated.open("t", "c", &sealed), Ok(credentials()));
        assert_eq!(rotated.seal("t", "c", &credentials()).unwrap().key_id, "2026-02");
        let retired = Vault::new(&new).unwrap();
        assert_eq!(retired.open("t", "c", &sealed), Err(SealError::UnknownKey("2026-01".into())));
    }

    #[test]
    fn wrong_keys_are_refused_without_being_shown() {
        let good = SealingKeys::generate("k1").0;
        for (text, part) in [
            (String::new(), "holds no key"),
            ("c2VjcmV0".to_owned(), "ID:BASE64"),
            ("k1:c2VjcmV0".to_owned(), "6 bytes"),
            ("k1:###secret".to_owned(), "base64"),
            ("k 1:c2VjcmV0".to_owned(), "its id"),
            (format!("{good},{good}"), "twice"),
        ] {
            let error = Vault::new(&SealingKeys(text)).err().unwrap().to_string();
            assert!(error.contains(part) && error.contains(KEY), "{error}");
            assert!(!error.contains("c2VjcmV0") && !error.contains("secret"), "{error}");
        }
        assert!(!format!("{:?}", SealingKeys(good.clone())).contains(&good[3..]));
    }
}
