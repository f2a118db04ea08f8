//! In memory, for tests and simulation: deterministic, nothing survives the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posmesh_kit::time;
use posmesh_kit_db::{Clock, StorageError, millis};
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    router::v1::{Connection, LinkEvent, RegisterAdapterRequest},
};

use crate::domain;

use super::{
    ChangedConnection, KEEP_FORMER_CONNECTIONS, LiveInstance, NewLink, Put, Storage, StoredConnection, StoredLink,
    becomes_former, links::KEPT_EVENTS, next_connection,
};

/// The storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, Leased>,
    descriptors: BTreeMap<String, AdapterDescriptor>,
    connections: BTreeMap<(String, String), Row>,
    /// By tenant, id and last revision.
    former: BTreeMap<(String, String, i64), Former>,
    last_change: i64,
    links: BTreeMap<(String, String), KeptLink>,
    last_link_change: i64,
    /// Until when each replica lives, on the storage's clock.
    replicas: BTreeMap<String, Duration>,
}

#[derive(Debug)]
struct KeptLink {
    stored: StoredLink,
    /// By version.
    events: BTreeMap<i64, LinkEvent>,
}

#[derive(Debug)]
struct Former {
    stored: StoredConnection,
    /// On the storage's clock.
    until: Duration,
}

#[derive(Debug)]
struct Leased {
    instance: LiveInstance,
    /// On the storage's clock.
    until: Duration,
}

#[derive(Debug)]
struct Row {
    revision: i64,
    change: i64,
    stored: Option<StoredConnection>,
}

impl MemoryStorage {
    /// An empty storage on a given clock.
    pub fn on_clock(clock: Clock) -> Self {
        Self { state: Mutex::default(), clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep_former(&mut self, tenant_id: &str, former: StoredConnection, now: Duration) {
        self.former.retain(|_, former| former.until >= now);
        let connection = &former.connection;
        let key = (tenant_id.to_owned(), connection.connection_id.clone(), connection.revision);
        self.former.insert(key, Former { stored: former, until: now + KEEP_FORMER_CONNECTIONS });
    }

    fn put_link(&mut self, new: &NewLink) -> Option<i64> {
        let key = key(&new.tenant_id, &new.link.connection_id);
        let exists = self.connections.get(&key).is_some_and(|row| row.stored.is_some());
        let replaces_it = self.links.get(&key).is_none_or(|kept| kept.stored.revision == new.replaces);
        if !exists || !replaces_it {
            return None;
        }
        self.last_link_change += 1;
        let stored = new.stored(self.last_link_change);
        let events = self.links.remove(&key).map(|kept| kept.events).unwrap_or_default();
        let mut kept = KeptLink { stored, events };
        kept.events.extend(new.event.iter().map(|event| (event.version, event.clone())));
        if new.is_time_to_forget() {
            while kept.events.len() > usize::try_from(KEPT_EVENTS).unwrap_or(usize::MAX) {
                kept.events.pop_first();
            }
        }
        self.links.insert(key, kept);
        Some(self.last_link_change)
    }

    fn live(&self, tenant_id: &str) -> impl Iterator<Item = &StoredConnection> {
        let rows = self.connections.iter().filter(move |((tenant, _), _)| tenant == tenant_id);
        rows.filter_map(|(_, row)| row.stored.as_ref())
    }
}

fn key(tenant_id: &str, connection_id: &str) -> (String, String) {
    (tenant_id.to_owned(), connection_id.to_owned())
}

#[tonic::async_trait]
impl Storage for MemoryStorage {
    async fn register(&self, registration: &RegisterAdapterRequest, lease: Duration) -> Result<(), StorageError> {
        let mut state = self.state();
        let id = registration.instance_id.clone();
        let renewals = state.instances.get(&id).map_or(0, |leased| leased.instance.renewals) + 1;
        let lease_expire_ms = time::now_unix_ms().saturating_add(millis(lease));
        let instance = LiveInstance { registration: registration.clone(), renewals, lease_expire_ms };
        state.instances.insert(id, Leased { instance, until: self.clock.now() + lease });
        if let Some(descriptor) = &registration.descriptor {
            state.descriptors.insert(descriptor.vendor.clone(), descriptor.clone());
        }
        Ok(())
    }

    async fn deregister(&self, instance_id: &str) -> Result<(), StorageError> {
        self.state().instances.remove(instance_id);
        Ok(())
    }

    async fn live_instances(&self) -> Result<Vec<LiveInstance>, StorageError> {
        let mut state = self.state();
        let now = self.clock.now();
        state.instances.retain(|_, leased| leased.until > now);
        Ok(state.instances.values().map(|leased| leased.instance.clone()).collect())
    }

    async fn descriptors(&self) -> Result<Vec<AdapterDescriptor>, StorageError> {
        Ok(self.state().descriptors.values().cloned().collect())
    }

    async fn put_connection(&self, tenant_id: &str, stored: StoredConnection) -> Result<Put, StorageError> {
        let StoredConnection { connection, credentials } = stored;
        let mut state = self.state();
        let key = key(tenant_id, &connection.connection_id);
        let row = state.connections.get(&key);
        let last = row.map_or(0, |row| row.revision);
        let live = row.and_then(|row| row.stored.clone());
        let others: Vec<Connection> = state
            .live(tenant_id)
            .map(|stored| &stored.connection)
            .filter(|other| other.store_id == connection.store_id)
            .cloned()
            .collect();
        let put = next_connection(connection, last, live.as_ref().map(|live| &live.connection), &others);
        let Put::Written(connection) = &put else { return Ok(put) };
        if let Some(former) = becomes_former(live, connection) {
            state.keep_former(tenant_id, former, self.clock.now());
        }
        state.last_change += 1;
        let (revision, change) = (connection.revision, state.last_change);
        let stored = Some(StoredConnection { connection: connection.clone(), credentials });
        state.connections.insert(key, Row { revision, change, stored });
        Ok(put)
    }

    async fn delete_connection(&self, tenant_id: &str, connection_id: &str) -> Result<bool, StorageError> {
        let mut state = self.state();
        let change = state.last_change + 1;
        let Some(row) = state.connections.get_mut(&key(tenant_id, connection_id)) else { return Ok(false) };
        let Some(former) = row.stored.take() else { return Ok(false) };
        row.change = change;
        state.last_change = change;
        state.links.remove(&key(tenant_id, connection_id));
        state.keep_former(tenant_id, former, self.clock.now());
        Ok(true)
    }

    async fn connection(&self, tenant_id: &str, connection_id: &str) -> Result<Option<StoredConnection>, StorageError> {
        Ok(self.state().connections.get(&key(tenant_id, connection_id)).and_then(|row| row.stored.clone()))
    }

    async fn former_connection(
        &self,
        tenant_id: &str,
        connection_id: &str,
        revision: i64,
    ) -> Result<Option<StoredConnection>, StorageError> {
        let (state, now) = (self.state(), self.clock.now());
        let key = |revision| (tenant_id.to_owned(), connection_id.to_owned(), revision);
        let kept = state.former.range(key(revision)..=key(i64::MAX)).map(|(_, former)| former);
        let mut led_there =
            kept.filter(|former| former.until >= now && domain::pos_revision(&former.stored.connection) <= revision);
        Ok(led_there.next().map(|former| former.stored.clone()))
    }

    async fn connections(
        &self,
        tenant_id: &str,
        store_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Connection>, StorageError> {
        let state = self.state();
        let connections = state.live(tenant_id).map(|stored| &stored.connection);
        let wanted =
            connections.filter(|c| c.connection_id.as_str() > after && (store_id.is_empty() || c.store_id == store_id));
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn changed_connections(&self, after: i64, limit: usize) -> Result<Vec<ChangedConnection>, StorageError> {
        let state = self.state();
        let mut changed: Vec<ChangedConnection> = state
            .connections
            .iter()
            .filter(|(_, row)| row.change > after)
            .map(|((tenant_id, connection_id), row)| ChangedConnection {
                change: row.change,
                tenant_id: tenant_id.clone(),
                connection_id: connection_id.clone(),
                stored: row.stored.clone(),
            })
            .collect();
        changed.sort_by_key(|changed| changed.change);
        changed.truncate(limit);
        Ok(changed)
    }

    async fn put_links(&self, links: &[NewLink]) -> Result<Vec<Option<i64>>, StorageError> {
        let mut state = self.state();
        Ok(links.iter().map(|new| state.put_link(new)).collect())
    }

    async fn changed_links(&self, after: i64, limit: usize) -> Result<Vec<StoredLink>, StorageError> {
        let state = self.state();
        let links = state.links.values().map(|kept| &kept.stored);
        let mut changed: Vec<StoredLink> = links.filter(|stored| stored.change > after).cloned().collect();
        changed.sort_by_key(|stored| stored.change);
        changed.truncate(limit);
        Ok(changed)
    }

    async fn last_link_change(&self) -> Result<i64, StorageError> {
        Ok(self.state().last_link_change)
    }

    async fn link_events(
        &self,
        tenant_id: &str,
        connection_id: &str,
        below: i64,
        limit: usize,
    ) -> Result<Vec<LinkEvent>, StorageError> {
        let state = self.state();
        let Some(kept) = state.links.get(&key(tenant_id, connection_id)) else { return Ok(Vec::new()) };
        Ok(kept.events.range(..below).rev().take(limit).map(|(_, event)| event.clone()).collect())
    }

    async fn renew_replica(&self, replica_id: &str, lease: Duration) -> Result<Vec<String>, StorageError> {
        let (mut state, now) = (self.state(), self.clock.now());
        state.replicas.insert(replica_id.to_owned(), now + lease);
        state.replicas.retain(|_, until| *until > now);
        Ok(state.replicas.keys().cloned().collect())
    }

    async fn drop_replica(&self, replica_id: &str) -> Result<(), StorageError> {
        self.state().replicas.remove(replica_id);
        Ok(())
    }
}
