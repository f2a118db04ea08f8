//! What Odoo knows now about everything that an order names.

use std::collections::{BTreeSet, HashMap};

use posmesh_proto::adapter::v1::{PosLine, PosModifier, PosOrder};
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{Api, ApiError},
    catalog::{ATTRIBUTE_GROUP, COMBO_GROUP},
    settings::Settings,
    tax::{FiscalPosition, Taxes},
    till::Till,
    wire::{self, Link},
};

const PRODUCT_FIELDS: [&str; 6] = ["active", "available_in_pos", "sale_ok", "type", "taxes_id", "product_tmpl_id"];

/// A `product.product` with its template's fields.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Product {
    pub(super) id: i64,
    pub(super) active: bool,
    pub(super) available_in_pos: bool,
    pub(super) sale_ok: bool,
    #[serde(rename = "type")]
    kind: String,
    pub(super) taxes_id: Vec<i64>,
    #[serde(deserialize_with = "wire::link")]
    product_tmpl_id: Option<Link>,
}

impl Product {
    pub(super) fn is_combo(&self) -> bool {
        self.kind == "combo"
    }

    pub(super) fn template_id(&self) -> i64 {
        self.product_tmpl_id.as_ref().map_or(0, |link| link.0)
    }
}

/// A `product.template.attribute.value`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Value {
    id: i64,
    pub(super) ptav_active: bool,
    #[serde(deserialize_with = "wire::link")]
    product_tmpl_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    attribute_line_id: Option<Link>,
}

impl Value {
    pub(super) fn template_id(&self) -> i64 {
        self.product_tmpl_id.as_ref().map_or(0, |link| link.0)
    }

    pub(super) fn attribute_line_id(&self) -> i64 {
        self.attribute_line_id.as_ref().map_or(0, |link| link.0)
    }
}

/// A `product.combo.item`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ComboItem {
    id: i64,
    #[serde(deserialize_with = "wire::link")]
    combo_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    product_id: Option<Link>,
}

impl ComboItem {
    pub(super) fn combo_id(&self) -> i64 {
        self.combo_id.as_ref().map_or(0, |link| link.0)
    }

    pub(super) fn product_id(&self) -> i64 {
        self.product_id.as_ref().map_or(0, |link| link.0)
    }
}

/// A `product.combo`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Combo {
    id: i64,
    pub(super) base_price: f64,
}

/// Everything by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    pub(super) products: HashMap<i64, Product>,
    pub(super) values: HashMap<i64, Value>,
    pub(super) combo_items: HashMap<i64, ComboItem>,
    pub(super) combos: HashMap<i64, Combo>,
    pub(super) taxes: Taxes,
    pub(super) here: FiscalPosition,
    pub(super) away: FiscalPosition,
}

/// An id of ours is the decimal id of the record.
pub(super) fn record_id(id: &str) -> Option<i64> {
    id.parse().ok().filter(|id| *id > 0)
}

impl Shelf {
    pub(super) async fn read(
        api: &Api<'_>,
        till: &Till,
        settings: &Settings,
        order: &PosOrder,
    ) -> Result<Self, ApiError> {
        let scope = till.scope_with_archived();
        let mut values = BTreeSet::new();
        let mut combo_items = BTreeSet::new();
        for modifier in order.lines.iter().flat_map(|line| &line.modifiers) {
            collect(modifier, &mut values, &mut combo_items);
        }
        let combo_items: Vec<ComboItem> = if combo_items.is_empty() {
            Vec::new()
        } else {
            let domain = json!([["id", "in", combo_items]]);
            api.search_read("product.combo.item", domain, &["combo_id", "product_id"], &scope).await?
        };
        let items = order.lines.iter().filter_map(|line: &PosLine| record_id(&line.item_id));
        let products: BTreeSet<i64> = items.chain(combo_items.iter().map(ComboItem::product_id)).collect();
        let combos: BTreeSet<i64> = combo_items.iter().map(ComboItem::combo_id).collect();
        let value_fields = ["ptav_active", "product_tmpl_id", "attribute_line_id"];
        let (products, values, combos, taxes, (here, away)) = tokio::try_join!(
            by_ids::<Product>(api, till, "product.product", products, &PRODUCT_FIELDS),
            by_ids::<Value>(api, till, "product.template.attribute.value", values, &value_fields),
            by_ids::<Combo>(api, till, "product.combo", combos, &["base_price"]),
            Taxes::read(api, till),
            till.fiscal_positions(api, settings.takeaway_fiscal_position.as_ref()),
        )?;
        Ok(Self {
            products: products.into_iter().map(|product| (product.id, product)).collect(),
            values: values.into_iter().map(|value| (value.id, value)).collect(),
            combo_items: combo_items.into_iter().map(|item| (item.id, item)).collect(),
            combos: combos.into_iter().map(|combo| (combo.id, combo)).collect(),
            taxes,
            here,
            away,
        })
    }
}

fn collect(modifier: &PosModifier, values: &mut BTreeSet<i64>, combo_items: &mut BTreeSet<i64>) {
    let id = record_id(&modifier.modifier_id);
    if modifier.group_id.starts_with(ATTRIBUTE_GROUP) {
        values.extend(id);
    } else if modifier.group_id.starts_with(COMBO_GROUP) {
        combo_items.extend(id);
    }
    // The catalog nests attributes within combos and nothing deeper.
    values.extend(
        modifier
            .modifiers
            .iter()
            .filter(|nested| nested.group_id.starts_with(ATTRIBUTE_GROUP))
            .filter_map(|nested| record_id(&nested.modifier_id)),
    );
}

async fn by_ids<T: serde::de::DeserializeOwned>(
    api: &Api<'_>,
    till: &Till,
    model: &str,
    ids: BTreeSet<i64>,
    fields: &[&str],
) -> Result<Vec<T>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    api.search_read(model, json!([["id", "in", ids]]), fields, &till.scope_with_archived()).await
}
