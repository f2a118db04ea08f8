//! Several of each: the death of one is nobody's business. And a single one comes back where it was.

use std::sync::Arc;

use posmesh_e2e::{Http, Mesh, Options, Process, Shape, Shop, line};
use posmesh_proto::{common::v1::Product, order::v1::OrderState};
use serde_json::json;

use crate::orders::is_truly_placed;

#[tokio::test]
async fn with_one_of_two_adapter_instances_dead_orders_go_on() {
    let shop = own(Shape::Postgres).await;
    // Whichever of them serves the connection: after the death of each, with the other alive, orders go on.
    for instance in [0, 1] {
        orders_go_on(&shop).await;
        shop.mesh.adapter_instance(instance).kill().unwrap();
        orders_go_on(&shop).await;
        shop.mesh.adapter_instance(instance).restart().unwrap();
        shop.mesh.wait_until_ready().await.unwrap();
    }
    orders_go_on(&shop).await;
}

#[tokio::test]
async fn with_one_of_two_router_replicas_dead_orders_and_syncs_go_on() {
    let shop = own(Shape::Postgres).await;
    orders_go_on(&shop).await;
    shop.mesh.router_replica(0).kill().unwrap();
    orders_go_on(&shop).await;
    assert!(shop.sync().await.unwrap().catalog_version > 0);
}

#[tokio::test]
async fn with_one_of_two_order_replicas_dead_guests_notice_nothing() {
    let shop = own(Shape::Postgres).await;
    let before = shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    shop.mesh.order_replica(1).kill().unwrap();
    for _ in 0..4 {
        kiosk_order_by_http(&shop).await;
    }
    assert_eq!(shop.order(0, &before.order_id).await.unwrap().state(), OrderState::Placed);
}

#[tokio::test]
async fn after_a_crash_of_the_whole_mesh_on_sqlite_everything_is_where_it_was() {
    let shop = own(Shape::Sqlite).await;
    let order = shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    shop.mesh.order_replica(0).restart().unwrap();
    shop.mesh.wait_until_ready().await.unwrap();
    assert_eq!(shop.order(0, &order.order_id).await.unwrap(), order);
    kiosk_order_by_http(&shop).await;
}

#[tokio::test]
async fn a_process_that_is_asked_to_end_finishes_what_it_has_begun() {
    let shop = own(Shape::Postgres).await;
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 800, "times": 1 })).await;
    let order = shop.place(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await.unwrap();
    assert_eq!(order.state(), OrderState::Sending);
    let replica = shop.mesh.order_replica(0);
    replica.terminate().unwrap();
    let status = posmesh_e2e::eventually("it ends", async || replica.ended().unwrap()).await;
    assert!(status.success(), "{status}");
    let order = shop.ends_up(1, &order.order_id, OrderState::Placed).await;
    assert_eq!(order.attempts.len(), 1, "nobody had to take over: {order:#?}");
    is_truly_placed(&shop, &order).await;
}

#[tokio::test]
async fn when_every_adapter_dies_in_the_middle_of_a_send_the_order_is_found_not_sent_again() {
    let shop = own(Shape::Postgres).await;
    let instances = [0, 1].map(|instance| shop.mesh.adapter_instance(instance));
    dies_in_the_middle_of_a_send(&shop, instances).await;
}

#[tokio::test]
async fn when_every_router_dies_in_the_middle_of_a_send_the_order_is_found_not_sent_again() {
    let shop = own(Shape::Postgres).await;
    let replicas = [0, 1].map(|replica| shop.mesh.router_replica(replica));
    dies_in_the_middle_of_a_send(&shop, replicas).await;
}

async fn dies_in_the_middle_of_a_send(shop: &Shop, victims: [&Process; 2]) {
    orders_go_on(shop).await;
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 800, "times": 1 })).await;
    let order = shop.place(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await.unwrap();
    let begun = async || (shop.pos.happened("delay").await == 1).then_some(());
    posmesh_e2e::eventually("the POS has the request in its hands", begun).await;
    for victim in victims {
        victim.kill().unwrap();
    }
    for victim in victims {
        victim.restart().unwrap();
    }
    let order = shop.ends_up(1, &order.order_id, OrderState::Placed).await;
    assert_eq!(order.attempts.len(), 1, "{order:#?}");
    is_truly_placed(shop, &order).await;
    orders_go_on(shop).await;
}

async fn own(shape: Shape) -> Shop {
    let mesh = Mesh::start(shape, Options::default()).await.unwrap();
    Shop::open_in(Arc::new(mesh), &[], false).await.unwrap()
}

/// Several, so that every live instance and replica gets its turn.
async fn orders_go_on(shop: &Shop) {
    for at in 0..4 {
        let request = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;
        let order = shop.placed(at % 2, request).await;
        is_truly_placed(shop, &order).await;
    }
}

async fn kiosk_order_by_http(shop: &Shop) {
    let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
    let body = json!({ "lines": [{ "item_id": "ramune", "quantity": 1 }], "service_mode": "eat_in",
        "expected_total": { "currency": "JPY", "amount": 380 } });
    let placed = Http::send(shop.http.place(&path, &crate::orders::key(), &body)).await.unwrap().ok();
    assert_eq!(placed["order"]["state"], "PLACED", "{placed:#}");
    assert_eq!(shop.pos.recorded(placed["order"]["order_id"].as_str().unwrap()).await.len(), 1);
}
