//! What stands on a check, and asking to pay it.

use std::sync::Arc;

use posmesh_kit::{Failure, cause, time};
use posmesh_proto::{
    adapter::v1::PosCheck,
    order::v1::{Check, CheckBill, CheckBillLine, CheckState},
};
use tonic::Code;

use super::{Checks, MAX_CONFLICTS, changes_all_the_time, has_ended, pos::unreachable};
use crate::{
    domain::visit::{Seen, is_open},
    error::Error,
};

impl Checks {
    /// A check with what stands on it at the POS, where the POS tells: whatever the staff entered, took off or added
    /// there, discounts and service charges included.
    pub(crate) async fn get_with_bill(
        &self,
        tenant_id: &Arc<str>,
        check_id: &str,
    ) -> Result<(Check, Option<CheckBill>), Error> {
        let check = self.find(tenant_id, check_id).await?;
        if !is_open(&check) || check.pos_check_reference.is_empty() {
            return Ok((check, None));
        }
        let seen = self.pos.look(&check.store_id, &check.connection_id, &check.pos_check_reference).await;
        let check = self.follow(tenant_id, check, &seen).await?;
        let bill = match seen {
            Seen::Open(at_pos) => Some(to_bill(*at_pos)),
            _ => None,
        };
        Ok((check, bill))
    }

    /// Tells the staff that the guests want to pay. A round on its way does not hold that up: one in doubt would keep
    /// them at the table. It is on the bill once the POS has it.
    pub(crate) async fn request_bill(
        &self,
        tenant_id: &Arc<str>,
        check_id: &str,
    ) -> Result<(Check, Option<CheckBill>), Error> {
        let check = self.find(tenant_id, check_id).await?;
        if !is_open(&check) {
            return Err(has_ended(&check).into());
        }
        if check.pos_check_reference.is_empty() {
            return Err(nothing_ordered().into());
        }
        match self.pos.request_bill(&check).await {
            Ok(at_pos) => Ok((self.bill_requested(tenant_id, check).await?, at_pos.map(to_bill))),
            Err(failed) if failed.cause == cause::CHECK_NOT_FOUND => {
                let check = self.verify(tenant_id, check).await?;
                if is_open(&check) { Err(unreachable(&failed).into()) } else { Err(has_ended(&check).into()) }
            }
            Err(failed) if failed.cause == cause::NOT_SUPPORTED => {
                let message = format!("this POS cannot be told; ask the staff for the bill ({})", failed.message);
                Err(Failure::new(Code::FailedPrecondition, "BILL_NOT_SUPPORTED", message).into())
            }
            Err(failed) => Err(unreachable(&failed).into()),
        }
    }

    async fn bill_requested(&self, tenant_id: &str, check: Check) -> Result<Check, Error> {
        let mut check = check;
        for _ in 0..MAX_CONFLICTS {
            // Asking twice is asking once; and what has ended meanwhile has been paid.
            if check.state() != CheckState::Open {
                return Ok(check);
            }
            let mut next = Check { version: check.version + 1, ..check };
            next.set_state(CheckState::BillRequested);
            match self.change(tenant_id, next, self.interval).await? {
                Ok(changed) => return Ok(changed),
                Err(current) => check = *current,
            }
        }
        Err(changes_all_the_time(&check.check_id))
    }
}

/// Nothing of the check is at the POS.
pub(super) fn nothing_ordered() -> Failure {
    let message = "nothing of this check is at the POS yet, so there is nothing to pay";
    Failure::new(Code::FailedPrecondition, "NOTHING_ORDERED", message)
}

/// The bill, as the POS says it.
pub(super) fn to_bill(check: PosCheck) -> CheckBill {
    let line = |line: posmesh_proto::adapter::v1::PosCheckLine| CheckBillLine {
        line_id: line.line_id,
        name: line.name,
        quantity_milli: line.quantity_milli,
        total: line.total,
        pos_line_reference: line.pos_line_reference,
    };
    CheckBill {
        lines: check.lines.into_iter().map(line).collect(),
        total: check.total,
        tax: check.tax_total,
        read_time: Some(time::now()),
    }
}
