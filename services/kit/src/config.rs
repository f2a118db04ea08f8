//! Configuration: a commented TOML of defaults, then a file, then the environment.

use std::path::Path;

use serde::de::DeserializeOwned;

/// The exit code for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const EXIT_CODE: u8 = 64;

/// Why a configuration cannot be used; names the key.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// A value that has the right type but makes no sense.
    pub fn invalid(key: &str, message: impl std::fmt::Display) -> Self {
        Self(format!("{key}: {message}"))
    }
}

/// Reads the configuration. Later sources win: `defaults` (TOML text), `file`, environment variables named
/// `POSMESH__SECTION__KEY`. Unknown keys are errors where the types deny unknown fields.
pub fn load<T: DeserializeOwned>(defaults: &str, file: Option<&Path>) -> Result<T, ConfigError> {
    let environment = config::Environment::with_prefix("POSMESH").prefix_separator("__").separator("__");
    let mut builder = config::Config::builder().add_source(config::File::from_str(defaults, config::FileFormat::Toml));
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|e| ConfigError(format!("{}: cannot be read: {e}", file.display())))?;
        builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
    }
    builder
        .add_source(environment)
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|e| ConfigError(e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Write as _, time::Duration};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Root {
        server: Server,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Server {
        port: u16,
        #[serde(with = "humantime_serde")]
        grace: Duration,
    }

    const DEFAULTS: &str = "[server]\nport = 1\ngrace = '10s'\n";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_overrides_a_default() {
        let file = file("[server]\nport = 7\n");
        let root: Root = load(DEFAULTS, Some(file.path())).unwrap();
        assert_eq!((root.server.port, root.server.grace), (7, Duration::from_secs(10)));
    }

    #[test]
    fn a_bad_value_is_refused_with_its_key() {
        for (text, key) in [
            ("[server]\nport = 'x'", "server.port"),
            ("[server]\ngrace = '1 parsec'", "server.grace"),
            ("[server]\nprot = 1", "prot"),
        ] {
            let file = file(text);
            let error = load::<Root>(DEFAULTS, Some(file.path())).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
