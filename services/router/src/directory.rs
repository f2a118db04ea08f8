//! Keeps the [`Snapshot`] fresh, so that a call costs no database hop, and knows the instances that failed here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use posmesh_kit::backoff;
use posmesh_kit_db::StorageError;
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, PosTarget},
    router::v1::{ConnectionRole, RegisterAdapterRequest},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    domain,
    error::{Error, shortened},
    snapshot::{Connections, Instance, Snapshot, Way},
    storage::{Storage, StoredConnection},
};

/// Connections that are read at once.
const PAGE: usize = 500;
/// A database that does not answer for so long is asked anew: whoever needs a fresh state waits for the one that asks.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call waits for the database when memory does not know.
const MISS_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Directory {
    storage: Arc<dyn Storage>,
    current: RwLock<Arc<Snapshot>>,
    ejected: Mutex<HashMap<String, Ejection>>,
    /// When the last reading began, and whether it came to its end. Held while one is under way.
    last_reading: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// An instance that failed a call, until it renews its lease after that.
#[derive(Debug)]
struct Ejection {
    at: Instant,
    /// Its renewals in the first reading that began after the failure; only a later one proves that it lives.
    renewals: Option<i64>,
}

impl Directory {
    /// Reads everything for the first time.
    pub(crate) async fn open(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let directory = Self {
            storage,
            current: RwLock::default(),
            ejected: Mutex::default(),
            last_reading: tokio::sync::Mutex::default(),
        };
        directory.read(Instant::now()).await?;
        Ok(directory)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what has changed, on and on until `stop`. When the database is away the last state stays: adapters that
    /// live are still called.
    pub(crate) async fn keep_fresh(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff::delay_after(interval, interval, 0)) => self.refresh().await,
            };
        }
    }

    /// Brings the snapshot to a state of now or later; whoever asks meanwhile waits for the same reading. `false`: the
    /// database could not be read.
    pub(crate) async fn refresh(&self) -> bool {
        let asked = Instant::now();
        let mut last = self.last_reading.lock().await;
        if let Some((began, complete)) = *last
            && began >= asked
        {
            return complete;
        }
        let began = Instant::now();
        let complete = match tokio::time::timeout(READ_TIMEOUT, self.read(began)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the router cannot read its database; it goes on with what it knows");
                false
            }
            Err(_) => {
                tracing::warn!("the router's database does not answer; it goes on with what it knows");
                false
            }
        };
        *last = Some((began, complete));
        complete
    }

    async fn read(&self, began: Instant) -> Result<(), StorageError> {
        let old = self.snapshot();
        let live = self.storage.live_instances().await?;
        let descriptors = self.storage.descriptors().await?;
        let connections = self.read_connections(&old.connections).await?;
        let new = Snapshot {
            instances: old.with_instances(live),
            descriptors: descriptors.into_iter().map(|d| (d.vendor.clone(), d)).collect(),
            connections,
        };
        self.readmit(began, &new);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    async fn read_connections(&self, old: &Arc<Connections>) -> Result<Arc<Connections>, StorageError> {
        let mut changed = self.storage.changed_connections(old.last_change, PAGE).await?;
        if changed.is_empty() {
            return Ok(Arc::clone(old));
        }
        let mut connections = Connections::clone(old);
        loop {
            let is_last = changed.len() < PAGE;
            changed.into_iter().for_each(|changed| connections.apply(changed));
            if is_last {
                return Ok(Arc::new(connections));
            }
            changed = self.storage.changed_connections(connections.last_change, PAGE).await?;
        }
    }

    /// Takes a failed instance out of the routing of this replica.
    pub(crate) fn eject(&self, instance: &Instance, why: &str) {
        tracing::warn!(
            adapter.instance = instance.id(),
            why,
            "the adapter at {} failed a call and is left out until it renews its lease",
            instance.registration.endpoint,
        );
        let ejection = Ejection { at: Instant::now(), renewals: None };
        self.ejected.lock().unwrap_or_else(PoisonError::into_inner).insert(instance.id().to_owned(), ejection);
    }

    /// Lets those back in that have renewed their lease since they failed.
    fn readmit(&self, began: Instant, new: &Snapshot) {
        let mut ejected = self.ejected.lock().unwrap_or_else(PoisonError::into_inner);
        ejected.retain(|id, ejection| {
            // A reading from before the failure tells nothing about what came after.
            if began <= ejection.at {
                return true;
            }
            let Some(instance) = new.instances.get(id) else { return false };
            instance.renewals <= *ejection.renewals.get_or_insert(instance.renewals)
        });
    }

    /// Whether an instance is known exactly so, and with the same descriptor.
    pub(crate) fn knows(&self, registration: &RegisterAdapterRequest) -> bool {
        self.snapshot().instances.get(&registration.instance_id).is_some_and(|i| i.registration == *registration)
    }

    /// Live instances of an instance's vendor, itself included. A new one may know of a change before the others: until
    /// they renew, the budget is shared by too few.
    pub(crate) fn instances_of(&self, registration: &RegisterAdapterRequest) -> i32 {
        let vendor = |r: &RegisterAdapterRequest| r.descriptor.as_ref().map(|d| d.vendor.clone());
        let snapshot = self.snapshot();
        let others = snapshot.instances.values().filter(|i| {
            i.registration.instance_id != registration.instance_id && vendor(&i.registration) == vendor(registration)
        });
        i32::try_from(others.count() + 1).unwrap_or(i32::MAX)
    }

    /// What the adapters of a vendor can do, if one has ever registered.
    pub(crate) async fn descriptor(&self, vendor: &str) -> Result<Option<AdapterDescriptor>, Error> {
        let known = |directory: &Self| directory.snapshot().descriptors.get(vendor).cloned();
        self.known_or_read(known).await
    }

    /// The connection that a target means.
    pub(crate) async fn find(&self, tenant_id: &str, target: &PosTarget) -> Result<Arc<Way>, Error> {
        let known = |directory: &Self| directory.snapshot().connections.find(tenant_id, target);
        self.known_or_read(known).await?.ok_or_else(|| Error::ConnectionNotFound(described(target)))
    }

    /// The connection that serves a target's product and mode in a role.
    pub(crate) async fn serving(
        &self,
        tenant_id: &str,
        role: ConnectionRole,
        target: &PosTarget,
    ) -> Result<Arc<Way>, Error> {
        let known = |directory: &Self| directory.snapshot().connections.serving(tenant_id, role, target);
        self.known_or_read(known).await?.ok_or_else(|| Error::ConnectionNotFound(described(target)))
    }

    /// The way to the POS that a connection led to at an earlier revision than that of `way`, which is what it is now.
    /// For what was written there: nothing new goes there.
    pub(crate) async fn at_revision(
        &self,
        tenant_id: &str,
        target: &PosTarget,
        way: Option<Arc<Way>>,
    ) -> Result<Option<Arc<Way>>, Error> {
        let (id, revision) = (&target.connection_id, target.connection_revision);
        let leads_there = |way: &Way| {
            let connection = &way.stored.connection;
            (domain::pos_revision(connection)..=connection.revision).contains(&revision)
        };
        if let Some(way) = way.filter(|way| leads_there(way)) {
            return Ok(Some(way));
        }
        let former = self.storage.former_connection(tenant_id, id, revision);
        let stored = tokio::time::timeout(MISS_TIMEOUT, former).await.map_err(|_| Error::Unread)?;
        let fits =
            |stored: &StoredConnection| target.store_id.is_empty() || stored.connection.store_id == target.store_id;
        let stored = stored.map_err(|_| Error::Unread)?.filter(fits);
        Ok(stored.map(|stored| Arc::new(Way { tenant_id: tenant_id.to_owned(), change: 0, stored })))
    }

    /// The live instances that serve a connection, the one that it belongs to first. Never empty.
    pub(crate) async fn instances(&self, way: &Way) -> Result<Vec<Arc<Instance>>, Error> {
        let known = |directory: &Self| Some(directory.known_instances(way)).filter(|known| !known.is_empty());
        let down = || Error::AdapterDown { vendor: way.vendor().to_owned(), connection_id: way.id().clone() };
        match self.known_or_read(known).await {
            Ok(instances) => instances.ok_or_else(down),
            // Unread or not: none is known that could be called.
            Err(_) => Err(down()),
        }
    }

    /// Those that memory knows; may be none.
    pub(crate) fn known_instances(&self, way: &Way) -> Vec<Arc<Instance>> {
        let ejected = self.ejected.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshot().instances_for(way, |id| ejected.contains_key(id))
    }

    /// What memory knows, else what it knows after another look at the database.
    async fn known_or_read<T>(&self, known: impl Fn(&Self) -> Option<T>) -> Result<Option<T>, Error> {
        if let Some(found) = known(self) {
            return Ok(Some(found));
        }
        match tokio::time::timeout(MISS_TIMEOUT, self.refresh()).await {
            Ok(true) => Ok(known(self)),
            Ok(false) | Err(_) => Err(Error::Unread),
        }
    }
}

fn described(target: &PosTarget) -> String {
    if target.connection_id.is_empty() {
        let (product, mode) = (target.product().as_str_name(), target.service_mode().as_str_name());
        return format!("of the store {:?} for {product} and {mode}", shortened(&target.store_id));
    }
    format!("{:?}", shortened(&target.connection_id))
}
