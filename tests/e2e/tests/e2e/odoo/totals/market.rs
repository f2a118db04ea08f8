//! Companies, taxes and products at Odoo, made by its API as their owners would.

use posmesh_counterparts::Odoo;
use posmesh_proto::common::v1::Money;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

/// Of each market.
pub(super) const PRODUCTS: usize = 16;

/// How a company taxes and rounds.
pub(super) struct Market {
    pub(super) name: &'static str,
    pub(super) store_id: &'static str,
    /// Odoo's id of the company: the demo's restaurant is the first's, and the third has neither till nor books.
    pub(super) company: i64,
    pub(super) currency: &'static str,
    decimals: i32,
    /// Odoo's name of the method.
    rounding: &'static str,
    /// Percent, and whether it is in the price.
    taxes: &'static [(f64, bool)],
    /// Which of the taxes becomes which when it is taken away.
    pub(super) takeaway: Option<(usize, usize)>,
}

/// Odoo lets an existing company change how it rounds, but not its currency.
pub(super) const MARKETS: [Market; 5] = [
    Market {
        name: "dollars, taxes on top, rounded once per tax",
        store_id: "odoo-totals-on-top",
        company: 1,
        currency: "USD",
        decimals: 2,
        rounding: "round_globally",
        taxes: &[(15.0, false), (8.875, false), (7.7, false), (10.0, false), (10.0, false)],
        takeaway: Some((0, 1)),
    },
    Market {
        name: "dollars, taxes in the price, rounded once per tax",
        store_id: "odoo-totals-in-price",
        company: 1,
        currency: "USD",
        decimals: 2,
        rounding: "round_globally",
        taxes: &[(20.0, true), (10.0, true), (5.5, true), (20.0, true)],
        takeaway: Some((0, 2)),
    },
    Market {
        name: "dollars, one tax in the price and others on top, rounded once per tax",
        store_id: "odoo-totals-mixed",
        company: 1,
        currency: "USD",
        decimals: 2,
        rounding: "round_globally",
        taxes: &[(8.875, true), (8.875, false), (4.5, false)],
        takeaway: None,
    },
    Market {
        name: "dollars, taxes of both kinds, rounded per line",
        store_id: "odoo-totals-per-line",
        company: 1,
        currency: "USD",
        decimals: 2,
        rounding: "round_per_line",
        taxes: &[(20.0, true), (10.0, true), (7.7, false), (15.0, false)],
        takeaway: Some((0, 1)),
    },
    Market {
        name: "yen, 10 % here and 8 % away in the price, rounded once per tax",
        store_id: "odoo-totals-yen",
        company: 3,
        currency: "JPY",
        decimals: 0,
        rounding: "round_globally",
        taxes: &[(10.0, true), (8.0, true)],
        takeaway: Some((0, 1)),
    },
];

/// Calls a method as staff of that company.
pub(super) async fn call(odoo: &Odoo, company: i64, model: &str, method: &str, mut arguments: Value) -> Value {
    arguments["context"] = json!({"allowed_company_ids": [company], "tracking_disable": true});
    odoo.call(model, method, arguments).await.unwrap()
}

pub(super) async fn create(odoo: &Odoo, company: i64, model: &str, records: Vec<Value>) -> Vec<i64> {
    let ids = call(odoo, company, model, "create", json!({"vals_list": records})).await;
    ids.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

impl Market {
    pub(super) fn money(&self, amount: i64) -> Money {
        Money { currency_code: self.currency.into(), amount }
    }

    /// Minor units of what Odoo writes as a number.
    #[expect(clippy::cast_possible_truncation, reason = "amounts of orders")]
    pub(super) fn minor(&self, amount: &Value) -> i64 {
        let scaled = amount.as_f64().unwrap() * 10_f64.powi(self.decimals);
        assert!((scaled - scaled.round()).abs() < 1e-3, "{amount} has more decimals than {}", self.currency);
        scaled.round() as i64
    }

    /// Makes taxes and products, which are all that the till then sells. The settings of a connection to the till.
    pub(super) async fn set_up(&self, odoo: &Odoo, dice: &mut StdRng) -> Value {
        let company = self.company;
        let pos_config = if company == 1 { odoo.restaurant_id() } else { self.open_business(odoo).await };
        let rounding = json!({"ids": [company], "vals": {"tax_calculation_rounding_method": self.rounding}});
        call(odoo, company, "res.company", "write", rounding).await;
        let taxes = self.taxes(odoo, company).await;
        self.products(odoo, pos_config, &taxes, dice).await;
        match self.takeaway {
            None => json!({"pos_config": pos_config}),
            Some((here, away)) => {
                let position = self.map(odoo, taxes[here], taxes[away]).await;
                json!({"pos_config": pos_config, "takeaway_fiscal_position": position})
            }
        }
    }

    /// Gives a company without books its currency, what accounts a till needs, and an open till. The till's id.
    async fn open_business(&self, odoo: &Odoo) -> i64 {
        let company = self.company;
        let currency = json!({"domain": [["name", "=", self.currency]], "context": {"active_test": false}});
        let currency = odoo.call("res.currency", "search", currency).await.unwrap()[0].clone();
        let active = json!({"ids": [currency], "vals": {"active": true}});
        call(odoo, company, "res.currency", "write", active).await;
        // A whole chart of accounts takes Odoo half a minute; a till asks for no more than these.
        let account = |code: &str, kind: &str| json!({"code": code, "name": kind, "account_type": kind});
        let accounts =
            [account("400000", "income"), account("101400", "asset_cash"), account("121000", "asset_receivable")];
        let accounts = create(odoo, company, "account.account", accounts.to_vec()).await;
        let vals = json!({"currency_id": currency, "chart_template": "generic_coa", "income_account_id": accounts[0],
                          "account_default_pos_receivable_account_id": accounts[2]});
        call(odoo, company, "res.company", "write", json!({"ids": [company], "vals": vals})).await;
        let journal = |kind: &str, account: i64| json!({"name": kind, "code": &kind[..3], "type": kind, "company_id": company, "default_account_id": account});
        let journals = vec![journal("bank", accounts[1]), journal("sale", accounts[0])];
        let bank = create(odoo, company, "account.journal", journals).await[0];
        let card = json!({"name": "Card", "journal_id": bank, "company_id": company});
        let card = create(odoo, company, "pos.payment.method", vec![card]).await;
        let till = json!({"name": self.store_id, "payment_method_ids": [[6, 0, card]]});
        let till = create(odoo, company, "pos.config", vec![till]).await[0];
        odoo.open_till(till).await.unwrap();
        till
    }

    /// Each in a group of its own, by which invoices tell them apart.
    async fn taxes(&self, odoo: &Odoo, company: i64) -> Vec<i64> {
        let name = |at: usize| format!("{} {at}", self.store_id);
        let groups = (0..self.taxes.len()).map(|at| json!({"name": name(at), "company_id": company})).collect();
        let groups = create(odoo, company, "account.tax.group", groups).await;
        let tax = |at: usize| {
            let (percent, in_price) = self.taxes[at];
            let kind = if in_price { "tax_included" } else { "tax_excluded" };
            json!({"name": name(at), "amount": percent, "type_tax_use": "sale", "price_include_override": kind,
                   "company_id": company, "tax_group_id": groups[at]})
        };
        create(odoo, company, "account.tax", (0..self.taxes.len()).map(tax).collect()).await
    }

    /// A fiscal position by which one tax stands in the place of another.
    async fn map(&self, odoo: &Odoo, here: i64, away: i64) -> i64 {
        let position = json!({"name": self.store_id, "company_id": self.company});
        let position = create(odoo, self.company, "account.fiscal.position", vec![position]).await[0];
        let mapped = json!({"fiscal_position_ids": [[6, 0, [position]]], "original_tax_ids": [[6, 0, [here]]]});
        call(odoo, self.company, "account.tax", "write", json!({"ids": [away], "vals": mapped})).await;
        position
    }

    async fn products(&self, odoo: &Odoo, pos_config: i64, taxes: &[i64], dice: &mut StdRng) {
        let company = self.company;
        let price = |most: i64, dice: &mut StdRng| {
            let minor = dice.random_range(0..=most);
            #[expect(clippy::cast_precision_loss, reason = "prices of a menu")]
            let price = minor as f64 / 10_f64.powi(self.decimals);
            price
        };
        let extras: Vec<Value> = (0..4)
            .map(|at| json!([0, 0, {"name": format!("Extra {at}"), "default_extra_price": price(300, dice)}]))
            .collect();
        let attribute = json!({"name": self.store_id, "display_type": "multi", "create_variant": "no_variant",
                               "value_ids": extras});
        let attribute = create(odoo, company, "product.attribute", vec![attribute]).await[0];
        let values = json!({"domain": [["attribute_id", "=", attribute]]});
        let values = call(odoo, company, "product.attribute.value", "search", values).await;
        let category = create(odoo, company, "pos.category", vec![json!({"name": self.store_id})]).await[0];
        let alone = json!({"limit_categories": true, "iface_available_categ_ids": [[6, 0, [category]]]});
        call(odoo, company, "pos.config", "write", json!({"ids": [pos_config], "vals": alone})).await;
        let product = |at: usize, dice: &mut StdRng| {
            let most = *[99, 1_000, 5_000, 100_000].choose(dice).unwrap();
            // Every tax is sold, and some products bear none.
            let tax: Vec<i64> = taxes.iter().copied().cycle().skip(at).take(usize::from(at + 1 < PRODUCTS)).collect();
            let choices: Vec<Value> = dice
                .random_bool(0.5)
                .then(|| json!([0, 0, {"attribute_id": attribute, "value_ids": [[6, 0, values]]}]))
                .into_iter()
                .collect();
            json!({"name": format!("{} {at}", self.store_id), "list_price": price(most, dice), "type": "consu",
                   "available_in_pos": true, "pos_categ_ids": [[6, 0, [category]]], "taxes_id": [[6, 0, tax]],
                   "company_id": company, "attribute_line_ids": choices})
        };
        let products = (0..PRODUCTS).map(|at| product(at, dice)).collect();
        create(odoo, company, "product.template", products).await;
    }
}
