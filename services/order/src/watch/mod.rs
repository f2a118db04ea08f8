//! Streams of changes: of one order, and of the orders that need a person. They are pulled: a watcher that does not read costs one slot, whatever happens to the
//! order meanwhile, and no task of its own.

mod attention;
mod hub;
mod mailbox;

use std::{
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use posmesh_kit::Failure;
use posmesh_proto::order::v1::{Order, WatchOrderResponse};
use prost::Message as _;
use tonic::{Code, Status};

use crate::domain::lifecycle;

pub(crate) use attention::Attention;
pub(crate) use hub::{Hub, Subscription};
pub(crate) use mailbox::{Ended, Mailbox};

/// The order as it was read, unless that is what was `seen`, then each change until it has ended. A slow watcher misses
/// states in between, never the last one.
pub(crate) fn watch(
    news: Subscription,
    order: Order,
    seen: i64,
) -> impl Stream<Item = Result<WatchOrderResponse, Status>> + Send {
    // A token from the future is one of a database that was restored since: the order is told as it is.
    let is_news = order.version != seen;
    let watching =
        Watching { news, sent: order.version, last: fingerprint(&order), ended: lifecycle::is_at_rest(&order) };
    let first = is_news.then(|| Ok(response(order)));
    let changes = stream::unfold(watching, |mut watching| async { watching.next().await.map(|item| (item, watching)) });
    stream::iter(first).chain(changes)
}

/// One stream.
struct Watching {
    news: Subscription,
    /// The version that was sent last.
    sent: i64,
    /// What was sent last, without its version.
    last: u64,
    ended: bool,
}

impl Watching {
    /// `None` when the order has ended, or the watcher.
    async fn next(&mut self) -> Option<Result<WatchOrderResponse, Status>> {
        while !self.ended {
            let order = match self.news.next().await {
                Ok(order) => order,
                Err(ended) => {
                    self.ended = true;
                    return Some(Err(why(ended)));
                }
            };
            self.ended = lifecycle::is_at_rest(&order);
            // Another replica that takes an order over counts its version up: no news for a guest.
            let print = fingerprint(&order);
            let is_news = order.version > self.sent && self.last != print;
            self.sent = self.sent.max(order.version);
            self.last = print;
            if is_news {
                return Some(Ok(response(Arc::unwrap_or_clone(order))));
            }
        }
        None
    }
}

fn response(order: Order) -> WatchOrderResponse {
    let resume_token = resume_token(&order);
    WatchOrderResponse { order: Some(order), resume_token }
}

/// Of everything but the version.
fn fingerprint(order: &Order) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&Order { version: 0, ..order.clone() }.encode_to_vec());
    hasher.finish()
}

/// The version that the watcher has seen, and of which order.
fn resume_token(order: &Order) -> String {
    format!("{}.{}", order.version, order.order_id)
}

/// The version that the watcher has seen of this order; 0 without a token.
pub(crate) fn parse_resume_token(token: &str, order_id: &str) -> Result<i64, Failure> {
    if token.is_empty() {
        return Ok(0);
    }
    token
        .split_once('.')
        .filter(|(_, id)| *id == order_id)
        .and_then(|(version, _)| version.parse().ok())
        .filter(|version| *version > 0)
        .ok_or_else(|| {
            let message = "is not from an earlier answer about this order; watch without it";
            Failure::field("RESUME_TOKEN_INVALID", "resume_token", message)
        })
}

pub(crate) fn too_many() -> Failure {
    Failure::new(Code::ResourceExhausted, "TOO_MANY_WATCHERS", "this replica has no place for another watcher")
        .retry_after(Duration::from_secs(1))
}

/// What a watcher whose stream ends early is told.
pub(crate) fn why(ended: Ended) -> Status {
    match ended {
        Ended::TooSlow(max_lag) => {
            let message = format!(
                "this watcher left news unread for more than {max_lag:?} and lost its place; no news are lost: watch again, \
                 with the last resume_token if there is one"
            );
            Failure::new(Code::Aborted, "WATCHER_TOO_SLOW", message)
                .meta("max_lag", format!("{max_lag:?}"))
                .retry_after(Duration::from_secs(1))
        }
        Ended::Stopped => return shutting_down(),
    }
    .into()
}

pub(crate) fn shutting_down() -> Status {
    let message = "this replica is shutting down; watch again, with the last resume_token if there is one";
    Failure::new(Code::Unavailable, "SHUTTING_DOWN", message).retry_after(Duration::from_millis(100)).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_says_what_was_seen_and_of_which_order() {
        let order = Order { order_id: "o-1".into(), version: 7, ..Order::default() };
        let token = resume_token(&order);
        assert_eq!(parse_resume_token(&token, "o-1").unwrap(), 7);
        assert_eq!(parse_resume_token("", "o-1").unwrap(), 0);
        for (token, order_id) in [(token.as_str(), "o-2"), ("7", "o-1"), ("-7.o-1", "o-1"), ("x.o-1", "o-1")] {
            assert_eq!(parse_resume_token(token, order_id).unwrap_err().reason(), "RESUME_TOKEN_INVALID", "{token}");
        }
    }

    #[test]
    fn a_takeover_is_no_news_and_everything_else_is() {
        let order = Order { order_id: "o-1".into(), version: 7, ..Order::default() };
        assert_eq!(fingerprint(&order), fingerprint(&Order { version: 8, ..order.clone() }));
        assert_ne!(fingerprint(&order), fingerprint(&Order { display_number: "K1".into(), ..order.clone() }));
    }
}
