//! One write at a time per till: Odoo serves concurrent ones by retries with growing sleeps, and gives up after five.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::settings::Settings;

/// Tills whose locks are kept while nobody uses them.
const MAX_IDLE: usize = 1_000;

/// The locks of all tills of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct TillLocks(Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>);

impl TillLocks {
    /// Waits until no other write to the till runs. To be held until the write is read back.
    pub(crate) async fn lock(&self, settings: &Settings) -> OwnedMutexGuard<()> {
        let till = format!("{} {} {}", settings.base_url, settings.database, settings.pos_config);
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() > MAX_IDLE {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(locks.entry(till).or_default())
        };
        lock.lock_owned().await
    }
}
