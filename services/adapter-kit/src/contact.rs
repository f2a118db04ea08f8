//! Whether a POS was heard of within a write: what an adapter refuses by itself proves nothing about the POS.

use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    static HEARD: AtomicBool;
}

/// Notes that the POS, or its vendor's server, has answered something. [`crate::http::HttpClient`] does so by itself; an
/// adapter that speaks to its POS in another way calls this with each answer, from the task in which it was called.
pub fn pos_answered() {
    // Outside of a write nobody wants to know.
    let _ = HEARD.try_with(|heard| heard.store(true, Ordering::Relaxed));
}

/// Runs a write. Tells as well whether the POS was heard of.
pub(crate) async fn watched<T>(write: impl Future<Output = T>) -> (T, bool) {
    let watched = async {
        let output = write.await;
        (output, HEARD.with(|heard| heard.load(Ordering::Relaxed)))
    };
    HEARD.scope(AtomicBool::new(false), watched).await
}
