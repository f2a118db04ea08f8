//! Live status of one order by server-sent events, resumable by `Last-Event-ID`.
//!
//! Each event holds the whole order, so a skipped one is no loss. The stream to the order service may break and is made
//! again behind the guest's back; the guest's own stream ends when the order has ended, when its age limit is reached
//! (the client reconnects and shows its token again), or when the gateway stops.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use posmesh_kit::{Channel, backoff::Backoff};
use posmesh_proto::order::v1::{
    Order, WatchOrderRequest, WatchOrderResponse, order_service_client::OrderServiceClient,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming};

use crate::{app::App, problem::Problem, views, words};

/// Below the idle timeouts that proxies are known for (60 s).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it reconnects.
const CLIENT_RETRY: Duration = Duration::from_secs(2);
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(5);
/// For the head of the order service's answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an order that has ended is asked for one more change.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(5);

/// Streams the changes of `order`, which the caller has just read and may see.
pub(crate) async fn stream_of(app: &Arc<App>, order: Order, headers: &HeaderMap) -> Result<Response, Problem> {
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "TOO_MANY_STREAMS",
            "too many event streams are open; try again in a moment, or read the order now and then",
        )
        .retry_after(BUSY_RETRY_AFTER)
    })?;
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let mut watch = Watch {
        orders: app.orders.clone(),
        order_id: order.order_id.clone(),
        resume_token: last_event_id.to_owned(),
        upstream: None,
        backoff: Backoff::new(BACKOFF_BASE, BACKOFF_CAP),
        ended: false,
        stop: app.stop.clone(),
        until: Instant::now() + MAX_AGE,
        _permit: permit,
    };
    let mut first = None;
    if words::has_ended(&order) && !last_event_id.is_empty() {
        first = timeout(LAST_WORD_TIMEOUT, watch.last_word()).await.ok().flatten();
        if first.is_none() {
            // The client has seen the end. By the HTML standard this status stops its reconnecting.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    let changes = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|change| (change, watch)) });
    let events = stream::iter(first).chain(changes).map(|change| Ok::<_, Infallible>(event(change)));
    // nginx and its relatives would otherwise hold events back until a buffer is full.
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response())
}

fn event(change: WatchOrderResponse) -> Event {
    let event = Event::default().event("order").retry(CLIENT_RETRY);
    // The three characters with which an id would panic.
    let event = match change.resume_token {
        token if token.is_empty() || token.contains(['\r', '\n', '\0']) => event,
        token => event.id(token),
    };
    let order = views::Order::from(change.order.unwrap_or_default());
    // Plain structs of strings and numbers: serializing them cannot fail.
    event.json_data(order).unwrap_or_default()
}

struct Watch {
    orders: OrderServiceClient<Channel>,
    order_id: String,
    resume_token: String,
    upstream: Option<Streaming<WatchOrderResponse>>,
    backoff: Backoff,
    ended: bool,
    stop: CancellationToken,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    /// The next change, or `None` when the guest's stream shall end.
    async fn next(&mut self) -> Option<WatchOrderResponse> {
        if self.ended {
            return None;
        }
        let (stop, until) = (self.stop.clone(), self.until);
        tokio::select! {
            () = stop.cancelled() => None,
            change = timeout_at(until, self.change()) => change.ok().flatten(),
        }
    }

    /// Waits for a change, however often the order service's stream breaks.
    async fn change(&mut self) -> Option<WatchOrderResponse> {
        loop {
            match self.try_change().await {
                Ok(Some(change)) => return Some(change),
                Ok(None) => {}
                Err(Code::NotFound) => return None,
                Err(code) if code == Code::InvalidArgument && !self.resume_token.is_empty() => {
                    // Not a token of this order service: begin anew with the order as it is.
                    self.resume_token.clear();
                }
                Err(_) => {}
            }
            sleep(self.backoff.next_delay()).await;
        }
    }

    /// The one change that came after the token, if the order service has one.
    async fn last_word(&mut self) -> Option<WatchOrderResponse> {
        match self.try_change().await {
            Err(Code::InvalidArgument) => {
                self.resume_token.clear();
                self.try_change().await.ok().flatten()
            }
            change => change.ok().flatten(),
        }
    }

    /// One change, or `None` when the order service has ended its stream.
    async fn try_change(&mut self) -> Result<Option<WatchOrderResponse>, Code> {
        let mut upstream = match self.upstream.take() {
            Some(upstream) => upstream,
            None => self.open().await?,
        };
        let change = upstream.message().await.map_err(|status| {
            tracing::debug!(%status, order.id = %self.order_id, "the stream of order {} broke", self.order_id);
            status.code()
        })?;
        if let Some(change) = &change {
            self.backoff.reset();
            self.resume_token.clone_from(&change.resume_token);
            self.ended = change.order.as_ref().is_some_and(words::has_ended);
            self.upstream = Some(upstream);
        }
        Ok(change)
    }

    async fn open(&mut self) -> Result<Streaming<WatchOrderResponse>, Code> {
        let mut request = tonic::Request::new(WatchOrderRequest {
            order_id: self.order_id.clone(),
            resume_token: self.resume_token.clone(),
        });
        request.set_timeout(OPEN_TIMEOUT);
        let answer = self.orders.clone().watch_order(request).await.map_err(|status| {
            tracing::debug!(%status, order.id = %self.order_id, "order {} cannot be watched", self.order_id);
            status.code()
        })?;
        Ok(answer.into_inner())
    }
}
