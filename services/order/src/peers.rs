//! What the order service reads of its peers: stores, what they sell, connections; each cached for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posmesh_kit::{Channel, Failure, failure, server::MAX_MESSAGE_BYTES, store_cache::StoreCache};
use posmesh_pricing::CatalogIndex;
use posmesh_proto::{
    adapter::v1::{
        AdapterDescriptor, CapabilitySupport, DescribeAdapterRequest, PosTarget,
        pos_adapter_service_client::PosAdapterServiceClient,
    },
    catalog::v1::{GetOfferRequest, catalog_service_client::CatalogServiceClient},
    common::v1::{Product, ServiceMode},
    router::v1::{
        Connection, ConnectionRole, GetConnectionRequest, ResolveConnectionRequest,
        router_service_client::RouterServiceClient,
    },
};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// What was read this long ago still serves while its service does not answer.
const STALE_LIMIT: Duration = Duration::from_secs(300);

/// The services that the order service calls.
#[derive(Debug, Clone)]
pub struct Peers {
    /// StoreService.
    pub store: Channel,
    /// CatalogService.
    pub catalog: Channel,
    /// RouterService and PosAdapterService.
    pub router: Channel,
}

/// A connection and what its adapter can do.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) descriptor: AdapterDescriptor,
}

impl Link {
    /// Whether the adapter, or the POS, does this at all.
    pub(crate) fn can(&self, capability: &str) -> bool {
        let supported = |s| matches!(s, CapabilitySupport::Native | CapabilitySupport::Emulated);
        self.descriptor.capabilities.iter().any(|c| c.name == capability && supported(c.support()))
    }

    /// Whether the connection still leads to the POS that it led to at this revision.
    pub(crate) fn leads_where_it_did(&self, connection_id: &str, revision: i64) -> bool {
        self.connection.connection_id == connection_id
            && (self.connection.pos_revision..=self.connection.revision).contains(&revision)
    }

    /// What the adapter says besides: the staff's step, or why it cannot.
    pub(crate) fn note(&self, capability: &str) -> &str {
        self.descriptor.capabilities.iter().find(|c| c.name == capability).map_or("", |c| c.note.as_str())
    }
}

/// What is known of one thing: its last value, and that its service did not answer.
#[derive(Debug)]
struct Cached<T> {
    value: Option<(Instant, Arc<T>)>,
    failed: Option<(Instant, Failure)>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { value: None, failed: None }
    }
}

impl<T> Cached<T> {
    /// What can be said without asking. Who waited while another one asked in vain shares its failure.
    fn known(&self, age: Duration) -> Option<Result<Arc<T>, Failure>> {
        if let Some((at, value)) = &self.value
            && at.elapsed() < age
        {
            return Some(Ok(Arc::clone(value)));
        }
        let (at, failure) = self.failed.as_ref()?;
        (at.elapsed() < age).then(|| self.stale().ok_or_else(|| failure.clone()))
    }

    /// Notes an answer, and gives what is to be used. While the service does not answer, that is the last value.
    fn note(&mut self, answer: Result<Arc<T>, Failure>) -> Result<Arc<T>, Failure> {
        match answer {
            Ok(value) => {
                *self = Self { value: Some((Instant::now(), Arc::clone(&value))), failed: None };
                Ok(value)
            }
            Err(failure) if failure.code() == Code::Unavailable => {
                self.failed = Some((Instant::now(), failure.clone()));
                self.stale().ok_or(failure)
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn stale(&self) -> Option<Arc<T>> {
        self.value.as_ref().filter(|(at, _)| at.elapsed() < STALE_LIMIT).map(|(_, value)| Arc::clone(value))
    }
}

/// Whoever holds the lock asks for all who wait.
type Slot<T> = Arc<tokio::sync::Mutex<Cached<T>>>;
/// A catalog as it is sold, and its etag.
type Offer = (String, Arc<CatalogIndex>);
type LinkKey = (String, i32, i32);
type Slots<K, T> = Arc<Mutex<HashMap<K, Slot<T>>>>;

/// Cached reads. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) stores: StoreCache,
    pub(crate) adapter: PosAdapterServiceClient<Channel>,
    catalog: CatalogServiceClient<Channel>,
    pub(crate) router: RouterServiceClient<Channel>,
    cache_age: Duration,
    offers: Slots<(String, i32), Offer>,
    links: Slots<LinkKey, Link>,
    /// That a store has none is known as well.
    fallbacks: Slots<LinkKey, Option<Arc<Link>>>,
}

impl Reader {
    pub(crate) fn new(peers: Peers, stores: StoreCache, cache_age: Duration) -> Self {
        Self {
            stores,
            adapter: PosAdapterServiceClient::new(peers.router.clone()),
            catalog: CatalogServiceClient::new(peers.catalog).max_decoding_message_size(MAX_MESSAGE_BYTES),
            router: RouterServiceClient::new(peers.router),
            cache_age,
            offers: Arc::default(),
            links: Arc::default(),
            fallbacks: Arc::default(),
        }
    }

    /// What the store sells now in a product, at most `cache_age` old while the catalog service answers. The store must
    /// exist: the cache keeps an entry per store.
    pub(crate) async fn catalog(&self, store_id: &str, product: Product) -> Result<Arc<CatalogIndex>, Failure> {
        let slot = slot(&self.offers, (store_id.to_owned(), product.into()));
        let mut held = slot.lock().await;
        let known = match held.known(self.cache_age) {
            Some(known) => known,
            None => {
                let last = held.value.as_ref().map(|(_, offer)| Arc::clone(offer));
                let answer = self.ask_offer(store_id, product, last).await;
                held.note(answer)
            }
        };
        known.map(|offer| Arc::clone(&offer.1))
    }

    async fn ask_offer(
        &self,
        store_id: &str,
        product: Product,
        last: Option<Arc<Offer>>,
    ) -> Result<Arc<Offer>, Failure> {
        let known_etag = last.as_ref().map(|offer| offer.0.clone()).unwrap_or_default();
        let product = product.into();
        let mut request = Request::new(GetOfferRequest { store_id: store_id.to_owned(), product, known_etag });
        request.set_timeout(READ_TIMEOUT);
        let answer = self.catalog.clone().get_offer(request).await;
        let answer = answer.map_err(|status| peer_failure("the catalog service", &status))?.into_inner();
        match (answer.catalog, last) {
            (Some(catalog), _) => CatalogIndex::new(Arc::new(catalog))
                .map(|index| Arc::new((answer.etag, Arc::new(index))))
                .map_err(|e| Failure::internal("a published catalog", e)),
            (None, Some(last)) => Ok(last),
            (None, None) => Err(Failure::internal("the catalog service sent no catalog", store_id)),
        }
    }

    /// The connection that takes such orders.
    pub(crate) async fn link(&self, store_id: &str, product: Product, mode: ServiceMode) -> Result<Arc<Link>, Failure> {
        let slot = slot(&self.links, (store_id.to_owned(), product.into(), mode.into()));
        let mut held = slot.lock().await;
        if let Some(known) = held.known(self.cache_age) {
            return known;
        }
        let answer = self.ask_link(store_id, product, mode, ConnectionRole::Primary).await;
        held.note(answer)
    }

    /// What stands in for the POS that takes such orders, if anything does.
    pub(crate) async fn fallback(
        &self,
        store_id: &str,
        product: Product,
        mode: ServiceMode,
    ) -> Result<Option<Arc<Link>>, Failure> {
        let slot = slot(&self.fallbacks, (store_id.to_owned(), product.into(), mode.into()));
        let mut held = slot.lock().await;
        if let Some(known) = held.known(self.cache_age) {
            return known.map(|known| Option::clone(&known));
        }
        let answer = match self.ask_link(store_id, product, mode, ConnectionRole::Fallback).await {
            Ok(link) => Ok(Arc::new(Some(link))),
            Err(failure) if failure.reason() == "NO_CONNECTION" => Ok(Arc::new(None)),
            Err(failure) => Err(failure),
        };
        held.note(answer).map(|known| Option::clone(&known))
    }

    /// [`Reader::fallback`] as it was told last; nothing is asked.
    pub(crate) fn fallback_seen(&self, store_id: &str, product: Product, mode: ServiceMode) -> Option<Arc<Link>> {
        let slots = self.fallbacks.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&(store_id.to_owned(), product.into(), mode.into()))?;
        let (_, link) = slot.try_lock().ok()?.value.clone()?;
        Option::clone(&link)
    }

    /// [`Reader::link`] as the router knows it at this moment.
    pub(crate) async fn link_now(
        &self,
        store_id: &str,
        product: Product,
        mode: ServiceMode,
    ) -> Result<Arc<Link>, Failure> {
        self.ask_link(store_id, product, mode, ConnectionRole::Primary).await
    }

    /// What can be done at the POS that a connection led to at a revision (0: leads to now), with the connection as it is
    /// now; one that was deleted since is empty.
    pub(crate) async fn link_to(&self, connection_id: &str, revision: i64) -> Result<Link, Failure> {
        let mut connection = Request::new(GetConnectionRequest { connection_id: connection_id.to_owned() });
        connection.set_timeout(READ_TIMEOUT);
        let target = PosTarget {
            connection_id: connection_id.to_owned(),
            connection_revision: revision,
            ..PosTarget::default()
        };
        let mut descriptor = Request::new(DescribeAdapterRequest { target: Some(target) });
        descriptor.set_timeout(READ_TIMEOUT);
        let (mut router, mut adapter) = (self.router.clone(), self.adapter.clone());
        let (connection, descriptor) =
            tokio::join!(router.get_connection(connection), adapter.describe_adapter(descriptor));
        let failed = |status: Status| peer_failure("the router", &status);
        let connection = match connection {
            Ok(found) => found.into_inner().connection.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => Connection::default(),
            Err(status) => return Err(failed(status)),
        };
        let descriptor = descriptor.map_err(failed)?.into_inner().descriptor.unwrap_or_default();
        Ok(Link { connection, descriptor })
    }

    /// The connection whose master data the store's menu is.
    pub(crate) async fn menu_link(&self, store_id: &str) -> Result<Arc<Link>, Failure> {
        self.link(store_id, Product::Unspecified, ServiceMode::Unspecified).await
    }

    async fn ask_link(
        &self,
        store_id: &str,
        product: Product,
        mode: ServiceMode,
        role: ConnectionRole,
    ) -> Result<Arc<Link>, Failure> {
        let mut request = Request::new(ResolveConnectionRequest {
            store_id: store_id.to_owned(),
            product: product.into(),
            service_mode: mode.into(),
            role: role.into(),
        });
        request.set_timeout(READ_TIMEOUT);
        match self.router.clone().resolve_connection(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let connection = answer.connection.unwrap_or_default();
                Ok(Arc::new(Link { connection, descriptor: answer.descriptor.unwrap_or_default() }))
            }
            Err(status) if failure::reason(&status) == "CONNECTION_NOT_FOUND" => {
                let message = format!("the store {store_id:?} has no connection to a POS for this product and mode");
                Err(Failure::new(Code::FailedPrecondition, "NO_CONNECTION", message).meta("store_id", store_id))
            }
            Err(status) => Err(peer_failure("the router", &status)),
        }
    }
}

fn slot<K: std::hash::Hash + Eq, T>(slots: &Mutex<HashMap<K, Slot<T>>>, key: K) -> Slot<T> {
    Arc::clone(slots.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
}

/// A peer's refusal that is meant for our caller goes on as it is; that it does not answer is said in our words.
fn peer_failure(peer: &str, status: &Status) -> Failure {
    let reason = failure::reason(status);
    let ours = matches!(status.code(), Code::FailedPrecondition | Code::NotFound) && !reason.is_empty();
    if ours {
        return Failure::new(status.code(), reason, status.message());
    }
    let message = format!("{peer} does not answer: {}; nothing was taken, try again", status.message());
    Failure::new(Code::Unavailable, "PEER_UNAVAILABLE", message).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const AGE: Duration = Duration::from_secs(60);

    fn down() -> Failure {
        Failure::new(Code::Unavailable, "PEER_UNAVAILABLE", "no answer")
    }

    #[test]
    fn who_waited_while_another_one_asked_in_vain_does_not_ask_again() {
        let mut cached = Cached::<u8>::default();
        assert!(cached.known(AGE).is_none());
        assert!(cached.note(Err(down())).is_err());
        assert_eq!(cached.known(AGE).unwrap().unwrap_err().reason(), "PEER_UNAVAILABLE");
    }

    #[test]
    fn the_last_value_serves_while_the_service_does_not_answer_and_not_against_its_word() {
        let mut cached = Cached::default();
        cached.note(Ok(Arc::new(7))).unwrap();
        assert_eq!(*cached.note(Err(down())).unwrap(), 7);
        assert_eq!(*cached.known(AGE).unwrap().unwrap(), 7);
        let refusal = Failure::new(Code::FailedPrecondition, "NO_CONNECTION", "deleted");
        assert_eq!(cached.note(Err(refusal)).unwrap_err().reason(), "NO_CONNECTION");
    }
}
