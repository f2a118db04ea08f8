//! The journal: an append-only file of JSON lines, and what stands in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::{Line, Menu, Order, PrinterState, Tender, Ticket};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 without gaps.
    pub seq: u64,
    /// When it was decided, unix milliseconds.
    pub at: i64,
    /// What happened.
    pub event: Event,
}

/// What happened. One event is one whole change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// An order was taken.
    OrderRecorded {
        /// The order.
        order: Arc<Order>,
        /// The check it opened, if it joined none.
        opened_check: Option<CheckHead>,
        /// True when it paid for its whole check, which closed at once.
        closes_check: bool,
        /// Its kitchen ticket.
        ticket: Arc<Ticket>,
    },
    /// A check was opened without an order.
    CheckOpened {
        /// The check.
        check: CheckHead,
    },
    /// Staff keyed in lines at the till.
    StaffEntered {
        /// The check.
        check_number: u32,
        /// Who, as `staff:` and a name.
        by: String,
        /// What.
        lines: Arc<Vec<Line>>,
        /// Its kitchen ticket.
        ticket: Arc<Ticket>,
    },
    /// A bill slip was made.
    BillRequested {
        /// The check.
        check_number: u32,
        /// The slip.
        ticket: Arc<Ticket>,
    },
    /// A check was paid or settled.
    CheckClosed {
        /// The check.
        check_number: u32,
        /// Who, as `staff:` and a name.
        by: String,
        /// Payments made now.
        tenders: Vec<Tender>,
    },
    /// A slip was made again.
    TicketReprinted {
        /// The new slip.
        ticket: Arc<Ticket>,
    },
    /// The printer or the till changed; the slips that waited came out.
    ConditionsChanged {
        /// As they are now.
        conditions: Conditions,
        /// Numbers of the slips that were printed now.
        printed_tickets: Vec<u32>,
    },
    /// An item was marked sold out or available.
    AvailabilityChanged {
        /// The item.
        item_id: String,
        /// As it is now.
        available: bool,
    },
    /// A price was changed.
    PriceChanged {
        /// The item.
        item_id: String,
        /// The new price in yen.
        price: i64,
    },
    /// The whole menu was replaced.
    MasterReplaced {
        /// The new menu.
        menu: Box<Menu>,
    },
}

/// What identifies a check when it is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckHead {
    /// Its number.
    pub number: u32,
    /// Its table, if any.
    pub table: Option<String>,
    /// Guests, if told.
    pub party_size: Option<u32>,
    /// `api`, or `staff:` and a name.
    pub opened_by: String,
}

/// The state of printer and till.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The kitchen printer.
    pub printer: PrinterState,
    /// The till's day is closed.
    pub business_day_closed: bool,
    /// Master data is being loaded.
    pub master_updating: bool,
}

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

/// The open journal; without a file it keeps nothing.
pub(crate) struct Journal {
    file: Option<(PathBuf, File)>,
    buffer: Vec<u8>,
}

impl Journal {
    /// A journal without a file.
    pub(crate) fn in_memory() -> Self {
        Journal { file: None, buffer: Vec::new() }
    }

    /// Opens or creates the file, locks it against other processes, reads it, and drops a torn last line.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let io = |error| JournalError::Io { path: path.to_owned(), error };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse(path.to_owned()),
            TryLockError::Error(error) => io(error),
        })?;
        let (entries, sound_bytes) = read(&file, path)?;
        file.set_len(sound_bytes).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        file.sync_all().map_err(io)?;
        sync_folder_of(path).map_err(io)?;
        Ok((Journal { file: Some((path.to_owned(), file)), buffer: Vec::new() }, entries))
    }

    /// Adds an entry to what the next [`Journal::sync`] writes.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let Some((path, _)) = &self.file else { return Ok(()) };
        let io = |error: serde_json::Error| JournalError::Io { path: path.clone(), error: error.into() };
        serde_json::to_writer(&mut self.buffer, entry).map_err(io)?;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// Writes what was appended and waits until the disk has it.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = file.write_all(&self.buffer).and_then(|()| file.sync_data());
        self.buffer.clear();
        written.map_err(|error| JournalError::Io { path: path.clone(), error })
    }
}

/// The entries of a file, and how many bytes of it are whole lines.
fn read(file: &File, path: &Path) -> Result<(Vec<Entry>, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut entries, mut sound_bytes, mut line) = (Vec::new(), 0, Vec::new());
    loop {
        line.clear();
        let length =
            reader.read_until(b'\n', &mut line).map_err(|error| JournalError::Io { path: path.to_owned(), error })?;
        if line.last() != Some(&b'\n') {
            return Ok((entries, sound_bytes));
        }
        let expected_seq = entries.len() as u64 + 1;
        let damaged = |reason| JournalError::Damaged { path: path.to_owned(), line: expected_seq, reason };
        let entry: Entry = serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        if entry.seq != expected_seq {
            return Err(damaged(format!("seq is {}, expected {expected_seq}", entry.seq)));
        }
        entries.push(entry);
        sound_bytes += length as u64;
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

    fn entry(seq: u64) -> Entry {
        Entry { seq, at: 1, event: Event::PriceChanged { item_id: "momo".into(), price: 200 } }
    }

    fn write(path: &Path, entries: &[Entry]) {
        let (mut journal, _) = Journal::open(path).unwrap();
        entries.iter().for_each(|entry| journal.append(entry).unwrap());
        journal.sync().unwrap();
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, &[entry(1), entry(2)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();

        let (mut journal, entries) = Journal::open(&path).unwrap();
        assert_eq!(entries, [entry(1)]);
        journal.append(&entry(2)).unwrap();
        journal.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn damage_in_the_middle_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        write(&path, &[entry(1), entry(3)]);
        let error = Journal::open(&path).err().unwrap().to_string();
        assert!(error.contains("line 2") && error.contains("expected 2"), "{error}");
    }

    #[test]
    fn a_journal_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let _owner = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
    }
}
