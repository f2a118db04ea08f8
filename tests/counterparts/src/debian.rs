//! Debian packages, from the mirror that this machine's apt uses.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{command, run};
use crate::{progress, user};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Installs packages into the system itself, from its own release.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !user::is_root() {
        bail!("install these Debian packages first (only root can): {}", packages.join(" "));
    }
    progress(&format!("apt installs {}", packages.join(" ")));
    run(&mut command("apt-get", ["--quiet", "update"]))?;
    run(command("apt-get", ["--quiet", "--yes", "--no-install-recommends", "install"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// Fetches `packages` of Debian's unstable release, signatures checked, and unpacks them below `root`. The system's own
/// package state is neither used nor changed, so this needs no root.
pub(crate) fn unpack_unstable(packages: &[&str], work: &Path, root: &Path) -> Result<()> {
    let sources = work.join("sources.list");
    let archives = work.join("archives");
    for dir in ["state/lists/partial", "cache/archives/partial", "archives"] {
        fs::create_dir_all(work.join(dir))?;
    }
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {} sid main\n", mirror()?))?;

    progress(&format!("apt fetches {} from Debian unstable", packages.join(" ")));
    run(private_apt(work).arg("update"))?;
    run(private_apt(work).arg("download").args(packages).current_dir(&archives))?;

    fs::create_dir_all(root)?;
    for archive in fs::read_dir(&archives)? {
        run(command("dpkg-deb", ["--extract"]).arg(archive?.path()).arg(root))?;
    }
    Ok(())
}

fn private_apt(work: &Path) -> Command {
    let work = work.display();
    let options = [
        format!("Dir::Etc::sourcelist={work}/sources.list"),
        "Dir::Etc::sourceparts=-".to_owned(),
        "Dir::Etc::preferencesparts=-".to_owned(),
        format!("Dir::State={work}/state"),
        format!("Dir::Cache={work}/cache"),
        "Acquire::Languages=none".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        // apt's own user cannot write into a private directory; the signatures are checked all the same.
        "APT::Sandbox::User=root".to_owned(),
    ];
    command("apt-get", std::iter::once("--quiet".to_owned()).chain(options.map(|option| format!("-o{option}"))))
}

/// The mirror of Debian's main archive in the machine's apt configuration. Security and third-party archives, which have
/// no unstable release, have other release names.
fn mirror() -> Result<String> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
    let targets = run(&mut command("apt-get", format)).context("this needs a Debian machine with apt")?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("stable");
    let of_main = |line: &str| {
        let (uri, release) = line.split_once(' ')?;
        [codename, "stable", "unstable", "sid"].contains(&release).then(|| uri.to_owned())
    };
    targets.lines().find_map(of_main).with_context(|| {
        format!("apt's sources name no mirror of Debian {codename}; `apt-get indextargets` lists them")
    })
}
