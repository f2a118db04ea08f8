//! Keeps what this replica knows of loads, pauses and probations in step with the storage, and lets held orders go.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{ambient, call};
use posmesh_pricing::default_service_mode;
use posmesh_proto::order::v1::{GateReason, GateState};

use super::Gates;
use crate::{
    domain::gate::{Asked, holds},
    storage::{HeldOrders, Offline, Pace, StorageError},
};

/// How often the storage is looked at when nothing happens: what another replica did is known within a second.
const INTERVAL: Duration = Duration::from_millis(700);
/// Between two looks, whatever happens.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Noted in one write.
const NOTE_LIMIT: usize = 500;
/// Between two held orders of a connection that is back.
const GAP: Duration = Duration::from_millis(300);
/// Held orders of a connection that are given their time at once.
const RELEASE_LIMIT: usize = 500;

impl Gates {
    /// Never returns.
    pub(super) async fn keep(self) {
        loop {
            match tokio::time::timeout(TIMEOUT, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "what gates hang on could not be read or written"),
                Err(_) => tracing::warn!("what gates hang on could not be read: the database does not answer"),
            }
            tokio::time::sleep(LEAST_PAUSE).await;
            let pause = INTERVAL.mul_f64(ambient::jitter(0.75, 1.25));
            let _ = tokio::time::timeout(pause, self.board.wanted()).await;
        }
    }

    /// Looks at the storage, and does what follows.
    pub(super) async fn look(&self) -> Result<(), StorageError> {
        let tenant_id = call::identity().tenant_id;
        for offline in self.board.to_note(&tenant_id).chunks(NOTE_LIMIT) {
            self.storage.note_offline(offline).await?;
            self.board.noted(offline);
        }
        let facts = self.storage.gate_facts().await?;
        for offline in self.board.learn(&facts) {
            let Offline { connection_id, version, .. } = &offline;
            tracing::info!(connection.id = connection_id, link.version = version, "the way to its POS is open again");
            self.storage.open_probation(&offline).await?;
        }
        for held in &facts.held {
            self.release(held).await?;
        }
        Ok(())
    }

    /// Lets orders fall due whose connection is back: one after the other, so that it is not flooded; on probation one
    /// alone. Each replica may do so: the next one's times are the same.
    async fn release(&self, held: &HeldOrders) -> Result<(), StorageError> {
        let Some(limit) = self.release_limit(held).await else { return Ok(()) };
        let gap = if limit == 1 { Duration::ZERO } else { GAP };
        let pace = Pace { first_in: gap.mul_f64(ambient::jitter(0.0, 1.0)), gap, limit };
        self.storage.release_held(&held.tenant_id, &held.connection_id, pace).await
    }

    /// How many may go. `None`: none.
    async fn release_limit(&self, held: &HeldOrders) -> Option<usize> {
        let HeldOrders { tenant_id, store_id, connection_id, count, entries } = held;
        let store = self.reader.stores.get(store_id).await.ok()?;
        let products = store.product_policies.iter().map(|policy| policy.product());
        let mut limit = None;
        // Whatever the store holds, it is told of what the kitchen has.
        for product in products.filter(|product| holds(&store, *product) || *entries > 0) {
            let kind = (product, default_service_mode(product));
            let (gate, _) = self.at(&Arc::clone(tenant_id), &store, kind, Some(connection_id), Asked::AtPos).await;
            limit = limit.max(match (gate.state(), gate.reason()) {
                (GateState::Open, _) => Some(RELEASE_LIMIT),
                (GateState::Diverted, _) if *count > 0 => Some(RELEASE_LIMIT),
                (GateState::Probation, GateReason::LinkReopening) => Some(1),
                _ => None,
            });
        }
        limit
    }
}
