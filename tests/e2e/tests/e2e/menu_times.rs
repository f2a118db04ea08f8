//! What is sold at some times of the week alone.

use posmesh_e2e::{Http, Shape, Shop, eventually};
use posmesh_proto::catalog::v1::SyncState;
use serde_json::{Value, json};

use crate::{bad_input::item, orders::key};

posmesh_e2e::on_both_shapes!(what_is_not_sold_now_is_not_on_the_menu_and_is_refused_by_name_until_it_is_sold_again,);

/// Makes ramune an item of the lunch on these days, 1 Monday to 7 Sunday.
async fn lunch_on(shop: &Shop, weekdays: &[u64]) {
    let mut master = shop.pos.master().await;
    let hours = json!([{ "weekdays": weekdays, "from_minutes": 0, "until_minutes": 1440 }]);
    master["periods"] = json!([{ "id": "lunch", "name": { "ja": "ランチ", "en": "Lunch" }, "hours": hours }]);
    item(&mut master, "ramune")["periods"] = json!(["lunch"]);
    shop.pos.replace_master(&master).await;
    let run = shop.sync().await.unwrap();
    assert_eq!((run.state(), run.problems.len()), (SyncState::Published, 0), "{run:#?}");
}

async fn is_on_the_menu(shop: &Shop) -> bool {
    let path = format!("/kiosk/v1/stores/{}/menu?locale=ja", shop.store_id);
    let menu = Http::send(shop.http.get(&path)).await.unwrap().ok();
    menu["items"].as_array().unwrap().iter().any(|item| item["id"] == "ramune")
}

async fn what_is_not_sold_now_is_not_on_the_menu_and_is_refused_by_name_until_it_is_sold_again(shape: Shape) {
    let shop = Shop::open(shape).await;
    let store = format!("/kiosk/v1/stores/{}", shop.store_id);
    let lines = json!([{ "item_id": "ramune", "quantity": 1 }]);
    let quote =
        async || Http::send(shop.http.post(&format!("{store}/quote"), &json!({ "lines": lines }))).await.unwrap();
    let agreed: Value = quote().await.ok()["price"]["total"].take();

    // In Tokyo, three days from now: today is over before, tomorrow too. The first day of Unix time was a Thursday.
    let days = u64::try_from(posmesh_kit::time::now_unix_ms()).unwrap() / 1000 + 9 * 3600;
    let today = (days / 86_400 + 3) % 7;
    lunch_on(&shop, &[(today + 3) % 7 + 1]).await;
    eventually("it is off the menu", async || (!is_on_the_menu(&shop).await).then_some(())).await;
    let refused = eventually("it cannot be ordered", async || Some(quote().await).filter(|a| a.status != 200)).await;
    let (status, reason, _) = refused.problem();
    assert_eq!((status, reason.as_str()), (409, "ITEM_NOT_SOLD_NOW"));
    let words = refused.body.to_string();
    assert!(words.contains("ラムネ") && words.contains("sold again from"), "{words}");
    let body = json!({ "lines": lines, "expected_total": agreed, "service_mode": "eat_in" });
    let order = shop.http.place(&format!("{store}/orders"), &key(), &body);
    assert_eq!(Http::send(order).await.unwrap().problem().1, "ITEM_NOT_SOLD_NOW");
    assert!(shop.pos.orders().await.is_empty(), "nothing went out");

    lunch_on(&shop, &[1, 2, 3, 4, 5, 6, 7]).await;
    eventually("it is on the menu", async || is_on_the_menu(&shop).await.then_some(())).await;
    eventually("it can be ordered", async || (quote().await.status == 200).then_some(())).await;
    let order = shop.http.place(&format!("{store}/orders"), &key(), &body);
    assert_eq!(Http::send(order).await.unwrap().ok()["order"]["state"], "PLACED");
}
