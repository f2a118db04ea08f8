//! Opens the journal and serves connections.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use crate::api::Menu;
use crate::app::App;
use crate::http::{HangUp, router};
use crate::journal::{Journal, JournalError};
use crate::state::State;
use crate::writer::Writer;

/// Connections served at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// How long requests may take to finish when the POS stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which mostly means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Some hundred MiB of memory if all of them are orders.
const DEFAULT_KEEP_ENTRIES: u64 = 100_000;
const DEFAULT_MAX_JOURNAL_BYTES: u64 = 512 << 20;

/// How to run a POS.
#[derive(Clone)]
pub struct Config {
    /// The key that requests must carry; not empty.
    pub api_key: String,
    /// File of the journal, created if missing; none keeps everything in memory.
    pub journal: Option<PathBuf>,
    /// Menu before any entry of the journal; the built-in one if none.
    pub menu: Option<Menu>,
    /// Shows each slip on standard output as it is printed.
    pub print_tickets: bool,
    /// What nothing has changed within so many entries of the journal is forgotten; at least 1.
    pub keep_entries: u64,
    /// The journal's file begins anew beyond this length. The one before is kept beside it.
    pub max_journal_bytes: u64,
}

impl Config {
    /// In memory, with the built-in menu.
    pub fn new(api_key: impl Into<String>) -> Self {
        Config {
            api_key: api_key.into(),
            journal: None,
            menu: None,
            print_tickets: false,
            keep_entries: DEFAULT_KEEP_ENTRIES,
            max_journal_bytes: DEFAULT_MAX_JOURNAL_BYTES,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("api_key", &"<redacted>")
            .field("journal", &self.journal)
            .field("menu", &self.menu.as_ref().map(|menu| menu.revision))
            .field("print_tickets", &self.print_tickets)
            .field("keep_entries", &self.keep_entries)
            .field("max_journal_bytes", &self.max_journal_bytes)
            .finish()
    }
}

/// Why a POS could not start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting is wrong.
    #[error("{0}")]
    Config(&'static str),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The writer's thread could not start or died.
    #[error("the writer of the journal ended: {0}")]
    Writer(String),
    /// A fault rule made it crash. A program exits with 70 then.
    #[error("crashed, as a fault rule asked")]
    Crashed,
}

/// A POS with its journal read, ready to serve.
pub struct Simpos {
    app: App,
    writer: JoinHandle<Result<(), JournalError>>,
    print_after: Option<u32>,
}

/// Opens the journal and serves until `shutdown` is cancelled, then lets running requests finish for 2 s at most.
///
/// # Errors
/// When the configuration or the journal is unusable, or when a fault rule crashed it; all connections are broken
/// then, and the journal may be opened again at once.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), RunError> {
    Simpos::open(config, shutdown).await?.serve(listener).await
}

impl Simpos {
    /// Reads the journal and starts its writer. The printer and the till begin in good order: what waited is printed.
    ///
    /// # Errors
    /// When the configuration or the journal is unusable.
    pub async fn open(config: Config, shutdown: CancellationToken) -> Result<Self, RunError> {
        if config.api_key.is_empty() {
            return Err(RunError::Config("the API key is empty: give one"));
        }
        if config.keep_entries == 0 {
            return Err(RunError::Config("keep_entries is 0: what was recorded would be forgotten at once"));
        }
        let state = State::new(config.menu.unwrap_or_else(crate::builtin_menu), config.keep_entries);
        let (journal, state) = match &config.journal {
            Some(path) => Journal::open(path, config.max_journal_bytes, state)?,
            None => (Journal::in_memory(), state),
        };
        tracing::info!(entries = state.next_seq() - 1, journal = ?config.journal, "journal read");

        let print_after = config.print_tickets.then(|| state.last_printed());
        let (printed_tx, printed) = watch::channel(state.last_printed());
        let (state, crash) = (Arc::new(RwLock::new(state)), CancellationToken::new());
        let (writer, thread) = Writer::start(journal, state.clone(), printed_tx, crash.clone())
            .map_err(|error| RunError::Writer(error.to_string()))?;
        let app = App::new(config.api_key, state, writer, printed, crash, shutdown);
        if let Err(refusal) = app.apply_conditions(Instant::now()).await {
            return Err(ended(thread).await.err().unwrap_or(RunError::Writer(refusal.message.into())));
        }
        Ok(Simpos { app, writer: thread, print_after })
    }

    /// Serves until the shutdown given to [`Simpos::open`].
    ///
    /// # Errors
    /// When the journal cannot be written or a fault rule crashed the POS.
    pub async fn serve(self, listener: TcpListener) -> Result<(), RunError> {
        let Simpos { app, writer, print_after } = self;
        if let Some(after) = print_after {
            let mut tickets = app.follow_tickets(after);
            tokio::spawn(async move {
                while let Some(ticket) = tickets.recv().await {
                    println!("{}", ticket.text);
                }
            });
        }
        let connections = TaskTracker::new();
        tokio::select! {
            () = app.shutdown.cancelled() => {}
            () = app.crash.cancelled() => {}
            () = accept(&app, listener, &connections) => {}
            () = app.keep_kitchen_going() => {}
        }
        connections.close();
        connections.wait().await;
        let crashed = app.crash.is_cancelled();
        app.writer.stop().await;
        ended(writer).await?;
        if crashed { Err(RunError::Crashed) } else { Ok(()) }
    }
}

/// Waits for the writer's thread, so that the journal is free when the POS has ended.
async fn ended(writer: JoinHandle<Result<(), JournalError>>) -> Result<(), RunError> {
    let died = || RunError::Writer("its thread panicked".to_owned());
    let joined = tokio::task::spawn_blocking(|| writer.join()).await;
    Ok(joined.map_err(|_| died())?.map_err(|_| died())??)
}

async fn accept(app: &App, listener: TcpListener, connections: &TaskTracker) {
    let router = router(app.clone());
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed, so that this loop ends only by being dropped.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(app.clone(), router.clone(), stream, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection. Fault rules break it by its [`HangUp`]: the socket closes and the client gets no answer.
async fn serve_connection(app: App, router: Router, stream: TcpStream, _slot: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let hang_up = app.crash.child_token();
    let service = Extension(HangUp(hang_up.clone())).layer(router);
    let builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    let mut connection =
        std::pin::pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let served = tokio::select! {
        () = hang_up.cancelled() => return,
        served = connection.as_mut() => served,
        () = app.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                () = hang_up.cancelled() => return,
                () = tokio::time::sleep(DRAIN) => return,
                served = connection => served,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}
