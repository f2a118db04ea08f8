//! A person says what became of an order.

use std::sync::Arc;

use posmesh_kit::{call::Identity, time};
use posmesh_proto::order::v1::{Order, ResolveOrderRequest};

use crate::{
    domain::{lifecycle::Event, resolving},
    error::Error,
    ledger::Applied,
    place::Orders,
    storage::StorageError,
};

/// How often it is looked at again because the order changed meanwhile.
const MAX_CONFLICTS: usize = 8;

impl Orders {
    /// Notes what a person says, and does what follows from it.
    pub(crate) async fn resolve(&self, who: &Identity, request: ResolveOrderRequest) -> Result<Order, Error> {
        let said = resolving::check_request(&request)?;
        let mut order = self.find_by_id(who, request.order_id).await?;
        for _ in 0..MAX_CONFLICTS {
            if resolving::is_said(&order, &said) {
                return Ok(order);
            }
            resolving::check(&order, &said, self.dispatcher.margin(), time::now_unix_ms())?;
            let read = order.version;
            let (dispatcher, tenant_id) = (self.dispatcher.clone(), Arc::clone(&who.tenant_id));
            let event = Event::Resolved(Box::new(said.clone()));
            let noted = async move { dispatcher.apply(&tenant_id, order, event).await };
            match self.dispatcher.see_through(noted).await?? {
                Applied::Changed { order, .. } => {
                    tracing::info!(order.id = %order.order_id, kind = said.kind.as_str_name(), "resolved by a person");
                    return Ok(Arc::unwrap_or_clone(order));
                }
                // Nothing was raised that could have been seen.
                Applied::Unchanged(current) if current.version == read => return Ok(Arc::unwrap_or_clone(current)),
                Applied::Unchanged(current) => order = Arc::unwrap_or_clone(current),
            }
        }
        Err(StorageError::Refused(format!("the order {} changes all the time", order.order_id)).into())
    }
}
