//! The HTTP server: bounded connections, bounded header time, bounded shutdown.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// A client that has not sent its whole request head by then is cut; also how long an idle connection stays.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Far above what any client of ours sends.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// After `accept` failed, say for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown`, then lets the running requests end for at most `grace`, and cuts the rest.
pub(crate) async fn serve(
    router: Router,
    listener: TcpListener,
    max_connections: usize,
    grace: Duration,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    // Dropped at the end of this function, it cuts the connections that are left.
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places);
        let next = async {
            // The semaphore is never closed.
            let place = place.acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            next = next => next,
        };
        // Only collects what has ended, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let connection = graceful.watch(connection(stream, router.clone()));
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end within the shutdown grace and were cut");
    }
}

type Connection = auto::Connection<'static, TokioIo<TcpStream>, TowerToHyperService<Router>, TokioExecutor>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    // Without it, small answers and events wait for the client's acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned()
}
