//! One call on the adapter of a connection: with its context, to the instance that the connection belongs to.

use std::sync::Arc;

use posmesh_kit::{Channel, Failure, cause};
use posmesh_proto::adapter::v1::{PosContext, pos_adapter_service_client::PosAdapterServiceClient};
use tonic::{Response, Status};

use crate::{
    directory::Directory,
    error::Error,
    outcome::{Verdict, in_doubt, no_answer, read_failed, relayed, verdict},
    sealing::Vault,
    snapshot::{Instance, Way},
};

/// Instances that one call tries at most.
const MAX_TRIES: usize = 3;

pub(crate) type Client = PosAdapterServiceClient<Channel>;

/// Whether a call that may have reached an adapter may be made again at another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It only reads.
    Harmless,
    /// As harmless, and its deadline is so short that silence tells nothing of the instance.
    Probe,
    /// It writes: what became of it is for the caller to find out.
    Never,
}

/// A connection, its context, and the instances to call in turn.
pub(crate) struct Route {
    pub(crate) way: Arc<Way>,
    pub(crate) context: PosContext,
    pub(crate) instances: Vec<Arc<Instance>>,
}

/// Calls adapters.
pub(crate) struct Caller {
    pub(crate) directory: Arc<Directory>,
    pub(crate) vault: Arc<Vault>,
}

impl Caller {
    /// What an adapter must know of a connection.
    pub(crate) fn context(&self, way: &Way) -> Result<PosContext, Error> {
        let connection = &way.stored.connection;
        let credentials = match &way.stored.credentials {
            Some(sealed) => self.vault.open(&way.tenant_id, &connection.connection_id, sealed)?,
            None => Default::default(),
        };
        Ok(PosContext {
            tenant_id: way.tenant_id.clone(),
            connection_id: connection.connection_id.clone(),
            store_id: connection.store_id.clone(),
            revision: connection.revision,
            settings_json: connection.settings_json.clone(),
            credentials: credentials.into_iter().collect(),
        })
    }

    /// Calls the connection's instance; another one if the first provably did not get the call, or if the call may be
    /// repeated. An instance that could not be talked to leaves the routing.
    pub(crate) async fn call<Q, A, F>(
        &self,
        route: &Route,
        repeat: Repeat,
        request: Q,
        method: impl Fn(Client, Q) -> F,
    ) -> Result<(A, Arc<Instance>), Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut last = None;
        for instance in route.instances.iter().take(MAX_TRIES) {
            let status = match method(instance.client.clone(), request.clone()).await {
                Ok(answer) => return Ok((answer.into_inner(), Arc::clone(instance))),
                Err(status) => status,
            };
            match verdict(&status) {
                Verdict::Answered => return Err(relayed(&status)),
                Verdict::NotSent => {
                    self.directory.eject(instance, status.message());
                    let message =
                        format!("no adapter of {:?} can be reached: {}", route.way.vendor(), status.message());
                    last = Some(Failure::not_handed_over(cause::ADAPTER_DOWN, message).into());
                }
                Verdict::Broken => {
                    self.directory.eject(instance, status.message());
                    if repeat == Repeat::Never {
                        return Err(in_doubt(&status));
                    }
                    last = Some(read_failed(&status));
                }
                Verdict::NoAnswer => {
                    // It may hang, or just be slow: it is left out only where another one can stand in.
                    if route.instances.len() > 1 && repeat != Repeat::Probe {
                        self.directory.eject(instance, status.message());
                    }
                    return Err(no_answer());
                }
            }
        }
        // `instances` is never empty, so the loop has set it.
        Err(last.unwrap_or_else(|| Status::internal("no instance was called")))
    }
}
