//! Odoo 19, a real POS in restaurant mode, with its demo data.

mod browser;
mod install;
mod prepare;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{command, run};
use crate::guard::Guard;
use crate::postgres::Postgres;
use crate::{port, progress, user};
use browser::Browser;
use install::Program;
use prepare::{DATABASE, Prepared};

/// Login of the demo's administrator, who may do everything.
pub const ADMIN_LOGIN: &str = "admin";
/// Password of [`ADMIN_LOGIN`].
pub const ADMIN_PASSWORD: &str = "admin";
/// Name of the demo's point of sale that tests use: two floors, 24 tables.
pub const RESTAURANT: &str = "Restaurant";

const START_DEADLINE: Duration = Duration::from_secs(90);
const CALL_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A running Odoo 19 with a PostgreSQL of its own, both on free loopback ports.
///
/// Every start gets a fresh copy of the demo database: the restaurant's till waits in opening control with four draft
/// orders of the staff on its tables. Dropping it, or the death of the process, ends both and removes their data.
pub struct Odoo {
    base_url: String,
    api_key: String,
    restaurant_id: i64,
    http: reqwest::Client,
    command: Vec<String>,
    python_path: String,
    // Dropped in this order: Odoo ends, then its files go, then its database.
    running: Option<Guard>,
    directory: TempDir,
    postgres: Postgres,
}

impl Odoo {
    /// Starts Odoo and waits until it answers: a few seconds, but about three minutes for the first time on a machine,
    /// when it gets installed and its database made.
    ///
    /// # Errors
    /// When installing fails (the error names the command and its last output) or Odoo does not answer.
    pub async fn start() -> Result<Self> {
        let mut odoo = tokio::task::spawn_blocking(Self::prepare).await??;
        odoo.restart().await?;
        let restaurants = odoo.call("pos.config", "search", json!({"domain": [["name", "=", RESTAURANT]]})).await?;
        odoo.restaurant_id = restaurants[0].as_i64().context("the demo data has no restaurant")?;
        Ok(odoo)
    }

    /// Installs Odoo and makes its database unless that is done, without starting it.
    ///
    /// # Errors
    /// As [`Odoo::start`].
    pub fn install() -> Result<()> {
        Prepared::get(&Program::install()?).map(drop)
    }

    fn prepare() -> Result<Self> {
        let program = Program::install()?;
        let prepared = Prepared::get(&program)?;
        progress("Odoo 19 starts");
        let directory = tempfile::Builder::new().prefix("posmesh-odoo-").tempdir()?;
        let files = directory.path().join("files");
        run(command("cp", ["--archive", "--reflink=auto"]).arg(prepared.files()).arg(&files))?;
        let postgres = Postgres::start_on_copy(&prepared.cluster())?;

        let port = port::free()?;
        let mut command = user::server_prefix("KILL", false);
        command.extend(program.command(None, DATABASE, postgres.port(), &files));
        command.extend(["--http-interface=127.0.0.1".to_owned(), format!("--http-port={port}")]);
        // No scheduled jobs: nothing but the test changes the data.
        command.extend(["--max-cron-threads=0".to_owned(), "--no-database-list".to_owned()]);
        Ok(Self {
            base_url: format!("http://127.0.0.1:{port}"),
            api_key: prepared.api_key()?,
            restaurant_id: 0,
            http: client()?,
            command,
            python_path: program.python_path(),
            running: None,
            directory,
            postgres,
        })
    }

    /// `http://127.0.0.1:<port>`; it stays the same over [`Odoo::restart`].
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Name of the database.
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// An API key of the administrator for `Authorization: Bearer`, without expiry.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Id of the `pos.config` named [`RESTAURANT`].
    pub fn restaurant_id(&self) -> i64 {
        self.restaurant_id
    }

    /// The PostgreSQL below, for tests that stop it.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// What Odoo wrote to its log since it was started first.
    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Calls a method as staff would, by Odoo's own API: `POST /json/2/<model>/<method>` with named arguments, `ids`
    /// and `context` among them. A method that returns nothing answers null.
    ///
    /// # Errors
    /// When Odoo does not answer, or refuses: the error holds its message.
    pub async fn call(&self, model: &str, method: &str, arguments: Value) -> Result<Value> {
        let url = format!("{}/json/2/{model}/{method}", self.base_url);
        let request = self.http.post(&url).bearer_auth(&self.api_key).json(&arguments);
        let response = request.send().await.with_context(|| format!("Odoo did not answer {model}.{method}"))?;
        let status = response.status();
        let body: Value = response.json().await.with_context(|| format!("{model}.{method} answered no JSON"))?;
        if !status.is_success() {
            bail!("Odoo refused {model}.{method} with {status}: {}", body["message"].as_str().unwrap_or_default());
        }
        Ok(body)
    }

    /// `search_read`: the records of `model` that match `domain`, with `fields` and their `id`.
    ///
    /// # Errors
    /// As [`Odoo::call`].
    pub async fn search_read(&self, model: &str, domain: Value, fields: &[&str]) -> Result<Vec<Value>> {
        let answer = self.call(model, "search_read", json!({"domain": domain, "fields": fields})).await?;
        answer.as_array().cloned().context("search_read answered no list")
    }

    /// Revokes the API key, as its owner does in the preferences: it is refused from then on, and so is [`Odoo::call`]
    /// until there is a new one.
    ///
    /// # Errors
    /// When Odoo does not answer, or refuses.
    pub async fn revoke_api_key(&self) -> Result<()> {
        let browser = Browser::log_in(&self.http, &self.base_url).await?;
        let keys = browser.call("res.users.apikeys", "search", json!([[]])).await?;
        browser.press("res.users.apikeys", "remove", keys).await.map(drop)
    }

    /// Makes an API key in place of the one before, as its owner does in the preferences.
    ///
    /// # Errors
    /// As [`Odoo::revoke_api_key`].
    pub async fn make_api_key(&mut self) -> Result<()> {
        let browser = Browser::log_in(&self.http, &self.base_url).await?;
        let words = json!([{"name": "posmesh", "duration": "0"}]);
        let description = browser.call("res.users.apikeys.description", "create", words).await?;
        let shown = browser.press("res.users.apikeys.description", "make_key", json!([description])).await?;
        let key = shown["context"]["default_key"].as_str().context("Odoo shows no new API key")?;
        key.clone_into(&mut self.api_key);
        Ok(())
    }

    /// Opens the restaurant's till for the day with an empty drawer and returns the id of its `pos.session`. An open till
    /// stays as it is.
    ///
    /// # Errors
    /// As [`Odoo::call`].
    pub async fn open_session(&self) -> Result<i64> {
        self.open_till(self.restaurant_id).await
    }

    /// Likewise the till of another `pos.config`.
    ///
    /// # Errors
    /// As [`Odoo::call`].
    pub async fn open_till(&self, pos_config: i64) -> Result<i64> {
        self.call("pos.config", "open_ui", json!({"ids": [pos_config]})).await?;
        let session = self.session(pos_config).await?.context("open_ui made no session")?;
        let drawer = json!({"ids": [session], "cashbox_value": 0, "notes": ""});
        self.call("pos.session", "set_opening_control", drawer).await?;
        Ok(session)
    }

    /// Closes the restaurant's till as at the end of a day: what is still a draft is cancelled, what the drawer should
    /// hold is counted. Nothing happens if it is closed.
    ///
    /// # Errors
    /// As [`Odoo::call`], or when Odoo refuses to close and says why.
    pub async fn close_session(&self) -> Result<()> {
        let Some(session) = self.session(self.restaurant_id).await? else { return Ok(()) };
        let drafts = json!({"domain": [["session_id", "=", session], ["state", "=", "draft"]]});
        let drafts = self.call("pos.order", "search", drafts).await?;
        if drafts.as_array().is_some_and(|ids| !ids.is_empty()) {
            self.call("pos.order", "action_pos_order_cancel", json!({"ids": drafts})).await?;
        }
        let fields = json!({"ids": [session], "fields": ["cash_register_balance_end"]});
        let drawer = self.call("pos.session", "read", fields).await?[0]["cash_register_balance_end"].clone();
        let counted = json!({"ids": [session], "counted_cash": drawer});
        self.call("pos.session", "post_closing_cash_details", counted).await?;
        let notes = json!({"ids": [session], "notes": ""});
        self.call("pos.session", "update_closing_control_state_session", notes).await?;
        let closed = self.call("pos.session", "close_session_from_ui", json!({"ids": [session]})).await?;
        if closed["successful"] != true {
            bail!("Odoo does not close the till: {closed}");
        }
        Ok(())
    }

    /// Ends Odoo alone, as when its machine is switched off: connections are refused, its data stays. Nothing happens if
    /// it is stopped.
    ///
    /// # Errors
    /// When its guard was killed.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(guard) = self.running.take() else { return Ok(()) };
        tokio::task::spawn_blocking(move || guard.stop("KILL")).await?
    }

    /// Starts Odoo, ending it first if it runs, and waits until it answers. Address and data stay.
    ///
    /// # Errors
    /// When it does not answer in time; the error holds the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        let env = [("PYTHONPATH", self.python_path.as_str())];
        let guard = Guard::start(self.directory.path(), "KILL", &self.command, &env)?;
        let begun = Instant::now();
        // Not /web/health: that answers before the database is loaded, and the first call would wait for it.
        while self.call("res.users", "search_count", json!({"domain": []})).await.is_err() {
            guard.check("Odoo", begun, START_DEADLINE)?;
            tokio::time::sleep(POLL).await;
        }
        self.running = Some(guard);
        Ok(())
    }

    /// The session of a till that is not closed.
    async fn session(&self, pos_config: i64) -> Result<Option<i64>> {
        let domain = json!([["config_id", "=", pos_config], ["state", "!=", "closed"], ["rescue", "=", false]]);
        let sessions = self.search_read("pos.session", domain, &[]).await?;
        Ok(sessions.first().and_then(|session| session["id"].as_i64()))
    }
}

fn client() -> Result<reqwest::Client> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(CALL_DEADLINE)
        // A kept connection would belong to the runtime of the test that used it first.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()?;
    Ok(client)
}
