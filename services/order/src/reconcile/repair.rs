//! Carrying repairs out: what the POS shows is noted, with whatever follows from it, and a person is told where only a
//! person can mend it.

use std::sync::Arc;

use posmesh_proto::{
    adapter::v1::{Placed, PosOrderRecord},
    common::v1::{Evidence, EvidenceKind},
    order::v1::{Discrepancy, Order, ProposedRepair},
};

use super::{Pos, Reconciler};
use crate::{
    dispatch::with_connection,
    domain::{lifecycle::Event, reconcile::Finding},
    error::Error,
    ledger::Applied,
};

impl Reconciler {
    /// Notes what was found. Returns the discrepancy as it is afterwards.
    pub(super) async fn carry_out(
        &self,
        tenant_id: &Arc<str>,
        pos: &Pos,
        finding: Finding,
    ) -> Result<Discrepancy, Error> {
        let mut discrepancy = finding.discrepancy;
        let Some(mut order) = discrepancy.order.take() else { return Ok(discrepancy) };
        let mut is_noted = false;
        for record in finding.records {
            let seen = Event::SeenAtPos(Box::new(placed(record, pos.connection_id())));
            is_noted |= self.apply(tenant_id, &mut order, seen).await?;
        }
        if let Some(flag) = finding.flag {
            self.apply(tenant_id, &mut order, Event::PersonNeeded(flag)).await?;
        }
        let mends = matches!(discrepancy.repair(), ProposedRepair::Record | ProposedRepair::CancelAtPos);
        discrepancy.repaired = mends && is_noted;
        discrepancy.order = Some(order);
        Ok(discrepancy)
    }

    /// Whether it changed the order.
    async fn apply(&self, tenant_id: &Arc<str>, order: &mut Order, event: Event) -> Result<bool, Error> {
        let (dispatcher, tenant_id, before) = (self.dispatcher.clone(), Arc::clone(tenant_id), order.clone());
        let applied = async move { dispatcher.apply(&tenant_id, before, event).await };
        let (after, changed) = match self.dispatcher.see_through(applied).await?? {
            Applied::Changed { order, .. } => (order, true),
            Applied::Unchanged(order) => (order, false),
        };
        *order = Arc::unwrap_or_clone(after);
        Ok(changed)
    }
}

/// The record as the POS's word about the order.
fn placed(record: PosOrderRecord, connection_id: &str) -> Placed {
    let shown = Evidence {
        kind: EvidenceKind::Pos.into(),
        reference: record.pos_order_reference.clone(),
        time: record.take_time,
        ..Evidence::default()
    };
    Placed {
        evidence: with_connection(vec![shown], connection_id),
        pos_order_reference: record.pos_order_reference,
        pos_check_reference: record.pos_check_reference,
        display_number: record.display_number,
        total: record.total,
        progress: record.progress,
    }
}
