//! Who waits for news of an order on this replica.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use posmesh_proto::order::v1::Order;
use tokio::sync::watch;

/// The newest known state of an order, or `None` when it changed elsewhere and must be read.
type News = Option<Arc<Order>>;

/// Hands news of orders to whoever waits for them. Holds one state per watched order, however slow its watchers are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hub {
    watched: Arc<Mutex<HashMap<String, watch::Sender<News>>>>,
}

impl Hub {
    /// Begins to wait for news of an order.
    pub(crate) fn subscribe(&self, order_id: &str) -> Subscription {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let news = watched.entry(order_id.to_owned()).or_insert_with(|| watch::Sender::new(None)).subscribe();
        Subscription { hub: self.clone(), order_id: order_id.to_owned(), news: Some(news) }
    }

    /// The order is like this now.
    pub(crate) fn publish(&self, order: &Arc<Order>) {
        if let Some(news) = self.watched.lock().unwrap_or_else(PoisonError::into_inner).get(&order.order_id) {
            news.send_if_modified(|known| {
                let newer = known.as_ref().is_none_or(|k| k.version < order.version);
                if newer {
                    *known = Some(Arc::clone(order));
                }
                newer
            });
        }
    }

    /// The order changed elsewhere.
    pub(crate) fn touch(&self, order_id: &str) {
        if let Some(news) = self.watched.lock().unwrap_or_else(PoisonError::into_inner).get(order_id) {
            news.send_replace(None);
        }
    }

    /// Any order may have changed elsewhere.
    pub(crate) fn touch_all(&self) {
        for news in self.watched.lock().unwrap_or_else(PoisonError::into_inner).values() {
            news.send_replace(None);
        }
    }
}

/// Waits for news of one order.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Hub,
    order_id: String,
    /// Taken when this is dropped.
    news: Option<watch::Receiver<News>>,
}

impl Subscription {
    /// The next news: the order as it is now, or `None` when it must be read.
    pub(crate) async fn next(&mut self) -> Option<Arc<Order>> {
        let news = self.news.as_mut()?;
        // The sender lives in the hub as long as this subscription does.
        let _ = news.changed().await;
        news.borrow_and_update().clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watched = self.hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: of two that are dropped at once, the second sees that it is the last.
        drop(self.news.take());
        if watched.get(&self.order_id).is_some_and(|news| news.receiver_count() == 0) {
            watched.remove(&self.order_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(version: i64) -> Arc<Order> {
        Arc::new(Order { order_id: "o".into(), version, ..Order::default() })
    }

    #[tokio::test]
    async fn a_watcher_gets_the_newest_state_and_never_an_older_one() {
        let hub = Hub::default();
        let mut watcher = hub.subscribe("o");
        hub.publish(&order(3));
        hub.publish(&order(2));
        assert_eq!(watcher.next().await.map(|o| o.version), Some(3));
    }

    #[tokio::test]
    async fn nothing_is_kept_once_nobody_watches() {
        let hub = Hub::default();
        let (first, second) = (hub.subscribe("o"), hub.subscribe("o"));
        drop(first);
        assert_eq!(hub.watched.lock().map(|w| w.len()).ok(), Some(1));
        drop(second);
        assert_eq!(hub.watched.lock().map(|w| w.len()).ok(), Some(0));
    }
}
