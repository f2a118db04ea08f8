//! `posmesh attention`: the orders that need a person, and what that person does now.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use clap::Args;
use posmesh_kit::{Channel, backoff::Backoff, time};
use posmesh_proto::order::v1::{
    Order, PosEntry, WatchAttentionRequest, WatchAttentionResponse, order_service_client::OrderServiceClient,
};
use tonic::{Code, Status, Streaming};

use super::{ago, orders, table::table, why};
use crate::config::Config;

const HEAD: [&str; 6] = ["STORE", "NO.", "SINCE", "WHAT", "DO NOW", "ORDER"];
/// For the snapshot.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What `posmesh attention` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this store.
    #[arg(long, value_name = "ID", default_value = "")]
    store: String,
    /// Goes on, and prints what changes until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// Prints the orders that need a person, and with `--watch` each change.
pub(crate) async fn run(config: &Config, options: &Options) -> anyhow::Result<()> {
    let client = orders(config)?;
    let (told, stream) = snapshot(&client, options).await?;
    print(&told);
    if options.watch {
        follow(&client, options, told, stream).await;
    }
    Ok(())
}

/// Prints each change until the process ends, however often the stream breaks.
async fn follow(
    client: &OrderServiceClient<Channel>,
    options: &Options,
    mut told: Orders,
    mut stream: Streaming<WatchAttentionResponse>,
) -> ! {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        let now = match stream.message().await {
            Ok(Some(change)) => {
                let mut now = told.clone();
                take(&mut now, change);
                now
            }
            ended => {
                eprintln!("the stream ended ({}); watching again", why(ended.err()));
                tokio::time::sleep(backoff.next_delay()).await;
                match snapshot(client, options).await {
                    Ok((now, again)) => {
                        stream = again;
                        backoff.reset();
                        now
                    }
                    Err(error) => {
                        eprintln!("{error:#}");
                        continue;
                    }
                }
            }
        };
        changes(&told, &now);
        told = now;
    }
}

type Orders = BTreeMap<String, Order>;

async fn snapshot(
    client: &OrderServiceClient<Channel>,
    options: &Options,
) -> anyhow::Result<(Orders, Streaming<WatchAttentionResponse>)> {
    let ask = async {
        let request = WatchAttentionRequest { store_id: options.store.clone() };
        let mut stream = client.clone().watch_attention(request).await?.into_inner();
        let mut orders = Orders::new();
        while let Some(page) = stream.message().await? {
            let current = page.current;
            take(&mut orders, page);
            if current {
                return Ok((orders, stream));
            }
        }
        Err(Status::new(Code::Unavailable, "the answer broke off"))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, ask)
        .await
        .context("the order service does not answer")?
        .map_err(|status| anyhow::anyhow!("the order service: {}", why(Some(status))))
}

fn take(orders: &mut Orders, page: WatchAttentionResponse) {
    page.settled_order_ids.iter().for_each(|order_id| drop(orders.remove(order_id)));
    orders.extend(page.orders.into_iter().map(|order| (order.order_id.clone(), order)));
}

fn print(orders: &Orders) {
    if orders.is_empty() {
        return println!("No order needs a person.");
    }
    let mut longest_first: Vec<&Order> = orders.values().collect();
    longest_first.sort_by_key(|order| order.attention_time.as_ref().map(time::to_unix_ms));
    let rows: Vec<_> = longest_first.into_iter().flat_map(rows).collect();
    print!("{}", table(HEAD, &rows));
}

/// What is new or changed, and what needs nobody any more.
fn changes(before: &Orders, now: &Orders) {
    let news: Vec<_> =
        now.iter().filter(|(id, order)| before.get(*id).is_none_or(|b| b.attention != order.attention)).collect();
    let news: Vec<_> = news.into_iter().flat_map(|(_, order)| rows(order)).collect();
    if !news.is_empty() {
        print!("{}", table(HEAD, &news));
    }
    for (order_id, order) in before.iter().filter(|(order_id, _)| !now.contains_key(*order_id)) {
        println!("settled: {} {} {order_id}", order.store_id, order.display_number);
    }
}

/// One for each thing that a person has to look at.
fn rows(order: &Order) -> Vec<[String; 6]> {
    let since = order.attention_time.as_ref().map(time::to_unix_ms).unwrap_or_default();
    let row = |flag: &String| {
        [
            order.store_id.clone(),
            order.display_number.clone(),
            ago(time::now_unix_ms().saturating_sub(since)),
            flag.clone(),
            advice(order, flag),
            order.order_id.clone(),
        ]
    };
    order.attention.iter().map(row).collect()
}

/// What the staff do about it.
fn advice(order: &Order, flag: &str) -> String {
    let words = match flag {
        "IN_DOUBT" if order.pos_entry() == PosEntry::NotDue => {
            "look whether the kitchen has its ticket, then tell whether it is there; do not print it twice"
        }
        "IN_DOUBT" => "look for it at the POS, then tell whether it is there; do not enter it twice",
        "DUPLICATE_AT_POS" => "take all but one of it out of the POS, and stop the kitchen from making it twice",
        "TOTAL_DIFFERS" => "compare the bill at the POS with what the guest agreed to; do not charge the guest more",
        "LINES_DIFFER" => "ask who changed it at the POS, and tell the guest what will not come",
        "CONTRADICTED_END" => "the guest was told that it is not there, but it is: take it out, or tell the guest",
        "PARTLY_AT_POS" => "enter what is missing at the POS, or take the rest out and tell the guest",
        "GONE_FROM_POS" => "it was taken out of the POS: ask whether it was made by hand, and tell the guest",
        "EVIDENCE_MISSING" => "look whether the kitchen has its ticket; hand it over if not",
        "CHANGE_IN_DOUBT" => "look at the POS whether it, or its lines, were taken back",
        "CHANGE_REFUSED" => "the POS did not take it back: take it out by hand, or tell the guest that it comes",
        "POS_ENTRY_DUE" => "the kitchen has it: enter it at the POS without a ticket, then tell that you did",
        "POS_ENTRY_REFUSED" => {
            let why = if order.cause_message.is_empty() { &order.cause } else { &order.cause_message };
            return format!(
                "the kitchen has it, and the POS does not take it ({why}): enter it by hand, then tell that you did"
            );
        }
        "POS_ENTRY_IN_DOUBT" => {
            "the kitchen has it: look for it at the POS before you enter it, then tell whether it is there"
        }
        _ => "look at it, at the POS and in the kitchen",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_a_row_for_each_thing_to_look_at_and_each_says_what_to_do() {
        let attention = vec!["IN_DOUBT".to_owned(), "TOTAL_DIFFERS".to_owned()];
        let order = Order { display_number: "K7".into(), attention, ..Order::default() };
        let rows = rows(&order);
        assert_eq!(rows.iter().map(|row| row[3].as_str()).collect::<Vec<_>>(), ["IN_DOUBT", "TOTAL_DIFFERS"]);
        assert!(rows.iter().all(|row| !row[4].is_empty() && row[1] == "K7"));
    }

    #[test]
    fn what_the_pos_refused_is_told_with_its_reason() {
        let order = |flag: &str, cause: &str| Order {
            attention: vec![flag.to_owned()],
            cause: cause.to_owned(),
            pos_entry: PosEntry::NotDue.into(),
            ..Order::default()
        };
        assert!(rows(&order("POS_ENTRY_REFUSED", "ITEM_SOLD_OUT"))[0][4].contains("ITEM_SOLD_OUT"));
        assert!(rows(&order("IN_DOUBT", ""))[0][4].contains("ticket"), "it went to the fallback, not to the POS");
    }
}
