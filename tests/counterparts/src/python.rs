//! Python environments, filled by the machine's own pip configuration.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{command, run};
use crate::{debian, progress};

/// Makes a virtual environment at `dir` that holds `packages`.
pub(crate) fn install(dir: &Path, packages: &[&str]) -> Result<()> {
    ensure_python()?;
    run(command("python3", ["-m", "venv"]).arg(dir))?;
    progress(&format!("pip installs {} Python packages", packages.len()));
    run(command(dir.join("bin/pip"), ["install", "--quiet"]).args(packages))?;
    Ok(())
}

fn ensure_python() -> Result<()> {
    let has_venv = || run(&mut command("python3", ["-c", "import venv, ensurepip"])).is_ok();
    if has_venv() {
        return Ok(());
    }
    debian::install(&["python3", "python3-venv"])?;
    if has_venv() {
        return Ok(());
    }
    bail!("the `python3` that is first on PATH lacks the module venv or ensurepip: install python3-venv");
}

/// The one directory that holds the environment's packages.
pub(crate) fn site_packages(dir: &Path) -> Result<String> {
    let ask = "import sysconfig; print(sysconfig.get_path('platlib'))";
    let answer = run(Command::new(dir.join("bin/python")).args(["-c", ask]))
        .with_context(|| format!("the environment in {} is broken: delete it", dir.display()))?;
    Ok(answer.trim().to_owned())
}
