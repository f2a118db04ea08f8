//! PostgreSQL refuses to run as root, so root hands its servers to the system's powerless user.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Debian's fixed ids of `nobody` and `nogroup` (base-passwd).
const NOBODY_ID: u32 = 65534;

pub(crate) fn is_root() -> bool {
    // The kernel gives this directory to the effective user of the process.
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Makes `path` the server's own.
pub(crate) fn give_to_server(path: &Path) -> Result<()> {
    if is_root() {
        chown(path, Some(NOBODY_ID), Some(NOBODY_ID))
            .with_context(|| format!("cannot give {} to the server's user", path.display()))?;
    }
    Ok(())
}

/// The command, run as the server's user.
pub(crate) fn as_server(mut command: Command) -> Command {
    if is_root() {
        command.uid(NOBODY_ID).gid(NOBODY_ID);
    }
    command
}

/// `setpriv` and its arguments, to stand before a server's command: it runs as the server's user and gets `signal` when
/// its guard dies.
pub(crate) fn server_prefix(signal: &str, give_up_root: bool) -> Vec<String> {
    let mut prefix = vec!["setpriv".to_owned(), "--pdeathsig".to_owned(), signal.to_owned()];
    if give_up_root && is_root() {
        prefix.extend([format!("--reuid={NOBODY_ID}"), format!("--regid={NOBODY_ID}"), "--clear-groups".to_owned()]);
    }
    prefix.push("--".to_owned());
    prefix
}
