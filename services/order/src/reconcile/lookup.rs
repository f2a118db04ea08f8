//! Asking for single orders: those that a list does not show, and all of them where there is no list.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use posmesh_kit::{backoff, cause, failure, time};
use posmesh_proto::{
    adapter::v1::{
        FindFailed, FindKind, FindOrderResponse, ListOrders, Placed, PosOrderProgress, PosOrderRecord,
        PosOrderRecordLine, find_order_response::Result as Found,
    },
    order::v1::{Attempt, Order, OrderState},
};
use tonic::Request;

use super::{
    Pos, Reconciler,
    listing::{cause_of, unreachable},
};
use crate::{
    domain::{
        lifecycle::{last_submit, of_side, writes_order},
        pos::to_find_request,
        reconcile::Theirs,
        settling::{find_proves, max_apply_delay, proof_ms},
    },
    error::Error,
};

const FIND_TIMEOUT: Duration = Duration::from_secs(10);
/// Orders that are asked for at once; the adapter's own limits hold besides.
const AT_ONCE: usize = 4;
const MAX_TRIES: u32 = 6;
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(3);

impl Reconciler {
    /// Asks for each order that was not shown and about which the POS's word matters.
    pub(super) async fn look_up(
        &self,
        tenant_id: &str,
        pos: &Pos,
        paired: Vec<(Order, Theirs)>,
    ) -> Result<Vec<(Order, Theirs)>, Error> {
        let look = |(order, theirs): (Order, Theirs)| async move {
            let theirs = match theirs {
                Theirs::Unproven if must_ask(pos, &order) => self.ask(tenant_id, pos, &order).await?,
                theirs => theirs,
            };
            Ok((order, theirs))
        };
        stream::iter(paired).map(look).buffered(AT_ONCE).try_collect().await
    }

    async fn ask(&self, tenant_id: &str, pos: &Pos, order: &Order) -> Result<Theirs, Error> {
        let went_there = |attempt: &&Attempt| writes_order(attempt) && attempt.connection_id == pos.connection_id();
        let Some(attempt) = order.attempts.iter().rev().find(went_there).cloned() else { return Ok(Theirs::Unproven) };
        let check = match order.check_id.as_str() {
            "" => None,
            check_id => self.ledger.storage.check(tenant_id, check_id).await.map_err(Error::Read)?,
        };
        let asked_ms = time::now_unix_ms();
        let mut tries = 0;
        loop {
            let mut request = Request::new(to_find_request(order, check.as_ref(), &attempt));
            request.set_timeout(FIND_TIMEOUT);
            let (why, message) = match self.reader.adapter.clone().find_order(request).await {
                Ok(answer) => {
                    match judge(order, answer.into_inner(), self.proves_absence(pos, order, &attempt, asked_ms)) {
                        Ok(theirs) => return Ok(theirs),
                        Err(failed) => (failed.cause, failed.message),
                    }
                }
                // It leads elsewhere by now: what is there says nothing about this order.
                Err(status) if failure::reason(&status) == "REVISION_CHANGED" => return Ok(Theirs::Unproven),
                Err(status) => cause_of(&status),
            };
            tries += 1;
            if why != cause::RATE_LIMITED || tries == MAX_TRIES {
                return Err(unreachable(pos.connection_id(), &why, &message).into());
            }
            tokio::time::sleep(backoff::delay_after(RETRY_BASE, RETRY_CAP, tries)).await;
        }
    }

    /// Whether "no such order" is a proof: the POS can tell, it is the one that the order went to, no writer is at work,
    /// and the clock that says so did not jump.
    fn proves_absence(&self, pos: &Pos, order: &Order, attempt: &Attempt, asked_ms: i64) -> bool {
        let descriptor = &pos.link.descriptor;
        let is_there = pos.link.leads_where_it_did(&attempt.connection_id, attempt.connection_revision);
        let proven_ms = proof_ms(of_side(order, attempt), max_apply_delay(descriptor), self.dispatcher.margin());
        is_there
            && find_proves(attempt, descriptor)
            && proven_ms.is_some_and(|proven_ms| asked_ms >= proven_ms)
            && self.dispatcher.is_clock_steady()
    }
}

/// Where the POS lists, only what we hold as placed can be missing; where it does not, each that was sent is asked for.
fn must_ask(pos: &Pos, order: &Order) -> bool {
    use OrderState as S;
    let can_find = pos.link.descriptor.find.as_ref().is_some_and(|find| find.kind() != FindKind::None);
    let is_placed = matches!(order.state(), S::Placed | S::InPreparation | S::Ready | S::Completed);
    can_find && last_submit(order).is_some() && (is_placed || pos.listed() == ListOrders::None)
}

fn judge(order: &Order, answer: FindOrderResponse, proves_absence: bool) -> Result<Theirs, FindFailed> {
    Ok(match answer.result {
        Some(Found::Found(placed)) => Theirs::Shown(vec![record(order, placed, Vec::new())]),
        Some(Found::Cancelled(cancelled)) => {
            let placed = cancelled.placed.unwrap_or_default();
            let progress = PosOrderProgress::Cancelled.into();
            Theirs::Shown(vec![PosOrderRecord { progress, ..record(order, placed, Vec::new()) }])
        }
        Some(Found::PartlyFound(part)) => {
            let found = order.lines.iter().filter(|line| part.found_line_ids.contains(&line.line_id));
            let lines = found.map(|line| PosOrderRecordLine {
                line_id: line.line_id.clone(),
                quantity_milli: i64::from(line.quantity.saturating_sub(line.quantity_voided)) * 1000,
            });
            Theirs::Shown(vec![record(order, part.placed.unwrap_or_default(), lines.collect())])
        }
        Some(Found::NotFound(absent)) if absent.authoritative && proves_absence => Theirs::Absent,
        Some(Found::NotFound(_)) | None => Theirs::Unproven,
        Some(Found::Failed(failed)) => return Err(failed),
    })
}

fn record(order: &Order, placed: Placed, lines: Vec<PosOrderRecordLine>) -> PosOrderRecord {
    PosOrderRecord {
        pos_order_reference: placed.pos_order_reference,
        reference: order.order_id.clone(),
        pos_check_reference: placed.pos_check_reference,
        progress: placed.progress,
        take_time: None,
        display_number: placed.display_number,
        total: placed.total,
        lines,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::{
        adapter::v1::{NotFound, PartlyFound},
        order::v1::OrderLine,
    };

    use super::*;

    fn order() -> Order {
        let line = |line_id: &str| OrderLine { line_id: line_id.into(), quantity: 2, ..OrderLine::default() };
        Order { order_id: "o-1".into(), lines: vec![line("l-1"), line("l-2")], ..Order::default() }
    }

    fn judged(result: Found, proves_absence: bool) -> Theirs {
        judge(&order(), FindOrderResponse { result: Some(result) }, proves_absence).unwrap()
    }

    #[test]
    fn only_a_proof_makes_an_order_absent() {
        let absent = |authoritative| Found::NotFound(NotFound { authoritative });
        assert_eq!(judged(absent(true), true), Theirs::Absent);
        assert_eq!(judged(absent(true), false), Theirs::Unproven);
        assert_eq!(judged(absent(false), true), Theirs::Unproven);
    }

    #[test]
    fn the_lines_that_are_not_found_are_missing_from_what_is_shown() {
        let part = PartlyFound { found_line_ids: vec!["l-2".into()], ..PartlyFound::default() };
        let Theirs::Shown(records) = judged(Found::PartlyFound(part), true) else { panic!("it is shown") };
        assert_eq!(records[0].lines, [PosOrderRecordLine { line_id: "l-2".into(), quantity_milli: 2000 }]);
    }

    #[test]
    fn a_pos_that_cannot_be_asked_is_no_absence() {
        let failed = FindFailed { cause: cause::NETWORK_DOWN.into(), ..FindFailed::default() };
        let answer = FindOrderResponse { result: Some(Found::Failed(failed)) };
        assert!(judge(&order(), answer, true).is_err());
    }
}
