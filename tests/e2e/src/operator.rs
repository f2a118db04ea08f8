//! What an operator types: the verbs of the `posmesh` program.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{Mesh, binary};

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
}
