//! Temporary folders that go with the process, even when it is killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

/// Reads until its standard input ends, which it does with the process that holds the other end, then removes the folder.
const JANITOR: &str = r#"cat >/dev/null; rm -rf -- "$1""#;

/// A temporary folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    janitor: Child,
}

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// When the system's temporary folder cannot be written to.
    pub fn new() -> Result<Self> {
        let path = tempfile::Builder::new().prefix("posmesh-e2e-").tempdir()?.keep();
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `sh`")?;
        Ok(Self { path, janitor })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
