//! Everything that any caller was ever told about any order, as the audit needs it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use posmesh_proto::{
    common::v1::Product,
    order::v1::{Order, OrderState},
};
use serde_json::Value;

/// One order that a caller wants, under one key, however often it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its idempotency key, its note to the kitchen, and the reference of its payment: by this it is found everywhere.
    pub key: String,
    /// What sold it.
    pub product: Product,
    /// Table: who sits there.
    pub party: Option<String>,
    /// What the guest agreed to pay, minor units.
    pub total: i64,
    /// Whether it was paid elsewhere, so that the POS gets a tender.
    pub is_paid: bool,
    /// What its callers were told, in the order of telling.
    pub told: Vec<Told>,
}

/// One answer, or the lack of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When the caller asked, unix milliseconds.
    pub asked_ms: i64,
    /// When the caller had the answer, or gave up.
    pub at_ms: i64,
    /// Whom it asked for what, say `gateway place`.
    pub by: String,
    /// What it was told.
    pub what: What,
}

/// What a caller was told.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The order as it was then.
    Seen(Seen),
    /// That this call took no order, and why.
    Refused(String),
    /// That nobody knows; or nothing at all.
    Unknown(String),
    /// That there is no such order.
    NotFound,
    /// Nothing more: a watcher who stayed until everything was at rest, and never saw the order settled.
    LeftInTheDark,
    /// Anything else, kept for the history.
    Said(String),
}

/// An order as far as a caller sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The platform's id.
    pub order_id: String,
    /// Its state.
    pub state: OrderState,
    /// Counts its changes, where the caller is told.
    pub version: Option<i64>,
}

impl Seen {
    /// As gRPC tells it.
    pub fn from_order(order: &Order) -> Self {
        Self { order_id: order.order_id.clone(), state: order.state(), version: Some(order.version) }
    }

    /// As the gateway tells it.
    pub fn from_json(order: &Value, version: Option<i64>) -> Option<Self> {
        let state = format!("ORDER_STATE_{}", order["state"].as_str()?);
        let state = OrderState::from_str_name(&state)?;
        Some(Self { order_id: order["order_id"].as_str()?.to_owned(), state, version })
    }
}

/// The record, filled by all callers at once.
#[derive(Debug, Default)]
pub struct Book {
    requests: Mutex<BTreeMap<String, Request>>,
}

impl Book {
    /// Notes what a caller is about to ask for.
    pub fn open(&self, request: Request) {
        self.requests().insert(request.key.clone(), request);
    }

    /// Notes an answer to a question that was asked at `asked_ms`.
    pub fn told(&self, key: &str, asked_ms: i64, by: &str, what: What) {
        let told = Told { asked_ms, at_ms: now_ms(), by: by.to_owned(), what };
        if let Some(request) = self.requests().get_mut(key) {
            request.told.push(told);
        }
    }

    /// Everything, by key.
    pub fn read(&self) -> Vec<Request> {
        self.requests().values().cloned().collect()
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<String, Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix milliseconds of the one clock that everything under test shares.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
