//! What an operator types: the verbs of the `posmesh` program.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{Mesh, Process, binary};

/// What the program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it printed for the operator.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Mesh {
    /// Runs the real program against this mesh, to its end.
    ///
    /// # Errors
    /// When it cannot be started, or is killed.
    pub async fn posmesh(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = Command::new(binary("posmesh")?);
        command.args(arguments).env_clear().envs(self.peers());
        let ended = tokio::task::spawn_blocking(move || command.output()).await?.context("posmesh does not start")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = ended.status.code().context("posmesh was killed")?;
        Ok(Said { code, out: text(&ended.stdout), err: text(&ended.stderr) })
    }

    /// Runs it until the returned process is dropped; what it prints goes to that one's log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn posmesh_until_dropped(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let environment = self.peers().map(|(key, value)| (key.to_owned(), value)).to_vec();
        let arguments = arguments.iter().map(Into::into).collect();
        Process::start(name, &binary("posmesh")?, arguments, environment, self.folder().path())
    }
}
