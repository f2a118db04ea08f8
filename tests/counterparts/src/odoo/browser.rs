//! What only a person can do, who is logged in at a browser: some buttons ask for the password again.

use anyhow::{Context, Result, bail};
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};

use super::prepare::DATABASE;
use super::{ADMIN_LOGIN, ADMIN_PASSWORD};

/// The question for the password.
const IDENTITY_CHECK: &str = "res.users.identitycheck";

/// The administrator at a browser.
pub(super) struct Browser<'a> {
    http: &'a reqwest::Client,
    base_url: &'a str,
    cookie: String,
}

impl<'a> Browser<'a> {
    /// Logs in.
    pub(super) async fn log_in(http: &'a reqwest::Client, base_url: &'a str) -> Result<Self> {
        let login = json!({"params": {"db": DATABASE, "login": ADMIN_LOGIN, "password": ADMIN_PASSWORD}});
        let response = http.post(format!("{base_url}/web/session/authenticate")).json(&login).send().await?;
        let cookies = response.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let cookie =
            cookies.filter_map(|cookie| cookie.split(';').next()).find(|cookie| cookie.starts_with("session_id="));
        let cookie = cookie.context("Odoo gave no session to the administrator")?.to_owned();
        Ok(Self { http, base_url, cookie })
    }

    /// Calls a method with its arguments in order.
    pub(super) async fn call(&self, model: &str, method: &str, arguments: Value) -> Result<Value> {
        self.call_with(model, method, arguments, json!({})).await
    }

    /// Presses the button of some records, and gives the password if it is asked for.
    pub(super) async fn press(&self, model: &str, button: &str, ids: Value) -> Result<Value> {
        let action = self.call(model, button, json!([ids])).await?;
        if action["res_model"] != IDENTITY_CHECK {
            return Ok(action);
        }
        let password = json!({"context": {"password": ADMIN_PASSWORD}});
        self.call_with(IDENTITY_CHECK, "run_check", json!([[action["res_id"]]]), password).await
    }

    async fn call_with(&self, model: &str, method: &str, arguments: Value, named: Value) -> Result<Value> {
        let url = format!("{}/web/dataset/call_kw/{model}/{method}", self.base_url);
        let call = json!({"params": {"model": model, "method": method, "args": arguments, "kwargs": named}});
        let request = self.http.post(&url).header(COOKIE, &self.cookie).json(&call);
        let mut answer: Value = request.send().await?.json().await.with_context(|| format!("{model}.{method}"))?;
        if answer["error"].is_object() {
            bail!("Odoo refused {model}.{method}: {}", answer["error"]["data"]["message"]);
        }
        Ok(answer["result"].take())
    }
}
