//! What stands in for a store's POS.

use std::sync::Arc;

use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    store::v1::Store,
};

use super::{Gates, shown_mode};
use crate::{
    domain::{
        entry::{can_prove, fallback_evidence},
        gate::{diverting, is_away, is_cut_off},
    },
    peers::Link,
};

/// A store's fallback that takes orders now.
#[derive(Debug, Clone)]
pub(crate) struct Fallback {
    pub(crate) link: Arc<Link>,
    /// The evidence kinds by which an order counts as placed there.
    pub(crate) evidence: Vec<i32>,
}

impl Gates {
    /// Whether no order comes through to the POS of a connection now, as far as is known.
    pub(crate) fn is_away(&self, connection_id: &str) -> bool {
        self.board.link(connection_id).is_some_and(|link| is_away(&link))
    }

    /// Whether a connection's POS was away, and takes one order at a time until one is there.
    pub(crate) fn is_on_probation(&self, connection_id: &str) -> bool {
        self.board.is_reopening(connection_id)
    }

    /// Whether nothing is heard of links at the moment; `once_known`: though it was before.
    pub(crate) fn has_lost_links(&self, once_known: bool) -> bool {
        self.board.has_lost_links(once_known)
    }

    /// Whether a connection's POS was away: then the rounds of its checks may have gone to the fallback.
    pub(crate) fn was_away(&self, connection_id: &str) -> bool {
        self.board.was_away(connection_id)
    }

    /// Whether a store's orders of a product would go to its fallback, by what is known in memory.
    pub(super) fn may_divert(&self, store: &Store, product: Product, mode: ServiceMode) -> bool {
        let Some(policy) = diverting(store, product) else { return false };
        let Some(link) = self.board.fallback_of(&store.store_id, product, mode) else { return false };
        let seen = self.reader.fallback_seen(&store.store_id, product, mode);
        !is_cut_off(&link) && seen.is_none_or(|seen| can_prove(&seen.descriptor, &fallback_evidence(policy)))
    }

    /// Looks once at what a store's fallback can prove, so that its gates are shown by it from then on.
    pub(super) async fn see_fallback(&self, store: &Store, product: Product) {
        let mode = shown_mode(product);
        let is_unseen = || self.reader.fallback_seen(&store.store_id, product, mode).is_none();
        if self.board.fallback_of(&store.store_id, product, mode).is_some() && is_unseen() {
            self.fallback(store, product, mode).await;
        }
    }

    /// The fallback of a store, if orders of the product go there while the POS is away, and it can be reached and can
    /// prove what it must.
    pub(super) async fn fallback(&self, store: &Store, product: Product, mode: ServiceMode) -> Option<Fallback> {
        let evidence = fallback_evidence(diverting(store, product)?);
        // Whoever has none is told so without a call.
        self.board.fallback_of(&store.store_id, product, mode)?;
        let found = self.reader.fallback(&store.store_id, product, mode).await;
        let found = found.inspect_err(|failure| tracing::debug!(%failure, store.id = %store.store_id, "no fallback"));
        let link = found.ok()??;
        let is_cut_off = self.board.link(&link.connection.connection_id).is_some_and(|known| is_cut_off(&known));
        (!is_cut_off && can_prove(&link.descriptor, &evidence)).then_some(Fallback { link, evidence })
    }
}
