//! The database goes away while orders run, and comes back.

use std::sync::Arc;

use posmesh_counterparts::Postgres;
use posmesh_e2e::{Mesh, Options, Shape, Shop, eventually, line, refusal};
use posmesh_proto::{common::v1::Product, order::v1::OrderState};
use serde_json::json;
use tonic::Code;

use crate::orders::is_truly_placed;

#[tokio::test]
async fn orders_survive_a_database_that_is_stopped_while_they_run() {
    orders_survive(|postgres| postgres.stop().unwrap()).await;
}

#[tokio::test]
async fn orders_survive_a_database_that_crashes_while_they_run() {
    orders_survive(|postgres| postgres.crash().unwrap()).await;
}

async fn orders_survive(end: fn(&Postgres)) {
    let postgres = Arc::new(tokio::task::spawn_blocking(Postgres::start).await.unwrap().unwrap());
    let options = Options { attempt_timeout_ms: 3000, postgres: Some(&postgres), ..Options::default() };
    let mesh = Arc::new(Mesh::start(Shape::Postgres, options).await.unwrap());
    let shop = Shop::open_in(mesh, &[], false).await.unwrap();
    shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    let refused = shop.request(Product::Kiosk, &[line("yaki_onigiri", 1)]).await;

    // On its way to the POS when the database goes, and there before the database is back.
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 1000, "times": 1 })).await;
    let running = shop.place(0, shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await).await.unwrap();
    assert_eq!(running.state(), OrderState::Sending);
    let gone = Arc::clone(&postgres);
    tokio::task::spawn_blocking(move || end(&gone)).await.unwrap();

    let status = shop.place(1, refused.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let reason = refusal(&status).0;
    assert!(["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&reason.as_str()), "{status:?}");
    let recorded = async || (shop.pos.recorded(&running.order_id).await.len() == 1).then_some(());
    eventually("the POS records what was on its way", recorded).await;

    let back = Arc::clone(&postgres);
    tokio::task::spawn_blocking(move || back.restart()).await.unwrap().unwrap();
    let running = shop.ends_up(1, &running.order_id, OrderState::Placed).await;
    assert_eq!(running.attempts.len(), 1, "it was recorded or found, not sent again: {running:#?}");
    is_truly_placed(&shop, &running).await;

    // What was refused was not taken, and is taken once when it is asked for again.
    let again = async || shop.place(1, refused.clone()).await.ok();
    let order = eventually("orders are taken again", again).await;
    let order = shop.ends_up(0, &order.order_id, OrderState::Placed).await;
    is_truly_placed(&shop, &order).await;
    assert_eq!(shop.list().await.len(), 3);
}
