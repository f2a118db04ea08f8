//! Comparing orders after an outage. It is tried until the POS answers; then once more, when the last write of the outage
//! must have taken effect.

use std::{pin::pin, time::Duration};

use posmesh_kit::{backoff, telemetry, time};
use posmesh_proto::order::v1::{ProposedRepair, ReconcileOrdersResponse};

use super::{Errands, LEASE};
use crate::{
    error::Error,
    reconcile::Window,
    storage::{Errand, Next},
};

const RETRY_BASE: Duration = Duration::from_secs(2);
const RETRY_CAP: Duration = Duration::from_secs(30);
/// What is not compared within this is given up, and left to `posmesh reconcile`.
const MAX_AGE: Duration = Duration::from_secs(7 * 86_400);
/// What is compared twice.
const OVERLAP: Duration = Duration::from_secs(600);
/// The POS answered, and was compared once.
const COMPARED_ONCE: &str = "compared-once";

impl Errands {
    /// Compares what was placed during an outage, slice by slice.
    pub(super) async fn compare_after_outage(&self, errand: &mut Errand) -> Option<Next> {
        let now_ms = time::now_unix_ms();
        let oldest_ms = now_ms.saturating_sub(i64::try_from(MAX_AGE.as_millis()).unwrap_or(i64::MAX));
        // Something failed since: then that was not the end of it.
        let is_final = errand.progress == COMPARED_ONCE && !errand.woken;
        let mut window = Window { from_ms: errand.since_ms.max(oldest_ms), before_ms: now_ms };
        while window.from_ms < window.before_ms {
            match self.compare_slice(errand, window).await? {
                Ok((report, from_ms)) => {
                    tell(errand, &report);
                    (window.from_ms, errand.since_ms) = (from_ms, from_ms);
                }
                Err(error) => return Some(not_now(errand, error)),
            }
            errand.failures = 0;
            if !self.put(errand, Next::GoOn(LEASE)).await {
                return None;
            }
        }
        tracing::info!(connection.id = %errand.connection_id, is_final, "the orders of an outage were compared");
        if is_final {
            errand.progress.clear();
            return Some(Next::Rest);
        }
        COMPARED_ONCE.clone_into(&mut errand.progress);
        // What was written last may have been on its way while the POS was asked.
        let overlap = OVERLAP.max(self.reconciler.longest_write() * 2);
        errand.since_ms = now_ms.saturating_sub(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
        Some(Next::Again(self.reconciler.longest_write()))
    }

    /// Compares the first slice of a window, however long that takes: a POS that is asked order by order takes longer than
    /// a lease lasts. `None`: another replica has the errand by now.
    async fn compare_slice(
        &self,
        errand: &Errand,
        window: Window,
    ) -> Option<Result<(ReconcileOrdersResponse, i64), Error>> {
        let mut comparing = pin!(self.reconciler.repair_first(&errand.tenant_id, &errand.connection_id, window));
        loop {
            tokio::select! {
                compared = &mut comparing => return Some(compared),
                () = tokio::time::sleep(LEASE / 3) => if !self.put(errand, Next::GoOn(LEASE)).await { return None },
            }
        }
    }
}

fn not_now(errand: &mut Errand, error: Error) -> Next {
    let connection_id = &errand.connection_id;
    if let Error::Refused(failure) = &error
        && matches!(failure.reason(), "CONNECTION_NOT_FOUND" | "RECONCILE_NOT_SUPPORTED" | "STORE_NOT_FOUND")
    {
        tracing::info!(connection.id = %connection_id, "the orders of an outage cannot be compared: {failure}");
        return Next::Rest;
    }
    if let Error::Refused(failure) = &error
        && failure.reason() == "TOO_MANY_ORDERS"
    {
        // It would be listed in vain again and again.
        tracing::error!(connection.id = %connection_id, "the orders of an outage are left to `posmesh reconcile`: {failure}");
        return Next::Rest;
    }
    tracing::debug!(%error, connection.id = %connection_id, "the orders of an outage cannot be compared yet");
    let pause = backoff::delay_after(RETRY_BASE, RETRY_CAP, errand.failures);
    errand.failures = errand.failures.saturating_add(1);
    Next::Again(pause)
}

fn tell(errand: &Errand, report: &ReconcileOrdersResponse) {
    let connection_id = &errand.connection_id;
    for discrepancy in &report.discrepancies {
        let order_id = discrepancy.order.as_ref().map(|order| order.order_id.as_str()).unwrap_or_default();
        let (kind, repaired) = (discrepancy.kind().as_str_name(), discrepancy.repaired);
        telemetry::count("posmesh.order.discrepancies", 1, &[("kind", kind)]);
        if discrepancy.repair() == ProposedRepair::TellPerson {
            tracing::error!(connection.id = %connection_id, order.id = %order_id, kind, "{}", discrepancy.message);
        } else {
            tracing::warn!(connection.id = %connection_id, order.id = %order_id, kind, repaired, "{}", discrepancy.message);
        }
    }
    telemetry::count("posmesh.order.reconciled", u64::try_from(report.compared).unwrap_or(0), &[]);
}
