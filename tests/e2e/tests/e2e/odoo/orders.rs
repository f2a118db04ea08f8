//! The menu of a real Odoo comes up, and orders go down.

use posmesh_counterparts::RESTAURANT;
use posmesh_e2e::{Http, Mesh, Shape, provision, sit_down};
use posmesh_proto::catalog::v1::SyncState;
use serde_json::{Value, json};

use super::Restaurant;
use crate::orders::{an_hour_from_now, key};

const STORE_ID: &str = "odoo-restaurant";
/// No log may hold it.
const GUEST: &str = "Quetzalcoatl";
const DRAFT_FIELDS: [&str; 5] = ["uuid", "state", "amount_total", "table_id", "write_date"];

// One test: a start of Odoo costs seconds and 200 MB.
#[tokio::test]
async fn the_menu_of_a_real_odoo_comes_up_and_orders_go_down_beside_the_staffs_own() {
    let restaurant = Restaurant::open(Mesh::shared(Shape::Postgres).await.unwrap(), STORE_ID).await;
    let staff_drafts = restaurant.drafts(json!([])).await;
    assert_eq!(staff_drafts.len(), 4, "the demo's own");

    restaurant.the_menu_holds_all_sellable_products_with_prices_and_taxes_and_all_tables().await;
    restaurant.two_rounds_of_a_table_are_one_draft_with_equal_lines_and_total(&staff_drafts).await;
    restaurant.a_togo_order_paid_elsewhere_is_a_paid_order().await;
    for process in restaurant.mesh.processes().iter().chain([&restaurant.adapter]) {
        assert!(!process.has_logged(GUEST), "{} logs the guest's name", process.name());
        assert!(!process.has_logged(restaurant.odoo.api_key()), "{} logs the API key", process.name());
    }

    let ids: Vec<&Value> = staff_drafts.iter().map(|draft| &draft["id"]).collect();
    let now = restaurant.odoo.search_read("pos.order", json!([["id", "in", ids]]), &DRAFT_FIELDS).await.unwrap();
    assert_eq!(by_id(now), by_id(staff_drafts), "what the staff entered is untouched");
}

fn by_id(mut orders: Vec<Value>) -> Vec<Value> {
    orders.sort_by_key(|order| order["id"].as_i64());
    orders
}

/// Cents of what Odoo writes as a number of dollars.
#[expect(clippy::cast_possible_truncation, reason = "prices of a menu")]
fn cents(dollars: &Value) -> i64 {
    (dollars.as_f64().unwrap() * 100.0).round() as i64
}

impl Restaurant {
    async fn drafts(&self, further: Value) -> Vec<Value> {
        let mut domain = json!([["state", "=", "draft"]]);
        domain.as_array_mut().unwrap().extend(further.as_array().unwrap().iter().cloned());
        self.odoo.search_read("pos.order", domain, &DRAFT_FIELDS).await.unwrap()
    }

    /// The lines of an order at Odoo that are ours, by the ids that we gave them.
    async fn our_lines(&self, order: &Value) -> Vec<Value> {
        let ids: Vec<&Value> = order["lines"].as_array().unwrap().iter().map(|line| &line["line_id"]).collect();
        let fields = ["order_id", "product_id", "qty", "price_subtotal_incl", "uuid"];
        let lines = self.odoo.search_read("pos.order.line", json!([["uuid", "in", ids]]), &fields).await.unwrap();
        assert_eq!(lines.len(), ids.len(), "{order:#}");
        lines
    }

    async fn the_menu_holds_all_sellable_products_with_prices_and_taxes_and_all_tables(&self) {
        let run = provision::sync(&self.mesh, STORE_ID).await.unwrap();
        assert_eq!(run.state(), SyncState::Published, "{run:#?}");
        let restaurant = json!([["name", "=", RESTAURANT]]);
        let config =
            self.odoo.search_read("pos.config", restaurant, &["iface_available_categ_ids", "floor_ids"]).await.unwrap();
        let mut sellable = json!([["available_in_pos", "=", true], ["sale_ok", "=", true]]);
        let categories = config[0]["iface_available_categ_ids"].clone();
        if categories != json!([]) {
            sellable.as_array_mut().unwrap().push(json!(["pos_categ_ids", "in", categories]));
        }
        let products = self.odoo.search_read("product.product", sellable, &["lst_price"]).await.unwrap();
        let tables = json!([["floor_id", "in", config[0]["floor_ids"]]]);
        let tables = self.odoo.search_read("restaurant.table", tables, &["table_number"]).await.unwrap();
        let counts = run.counts.unwrap();
        assert_eq!(
            (counts.items, counts.tables),
            (products.len().try_into().unwrap(), tables.len().try_into().unwrap())
        );
        assert!(products.len() > 20 && tables.len() == 24, "{} {}", products.len(), tables.len());

        let menu = format!("/table/v1/stores/{STORE_ID}/menu?locale=ja");
        let menu = Http::send(self.http.get(&menu)).await.unwrap().ok();
        let items = menu["items"].as_array().unwrap();
        assert_eq!(items.len(), products.len());
        for product in &products {
            let id = product["id"].to_string();
            let item = items.iter().find(|item| item["id"] == id.as_str()).unwrap_or_else(|| panic!("{product}"));
            // Prices in Odoo are without the tax, 15 % on every product of the demo; guests see what they pay.
            let net = cents(&product["lst_price"]);
            let gross = item["display_price"]["amount"].as_i64().unwrap();
            assert_eq!(gross, net + (net * 15 + 50) / 100, "{product} {item}");
        }
        let burger = items.iter().find(|item| item["id"] == "161").unwrap();
        assert_eq!(burger["name"], "ベーコンバーガー");
    }

    /// Orders what the guest agrees to.
    async fn order(&self, path: &str, collection: &str, token: &str, mut order: Value) -> Value {
        let quote = self.http.post(&format!("{path}/quote"), &json!({ "lines": order["lines"] })).bearer_auth(token);
        let total = Http::send(quote).await.unwrap().ok()["price"]["total"].clone();
        order["expected_total"] = total.clone();
        if order["tenders"].is_array() {
            order["tenders"][0]["amount"] = total;
        }
        let placing = self.http.place(&format!("{path}/{collection}"), &key(), &order).bearer_auth(token);
        let placed = Http::send(placing).await.unwrap().ok();
        assert_eq!(placed["order"]["state"], "PLACED", "{placed:#}");
        placed["order"].clone()
    }

    async fn two_rounds_of_a_table_are_one_draft_with_equal_lines_and_total(&self, staff_drafts: &[Value]) {
        let taken: Vec<i64> = staff_drafts.iter().filter_map(|draft| draft["table_id"][0].as_i64()).collect();
        let tables = self.odoo.search_read("restaurant.table", json!([["floor_id", "=", 2]]), &[]).await.unwrap();
        let table = tables.iter().filter_map(|table| table["id"].as_i64()).find(|id| !taken.contains(id)).unwrap();
        let seated = sit_down(&self.http, STORE_ID, &table.to_string()).await;
        assert_eq!(seated["joined"], false);
        let token = seated["guest_token"].as_str().unwrap();
        let side = json!([{ "group_id": "attribute-18", "modifier_id": "79" }]);
        let burger = json!({ "item_id": "161", "quantity": 3, "modifiers": side, "note": "no ice, 氷なし" });
        let first = self.order("/table/v1/check", "rounds", token, json!({ "lines": [burger] })).await;
        let drinks = json!([{ "item_id": "176", "quantity": 1 }, { "item_id": "177", "quantity": 2 }]);
        let second = self.order("/table/v1/check", "rounds", token, json!({ "lines": drinks })).await;

        let drafts = self.drafts(json!([["table_id", "=", table]])).await;
        assert_eq!(drafts.len(), 1, "one draft on the table: {drafts:#?}");
        let mut lines = self.our_lines(&first).await;
        lines.extend(self.our_lines(&second).await);
        for line in &lines {
            assert_eq!(line["order_id"][0], drafts[0]["id"]);
        }
        let ordered: Vec<(i64, i64)> =
            lines.iter().map(|line| (line["product_id"][0].as_i64().unwrap(), cents(&line["qty"]) / 100)).collect();
        let mut expected = vec![(161, 3), (176, 1), (177, 2)];
        expected.sort_unstable();
        let mut ordered = ordered;
        ordered.sort_unstable();
        assert_eq!(ordered, expected);

        let bill = self.http.get("/table/v1/check?include_bill=true").bearer_auth(token);
        let bill = Http::send(bill).await.unwrap().ok()["bill"]["total"]["amount"].as_i64().unwrap();
        let rounds: i64 =
            [&first, &second].map(|round| round["price"]["total"]["amount"].as_i64().unwrap()).into_iter().sum();
        assert_eq!((bill, rounds), (cents(&drafts[0]["amount_total"]), bill), "the guest, the platform and Odoo agree");
    }

    async fn a_togo_order_paid_elsewhere_is_a_paid_order(&self) {
        let path = format!("/togo/v1/stores/{STORE_ID}");
        let order = json!({
            "lines": [{ "item_id": "177", "quantity": 2 }], "pickup_time": an_hour_from_now(),
            "guest_contact": { "name": GUEST }, "tenders": [{ "reference": "pay_9Qz1" }],
        });
        let order = self.order(&path, "orders", "nobody", order).await;
        let total = order["price"]["total"]["amount"].as_i64().unwrap();
        let lines = self.our_lines(&order).await;
        let at_odoo = json!([["id", "=", lines[0]["order_id"][0]]]);
        let fields = ["state", "amount_total", "amount_paid", "tracking_number"];
        let at_odoo = self.odoo.search_read("pos.order", at_odoo, &fields).await.unwrap();
        assert_eq!(at_odoo[0]["state"], "paid", "{at_odoo:#?}");
        assert_eq!((cents(&at_odoo[0]["amount_total"]), cents(&at_odoo[0]["amount_paid"])), (total, total));
        assert_eq!(order["display_number"], at_odoo[0]["tracking_number"], "the guest is called by Odoo's number");
    }
}
