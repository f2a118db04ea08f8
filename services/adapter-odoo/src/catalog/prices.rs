//! Prices by the till's pricelist, where its rules are simple.

use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{Api, ApiError},
    till::Till,
    wire::{self, Link},
};

use super::records::Variant;

const RULE_FIELDS: [&str; 11] = [
    "applied_on",
    "compute_price",
    "base",
    "fixed_price",
    "percent_price",
    "min_quantity",
    "date_start",
    "date_end",
    "product_tmpl_id",
    "product_id",
    "categ_id",
];

/// A `product.pricelist.item`.
#[derive(Debug, Clone, Deserialize)]
struct Rule {
    id: i64,
    applied_on: String,
    compute_price: String,
    #[serde(deserialize_with = "wire::text")]
    base: String,
    fixed_price: f64,
    percent_price: f64,
    min_quantity: f64,
    #[serde(deserialize_with = "wire::text")]
    date_start: String,
    #[serde(deserialize_with = "wire::text")]
    date_end: String,
    #[serde(deserialize_with = "wire::link")]
    product_tmpl_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    product_id: Option<Link>,
}

impl Rule {
    /// Whether it always means the same price for one piece.
    fn is_simple(&self) -> bool {
        let price = match self.compute_price.as_str() {
            "fixed" => true,
            "percentage" => self.base == "list_price" || self.base.is_empty(),
            _ => false,
        };
        let applied = matches!(self.applied_on.as_str(), "3_global" | "1_product" | "0_product_variant");
        price && applied && self.min_quantity <= 1.0 && self.date_start.is_empty() && self.date_end.is_empty()
    }

    fn applies_to(&self, variant: &Variant) -> bool {
        match self.applied_on.as_str() {
            "0_product_variant" => self.product_id.as_ref().is_some_and(|link| link.0 == variant.id),
            "1_product" => self.product_tmpl_id.as_ref().is_some_and(|link| link.0 == variant.template_id()),
            _ => true,
        }
    }
}

/// What the till sells for how much.
#[derive(Debug, Clone, Default)]
pub(super) struct Prices {
    /// The first that applies counts.
    rules: Vec<Rule>,
}

impl Prices {
    pub(super) async fn read(api: &Api<'_>, till: &Till, warnings: &mut Vec<String>) -> Result<Self, ApiError> {
        let Some(pricelist) = till.config.pricelist_id.as_ref().filter(|_| till.config.use_pricelist) else {
            return Ok(Self::default());
        };
        let domain = json!([["pricelist_id", "=", pricelist.0]]);
        let rules: Vec<Rule> =
            api.search_read("product.pricelist.item", domain, &RULE_FIELDS, &till.scope(None)).await?;
        if rules.iter().all(Rule::is_simple) {
            return Ok(Self::new(rules));
        }
        warnings.push(format!(
            "pricelist {:?}: it has rules by quantity, date, category or formula, which a menu cannot show; the list \
             prices are used",
            pricelist.1
        ));
        Ok(Self::default())
    }

    /// Odoo's own order: variants before products before all, the newest first.
    fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|a, b| (&a.applied_on, -a.id).cmp(&(&b.applied_on, -b.id)));
        Self { rules }
    }

    /// The price of one piece without choices.
    pub(super) fn price(&self, variant: &Variant) -> f64 {
        match self.rules.iter().find(|rule| rule.applies_to(variant)) {
            Some(rule) if rule.compute_price == "fixed" => rule.fixed_price,
            Some(rule) => variant.lst_price * (1.0 - rule.percent_price / 100.0),
            None => variant.lst_price,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use serde_json::Value;

    use super::*;

    fn rule(changes: Value) -> Rule {
        let mut rule = json!({"id": 1, "applied_on": "3_global", "compute_price": "percentage", "base": "list_price",
            "fixed_price": 0.0, "percent_price": 50.0, "min_quantity": 0.0, "date_start": false, "date_end": false,
            "product_tmpl_id": false, "product_id": false});
        rule.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(rule).unwrap()
    }

    fn variant() -> Variant {
        let variant = json!({"id": 161, "product_tmpl_id": [77, "Bacon Burger"], "lst_price": 15.5,
            "product_template_variant_value_ids": [], "default_code": false, "barcode": false, "active": true});
        serde_json::from_value(variant).unwrap()
    }

    #[test]
    fn the_nearest_rule_of_the_pricelist_makes_the_price() {
        let fixed = json!({"id": 2, "applied_on": "1_product", "compute_price": "fixed", "fixed_price": 12.0,
            "product_tmpl_id": [77, "Bacon Burger"]});
        let other = json!({"id": 3, "applied_on": "1_product", "compute_price": "fixed", "fixed_price": 1.0,
            "product_tmpl_id": [78, "Cheese Burger"]});
        let prices = Prices::new(vec![rule(json!({})), rule(fixed), rule(other)]);
        assert_eq!(prices.price(&variant()), 12.0);
        assert_eq!(Prices::new(vec![rule(json!({}))]).price(&variant()), 7.75);
        assert_eq!(Prices::default().price(&variant()), 15.5);
    }

    #[test]
    fn rules_by_quantity_date_or_formula_are_not_simple() {
        assert!(rule(json!({})).is_simple());
        for odd in [
            json!({"min_quantity": 3.0}),
            json!({"date_end": "2026-12-24 00:00:00"}),
            json!({"compute_price": "formula"}),
            json!({"applied_on": "2_product_category"}),
            json!({"base": "standard_price"}),
        ] {
            assert!(!rule(odd).is_simple());
        }
    }
}
