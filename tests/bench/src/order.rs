//! Orders as the storage gets them: three lines with choices, an attempt, evidence; about as many bytes as a guest's
//! order at a kiosk.

use std::{sync::Arc, time::Duration};

use posmesh_kit::time;
use posmesh_order::storage::{CheckChange, NewOrder, OrderChange};
use posmesh_proto::{
    common::v1::{Evidence, EvidenceKind, Money, Product, ServiceMode},
    order::v1::{
        Attempt, AttemptOutcome, LineModifier, Order, OrderLine, OrderPurpose, OrderState, Price, PriceStatus,
        TaxAmount,
    },
};
use uuid::Uuid;

/// The tenant of all orders.
pub(crate) const TENANT: &str = "default";
/// The caller of all orders.
pub(crate) const CALLER: &str = "default";
/// Their business day.
pub(crate) const BUSINESS_DATE: &str = "2026-11-22";
const REPLICA: &str = "01998a5e-7c31-7000-8000-00000000beef";
const LEASE: Duration = Duration::from_secs(35);

/// The id of a store.
pub(crate) fn store_id(number: usize) -> String {
    format!("store-{number:05}")
}

/// An order as it is taken: its first attempt begun, leased.
pub(crate) fn taken(store: usize) -> NewOrder {
    let order_id = Uuid::now_v7();
    let now = Some(time::now());
    let line = |nth: usize, item: &str, price: i64, choices: &[&str]| OrderLine {
        line_id: Uuid::new_v5(&order_id, &[nth as u8]).to_string(),
        item_id: item.to_owned(),
        name: item.to_owned(),
        quantity: 1,
        service_mode: ServiceMode::DineIn.into(),
        unit_price: Some(yen(price)),
        modifiers: choices.iter().map(|choice| modifier(choice)).collect(),
        line_price: Some(yen(price)),
        tax_class_id: "food".to_owned(),
        tax_rate_ppm: 100_000,
        tax_included: true,
        ..OrderLine::default()
    };
    let lines = vec![
        line(0, "yakitori", 420, &["salt", "large"]),
        line(1, "yaki_onigiri", 250, &[]),
        line(2, "ramune", 380, &["ice"]),
    ];
    let tax = TaxAmount { rate_ppm: 100_000, included_in_price: true, net: Some(yen(955)), tax: Some(yen(95)) };
    let price = Price {
        status: PriceStatus::Final.into(),
        net: Some(yen(955)),
        tax: Some(yen(95)),
        total: Some(yen(1050)),
        taxes: vec![tax],
        ..Price::default()
    };
    let store_id = store_id(store);
    let attempt = Attempt {
        number: 1,
        begin_time: now,
        not_after: now,
        connection_id: format!("{store_id}-pos"),
        connection_revision: 1,
        adapter_version: "0.1.0".to_owned(),
        replica: REPLICA.to_owned(),
        max_apply_delay: Some(prost_duration()),
        ..Attempt::default()
    };
    let order = Order {
        order_id: order_id.to_string(),
        store_id,
        product: Product::Kiosk.into(),
        purpose: OrderPurpose::Live.into(),
        state: OrderState::Sending.into(),
        version: 1,
        business_date: BUSINESS_DATE.to_owned(),
        lines,
        price: Some(price),
        attempts: vec![attempt],
        catalog_version: 1,
        create_time: now,
        update_time: now,
        deliver_by: now,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        ..Order::default()
    };
    NewOrder {
        tenant_id: Arc::from(TENANT),
        caller: Arc::from(CALLER),
        // As the gateway makes it of an idempotency key.
        request_id: format!("kiosk:{}:{}", order.store_id, Uuid::new_v4()),
        request_hash: vec![7; 33],
        order,
        lease: LEASE,
        hold: LEASE,
        complete_in: Some(Duration::from_secs(12 * 3600)),
        slot: None,
        contact: None,
    }
}

/// The change that makes an order PLACED, with the evidence of the POS.
pub(crate) fn placed(mut order: Order) -> OrderChange {
    let now = Some(time::now());
    order.version += 1;
    order.state = OrderState::Placed.into();
    order.update_time = now;
    order.place_time = now;
    let connection_id = order.attempts.first().map(|attempt| attempt.connection_id.clone()).unwrap_or_default();
    for attempt in &mut order.attempts {
        attempt.outcome = AttemptOutcome::Placed.into();
        attempt.end_time = now;
    }
    let evidence = |kind: EvidenceKind| Evidence {
        kind: kind.into(),
        connection_id: connection_id.clone(),
        reference: "2048".to_owned(),
        time: now,
    };
    order.evidence = vec![evidence(EvidenceKind::Pos), evidence(EvidenceKind::Printed)];
    order.pos_order_references = vec!["2048".to_owned()];
    order.display_number = "048".to_owned();
    order.pos_total = Some(yen(1050));
    OrderChange { tenant_id: Arc::from(TENANT), order, due_in: None, check: CheckChange::default() }
}

fn modifier(choice: &str) -> LineModifier {
    LineModifier {
        group_id: "choices".to_owned(),
        modifier_id: choice.to_owned(),
        name: choice.to_owned(),
        quantity: 1,
        price: Some(yen(0)),
        ..LineModifier::default()
    }
}

fn yen(amount: i64) -> Money {
    Money { currency_code: "JPY".to_owned(), amount }
}

fn prost_duration() -> prost_types::Duration {
    time::to_proto_duration(Duration::ZERO)
}
