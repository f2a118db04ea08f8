//! What the figures depend on besides the code: disk, cores, load.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::load::Latencies;

/// Writes that are synced to learn what one costs.
const SYNCS: usize = 300;
/// A page of PostgreSQL's log.
const PAGE: [u8; 8192] = [0x5a; 8192];

/// How long the disk of the temporary folder, where the databases are, takes to make a page durable.
///
/// # Errors
/// When the folder cannot be written to.
pub(crate) fn fdatasync() -> Result<Latencies> {
    let mut file = tempfile::tempfile().context("the temporary folder cannot be written to")?;
    let mut durations = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&PAGE)?;
        let begun = Instant::now();
        file.sync_data()?;
        durations.push(begun.elapsed());
    }
    Ok(Latencies::new(durations))
}

/// Cores, their model, and the load of the last minute: figures of a machine that is busy otherwise are worth little.
pub(crate) fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    format!("{cores} cores ({}), load {}", model.trim_start_matches(['\t', ' ', ':']), load())
}

/// Of the last minute.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Resident memory of a process and the greatest it ever was, in bytes.
///
/// # Errors
/// When there is no such process.
pub(crate) fn resident(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Ok((bytes("VmRSS:").unwrap_or(0), bytes("VmHWM:").unwrap_or(0)))
}

/// Creates a file that must not exist yet.
///
/// # Errors
/// When it does, or cannot be written.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<()> {
    File::create_new(path)?.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Processor time of a process and its children, those that have ended included.
pub(crate) fn cpu_of_family(parent: u32) -> Duration {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ticks: u64 = processes
        .filter_map(|process| fs::read_to_string(process.path().join("stat")).ok())
        .filter_map(|stat| {
            // "PID (NAME) STATE PPID …"; a name may hold anything, so the fields are counted from its end.
            let pid: u32 = stat.split(' ').next()?.parse().ok()?;
            let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
            let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
            let of_itself = number(11)? + number(12)?;
            match (pid == parent, fields.get(1)?.parse() == Ok(parent)) {
                (true, _) => Some(of_itself + number(13)? + number(14)?),
                (false, true) => Some(of_itself),
                (false, false) => None,
            }
        })
        .sum();
    // Linux counts in hundredths of a second, whatever its own clock runs at.
    Duration::from_millis(ticks * 10)
}
