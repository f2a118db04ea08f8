//! What is told to a person who waits.

use std::{
    future::Future,
    io::Write as _,
    time::{Duration, Instant},
};

/// Prints `what`, works, and prints how long it took with what `told` says about the result.
pub(crate) async fn step<T>(
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
    told: impl FnOnce(&T) -> String,
) -> anyhow::Result<T> {
    print!("{what} … ");
    // A terminal that has gone is no reason to end.
    let _ = std::io::stdout().flush();
    let began = Instant::now();
    match work.await {
        Ok(result) => {
            println!("{}{}", seconds(began.elapsed()), told(&result));
            Ok(result)
        }
        Err(error) => {
            println!("failed after {}", seconds(began.elapsed()));
            Err(error)
        }
    }
}

/// For people: `0.42 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
