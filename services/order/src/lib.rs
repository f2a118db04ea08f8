//! The order service: takes orders durably, brings each to its POS at most once, and tells the truth about it.
//!
//! The way of an order: [`place`] checks it and writes it, already leased and with its first attempt begun; [`dispatch`]
//! carries the attempt out and records what its answer proves; the sweep of any replica takes up what fell due. Rules
//! are pure and stand in [`domain`]; every write goes through [`ledger`] to the [`storage`].

mod checks;
mod clock;
mod config;
mod dispatch;
mod domain;
mod errands;
mod error;
mod gate;
mod ledger;
mod list;
mod peers;
mod pickup;
mod place;
mod progress;
mod reconcile;
mod resolve;
mod service;
pub mod storage;
mod takeback;
mod watch;

use std::{collections::BTreeSet, sync::Arc};

use posmesh_kit::{
    server::{MAX_MESSAGE_BYTES, Mounted},
    store_cache::StoreCache,
};
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::order::v1::{
    OrderState,
    order_service_server::{OrderServiceServer, SERVICE_NAME},
};
use tokio::sync::Semaphore;
use tonic::service::Routes;

pub use config::Config;
pub use error::Error;
pub use peers::Peers;
pub use storage::MIGRATIONS;

use crate::{
    checks::Checks,
    clock::Clock,
    dispatch::Dispatcher,
    errands::{Errands, Waker},
    gate::{Board, Gates},
    ledger::Ledger,
    peers::Reader,
    place::Orders,
    reconcile::Reconciler,
    service::Service,
    storage::Storage,
    watch::Attention,
};

/// Every way from one state of an order to another, by the table of its life: for tests that shall go each of them.
pub fn state_edges() -> BTreeSet<(OrderState, OrderState)> {
    domain::lifecycle::edges()
}

/// Opens the database, takes up what fell due, and is ready to be served.
pub async fn mount(config: &Config, database: &DatabaseConfig, peers: Peers) -> Result<Mounted, Error> {
    Ok(mount_on(config, storage::open(database).await?, peers))
}

/// [`mount`] on a storage that is open already.
pub fn mount_on(config: &Config, storage: Arc<dyn Storage>, peers: Peers) -> Mounted {
    let mut mounted = Mounted::new("order", Routes::default(), vec![SERVICE_NAME]);
    let (tasks, stop) = (mounted.background.clone(), mounted.stop.clone());
    // Unique per process and start: a restarted replica does not take itself for its predecessor.
    let replica: Arc<str> = posmesh_kit::ambient::new_id().to_string().into();
    let stores = StoreCache::start(peers.store.clone(), &tasks, &stop);
    let reader = Reader::new(peers, stores, config.cache_age);
    let board = Board::new(config.attempt_timeout + config.lease_margin);
    let ledger = Ledger::start(Arc::clone(&storage), board.clone(), config.watcher_max_lag, &tasks, &stop);
    // Whatever attempt had begun when a clock jumped is over when it is trusted again.
    let clock = Clock::new(config.lease_margin, config.attempt_timeout + config.lease_margin);
    let gates = Gates::start(board, Arc::clone(&storage), reader.clone(), clock.clone(), config, (&tasks, &stop));
    let checks = Checks::new(ledger.clone(), reader.clone(), config.check_interval, clock, tasks.clone());
    tasks.spawn(checks.clone().sweep(config.sweep_interval, stop.clone()));
    let margin = config.attempt_timeout + config.lease_margin;
    let waker = Waker::start(Arc::clone(&storage), reader.clone(), margin, &tasks, &stop);
    let dispatcher = Dispatcher::new(
        ledger.clone(),
        checks.clone(),
        gates.clone(),
        Arc::new(config.clone()),
        Arc::clone(&replica),
        waker.clone(),
        tasks.clone(),
    );
    tasks.spawn(dispatcher.clone().sweep(stop.clone()));
    let reconciler = Reconciler::new(ledger.clone(), reader.clone(), dispatcher.clone(), config);
    let errands = Errands {
        storage: Arc::clone(&storage),
        reader: reader.clone(),
        dispatcher: dispatcher.clone(),
        reconciler: reconciler.clone(),
        waker,
        replica,
        interval: config.sweep_interval,
        at_once: config.errands_at_once,
    };
    errands.start(&tasks, &stop);
    let service = Service {
        orders: Orders { ledger, reader, gates, dispatcher },
        attention: Attention::start(storage, config.watcher_max_lag, &tasks, &stop),
        reconciler,
        checks,
        watchers: Arc::new(Semaphore::new(config.max_watchers)),
        stop,
    };
    mounted.routes = Routes::new(OrderServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES));
    mounted
}
