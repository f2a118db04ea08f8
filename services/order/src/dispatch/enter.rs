//! Telling the POS of orders that the fallback printed.

use std::sync::Arc;

use posmesh_proto::order::v1::Order;

use super::Dispatcher;
use crate::domain::lifecycle::attention;

impl Dispatcher {
    /// Sees to the entry of a diverted order at the POS.
    pub(super) async fn take_up_entry(&self, tenant_id: &Arc<str>, order: Order) {
        self.call_a_person(tenant_id, order, attention::POS_ENTRY_DUE).await;
    }
}
