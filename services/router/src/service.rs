//! RouterService: adapters come and go, connections are put and read, links are told.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use futures_util::Stream;
use posmesh_kit::{Channel, Violation, call, server::MAX_MESSAGE_BYTES, time};
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, PosTarget},
    router::v1::{
        AdapterInstance, Connection, DeleteConnectionRequest, DeleteConnectionResponse, DeregisterAdapterRequest,
        DeregisterAdapterResponse, GetConnectionRequest, GetConnectionResponse, ListAdaptersRequest,
        ListAdaptersResponse, ListConnectionsRequest, ListConnectionsResponse, ListLinkEventsRequest,
        ListLinkEventsResponse, ListLinksRequest, ListLinksResponse, ProbeConnectionRequest, ProbeConnectionResponse,
        PutConnectionRequest, PutConnectionResponse, RegisterAdapterRequest, RegisterAdapterResponse,
        ReportLinksRequest, ReportLinksResponse, ResolveConnectionRequest, ResolveConnectionResponse,
        WatchLinksRequest, WatchLinksResponse,
        router_service_server::{RouterService, RouterServiceServer},
    },
};
use tonic::{Request, Response, Status};

use crate::{
    config::Config,
    directory::Directory,
    domain::{check_connection, check_credentials, check_registration, check_settings, is_same_pos},
    error::{Error, shortened},
    links::Links,
    request::{can_exist, page_size, page_token},
    sealing::{Sealed, Vault},
    storage::{LiveInstance, Put, Storage, StoredConnection},
};

/// Times that a put of "whatever is there" looks again when others write the same connection meanwhile.
const PUT_ATTEMPTS: usize = 5;

pub(crate) struct Service {
    storage: Arc<dyn Storage>,
    directory: Arc<Directory>,
    vault: Arc<Vault>,
    links: Arc<Links>,
    lease: Duration,
}

impl Service {
    pub(crate) fn new(
        config: &Config,
        storage: Arc<dyn Storage>,
        directory: Arc<Directory>,
        vault: Arc<Vault>,
        links: Arc<Links>,
    ) -> Self {
        Self { storage, directory, vault, links, lease: config.lease }
    }

    pub(crate) fn into_server(self) -> RouterServiceServer<Self> {
        RouterServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn put(&self, request: PutConnectionRequest) -> Result<Connection, Error> {
        let PutConnectionRequest { connection, credentials } = request;
        let mut connection =
            connection.ok_or_else(|| Violation::new("REQUIRED", "connection", "say which connection"))?;
        check_connection(&connection)?;
        let vendor = &connection.vendor;
        let descriptor = self.directory.descriptor(vendor).await?;
        let descriptor = descriptor.ok_or_else(|| Error::AdapterNotRegistered { vendor: vendor.clone() })?;
        check_settings(&descriptor.settings_schema, &connection.settings_json)?;
        if connection.connection_id.is_empty() {
            connection.connection_id = posmesh_kit::ambient::new_id().to_string();
        }
        let mut current_revision = 0;
        for _ in 0..PUT_ATTEMPTS {
            match self.put_once(&connection, &credentials.clone().into_iter().collect(), &descriptor).await? {
                Put::Written(written) => return Ok(written),
                Put::Overlaps { connection_id } => return Err(Error::Overlaps { connection_id }),
                Put::Conflict { current } => current_revision = current,
            }
            if connection.revision != -1 {
                break;
            }
        }
        let Connection { connection_id, revision, .. } = connection;
        Err(Error::RevisionConflict { connection_id, expected: revision, current: current_revision })
    }

    /// Reads what is there and replaces exactly that, so that kept credentials are those of the revision replaced.
    async fn put_once(
        &self,
        connection: &Connection,
        given: &BTreeMap<String, String>,
        descriptor: &AdapterDescriptor,
    ) -> Result<Put, Error> {
        let (tenant_id, id) = (call::identity().tenant_id, &connection.connection_id);
        let current = self.storage.connection(&tenant_id, id).await?;
        let current_revision = current.as_ref().map_or(0, |c| c.connection.revision);
        if connection.revision != -1 && connection.revision != current_revision {
            return Ok(Put::Conflict { current: current_revision });
        }
        let (names, sealed) = self.credentials(&tenant_id, connection, given, current, descriptor)?;
        let connection = Connection {
            revision: current_revision,
            credential_names: names,
            update_time: Some(time::now()),
            ..connection.clone()
        };
        Ok(self.storage.put_connection(&tenant_id, StoredConnection { connection, credentials: sealed }).await?)
    }

    /// The credentials that a connection will hold: those given, else those that it has. They are kept for the very
    /// vendor and settings that they were given for: no other address gets to see them.
    fn credentials(
        &self,
        tenant_id: &str,
        connection: &Connection,
        given: &BTreeMap<String, String>,
        current: Option<StoredConnection>,
        descriptor: &AdapterDescriptor,
    ) -> Result<(Vec<String>, Option<Sealed>), Error> {
        let kept = current.filter(|c| given.is_empty() && is_same_pos(&c.connection, connection));
        let names = match &kept {
            Some(kept) => kept.connection.credential_names.clone(),
            None => given.keys().cloned().collect(),
        };
        check_credentials(given, names.iter().map(String::as_str), &descriptor.credential_names)?;
        let sealed = match kept {
            Some(kept) => kept.credentials,
            None if given.is_empty() => None,
            None => Some(self.vault.seal(tenant_id, &connection.connection_id, given)?),
        };
        Ok((names, sealed))
    }
}

#[tonic::async_trait]
impl RouterService for Service {
    async fn register_adapter(
        &self,
        request: Request<RegisterAdapterRequest>,
    ) -> Result<Response<RegisterAdapterResponse>, Status> {
        let registration = request.into_inner();
        // A renewal says what it said before: it needs no new look.
        let is_renewal = self.directory.knows(&registration);
        if !is_renewal {
            check_endpoint(&registration.endpoint).map_err(Error::from)?;
            check_registration(&registration).map_err(Error::from)?;
        }
        self.storage.register(&registration, self.lease).await.map_err(Error::from)?;
        if !is_renewal {
            tracing::info!(
                adapter.instance = %registration.instance_id,
                adapter.vendor = registration.descriptor.as_ref().map(|d| d.vendor.as_str()).unwrap_or_default(),
                "an adapter registered at {}",
                registration.endpoint,
            );
            self.directory.refresh().await;
            self.links.follow();
        }
        Ok(Response::new(RegisterAdapterResponse {
            lease: Some(time::to_proto_duration(self.lease)),
            instances: self.directory.instances_of(&registration),
        }))
    }

    async fn deregister_adapter(
        &self,
        request: Request<DeregisterAdapterRequest>,
    ) -> Result<Response<DeregisterAdapterResponse>, Status> {
        let instance_id = request.into_inner().instance_id;
        // What is no UUID was never registered.
        if uuid::Uuid::try_parse(&instance_id).is_ok() {
            self.storage.deregister(&instance_id).await.map_err(Error::from)?;
            self.directory.refresh().await;
            self.links.follow();
        }
        Ok(Response::new(DeregisterAdapterResponse {}))
    }

    async fn list_adapters(
        &self,
        request: Request<ListAdaptersRequest>,
    ) -> Result<Response<ListAdaptersResponse>, Status> {
        let vendor = request.into_inner().vendor;
        let live = self.storage.live_instances().await.map_err(Error::from)?;
        let mut instances: Vec<AdapterInstance> = live.into_iter().map(told).collect();
        instances.retain(|i| vendor.is_empty() || vendor_of(i) == vendor);
        instances.sort_by(|a, b| (vendor_of(a), &a.instance_id).cmp(&(vendor_of(b), &b.instance_id)));
        Ok(Response::new(ListAdaptersResponse { instances }))
    }

    async fn put_connection(
        &self,
        request: Request<PutConnectionRequest>,
    ) -> Result<Response<PutConnectionResponse>, Status> {
        let connection = self.put(request.into_inner()).await?;
        self.directory.refresh().await;
        self.links.follow();
        tracing::info!(
            connection.id = %connection.connection_id,
            store.id = %connection.store_id,
            "connection {} is at revision {}",
            connection.connection_id,
            connection.revision,
        );
        Ok(Response::new(PutConnectionResponse { connection: Some(connection) }))
    }

    async fn get_connection(
        &self,
        request: Request<GetConnectionRequest>,
    ) -> Result<Response<GetConnectionResponse>, Status> {
        let id = request.into_inner().connection_id;
        let not_found = || Error::ConnectionNotFound(format!("{:?}", shortened(&id)));
        if !can_exist("connection_id", &id)? {
            return Err(not_found().into());
        }
        let stored = self.storage.connection(&call::identity().tenant_id, &id).await.map_err(Error::from)?;
        let connection = stored.ok_or_else(not_found)?.connection;
        Ok(Response::new(GetConnectionResponse { connection: Some(connection) }))
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        let ListConnectionsRequest { store_id, page_size: asked, page_token: token } = request.into_inner();
        let size = page_size(asked).map_err(Error::from)?;
        let after = page_token(&token).map_err(Error::from)?;
        if !store_id.is_empty() && !can_exist("store_id", &store_id)? {
            return Ok(Response::new(ListConnectionsResponse::default()));
        }
        let tenant_id = call::identity().tenant_id;
        let listed = self.storage.connections(&tenant_id, &store_id, &after, size + 1).await;
        let mut connections = listed.map_err(Error::from)?;
        let more = connections.len() > size;
        connections.truncate(size);
        let last = connections.last().filter(|_| more);
        let next_page_token = last.map(|c| BASE64.encode(&c.connection_id)).unwrap_or_default();
        Ok(Response::new(ListConnectionsResponse { connections, next_page_token }))
    }

    async fn delete_connection(
        &self,
        request: Request<DeleteConnectionRequest>,
    ) -> Result<Response<DeleteConnectionResponse>, Status> {
        let id = request.into_inner().connection_id;
        let exists = can_exist("connection_id", &id)?;
        let tenant_id = call::identity().tenant_id;
        if !exists || !self.storage.delete_connection(&tenant_id, &id).await.map_err(Error::from)? {
            return Err(Error::ConnectionNotFound(format!("{:?}", shortened(&id))).into());
        }
        self.directory.refresh().await;
        self.links.follow();
        tracing::info!(connection.id = %id, "connection {id} is deleted");
        Ok(Response::new(DeleteConnectionResponse {}))
    }

    async fn resolve_connection(
        &self,
        request: Request<ResolveConnectionRequest>,
    ) -> Result<Response<ResolveConnectionResponse>, Status> {
        let request = request.into_inner();
        let role = request.role();
        let ResolveConnectionRequest { store_id, product, service_mode, .. } = request;
        if store_id.is_empty() {
            return Err(Error::from(Violation::new("REQUIRED", "store_id", "say which")).into());
        }
        let target = PosTarget { store_id, product, service_mode, ..PosTarget::default() };
        let way = self.directory.serving(&call::identity().tenant_id, role, &target).await?;
        let descriptor = self.directory.descriptor(way.vendor()).await?;
        let down = || Error::AdapterDown { vendor: way.vendor().to_owned(), connection_id: way.id().clone() };
        Ok(Response::new(ResolveConnectionResponse {
            descriptor: Some(descriptor.ok_or_else(down)?),
            connection: Some(way.stored.connection.clone()),
        }))
    }

    async fn list_links(&self, request: Request<ListLinksRequest>) -> Result<Response<ListLinksResponse>, Status> {
        Ok(Response::new(self.links.list(&call::identity().tenant_id, request.into_inner())?))
    }

    async fn list_link_events(
        &self,
        request: Request<ListLinkEventsRequest>,
    ) -> Result<Response<ListLinkEventsResponse>, Status> {
        Ok(Response::new(self.links.events(&call::identity().tenant_id, request.into_inner()).await?))
    }

    type WatchLinksStream = Pin<Box<dyn Stream<Item = Result<WatchLinksResponse, Status>> + Send>>;

    async fn watch_links(
        &self,
        request: Request<WatchLinksRequest>,
    ) -> Result<Response<Self::WatchLinksStream>, Status> {
        let token = request.into_inner().resume_token;
        let stream = self.links.watch(call::identity().tenant_id, &token).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn probe_connection(
        &self,
        request: Request<ProbeConnectionRequest>,
    ) -> Result<Response<ProbeConnectionResponse>, Status> {
        let connection_id = request.into_inner().connection_id;
        let link = self.links.probe_now(&call::identity().tenant_id, &connection_id).await?;
        Ok(Response::new(ProbeConnectionResponse { link: Some(link) }))
    }

    async fn report_links(
        &self,
        request: Request<ReportLinksRequest>,
    ) -> Result<Response<ReportLinksResponse>, Status> {
        self.links.report(request.into_inner()).await?;
        Ok(Response::new(ReportLinksResponse {}))
    }
}

fn told(live: LiveInstance) -> AdapterInstance {
    let LiveInstance { registration, lease_expire_ms, .. } = live;
    AdapterInstance {
        instance_id: registration.instance_id,
        endpoint: registration.endpoint,
        descriptor: registration.descriptor,
        connection_ids: registration.connection_ids,
        lease_expire_time: Some(time::from_unix_ms(lease_expire_ms)),
    }
}

fn vendor_of(instance: &AdapterInstance) -> &str {
    instance.descriptor.as_ref().map(|d| d.vendor.as_str()).unwrap_or_default()
}

fn check_endpoint(endpoint: &str) -> Result<(), Violation> {
    let one = !endpoint.contains(',') && Channel::remote("endpoint", endpoint).is_ok();
    let message = "say where the instance is reached, as one http://host:port";
    if one { Ok(()) } else { Err(Violation::new("ENDPOINT_INVALID", "endpoint", message)) }
}
