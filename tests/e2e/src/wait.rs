//! Waiting for what shall happen.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

const POLL: Duration = Duration::from_millis(20);

/// Far longer than anything takes, unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none in time; the message says what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: not within {} s", PATIENCE.as_secs());
        sleep(POLL).await;
    }
}

/// Waits for something that comes by itself.
///
/// # Panics
/// When it does not come in time; the message says what was waited for.
pub async fn within<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, coming).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}
