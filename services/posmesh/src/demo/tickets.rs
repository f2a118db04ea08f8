//! The kitchen's printer, watched: each slip with the moment at which it came out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use posmesh_simpos::api::{Ticket, TicketKind};
use tokio::sync::mpsc;

/// How long the kitchen may wait for a slip before the demo has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Slips that wait to be shown.
const QUEUE: usize = 64;

/// A slip and when it was seen.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) ticket: Ticket,
    pub(super) at: Instant,
}

/// The slips of one POS, in the order in which they print.
#[derive(Debug)]
pub(super) struct Printer {
    printed: mpsc::Receiver<Printed>,
}

impl Printer {
    /// Listens to the POS's stream of slips, from now on.
    pub(super) async fn watch(client: &reqwest::Client, pos_url: &str, api_key: &str) -> anyhow::Result<Self> {
        let response = client
            .get(format!("{pos_url}/api/tickets/stream"))
            .bearer_auth(api_key)
            // A stream has no end that a deadline could wait for; `next` has one for each slip.
            .timeout(Duration::MAX)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .context("the POS's printer cannot be watched")?;
        let (sender, printed) = mpsc::channel(QUEUE);
        tokio::spawn(read_events(response, sender));
        Ok(Self { printed })
    }

    /// The next slip that the kitchen cooks from.
    pub(super) async fn next(&mut self) -> anyhow::Result<Printed> {
        loop {
            match tokio::time::timeout(PATIENCE, self.printed.recv()).await {
                Ok(Some(printed)) if printed.ticket.kind == TicketKind::Kitchen => return Ok(printed),
                Ok(Some(_)) => {}
                Ok(None) => bail!("the POS's printer ended"),
                Err(_) => bail!("no kitchen ticket was printed within {PATIENCE:?}"),
            }
        }
    }
}

/// Reads server-sent events until the POS or the receiver ends.
async fn read_events(mut response: reqwest::Response, sender: mpsc::Sender<Printed>) {
    let mut buffer = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let at = Instant::now();
        buffer.extend_from_slice(&chunk);
        for data in take_events(&mut buffer) {
            match serde_json::from_slice(&data) {
                Ok(ticket) => {
                    if sender.send(Printed { ticket, at }).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "the POS streamed something that is no ticket"),
            }
        }
    }
}

/// Takes the whole lines out of `buffer` and returns the data of each event; the POS writes an event's data on one line.
fn take_events(buffer: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let Some(last_newline) = buffer.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let rest = buffer.split_off(last_newline + 1);
    let lines = std::mem::replace(buffer, rest);
    let data = lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    data.map(|data| data.trim_ascii().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_arrive_in_pieces_are_put_together_and_comments_left_out() {
        let mut buffer = b": keep-alive\n\nevent: ticket\nid: 1\ndata: {\"a\":".to_vec();
        assert!(take_events(&mut buffer).is_empty());
        buffer.extend_from_slice(b"1}\n\ndata: {}\n\nda");
        assert_eq!(take_events(&mut buffer), [b"{\"a\":1}".to_vec(), b"{}".to_vec()]);
        assert_eq!(buffer, b"da");
    }
}
