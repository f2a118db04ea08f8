//! Processes under test.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process that can be stopped, killed and started again. It is killed when dropped, and when the test process dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `program` with nothing but `environment` in its environment. What it prints goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: Vec<OsString>,
        environment: Vec<(String, String)>,
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let child = launch(program, &arguments, &environment, &log)?;
        let (name, program) = (name.to_owned(), program.to_owned());
        Ok(Self { name, program, arguments, environment, log, child: Mutex::new(child) })
    }

    /// As given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of the system.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// Ends it as a crash of the machine would: at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Freezes it, as a paused virtual machine is.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Process::freeze`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Asks it to end in order.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Starts it again as it was started before; kills it first if it runs.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn restart(&self) -> Result<()> {
        self.kill()?;
        *self.child() = launch(&self.program, &self.arguments, &self.environment, &self.log)?;
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child().try_wait()?)
    }

    /// The file of its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How long its log is now.
    pub fn log_length(&self) -> usize {
        fs::metadata(&self.log).map_or(0, |log| usize::try_from(log.len()).unwrap_or(0))
    }

    /// Whether this text stands in its log.
    pub fn has_logged(&self, text: &str) -> bool {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).contains(text)
    }

    /// The last lines of what it printed after the first `from` bytes.
    pub fn log_end(&self, from: usize) -> String {
        const LINES: usize = 40;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(log.get(from..).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        let first = lines.len().saturating_sub(LINES);
        format!("--- {} ({} lines)\n{}", self.name, lines.len(), lines[first..].join("\n"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child().id().cast_signed());
        kill(pid, signal).with_context(|| format!("{} cannot be sent {signal}", self.name))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.kill();
    }
}

fn launch(program: &Path, arguments: &[OsString], environment: &[(String, String)], log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
    command.envs(environment.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    spawn(command).with_context(|| format!("cannot start {} by `setpriv`", program.display()))
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a process from a thread that never ends: the kernel sends the parent-death signal when the *thread* that
/// started the process ends, and the threads of tests end early.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, started) in queue {
                let _ = started.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let gone = |_| io::Error::other("the thread that starts processes is gone");
    let (started, answer) = mpsc::channel();
    let orders = starter.lock().unwrap_or_else(PoisonError::into_inner);
    orders.send((command, started)).map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
    answer.recv().map_err(gone)?
}
