//! The folder that a mesh on one machine keeps its data in: databases, the POS's journal, and secrets made once.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

const DATABASES: &str = "db";
const JOURNAL: &str = "simpos.journal";
const SECRETS: &str = "secrets.toml";
const LOCK: &str = "lock";

/// A data folder in use by this process alone.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    pub(crate) secrets: Secrets,
    /// Held as long as the folder is in use; the kernel frees it when the process dies.
    _lock: File,
}

/// Made at the first start, kept for the next ones: what they sealed and signed must stay readable.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    /// Seals the credentials of connections; base64, 32 bytes.
    pub(crate) sealing_key: String,
    /// Signs table codes and guests' tokens; base64, 32 bytes.
    pub(crate) signing_key: String,
    /// Opens the gateway's pages for operators.
    pub(crate) ops_token: String,
    /// Opens the simulated POS.
    pub(crate) pos_api_key: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets([redacted])")
    }
}

impl DataFolder {
    /// Opens the folder, creating what is missing. With `fresh` what an earlier run left is removed first.
    pub(crate) fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create the data folder {}", path.display()))?;
        // Paths that are printed must hold in any directory.
        let path = &path.canonicalize()?;
        let lock = File::create(path.join(LOCK))?;
        if lock.try_lock().is_err() {
            bail!("another posmesh uses the data folder {}: end it, or give --data another folder", path.display());
        }
        if fresh {
            clear(path)?;
        }
        let secrets = Secrets::load_or_create(&path.join(SECRETS))?;
        Ok(Self { path: path.to_owned(), secrets, _lock: lock })
    }

    /// As `database.url` wants it.
    pub(crate) fn database_url(&self) -> String {
        format!("sqlite:{}", self.path.join(DATABASES).display())
    }

    /// Where the secrets are.
    pub(crate) fn secrets_file(&self) -> PathBuf {
        self.path.join(SECRETS)
    }

    /// The journal of the simulated POS.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }
}

/// Removes what a run makes, and nothing else: the folder may be one that the user keeps other things in.
fn clear(path: &Path) -> anyhow::Result<()> {
    let removed = [
        fs::remove_dir_all(path.join(DATABASES)),
        fs::remove_file(path.join(JOURNAL)),
        fs::remove_file(path.join(SECRETS)),
    ];
    for result in removed {
        match result {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot clear the data folder {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Secrets {
    fn generate() -> Self {
        let key = || STANDARD.encode(rand::random::<[u8; 32]>());
        Self { sealing_key: key(), signing_key: key(), ops_token: key(), pos_api_key: key() }
    }

    fn load_or_create(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("{} is damaged: start with --fresh to begin anew", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Only the owner may read it.
    fn create(path: &Path) -> anyhow::Result<Self> {
        let secrets = Self::generate();
        let text = toml::to_string(&secrets)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(secrets)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_survive_a_restart_and_only_the_owner_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path(), false).unwrap().secrets;
        let second = DataFolder::open(folder.path(), false).unwrap().secrets;
        assert_eq!(first.sealing_key, second.sealing_key);
        let mode = fs::metadata(folder.path().join(SECRETS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&first.sealing_key));
    }

    #[test]
    fn a_fresh_start_forgets_what_was_there_but_not_the_users_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path(), false).unwrap().secrets;
        let own = folder.path().join("notes.txt");
        fs::write(&own, "mine").unwrap();
        fs::create_dir(folder.path().join(DATABASES)).unwrap();
        let second = DataFolder::open(folder.path(), true).unwrap().secrets;
        assert_ne!(first.sealing_key, second.sealing_key);
        assert!(own.exists() && !folder.path().join(DATABASES).exists());
    }

    #[test]
    fn two_processes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _first = DataFolder::open(folder.path(), false).unwrap();
        let error = DataFolder::open(folder.path(), false).unwrap_err().to_string();
        assert!(error.contains("--data"), "{error}");
    }
}
