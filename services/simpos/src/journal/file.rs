//! The file: appended to, synced, and begun anew when it has grown.
//!
//! Beside `journal` there may be `journal.old`, the file before the last new beginning, for audits of what came just
//! before, and for a moment `journal.new`, the next one. A file that is not the first begins with the whole state.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::state::State;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed.
    #[error("journal {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// Another process has it open.
    #[error("journal {0} is in use by another simpos: stop that one or name another file")]
    InUse(PathBuf),
    /// A line in the middle is damaged. (A torn last line is normal after a crash and dropped.)
    #[error("journal {path}, line {line}: {reason}: restore the file or start with a new one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// The first line of a file that is not the first.
#[derive(Serialize, Deserialize)]
struct Beginning<S> {
    state: S,
}

/// How such a line starts; no entry does.
const BEGINNING: &[u8] = b"{\"state\":";

/// The open journal; without a file it keeps nothing.
pub(crate) struct Journal {
    file: Option<OpenFile>,
    buffer: Vec<u8>,
}

struct OpenFile {
    path: PathBuf,
    file: File,
    /// Its length, and that of its beginning.
    bytes: u64,
    beginning_bytes: u64,
    /// A new file is begun beyond this length.
    max_bytes: u64,
}

impl Journal {
    /// A journal without a file.
    pub(crate) fn in_memory() -> Self {
        Journal { file: None, buffer: Vec::new() }
    }

    /// Opens or creates the file, locks it against other processes, drops a torn last line, and brings `state`, in which
    /// nothing has happened yet, to where the journal ends.
    pub(crate) fn open(path: &Path, max_bytes: u64, state: State) -> Result<(Self, State), JournalError> {
        let io = |error| JournalError::Io { path: path.to_owned(), error };
        let new = beside(path, "new");
        if !path.exists() && new.exists() {
            // It stopped between moving the old file away and the new one, which is whole, to its place.
            std::fs::rename(&new, path).map_err(io)?;
        }
        remove(&new).map_err(io)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        lock(&file, path)?;
        let mut read = Reading { state, is_old: true };
        if let Ok(old) = File::open(beside(path, "old"))
            && let Err(error) = read.all(&old, path)
        {
            tracing::warn!(%error, "the journal's entries of before cannot be shown");
        }
        read.is_old = false;
        let Sound { bytes, beginning_bytes } = read.all(&file, path)?;
        file.set_len(bytes).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        file.sync_all().map_err(io)?;
        sync_folder_of(path).map_err(io)?;
        let file = OpenFile { path: path.to_owned(), file, bytes, beginning_bytes, max_bytes };
        Ok((Journal { file: Some(file), buffer: Vec::new() }, read.state))
    }

    /// Adds an entry to what the next [`Journal::sync`] writes.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let Some(open) = &self.file else { return Ok(()) };
        let io = |error: serde_json::Error| JournalError::Io { path: open.path.clone(), error: error.into() };
        serde_json::to_writer(&mut self.buffer, entry).map_err(io)?;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// Writes what was appended and waits until the disk has it.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        let Some(open) = &mut self.file else { return Ok(()) };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = open.file.write_all(&self.buffer).and_then(|()| open.file.sync_data());
        open.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        written.map_err(|error| JournalError::Io { path: open.path.clone(), error })
    }

    /// Whether a new file should be begun. A state that is long itself is not written again for every few entries.
    pub(crate) fn has_grown(&self) -> bool {
        self.file.as_ref().is_some_and(|open| open.bytes > open.max_bytes.max(2 * open.beginning_bytes))
    }

    /// Begins a new file with the state. All entries are synced.
    pub(crate) fn renew(&mut self, state: &State) -> Result<(), JournalError> {
        let Some(open) = &mut self.file else { return Ok(()) };
        open.renew(state).map_err(|error| JournalError::Io { path: open.path.clone(), error })
    }
}

impl OpenFile {
    fn renew(&mut self, state: &State) -> std::io::Result<()> {
        let new = beside(&self.path, "new");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        let mut line = serde_json::to_vec(&Beginning { state })?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()?;
        file.lock()?;
        std::fs::rename(&self.path, beside(&self.path, "old"))?;
        std::fs::rename(&new, &self.path)?;
        sync_folder_of(&self.path)?;
        (self.bytes, self.beginning_bytes) = (line.len() as u64, line.len() as u64);
        self.file = file;
        Ok(())
    }
}

/// The whole lines of a file, in bytes.
struct Sound {
    bytes: u64,
    beginning_bytes: u64,
}

struct Reading {
    state: State,
    /// The file before: its entries are in the other one's beginning already.
    is_old: bool,
}

impl Reading {
    fn all(&mut self, file: &File, path: &Path) -> Result<Sound, JournalError> {
        let mut reader = BufReader::new(file);
        let (mut sound, mut line, mut number) = (Sound { bytes: 0, beginning_bytes: 0 }, Vec::new(), 0);
        loop {
            line.clear();
            let length = reader
                .read_until(b'\n', &mut line)
                .map_err(|error| JournalError::Io { path: path.to_owned(), error })? as u64;
            if line.last() != Some(&b'\n') {
                return Ok(sound);
            }
            number += 1;
            let damaged = |reason| JournalError::Damaged { path: path.to_owned(), line: number, reason };
            if number == 1 && line.starts_with(BEGINNING) {
                self.begin(&line).map_err(damaged)?;
                sound.beginning_bytes = length;
            } else {
                self.add(&line).map_err(damaged)?;
            }
            sound.bytes += length;
        }
    }

    fn begin(&mut self, line: &[u8]) -> Result<(), String> {
        if self.is_old {
            return Ok(());
        }
        let beginning: Beginning<State> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        self.state.restore(beginning.state);
        Ok(())
    }

    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let entry: Entry = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if self.is_old {
            self.state.remember(entry);
            return Ok(());
        }
        let expected = self.state.next_seq();
        if entry.seq != expected {
            return Err(format!("seq is {}, expected {expected}", entry.seq));
        }
        self.state.apply(entry);
        Ok(())
    }
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => JournalError::InUse(path.to_owned()),
        TryLockError::Error(error) => JournalError::Io { path: path.to_owned(), error },
    })
}

/// The file's companion, e.g. `journal.jsonl.old`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A new file survives a power cut only once its folder is synced too.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::builtin_menu;
    use crate::journal::Event;

    fn entry(seq: u64) -> Entry {
        Entry { seq, at: 1, event: Event::PriceChanged { item_id: "momo".into(), price: 200 } }
    }

    fn open(path: &Path, max_bytes: u64) -> Result<(Journal, State), JournalError> {
        Journal::open(path, max_bytes, State::new(builtin_menu(), 1000))
    }

    fn write(journal: &mut Journal, entries: &[Entry]) {
        entries.iter().for_each(|entry| journal.append(entry).unwrap());
        journal.sync().unwrap();
    }

    fn entries(state: &State) -> Vec<u64> {
        state.entries_after(0).unwrap().map(|recorded| recorded.entry.seq).collect()
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&mut open(&path, u64::MAX).unwrap().0, &[entry(1), entry(2)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();

        let (mut journal, state) = open(&path, u64::MAX).unwrap();
        assert_eq!(entries(&state), [1]);
        write(&mut journal, &[entry(2)]);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn damage_in_the_middle_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&mut open(&path, u64::MAX).unwrap().0, &[entry(1), entry(3)]);
        let error = open(&path, u64::MAX).err().unwrap().to_string();
        assert!(error.contains("line 2") && error.contains("expected 2"), "{error}");
    }

    #[test]
    fn a_journal_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, mut state) = open(&path, 1).unwrap();
        assert!(matches!(open(&path, 1), Err(JournalError::InUse(_))));
        write(&mut journal, &[entry(1)]);
        state.apply(entry(1));
        journal.renew(&state).unwrap();
        assert!(matches!(open(&path, 1), Err(JournalError::InUse(_))), "the new file is locked as well");
    }

    #[test]
    fn a_file_that_grew_begins_anew_with_all_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, mut state) = open(&path, 1).unwrap();
        for seq in 1..=3 {
            write(&mut journal, &[entry(seq)]);
            state.apply(entry(seq));
        }
        journal.renew(&state).unwrap();
        write(&mut journal, &[entry(4)]);
        drop(journal);
        let (_journal, again) = open(&path, 1).unwrap();
        assert_eq!(entries(&again), [1, 2, 3, 4]);
        assert_eq!(again.menu.revision, 4);
    }

    #[test]
    fn a_stop_between_the_two_renames_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, mut state) = open(&path, 1).unwrap();
        write(&mut journal, &[entry(1)]);
        state.apply(entry(1));
        journal.renew(&state).unwrap();
        drop(journal);
        std::fs::rename(&path, beside(&path, "new")).unwrap();
        let (mut journal, state) = open(&path, 1).unwrap();
        assert_eq!((entries(&state), state.menu.revision), (vec![1], 1));
        write(&mut journal, &[entry(2)]);
        drop(journal);
        assert_eq!(open(&path, 1).unwrap().1.menu.revision, 2);
    }
}
