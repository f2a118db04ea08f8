//! `posmesh demo`: one guest per product orders over HTTP, and the kitchen tickets are shown as they print.

mod gateway;
mod tickets;

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use prost_types::Timestamp;
use serde_json::{Value, json};

use self::{
    gateway::{Gateway, Place, Tapped},
    tickets::Printer,
};
use crate::{
    config::Config,
    dev::{DataFolder, DevMesh, STORE_ID},
};

const TABLE: &str = "T4";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long before its pickup the ToGo order is placed.
const PICKUP_IN: Duration = Duration::from_secs(30 * 60);

/// Runs the mesh in a folder that is removed afterwards, and orders through each product.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    println!("An izakaya in Tokyo: its POS (simulated), the mesh, and guests of three products.\n");
    let folder = tempfile::Builder::new().prefix("posmesh-demo-").tempdir().context("no temporary folder")?;
    let mesh = DevMesh::start_anywhere(config, DataFolder::open(folder.path(), true)?).await?;
    let ordered = order_through_each_product(&mesh).await;
    let stopped = mesh.stop().await;
    let slowest = ordered?;
    stopped?;
    println!("Each order was on a kitchen ticket at most {} after the guest's tap.", milliseconds(slowest));
    Ok(())
}

/// Returns the longest time from tap to ticket.
async fn order_through_each_product(mesh: &DevMesh) -> anyhow::Result<Duration> {
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).build()?;
    let printer = Printer::watch(&client, mesh.pos_url(), &mesh.secrets().pos_api_key).await?;
    let gateway = Gateway { client, base_url: mesh.http_url(), ops_token: mesh.secrets().ops_token.clone() };
    let mut kitchen = Kitchen { printer, slowest: Duration::ZERO };

    println!("\nTable: two guests scan the QR code at {TABLE} and order in rounds on one check");
    let code = gateway.table_code(TABLE).await?;
    let guest = gateway.open_check(&code, 2).await?;
    let table = Place { path: "table/v1/check", collection: "rounds", guest_token: Some(&guest), paid_by: None };
    for round in [first_round(), second_round()] {
        kitchen.shows(gateway.order(&table, round).await?).await?;
    }

    println!("ToGo: a guest orders ahead and has paid in the app");
    let path = format!("togo/v1/stores/{STORE_ID}");
    let togo = Place { path: &path, collection: "orders", guest_token: None, paid_by: Some("app-payment-8412") };
    kitchen.shows(gateway.order(&togo, takeaway()).await?).await?;

    println!("Kiosk: a guest orders at the terminal and takes pager 17");
    let path = format!("kiosk/v1/stores/{STORE_ID}");
    let kiosk = Place { path: &path, collection: "orders", guest_token: None, paid_by: None };
    kitchen.shows(gateway.order(&kiosk, set_meal()).await?).await?;
    Ok(kitchen.slowest)
}

/// Where the tickets come out.
struct Kitchen {
    printer: Printer,
    slowest: Duration,
}

impl Kitchen {
    /// Shows the ticket of an order, or fails if the kitchen got another one, or none.
    async fn shows(&mut self, tapped: Tapped) -> anyhow::Result<()> {
        let printed = self.printer.next().await?;
        let number = &tapped.order.display_number;
        if printed.ticket.display_number.as_deref() != Some(number) {
            let (ticket, state) = (&printed.ticket.text, &tapped.order.state);
            bail!("the order was answered {state} with number {number:?}, but the kitchen got\n{ticket}");
        }
        for line in printed.ticket.text.lines() {
            println!("    | {line}");
        }
        let after = printed.at.saturating_duration_since(tapped.at);
        self.slowest = self.slowest.max(after);
        let answered = milliseconds(tapped.answered_after);
        println!(
            "    tap to ticket {}; the guest reads {} after {answered}\n",
            milliseconds(after),
            tapped.order.state
        );
        Ok(())
    }
}

fn first_round() -> Value {
    json!({ "lines": [
        { "item_id": "nama_beer", "quantity": 2, "modifiers": [{ "group_id": "beer_size", "modifier_id": "medium" }] },
        { "item_id": "edamame", "quantity": 1 },
        { "item_id": "karaage", "quantity": 1, "note": "レモン別添え", "modifiers": [
            { "group_id": "karaage_pieces", "modifier_id": "eight" },
            { "group_id": "karaage_sauce", "modifier_id": "yangnyeom" } ] },
    ] })
}

fn second_round() -> Value {
    json!({ "lines": [
        { "item_id": "negima", "quantity": 4, "modifiers": [
            { "group_id": "seasoning", "modifier_id": "sauce" },
            { "group_id": "skewer_condiment", "modifier_id": "shichimi" } ] },
        { "item_id": "yaki_onigiri", "quantity": 2 },
    ] })
}

fn takeaway() -> Value {
    let pickup_time = Timestamp { nanos: 0, ..Timestamp::from(SystemTime::now() + PICKUP_IN) };
    json!({
        "pickup_time": pickup_time.to_string(),
        "guest_contact": { "name": "佐藤", "phone": "+819012345678" },
        "lines": [{ "item_id": "bento_yakitori", "quantity": 2, "modifiers": [
            { "group_id": "seasoning", "modifier_id": "salt" },
            { "group_id": "rice_size", "modifier_id": "large" } ] }],
    })
}

/// Choices about choices: the rice's size, the drink's ice.
fn set_meal() -> Value {
    let rice = json!([{ "group_id": "rice_size", "modifier_id": "large" }]);
    let ice = json!([{ "group_id": "ice", "modifier_id": "less" }]);
    json!({
        "service_mode": "eat_in",
        "pager_number": "17",
        "lines": [{ "item_id": "set_karaage", "quantity": 1, "modifiers": [
            { "group_id": "karaage_pieces", "modifier_id": "five" },
            { "group_id": "set_rice", "modifier_id": "multigrain", "modifiers": rice },
            { "group_id": "set_drink", "modifier_id": "cola", "modifiers": ice } ] }],
    })
}

/// For people: `8.4 ms`.
fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
