//! The limit in the same run: pgbench writes the same rows, of the same bytes, into the same tables with the same
//! indexes. It is spared what a service does besides: the number to call out, versions that somebody else may have
//! changed, repeated requests.

use std::{collections::HashMap, fmt::Write as _, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use posmesh_order::storage::NewOrder;
use prost::Message as _;

use crate::{
    load::{Latencies, WARM_UP},
    machine,
    order::{self, BUSINESS_DATE, CALLER, TENANT},
    postgres::Server,
};

/// How an order's rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Each phase a transaction of two statements: the order, then its event.
    TwoTransactions,
    /// Each phase one statement, which is one round trip and by itself one transaction.
    OneStatement,
}

/// What pgbench did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Orders in a second that went through both phases.
    pub(crate) orders_per_second: f64,
    /// Of the first phase.
    pub(crate) accept: Latencies,
    /// Of both phases of an order together.
    pub(crate) both: Latencies,
}

/// Runs pgbench for a while.
///
/// # Errors
/// When it fails, or is not installed.
pub(crate) fn run(
    server: &Server,
    database: &str,
    style: Style,
    callers: usize,
    stores: usize,
    duration: Duration,
    first_order: u64,
) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let (script, log) = (folder.path().join("script.sql"), folder.path().join("log"));
    machine::write_new(&script, &text(style))?;
    let new = order::taken(0);
    let seconds = (WARM_UP + duration).as_secs_f64().ceil();
    let mut command = Command::new(server.0.program("pgbench"));
    command
        .env("PGOPTIONS", "-c search_path=posmesh_order")
        .args(["--host=127.0.0.1", "--username=posmesh", "--no-vacuum", "--protocol=prepared", "--jobs=2", "--log"])
        .args([format!("--port={}", server.0.port()), format!("--client={callers}"), format!("--time={seconds}")])
        .args([format!("--file={}", script.display()), format!("--log-prefix={}", log.display())]);
    for (name, value) in variables(&new, stores, first_order) {
        command.arg(format!("--define={name}={value}"));
    }
    let output = command.arg(database).output().context(
        "cannot start pgbench: it comes with PostgreSQL's server package, on Debian `apt-get install postgresql`",
    )?;
    anyhow::ensure!(
        output.status.success(),
        "pgbench failed: {}",
        String::from_utf8_lossy(&output.stderr).lines().rev().take(5).collect::<Vec<_>>().join("; ")
    );
    read(folder.path(), duration)
}

/// What the rows hold. Order ids are made of a counter and the client, so that they ascend as ours do, and request ids are
/// as random; the rest is as long as ours is.
fn variables(new: &NewOrder, stores: usize, first_order: u64) -> Vec<(&'static str, String)> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    let replica = new.order.attempts.first().map(|attempt| attempt.replica.clone()).unwrap_or_default();
    vec![
        ("phase", "0".to_owned()),
        ("n", first_order.to_string()),
        ("stores", stores.to_string()),
        ("hash", hex(&new.request_hash)),
        ("taken", hex(&new.order.encode_to_vec())),
        ("placed", hex(&order::placed(new.order.clone()).order.encode_to_vec())),
        ("replica", replica),
    ]
}

/// A run of the script is one phase: those of odd numbers take an order, those of even ones complete it.
fn text(style: Style) -> String {
    let order_id = "'01998a5e-7c31-7000-8000-' || :id";
    let store_id = "'store-' || lpad(:store, 5, '0')";
    let request_id = format!("'kiosk:' || {store_id} || ':' || gen_random_uuid()");
    let now = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let insert_order = format!(
        "INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, cause, version, \
             created_ms, display_number, check_id, round, due_ms, lease_owner, doc, complete_ms) \
         VALUES ('{TENANT}', {order_id}, '{CALLER}', {request_id}, :hash, {store_id}, 3, '', 1, {now}, :n % 1000, NULL, 0, {now} + 35000, :replica, :taken, {now} + 43200000)"
    );
    let update_order = format!(
        "UPDATE orders SET version = 2, state = 5, cause = '', lease_owner = NULL, due_ms = NULL, doc = :placed \
         WHERE tenant_id = '{TENANT}' AND order_id = {order_id} AND version = 1"
    );
    let columns = "order_events (tenant_id, order_id, version, at_ms, state, cause, replica)";
    let event = |version: u8, state: u8| {
        format!("INSERT INTO {columns} VALUES ('{TENANT}', {order_id}, {version}, {now}, {state}, '', :replica)")
    };
    let phase = |order: String, version: u8, state: u8| match style {
        Style::TwoTransactions => format!("BEGIN;\n{order};\n{};\nEND;", event(version, state)),
        Style::OneStatement => format!(
            "WITH written AS ({order} RETURNING tenant_id, order_id, version, state) \
             INSERT INTO {columns} SELECT tenant_id, order_id, version, {now}, state, '', :replica FROM written;"
        ),
    };
    let (accept, complete) = (phase(insert_order, 1, 3), phase(update_order, 2, 5));
    format!(
        "-- Business day {BUSINESS_DATE}.\n\\set phase 1 - :phase\n\\if :phase = 1\n\\set n :n + 1\n\
         \\set id 100000000000 + :n * 1000 + :client_id\n\\set store random(0, :stores - 1)\n{accept}\n\\else\n{complete}\n\\endif\n"
    )
}

/// One line of pgbench's log: who, the how-manieth, how long, and when it ended.
struct Entry {
    client: u32,
    number: u64,
    took: Duration,
    ended: Duration,
}

fn read(folder: &Path, duration: Duration) -> Result<Outcome> {
    let mut entries = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension != "sql") {
            entries.extend(std::fs::read_to_string(path)?.lines().filter_map(entry));
        }
    }
    outcome(entries, duration).context("pgbench's log is empty")
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let (client, number, took) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?);
    let (seconds, micros) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse::<u64>().ok()?);
    let ended = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Some(Entry { client, number, took: Duration::from_micros(took.parse().ok()?), ended })
}

fn outcome(mut entries: Vec<Entry>, duration: Duration) -> Option<Outcome> {
    let from = entries.iter().map(|entry| entry.ended).min()? + WARM_UP;
    let until = from + duration;
    entries.sort_unstable_by_key(|entry| (entry.client, entry.number));
    let (mut accept, mut both) = (Vec::new(), Vec::new());
    let mut first: HashMap<u32, Duration> = HashMap::new();
    for entry in entries {
        // Pairs, from each client's first entry on.
        let counts = (from..until).contains(&entry.ended);
        match first.remove(&entry.client) {
            None => {
                first.insert(entry.client, entry.took);
                if counts {
                    accept.push(entry.took);
                }
            }
            Some(accepted) if counts => both.push(accepted + entry.took),
            Some(_) => {}
        }
    }
    let orders_per_second = both.len() as f64 / duration.as_secs_f64();
    Some(Outcome { orders_per_second, accept: Latencies::new(accept), both: Latencies::new(both) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn phases_are_told_apart_and_what_warmed_up_does_not_count() {
        let log = ["0 1 9000 0 100 0", "0 2 9000 0 100 9", "0 3 1000 0 101 500000", "0 4 2000 0 101 600000"];
        let outcome = outcome(log.iter().filter_map(|line| entry(line)).collect(), Duration::from_secs(1)).unwrap();
        assert_eq!(outcome.orders_per_second, 1.0);
        assert_eq!(outcome.accept.p99(), Duration::from_millis(1));
        assert_eq!(outcome.both.p99(), Duration::from_millis(3));
    }
}
