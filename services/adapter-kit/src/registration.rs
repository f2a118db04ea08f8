//! Being known at the router: registers, renews the lease, comes back after the router was away, and says goodbye.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{
    Channel, ambient,
    backoff::{self, Backoff},
    server::Mounted,
    time,
};
use posmesh_proto::router::v1::{
    DeregisterAdapterRequest, RegisterAdapterRequest, router_service_client::RouterServiceClient,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{Adapter, limiter::Instances, service};

const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Bounds of what is believed as a lease, whatever the router says.
const LEASE_BOUNDS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(300));
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(3);

/// What an instance tells the router about itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// A way to the router.
    pub router: Channel,
    /// Where the router reaches this instance, e.g. `http://10.0.0.7:50061`.
    pub endpoint: String,
    /// The connections that this instance serves; empty: all of its vendor.
    pub connection_ids: Vec<String>,
}

/// Mounts an adapter and keeps it registered at the router until the mounted adapter stops; then deregisters. What the
/// vendor's budget allows it shares with the other live instances. Returns the new instance's id too. A router that
/// cannot be reached, now or later, is tried again and again.
pub fn mount_registered(adapter: Arc<dyn Adapter>, registration: Registration) -> (Mounted, String) {
    let instances = Arc::new(Instances::default());
    let descriptor = adapter.descriptor();
    let mounted = service::mount_sharing(adapter, Arc::clone(&instances));
    let instance_id = ambient::new_id().to_string();
    let lease = Lease {
        client: RouterServiceClient::new(registration.router),
        request: RegisterAdapterRequest {
            instance_id: instance_id.clone(),
            endpoint: registration.endpoint,
            descriptor: Some(descriptor),
            connection_ids: registration.connection_ids,
        },
        instances,
    };
    mounted.background.spawn(lease.keep(mounted.stop.clone()));
    (mounted, instance_id)
}

struct Lease {
    client: RouterServiceClient<Channel>,
    request: RegisterAdapterRequest,
    instances: Arc<Instances>,
}

impl Lease {
    async fn keep(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
        let mut last_error: Option<String> = None;
        let mut registered = false;
        loop {
            // Not raced against `stop`: a registration still under way must not arrive after the deregistration.
            let wait = match self.renew().await {
                Ok(lease) => {
                    if !registered || last_error.is_some() {
                        self.log_registered(lease);
                    }
                    (registered, last_error) = (true, None);
                    backoff.reset();
                    // Between a sixth and a third of the lease: two more tries fit in before it ends.
                    backoff::delay_after(lease / 3, lease / 3, 0)
                }
                Err(status) => {
                    let error = status.message().to_owned();
                    if last_error.as_ref() != Some(&error) {
                        tracing::warn!(adapter.instance = %self.request.instance_id, %error, "cannot register at the router");
                    }
                    last_error = Some(error);
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        if registered {
            self.deregister().await;
        }
    }

    async fn renew(&mut self) -> Result<Duration, Status> {
        let mut request = tonic::Request::new(self.request.clone());
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.client.register_adapter(request).await?.into_inner();
        self.instances.set(answer.instances);
        let lease = answer.lease.as_ref().and_then(time::from_proto_duration).unwrap_or_default();
        Ok(lease.clamp(LEASE_BOUNDS.0, LEASE_BOUNDS.1))
    }

    async fn deregister(&mut self) {
        let instance_id = self.request.instance_id.clone();
        let mut request = tonic::Request::new(DeregisterAdapterRequest { instance_id });
        request.set_timeout(CALL_TIMEOUT);
        if let Err(status) = self.client.deregister_adapter(request).await {
            tracing::warn!(
                error = status.message(),
                "cannot deregister; the router forgets this instance when its lease ends"
            );
        }
    }

    fn log_registered(&self, lease: Duration) {
        tracing::info!(
            adapter.instance = %self.request.instance_id,
            adapter.vendor = self.request.descriptor.as_ref().map(|d| d.vendor.as_str()).unwrap_or_default(),
            "registered at the router as {}, lease {lease:?}",
            self.request.endpoint,
        );
    }
}
