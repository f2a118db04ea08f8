//! What to try next: where everything listens, and lines to paste.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use posmesh_kit::Channel;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{OrderLineInput, QuoteOrderRequest, order_service_client::OrderServiceClient},
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Request;

use super::{DevMesh, STORE_ID};
use crate::mesh::ServiceName;

const QUOTE_TIMEOUT: Duration = Duration::from_secs(5);
const TABLE: &str = "T4";
/// How long before its pickup the ToGo order is placed.
const PICKUP_IN: Duration = Duration::from_secs(24 * 3600);
/// A plain item of the menu, sold by every product.
const ITEM_ID: &str = "yaki_onigiri";

/// Prints it. Orders that cannot be priced (the menu has been changed) are left out.
pub(super) async fn print(mesh: &DevMesh) {
    let (http, grpc) = (mesh.http_url(), mesh.grpc);
    let secrets = mesh.folder.secrets_file();
    println!("\nHTTP     {http}  (OpenAPI: {http}/openapi.json)");
    println!("gRPC     {grpc}");
    println!("POS      {}  (API key: pos_api_key in {})", mesh.pos_url, secrets.display());
    let lines = async {
        let orders = mesh.mesh.channel(ServiceName::Order)?;
        let table = total(orders.clone(), Product::Table).await?;
        let togo = total(orders.clone(), Product::ToGo).await?;
        let kiosk = total(orders, Product::Kiosk).await?;
        anyhow::Ok((table, togo, kiosk))
    };
    match lines.await {
        Ok((table, togo, kiosk)) => {
            print_menu(&http);
            print_table(&http, &secrets, table);
            print_togo(&http, togo);
            print_kiosk(&http, kiosk);
            print_grpc(grpc, kiosk);
        }
        Err(error) => println!("\nNo example orders: {error:#}"),
    }
    println!();
}

/// What two of the item cost, in yen.
async fn total(orders: Channel, product: Product) -> anyhow::Result<i64> {
    let line = OrderLineInput { item_id: ITEM_ID.into(), quantity: 2, ..OrderLineInput::default() };
    let mut request = Request::new(QuoteOrderRequest {
        store_id: STORE_ID.into(),
        product: product.into(),
        lines: vec![line],
        ..Default::default()
    });
    request.set_timeout(QUOTE_TIMEOUT);
    let quote = OrderServiceClient::new(orders).quote_order(request).await?.into_inner().quote;
    let total = quote.and_then(|quote| quote.price).and_then(|price| price.total);
    Ok(total.context("a quote without a price")?.amount)
}

fn order(total: i64) -> Value {
    json!({
        "lines": [{ "item_id": ITEM_ID, "quantity": 2 }],
        "expected_total": { "currency": "JPY", "amount": total },
    })
}

/// A key that is new each time the line is pasted.
const NEW_KEY: &str = "idempotency-key: paste-$(date +%s%N)";

fn post(url: &str, further: &str, body: &Value) -> String {
    let headers = format!("-H 'content-type: application/json' -H 'prefer: wait=10' -H \"{NEW_KEY}\"{further}");
    format!("  curl -sS {headers} \\\n    -d '{body}' \\\n    {url}")
}

fn print_menu(http: &str) {
    println!("\nThe menu\n  curl -sS '{http}/togo/v1/stores/{STORE_ID}/menu?locale=en'");
}

fn print_table(http: &str, secrets: &Path, total: i64) {
    println!("\nTable: the code in the QR, the guest's token, a round");
    println!(r#"  OPS=$(sed -n 's/^ops_token = "\(.*\)"$/\1/p' '{}')"#, secrets.display());
    println!(r#"  CODE=$(curl -sS -H "authorization: Bearer $OPS" {http}/ops/v1/stores/{STORE_ID}/table-codes \"#);
    println!(r#"    | sed 's/.*"table_id":"{TABLE}"[^}}]*"code":"\([^"]*\)".*/\1/')"#);
    println!(r#"  GUEST=$(curl -sS -H 'content-type: application/json' -d "{{\"table_code\":\"$CODE\"}}" \"#);
    println!(r#"    {http}/table/v1/stores/{STORE_ID}/checks | sed 's/.*"guest_token":"\([^"]*\)".*/\1/')"#);
    let url = format!("{http}/table/v1/check/rounds");
    println!("{}", post(&url, " -H \"authorization: Bearer $GUEST\"", &order(total)));
}

fn print_togo(http: &str, total: i64) {
    let mut body = order(total);
    let pickup_time = Timestamp { nanos: 0, ..Timestamp::from(SystemTime::now() + PICKUP_IN) };
    body["pickup_time"] = pickup_time.to_string().into();
    let url = format!("{http}/togo/v1/stores/{STORE_ID}/orders");
    println!("\nToGo, for this time tomorrow\n{}", post(&url, "", &body));
}

fn print_kiosk(http: &str, total: i64) {
    let mut body = order(total);
    body["service_mode"] = "eat_in".into();
    body["pager_number"] = "17".into();
    let url = format!("{http}/kiosk/v1/stores/{STORE_ID}/orders");
    println!("\nKiosk\n{}", post(&url, "", &body));
}

fn print_grpc(grpc: std::net::SocketAddr, total: i64) {
    let order = json!({
        "request_id": uuid::Uuid::now_v7().to_string(), "store_id": STORE_ID, "product": "PRODUCT_KIOSK", "wait": "10s",
        "lines": [{ "item_id": ITEM_ID, "quantity": 2 }],
        "expected_total": { "currency_code": "JPY", "amount": total },
    });
    println!("\ngRPC");
    println!("  grpcurl -plaintext {grpc} list");
    println!(
        "  grpcurl -plaintext -d '{{\"service\":\"posmesh.order.v1.OrderService\"}}' {grpc} grpc.health.v1.Health/Check"
    );
    println!("  grpcurl -plaintext -d '{order}' \\\n    {grpc} posmesh.order.v1.OrderService/PlaceOrder");
}
