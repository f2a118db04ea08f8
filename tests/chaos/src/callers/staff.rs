//! A member of the staff who works off the list of orders that the POS must be told of: looks at the till, keys in what is
//! not there, and says so.

use std::{sync::Arc, time::Duration};

use posmesh_e2e::Pos;
use posmesh_proto::order::v1::{ListOrdersRequest, Order, PosEntry, ResolutionKind, ResolveOrderRequest};
use reqwest::Method;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tonic::Request;

use super::World;

/// How often the list is looked at, and how long a call is waited for.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);
/// Orders that are worked off at a look.
const AT_ONCE: i32 = 100;

/// Works until it is dropped: longer than the guests stay.
pub fn begin(world: &Arc<World>, till: &Arc<Pos>) -> AbortOnDropHandle<()> {
    let (world, till) = (Arc::clone(world), Arc::clone(till));
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            sleep(LOOK).await;
            // What cannot be done now is tried at the next look.
            let _ = work_off(&world, &till).await;
        }
    }))
}

async fn work_off(world: &World, till: &Pos) -> anyhow::Result<()> {
    // Nothing can be entered while the till is away.
    till.try_ask(Method::GET, "/api/status", None).await?;
    let list = ListOrdersRequest {
        store_id: world.store_id.clone(),
        needs_person: true,
        page_size: AT_ONCE,
        ..ListOrdersRequest::default()
    };
    let listed = world.replicas[0].clone().list_orders(timed(list)).await?.into_inner().orders;
    // Oldest first, as the guests came.
    for order in listed.iter().rev().filter(|order| order.pos_entry() == PosEntry::Due) {
        let kind = see_to(order, till).await;
        let resolve = ResolveOrderRequest {
            order_id: order.order_id.clone(),
            kind: kind.into(),
            resolved_by: "hanako".to_owned(),
            ..ResolveOrderRequest::default()
        };
        world.replicas[0].clone().resolve_order(timed(resolve)).await?;
    }
    Ok(())
}

/// What is said of an order after a look at the till. What the staff key in bears no reference of ours there.
async fn see_to(order: &Order, till: &Pos) -> ResolutionKind {
    match till.try_ask(Method::GET, &format!("/api/orders/{}", order.order_id), None).await {
        Ok(_) => ResolutionKind::AtPos,
        Err(_) => ResolutionKind::EnteredByStaff,
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}
