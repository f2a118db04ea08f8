//! Runs a server that ends with its owner, however the owner ends.
//!
//! Between test and server stands a small shell script, the guard, which holds the reading end of a pipe. When the
//! owner closes the pipe, or dies and the kernel closes it, the guard stops the server and removes its directory. (The
//! kernel's parent-death signal alone would not do: it fires when the *thread* that started the server ends, and test
//! threads end early. It serves between guard and server.)

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::command::end_of;

/// Arguments: the server's directory, the signal that ends it when the owner is gone, the server's command.
/// A word on stdin names another signal and keeps the directory.
const SCRIPT: &str = r#"
dir=$1 last_signal=$2
shift 2
exec 3<&0 </dev/null >>"$dir/log" 2>&1
"$@" 3<&- &
server=$!
(
    if read -r signal <&3; then : >"$dir/keep"; else signal=$last_signal; fi
    kill -s "$signal" "$server"
) &
watch=$!
wait "$server"
echo "$?" >"$dir/exit"
kill "$watch" 2>/dev/null
[ -e "$dir/keep" ] || read -r _ <&3 || rm -rf "$dir"
"#;

/// How long a server may take to end before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

/// A running server. Dropping it ends the server at once and removes its directory.
#[derive(Debug)]
pub(crate) struct Guard {
    guard: Child,
    owner: Option<ChildStdin>,
    dir: PathBuf,
}

impl Guard {
    /// Starts `command` with `dir` as the place of its data; its output goes to `log` in there.
    pub(crate) fn start(dir: &Path, last_signal: &str, command: &[String], env: &[(&str, &str)]) -> Result<Self> {
        for left_by_the_last in ["exit", "keep"] {
            match std::fs::remove_file(dir.join(left_by_the_last)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let mut guard = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(dir)
            .arg(last_signal)
            .args(command)
            .envs(env.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C goes to the owner alone, and its death brings the orderly end.
            .process_group(0)
            .spawn()
            .context("cannot start `sh`")?;
        let owner = guard.stdin.take();
        Ok(Self { guard, owner, dir: dir.to_owned() })
    }

    /// Polls `ready` until it is true.
    ///
    /// # Errors
    /// When the server ends or the deadline passes first, with the end of its log.
    pub(crate) fn wait_until(&self, what: &str, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            self.check(what, begun, deadline)?;
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Fails when the server has ended, or the deadline counted from `begun` is over.
    pub(crate) fn check(&self, what: &str, begun: Instant, deadline: Duration) -> Result<()> {
        let log = || end_of(&self.dir.join("log"));
        if let Ok(code) = std::fs::read_to_string(self.dir.join("exit")) {
            bail!("{what} ended with code {} instead of answering; its log ends:\n{}", code.trim(), log());
        }
        if begun.elapsed() > deadline {
            bail!("{what} did not answer within {} s; its log ends:\n{}", deadline.as_secs(), log());
        }
        Ok(())
    }

    /// Ends the server by `signal` and keeps its directory.
    pub(crate) fn stop(mut self, signal: &str) -> Result<()> {
        if let Some(owner) = self.owner.as_mut() {
            writeln!(owner, "{signal}").context("the guard of a server is gone")?;
        }
        self.wait_for_end();
        Ok(())
    }

    fn wait_for_end(&mut self) {
        let begun = Instant::now();
        while matches!(self.guard.try_wait(), Ok(None)) {
            if begun.elapsed() > STOP_DEADLINE {
                let group = Pid::from_raw(self.guard.id().cast_signed());
                // Fails only when all have just ended, which is what is wanted.
                let _ = killpg(group, Signal::SIGKILL);
                let _ = self.guard.wait();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.owner = None;
        self.wait_for_end();
    }
}
