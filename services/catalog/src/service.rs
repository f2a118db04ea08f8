//! The gRPC surface.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use posmesh_kit::{ambient, call, server::MAX_MESSAGE_BYTES, store_cache::StoreCache, time};
use posmesh_proto::{
    catalog::v1::{
        ApproveSnapshotRequest, ApproveSnapshotResponse, Decision, DeleteOverlayRequest, DeleteOverlayResponse,
        DiffCatalogsRequest, DiffCatalogsResponse, GetCatalogRequest, GetCatalogResponse, GetMenuRequest,
        GetMenuResponse, GetOfferRequest, GetOfferResponse, GetOverlayRequest, GetOverlayResponse, GetSyncRunRequest,
        GetSyncRunResponse, ListAvailabilityRequest, ListAvailabilityResponse, ListCatalogVersionsRequest,
        ListCatalogVersionsResponse, ListItemsToReviewRequest, ListItemsToReviewResponse, ListOverlaysRequest,
        ListOverlaysResponse, ListSyncRunsRequest, ListSyncRunsResponse, Menu, PutOverlayRequest, PutOverlayResponse,
        RejectSnapshotRequest, RejectSnapshotResponse, ReviewItemsRequest, ReviewItemsResponse, RollbackCatalogRequest,
        RollbackCatalogResponse, SetAvailabilityRequest, SetAvailabilityResponse, StartSyncRequest, StartSyncResponse,
        SyncRun, SyncState, SyncTrigger, WatchCatalogRequest, WatchCatalogResponse,
        catalog_service_server::{CatalogService, CatalogServiceServer},
    },
    store::v1::Store,
};
use prost::{Message as _, bytes::Bytes};
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;

use crate::{
    availability::Stock,
    diffs::Diffs,
    domain,
    error::Error,
    get_menu::{self, Answer},
    menus::Menus,
    overlays::Overlays,
    request::{self, List},
    reviews::{Reviews, changed_items},
    storage::{Storage, StoreKey},
    sync::Syncs,
    watch::{self, Watches, Wish},
};

pub(crate) struct Service {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) stores: StoreCache,
    pub(crate) menus: Arc<Menus>,
    pub(crate) syncs: Arc<Syncs>,
    pub(crate) diffs: Arc<Diffs>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) stock: Stock,
    pub(crate) overlays: Overlays,
    pub(crate) reviews: Reviews,
}

impl Service {
    pub(crate) fn into_routes(self) -> Routes {
        let service = Arc::new(self);
        let generated = CatalogServiceServer::from_arc(Arc::clone(&service));
        let mut routes = Routes::new(generated.max_decoding_message_size(MAX_MESSAGE_BYTES));
        get_menu::add(&mut routes, service);
        routes
    }

    /// The store of the caller's tenant, and its key.
    async fn store(&self, store_id: &str) -> Result<(StoreKey, Arc<Store>), Error> {
        let store = self.stores.get(request::store_id(store_id)?).await?;
        let key = StoreKey { tenant_id: call::identity().tenant_id, store_id: store.store_id.as_str().into() };
        Ok((key, store))
    }

    /// The current menu, in the bytes that it was encoded to when it was prepared.
    pub(crate) async fn answer_menu(&self, request: GetMenuRequest) -> Result<Answer, Error> {
        let product = request::product(request.product)?;
        let mode = request::service_mode(request.service_mode, product)?;
        let locale = request::locale(&request.locale)?;
        let (key, store) = self.store(&request.store_id).await?;
        if !store.product_policies.iter().any(|policy| policy.product() == product) {
            return Err(Error::ProductNotSold { store_id: request.store_id });
        }
        let time_ms = request::menu_time(request.time.as_ref())?;
        let (prepared, change_ms) = self.menus.menu(&key, &store, (product, mode, locale), time_ms).await?;
        let not_modified = prepared.etag == request.if_none_match;
        let menu = if not_modified { Bytes::new() } else { prepared.menu.clone() };
        let change_time = change_ms.map(time::from_unix_ms);
        Ok(Answer { menu, not_modified, etag: prepared.etag.clone(), change_time })
    }

    /// What a person says about a run that waits. Said before, it is answered as it was.
    async fn decide(&self, store_id: &str, run_id: &str, approve: bool, decision: &Decision) -> Result<SyncRun, Error> {
        let run_id = request::run_id(run_id)?;
        let (key, store) = self.store(store_id).await?;
        let decided = self.storage.decide(&key, &run_id, approve, decision, changed_items(&store)).await?;
        self.menus.forget_head(&key).await;
        if let Some(run) = decided {
            tracing::info!(store.id = %store_id, sync_run.id = %run_id, by = %decision.by, approve, "decided");
            return Ok(run);
        }
        let run = self.storage.run(&key.tenant_id, &run_id).await?.filter(|run| run.store_id == *key.store_id);
        let run = run.ok_or_else(|| Error::RunNotFound { run_id: run_id.clone() })?;
        let wanted = if approve { SyncState::Published } else { SyncState::Rejected };
        if run.decision.is_some() && run.state() == wanted {
            return Ok(run);
        }
        Err(Error::NotWaiting { run_id, state: run.state().as_str_name().trim_start_matches("SYNC_STATE_") })
    }
}

#[tonic::async_trait]
impl CatalogService for Service {
    type WatchCatalogStream = Pin<Box<dyn Stream<Item = Result<WatchCatalogResponse, Status>> + Send>>;

    /// Calls over a socket are answered by [`crate::get_menu`], from the same bytes.
    async fn get_menu(&self, request: Request<GetMenuRequest>) -> Result<Response<GetMenuResponse>, Status> {
        let Answer { menu, not_modified, etag, change_time } = self.answer_menu(request.into_inner()).await?;
        let menu = (!not_modified).then(|| Menu::decode(menu)).transpose();
        let menu = menu.map_err(|error| Status::internal(format!("a prepared menu cannot be decoded: {error}")))?;
        Ok(Response::new(GetMenuResponse { menu, not_modified, etag, change_time }))
    }

    async fn get_catalog(&self, request: Request<GetCatalogRequest>) -> Result<Response<GetCatalogResponse>, Status> {
        let request = request.into_inner();
        let asked = request::version("version", request.version)?;
        let known = request::version("known_version", request.known_version)?;
        let (key, _) = self.store(&request.store_id).await?;
        let current = self.menus.current_version(&key).await?;
        let version = match (asked, current) {
            (0, None) => return Err(Error::NotSynced { store_id: request.store_id }.into()),
            (0, Some(current)) => current,
            (asked, _) => asked,
        };
        let not_modified = version == known;
        if current == Some(version) {
            if not_modified {
                return Ok(Response::new(GetCatalogResponse { catalog: None, not_modified }));
            }
            let catalog = self.menus.catalog(&key, version).await?.index.catalog().as_ref().clone();
            return Ok(Response::new(GetCatalogResponse { catalog: Some(catalog), not_modified }));
        }
        let stored = self.storage.catalog(&key, version).await.map_err(Error::from)?;
        let catalog = stored.ok_or(Error::VersionNotFound { store_id: request.store_id, version })?;
        Ok(Response::new(GetCatalogResponse { catalog: (!not_modified).then_some(catalog), not_modified }))
    }

    async fn get_offer(&self, request: Request<GetOfferRequest>) -> Result<Response<GetOfferResponse>, Status> {
        let request = request.into_inner();
        let product = request::product(request.product)?;
        let (key, store) = self.store(&request.store_id).await?;
        let mark = self.menus.mark(&key, &store).await?;
        let etag = mark.to_string();
        let not_modified = etag == request.known_etag;
        let catalog = match not_modified {
            true => None,
            false => Some(self.menus.offer(&key, mark, product).await?.catalog().as_ref().clone()),
        };
        Ok(Response::new(GetOfferResponse { catalog, not_modified, etag }))
    }

    async fn set_availability(
        &self,
        request: Request<SetAvailabilityRequest>,
    ) -> Result<Response<SetAvailabilityResponse>, Status> {
        let request = request.into_inner();
        let word = request::availability(&request)?;
        let (key, _) = self.store(&request.store_id).await?;
        Ok(Response::new(self.stock.say(&key, word).await?))
    }

    async fn list_availability(
        &self,
        request: Request<ListAvailabilityRequest>,
    ) -> Result<Response<ListAvailabilityResponse>, Status> {
        let (key, _) = self.store(&request.into_inner().store_id).await?;
        let availability = self.storage.availability(&key).await.map_err(Error::from)?;
        Ok(Response::new(ListAvailabilityResponse { availability }))
    }

    async fn list_catalog_versions(
        &self,
        request: Request<ListCatalogVersionsRequest>,
    ) -> Result<Response<ListCatalogVersionsResponse>, Status> {
        let request = request.into_inner();
        let size = request::page_size(request.page_size)?;
        let list = List { of: "versions", store_id: &request.store_id };
        let before = list.place(&request.page_token)?.unwrap_or(i64::MAX);
        let (key, _) = self.store(&request.store_id).await?;
        let versions = self.storage.versions(&key, before, size + 1).await.map_err(Error::from)?;
        let (versions, next_page_token) = request::page(versions, size, &list, |version| version.version.to_string());
        Ok(Response::new(ListCatalogVersionsResponse { versions, next_page_token }))
    }

    async fn start_sync(&self, request: Request<StartSyncRequest>) -> Result<Response<StartSyncResponse>, Status> {
        let request = request.into_inner();
        let (key, store) = self.store(&request.store_id).await?;
        let mut run = self.syncs.begin(key.clone(), store, SyncTrigger::Call).await?;
        if request.wait {
            run = self.syncs.wait_for_end(&key, &run.sync_run_id).await?;
        }
        Ok(Response::new(StartSyncResponse { run: Some(run) }))
    }

    async fn get_sync_run(&self, request: Request<GetSyncRunRequest>) -> Result<Response<GetSyncRunResponse>, Status> {
        let run_id = request::run_id(&request.into_inner().sync_run_id)?;
        let run = self.storage.run(&call::identity().tenant_id, &run_id).await.map_err(Error::from)?;
        let run = run.ok_or(Error::RunNotFound { run_id })?;
        Ok(Response::new(GetSyncRunResponse { run: Some(run) }))
    }

    async fn list_sync_runs(
        &self,
        request: Request<ListSyncRunsRequest>,
    ) -> Result<Response<ListSyncRunsResponse>, Status> {
        let request = request.into_inner();
        let size = request::page_size(request.page_size)?;
        let list = List { of: "runs", store_id: &request.store_id };
        let before = list.place(&request.page_token)?.unwrap_or(Uuid::max()).to_string();
        let (key, _) = self.store(&request.store_id).await?;
        let runs = self.storage.runs(&key, &before, size + 1).await.map_err(Error::from)?;
        let (runs, next_page_token) = request::page(runs, size, &list, |run| run.sync_run_id.clone());
        Ok(Response::new(ListSyncRunsResponse { runs, next_page_token }))
    }

    async fn approve_snapshot(
        &self,
        request: Request<ApproveSnapshotRequest>,
    ) -> Result<Response<ApproveSnapshotResponse>, Status> {
        let ApproveSnapshotRequest { store_id, sync_run_id, by, note } = request.into_inner();
        let decision = request::decision(by, note)?;
        let run = self.decide(&store_id, &sync_run_id, true, &decision).await?;
        Ok(Response::new(ApproveSnapshotResponse { run: Some(run) }))
    }

    async fn reject_snapshot(
        &self,
        request: Request<RejectSnapshotRequest>,
    ) -> Result<Response<RejectSnapshotResponse>, Status> {
        let RejectSnapshotRequest { store_id, sync_run_id, by, note } = request.into_inner();
        let decision = request::decision(by, note)?;
        let run = self.decide(&store_id, &sync_run_id, false, &decision).await?;
        Ok(Response::new(RejectSnapshotResponse { run: Some(run) }))
    }

    async fn rollback_catalog(
        &self,
        request: Request<RollbackCatalogRequest>,
    ) -> Result<Response<RollbackCatalogResponse>, Status> {
        let RollbackCatalogRequest { store_id, version, by, note } = request.into_inner();
        let decision = request::decision(by, note)?;
        let version = request::version("version", version)?;
        let (key, store) = self.store(&store_id).await?;
        let not_found = || Error::VersionNotFound { store_id: store_id.clone(), version };
        let target = self.storage.catalog(&key, version).await.map_err(Error::from)?.ok_or_else(not_found)?;
        let fit = ambient::blocking(move || domain::sieve(target, &store)).await.map_err(Error::from)?;
        // The store may have been set up anew since.
        let problems = fit.map_or_else(|problems| problems, |sieved| sieved.problems);
        if let Some(first) = problems.into_iter().next() {
            return Err(Error::VersionUnfit { store_id, version, problem: first.message }.into());
        }
        let current = self.storage.rollback(&key, version, &decision).await.map_err(Error::from)?;
        self.menus.forget_head(&key).await;
        let current = current.ok_or_else(not_found)?;
        tracing::info!(store.id = %store_id, by = %decision.by, version, "rolled back, as version {}", current.version);
        Ok(Response::new(RollbackCatalogResponse { version: Some(current) }))
    }

    async fn diff_catalogs(
        &self,
        request: Request<DiffCatalogsRequest>,
    ) -> Result<Response<DiffCatalogsResponse>, Status> {
        let request = request.into_inner();
        let from = request::version("from_version", request.from_version)?;
        let to = request::version("to_version", request.to_version)?;
        let locale = request::locale(&request.locale)?;
        let (key, store) = self.store(&request.store_id).await?;
        let to_version = match (to, self.menus.current_version(&key).await?) {
            (_, None) => return Err(Error::NotSynced { store_id: request.store_id }.into()),
            (0, Some(current)) => current,
            (to, Some(_)) => to,
        };
        let from_version = if from == 0 { to_version - 1 } else { from };
        let diff = self.diffs.of_versions(&key, &store, (from_version, to_version), locale).await?;
        Ok(Response::new(DiffCatalogsResponse {
            from_version,
            to_version,
            changes: diff.changes.clone(),
            omitted_changes: i32::try_from(diff.omitted).unwrap_or(i32::MAX),
        }))
    }

    async fn watch_catalog(
        &self,
        request: Request<WatchCatalogRequest>,
    ) -> Result<Response<Self::WatchCatalogStream>, Status> {
        let request = request.into_inner();
        let told = watch::parse_resume_token(&request.resume_token, &request.store_id)?;
        let locale = request::locale(&request.locale)?.to_owned();
        let (key, store) = self.store(&request.store_id).await?;
        let stream = self.watches.watch(Wish { key, store, locale, told }).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn put_overlay(&self, request: Request<PutOverlayRequest>) -> Result<Response<PutOverlayResponse>, Status> {
        let overlay = self.overlays.put(request.into_inner()).await?;
        Ok(Response::new(PutOverlayResponse { overlay: Some(overlay) }))
    }

    async fn get_overlay(&self, request: Request<GetOverlayRequest>) -> Result<Response<GetOverlayResponse>, Status> {
        let overlay = self.overlays.get(request.into_inner()).await?;
        Ok(Response::new(GetOverlayResponse { overlay: Some(overlay) }))
    }

    async fn list_overlays(
        &self,
        request: Request<ListOverlaysRequest>,
    ) -> Result<Response<ListOverlaysResponse>, Status> {
        let (overlays, next_page_token) = self.overlays.list(request.into_inner()).await?;
        Ok(Response::new(ListOverlaysResponse { overlays, next_page_token }))
    }

    async fn delete_overlay(
        &self,
        request: Request<DeleteOverlayRequest>,
    ) -> Result<Response<DeleteOverlayResponse>, Status> {
        self.overlays.delete(request.into_inner()).await?;
        Ok(Response::new(DeleteOverlayResponse {}))
    }

    async fn list_items_to_review(
        &self,
        request: Request<ListItemsToReviewRequest>,
    ) -> Result<Response<ListItemsToReviewResponse>, Status> {
        let request = request.into_inner();
        let (key, store) = self.store(&request.store_id).await?;
        Ok(Response::new(self.reviews.list(&key, &store, request).await?))
    }

    async fn review_items(
        &self,
        request: Request<ReviewItemsRequest>,
    ) -> Result<Response<ReviewItemsResponse>, Status> {
        let request = request.into_inner();
        let (key, _) = self.store(&request.store_id).await?;
        self.reviews.review(&key, request).await?;
        Ok(Response::new(ReviewItemsResponse {}))
    }
}
