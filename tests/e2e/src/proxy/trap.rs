//! Waits for a request with a word in it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// What a caught request sets off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Catch {
    /// Everything is held back from here on.
    Hold,
    /// Its answer is lost with its connection.
    LoseAnswer,
}

/// At most one trap at a time, which catches once.
#[derive(Debug, Default)]
pub(super) struct Traps {
    set: Mutex<Option<(Vec<u8>, Catch)>>,
    caught: watch::Sender<bool>,
    count: AtomicUsize,
}

impl Traps {
    pub(super) fn set(&self, word: &str, catch: Catch) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        self.caught.send_replace(false);
        *set = Some((word.as_bytes().to_vec(), catch));
    }

    pub(super) fn clear(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Looks at a piece of a request. A word that is split over two pieces is not seen.
    pub(super) fn look(&self, piece: &[u8]) -> Option<Catch> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |word: &[u8]| piece.windows(word.len().max(1)).any(|part| part == word);
        let (_, catch) = set.take_if(|(word, _)| holds(word))?;
        self.count.fetch_add(1, Ordering::Relaxed);
        self.caught.send_replace(true);
        Some(catch)
    }

    pub(super) fn caught_in_all(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) async fn caught(&self) {
        // Fails only when the sender, which is ours, is gone.
        let _ = self.caught.subscribe().wait_for(|caught| *caught).await;
    }
}
