//! In memory: for simulations and tests. Keeps nothing beyond the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use posmesh_proto::store::v1::{Brand, Store};

use super::{ChangedStore, Put, Storage, StorageError, next_revision};

/// The storage as plain maps.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    tenants: Mutex<BTreeMap<String, Tenant>>,
}

#[derive(Debug, Default)]
struct Tenant {
    last_change: i64,
    brands: BTreeMap<String, Brand>,
    stores: BTreeMap<String, ChangedStore>,
}

impl MemoryStorage {
    fn tenants(&self) -> MutexGuard<'_, BTreeMap<String, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<R: Default>(&self, tenant_id: &str, read: impl FnOnce(&Tenant) -> R) -> R {
        self.tenants().get(tenant_id).map(read).unwrap_or_default()
    }

    fn write<R>(&self, tenant_id: &str, write: impl FnOnce(&mut Tenant) -> R) -> R {
        write(self.tenants().entry(tenant_id.to_owned()).or_default())
    }
}

fn greater<'a, T>(map: &'a BTreeMap<String, T>, after: &str) -> impl Iterator<Item = &'a T> {
    map.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)).map(|(_, value)| value)
}

impl Tenant {
    fn put_brand(&mut self, brand: Brand) -> Put<Brand> {
        let current = self.brands.get(&brand.brand_id).map_or(0, |brand| brand.revision);
        match next_revision(current, brand.revision) {
            Ok(revision) => {
                let brand = Brand { revision, ..brand };
                self.brands.insert(brand.brand_id.clone(), brand.clone());
                Put::Written(brand)
            }
            Err(current) => Put::Conflict { current },
        }
    }

    fn put_store(&mut self, store: Store) -> Put<Store> {
        if !self.brands.contains_key(&store.brand_id) {
            return Put::NoSuchBrand;
        }
        let current = self.stores.get(&store.store_id).map_or(0, |changed| changed.store.revision);
        match next_revision(current, store.revision) {
            Ok(revision) => {
                let store = Store { revision, ..store };
                self.last_change += 1;
                let changed = ChangedStore { change: self.last_change, store: store.clone() };
                self.stores.insert(store.store_id.clone(), changed);
                Put::Written(store)
            }
            Err(current) => Put::Conflict { current },
        }
    }
}

#[tonic::async_trait]
impl Storage for MemoryStorage {
    async fn put_brand(&self, tenant_id: &str, brand: Brand) -> Result<Put<Brand>, StorageError> {
        Ok(self.write(tenant_id, |tenant| tenant.put_brand(brand)))
    }

    async fn brand(&self, tenant_id: &str, brand_id: &str) -> Result<Option<Brand>, StorageError> {
        Ok(self.read(tenant_id, |tenant| tenant.brands.get(brand_id).cloned()))
    }

    async fn brands(&self, tenant_id: &str, after: &str, limit: usize) -> Result<Vec<Brand>, StorageError> {
        Ok(self.read(tenant_id, |tenant| greater(&tenant.brands, after).take(limit).cloned().collect()))
    }

    async fn put_store(&self, tenant_id: &str, store: Store) -> Result<Put<Store>, StorageError> {
        Ok(self.write(tenant_id, |tenant| tenant.put_store(store)))
    }

    async fn store(&self, tenant_id: &str, store_id: &str) -> Result<Option<Store>, StorageError> {
        Ok(self.read(tenant_id, |tenant| tenant.stores.get(store_id).map(|changed| changed.store.clone())))
    }

    async fn stores(
        &self,
        tenant_id: &str,
        brand_id: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Store>, StorageError> {
        Ok(self.read(tenant_id, |tenant| {
            let stores = greater(&tenant.stores, after).map(|changed| &changed.store);
            let asked = stores.filter(|store| brand_id.is_none_or(|brand_id| brand_id == store.brand_id));
            asked.take(limit).cloned().collect()
        }))
    }

    async fn changed_stores(
        &self,
        tenant_id: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<ChangedStore>, StorageError> {
        Ok(self.read(tenant_id, |tenant| {
            let mut changed: Vec<_> = tenant.stores.values().filter(|changed| changed.change > after).collect();
            changed.sort_by_key(|changed| changed.change);
            changed.into_iter().take(limit).cloned().collect()
        }))
    }

    async fn last_change(&self, tenant_id: &str) -> Result<i64, StorageError> {
        Ok(self.read(tenant_id, |tenant| tenant.last_change))
    }
}
