//! Orders ahead: they wait, go on time, and share the kitchen's time.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use posmesh_e2e::{Http, Mesh, Options, Shape, Shop, eventually, line, on_both_shapes, provision, refusal};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{HoldReason, Order, OrderState, PlaceOrderRequest, QuoteOrderRequest},
    store::v1::ProductPolicy,
};
use serde_json::json;
use tonic::Code;

use crate::orders::is_truly_placed;

on_both_shapes!(
    an_order_ahead_waits_and_is_then_printed_once_at_its_fire_time,
    a_full_slot_is_refused_over_http_with_the_next_time_which_is_free,
);

const PREPARATION: Duration = Duration::from_secs(3600);

/// The kitchen needs an hour, and takes so many per slot.
async fn set_policy(shop: &Shop, orders_per_slot: i32) {
    let mut store = provision::store(&shop.store_id, &[]);
    let togo = store.product_policies.iter_mut().find(|policy| policy.product() == Product::ToGo).unwrap();
    *togo = ProductPolicy {
        preparation_time: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        orders_per_slot,
        ..togo.clone()
    };
    provision::put_store(&shop.mesh, store).await.unwrap();
    for replica in [0, 1] {
        eventually("the replica has heard of it", async || {
            let request = QuoteOrderRequest {
                store_id: shop.store_id.clone(),
                product: Product::ToGo.into(),
                lines: vec![line("ramune", 1)],
                ..Default::default()
            };
            let quote = shop.orders(replica).quote_order(request).await.ok()?.into_inner().quote?;
            let earliest = SystemTime::try_from(quote.earliest_pickup_time?).ok()?;
            (earliest > SystemTime::now() + PREPARATION - Duration::from_secs(60)).then_some(())
        })
        .await;
    }
}

async fn ahead(shop: &Shop, fires_in: Duration) -> PlaceOrderRequest {
    let pickup_time = Some((SystemTime::now() + PREPARATION + fires_in).into());
    PlaceOrderRequest { pickup_time, ..shop.request(Product::ToGo, &[line("ramune", 1)]).await }
}

async fn is_held(shop: &Shop, order: &Order) {
    assert_eq!((order.state(), order.hold_reason()), (OrderState::Held, HoldReason::FireTime), "{order:#?}");
    assert!(shop.pos.recorded(&order.order_id).await.is_empty());
}

async fn went_on_time(shop: &Shop, order: &Order) {
    is_truly_placed(shop, order).await;
    assert_eq!(shop.pos.slips(&order.order_id).await.len(), 1);
    let fire_time: SystemTime = order.fire_time.unwrap().try_into().unwrap();
    let begun: SystemTime = order.attempts[0].begin_time.unwrap().try_into().unwrap();
    let late = begun.duration_since(fire_time).expect("it went too early");
    assert!(late < Duration::from_secs(10), "{late:?} after its fire time");
}

async fn an_order_ahead_waits_and_is_then_printed_once_at_its_fire_time(shape: Shape) {
    let shop = Shop::open(shape).await;
    set_policy(&shop, 0).await;
    let order = shop.place(0, ahead(&shop, Duration::from_secs(3)).await).await.unwrap();
    is_held(&shop, &order).await;
    went_on_time(&shop, &shop.ends_up(1, &order.order_id, OrderState::Placed).await).await;
}

async fn a_full_slot_is_refused_over_http_with_the_next_time_which_is_free(shape: Shape) {
    let shop = Shop::open(shape).await;
    set_policy(&shop, 1).await;
    let path = format!("/togo/v1/stores/{}", shop.store_id);
    let total = shop.total(Product::ToGo, &[line("ramune", 1)]).await;
    let mut pickup_time = prost_types::Timestamp::from(SystemTime::now() + 2 * PREPARATION).to_string();
    for attempt in 0..3 {
        let body = json!({
            "lines": [{ "item_id": "ramune", "quantity": 1 }],
            "expected_total": { "currency": "JPY", "amount": total },
            "pickup_time": pickup_time,
        });
        let request = shop.http.post(&format!("{path}/orders"), &body);
        let key = format!("pickup-{}-{attempt}-of-a-test", shop.store_id);
        let answer = Http::send(request.header("Idempotency-Key", key)).await.unwrap();
        if attempt != 1 {
            assert_eq!(answer.status, 201, "{:#}", answer.body);
            continue;
        }
        assert_eq!(answer.status, 409, "{:#}", answer.body);
        assert_eq!(answer.body["reason"], "PICKUP_SLOT_FULL");
        pickup_time = answer.body["next_pickup_time"].as_str().unwrap().to_owned();
    }
}

#[tokio::test]
async fn an_order_ahead_whose_replica_dies_is_fired_by_the_other_one() {
    let mesh = Mesh::start(Shape::Postgres, Options::default()).await.unwrap();
    let shop = Shop::open_in(Arc::new(mesh), &[], false).await.unwrap();
    set_policy(&shop, 0).await;
    let order = shop.place(0, ahead(&shop, Duration::from_secs(3)).await).await.unwrap();
    is_held(&shop, &order).await;
    shop.mesh.order_replica(0).kill().unwrap();
    went_on_time(&shop, &shop.ends_up(1, &order.order_id, OrderState::Placed).await).await;
}

#[tokio::test]
async fn two_replicas_together_never_overbook_a_slot() {
    let shop = Shop::open(Shape::Postgres).await;
    set_policy(&shop, 5).await;
    let request = ahead(&shop, Duration::from_secs(3 * 3600)).await;
    let orders = (0..16).map(|guest| {
        let request = PlaceOrderRequest { request_id: format!("guest-{guest}"), ..request.clone() };
        shop.place(guest % 2, request)
    });
    let (taken, refused): (Vec<_>, Vec<_>) =
        futures_util::future::join_all(orders).await.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (5, 11));
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!((status.code(), refusal(&status).0.as_str()), (Code::FailedPrecondition, "PICKUP_SLOT_FULL"));
    }
    assert!(shop.pos.orders().await.is_empty());
}
