//! A large menu for the POS, made of its built-in one.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::{http::Connection, launch::API_KEY};

const MASTER: &str = "/control/master";

/// Gives the POS a menu of so many items.
///
/// # Errors
/// When the POS refuses.
pub(super) async fn put(pos: SocketAddr, items: usize) -> Result<()> {
    let mut menu = menu(pos).await?;
    let categories = menu["categories"].as_array_mut().context("no categories")?;
    let (each, further) = (items / categories.len(), items % categories.len());
    for (number, category) in categories.iter_mut().enumerate() {
        let own = category["items"].as_array().context("no items")?.clone();
        let wanted = each + usize::from(number < further);
        let copies = own.iter().cycle().take(wanted).enumerate().map(|(at, item)| {
            let mut item = item.clone();
            if at >= own.len() {
                item["id"] = format!("{}_{at}", item["id"].as_str().unwrap_or_default()).into();
            }
            item
        });
        category["items"] = copies.collect();
    }
    replace(pos, &menu).await
}

/// Makes the first item of each heading so much dearer.
///
/// # Errors
/// When the POS refuses.
pub(super) async fn reprice(pos: SocketAddr, by: i64) -> Result<()> {
    let mut menu = menu(pos).await?;
    for category in menu["categories"].as_array_mut().context("no categories")? {
        let price = &mut category["items"][0]["price"];
        *price = (price.as_i64().context("no price")? + by).into();
    }
    replace(pos, &menu).await
}

async fn menu(pos: SocketAddr) -> Result<Value> {
    let answer = Connection::open(pos).await?.ask(Method::GET, "/api/menu", API_KEY, Bytes::new()).await?;
    anyhow::ensure!(answer.status.is_success(), "the POS gives no menu: {}", answer.status);
    Ok(serde_json::from_slice(&answer.body)?)
}

async fn replace(pos: SocketAddr, menu: &Value) -> Result<()> {
    let body = serde_json::to_vec(menu)?.into();
    let answer = Connection::open(pos).await?.ask(Method::POST, MASTER, API_KEY, body).await?;
    let told = String::from_utf8_lossy(&answer.body);
    anyhow::ensure!(answer.status.is_success(), "the POS takes no menu: {} {told}", answer.status);
    Ok(())
}
