//! What Odoo's server computes for orders, from its own records.

use std::collections::{BTreeMap, HashMap};

use posmesh_proto::{common::v1::ServiceMode, order::v1::OrderLineInput};
use serde_json::{Value, json};

use super::{
    Amounts,
    market::{Market, call, create},
};
use crate::odoo::Restaurant;

/// So many orders go to Odoo at once: a call ends well before its deadline.
const BATCH: usize = 50;

/// Runs at Odoo, as what an administrator may automate there. Prices, choices and taxes are Odoo's; the calls are those
/// of `pos.order._compute_prices` in Odoo 19, which are those of invoices too.
const COMPUTE: &str = "
company = env.company
Tax = env['account.tax']
away = env['account.fiscal.position'].search([('name', 'like', env.context['market'])])
computed = []
for order in env.context['orders']:
    lines = []
    for product, quantity, values, taken_away in order:
        product = env['product.product'].browse(product)
        extras = env['product.template.attribute.value'].browse(values)
        taxes = product.taxes_id._filter_taxes_by_company(company)
        lines.append(Tax._prepare_base_line_for_taxes_computation(
            {}, product_id=product, quantity=quantity, currency_id=company.currency_id, rate=1.0,
            price_unit=product.lst_price + sum(extras.mapped('price_extra')),
            tax_ids=away.map_tax(taxes) if taken_away else taxes))
    Tax._add_tax_details_in_base_lines(lines, company)
    Tax._round_base_lines_tax_details(lines, company)
    computed.append(Tax._get_tax_totals_summary(lines, company.currency_id, company))
action = {'computed': computed}
";

impl Restaurant {
    pub(super) async fn odoo_computes(&self, market: &Market, orders: &[Vec<OrderLineInput>]) -> Vec<Amounts> {
        let rates = self.rates_by_tax_group(market).await;
        let model = self.odoo.search_read("ir.model", json!([["model", "=", "account.tax"]]), &[]).await.unwrap();
        let action = json!({"name": "Totals", "model_id": model[0]["id"], "state": "code", "code": COMPUTE});
        let action = create(&self.odoo, market.company, "ir.actions.server", vec![action]).await;
        let mut computed = Vec::new();
        for batch in orders.chunks(BATCH) {
            let orders: Vec<Vec<Value>> = batch.iter().map(|order| order.iter().map(line).collect()).collect();
            let context = json!({"allowed_company_ids": [market.company], "orders": orders, "market": market.store_id});
            let run = json!({"ids": action, "context": context});
            let answer = self.odoo.call("ir.actions.server", "run", run).await.unwrap();
            computed
                .extend(answer["computed"].as_array().unwrap().iter().map(|totals| amounts(market, &rates, totals)));
        }
        computed
    }

    /// Each tax has a group of its own: its rate in millionths, and whether it is in the price.
    async fn rates_by_tax_group(&self, market: &Market) -> HashMap<i64, (i32, bool)> {
        let taxes = json!({"domain": [["name", "like", market.store_id]],
                           "fields": ["amount", "price_include", "tax_group_id"]});
        let taxes = call(&self.odoo, market.company, "account.tax", "search_read", taxes).await;
        #[expect(clippy::cast_possible_truncation, reason = "percentages")]
        let rate = |tax: &Value| {
            let ppm = (tax["amount"].as_f64().unwrap() * 10_000.0).round() as i32;
            (tax["tax_group_id"][0].as_i64().unwrap(), (ppm, tax["price_include"].as_bool().unwrap()))
        };
        taxes.as_array().unwrap().iter().map(rate).collect()
    }
}

/// Product, quantity, choices, whether it is taken away.
fn line(line: &OrderLineInput) -> Value {
    let id = |id: &String| id.parse::<i64>().unwrap();
    let values: Vec<i64> = line.modifiers.iter().map(|choice| id(&choice.modifier_id)).collect();
    json!([id(&line.item_id), line.quantity, values, line.service_mode() == ServiceMode::Takeaway])
}

fn amounts(market: &Market, rates_by_tax_group: &HashMap<i64, (i32, bool)>, totals: &Value) -> Amounts {
    let mut rates: BTreeMap<(i32, bool), (i64, i64)> = BTreeMap::new();
    for group in totals["subtotals"].as_array().unwrap().iter().flat_map(|s| s["tax_groups"].as_array().unwrap()) {
        let sums = rates.entry(rates_by_tax_group[&group["id"].as_i64().unwrap()]).or_default();
        sums.0 += market.minor(&group["base_amount_currency"]);
        sums.1 += market.minor(&group["tax_amount_currency"]);
    }
    let (total, tax) = (&totals["total_amount_currency"], &totals["tax_amount_currency"]);
    Amounts { total: market.minor(total), tax: market.minor(tax), rates }
}
