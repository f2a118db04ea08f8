//! Everything that any caller was ever told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use posmesh_proto::order::v1::Order;

use crate::{
    trace::{Trace, short},
    world::Now,
};

/// One message with an order in it.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    pub(crate) at_ms: u64,
    pub(crate) to: String,
    /// The request that it answers, where it answers one.
    pub(crate) request: Option<Asked>,
    pub(crate) order: Order,
}

/// What a PlaceOrder asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) request_id: String,
    /// Item and quantity of each line.
    pub(crate) lines: Vec<(String, i32)>,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Told {
    list: Arc<Mutex<Vec<Telling>>>,
    now: Now,
    trace: Trace,
}

impl Told {
    pub(crate) fn new(now: Now, trace: Trace) -> Self {
        Self { list: Arc::default(), now, trace }
    }

    pub(crate) fn list(&self) -> MutexGuard<'_, Vec<Telling>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody was told how an order is.
    pub(crate) fn order(&self, to: &str, request: Option<Asked>, order: Order) {
        self.trace.tell(to, || {
            let (id, state) = (short(&order.order_id), order.state().as_str_name());
            format!("is told {id} v{} {state} {}", order.version, order.cause)
        });
        self.list().push(Telling { at_ms: self.now.ms(), to: to.to_owned(), request, order });
    }

    /// Notes that somebody was told no.
    pub(crate) fn refused(&self, to: &str, what: &str, status: &tonic::Status) {
        self.trace.tell(to, || format!("{what} fails: {:?} {}", status.code(), posmesh_kit::failure::reason(status)));
    }
}
