//! One durable transaction for many callers: while a lane commits, the next batch gathers. Nobody waits on purpose, so
//! an idle caller pays nothing for it.

use std::{future::Future, sync::Arc};

use tokio::sync::{mpsc, oneshot};

/// The largest batch. Larger ones lengthen each commit more than they save.
const MAX_BATCH: usize = 128;

/// Why an item got no answer of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// The queue is full; the item was not written.
    Overloaded,
    /// The lane ended before it answered; the item may have been written.
    Unanswered,
}

type Entry<T, R> = (T, oneshot::Sender<R>);

/// Gathers items and writes them in batches, each answered by itself. Cheap to clone; ends when the last clone is
/// dropped and the queue is empty.
#[derive(Debug)]
pub struct GroupCommit<T, R> {
    queue: mpsc::Sender<Entry<T, R>>,
}

impl<T, R> Clone for GroupCommit<T, R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> GroupCommit<T, R> {
    /// `write` gets 1 to 128 items and returns one answer for each, in order. `lanes` batches are written at once;
    /// `capacity` items may wait.
    pub fn start<W, F>(lanes: usize, capacity: usize, write: W) -> Self
    where
        W: Fn(Vec<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let (queue, entries) = mpsc::channel(capacity);
        let entries = Arc::new(tokio::sync::Mutex::new(entries));
        let write = Arc::new(write);
        for _ in 0..lanes.max(1) {
            tokio::spawn(run_lane(Arc::clone(&entries), Arc::clone(&write)));
        }
        Self { queue }
    }

    /// Writes one item with whatever else is waiting, and returns its answer once it is durable.
    pub async fn submit(&self, item: T) -> Result<R, Rejected> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send((item, answer)).map_err(|_| Rejected::Overloaded)?;
        answered.await.map_err(|_| Rejected::Unanswered)
    }
}

async fn run_lane<T, R, W, F>(entries: Arc<tokio::sync::Mutex<mpsc::Receiver<Entry<T, R>>>>, write: Arc<W>)
where
    T: Send + 'static,
    R: Send + 'static,
    W: Fn(Vec<T>) -> F + Send + Sync + 'static,
    F: Future<Output = Vec<R>> + Send + 'static,
{
    loop {
        let mut batch = Vec::new();
        // Whoever holds the lock gathers; the other lanes write or wait their turn.
        if entries.lock().await.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        let (items, answers): (Vec<T>, Vec<oneshot::Sender<R>>) = batch.into_iter().unzip();
        for (answer, result) in answers.into_iter().zip(write(items).await) {
            // A caller that has gone does not need its answer.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_gathers_during_a_commit_is_written_in_one_batch_and_each_caller_gets_its_own_answer() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let first_may_end = Arc::new(Notify::new());
        let (seen, gate) = (Arc::clone(&sizes), Arc::clone(&first_may_end));
        let commit = GroupCommit::start(1, 100, move |items: Vec<u32>| {
            let first = seen.lock().unwrap().is_empty();
            seen.lock().unwrap().push(items.len());
            let gate = Arc::clone(&gate);
            async move {
                if first {
                    gate.notified().await;
                }
                items.into_iter().map(|i| i * 10).collect()
            }
        });
        let ask = |i| {
            let commit = commit.clone();
            tokio::spawn(async move { commit.submit(i).await.unwrap() })
        };
        let first = ask(0);
        while sizes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (1..=20).map(ask).collect();
        while commit.queue.capacity() > 80 {
            tokio::task::yield_now().await;
        }
        first_may_end.notify_one();
        assert_eq!(first.await.unwrap(), 0);
        for (i, other) in (1..=20).zip(others) {
            assert_eq!(other.await.unwrap(), i * 10);
        }
        assert_eq!(*sizes.lock().unwrap(), [1, 20]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_instead_of_growing() {
        let writing = Arc::new(Notify::new());
        let began = Arc::clone(&writing);
        let commit = GroupCommit::start(1, 1, move |items: Vec<u32>| {
            began.notify_one();
            async move {
                std::future::pending::<()>().await;
                items
            }
        });
        let stuck = |i| {
            let commit = commit.clone();
            tokio::spawn(async move { commit.submit(i).await })
        };
        let first = stuck(0);
        writing.notified().await;
        let second = stuck(1);
        while commit.queue.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(commit.submit(9).await, Err(Rejected::Overloaded));
        first.abort();
        second.abort();
    }
}
