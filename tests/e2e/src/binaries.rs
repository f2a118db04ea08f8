//! The programs under test.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The path of a binary of this workspace, as built beside the running test or program.
///
/// # Errors
/// When it is not there: cargo builds only the binaries of the crate that it tests.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test does not know where it is")?;
    // target/PROFILE/deps/e2e-HASH, or target/PROFILE/chaos
    let folder = test.parent().context("the test lies in no target folder")?;
    let profile = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = profile.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `cargo build --workspace --bins` first", path.display());
    }
    Ok(path)
}
