//! `posmesh links`: the way to each store's POS: whether it works, and if not, which hop fails and why.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use clap::Args;
use posmesh_kit::{Channel, backoff::Backoff, time};
use posmesh_proto::router::v1::{
    Link, LinkEvent, ListLinkEventsRequest, WatchLinksRequest, WatchLinksResponse,
    router_service_client::RouterServiceClient,
};
use tonic::{Code, Request, Status, Streaming};

use super::{MAX_ANSWER_BYTES, ago, channel, table::table, why};
use crate::config::Config;

const HEAD: [&str; 7] = ["STORE", "CONNECTION", "STATE", "SINCE", "HOP", "CAUSE", "MESSAGE"];
const EVENTS_HEAD: [&str; 6] = ["TIME", "STATE", "HOP", "CAUSE", "KNOWN BY", "MESSAGE"];
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_EVENTS: i32 = 100;

/// What `posmesh links` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The latest changes of this connection's link, the newest last.
    #[arg(value_name = "CONNECTION", conflicts_with_all = ["store", "watch"])]
    connection: Option<String>,
    /// Only this store.
    #[arg(long, value_name = "ID", default_value = "")]
    store: String,
    /// Goes on, and prints what changes until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

type Client = RouterServiceClient<Channel>;
/// By connection.
type Links = BTreeMap<String, Link>;

/// Prints the links, and with `--watch` each change; or one link's history.
pub(crate) async fn run(config: &Config, options: &Options) -> anyhow::Result<()> {
    let router = channel("peers.router", &config.peers.router, config)?;
    let client = RouterServiceClient::new(router).max_decoding_message_size(MAX_ANSWER_BYTES);
    if let Some(connection_id) = &options.connection {
        return history(&client, connection_id).await;
    }
    let (links, stream) = snapshot(&client, options).await?;
    print(&links);
    if options.watch {
        follow(&client, options, links, stream).await;
    }
    Ok(())
}

async fn history(client: &Client, connection_id: &str) -> anyhow::Result<()> {
    let mut request = Request::new(ListLinkEventsRequest {
        connection_id: connection_id.to_owned(),
        page_size: MAX_EVENTS,
        page_token: String::new(),
    });
    request.set_timeout(ANSWER_TIMEOUT);
    let answer = client.clone().list_link_events(request).await;
    let mut events = answer.map_err(|status| anyhow::anyhow!("the router: {}", why(Some(status))))?.into_inner().events;
    if events.is_empty() {
        println!("Nothing has been seen of {connection_id} yet.");
        return Ok(());
    }
    events.reverse();
    print!("{}", table(EVENTS_HEAD, &events.iter().map(event_row).collect::<Vec<_>>()));
    Ok(())
}

/// Prints each change until the process ends, however often the stream breaks.
async fn follow(client: &Client, options: &Options, mut told: Links, mut stream: Streaming<WatchLinksResponse>) -> ! {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        let now = match stream.message().await {
            Ok(Some(change)) => {
                let mut now = told.clone();
                take(&mut now, change, &options.store);
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

async fn snapshot(client: &Client, options: &Options) -> anyhow::Result<(Links, Streaming<WatchLinksResponse>)> {
    let ask = async {
        let mut stream = client.clone().watch_links(WatchLinksRequest::default()).await?.into_inner();
        let mut links = Links::new();
        while let Some(page) = stream.message().await? {
            let current = page.current;
            take(&mut links, page, &options.store);
            if current {
                return Ok((links, stream));
            }
        }
        Err(Status::new(Code::Unavailable, "the answer broke off"))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, ask)
        .await
        .context("the router does not answer")?
        .map_err(|status| anyhow::anyhow!("the router: {}", why(Some(status))))
}

/// Takes in those of the store; an empty one stands for all.
fn take(links: &mut Links, page: WatchLinksResponse, store_id: &str) {
    page.deleted_connection_ids.iter().for_each(|id| drop(links.remove(id)));
    let wanted = page.links.into_iter().filter(|link| store_id.is_empty() || link.store_id == store_id);
    links.extend(wanted.map(|link| (link.connection_id.clone(), link)));
}

fn print(links: &Links) {
    if links.is_empty() {
        return println!("There is no connection to a POS.");
    }
    let mut by_store: Vec<&Link> = links.values().collect();
    by_store.sort_by(|a, b| (&a.store_id, &a.connection_id).cmp(&(&b.store_id, &b.connection_id)));
    print!("{}", table(HEAD, &by_store.into_iter().map(row).collect::<Vec<_>>()));
}

/// What changed its state or cause, and what is no more.
fn changes(before: &Links, now: &Links) {
    let is_news = |(id, link): &(&String, &Link)| before.get(*id).is_none_or(|b| b.version != link.version);
    let news: Vec<_> = now.iter().filter(is_news).map(|(_, link)| row(link)).collect();
    if !news.is_empty() {
        print!("{}", table(HEAD, &news));
    }
    for (id, link) in before.iter().filter(|(id, _)| !now.contains_key(*id)) {
        println!("deleted: {} {id}", link.store_id);
    }
}

fn row(link: &Link) -> [String; 7] {
    let since = link.since.as_ref().map(time::to_unix_ms);
    [
        link.store_id.clone(),
        link.connection_id.clone(),
        state(link.state().as_str_name()),
        since.map(|since| ago(time::now_unix_ms().saturating_sub(since))).unwrap_or_default(),
        dash(&link.failing_hop),
        dash(&link.cause),
        link.message.clone(),
    ]
}

fn event_row(event: &LinkEvent) -> [String; 6] {
    let at = event.time.as_ref().map(time::to_unix_ms).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    [
        at.map(|at| at.to_string()).unwrap_or_default(),
        state(event.state().as_str_name()),
        dash(&event.failing_hop),
        dash(&event.cause),
        event.evidence().as_str_name().trim_start_matches("LINK_EVIDENCE_KIND_").to_lowercase(),
        event.message.clone(),
    ]
}

fn state(name: &str) -> String {
    name.trim_start_matches("LINK_STATE_").to_owned()
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use posmesh_proto::router::v1::LinkState;

    use super::*;

    fn link(connection_id: &str, store_id: &str) -> Link {
        Link {
            connection_id: connection_id.into(),
            store_id: store_id.into(),
            state: LinkState::Offline.into(),
            failing_hop: "adapter".into(),
            cause: "ADAPTER_DOWN".into(),
            ..Link::default()
        }
    }

    #[test]
    fn a_row_names_state_hop_and_cause() {
        let row = row(&link("c", "ueno"));
        assert_eq!(&row[..5], ["ueno", "c", "OFFLINE", "", "adapter"]);
        assert_eq!(event_row(&LinkEvent::default())[2..4], ["-", "-"]);
    }

    #[test]
    fn only_the_links_of_the_store_are_taken_and_deleted_ones_go() {
        let mut links = Links::new();
        let page = WatchLinksResponse { links: vec![link("a", "ueno"), link("b", "shibuya")], ..Default::default() };
        take(&mut links, page, "ueno");
        assert_eq!(links.keys().collect::<Vec<_>>(), ["a"]);
        take(&mut links, WatchLinksResponse { deleted_connection_ids: vec!["a".into()], ..Default::default() }, "ueno");
        assert!(links.is_empty());
    }
}
