//! Taking orders back, or lines of them: the wish is checked, made durable, and waited for.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, call::Identity};
use posmesh_proto::order::v1::{LineVoid, Order, OrderChangeKind, VoidLinesRequest};
use tokio::time::Instant;

use crate::{
    dispatch::capability,
    domain::{
        accept::check_reason,
        lifecycle::{Event, open_change},
        taking_back::{Wished, change, check_cancel, check_void, not_supported},
    },
    error::Error,
    ledger::Applied,
    place::{Orders, check_wait, wait_until},
    storage::StorageError,
};

/// How often a wish is looked at again because the order changed meanwhile.
const MAX_CONFLICTS: usize = 8;

impl Orders {
    /// Takes an order back, or notes the wish, and waits for what becomes of it.
    pub(crate) async fn cancel(
        &self,
        who: &Identity,
        order: Order,
        reason: &str,
        wait: Duration,
    ) -> Result<Order, Error> {
        check_reason(reason)?;
        self.take_back(who, order, OrderChangeKind::Cancel, &[], reason, Instant::now() + wait).await
    }

    /// Takes lines of an order back, likewise.
    pub(crate) async fn void_lines(&self, who: &Identity, request: VoidLinesRequest) -> Result<Order, Error> {
        let until = Instant::now() + check_wait(request.wait.as_ref())?;
        check_reason(&request.reason)?;
        let order = self.find_by_id(who, request.order_id).await?;
        self.take_back(who, order, OrderChangeKind::VoidLines, &request.lines, &request.reason, until).await
    }

    async fn take_back(
        &self,
        who: &Identity,
        mut order: Order,
        kind: OrderChangeKind,
        lines: &[LineVoid],
        reason: &str,
        until: Instant,
    ) -> Result<Order, Error> {
        let news = self.ledger.hub.watch(&who.tenant_id, &order, None);
        for _ in 0..MAX_CONFLICTS {
            let wished = match kind {
                OrderChangeKind::VoidLines => check_void(&order, lines)?,
                _ => check_cancel(&order)?,
            };
            match wished {
                Wished::Done => return Ok(order),
                Wished::Waiting => return Ok(wait_until(order, news, until, is_decided).await),
                Wished::AskPos => self.check_supported(&order, kind).await?,
                Wished::Ask => {}
            }
            let event = Event::ChangeAsked(Box::new(change(kind, lines, &who.caller, reason)));
            let (dispatcher, tenant_id) = (self.dispatcher.clone(), Arc::clone(&who.tenant_id));
            let noted = async move { dispatcher.apply(&tenant_id, order, event).await };
            // A caller who does not wait for the answer leaves no wish that nobody carries out.
            match self.dispatcher.see_through(noted).await?? {
                Applied::Changed { order, .. } => {
                    let order = Arc::unwrap_or_clone(order);
                    return Ok(wait_until(order, news, until, is_decided).await);
                }
                Applied::Unchanged(current) => order = Arc::unwrap_or_clone(current),
            }
        }
        Err(StorageError::Refused(format!("the order {} changes all the time", order.order_id)).into())
    }

    /// What the POS cannot do is refused before anything is written, with the staff's step instead. A POS of which
    /// nothing is known now decides later.
    async fn check_supported(&self, order: &Order, kind: OrderChangeKind) -> Result<(), Failure> {
        let capability = capability(kind);
        match self.dispatcher.link_where_sent(order).await {
            Some(link) if !link.can(capability) => Err(not_supported(order, kind, link.note(capability))),
            Some(_) | None => Ok(()),
        }
    }
}

fn is_decided(order: &Order) -> bool {
    open_change(order).is_none()
}
