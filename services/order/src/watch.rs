//! Streams of one order's changes.

use std::{sync::Arc, time::Duration};

use futures_util::Stream;
use posmesh_kit::{Failure, call::Identity};
use posmesh_proto::order::v1::{Order, WatchOrderResponse};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status};

use crate::{domain::lifecycle, error::Error, ledger::Ledger};

/// A watcher to whom nobody tells anything reads by itself this rarely.
const IDLE_READ_INTERVAL: Duration = Duration::from_secs(10);

type Sender = mpsc::Sender<Result<WatchOrderResponse, Status>>;

/// The order as it is, if that is newer than `seen`, then each change until it has ended. A slow watcher misses states in
/// between, never the last one.
pub(crate) fn watch(
    ledger: &Ledger,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    who: Identity,
    order: Order,
    seen: i64,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<WatchOrderResponse, Status>> + Send + use<> {
    let (sender, receiver) = mpsc::channel(1);
    let (ledger, stop) = (ledger.clone(), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => { let _ = sender.try_send(Err(shutting_down())); }
            () = sender.closed() => {}
            () = follow(&ledger, &who, order, seen, &sender) => {}
        }
        drop(place);
    });
    ReceiverStream::new(receiver)
}

async fn follow(ledger: &Ledger, who: &Identity, order: Order, seen: i64, sender: &Sender) {
    let mut news = ledger.hub.subscribe(&order.order_id);
    let order_id = order.order_id.clone();
    let mut sent = seen;
    let mut last: Option<Arc<Order>> = None;
    // Read again: what changed between the caller's read and the subscription would be missed otherwise.
    let mut current = read(ledger, who, &order_id).await;
    loop {
        match current {
            Ok(Some(order)) => {
                let ended = lifecycle::has_ended(order.state());
                let is_news = order.version > sent && !last.as_ref().is_some_and(|last| is_same(last, &order));
                if is_news {
                    sent = order.version;
                    last = Some(Arc::clone(&order));
                    let resume_token = sent.to_string();
                    let change = WatchOrderResponse { order: Some(Arc::unwrap_or_clone(order)), resume_token };
                    if sender.send(Ok(change)).await.is_err() {
                        return;
                    }
                }
                if ended {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                let _ = sender.send(Err(error.into())).await;
                return;
            }
        }
        current = match tokio::time::timeout(IDLE_READ_INTERVAL, news.next()).await {
            Ok(Some(order)) => Ok(Some(order)),
            Ok(None) | Err(_) => read(ledger, who, &order_id).await,
        };
    }
}

/// Another replica that takes an order over counts its version up: no news for a guest.
fn is_same(a: &Order, b: &Order) -> bool {
    Order { version: 0, ..a.clone() } == Order { version: 0, ..b.clone() }
}

async fn read(ledger: &Ledger, who: &Identity, order_id: &str) -> Result<Option<Arc<Order>>, Error> {
    Ok(ledger.storage.order(&who.tenant_id, order_id).await.map_err(Error::Read)?.map(Arc::new))
}

/// The version that the watcher has seen.
pub(crate) fn parse_resume_token(token: &str) -> Result<i64, Failure> {
    if token.is_empty() {
        return Ok(0);
    }
    token
        .parse()
        .ok()
        .filter(|version| *version > 0)
        .ok_or_else(|| Failure::field("RESUME_TOKEN_INVALID", "resume_token", "is not from an earlier answer"))
}

pub(crate) fn too_many() -> Failure {
    Failure::new(Code::ResourceExhausted, "TOO_MANY_WATCHERS", "this replica has no place for another watcher")
        .retry_after(Duration::from_secs(1))
}

fn shutting_down() -> Status {
    let message = "this replica is shutting down; watch again with the last resume_token";
    Failure::new(Code::Unavailable, "SHUTTING_DOWN", message).retry_after(Duration::from_millis(100)).into()
}
