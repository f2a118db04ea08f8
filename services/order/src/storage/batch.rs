//! Working through a batch on a database: one bad row must not fail its neighbours, and two items about the same thing
//! must not meet in one statement.

use std::{collections::HashSet, hash::Hash, time::Duration};

use posmesh_kit::backoff;
use posmesh_kit_db::is_ambiguous;

use super::StorageError;

/// How often a batch is tried that the database wants to see again.
const MAX_TRIES: u32 = 6;
const RETRY_BASE: Duration = Duration::from_millis(2);
const RETRY_CAP: Duration = Duration::from_millis(50);

/// Why a transaction over a batch failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was written, and another try may do: it lost against a concurrent transaction.
    Again(String),
    /// Nothing was written, and one of the rows is to blame.
    Row(StorageError),
    /// Nothing is to be gained by another try.
    All(StorageError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default();
                if is_passing(&code) {
                    Self::Again(text)
                } else if refusal.kind() != sqlx::error::ErrorKind::Other || is_about_data(&code) {
                    Self::Row(StorageError::Refused(text))
                } else {
                    Self::All(error.into())
                }
            }
            sqlx::Error::Encode(_) => Self::Row(StorageError::Refused(text)),
            _ => Self::All(error.into()),
        }
    }
}

impl From<StorageError> for Failed {
    /// What is stored about one order or check cannot be read: the others are not concerned.
    fn from(error: StorageError) -> Self {
        Self::Row(error)
    }
}

impl From<Failed> for StorageError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Again(text) => Self::Refused(text),
            Failed::Row(error) | Failed::All(error) => error,
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        if is_ambiguous(&error) { Self::Ambiguous(error.to_string()) } else { Self::Refused(error.to_string()) }
    }
}

/// PostgreSQL: serialization failure, deadlock. SQLite: BUSY, and BUSY_SNAPSHOT.
fn is_passing(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "5" | "517")
}

/// PostgreSQL: data exception, program limit exceeded. SQLite: TOOBIG, MISMATCH.
fn is_about_data(code: &str) -> bool {
    matches!(code, "18" | "20") || code.len() == 5 && (code.starts_with("22") || code.starts_with("54"))
}

/// The work that a batch needs: which items to write together next, until each has its answer.
#[derive(Debug)]
pub(super) struct Batches<T, R> {
    items: Vec<T>,
    answers: Vec<Option<Result<R, StorageError>>>,
    /// Indices into `items`, and how often they were tried together; the last one is next.
    todo: Vec<(Vec<usize>, u32)>,
}

impl<T, R> Batches<T, R> {
    /// No two items with the same key are written together; earlier ones come first.
    pub(super) fn new<K: Hash + Eq>(items: Vec<T>, key: impl Fn(&T) -> K) -> Self {
        let mut todo = Vec::new();
        let mut rest: Vec<usize> = (0..items.len()).collect();
        while !rest.is_empty() {
            let mut seen = HashSet::new();
            let (wave, again): (Vec<usize>, Vec<usize>) = rest.iter().partition(|i| seen.insert(key(&items[**i])));
            todo.push((wave, 0));
            rest = again;
        }
        todo.reverse();
        let answers = items.iter().map(|_| None).collect();
        Self { items, answers, todo }
    }

    /// What to write next in one transaction.
    pub(super) fn next(&self) -> Option<Vec<&T>> {
        let (wave, _) = self.todo.last()?;
        Some(wave.iter().map(|i| &self.items[*i]).collect())
    }

    /// What came of it: one answer for each item, or a failure of all, of which nothing was written unless it is
    /// ambiguous. It is tried again, halved or final.
    pub(super) async fn done(&mut self, outcome: Result<Vec<Result<R, StorageError>>, Failed>) {
        let Some((mut wave, tries)) = self.todo.pop() else { return };
        let failed = match outcome {
            Ok(answers) => {
                for (index, answer) in wave.into_iter().zip(answers) {
                    self.answers[index] = Some(answer);
                }
                return;
            }
            Err(Failed::Again(_)) if tries + 1 < MAX_TRIES => {
                tokio::time::sleep(backoff::delay_after(RETRY_BASE, RETRY_CAP, tries)).await;
                self.todo.push((wave, tries + 1));
                return;
            }
            Err(Failed::Row(_)) if wave.len() > 1 => {
                let second = wave.split_off(wave.len() / 2);
                self.todo.push((second, 0));
                self.todo.push((wave, 0));
                return;
            }
            Err(failed) => failed,
        };
        let error = StorageError::from(failed);
        for index in wave {
            self.answers[index] = Some(Err(error.clone()));
        }
    }

    /// One answer for each item, in order.
    pub(super) fn into_answers(self) -> Vec<Result<R, StorageError>> {
        let lost = || Err(StorageError::Ambiguous("no answer came".to_owned()));
        self.answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect()
    }
}
