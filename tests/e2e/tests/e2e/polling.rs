//! A POS that cannot tell what happens by itself.

use posmesh_e2e::{Events, Shape, Shop, eventually, line, within};
use posmesh_proto::common::v1::Product;
use serde_json::{Value, json};

use crate::watching::place;

posmesh_e2e::on_both_shapes!(a_pos_that_cannot_push_is_polled_and_the_guest_sees_what_the_kitchen_did_even_offline);

/// The POS can neither list nor find orders: nothing but its events tells how far they are.
async fn a_pos_that_cannot_push_is_polled_and_the_guest_sees_what_the_kitchen_did_even_offline(shape: Shape) {
    let profile = [("find", "none"), ("list_orders", "none"), ("poll_events", "true")];
    let shop = Shop::open_with_profile(shape, &profile).await;
    is_polled(&shop).await;
    let (path, token) = place(&shop).await;
    let order_id = path.rsplit('/').next().unwrap();
    let request = shop.http.get(&format!("{path}/events")).bearer_auth(&token);
    let mut events = Events::open(request, None).await.unwrap().unwrap();
    until(&mut events, "PLACED").await;
    moves_on(&shop, order_id, "in_preparation").await;
    until(&mut events, "IN_PREPARATION").await;
    moves_on(&shop, order_id, "ready").await;
    until(&mut events, "READY").await;

    shop.gate().shut().await;
    moves_on(&shop, order_id, "completed").await;
    shop.gate().forward().await;
    let last = until(&mut events, "COMPLETED").await;
    assert_eq!(last["ended"], json!(true), "{last:#}");
    assert!(within("the end", events.next()).await.unwrap().is_none(), "nothing more will come");
    assert_eq!(shop.pos.recorded(order_id).await.len(), 1);
}

/// Polling begins with the first order, and knows nothing of what was before.
async fn is_polled(shop: &Shop) {
    shop.pos.fault(json!({ "kind": "delay", "delay_ms": 0, "on": "events" })).await;
    shop.placed(0, shop.request(Product::Kiosk, &[line("ramune", 1)]).await).await;
    // The second question names what the first one's answer was.
    let asked = async || (shop.pos.happened("delay").await > 1).then_some(());
    eventually("the POS is polled", asked).await;
}

async fn moves_on(shop: &Shop, order_id: &str, to: &str) {
    shop.pos.staff(json!({ "action": "progress", "reference": order_id, "to": to })).await;
}

async fn until(events: &mut Events, state: &str) -> Value {
    loop {
        let event = within(state, events.next()).await.unwrap().expect("the order ended otherwise");
        if event.data["state"] == state {
            return event.data;
        }
    }
}
