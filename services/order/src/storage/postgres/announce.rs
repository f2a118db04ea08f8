//! Telling the other replicas of changed orders, by NOTIFY. Outside of the transactions that change them: at commit, a
//! notification takes a lock of the whole server.

use std::time::Duration;

use posmesh_kit::backoff::Backoff;
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::mpsc;

use crate::storage::{Heard, StorageError};

const CHANNEL: &str = "posmesh_order_changed";
/// PostgreSQL refuses payloads of 8000 bytes and more.
const MAX_PAYLOAD_BYTES: usize = 7900;
/// Between the ids in a payload.
const SEPARATOR: char = ',';
/// Notifications that may wait for a slow receiver; more wait in the connection.
const QUEUE: usize = 256;

/// The notifications of a server that crashes are lost anyway, so nobody waits until they are on its disk.
const NOTIFY: &str = "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)) \
     SELECT pg_notify($1, payload) FROM relaxed, unnest($2::text[]) AS payload";

/// `own` begins each payload: whoever announces has told its own watchers already.
pub(super) async fn announce(pool: &PgPool, own: &str, order_ids: &[String]) -> Result<(), StorageError> {
    let mut payloads = vec![own.to_owned()];
    for id in order_ids {
        if payloads.last().is_some_and(|payload| payload.len() + id.len() >= MAX_PAYLOAD_BYTES) {
            payloads.push(own.to_owned());
        }
        if let Some(payload) = payloads.last_mut() {
            payload.push(SEPARATOR);
            payload.push_str(id);
        }
    }
    sqlx::query(NOTIFY).bind(CHANNEL).bind(payloads).execute(pool).await?;
    Ok(())
}

/// Hears what others announce, on a connection of its own, so that the pool's remain for the work.
pub(super) async fn listen(pool: &PgPool, own: &str) -> Result<mpsc::Receiver<Heard>, StorageError> {
    let single = PgPoolOptions::new().max_connections(1).connect_lazy_with(pool.connect_options().as_ref().clone());
    let mut listener = PgListener::connect_with(&single).await?;
    listener.listen(CHANNEL).await?;
    let (heard, receiver) = mpsc::channel(QUEUE);
    let own = own.to_owned();
    tokio::spawn(async move {
        tokio::select! {
            () = heard.closed() => {}
            () = hear(listener, &own, &heard) => {}
        }
    });
    Ok(receiver)
}

async fn hear(mut listener: PgListener, own: &str, heard: &mpsc::Sender<Heard>) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let mut broken = false;
    loop {
        let next = match listener.try_recv().await {
            Ok(Some(notification)) => of_others(notification.payload(), own),
            // Connected again already: whatever changes from here on is heard.
            Ok(None) => Some(Heard::Gap),
            Err(error) => {
                tracing::warn!(%error, "the other replicas cannot be heard");
                broken = true;
                tokio::time::sleep(backoff.next_delay()).await;
                continue;
            }
        };
        backoff.reset();
        if std::mem::take(&mut broken) && heard.send(Heard::Gap).await.is_err() {
            return;
        }
        if let Some(next) = next
            && heard.send(next).await.is_err()
        {
            return;
        }
    }
}

fn of_others(payload: &str, own: &str) -> Option<Heard> {
    let (who, order_ids) = payload.split_once(SEPARATOR)?;
    (who != own).then(|| Heard::Changed(order_ids.split(SEPARATOR).map(str::to_owned).collect()))
}
