//! The vendor's budget: calls per second of all connections together. Connections that wait get their turns one after the
//! other, however many calls each has waiting, so that a busy store never starves another.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Instances, Key, NoTurn, RETRY_AFTER,
    pace::{Pace, Starts},
};

/// A rate that the live instances of the adapter share.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: f64,
    instances: Arc<Instances>,
    line: Mutex<Line>,
}

/// Who waits.
#[derive(Debug, Default)]
struct Line {
    starts: Starts,
    /// Connections with calls that wait, the next one first. Each once.
    connections: VecDeque<Key>,
    waiting: HashMap<Key, VecDeque<Arc<Notify>>>,
}

impl Budget {
    pub(super) fn new(per_second: f64, instances: Arc<Instances>) -> Option<Self> {
        Pace::new(per_second)?;
        Some(Self { per_second, instances, line: Mutex::default() })
    }

    /// This instance's share.
    fn pace(&self) -> Option<Pace> {
        Pace::new(self.per_second / f64::from(self.instances.get()))
    }

    /// Waits for the connection's next turn, at most until `deadline`.
    pub(super) async fn turn(&self, connection: Key, deadline: Instant) -> Result<(), NoTurn> {
        let place = Place::take(self, connection);
        if timeout_at(deadline, place.first.notified()).await.is_err() {
            return Err(NoTurn::TooLate { retry_after: RETRY_AFTER });
        }
        // A share that is too small to be a rate would be one call in years.
        let Some(pace) = self.pace() else { return Err(NoTurn::TooLate { retry_after: RETRY_AFTER }) };
        // First in line, and alone in that: nobody else books a start.
        let start = self.line().starts.plan(pace, Instant::now(), deadline);
        sleep_until(start.map_err(|retry_after| NoTurn::TooLate { retry_after })?).await;
        Ok(())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, until the call starts or gives up.
struct Place<'a> {
    budget: &'a Budget,
    connection: Key,
    /// Notified once it is the first.
    first: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn take(budget: &'a Budget, connection: Key) -> Self {
        let first = Arc::new(Notify::new());
        let mut line = budget.line();
        if !line.waiting.contains_key(&connection) {
            line.connections.push_back(connection.clone());
        }
        line.waiting.entry(connection.clone()).or_default().push_back(Arc::clone(&first));
        line.call_first();
        drop(line);
        Self { budget, connection, first }
    }
}

impl Drop for Place<'_> {
    /// The connection goes to the end of the line, if it has more; the next one is called.
    fn drop(&mut self) {
        let mut line = self.budget.line();
        let is_first = line.first().is_some_and(|first| Arc::ptr_eq(first, &self.first));
        let Some(own) = line.waiting.get_mut(&self.connection) else { return };
        own.retain(|waiting| !Arc::ptr_eq(waiting, &self.first));
        let is_last = own.is_empty();
        if is_last {
            line.waiting.remove(&self.connection);
        }
        if is_first {
            line.connections.pop_front();
            if !is_last {
                line.connections.push_back(self.connection.clone());
            }
        } else if is_last {
            line.connections.retain(|connection| *connection != self.connection);
        }
        line.call_first();
    }
}

impl Line {
    fn first(&self) -> Option<&Arc<Notify>> {
        self.waiting.get(self.connections.front()?)?.front()
    }

    /// A first one that was called already keeps its call.
    fn call_first(&self) {
        if let Some(first) = self.first() {
            first.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn budget(per_second: f64, instances: i32) -> Arc<Budget> {
        let known = Arc::new(Instances::default());
        known.set(instances);
        Arc::new(Budget::new(per_second, known).unwrap())
    }

    fn key(connection: &str) -> Key {
        ("t".to_owned(), connection.to_owned())
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    /// Calls of one connection, one after the other in the log as they start.
    fn calls(budget: &Arc<Budget>, connection: &'static str, count: usize, log: &Arc<Mutex<Vec<&'static str>>>) {
        for _ in 0..count {
            let (budget, log) = (Arc::clone(budget), Arc::clone(log));
            tokio::spawn(async move {
                budget.turn(key(connection), later()).await.unwrap();
                log.lock().unwrap().push(connection);
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_store_does_not_starve_another() {
        let (budget, log) = (budget(1.0, 1), Arc::default());
        calls(&budget, "busy", 50, &log);
        tokio::time::sleep(Duration::from_millis(10)).await;
        calls(&budget, "quiet", 2, &log);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let started = log.lock().unwrap().clone();
        let quiet: Vec<usize> = started.iter().enumerate().filter(|(_, c)| **c == "quiet").map(|(i, _)| i).collect();
        assert_eq!(quiet.len(), 2, "{started:?}");
        assert!(quiet[1] - quiet[0] <= 2 && quiet[0] <= 3, "they take turns: {started:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_instance_takes_its_share_and_a_new_one_takes_some_of_it() {
        let (shared, log) = (budget(4.0, 2), Arc::default());
        calls(&shared, "a", 100, &log);
        tokio::time::sleep(Duration::from_millis(10_500)).await;
        let half = log.lock().unwrap().len();
        assert!((20..=23).contains(&half), "2 a second: {half}");
        shared.instances.set(4);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let quarter = log.lock().unwrap().len() - half;
        assert!((9..=12).contains(&quarter), "1 a second: {quarter}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_line_to_the_others() {
        let (budget, log) = (budget(1.0, 1), Arc::default());
        budget.turn(key("a"), later()).await.unwrap();
        let impatient = budget.turn(key("b"), Instant::now() + Duration::from_millis(10)).await;
        assert!(
            matches!(impatient, Err(NoTurn::TooLate { retry_after }) if retry_after <= Duration::from_millis(1050))
        );
        let dropped = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.turn(key("c"), later()).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        dropped.abort();
        calls(&budget, "d", 1, &log);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(*log.lock().unwrap(), ["d"]);
        assert!(budget.line().waiting.is_empty() && budget.line().connections.is_empty());
    }
}
