//! What is sold out, and whether the products changed, for three small questions.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use posmesh_adapter_kit::PosError;
use posmesh_kit::time;
use posmesh_proto::adapter::v1::CatalogState;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, ApiError, Scope};

/// All tills of a server share one core, and the questions cost it some 20 ms.
const LEAST_INTERVAL: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Product {
    id: i64,
}

/// A product is sold out while it is switched off for self-ordering. What is archived, or taken out of the point of sale,
/// changes the fingerprint: it is not in the next pull.
pub(crate) async fn state(api: &Api<'_>) -> Result<CatalogState, PosError> {
    api.require_supported().await?;
    let (templates, variants, sold_out) =
        tokio::try_join!(changes(api, "product.template"), changes(api, "product.product"), sold_out(api))?;
    let mut hasher = DefaultHasher::new();
    (templates, variants).hash(&mut hasher);
    Ok(CatalogState {
        fingerprint: format!("{:016x}", hasher.finish()),
        sold_out_item_ids: sold_out.iter().map(|product| product.id.to_string()).collect(),
        least_interval: Some(time::to_proto_duration(LEAST_INTERVAL)),
        // Its point of sale sells below what is in stock.
        counts: Vec::new(),
    })
}

/// How many there are, archived ones included, and when one was written last: the text changes when they do.
async fn changes(api: &Api<'_>, model: &str) -> Result<String, ApiError> {
    let all = Scope { archived: true, ..Scope::default() };
    let question = json!({
        "domain": [], "groupby": [], "aggregates": ["__count", "write_date:max"], "context": all.context(),
    });
    Ok(api.call::<Value>(model, "formatted_read_group", &question).await?.to_string())
}

async fn sold_out(api: &Api<'_>) -> Result<Vec<Product>, ApiError> {
    let domain = json!([["available_in_pos", "=", true], ["self_order_available", "=", false]]);
    match api.search_read("product.product", domain, &["id"], &Scope::default()).await {
        // Without the module pos_self_order nothing is ever switched off.
        Err(ApiError::Refused(refusal)) if refusal.message.contains("self_order_available") => Ok(Vec::new()),
        answer => answer,
    }
}
