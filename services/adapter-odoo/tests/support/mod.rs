//! The adapter on a socket, a store's Odoo behind it, and the orders of its guests.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use posmesh_adapter_kit::{http::HttpConfig, mount};
use posmesh_adapter_odoo::OdooAdapter;
use posmesh_counterparts::Odoo;
use posmesh_kit::{
    Channel,
    server::{ServerConfig, serve},
    time,
};
use posmesh_proto::{
    adapter::v1::{
        FindOrderRequest, GetCheckRequest, ListChecksRequest, PosCheck, PosCheckRef, PosContext, PosLine, PosModifier,
        PosOrder, ProbeLinkRequest, ProbeLinkResponse, PullCatalogRequest, RequestBillRequest, SubmitOrderRequest,
        find_order_response, get_check_response, list_checks_response,
        pos_adapter_service_client::PosAdapterServiceClient, pull_catalog_response::Piece, request_bill_response,
        submit_outcome::Outcome,
    },
    catalog::v1::Catalog,
    common::v1::{LocalizedText, Money, Product, ServiceMode},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod proxy;

pub(crate) use proxy::Proxy;

/// The router's place.
pub(crate) struct Store {
    pub(crate) odoo: Odoo,
    pub(crate) settings: Value,
    pub(crate) api_key: String,
    client: PosAdapterServiceClient<Channel>,
    stop: CancellationToken,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Store {
    pub(crate) async fn start() -> Self {
        let odoo = Odoo::start().await.unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let adapter = Arc::new(OdooAdapter::new(&HttpConfig::default()).unwrap());
        let until = stop.clone();
        tokio::spawn(async move { serve(&ServerConfig::default(), listener, vec![mount(adapter)], until).await });
        let channel = Channel::remote("adapter", &format!("http://{address}")).unwrap();
        let settings = json!({
            "base_url": odoo.base_url(), "database": odoo.database(), "pos_config": odoo.restaurant_id(),
            "external_payment_method": "Card", "takeaway_preset": "Takeout",
        });
        let api_key = odoo.api_key().to_owned();
        Self { odoo, settings, api_key, client: PosAdapterServiceClient::new(channel), stop }
    }

    fn context(&self) -> Option<PosContext> {
        Some(PosContext {
            tenant_id: "default".into(),
            connection_id: "connection-1".into(),
            store_id: "store-1".into(),
            revision: 1,
            settings_json: self.settings.to_string(),
            credentials: [("api_key".to_owned(), self.api_key.clone())].into(),
        })
    }

    pub(crate) async fn probe(&mut self) -> ProbeLinkResponse {
        let request = ProbeLinkRequest { context: self.context(), target: None };
        self.client.probe_link(request).await.unwrap().into_inner()
    }

    pub(crate) async fn pull(&mut self) -> (Catalog, Vec<String>) {
        let begun = std::time::Instant::now();
        let request = PullCatalogRequest { context: self.context(), target: None };
        let mut pieces = self.client.pull_catalog(request).await.unwrap().into_inner();
        let mut whole = Catalog::default();
        while let Some(piece) = pieces.message().await.unwrap() {
            match piece.piece.unwrap() {
                Piece::Part(part) if whole.currency_code.is_empty() => whole = part,
                Piece::Part(part) => whole.items.extend(part.items),
                Piece::End(end) => {
                    eprintln!("the pull took {:?}", begun.elapsed());
                    return (whole, end.warnings);
                }
                Piece::Failed(failed) => panic!("{failed:?}"),
            }
        }
        panic!("the stream broke off")
    }

    pub(crate) fn submit_apart(&self, order: &PosOrder) -> impl Future<Output = Outcome> + Send + 'static {
        let request = SubmitOrderRequest {
            context: self.context(),
            order: Some(order.clone()),
            attempt: 1,
            not_after: Some(time::from_unix_ms(time::now_unix_ms() + 20_000)),
            target: None,
        };
        let mut client = self.client.clone();
        async move {
            let mut request = tonic::Request::new(request);
            request.set_timeout(Duration::from_secs(25));
            let answer = client.submit_order(request).await.unwrap().into_inner();
            if let Some(latency) = &answer.pos_latency {
                eprintln!("submit: {} ms", latency.nanos / 1_000_000 + (latency.seconds * 1000) as i32);
            }
            answer.outcome.unwrap().outcome.unwrap()
        }
    }

    pub(crate) async fn submit(&mut self, order: &PosOrder) -> Outcome {
        self.submit_apart(order).await
    }

    pub(crate) async fn find(&mut self, order: &PosOrder) -> find_order_response::Result {
        let request = FindOrderRequest {
            context: self.context(),
            reference: order.reference.clone(),
            line_ids: order.lines.iter().map(|line| line.line_id.clone()).collect(),
            check: order.check.clone(),
            ..Default::default()
        };
        self.client.find_order(request).await.unwrap().into_inner().result.unwrap()
    }

    /// The check, or the cause why there is none.
    pub(crate) async fn check(&mut self, reference: &str) -> Result<PosCheck, String> {
        let request = GetCheckRequest { context: self.context(), pos_check_reference: reference.into(), target: None };
        match self.client.get_check(request).await.unwrap().into_inner().result.unwrap() {
            get_check_response::Result::Check(check) => Ok(check),
            get_check_response::Result::Failed(failed) => Err(failed.cause),
        }
    }

    pub(crate) async fn request_bill(&mut self, reference: &str) -> Result<PosCheck, String> {
        let request =
            RequestBillRequest { context: self.context(), pos_check_reference: reference.into(), target: None };
        match self.client.request_bill(request).await.unwrap().into_inner().result.unwrap() {
            request_bill_response::Result::Requested(requested) => Ok(requested.check.unwrap()),
            request_bill_response::Result::Failed(failed) => Err(failed.cause),
        }
    }

    pub(crate) async fn list(&mut self, table_id: &str) -> Vec<PosCheck> {
        let request = ListChecksRequest { context: self.context(), table_id: table_id.into(), target: None };
        match self.client.list_checks(request).await.unwrap().into_inner().result.unwrap() {
            list_checks_response::Result::Checks(checks) => checks.checks,
            list_checks_response::Result::Failed(failed) => panic!("{failed:?}"),
        }
    }

    /// The drafts that the demo's staff made, with their lines.
    pub(crate) async fn staff_drafts(&self) -> Vec<Value> {
        let mut drafts = Vec::new();
        for table in [2, 3, 5, 7] {
            for draft in self.orders_on_table(table).await {
                let lines = self.lines_on(&draft).await;
                drafts.push(json!([draft, lines]));
            }
        }
        drafts
    }

    pub(crate) async fn orders_on_table(&self, table: i64) -> Vec<Value> {
        let fields = [
            "uuid",
            "state",
            "lines",
            "amount_total",
            "amount_tax",
            "customer_count",
            "general_customer_note",
            "internal_note",
            "table_id",
            "write_date",
        ];
        self.odoo.search_read("pos.order", json!([["table_id", "=", table]]), &fields).await.unwrap()
    }

    pub(crate) async fn lines_on(&self, order: &Value) -> Vec<Value> {
        let fields = [
            "uuid",
            "product_id",
            "qty",
            "price_unit",
            "price_subtotal_incl",
            "combo_parent_id",
            "attribute_value_ids",
        ];
        let mut lines =
            self.odoo.search_read("pos.order.line", json!([["order_id", "=", order["id"]]]), &fields).await.unwrap();
        lines.sort_by_key(|line| line["id"].as_i64());
        lines
    }

    pub(crate) async fn lines_of(&self, order: &PosOrder) -> Vec<Value> {
        let uuids: Vec<&str> = order.lines.iter().map(|line| line.line_id.as_str()).collect();
        let fields =
            ["uuid", "order_id", "qty", "price_subtotal_incl", "customer_note", "attribute_value_ids", "tax_ids"];
        let mut lines = self.odoo.search_read("pos.order.line", json!([["uuid", "in", uuids]]), &fields).await.unwrap();
        lines.sort_by_key(|line| line["id"].as_i64());
        lines
    }

    pub(crate) async fn order(&self, id: &Value) -> Value {
        let fields = [
            "uuid",
            "state",
            "amount_paid",
            "amount_total",
            "tracking_number",
            "floating_order_name",
            "preset_time",
            "table_id",
        ];
        self.odoo.search_read("pos.order", json!([["id", "=", id]]), &fields).await.unwrap().remove(0)
    }

    /// Makes a record as staff would, in the restaurant's company.
    pub(crate) async fn create(&self, model: &str, vals: Value) -> i64 {
        let arguments = json!({"vals_list": [vals], "context": {"allowed_company_ids": [1]}});
        self.odoo.call(model, "create", arguments).await.unwrap()[0].as_i64().unwrap()
    }

    pub(crate) async fn count(&self, model: &str) -> i64 {
        self.odoo.call(model, "search_count", json!({"domain": []})).await.unwrap().as_i64().unwrap()
    }
}

pub(crate) fn money(amount: i64) -> Option<Money> {
    Some(Money { currency_code: "USD".into(), amount })
}

pub(crate) fn line(item_id: &str, unit_price: i64) -> PosLine {
    PosLine {
        line_id: Uuid::now_v7().to_string(),
        item_id: item_id.into(),
        name: format!("item {item_id}"),
        quantity: 1,
        unit_price: money(unit_price),
        service_mode: ServiceMode::DineIn.into(),
        ..Default::default()
    }
}

pub(crate) fn modifier(group_id: &str, modifier_id: &str, price: i64) -> PosModifier {
    PosModifier {
        group_id: group_id.into(),
        modifier_id: modifier_id.into(),
        name: format!("choice {modifier_id}"),
        quantity: 1,
        price: money(price),
        modifiers: Vec::new(),
    }
}

fn order(product: Product, lines: &[PosLine], total: i64) -> PosOrder {
    PosOrder {
        reference: Uuid::now_v7().to_string(),
        product: product.into(),
        display_number: "T-42".into(),
        business_date: "2026-11-22".into(),
        lines: lines.to_vec(),
        expected_total: money(total),
        ..Default::default()
    }
}

pub(crate) fn table_order(table_id: &str, pos_check_reference: &str, lines: &[PosLine], total: i64) -> PosOrder {
    let check = PosCheckRef {
        table_id: table_id.into(),
        pos_check_reference: pos_check_reference.into(),
        round: 1,
        party_size: 2,
        check_id: Uuid::now_v7().to_string(),
    };
    PosOrder { check: Some(check), ..order(Product::Table, lines, total) }
}

pub(crate) fn take_away(product: Product, lines: &[PosLine], total: i64) -> PosOrder {
    let mut order = order(product, lines, total);
    order.guest_name = "Kim".into();
    // 2026-11-22 18:30 UTC.
    order.pickup_time = Some(time::from_unix_ms(1_795_372_200_000));
    order.lines.iter_mut().for_each(|line| line.service_mode = ServiceMode::Takeaway.into());
    order
}

pub(crate) fn text<'a>(text: &'a Option<LocalizedText>, tag: &str) -> &'a str {
    let texts: BTreeMap<&str, &str> =
        text.as_ref().unwrap().texts.iter().map(|(tag, text)| (tag.as_str(), text.as_str())).collect();
    texts[tag]
}

pub(crate) fn placed(outcome: Outcome) -> posmesh_proto::adapter::v1::Placed {
    match outcome {
        Outcome::Placed(placed) => placed,
        other => panic!("not placed: {other:?}"),
    }
}

/// Cause and message of a refusal, for now or for good.
pub(crate) fn refused(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::RefusedForNow(refused) => (refused.cause, refused.message),
        Outcome::Rejected(rejected) => (rejected.cause, rejected.message),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn in_doubt(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::InDoubt(doubt) => (doubt.cause, doubt.message),
        other => panic!("not in doubt: {other:?}"),
    }
}
