//! Ending a check on the platform.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, time};
use posmesh_proto::{order::v1::Check, store::v1::Store};
use tonic::Code;

use super::{Checks, FINISH_LEASE, MAX_CONFLICTS, changes_all_the_time};
use crate::{
    domain::visit::{self, ended, is_open},
    error::Error,
};

impl Checks {
    /// Ends a check: no more rounds. One that has ended already is no error.
    pub(crate) async fn close(&self, tenant_id: &Arc<str>, check_id: &str) -> Result<Check, Error> {
        let check = self.find(tenant_id, check_id).await?;
        self.close_unless_busy(tenant_id, check, ended::CLOSED_BY_CALLER).await
    }

    /// Ends whatever is open on a table: the guests have left. Returns the newest of what was ended.
    pub(crate) async fn release(
        &self,
        tenant_id: &Arc<str>,
        store: &Store,
        table_id: &str,
    ) -> Result<Option<Check>, Error> {
        self.known_table(store, table_id).await?;
        let open = self.open_on(tenant_id, &store.store_id, table_id).await?;
        // All or none: who is told that a round is under way has released nothing.
        for check in &open {
            if self.has_round_in_flight(tenant_id, &check.check_id).await? {
                return Err(round_under_way().into());
            }
        }
        let mut newest = None;
        for check in open {
            let released = self.close_unless_busy(tenant_id, check, ended::TABLE_RELEASED).await?;
            newest.get_or_insert(released);
        }
        Ok(newest)
    }

    async fn close_unless_busy(&self, tenant_id: &Arc<str>, check: Check, why: &str) -> Result<Check, Error> {
        let mut check = check;
        for _ in 0..MAX_CONFLICTS {
            if !is_open(&check) {
                return Ok(check);
            }
            if self.has_round_in_flight(tenant_id, &check.check_id).await? {
                return Err(round_under_way().into());
            }
            // A round that comes in between counts the version up: then the question stands again.
            match self.change(tenant_id, visit::closed(&check, why, time::now()), FINISH_LEASE).await? {
                Ok(closed) => {
                    self.finish_soon(tenant_id, &closed);
                    return Ok(closed);
                }
                Err(current) => check = *current,
            }
        }
        Err(changes_all_the_time(&check.check_id))
    }

    pub(super) async fn has_round_in_flight(&self, tenant_id: &str, check_id: &str) -> Result<bool, Error> {
        self.storage().has_round_in_flight(tenant_id, check_id).await.map_err(Error::Read)
    }
}

/// What was asked for must wait for a round.
pub(super) fn round_under_way() -> Failure {
    let message = "a round of the check is still on its way to the POS; try again when that has ended";
    Failure::new(Code::FailedPrecondition, "ROUND_UNDER_WAY", message).retry_after(Duration::from_secs(2))
}
