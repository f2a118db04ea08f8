//! What an operator can set.

use std::{fmt, time::Duration};

use http::HeaderValue;
use posmesh_kit::config::ConfigError;
use serde::Deserialize;

/// The gateway's settings. Lists are written comma-separated, so that one environment variable holds a whole list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Keys that sign guest tokens, order tokens and table codes: base64, 32 bytes each, comma-separated. The first one
    /// signs, all of them verify: to rotate, put the new one in front and drop the old one after the longest lifetime.
    pub signing_keys: Secret,
    /// How long a table code stands in a QR before the next one replaces it. A code is taken during its own window and
    /// the next.
    #[serde(with = "humantime_serde")]
    pub table_code_window: Duration,
    /// A guest token dies with its check, and after this at the latest.
    #[serde(with = "humantime_serde")]
    pub guest_token_ttl: Duration,
    /// How long the token of a ToGo or Kiosk order opens it. Longer than the farthest pickup time.
    #[serde(with = "humantime_serde")]
    pub order_token_ttl: Duration,
    /// Bearer token for `/ops`, at least 16 characters. Empty: `/ops` does not exist.
    pub ops_token: Secret,
    /// Origins whose pages may call this gateway, comma-separated; `*` for any. Empty: no CORS headers.
    pub cors_origins: String,
    /// A longer request body is refused with 413.
    pub body_limit_bytes: usize,
    /// A request that is not answered by then ends with 504. The wait that a `Prefer` header asks for is added.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Requests that run at once; more are refused with 503.
    pub max_concurrent_requests: usize,
    /// TCP connections that are open at once; more wait in the listen queue.
    pub max_connections: usize,
    /// Event streams that are open at once; more are refused with 503.
    pub max_event_streams: usize,
    /// So long a menu is taken to stand without asking the catalog service. It adds to the catalog service's own
    /// `version_max_age`, and both together should not come to more than a second.
    #[serde(with = "humantime_serde")]
    pub menu_max_age: Duration,
    /// Memory for menus that are ready to be sent, plain and compressed.
    pub menu_cache_bytes: usize,
    /// How long a shutdown waits for the requests that run.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
}

const MIN_OPS_TOKEN_CHARS: usize = 16;

impl Config {
    /// The token of `/ops`, where there is one.
    pub(crate) fn ops_token(&self) -> Result<Option<&str>, ConfigError> {
        match self.ops_token.expose() {
            "" => Ok(None),
            short if short.len() < MIN_OPS_TOKEN_CHARS => Err(ConfigError::invalid(
                "gateway.ops_token",
                format!("has fewer than {MIN_OPS_TOKEN_CHARS} characters; leave it empty to switch /ops off"),
            )),
            token => Ok(Some(token)),
        }
    }

    /// The allowed origins; `*` stands alone.
    pub(crate) fn cors_origins(&self) -> Result<Vec<HeaderValue>, ConfigError> {
        let origins: Vec<&str> = self.cors_origins.split(',').map(str::trim).filter(|o| !o.is_empty()).collect();
        let wrong =
            |origin: &str, why: &str| Err(ConfigError::invalid("gateway.cors_origins", format!("{origin:?} {why}")));
        if origins == ["*"] {
            return Ok(vec![HeaderValue::from_static("*")]);
        }
        origins
            .into_iter()
            .map(|origin| {
                let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
                if rest.is_none_or(|host| host.is_empty() || host.contains(['/', '*'])) {
                    return wrong(origin, "is no origin: write scheme://host or scheme://host:port, or * alone");
                }
                HeaderValue::from_str(origin).or_else(|_| wrong(origin, "holds characters that a header cannot"))
            })
            .collect()
    }

    /// Refuses limits with which nothing would work.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let at_least_a_second = [
            ("table_code_window", self.table_code_window),
            ("guest_token_ttl", self.guest_token_ttl),
            ("order_token_ttl", self.order_token_ttl),
            ("request_timeout", self.request_timeout),
        ];
        for (key, duration) in at_least_a_second {
            if duration < Duration::from_secs(1) {
                return Err(ConfigError::invalid(&format!("gateway.{key}"), "must be at least 1s"));
            }
        }
        let at_least_one = [
            ("body_limit_bytes", self.body_limit_bytes),
            ("max_concurrent_requests", self.max_concurrent_requests),
            ("max_connections", self.max_connections),
            ("max_event_streams", self.max_event_streams),
        ];
        for (key, limit) in at_least_one {
            if limit == 0 || limit > tokio::sync::Semaphore::MAX_PERMITS {
                return Err(ConfigError::invalid(&format!("gateway.{key}"), "must be a positive number"));
            }
        }
        Ok(())
    }
}

/// A setting that is never shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that does not come from the configuration.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "[empty]" } else { "[redacted]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_never_shows_it() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
    }
}
