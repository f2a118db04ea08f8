//! A database with the restaurant demo, made once and copied for every start.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::install::Program;
use crate::command::{command, run};
use crate::postgres::{self, Postgres};
use crate::{cache, progress};

pub(crate) const DATABASE: &str = "odoo";

/// Raised with every change of what a prepared database holds, so that an older one is not used.
const RECIPE: u32 = 1;

/// The demo's names come with Japanese and Korean translations.
const INIT: &[&str] = &[
    "--init=point_of_sale,pos_restaurant",
    "--with-demo",
    "--load-language=en_US,ja_JP,ko_KR",
    "--stop-after-init",
    "--no-http",
];

/// Makes an API key without expiry for the administrator, as the button in the user's preferences does.
const MAKE_API_KEY: &str = "
key = env['res.users.apikeys'].with_user(env.ref('base.user_admin'))._generate(None, 'posmesh', None)
env.cr.commit()
open(KEY_FILE, 'w').write(key)
";

/// What a start copies.
#[derive(Debug)]
pub(crate) struct Prepared {
    directory: PathBuf,
}

impl Prepared {
    /// Makes the database unless the cache holds it: about two minutes.
    pub(crate) fn get(program: &Program) -> Result<Self> {
        let name = format!("odoo-19-restaurant-{RECIPE}-pg{}", postgres::major_version()?);
        let directory = cache::once(&name, |dir| build(program, dir))?;
        Ok(Self { directory })
    }

    /// The PostgreSQL cluster.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.directory.join("cluster")
    }

    /// Odoo's data directory: attachments.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// The administrator's API key.
    pub(crate) fn api_key(&self) -> Result<String> {
        fs::read_to_string(self.directory.join("api-key")).context("the prepared Odoo has no API key")
    }
}

fn build(program: &Program, dir: &Path) -> Result<()> {
    progress("Odoo's database with the restaurant demo gets made, which takes about two minutes");
    let server = Postgres::start()?;
    // The work is thrown away if the machine crashes meanwhile, so nothing need wait for the disk.
    server.query("postgres", "ALTER SYSTEM SET fsync = off")?;
    server.query("postgres", "SELECT pg_reload_conf()")?;

    let files = dir.join("files");
    fs::create_dir(&files)?;
    let init = program.command(None, DATABASE, server.port(), &files);
    run(odoo(program, &init).args(INIT))?;
    make_api_key(program, server.port(), &files, &dir.join("api-key"))?;

    server.query("postgres", "ALTER SYSTEM RESET fsync")?;
    server.stop()?;
    run(command("cp", ["--archive", "--reflink=auto"]).arg(server.data()).arg(dir.join("cluster")))?;
    Ok(())
}

fn make_api_key(program: &Program, port: u16, files: &Path, key_file: &Path) -> Result<()> {
    let words = program.command(Some("shell"), DATABASE, port, files);
    let mut shell = odoo(program, &words)
        .arg("--no-http")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start Odoo's shell")?;
    let script = MAKE_API_KEY.replace("KEY_FILE", &format!("{:?}", key_file.display().to_string()));
    shell.stdin.take().context("Odoo's shell has no input")?.write_all(script.as_bytes())?;
    let status = shell.wait()?;
    let made = fs::metadata(key_file).is_ok_and(|file| file.len() > 0);
    anyhow::ensure!(made, "Odoo's shell ended with {status} and made no API key");
    Ok(())
}

fn odoo(program: &Program, words: &[String]) -> Command {
    let mut odoo = command(&words[0], &words[1..]);
    odoo.env("PYTHONPATH", program.python_path());
    odoo
}
