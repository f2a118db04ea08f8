//! Sending orders to what stands in for their POS.

use std::{sync::Arc, time::Duration};

use posmesh_proto::order::v1::{Attempt, AttemptKind, GateState, Order};

use super::Dispatcher;
use crate::{
    domain::{entry::may_divert, gate::Asked, pos::service_mode},
    gate::Fallback,
};

impl Dispatcher {
    /// The attempt by which an order goes to the store's fallback, and the lease that it needs.
    pub(crate) fn divert_attempt(&self, number: i32, fallback: &Fallback) -> (Attempt, Duration) {
        let (attempt, lease) = self.next_attempt(number, Some(&fallback.link));
        let success_evidence = fallback.evidence.clone();
        (Attempt { kind: AttemptKind::Divert.into(), success_evidence, ..attempt }, lease)
    }

    /// [`Dispatcher::divert_attempt`] of an order that is about to be sent to a POS that is away, if it may go to the
    /// fallback instead.
    pub(super) async fn diversion(
        &self,
        tenant_id: &Arc<str>,
        order: &Order,
        pos_connection_id: &str,
    ) -> Option<(Attempt, Duration)> {
        if !may_divert(order) || !self.gates.is_away(pos_connection_id) {
            return None;
        }
        let store = self.reader.stores.get(&order.store_id).await.ok()?;
        let kind = (order.product(), service_mode(order));
        let (gate, fallback) = self.gates.at(tenant_id, &store, kind, Some(pos_connection_id), Asked::AtPos).await;
        let fallback = fallback.filter(|_| gate.state() == GateState::Diverted)?;
        Some(self.divert_attempt(0, &fallback))
    }
}
