//! What a large table costs: the same load on a small one and on one of millions, in turn.

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use prost::Message as _;

use crate::{
    Options,
    load::Measured,
    order,
    postgres::Server,
    report::{Ratio, Report, Row, Target, median, per_second},
    storage,
};

/// Orders that one statement loads.
const CHUNK: u64 = 250_000;
/// Counters of what was read are told with a delay of up to a second.
const COUNTERS_DELAY: Duration = Duration::from_secs(2);

/// The rows about growth to so many orders.
///
/// # Errors
/// When the server refuses, or the disk is full.
pub(crate) async fn measure(server: &Server, orders: u64, options: &Options, report: &mut Report) -> Result<()> {
    let (_, on_small) = server.open_storage().await?;
    let (large, on_large) = server.open_storage().await?;
    let mut loaded = 0;
    // In steps, so that it shows where it begins to fall.
    for size in [orders / 100, orders / 10, orders] {
        while loaded < size {
            let until = size.min(loaded + CHUNK);
            load(server, &large, loaded, until, options.stores)?;
            loaded = until;
        }
        server.query(&large, "VACUUM (ANALYZE) posmesh_order.orders, posmesh_order.order_events")?;
        let read_before = sequentially_read(server, &large)?;
        let (mut few, mut many) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            server.settle()?;
            few.push(storage::run(&on_small, options.callers, options.stores, options.duration()).await?);
            server.settle()?;
            many.push(storage::run(&on_large, options.callers, options.stores, options.duration()).await?);
        }
        tokio::time::sleep(COUNTERS_DELAY).await;
        let read = sequentially_read(server, &large)? - read_before;
        let bytes = server.query(&large, "SELECT pg_size_pretty(pg_database_size(current_database()))")?;
        report.row(Row {
            what: format!(
                "durable orders of the storage with {size} orders in it ({bytes}), against a table that began empty"
            ),
            ours: per_second(median(many.iter().map(Measured::per_second))),
            peer: per_second(median(few.iter().map(Measured::per_second))),
            ratio: Ratio::new(many.iter().zip(&few).map(|(many, few)| many.per_second() / few.per_second()).collect()),
            target: if size == orders { Target::AtLeast(0.9) } else { Target::None },
        });
        report.row(Row {
            what: format!("rows read by sequential scans meanwhile, with {size} orders"),
            ours: read.to_string(),
            peer: String::new(),
            ratio: Ratio::new(vec![read as f64]),
            target: Target::AtMost(0.0),
        });
    }
    Ok(())
}

fn sequentially_read(server: &Server, database: &str) -> Result<i64> {
    let sum =
        "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname IN ('orders', 'order_events')";
    Ok(server.query(database, sum)?.parse()?)
}

/// Orders that were completed in the past, as the service would have left them. Ids ascend, request ids do not: guests'
/// devices choose them.
fn load(server: &Server, database: &str, from: u64, until: u64, stores: usize) -> Result<()> {
    let new = order::taken(0);
    let replica = new.order.attempts.first().map(|attempt| attempt.replica.clone()).unwrap_or_default();
    let doc = order::placed(new.order).order.encode_to_vec().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let (tenant, caller, day) = (order::TENANT, order::CALLER, order::BUSINESS_DATE);
    let last = until - 1;
    // 2026-01-01, 25 orders a second since then.
    let made_ms = "1767225600000 + n * 40";
    let order_id = "'019b0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')";
    server.query(
        database,
        &format!(
            "SET search_path = posmesh_order; \
             INSERT INTO orders (tenant_id, order_id, caller, request_id, request_hash, store_id, state, cause, \
                 version, created_ms, display_number, round, doc) \
             SELECT '{tenant}', {order_id}, '{caller}', 'kiosk:store-00000:0123' || md5(n::text), '\\x{hash}', \
                 'store-' || lpad((n % {stores})::text, 5, '0'), 5, '', 2, {made_ms}, n % 1000, 0, '\\x{doc}' \
             FROM generate_series({from}::bigint, {last}::bigint) AS n; \
             INSERT INTO order_events (tenant_id, order_id, version, at_ms, state, cause, replica) \
             SELECT '{tenant}', {order_id}, version, {made_ms}, 1 + 2 * version, '', '{replica}' \
             FROM generate_series({from}::bigint, {last}::bigint) AS n, generate_series(1, 2) AS version; \
             INSERT INTO display_numbers (tenant_id, store_id, business_date, last) \
             SELECT '{tenant}', 'store-' || lpad(n::text, 5, '0'), '{day}', 0 FROM generate_series(0, {stores} - 1) AS n \
             ON CONFLICT DO NOTHING",
            hash = "07".repeat(33),
        ),
    )?;
    Ok(())
}
