//! Callers who watch an order until it is settled, and come back with their token when the stream breaks.

use std::{sync::Arc, time::Duration};

use posmesh_e2e::Events;
use posmesh_proto::order::v1::{OrderState, WatchOrderRequest};
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};

use super::{World, backend, gateway::Ticket};
use crate::book::{Seen, What, now_ms};

/// A stream that is silent for so long is left, as clients do that cannot tell a dead connection from a slow kitchen.
const SILENCE: Duration = Duration::from_secs(4);
const REST: Duration = Duration::from_millis(200);

/// The platform will not change it by itself any more, or not while it is watched.
fn is_settled(state: OrderState) -> bool {
    use OrderState::{Held, InDoubt, Pending, Sending};
    !matches!(state, Pending | Held | Sending | InDoubt)
}

/// Watches at any replica.
pub(super) fn at_a_replica(world: &Arc<World>, mut dice: StdRng, key: String, order_id: String) {
    let caller = Arc::clone(world);
    watch(world, key.clone(), async move {
        let mut watch = WatchOrderRequest { order_id, ..WatchOrderRequest::default() };
        while !follow(&caller, &mut dice, &key, &mut watch).await {
            sleep(REST).await;
        }
    });
}

/// Watches in a task of its own, until the order is settled or everything is over.
fn watch(world: &Arc<World>, key: String, until_settled: impl Future<Output = ()> + Send + 'static) {
    let Ok(place) = Arc::clone(&world.watchers).try_acquire_owned() else { return };
    let (world, tasks) = (Arc::clone(world), world.tasks.clone());
    tasks.spawn(async move {
        let begun_ms = now_ms();
        if world.over.run_until_cancelled(until_settled).await.is_none() {
            world.book.told(&key, begun_ms, "watch", What::LeftInTheDark);
        }
        drop(place);
    });
}

/// Follows one stream to its end; true when the order is settled.
async fn follow(world: &World, dice: &mut StdRng, key: &str, watch: &mut WatchOrderRequest) -> bool {
    let asked_ms = now_ms();
    let opened = timeout(SILENCE, backend::any(world, dice).watch_order(watch.clone())).await;
    let Ok(Ok(answer)) = opened else { return false };
    let mut stream = answer.into_inner();
    while let Ok(Ok(Some(change))) = timeout(SILENCE, stream.message()).await {
        watch.resume_token = change.resume_token;
        let Some(order) = change.order else { continue };
        world.book.told(key, asked_ms, "order watch", What::Seen(Seen::from_order(&order)));
        if is_settled(order.state()) {
            return true;
        }
    }
    false
}

/// Watches at the gateway.
pub(super) fn at_the_gateway(world: &Arc<World>, key: String, ticket: Ticket) {
    let caller = Arc::clone(world);
    watch(world, key.clone(), async move {
        let mut last_id = None;
        while !follow_events(&caller, &key, &ticket, &mut last_id).await {
            sleep(REST).await;
        }
    });
}

async fn follow_events(world: &World, key: &str, ticket: &Ticket, last_id: &mut Option<String>) -> bool {
    let asked_ms = now_ms();
    let request = world.http.get(&format!("{}/events", ticket.path)).bearer_auth(&ticket.token);
    let mut events = match timeout(SILENCE, Events::open(request, last_id.as_deref())).await {
        Ok(Ok(Some(events))) => events,
        // 204: the watcher has seen the last change.
        Ok(Ok(None)) => return true,
        // A guest's token dies with the check.
        Ok(Err(error)) => return error.to_string().contains("CHECK_CLOSED"),
        Err(_) => return false,
    };
    while let Ok(Ok(Some(event))) = timeout(SILENCE, events.next()).await {
        let version = event.id.parse().ok();
        *last_id = Some(event.id);
        let Some(seen) = Seen::from_json(&event.data, version) else { continue };
        let state = seen.state;
        world.book.told(key, asked_ms, "gateway watch", What::Seen(seen));
        if is_settled(state) {
            return true;
        }
    }
    false
}
