//! A process for each seed: tokio and the hash maps count what a process did before, so only a new one does the same
//! again.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use clap::ValueEnum as _;

use crate::{Planted, Report};

/// Runs a seed in a process of its own. `program` is the simulation's binary.
pub fn run(program: &Path, seed: u64, bug: Option<Planted>) -> io::Result<Report> {
    let mut command = Command::new(program);
    command.args(["--worker", "--seed", &seed.to_string()]).stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(bug) = bug.and_then(|bug| bug.to_possible_value()) {
        command.args(["--plant", bug.get_name()]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the process of seed {seed} ended with {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}
