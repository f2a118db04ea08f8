//! `posmesh gate`: whether stores' orders are taken, why not, and what the staff say about it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use posmesh_kit::{Channel, backoff::Backoff, time};
use posmesh_proto::{
    common::v1::Product,
    order::v1::{
        Gate, GateState, Pause, PauseStoreRequest, ResumeStoreRequest, WatchGatesRequest, WatchGatesResponse,
        order_service_client::OrderServiceClient,
    },
};
use tonic::{Code, Request, Status, Streaming};

use super::{ProductName, ago, orders, table::table, why};
use crate::config::Config;

const HEAD: [&str; 7] = ["STORE", "PRODUCT", "GATE", "WHY", "CAUSE", "SINCE", "MORE"];
/// For the snapshot, and for what the staff say.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What `posmesh gate` takes.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Only this store.
    #[arg(long, value_name = "ID", default_value = "")]
    store: String,
    /// Also those that are open.
    #[arg(long)]
    all: bool,
    /// Goes on, and prints what changes until Ctrl-C.
    #[arg(long)]
    watch: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Takes no orders of a store for a while.
    Pause {
        /// The store.
        #[arg(value_name = "STORE")]
        store_id: String,
        /// Only of these products; all if none is named.
        #[arg(long = "product", value_name = "NAME")]
        products: Vec<ProductName>,
        /// For so long, like 30m or 2h; else until it is resumed.
        #[arg(long = "for", value_name = "TIME")]
        how_long: Option<SignedDuration>,
        /// For the staff and the guests.
        #[arg(long, default_value = "")]
        reason: String,
        /// Who does it.
        #[arg(long, value_name = "NAME", default_value = "")]
        by: String,
    },
    /// Takes orders of a store again.
    Resume {
        /// The store.
        #[arg(value_name = "STORE")]
        store_id: String,
    },
}

/// Prints the gates, with `--watch` each change; or does what the staff say.
pub(crate) async fn run(config: &Config, options: &Options) -> anyhow::Result<()> {
    let client = orders(config)?;
    match &options.action {
        None => show(&client, options).await,
        Some(Action::Pause { store_id, products, how_long, reason, by }) => {
            let pause = Pause {
                store_id: store_id.clone(),
                products: products.iter().map(|name| Product::from(*name).into()).collect(),
                until: how_long.map(in_future).transpose()?,
                reason: reason.clone(),
                paused_by: by.clone(),
                pause_time: None,
            };
            let mut request = Request::new(PauseStoreRequest { pause: Some(pause) });
            request.set_timeout(ANSWER_TIMEOUT);
            let answer = client.clone().pause_store(request).await;
            print(&answer.map_err(refused)?.into_inner().gates);
            Ok(())
        }
        Some(Action::Resume { store_id }) => {
            let mut request = Request::new(ResumeStoreRequest { store_id: store_id.clone() });
            request.set_timeout(ANSWER_TIMEOUT);
            print(&client.clone().resume_store(request).await.map_err(refused)?.into_inner().gates);
            Ok(())
        }
    }
}

fn in_future(how_long: SignedDuration) -> anyhow::Result<prost_types::Timestamp> {
    if !how_long.is_positive() {
        bail!("--for {how_long:#} is over already; give a time like 30m");
    }
    let until = Timestamp::now().checked_add(how_long).context("--for is too long")?;
    Ok(time::from_unix_ms(until.as_millisecond()))
}

fn refused(status: Status) -> anyhow::Error {
    anyhow::anyhow!("the order service: {}", why(Some(status)))
}

/// By store and product.
type Gates = BTreeMap<(String, i32), Gate>;

async fn show(client: &OrderServiceClient<Channel>, options: &Options) -> anyhow::Result<()> {
    let (told, stream) = snapshot(client, options).await?;
    let shown: Vec<Gate> = told.values().filter(|gate| options.all || !is_open(gate)).cloned().collect();
    if shown.is_empty() {
        println!("All gates are open: {}.", told.len());
    } else {
        print(&shown);
    }
    if options.watch {
        follow(client, options, told, stream).await;
    }
    Ok(())
}

/// Prints each change until the process ends, however often the stream breaks.
async fn follow(
    client: &OrderServiceClient<Channel>,
    options: &Options,
    mut told: Gates,
    mut stream: Streaming<WatchGatesResponse>,
) -> ! {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        let changed = match stream.message().await {
            Ok(Some(page)) => page.gates,
            ended => {
                eprintln!("the stream ended ({}); watching again", why(ended.err()));
                tokio::time::sleep(backoff.next_delay()).await;
                match snapshot(client, options).await {
                    Ok((now, again)) => {
                        stream = again;
                        backoff.reset();
                        now.into_values().filter(|gate| told.get(&key(gate)) != Some(gate)).collect()
                    }
                    Err(error) => {
                        eprintln!("{error:#}");
                        continue;
                    }
                }
            }
        };
        print(&changed);
        told.extend(changed.into_iter().map(|gate| (key(&gate), gate)));
    }
}

async fn snapshot(
    client: &OrderServiceClient<Channel>,
    options: &Options,
) -> anyhow::Result<(Gates, Streaming<WatchGatesResponse>)> {
    let ask = async {
        let request = WatchGatesRequest { store_id: options.store.clone() };
        let mut stream = client.clone().watch_gates(request).await?.into_inner();
        let mut gates = Gates::new();
        while let Some(page) = stream.message().await? {
            gates.extend(page.gates.into_iter().map(|gate| (key(&gate), gate)));
            if page.current {
                return Ok((gates, stream));
            }
        }
        Err(Status::new(Code::Unavailable, "the answer broke off"))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, ask).await.context("the order service does not answer")?.map_err(refused)
}

fn key(gate: &Gate) -> (String, i32) {
    (gate.store_id.clone(), gate.product)
}

fn is_open(gate: &Gate) -> bool {
    gate.state() == GateState::Open
}

fn print(gates: &[Gate]) {
    if !gates.is_empty() {
        print!("{}", table(HEAD, &gates.iter().map(row).collect::<Vec<_>>()));
    }
}

fn row(gate: &Gate) -> [String; 7] {
    let word = |name: &str, prefix: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    let since = |at| ago(time::now_unix_ms().saturating_sub(time::to_unix_ms(at)));
    let reason = if is_open(gate) { String::new() } else { word(gate.reason().as_str_name(), "GATE_REASON_") };
    let cause = match (gate.cause.as_str(), gate.failing_hop.as_str()) {
        (cause, "") => cause.to_owned(),
        (cause, hop) => format!("{cause} ({hop})"),
    };
    let opens = gate.open_time.as_ref().map(|at| format!("opens {at}")).unwrap_or_default();
    let more = [opens.as_str(), gate.message.as_str()].into_iter().filter(|text| !text.is_empty());
    [
        gate.store_id.clone(),
        word(gate.product().as_str_name(), "PRODUCT_"),
        word(gate.state().as_str_name(), "GATE_STATE_"),
        reason,
        cause,
        gate.since.as_ref().map(since).unwrap_or_default(),
        more.collect::<Vec<_>>().join("; "),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::order::v1::GateReason;

    use super::*;

    #[test]
    fn a_closed_gate_is_told_with_reason_cause_and_hop_and_an_open_one_without() {
        let gate = Gate {
            store_id: "shibuya".into(),
            product: Product::Kiosk.into(),
            state: GateState::Closed.into(),
            reason: GateReason::LinkOffline.into(),
            cause: "POS_APP_NOT_RUNNING".into(),
            failing_hop: "pos".into(),
            message: "no answer".into(),
            since: Some(time::from_unix_ms(time::now_unix_ms() - 125_000)),
            ..Gate::default()
        };
        let expected =
            ["shibuya", "KIOSK", "CLOSED", "LINK_OFFLINE", "POS_APP_NOT_RUNNING (pos)", "2 min", "no answer"];
        assert_eq!(row(&gate), expected);
        let open = Gate { state: GateState::Open.into(), product: Product::Table.into(), ..Gate::default() };
        assert_eq!(row(&open), ["", "TABLE", "OPEN", "", "", "", ""]);
    }

    #[test]
    fn a_pause_ends_in_the_future() {
        assert!(in_future(SignedDuration::from_mins(30)).is_ok());
        assert!(in_future(SignedDuration::from_mins(-30)).is_err());
    }
}
