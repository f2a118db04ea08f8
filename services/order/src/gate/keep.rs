//! Keeps what this replica knows of loads, pauses and probations in step with the storage, and lets held orders go.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use posmesh_kit::{ambient, call};
use posmesh_pricing::default_service_mode;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{GateReason, GateState, Pause},
};

use super::Gates;
use crate::{
    domain::gate::{Asked, holds, is_over},
    storage::{HeldOrders, Offline, Pace, StorageError},
};

/// How often the storage is looked at when nothing happens: what another replica did is known within a second.
const INTERVAL: Duration = Duration::from_millis(700);
/// Between two looks, whatever happens.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);
/// So long the staff's word waits to be known on this replica; it is durable already.
const LEARN_WITHIN: Duration = Duration::from_secs(3);
/// Noted in one write.
const NOTE_LIMIT: usize = 500;
/// Between two held orders of a connection that is back.
const GAP: Duration = Duration::from_millis(300);
/// Held orders of a connection that are given their time at once.
const RELEASE_LIMIT: usize = 500;
/// Writes at once.
const AT_ONCE: usize = 4;
/// A pause is kept so long after its end, however far clocks differ.
const PAUSE_KEPT_MS: i64 = 60_000;

/// What follows from what was read.
#[derive(Debug, Default)]
pub(super) struct ToDo {
    /// Connections that are open again, which the storage does not know yet.
    opened: Vec<Offline>,
    held: Vec<HeldOrders>,
    /// With their tenants.
    over: Vec<(Arc<str>, Pause)>,
}

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

    /// Tells the storage which connections are OFFLINE, and learns what it tells.
    async fn look(&self) -> Result<(), StorageError> {
        let tenant_id = call::identity().tenant_id;
        for offline in self.board.to_note(&tenant_id).chunks(NOTE_LIMIT) {
            self.storage.note_offline(offline).await?;
            self.board.noted(offline);
        }
        self.read().await
    }

    async fn read(&self) -> Result<(), StorageError> {
        let _alone = self.reading.lock().await;
        let shown_well = self.board.shown_well();
        let facts = self.storage.gate_facts().await?;
        let opened = self.board.learn(&facts, &shown_well);
        let ended_ms = self.clock.now_unix_ms() - PAUSE_KEPT_MS;
        let over = facts.pauses.into_iter().filter(|(_, pause)| self.clock.is_steady() && is_over(pause, ended_ms));
        self.to_do.send_replace(Arc::new(ToDo { opened, held: facts.held, over: over.collect() }));
        Ok(())
    }

    /// Learns what the staff have just said, which holds even where that fails.
    pub(super) async fn learn_now(&self) {
        match tokio::time::timeout(LEARN_WITHIN, self.read()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what the staff said is known here a moment later"),
            Err(_) => tracing::warn!("what the staff said is known here a moment later: the database does not answer"),
        }
    }

    /// Does what follows from each read, beside the next ones. Never returns.
    pub(super) async fn act(self) {
        let mut to_do = self.to_do.subscribe();
        while to_do.changed().await.is_ok() {
            let ToDo { opened, held, over } = &*Arc::clone(&to_do.borrow_and_update());
            stream::iter(opened).for_each_concurrent(AT_ONCE, |offline| self.write(self.open(offline))).await;
            stream::iter(held).for_each_concurrent(AT_ONCE, |held| self.write(self.release(held))).await;
            for (tenant_id, pause) in over {
                self.write(self.storage.forget_pause(tenant_id, pause)).await;
            }
        }
    }

    /// One that fails follows from the next read again.
    async fn write(&self, write: impl Future<Output = Result<(), StorageError>>) {
        match tokio::time::timeout(TIMEOUT, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what follows for gates and held orders could not be written"),
            Err(_) => tracing::warn!("what follows for gates could not be written: the database does not answer"),
        }
    }

    async fn open(&self, offline: &Offline) -> Result<(), StorageError> {
        let Offline { connection_id, version, .. } = offline;
        tracing::info!(connection.id = connection_id, link.version = version, "the way to its POS is open again");
        self.storage.open_probation(offline).await
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
        if self.board.has_lost_links(false) {
            return None;
        }
        let store = self.reader.stores.get(store_id).await.ok()?;
        // Orders for later wait for their POS as well. Whatever the store holds, it is told of what the kitchen has.
        let waits = |product: &Product| *product == Product::ToGo || holds(&store, *product) || *entries > 0;
        let products = store.product_policies.iter().map(|policy| policy.product()).filter(waits);
        if !products.clone().any(|product| self.board.serves(store_id, connection_id, product)) {
            // They go over another one by now.
            return Some(RELEASE_LIMIT);
        }
        let mut limit = None;
        for product in products {
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
