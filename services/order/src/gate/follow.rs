//! Follows the router's links: one stream per replica.

use std::time::Duration;

use posmesh_kit::{Channel, backoff::Backoff};
use posmesh_proto::router::v1::{WatchLinksRequest, router_service_client::RouterServiceClient};
use tonic::Code;

use super::Board;

const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Never returns.
pub(super) async fn follow(mut router: RouterServiceClient<Channel>, board: Board) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut resume_token = String::new();
    loop {
        board.begin(resume_token.is_empty());
        match router.watch_links(WatchLinksRequest { resume_token: resume_token.clone() }).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                let ended = loop {
                    match stream.message().await {
                        Ok(Some(told)) => {
                            backoff.reset();
                            // Until the snapshot is complete there is nothing to resume.
                            if told.current {
                                resume_token.clone_from(&told.resume_token);
                            }
                            board.hear(told);
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                };
                if ended.as_ref().is_some_and(|status| status.code() == Code::InvalidArgument) {
                    resume_token.clear();
                }
                tracing::debug!(status = ?ended, "the stream of links ended");
            }
            Err(status) => {
                if status.code() == Code::InvalidArgument {
                    resume_token.clear();
                }
                tracing::debug!(%status, "the router's links cannot be followed");
            }
        }
        board.lose();
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
