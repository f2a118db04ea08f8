//! Everything that routing a call needs, in memory: connections, live instances, and what their vendors can do.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use posmesh_kit::{Channel, server::MAX_MESSAGE_BYTES};
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, PosTarget, pos_adapter_service_client::PosAdapterServiceClient},
    router::v1::{ConnectionRole, RegisterAdapterRequest},
};

use crate::{
    domain,
    storage::{ChangedConnection, LiveInstance, StoredConnection},
};

/// The state of a moment. Never changed, only replaced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) instances: HashMap<String, Arc<Instance>>,
    pub(crate) descriptors: HashMap<String, AdapterDescriptor>,
    pub(crate) connections: Arc<Connections>,
}

/// A live instance and the way to it.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) registration: RegisterAdapterRequest,
    pub(crate) renewals: i64,
    pub(crate) client: PosAdapterServiceClient<Channel>,
}

impl Instance {
    pub(crate) fn id(&self) -> &str {
        &self.registration.instance_id
    }

    pub(crate) fn serves(&self, way: &Way) -> bool {
        let descriptor = self.registration.descriptor.as_ref();
        let ids = &self.registration.connection_ids;
        descriptor.is_some_and(|d| d.vendor == way.vendor()) && (ids.is_empty() || ids.contains(way.id()))
    }
}

/// A connection and its tenant.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) tenant_id: String,
    /// The number of its last write; 0 for what it was before it led elsewhere.
    pub(crate) change: i64,
    pub(crate) stored: StoredConnection,
}

impl Way {
    pub(crate) fn id(&self) -> &String {
        &self.stored.connection.connection_id
    }

    pub(crate) fn vendor(&self) -> &str {
        &self.stored.connection.vendor
    }
}

/// The connections of all tenants, as of one change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    pub(crate) last_change: i64,
    tenants: BTreeMap<String, Tenant>,
}

#[derive(Debug, Clone, Default)]
struct Tenant {
    by_id: BTreeMap<String, Arc<Way>>,
    /// Connections that are no more, with the change that ended them.
    deleted: BTreeMap<String, i64>,
    by_store: HashMap<String, Vec<Arc<Way>>>,
}

impl Connections {
    pub(crate) fn apply(&mut self, changed: ChangedConnection) {
        self.last_change = changed.change;
        let tenant = self.tenants.entry(changed.tenant_id.clone()).or_default();
        if let Some(old) = tenant.by_id.remove(&changed.connection_id)
            && let Some(of_store) = tenant.by_store.get_mut(&old.stored.connection.store_id)
        {
            of_store.retain(|way| way.id() != old.id());
        }
        tenant.deleted.remove(&changed.connection_id);
        if let Some(stored) = changed.stored {
            let way = Arc::new(Way { tenant_id: changed.tenant_id, change: changed.change, stored });
            tenant.by_store.entry(way.stored.connection.store_id.clone()).or_default().push(Arc::clone(&way));
            tenant.by_id.insert(changed.connection_id, way);
        } else {
            tenant.deleted.insert(changed.connection_id, changed.change);
        }
    }

    /// All, by tenant and id.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Way>> {
        self.tenants.values().flat_map(|tenant| tenant.by_id.values())
    }

    /// Those of a tenant that are no more, deleted after a change.
    pub(crate) fn deleted_after(&self, tenant_id: &str, change: i64) -> Vec<String> {
        let deleted = self.tenants.get(tenant_id).into_iter().flat_map(|tenant| &tenant.deleted);
        deleted.filter(|(_, deleted)| **deleted > change).map(|(id, _)| id.clone()).collect()
    }

    /// The connection that a target means.
    pub(crate) fn find(&self, tenant_id: &str, target: &PosTarget) -> Option<Arc<Way>> {
        let tenant = self.tenants.get(tenant_id)?;
        if !target.connection_id.is_empty() {
            let way = tenant.by_id.get(&target.connection_id)?;
            let store_fits = target.store_id.is_empty() || way.stored.connection.store_id == target.store_id;
            return store_fits.then(|| Arc::clone(way));
        }
        self.serving(tenant_id, ConnectionRole::Primary, target)
    }

    /// The connection that serves a target's product and mode in a role, whatever connection the target names.
    pub(crate) fn serving(&self, tenant_id: &str, role: ConnectionRole, target: &PosTarget) -> Option<Arc<Way>> {
        let tenant = self.tenants.get(tenant_id)?;
        let ways = tenant.by_store.get(&target.store_id)?;
        let connections = ways.iter().map(|way| &way.stored.connection);
        let selected = domain::select(connections, role, target.product(), target.service_mode())?;
        tenant.by_id.get(&selected.connection_id).cloned()
    }
}

impl Snapshot {
    /// The instances as they are now, each with the channel that it had if it is where it was.
    pub(crate) fn with_instances(&self, live: Vec<LiveInstance>) -> HashMap<String, Arc<Instance>> {
        let instances = live.into_iter().filter_map(|LiveInstance { registration, renewals, .. }| {
            let known = self.instances.get(&registration.instance_id);
            let client = match known.filter(|known| known.registration.endpoint == registration.endpoint) {
                Some(known) => known.client.clone(),
                None => connect(&registration)?,
            };
            Some((registration.instance_id.clone(), Arc::new(Instance { registration, renewals, client })))
        });
        instances.collect()
    }

    /// The instances that serve a connection, the one that it is drawn to most first.
    pub(crate) fn instances_for(&self, way: &Way, is_out: impl Fn(&str) -> bool) -> Vec<Arc<Instance>> {
        let mut instances: Vec<Arc<Instance>> = self
            .instances
            .values()
            .filter(|instance| instance.serves(way) && !is_out(instance.id()))
            .cloned()
            .collect();
        domain::rank(&mut instances, |instance| instance.id(), &way.tenant_id, way.id());
        instances
    }
}

fn connect(registration: &RegisterAdapterRequest) -> Option<PosAdapterServiceClient<Channel>> {
    let vendor = registration.descriptor.as_ref().map(|d| d.vendor.as_str()).unwrap_or_default();
    match Channel::remote(&format!("adapter {vendor}"), &registration.endpoint) {
        Ok(channel) => Some(
            PosAdapterServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ),
        Err(error) => {
            // Registration checks the endpoint: only another version of the router could have let it in.
            tracing::error!(%error, adapter.instance = %registration.instance_id, "an instance cannot be reached");
            None
        }
    }
}
