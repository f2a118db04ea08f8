//! Each way in which a real Odoo stops taking orders is told by its name, closes the gate, and is seen to end.

use std::sync::Arc;

use posmesh_counterparts::RESTAURANT;
use posmesh_e2e::{Answer, Http, Mesh, Options, Shape, Stopwatch, eventually, provision};
use posmesh_kit::cause;
use posmesh_proto::{
    catalog::v1::SyncState,
    common::v1::Product,
    order::v1::{Gate, GateReason, GateState},
    router::v1::{Link, LinkState, ListLinkEventsRequest, router_service_client::RouterServiceClient},
};
use serde_json::{Value, json};

use super::Restaurant;
use crate::orders::{an_hour_from_now, key};

const STORE_ID: &str = "odoo-links";
/// A store whose till nobody has ever opened.
const NEW_STORE_ID: &str = "odoo-links-bar";

/// What is told of a failure.
#[derive(Clone, Copy)]
struct Told {
    cause: &'static str,
    /// In the message to the staff.
    words: &'static [&'static str],
}

// One test: a start of Odoo costs seconds and 200 MB.
#[tokio::test]
async fn each_way_in_which_a_real_odoo_takes_no_orders_is_told_by_its_name_until_it_is_mended() {
    let settings = [("CATALOG__POLL_INTERVAL", "1s")];
    let options = Options { attempt_timeout_ms: 15_000, settings: &settings, ..Options::default() };
    let mesh = Mesh::start(Shape::Postgres, options).await.unwrap();
    let mut restaurant = Restaurant::open(Arc::new(mesh), STORE_ID).await;
    let run = provision::sync(&restaurant.mesh, STORE_ID).await.unwrap();
    assert_eq!(run.state(), SyncState::Published, "{run:#?}");
    restaurant.is_back(&Stopwatch::start("a till that is open")).await;

    restaurant.what_changes_in_odoo_is_sold_so_seconds_later(STORE_ID).await;
    restaurant.its_process_is_stopped().await;
    restaurant.its_process_is_stopped_while_an_order_comes().await;
    restaurant.its_key_is_revoked().await;
    restaurant.its_till_is_closed_by_the_staff().await;
    restaurant.its_database_is_renamed().await;
    restaurant.another_till_was_never_opened().await;
    assert!(!restaurant.adapter.has_logged(restaurant.odoo.api_key()), "the adapter logs the API key");
}

impl Restaurant {
    async fn its_process_is_stopped(&mut self) {
        let settled = async || self.mesh.link(STORE_ID).await.ok().filter(|link| link.probes_passed == 5);
        eventually("it is probed as rarely as when all has long been well", settled).await;
        let watch = Stopwatch::start("Odoo's process is stopped, and nobody orders");
        self.odoo.stop().await.unwrap();
        self.is_told(
            &watch,
            Told { cause: cause::NETWORK_DOWN, words: &["Odoo gives no answer", "see whether its server runs"] },
        )
        .await;
        self.odoo.restart().await.unwrap();
        watch.note("Odoo answers again");
        self.is_back(&watch).await;
    }

    async fn its_process_is_stopped_while_an_order_comes(&mut self) {
        let watch = Stopwatch::start("Odoo's process is stopped, and an order comes");
        self.odoo.stop().await.unwrap();
        watch.note("it is stopped");
        let taken = self.order_at_once(Product::Kiosk).await;
        watch.note(format!("an order is taken before anybody knows: {}", taken["order"]["state"]));
        self.is_told(
            &watch,
            Told { cause: cause::NETWORK_DOWN, words: &["Odoo gives no answer", "see whether its server runs"] },
        )
        .await;
        self.odoo.restart().await.unwrap();
        watch.note("Odoo answers again");
        self.is_back(&watch).await;
    }

    async fn its_key_is_revoked(&mut self) {
        let watch = Stopwatch::start("the API key is revoked");
        self.odoo.revoke_api_key().await.unwrap();
        let words = &["Invalid apikey", "make a new API key in Odoo"];
        self.is_told(&watch, Told { cause: cause::CREDENTIALS_REJECTED, words }).await;
        self.odoo.make_api_key().await.unwrap();
        self.connect(STORE_ID, json!(RESTAURANT)).await;
        watch.note("the connection is put with a new key");
        self.is_back(&watch).await;
    }

    /// What a guest orders meanwhile for later is kept, and is there once the till is open again.
    async fn its_till_is_closed_by_the_staff(&mut self) {
        let watch = Stopwatch::start("the staff close the till");
        self.odoo.close_session().await.unwrap();
        watch.note("it is closed");
        let words = &["till \"Restaurant\" was closed at", "UTC: open it at the Point of Sale"];
        self.is_told(&watch, Told { cause: cause::BUSINESS_DAY_NOT_OPEN, words }).await;
        let kept = self.order_at_once(Product::ToGo).await;
        assert_eq!(kept["order"]["state"], "HELD", "{kept:#}");
        assert_eq!(kept["order"]["guest_message"]["code"], "HELD_FOR_STORE");

        self.odoo.open_session().await.unwrap();
        watch.note("the staff open it again");
        self.is_back(&watch).await;
        let (id, token) = (kept["order"]["order_id"].as_str().unwrap(), kept["order_token"].as_str().unwrap());
        let path = format!("/togo/v1/stores/{STORE_ID}/orders/{id}");
        let placed = async || {
            let order = Http::send(self.http.get(&path).bearer_auth(token)).await.ok()?.ok();
            (order["state"] == "PLACED").then_some(order)
        };
        let placed = eventually("the kept order is placed", placed).await;
        watch.note("the kept order is placed");
        let line = json!([["uuid", "=", placed["lines"][0]["line_id"]]]);
        assert_eq!(self.odoo.search_read("pos.order.line", line, &[]).await.unwrap().len(), 1);
    }

    async fn its_database_is_renamed(&mut self) {
        let watch = Stopwatch::start("Odoo's database is renamed");
        self.rename_database(self.odoo.database(), "elsewhere").await;
        watch.note("it has another name");
        let words = &["has no database \"odoo\"", "correct the setting database"];
        self.is_told(&watch, Told { cause: cause::MISCONFIGURED, words }).await;
        self.rename_database("elsewhere", self.odoo.database()).await;
        watch.note("it has its name again");
        self.is_back(&watch).await;
    }

    async fn another_till_was_never_opened(&mut self) {
        let bar = self.odoo.search_read("pos.config", json!([["name", "=", "Bar"]]), &[]).await.unwrap();
        let watch = Stopwatch::start("a till that was never opened");
        self.provide(NEW_STORE_ID, bar[0]["id"].clone()).await;
        let link = self.mesh.link_is(NEW_STORE_ID, LinkState::Offline).await;
        watch.note(of_link(&link));
        assert_eq!((link.cause.as_str(), link.failing_hop.as_str()), (cause::BUSINESS_DAY_NOT_OPEN, "pos"));
        assert!(link.message.contains("till \"Bar\" has never been opened: open it"), "{}", link.message);
        self.odoo.open_till(bar[0]["id"].as_i64().unwrap()).await.unwrap();
        watch.note("the staff open it for the first time");
        watch.note(of_link(&self.mesh.link_is(NEW_STORE_ID, LinkState::Online).await));
    }

    /// The link, and the gates of both order replicas, tell the cause; a guest is refused with it.
    async fn is_told(&self, watch: &Stopwatch, told: Told) {
        let link = self.mesh.link_is(STORE_ID, LinkState::Offline).await;
        watch.note(of_link(&link));
        assert_eq!((link.cause.as_str(), link.failing_hop.as_str()), (told.cause, "pos"), "{}", link.message);
        let gate = self.mesh.gate_is(STORE_ID, Product::Kiosk, GateState::Closed).await;
        watch.note("Kiosk's gate is closed on both order replicas");
        let of_gate = (gate.reason(), gate.cause.as_str(), gate.failing_hop.as_str());
        assert_eq!(of_gate, (GateReason::LinkOffline, told.cause, "pos"), "{gate:?}");
        self.mesh.gate_is(STORE_ID, Product::ToGo, GateState::Hold).await;
        // What an order was told of it is replaced by what a probe finds.
        let worded = |link: &Link| told.words.iter().all(|words| link.message.contains(words));
        let link = async || self.mesh.link(STORE_ID).await.ok().filter(worded);
        let link = eventually(&format!("the staff are told {:?}", told.words), link).await;
        watch.note(format!("the staff are told: {}", link.message));
        let of_words = async || {
            let gate = self.mesh.gate_at(0, STORE_ID, Product::Kiosk).await.ok()?;
            (gate.message == link.message).then_some(gate)
        };
        let _: Gate = eventually("the gate says the same", of_words).await;
        let refused = self.try_order(Product::Kiosk, &key()).await;
        assert_eq!(refused.problem(), (503, "GATE_CLOSED".into(), String::new()));
        assert_eq!(refused.body["gate_reason"], "LINK_OFFLINE", "{:#}", refused.body);
        assert_eq!(self.events().await, (LinkState::Offline, told.cause.to_owned()));
    }

    /// The link is ONLINE, an order is taken and placed, and the gates are open.
    async fn is_back(&self, watch: &Stopwatch) {
        let link = self.mesh.link_is(STORE_ID, LinkState::Online).await;
        watch.note(of_link(&link));
        assert_eq!((link.cause.as_str(), link.message.as_str(), &link.pos_version[..7]), ("", "", "Odoo 19"));
        let key = key();
        let let_in = async || {
            let answer = self.try_order(Product::Kiosk, &key).await;
            (answer.body["reason"] != "GATE_CLOSED").then_some(answer)
        };
        let placed = eventually("the gate lets an order in", let_in).await.ok();
        assert_eq!(placed["order"]["state"], "PLACED", "{placed:#}");
        watch.note("an order is placed");
        self.mesh.gate_is(STORE_ID, Product::Kiosk, GateState::Open).await;
        watch.note("Kiosk's gate is open on both order replicas");
    }

    /// The newest change in the link's history.
    async fn events(&self) -> (LinkState, String) {
        let connection_id = format!("{STORE_ID}-pos");
        let request = ListLinkEventsRequest { connection_id, page_size: 1, ..ListLinkEventsRequest::default() };
        let mut router = RouterServiceClient::new(self.mesh.router().unwrap());
        let event = router.list_link_events(request).await.unwrap().into_inner().events.remove(0);
        (event.state(), event.cause)
    }

    /// Kiosk or ToGo; as the gateway answers when it has waited for the POS.
    async fn try_order(&self, product: Product, key: &str) -> Answer {
        let (path, order) = self.draft(product, key).await;
        Http::send(self.http.place(&path, key, &order)).await.unwrap()
    }

    /// Likewise, as it is taken.
    async fn order_at_once(&self, product: Product) -> Value {
        let key = key();
        let (path, order) = self.draft(product, &key).await;
        Http::send(self.http.post(&path, &order).header("idempotency-key", &key)).await.unwrap().ok()
    }

    /// Where an order goes, and what the guest has agreed to.
    async fn draft(&self, product: Product, reference: &str) -> (String, Value) {
        let name = if product == Product::ToGo { "togo" } else { "kiosk" };
        let path = format!("/{name}/v1/stores/{STORE_ID}");
        let mut order = json!({ "lines": [{ "item_id": "177", "quantity": 2 }] });
        if product == Product::Kiosk {
            order["service_mode"] = "eat_in".into();
        }
        let quote = Http::send(self.http.post(&format!("{path}/quote"), &order)).await.unwrap().ok();
        let total = quote["price"]["total"].clone();
        if product == Product::ToGo {
            order["pickup_time"] = an_hour_from_now().into();
        }
        // Paid elsewhere, so that the till can be closed.
        order["tenders"] = json!([{ "reference": reference, "amount": total }]);
        order["expected_total"] = total;
        (format!("{path}/orders"), order)
    }

    /// As an administrator would, who first sends everybody away.
    async fn rename_database(&self, from: &str, to: &str) {
        let query = |sql: String| self.odoo.postgres().query("postgres", &sql);
        query(format!("ALTER DATABASE {from} ALLOW_CONNECTIONS false")).unwrap();
        let renamed = async || {
            query(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}'")).ok()?;
            query(format!("ALTER DATABASE {from} RENAME TO {to}")).ok()
        };
        eventually("everybody has left the database", renamed).await;
        query(format!("ALTER DATABASE {to} ALLOW_CONNECTIONS true")).unwrap();
    }
}

fn of_link(link: &Link) -> String {
    let state = link.state().as_str_name().trim_start_matches("LINK_STATE_");
    match link.cause.as_str() {
        "" => format!("link {state}"),
        cause => format!("link {state}: {cause} at {}: {}", link.failing_hop, link.message),
    }
}
