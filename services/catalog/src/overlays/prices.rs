//! Whether orders of a store can carry prices of their own to its POS. One that reckons by its own prices would charge
//! others than the guest saw, so nothing is sold at another price there.

use std::{sync::Arc, time::Duration};

use posmesh_kit::Channel;
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, CapabilitySupport},
    router::v1::{ResolveConnectionRequest, router_service_client::RouterServiceClient},
};
use tonic::Request;

use crate::{
    error::Error,
    layers::LayerCache,
    storage::{ScopeKey, Storage, StoreKey},
};

const CAPABILITY: &str = "PRICE_OVERRIDE";
const READ_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Prices {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) layers: Arc<LayerCache>,
    pub(crate) router: RouterServiceClient<Channel>,
}

impl Prices {
    /// Why they cannot; empty: they can. Asks the router for the store's default connection, whose menu it sells, and notes
    /// the answer for all replicas.
    pub(crate) async fn refusal(&self, key: &StoreKey) -> Result<String, Error> {
        let request = ResolveConnectionRequest { store_id: key.store_id.to_string(), ..Default::default() };
        let mut request = Request::new(request);
        request.set_timeout(READ_TIMEOUT);
        let resolved = self.router.clone().resolve_connection(request).await?.into_inner();
        let refusal = resolved.descriptor.as_ref().map_or_else(String::new, why_not);
        self.storage.note_price_refusal(&ScopeKey::store(key), &refusal).await?;
        self.layers.wrote();
        Ok(refusal)
    }

    /// As [`Prices::refusal`], with each sync: the store may have another POS by now. Where it cannot be asked, what is known
    /// holds on.
    pub(crate) async fn look_again(&self, key: &StoreKey) {
        if let Err(error) = self.refusal(key).await {
            tracing::warn!(%error, "whether the POS takes prices of its orders is not known anew");
        }
    }
}

fn why_not(descriptor: &AdapterDescriptor) -> String {
    let vendor = &descriptor.vendor;
    match descriptor.capabilities.iter().find(|capability| capability.name == CAPABILITY) {
        Some(can) if matches!(can.support(), CapabilitySupport::Native | CapabilitySupport::Emulated) => String::new(),
        Some(cannot) if !cannot.note.is_empty() => format!("{vendor}: {}", cannot.note),
        _ => format!("{vendor}: nothing says that it books an order at the prices that it brings"),
    }
}

#[cfg(test)]
mod tests {
    use posmesh_proto::adapter::v1::Capability;

    use super::*;

    #[test]
    fn only_a_pos_that_says_so_takes_the_prices_of_an_order() {
        let descriptor =
            |capabilities| AdapterDescriptor { vendor: "acme".to_owned(), capabilities, ..Default::default() };
        let of = |support: CapabilitySupport, note: &str| {
            let capability = Capability { name: CAPABILITY.to_owned(), support: support.into(), note: note.to_owned() };
            why_not(&descriptor(vec![capability]))
        };
        assert_eq!(of(CapabilitySupport::Native, "a remark"), "");
        assert_eq!(of(CapabilitySupport::Unsupported, "has its own"), "acme: has its own");
        assert!(of(CapabilitySupport::Manual, "").starts_with("acme: nothing says"));
        assert!(why_not(&descriptor(Vec::new())).starts_with("acme: nothing says"));
    }
}
