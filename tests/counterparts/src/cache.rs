//! Where installed programs are kept, and how they get there exactly once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{progress, user};

/// The directory that holds everything installed.
///
/// `POSMESH_COUNTERPARTS_CACHE` if set; else for root `/var/cache/posmesh-counterparts`, because servers that refuse to
/// run as root must be able to enter it, which root's home forbids; else `posmesh-counterparts` in `$XDG_CACHE_HOME` or
/// `~/.cache`. It may be deleted at any time that no test runs: the next run installs anew.
///
/// # Errors
/// When neither a variable nor the home directory says where.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = set("POSMESH_COUNTERPARTS_CACHE") {
        return Ok(dir);
    }
    if user::is_root() {
        return Ok(PathBuf::from("/var/cache/posmesh-counterparts"));
    }
    let Some(base) = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))) else {
        bail!("no place for the counterparts: set POSMESH_COUNTERPARTS_CACHE to a directory");
    };
    Ok(base.join("posmesh-counterparts"))
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The cached directory `name`, filled by `build` if this is the first time.
///
/// A file lock makes every other process wait meanwhile; a build that failed or was killed leaves no marker and is
/// begun anew from an empty directory.
pub(crate) fn once(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot create the cache directory {}", cache.display()))?;
    let dir = cache.join(name);
    let marker = dir.join(".complete");
    if marker.exists() {
        return Ok(dir);
    }

    let _lock = lock(&cache.join(format!("{name}.lock")))?;
    if marker.exists() {
        return Ok(dir);
    }
    let begun = Instant::now();
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot clear the unfinished {}", dir.display()))?;
    }
    fs::create_dir(&dir)?;
    build(&dir).with_context(|| format!("cannot prepare {name} in {}", dir.display()))?;
    File::create(&marker)?.sync_all()?;
    progress(&format!("{name} is ready after {:.0} s in {}", begun.elapsed().as_secs_f32(), dir.display()));
    Ok(dir)
}

/// Held until dropped; the kernel frees it when the holder dies.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        progress(&format!("waiting for another process that holds {}", path.display()));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
