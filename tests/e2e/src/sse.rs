//! Server-sent events.

use anyhow::{Context, Result, bail};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// An open stream of events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    read: String,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// For `Last-Event-ID`.
    pub id: String,
    /// Its data as JSON.
    pub data: Value,
}

impl Events {
    /// Opens the stream; `None` when the server says that nothing more will come (204).
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(request: RequestBuilder, last_event_id: Option<&str>) -> Result<Option<Self>> {
        let request = request.header("accept", "text/event-stream");
        let request = match last_event_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = request.send().await?;
        match response.status().as_u16() {
            200 => Ok(Some(Self { response, read: String::new() })),
            204 => Ok(None),
            status => bail!("the stream was refused: {status} {}", response.text().await.unwrap_or_default()),
        }
    }

    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let event = parse(block)?;
                self.read = rest.to_owned();
                match event {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            match self.response.chunk().await? {
                Some(chunk) => self.read.push_str(std::str::from_utf8(&chunk)?),
                None => return Ok(None),
            }
        }
    }
}

/// A block of lines; comments, which keep the connection alive, are no event.
fn parse(block: &str) -> Result<Option<Event>> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim_start().to_owned()))
    };
    let Some(data) = field("data") else { return Ok(None) };
    let data = serde_json::from_str(&data).with_context(|| format!("an event without JSON: {block}"))?;
    Ok(Some(Event { id: field("id").unwrap_or_default(), data }))
}
