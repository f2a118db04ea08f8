//! `posmesh reconcile`: compares our orders with those that a POS holds, and tells a person.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use jiff::{SignedDuration, Timestamp};
use posmesh_kit::{Channel, failure, time};
use posmesh_proto::{
    order::v1::{
        Discrepancy, ProposedRepair, ReconcileOrdersRequest, ReconcileOrdersResponse,
        order_service_client::OrderServiceClient,
    },
    router::v1::{ListConnectionsRequest, router_service_client::RouterServiceClient},
};
use tonic::{Request, Status};

use super::{channel, orders, table::table};
use crate::config::Config;

const HEAD: [&str; 4] = ["NO.", "WHAT", "DONE", "MORE"];
const CALL_TIMEOUT: Duration = Duration::from_secs(55);
const MAX_CONNECTIONS: i32 = 500;
/// The exit codes besides success: a discrepancy was found; the comparison was not possible.
const FOUND: u8 = 1;
const NOT_COMPARED: u8 = 2;

/// What `posmesh reconcile` takes.
#[derive(Args)]
#[command(group = ArgGroup::new("where").required(true))]
pub(crate) struct Options {
    /// All connections of this store.
    #[arg(long, value_name = "ID", group = "where")]
    store: Option<String>,
    /// This connection.
    #[arg(long, value_name = "ID", group = "where")]
    connection: Option<String>,
    /// Orders placed from then on: a time like 2026-11-22T18:00:00+09:00, or so long ago, like 3h.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Timestamp,
    /// Orders placed before then. Default: now.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    before: Option<Timestamp>,
    /// Carries out what is safe. Nothing is ever sent to the POS again.
    #[arg(long)]
    repair: bool,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: SignedDuration =
        text.parse().map_err(|_| "neither a time like 2026-11-22T18:00:00+09:00 nor a duration like 3h".to_owned())?;
    Timestamp::now().checked_sub(ago.abs()).map_err(|error| error.to_string())
}

/// Prints a report for each connection. The code tells whether everything agrees (0), something does not (1), or could
/// not be compared (2).
pub(crate) async fn run(config: &Config, options: &Options) -> ExitCode {
    let connections = match connections(config, options).await {
        Ok(connections) => connections,
        Err(error) => {
            eprintln!("posmesh: {error:#}");
            return ExitCode::from(NOT_COMPARED);
        }
    };
    let (mut found, mut failed) = (0, false);
    for connection_id in connections {
        match compare(config, options, &connection_id).await {
            Ok(report) => {
                found += report.discrepancies.len();
                print(&connection_id, options, &report);
            }
            Err(error) => {
                failed = true;
                println!("{connection_id}: not compared: {error:#}");
            }
        }
    }
    match (failed, found) {
        (true, _) => ExitCode::from(NOT_COMPARED),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(FOUND),
    }
}

async fn connections(config: &Config, options: &Options) -> anyhow::Result<Vec<String>> {
    if let Some(connection_id) = &options.connection {
        return Ok(vec![connection_id.clone()]);
    }
    let store_id = options.store.clone().unwrap_or_default();
    let mut router = RouterServiceClient::new(channel("peers.router", &config.peers.router, config)?);
    let mut request = Request::new(ListConnectionsRequest {
        store_id: store_id.clone(),
        page_size: MAX_CONNECTIONS,
        page_token: String::new(),
    });
    request.set_timeout(CALL_TIMEOUT);
    let answer = router.list_connections(request).await.map_err(|status| refused("the router", &status))?;
    let connections: Vec<String> = answer.into_inner().connections.into_iter().map(|c| c.connection_id).collect();
    if connections.is_empty() {
        bail!("the store {store_id:?} has no connection to a POS");
    }
    Ok(connections)
}

/// Goes on where an answer ended until the whole window is compared.
async fn compare(config: &Config, options: &Options, connection_id: &str) -> anyhow::Result<ReconcileOrdersResponse> {
    let client = orders(config)?;
    let before = options.before.unwrap_or_else(Timestamp::now);
    let mut from_ms = options.from.as_millisecond();
    let mut whole = ReconcileOrdersResponse::default();
    loop {
        let part = ask(&client, options, connection_id, from_ms, before.as_millisecond()).await?;
        whole.compared += part.compared;
        whole.others += part.others;
        whole.listed = part.listed;
        whole.discrepancies.extend(part.discrepancies);
        let next_ms =
            part.compared_before.as_ref().map(time::to_unix_ms).context("the answer does not say how far it came")?;
        if next_ms >= before.as_millisecond().min(time::now_unix_ms()) || next_ms <= from_ms {
            return Ok(whole);
        }
        from_ms = next_ms;
    }
}

async fn ask(
    client: &OrderServiceClient<Channel>,
    options: &Options,
    connection_id: &str,
    from_ms: i64,
    before_ms: i64,
) -> anyhow::Result<ReconcileOrdersResponse> {
    let mut request = Request::new(ReconcileOrdersRequest {
        connection_id: connection_id.to_owned(),
        from: Some(time::from_unix_ms(from_ms)),
        before: Some(time::from_unix_ms(before_ms)),
        repair: options.repair,
    });
    request.set_timeout(CALL_TIMEOUT);
    let answer = client.clone().reconcile_orders(request).await;
    Ok(answer.map_err(|status| refused("the order service", &status))?.into_inner())
}

fn refused(who: &str, status: &Status) -> anyhow::Error {
    match failure::reason(status).as_str() {
        "" => anyhow::anyhow!("{who}: {}", status.message()),
        reason => anyhow::anyhow!("{who}: {reason}: {}", status.message()),
    }
}

fn print(connection_id: &str, options: &Options, report: &ReconcileOrdersResponse) {
    let before = options.before.map_or_else(|| "now".to_owned(), |time| time.to_string());
    let how = report.listed().as_str_name().trim_start_matches("LIST_ORDERS_").to_lowercase().replace('_', " ");
    let how = if how == "none" { "asked one by one".to_owned() } else { format!("listed {how}") };
    println!("{connection_id}: orders from {} to {before}, {how}", options.from);
    println!("  {} of ours compared; {} of the POS's are not ours", report.compared, report.others);
    if report.discrepancies.is_empty() {
        return println!("  everything agrees\n");
    }
    let rows: Vec<_> = report.discrepancies.iter().map(row).collect();
    for line in table(HEAD, &rows).lines() {
        println!("  {line}");
    }
    let mended = report.discrepancies.iter().filter(|discrepancy| discrepancy.repaired).count();
    println!("  {} discrepancies, {mended} mended\n", report.discrepancies.len());
}

fn row(discrepancy: &Discrepancy) -> [String; 4] {
    let order = discrepancy.order.as_ref();
    let number = order
        .map_or("-", |order| if order.display_number.is_empty() { &order.order_id } else { &order.display_number });
    let kind = discrepancy.kind().as_str_name().trim_start_matches("DISCREPANCY_KIND_");
    [number.to_owned(), kind.to_owned(), done(discrepancy).to_owned(), discrepancy.message.clone()]
}

/// What was done, or what would mend it.
fn done(discrepancy: &Discrepancy) -> &'static str {
    match (discrepancy.repaired, discrepancy.repair()) {
        (true, ProposedRepair::CancelAtPos) => "the POS is asked to take it back",
        (true, _) => "noted",
        (false, ProposedRepair::Record) => "--repair notes it",
        (false, ProposedRepair::CancelAtPos) => "--repair asks the POS to take it back",
        (false, ProposedRepair::TellPerson | ProposedRepair::Unspecified) => "a person must look",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        assert_eq!(parse_time("2026-11-22T18:00:00+09:00").unwrap().to_string(), "2026-11-22T09:00:00Z");
        let ago = Timestamp::now().duration_since(parse_time("3h").unwrap());
        assert!((ago.as_secs() - 3 * 3600).abs() < 60);
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn a_row_says_what_is_done_and_what_would_mend_it() {
        let discrepancy = |repair: ProposedRepair, repaired| Discrepancy {
            repair: repair.into(),
            repaired,
            ..Discrepancy::default()
        };
        assert_eq!(done(&discrepancy(ProposedRepair::Record, true)), "noted");
        assert_eq!(done(&discrepancy(ProposedRepair::Record, false)), "--repair notes it");
        assert_eq!(done(&discrepancy(ProposedRepair::TellPerson, false)), "a person must look");
    }
}
