//! What the staff change in a real Odoo is sold so seconds later, and told in one line.

use std::time::{Duration, Instant};

use posmesh_e2e::{eventually, line, refusal};
use posmesh_proto::{
    catalog::v1::{
        CatalogChange, GetOfferRequest, Item, WatchCatalogRequest, WatchCatalogResponse,
        catalog_service_client::CatalogServiceClient,
    },
    common::v1::Product,
    order::v1::{QuoteOrderRequest, order_service_client::OrderServiceClient},
};
use serde_json::{Value, json};
use tonic::{Status, Streaming};

use super::Restaurant;

impl Restaurant {
    pub(super) async fn what_changes_in_odoo_is_sold_so_seconds_later(&self, store_id: &str) {
        let mut stream = self.watched(store_id).await;
        let item = self.item(store_id).await;
        assert!(self.quote(store_id, &item).await.is_ok());
        let template = self.template(&item).await;

        // By little: a price that jumps waits for a person.
        let price = item.price.as_ref().unwrap().amount + 10;
        let dollars = format!("{}.{:02}", price / 100, price % 100);
        self.write(template, json!({ "list_price": dollars.parse::<f64>().unwrap() })).await;
        let changed = Instant::now();
        let told = until(&mut stream, |change| change.entity_id == item.id).await;
        println!("a price changed in Odoo was told after {:.1} s: {}", changed.elapsed().as_secs_f64(), told.text);
        assert!(told.text.contains(": price ") && told.text.ends_with(&format!("→ {dollars}")), "{}", told.text);

        let off = [
            (json!({ "self_order_available": false }), "ITEM_UNAVAILABLE"),
            (json!({ "available_in_pos": false }), "ITEM_NOT_FOUND"),
        ];
        for (values, reason) in off {
            self.write(template, values.clone()).await;
            let changed = Instant::now();
            let refused = async || self.quote(store_id, &item).await.err().filter(|s| refusal(s).0 == reason);
            let refused = eventually("what was switched off cannot be ordered", refused).await;
            let after_s = changed.elapsed().as_secs_f64();
            println!("{values} in Odoo: refused after {after_s:.1} s: {}", refused.message());
            // Taken out of the point of sale, Odoo switches it off for self-ordering as well.
            self.write(template, json!({ "available_in_pos": true, "self_order_available": true })).await;
            let sold = async || self.quote(store_id, &item).await.ok();
            eventually("what was switched on again can be ordered", sold).await;
        }
    }

    async fn watched(&self, store_id: &str) -> Streaming<WatchCatalogResponse> {
        let request = WatchCatalogRequest { store_id: store_id.into(), locale: "en".into(), ..Default::default() };
        let mut client = CatalogServiceClient::new(self.mesh.catalog().unwrap());
        client.watch_catalog(request).await.unwrap().into_inner()
    }

    /// One that asks nothing.
    async fn item(&self, store_id: &str) -> Item {
        let request =
            GetOfferRequest { store_id: store_id.into(), product: Product::Table.into(), ..Default::default() };
        let mut client = CatalogServiceClient::new(self.mesh.catalog().unwrap());
        let catalog = client.get_offer(request).await.unwrap().into_inner().catalog.unwrap();
        let plain = |item: &Item| item.available && item.modifier_group_ids.is_empty();
        catalog.items.into_iter().find(plain).expect("an item without questions")
    }

    async fn template(&self, item: &Item) -> i64 {
        let id: i64 = item.id.parse().unwrap();
        let found = self.odoo.search_read("product.product", json!([["id", "=", id]]), &["product_tmpl_id"]).await;
        found.unwrap()[0]["product_tmpl_id"][0].as_i64().unwrap()
    }

    async fn write(&self, template: i64, values: Value) {
        self.odoo.call("product.template", "write", json!({ "ids": [template], "vals": values })).await.unwrap();
    }

    async fn quote(&self, store_id: &str, item: &Item) -> Result<(), Status> {
        let lines = vec![line(&item.id, 1)];
        let request = QuoteOrderRequest {
            store_id: store_id.into(),
            product: Product::Table.into(),
            lines,
            ..Default::default()
        };
        OrderServiceClient::new(self.mesh.order(0).unwrap()).quote_order(request).await.map(drop)
    }
}

async fn until(stream: &mut Streaming<WatchCatalogResponse>, wanted: impl Fn(&CatalogChange) -> bool) -> CatalogChange {
    loop {
        let news = tokio::time::timeout(Duration::from_secs(30), stream.message()).await.expect("no news in time");
        let changes = news.unwrap().expect("the stream ended").changes;
        if let Some(change) = changes.into_iter().find(|change| wanted(change)) {
            return change;
        }
    }
}
