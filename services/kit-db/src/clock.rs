//! The clock of a storage in memory.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

/// Tells the time since some moment, the same for everybody who shares the storage. By default the runtime's clock; a
/// simulation whose processes have a runtime each gives one that they share.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// A clock that `elapsed` tells; it never goes back.
    pub fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    /// Now.
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        let begun = Instant::now();
        Self::new(move || begun.elapsed())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
