//! One till of Odoo: its company, currency, session and rules.

use posmesh_kit::cause;
use posmesh_proto::common::v1::Money;
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{Api, ApiError, Scope},
    settings::IdOrName,
    tax::{FiscalPosition, RoundingScope},
    wire::{self, Link},
};

/// Fields of [`Config`].
const CONFIG_FIELDS: [&str; 16] = [
    "name",
    "module_pos_restaurant",
    "company_id",
    "currency_id",
    "current_session_id",
    "current_session_state",
    "floor_ids",
    "payment_method_ids",
    "limit_categories",
    "iface_available_categ_ids",
    "default_fiscal_position_id",
    "use_pricelist",
    "pricelist_id",
    "cash_rounding",
    "default_preset_id",
    "printer_ids",
];

/// A `pos.config`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) module_pos_restaurant: bool,
    #[serde(deserialize_with = "wire::link")]
    company_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    currency_id: Option<Link>,
    #[serde(deserialize_with = "wire::link")]
    pub(crate) current_session_id: Option<Link>,
    #[serde(deserialize_with = "wire::text")]
    pub(crate) current_session_state: String,
    pub(crate) floor_ids: Vec<i64>,
    pub(crate) payment_method_ids: Vec<i64>,
    pub(crate) limit_categories: bool,
    pub(crate) iface_available_categ_ids: Vec<i64>,
    #[serde(deserialize_with = "wire::link")]
    pub(crate) default_fiscal_position_id: Option<Link>,
    pub(crate) use_pricelist: bool,
    #[serde(deserialize_with = "wire::link")]
    pub(crate) pricelist_id: Option<Link>,
    pub(crate) cash_rounding: bool,
    #[serde(deserialize_with = "wire::link")]
    pub(crate) default_preset_id: Option<Link>,
    /// The kitchen's.
    pub(crate) printer_ids: Vec<i64>,
}

/// A till with what its money needs.
#[derive(Debug, Clone)]
pub(crate) struct Till {
    pub(crate) config: Config,
    pub(crate) company_id: i64,
    /// ISO 4217.
    pub(crate) currency_code: String,
    /// Decimals of the currency: 2 for USD, 0 for JPY.
    pub(crate) decimals: u32,
    pub(crate) rounding: RoundingScope,
}

#[derive(Deserialize)]
struct Company {
    #[serde(deserialize_with = "wire::link")]
    currency_id: Option<Link>,
    tax_calculation_rounding_method: String,
}

#[derive(Deserialize)]
struct Currency {
    name: String,
    decimal_places: u32,
    rounding: f64,
}

impl Till {
    /// Reads the till that the settings name.
    pub(crate) async fn read(api: &Api<'_>, which: &IdOrName) -> Result<Self, ApiError> {
        let domain = match which {
            IdOrName::Id(id) => json!([["id", "=", id]]),
            IdOrName::Name(name) => json!([["name", "=", name]]),
        };
        let mut configs: Vec<Config> = api.search_read("pos.config", domain, &CONFIG_FIELDS, &Scope::default()).await?;
        let (Some(config), true) = (configs.pop(), configs.is_empty()) else {
            let count = if configs.is_empty() { "no till" } else { "several tills" };
            return Err(misconfigured(format!("pos_config {which}: Odoo has {count} of that name or id")));
        };
        let (Some(company), Some(currency)) = (&config.company_id, &config.currency_id) else {
            return Err(misconfigured(format!("till {:?} has no company or no currency", config.name)));
        };
        let scope = Scope { company_id: Some(company.0), ..Scope::default() };
        let company_fields = ["currency_id", "tax_calculation_rounding_method"];
        let (companies, currencies): (Vec<Company>, Vec<Currency>) = tokio::try_join!(
            api.search_read("res.company", json!([["id", "=", company.0]]), &company_fields, &scope),
            api.search_read(
                "res.currency",
                json!([["id", "=", currency.0]]),
                &["name", "decimal_places", "rounding"],
                &scope
            ),
        )?;
        let company_id = company.0;
        let (Some(company), Some(money)) = (companies.first(), currencies.first()) else {
            return Err(misconfigured("the key's user may not see the till's company or currency".to_owned()));
        };
        check_currency(company, currency, money)?;
        let rounding = match company.tax_calculation_rounding_method.as_str() {
            "round_globally" => RoundingScope::Rate,
            "round_per_line" => RoundingScope::Line,
            other => return Err(misconfigured(format!("the company rounds tax by the unknown method {other:?}"))),
        };
        let (currency_code, decimals) = (money.name.clone(), money.decimal_places);
        Ok(Self { config, company_id, currency_code, decimals, rounding })
    }

    /// The session that takes orders. `Err` tells why there is none, and what the staff should do.
    pub(crate) fn open_session(&self) -> Result<i64, String> {
        let name = &self.config.name;
        match (&self.config.current_session_id, self.config.current_session_state.as_str()) {
            (Some(session), "opened") => Ok(session.0),
            (Some(_), "opening_control") => {
                Err(format!("till {name:?} waits for its opening: count the drawer and press Open Register"))
            }
            (Some(_), "closing_control") => {
                Err(format!("till {name:?} is being closed: finish that, then open it again"))
            }
            _ => Err(format!("till {name:?} is closed: open it at the Point of Sale")),
        }
    }

    /// The till's own company in a fixed language, or in the user's.
    pub(crate) fn scope<'l>(&self, language: Option<&'l str>) -> Scope<'l> {
        Scope { company_id: Some(self.company_id), language, archived: false }
    }

    /// As [`Till::scope`], with archived records.
    pub(crate) fn scope_with_archived(&self) -> Scope<'static> {
        Scope { archived: true, ..self.scope(None) }
    }

    /// An amount of the till's currency in minor units; `None` if it has more decimals.
    pub(crate) fn to_minor(&self, amount: f64) -> Option<i64> {
        wire::to_units(amount, self.decimals)
    }

    /// Minor units as Odoo's float.
    pub(crate) fn to_float(&self, minor: i64) -> f64 {
        wire::from_units(minor, self.decimals)
    }

    /// Minor units of the till's currency.
    pub(crate) fn money(&self, amount: i64) -> Money {
        Money { currency_code: self.currency_code.clone(), amount }
    }

    /// The fiscal positions for lines eaten here and taken away, in this order.
    pub(crate) async fn fiscal_positions(
        &self,
        api: &Api<'_>,
        takeaway: Option<&IdOrName>,
    ) -> Result<(FiscalPosition, FiscalPosition), ApiError> {
        let dine_in = self.config.default_fiscal_position_id.as_ref().map(|link| IdOrName::Id(link.0));
        if dine_in.is_none() && takeaway.is_none() {
            return Ok(Default::default());
        }
        let fields = ["name", "tax_ids", "tax_map"];
        let domain = json!([["company_id", "in", [false, self.company_id]]]);
        let all: Vec<FiscalPosition> =
            api.search_read("account.fiscal.position", domain, &fields, &self.scope(None)).await?;
        let get =
            |wanted: Option<&IdOrName>| match wanted {
                None => Ok(FiscalPosition::default()),
                Some(wanted) => all.iter().find(|position| position.matches(wanted)).cloned().ok_or_else(|| {
                    misconfigured(format!("Odoo has no fiscal position {wanted} in the till's company"))
                }),
            };
        let here = get(dine_in.as_ref())?;
        let away = if takeaway.is_some() { get(takeaway)? } else { here.clone() };
        Ok((here, away))
    }
}

fn check_currency(company: &Company, till: &Link, currency: &Currency) -> Result<(), ApiError> {
    // Product prices are in the company's currency; converting them is not ours to guess.
    if company.currency_id.as_ref().map(|link| link.0) != Some(till.0) {
        return Err(misconfigured(format!("the till sells in {}, its company keeps prices in another", currency.name)));
    }
    let finest = wire::from_units(1, currency.decimal_places);
    if currency.decimal_places > 4 || (currency.rounding - finest).abs() > finest / 100.0 {
        let message =
            format!("currency {} rounds to {}; only whole minor units are known", currency.name, currency.rounding);
        return Err(misconfigured(message));
    }
    Ok(())
}

pub(crate) fn misconfigured(message: String) -> ApiError {
    ApiError::Strange { cause: cause::MISCONFIGURED, message }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(changes: serde_json::Value) -> Config {
        let mut config = json!({"id": 4, "name": "Restaurant", "module_pos_restaurant": true, "company_id": [1, "Acme"],
            "currency_id": [1, "USD"], "current_session_id": [5, "Restaurant/00002"], "current_session_state": "opened",
            "floor_ids": [2, 3], "payment_method_ids": [2, 3, 6], "limit_categories": true,
            "iface_available_categ_ids": [9, 10], "default_fiscal_position_id": false, "use_pricelist": false,
            "pricelist_id": false, "cash_rounding": false, "default_preset_id": [1, "Dine In"],
            "printer_ids": []});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(config).unwrap()
    }

    /// The demo restaurant, in dollars, with its session open.
    pub(crate) fn till() -> Till {
        Till {
            config: config(json!({})),
            company_id: 1,
            currency_code: "USD".to_owned(),
            decimals: 2,
            rounding: RoundingScope::Rate,
        }
    }

    #[test]
    fn only_an_opened_session_takes_orders_and_the_others_say_what_to_do() {
        assert_eq!(till().open_session(), Ok(5));
        let closed = json!({"current_session_id": false, "current_session_state": false});
        for (changes, advice) in [
            (closed, "open it at the Point of Sale"),
            (json!({"current_session_state": "opening_control"}), "Open Register"),
            (json!({"current_session_state": "closing_control"}), "is being closed"),
        ] {
            let till = Till { config: config(changes), ..till() };
            let why = till.open_session().unwrap_err();
            assert!(why.contains("Restaurant") && why.contains(advice), "{why}");
        }
    }

    #[test]
    fn a_till_in_another_currency_than_its_company_is_refused() {
        let company: Company = serde_json::from_value(json!({"currency_id": [2, "EUR"],
            "tax_calculation_rounding_method": "round_globally"}))
        .unwrap();
        let dollar = Currency { name: "USD".into(), decimal_places: 2, rounding: 0.01 };
        assert!(check_currency(&company, &Link(1, "USD".into()), &dollar).is_err());
        assert!(check_currency(&company, &Link(2, "EUR".into()), &dollar).is_ok());
        let franc = Currency { name: "CHF".into(), decimal_places: 2, rounding: 0.05 };
        assert!(check_currency(&company, &Link(2, "CHF".into()), &franc).is_err());
    }
}
