//! Odoo's records that make a menu, as they are read.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{Api, ApiError, Scope},
    settings::Settings,
    tax::{FiscalPosition, Taxes},
    till::Till,
    wire::{self, Link},
};

use super::prices::Prices;

/// A `product.template`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Template {
    pub(super) id: i64,
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: String,
    pub(super) to_weight: bool,
    pub(super) taxes_id: Vec<i64>,
    pub(super) pos_categ_ids: Vec<i64>,
    pub(super) combo_ids: Vec<i64>,
    pos_sequence: i64,
    /// Exists only where the module pos_self_order is installed.
    #[serde(default = "yes")]
    pub(super) self_order_available: bool,
}

fn yes() -> bool {
    true
}

impl Template {
    pub(super) fn is_combo(&self) -> bool {
        self.kind == "combo"
    }
}

/// A `product.product`: what is on an order's line.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Variant {
    pub(super) id: i64,
    #[serde(deserialize_with = "wire::link")]
    product_tmpl_id: Option<Link>,
    pub(super) lst_price: f64,
    #[serde(deserialize_with = "wire::text")]
    default_code: String,
    #[serde(deserialize_with = "wire::text")]
    barcode: String,
    pub(super) product_template_variant_value_ids: Vec<i64>,
    pub(super) active: bool,
}

impl Variant {
    pub(super) fn template_id(&self) -> i64 {
        self.product_tmpl_id.as_ref().map_or(0, |link| link.0)
    }

    /// What Odoo calls the internal reference; else the barcode.
    pub(super) fn code(&self) -> &str {
        let reference = self.default_code.trim();
        if reference.is_empty() { self.barcode.trim() } else { reference }
    }
}

/// A `product.template.attribute.line` with what its `product.attribute` says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AttributeLine {
    pub(super) id: i64,
    #[serde(deserialize_with = "wire::link")]
    product_tmpl_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    attribute_id: Option<Link>,
    pub(super) product_template_value_ids: Vec<i64>,
    sequence: i64,
}

impl AttributeLine {
    pub(super) fn attribute_id(&self) -> i64 {
        self.attribute_id.as_ref().map_or(0, |link| link.0)
    }
}

/// A `product.attribute`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Attribute {
    id: i64,
    pub(super) display_type: String,
    pub(super) create_variant: String,
}

/// A `product.template.attribute.value`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AttributeValue {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) price_extra: f64,
    pub(super) is_custom: bool,
    pub(super) ptav_active: bool,
}

/// A `product.combo`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Combo {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) base_price: f64,
    pub(super) qty_free: i32,
    pub(super) qty_max: i32,
    pub(super) combo_item_ids: Vec<i64>,
}

/// A `product.combo.item`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ComboItem {
    pub(super) id: i64,
    #[serde(deserialize_with = "wire::link")]
    product_id: Option<Link>,
    pub(super) extra_price: f64,
}

impl ComboItem {
    pub(super) fn product_id(&self) -> i64 {
        self.product_id.as_ref().map_or(0, |link| link.0)
    }
}

/// A `pos.category`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Category {
    pub(super) id: i64,
    #[serde(deserialize_with = "wire::link")]
    parent_id: Option<Link>,
    pub(super) sequence: i32,
    hour_after: f64,
    hour_until: f64,
}

impl Category {
    pub(super) fn parent(&self) -> Option<i64> {
        self.parent_id.as_ref().map(|link| link.0)
    }

    /// When guests who order by themselves may order from it, in minutes after midnight; `None`: always, which is also
    /// how Odoo's own menu reads hours that are equal or the wrong way round.
    pub(super) fn hours(&self) -> Option<(i32, i32)> {
        // Both lie between 0 and 24.
        let minutes = |hours: f64| (hours.clamp(0.0, 24.0) * 60.0).round() as i32;
        let (after, until) = (minutes(self.hour_after), minutes(self.hour_until));
        (after < until && (after, until) != (0, 24 * 60)).then_some((after, until))
    }
}

/// A `pos.printer` of the kitchen.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Printer {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) product_categories_ids: Vec<i64>,
}

/// A `restaurant.floor`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Floor {
    pub(super) id: i64,
    pub(super) name: String,
}

/// A `restaurant.table`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Table {
    pub(super) id: i64,
    pub(super) table_number: i64,
    pub(super) seats: i32,
    #[serde(deserialize_with = "wire::link")]
    pub(super) floor_id: Option<Link>,
}

/// A `pos.payment.method`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PaymentMethod {
    pub(super) id: i64,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// Everything at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    /// What the till sells by itself, in its order.
    pub(super) sellable: Vec<Template>,
    /// All templates by id, those that come within combos alone too.
    pub(super) templates: HashMap<i64, Template>,
    pub(super) variants: Vec<Variant>,
    pub(super) attribute_lines: HashMap<i64, Vec<AttributeLine>>,
    pub(super) attributes: HashMap<i64, Attribute>,
    pub(super) values: HashMap<i64, AttributeValue>,
    pub(super) combos: HashMap<i64, Combo>,
    pub(super) combo_items: HashMap<i64, ComboItem>,
    /// Templates with values that exclude each other.
    pub(super) exclusions: HashSet<i64>,
    pub(super) categories: Vec<Category>,
    pub(super) printers: Vec<Printer>,
    pub(super) floors: Vec<Floor>,
    pub(super) tables: Vec<Table>,
    pub(super) payment_methods: Vec<PaymentMethod>,
    pub(super) taxes: Taxes,
    pub(super) here: FiscalPosition,
    pub(super) away: FiscalPosition,
    pub(super) prices: Prices,
}

const VARIANT_FIELDS: [&str; 6] =
    ["product_tmpl_id", "lst_price", "default_code", "barcode", "product_template_variant_value_ids", "active"];

impl Records {
    pub(super) async fn read(
        api: &Api<'_>,
        till: &Till,
        settings: &Settings,
        language: Option<&str>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ApiError> {
        let scope = till.scope(language);
        let mut records = Self::default();
        records.read_store(api, till, &scope).await?;
        records.read_products(api, till, &scope).await?;
        records.read_attributes(api, &scope).await?;
        records.taxes = Taxes::read(api, till).await?;
        (records.here, records.away) = till.fiscal_positions(api, settings.takeaway_fiscal_position.as_ref()).await?;
        records.prices = Prices::read(api, till, warnings).await?;
        Ok(records)
    }

    /// Categories, printers, floors, tables, payment methods.
    async fn read_store(&mut self, api: &Api<'_>, till: &Till, scope: &Scope<'_>) -> Result<(), ApiError> {
        let config = &till.config;
        let categories = match config.limit_categories {
            true => json!([["id", "in", config.iface_available_categ_ids]]),
            false => json!([]),
        };
        let category_fields = ["parent_id", "sequence", "hour_after", "hour_until"];
        let table_fields = ["table_number", "seats", "floor_id"];
        let tables = json!([["floor_id", "in", config.floor_ids]]);
        (self.categories, self.payment_methods) = tokio::try_join!(
            api.search_read("pos.category", categories, &category_fields, scope),
            api.search_read(
                "pos.payment.method",
                json!([["id", "in", config.payment_method_ids]]),
                &["name", "type"],
                scope
            ),
        )?;
        let printers: BTreeSet<i64> = config.printer_ids.iter().copied().collect();
        self.printers = search(api, "pos.printer", "id", printers, &["name", "product_categories_ids"], scope).await?;
        if config.module_pos_restaurant {
            (self.floors, self.tables) = tokio::try_join!(
                api.search_read("restaurant.floor", json!([["id", "in", config.floor_ids]]), &["name"], scope),
                api.search_read("restaurant.table", tables, &table_fields, scope),
            )?;
        }
        Ok(())
    }

    /// Templates, variants and combos. Which templates a till sells is the till's own rule.
    async fn read_products(&mut self, api: &Api<'_>, till: &Till, scope: &Scope<'_>) -> Result<(), ApiError> {
        let mut fields = vec!["name", "type", "to_weight", "taxes_id", "pos_categ_ids", "combo_ids", "pos_sequence"];
        let known: HashMap<String, Value> = api
            .call(
                "product.template",
                "fields_get",
                &json!({"allfields": ["self_order_available"], "attributes": ["type"]}),
            )
            .await?;
        fields.extend(known.contains_key("self_order_available").then_some("self_order_available"));
        let mut domain = vec![
            json!(["available_in_pos", "=", true]),
            json!(["sale_ok", "=", true]),
            json!(["company_id", "in", [false, till.company_id]]),
        ];
        if till.config.limit_categories {
            domain.push(json!(["pos_categ_ids", "in", till.config.iface_available_categ_ids]));
        }
        self.sellable = api.search_read("product.template", json!(domain), &fields, scope).await?;
        self.sellable.sort_by_key(|template| (template.pos_sequence, template.id));
        self.read_combos(api, scope).await?;

        let in_combos: BTreeSet<i64> = self.combo_items.values().map(ComboItem::product_id).collect();
        let in_combos: Vec<Variant> = search(api, "product.product", "id", in_combos, &VARIANT_FIELDS, scope).await?;
        let sellable: HashSet<i64> = self.sellable.iter().map(|template| template.id).collect();
        let others: BTreeSet<i64> =
            in_combos.iter().map(Variant::template_id).filter(|id| !sellable.contains(id)).collect();
        let others: Vec<Template> = search(api, "product.template", "id", others, &fields, scope).await?;
        self.templates = self.sellable.iter().chain(&others).map(|t| (t.id, t.clone())).collect();
        let all: BTreeSet<i64> = self.templates.keys().copied().collect();
        self.variants = search(api, "product.product", "product_tmpl_id", all, &VARIANT_FIELDS, scope).await?;
        self.variants.sort_by_key(|variant| variant.id);
        Ok(())
    }

    async fn read_combos(&mut self, api: &Api<'_>, scope: &Scope<'_>) -> Result<(), ApiError> {
        let ids: BTreeSet<i64> = self.sellable.iter().flat_map(|template| template.combo_ids.iter().copied()).collect();
        let fields = ["name", "base_price", "qty_free", "qty_max", "combo_item_ids"];
        let combos: Vec<Combo> = search(api, "product.combo", "id", ids, &fields, scope).await?;
        let items = combos.iter().flat_map(|combo| combo.combo_item_ids.iter().copied()).collect();
        let items: Vec<ComboItem> =
            search(api, "product.combo.item", "id", items, &["product_id", "extra_price"], scope).await?;
        self.combos = combos.into_iter().map(|combo| (combo.id, combo)).collect();
        self.combo_items = items.into_iter().map(|item| (item.id, item)).collect();
        Ok(())
    }

    async fn read_attributes(&mut self, api: &Api<'_>, scope: &Scope<'_>) -> Result<(), ApiError> {
        let templates: BTreeSet<i64> = self.templates.keys().copied().collect();
        let fields = ["product_tmpl_id", "attribute_id", "product_template_value_ids", "sequence"];
        let mut lines: Vec<AttributeLine> =
            search(api, "product.template.attribute.line", "product_tmpl_id", templates.clone(), &fields, scope)
                .await?;
        lines.sort_by_key(|line| (line.sequence, line.attribute_id(), line.id));
        let attributes = lines.iter().map(AttributeLine::attribute_id).collect();
        let on_lines = lines.iter().flat_map(|line| line.product_template_value_ids.iter().copied());
        let on_variants = self.variants.iter().flat_map(|v| v.product_template_variant_value_ids.iter().copied());
        let values = on_lines.chain(on_variants).collect();
        let value_fields = ["name", "price_extra", "is_custom", "ptav_active"];
        #[derive(Deserialize)]
        struct Exclusion {
            #[serde(deserialize_with = "wire::link")]
            product_tmpl_id: Option<Link>,
        }
        let (attributes, values, exclusions): (Vec<Attribute>, Vec<AttributeValue>, Vec<Exclusion>) = tokio::try_join!(
            search(api, "product.attribute", "id", attributes, &["display_type", "create_variant"], scope),
            search(api, "product.template.attribute.value", "id", values, &value_fields, scope),
            search(
                api,
                "product.template.attribute.exclusion",
                "product_tmpl_id",
                templates,
                &["product_tmpl_id"],
                scope
            ),
        )?;
        self.attributes = attributes.into_iter().map(|attribute| (attribute.id, attribute)).collect();
        self.values = values.into_iter().map(|value| (value.id, value)).collect();
        self.exclusions = exclusions.into_iter().filter_map(|e| Some(e.product_tmpl_id?.0)).collect();
        for line in lines {
            let template = line.product_tmpl_id.as_ref().map_or(0, |link| link.0);
            self.attribute_lines.entry(template).or_default().push(line);
        }
        Ok(())
    }

    /// A template's attributes that are chosen on the line, in the till's order.
    pub(super) fn choices_of(&self, template_id: i64) -> impl Iterator<Item = &AttributeLine> {
        self.attribute_lines
            .get(&template_id)
            .into_iter()
            .flatten()
            .filter(|line| self.attributes.get(&line.attribute_id()).is_some_and(|a| a.create_variant == "no_variant"))
    }

    #[cfg(test)]
    #[allow(clippy::expect_used)]
    pub(super) fn add_attribute(&mut self, attribute: Value, line: Value) {
        let attribute: Attribute = serde_json::from_value(attribute).expect("an attribute as Odoo sends it");
        let line: AttributeLine = serde_json::from_value(line).expect("an attribute line as Odoo sends it");
        let template = line.product_tmpl_id.as_ref().map_or(0, |link| link.0);
        self.attributes.insert(attribute.id, attribute);
        self.attribute_lines.entry(template).or_default().push(line);
    }

    /// The attributes that any product has on its lines.
    pub(super) fn attribute_ids(&self) -> impl Iterator<Item = i64> {
        self.attributes.keys().copied()
    }
}

/// The records whose `key` is one of `ids`; no call for none.
async fn search<T: serde::de::DeserializeOwned>(
    api: &Api<'_>,
    model: &str,
    key: &str,
    ids: BTreeSet<i64>,
    fields: &[&str],
    scope: &Scope<'_>,
) -> Result<Vec<T>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    api.search_read(model, json!([[key, "in", ids]]), fields, scope).await
}
