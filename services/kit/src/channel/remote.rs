//! The endpoints behind one or more names: resolve, diff, spread, set aside.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use tokio::{sync::RwLock, time::Instant};
use tonic::{Status, body::Body};

use super::endpoint::{CallError, Endpoint};
use crate::{Failure, ambient, cause, config::ConfigError};

/// How old an answer of the name service may be.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) struct Remote {
    name: String,
    origins: Vec<Uri>,
    resolved: RwLock<Resolved>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Resolved {
    endpoints: Vec<Arc<Endpoint>>,
    at: Option<Instant>,
}

impl Remote {
    pub(super) fn new(name: &str, endpoints: &str) -> Result<Self, ConfigError> {
        let mut origins = Vec::new();
        for text in endpoints.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let uri: Uri = text
                .parse()
                .map_err(|e| ConfigError::invalid(name, format!("{text:?} is no http://host:port: {e}")))?;
            if uri.scheme_str() != Some("http") || uri.host().is_none() || uri.port().is_none() {
                return Err(ConfigError::invalid(name, format!("{text:?} is no http://host:port")));
            }
            origins.push(uri);
        }
        if origins.is_empty() {
            return Err(ConfigError::invalid(name, "no endpoint given"));
        }
        Ok(Self { name: name.to_owned(), origins, resolved: RwLock::default(), next: AtomicUsize::new(0) })
    }

    /// Makes the call; `sent` tells, also when this future is dropped, whether the request may have left.
    pub(super) async fn call(&self, request: Request<Body>, sent: &AtomicBool) -> Result<Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut last = "its name resolves to no address".to_owned();
        for endpoint in self.candidates().await {
            match endpoint.call(&head, &body, sent).await {
                Ok(response) => return Ok(response),
                Err(CallError::Failed(status)) => return Err(status),
                Err(CallError::NotSent(why)) => last = why,
            }
        }
        let message = format!("{} cannot be reached: {last}", self.name);
        Err(Failure::not_handed_over(cause::NETWORK_DOWN, message).into())
    }

    /// Every endpoint once, the next in turn first, those set aside last.
    async fn candidates(&self) -> Vec<Arc<Endpoint>> {
        let mut endpoints = self.endpoints().await;
        if endpoints.len() > 1 {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % endpoints.len();
            endpoints.rotate_left(turn);
            endpoints.sort_by_cached_key(|endpoint| endpoint.is_set_aside());
        }
        endpoints
    }

    async fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        {
            let resolved = self.resolved.read().await;
            if resolved.at.is_some_and(|at| at.elapsed() < RESOLVE_INTERVAL) {
                return resolved.endpoints.clone();
            }
        }
        let mut resolved = self.resolved.write().await;
        if resolved.at.is_none_or(|at| at.elapsed() >= RESOLVE_INTERVAL) {
            let found = self.resolve().await;
            // An empty answer is more likely a fault of the name service than the end of every replica.
            if !found.is_empty() {
                resolved.endpoints = merge(&resolved.endpoints, found);
            }
            resolved.at = Some(Instant::now());
        }
        resolved.endpoints.clone()
    }

    async fn resolve(&self) -> Vec<(SocketAddr, Uri)> {
        let mut found: Vec<(SocketAddr, Uri)> = Vec::new();
        for origin in &self.origins {
            // The constructor refused origins without host or port.
            let (Some(host), Some(port)) = (origin.host(), origin.port_u16()) else { continue };
            match ambient::resolve(host.trim_matches(['[', ']']), port).await {
                Ok(addresses) => found.extend(addresses.into_iter().map(|a| (a, origin.clone()))),
                Err(error) => tracing::warn!(%error, peer.name = %self.name, "cannot resolve {host}"),
            }
        }
        found.sort_by_key(|(address, _)| *address);
        found.dedup_by_key(|(address, _)| *address);
        found
    }
}

/// Keeps the connections of addresses that are still there, adds new ones, drops the others.
fn merge(old: &[Arc<Endpoint>], found: Vec<(SocketAddr, Uri)>) -> Vec<Arc<Endpoint>> {
    found
        .into_iter()
        .map(|(address, origin)| match old.iter().find(|e| e.address() == address) {
            Some(endpoint) => Arc::clone(endpoint),
            None => Arc::new(Endpoint::new(address, origin)),
        })
        .collect()
}
