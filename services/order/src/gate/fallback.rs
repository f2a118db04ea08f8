//! What stands in for a store's POS.

use std::sync::Arc;

use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    router::v1::LinkState,
    store::v1::Store,
};

use super::Gates;
use crate::{
    domain::{
        entry::{can_prove, fallback_evidence},
        gate::{diverting, is_cut_off},
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
        self.board.link(connection_id).is_some_and(|link| link.state() == LinkState::Offline)
    }

    /// Whether a connection's POS was away, and takes one order at a time until one is there.
    pub(crate) fn is_on_probation(&self, connection_id: &str) -> bool {
        self.board.is_on_probation(connection_id)
    }

    /// Whether a connection's POS was away: then the rounds of its checks may have gone to the fallback.
    pub(crate) fn was_away(&self, connection_id: &str) -> bool {
        self.board.was_away(connection_id)
    }

    /// The fallback of a store, if orders of the product go there while the POS is away, and it can be reached and can
    /// prove what it must.
    pub(super) async fn fallback(&self, store: &Store, product: Product, mode: ServiceMode) -> Option<Fallback> {
        let evidence = fallback_evidence(diverting(store, product)?);
        let found = self.reader.fallback(&store.store_id, product, mode).await;
        let found = found.inspect_err(|failure| tracing::debug!(%failure, store.id = %store.store_id, "no fallback"));
        let link = found.ok()??;
        let is_away = self.board.link(&link.connection.connection_id).is_some_and(|known| is_cut_off(&known));
        (!is_away && can_prove(&link.descriptor, &evidence)).then_some(Fallback { link, evidence })
    }
}
