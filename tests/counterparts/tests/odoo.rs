//! Odoo as tests get it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use posmesh_counterparts::Odoo;
use serde_json::{Value, json};

async fn count(odoo: &Odoo, model: &str, domain: Value) -> i64 {
    odoo.call(model, "search_count", json!({"domain": domain})).await.unwrap().as_i64().unwrap()
}

async fn session_state(odoo: &Odoo, session: i64) -> String {
    let sessions = odoo.search_read("pos.session", json!([["id", "=", session]]), &["state"]).await.unwrap();
    sessions[0]["state"].as_str().unwrap().to_owned()
}

// One test for all: a start costs seconds and 200 MB.
#[tokio::test]
async fn odoo_holds_the_demo_restaurant_opens_and_closes_its_till_and_keeps_it_over_a_restart() {
    let mut odoo = Odoo::start().await.unwrap();
    assert_eq!(count(&odoo, "restaurant.table", json!([])).await, 27);
    assert!(count(&odoo, "product.product", json!([["available_in_pos", "=", true]])).await > 100);
    let burger =
        odoo.search_read("product.product", json!([["name", "=", "Bacon Burger"]]), &["lst_price"]).await.unwrap();
    assert!(burger[0]["lst_price"].as_f64().unwrap() > 0.0, "{burger:?}");

    let translated = json!({"ids": [burger[0]["id"]], "fields": ["name"], "context": {"lang": "ja_JP"}});
    let translated = odoo.call("product.product", "read", translated).await.unwrap();
    assert_eq!(translated[0]["name"], "ベーコンバーガー");

    let session = odoo.open_session().await.unwrap();
    assert_eq!(session_state(&odoo, session).await, "opened");
    assert_eq!(odoo.open_session().await.unwrap(), session, "an open till stays as it is");

    odoo.stop().await.unwrap();
    assert!(odoo.call("res.users", "context_get", json!({})).await.is_err());
    odoo.restart().await.unwrap();
    assert_eq!(session_state(&odoo, session).await, "opened");

    odoo.close_session().await.unwrap();
    assert_eq!(session_state(&odoo, session).await, "closed");
    odoo.close_session().await.unwrap();
    let next = odoo.open_session().await.unwrap();
    assert_ne!(next, session);
    assert_eq!(session_state(&odoo, next).await, "opened");

    let refused = odoo.call("restaurant.table", "no_such_method", json!({})).await.unwrap_err().to_string();
    assert!(refused.contains("404") && refused.contains("does not exist"), "{refused}");
}
