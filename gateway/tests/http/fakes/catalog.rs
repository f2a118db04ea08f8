use std::sync::{Arc, Mutex};

use posmesh_kit::Failure;
use posmesh_proto::{
    catalog::v1::{catalog_service_server::CatalogService, *},
    common::v1::{Money, ServiceMode},
};
use tonic::{Code, Request, Response, Status};

use super::unused;

/// The menu and the two tables of `shibuya`.
#[derive(Clone, Default)]
pub struct FakeCatalog {
    etag: Arc<Mutex<String>>,
}

impl FakeCatalog {
    /// From now on the menu is another one.
    pub fn change_menu(&self) {
        self.etag.lock().unwrap().push('x');
    }
}

fn check_store(store_id: &str) -> Result<(), Status> {
    match store_id {
        "shibuya" => Ok(()),
        _ => Err(Failure::new(Code::NotFound, "STORE_NOT_FOUND", "there is no such store").into()),
    }
}

#[tonic::async_trait]
impl CatalogService for FakeCatalog {
    type WatchCatalogStream = tokio_stream::Empty<Result<WatchCatalogResponse, Status>>;

    async fn watch_catalog(
        &self,
        _: Request<WatchCatalogRequest>,
    ) -> Result<Response<Self::WatchCatalogStream>, Status> {
        Err(Status::unimplemented("not part of this script"))
    }

    async fn get_menu(&self, request: Request<GetMenuRequest>) -> Result<Response<GetMenuResponse>, Status> {
        let request = request.into_inner();
        check_store(&request.store_id)?;
        let takeaway = request.service_mode() == ServiceMode::Takeaway;
        let etag = format!("menu-{}-{}-{takeaway}", self.etag.lock().unwrap(), request.locale);
        if request.if_none_match == etag {
            return Ok(Response::new(GetMenuResponse { menu: None, not_modified: true, etag, change_time: None }));
        }
        let (amount, tax_rate_ppm) = if takeaway { (529, 80_000) } else { (539, 100_000) };
        let item = MenuItem {
            id: "yakitori".to_owned(),
            name: if request.locale == "en" { "Yakitori" } else { "焼き鳥" }.to_owned(),
            display_price: Some(Money { currency_code: "JPY".to_owned(), amount }),
            tax_rate_ppm,
            modifier_group_ids: vec!["seasoning".to_owned()],
            available: true,
            allergens: Some(AllergenInfo {
                allergens: vec![
                    Allergen { code: "soybean".to_owned(), presence: AllergenPresence::Contains.into() },
                    Allergen { code: "sesame".to_owned(), presence: AllergenPresence::MayContain.into() },
                ],
                checked_lists: vec![AllergenList::JpMandatory.into()],
            }),
            ..Default::default()
        };
        let salt = MenuModifier {
            id: "salt".to_owned(),
            name: "塩".to_owned(),
            available: true,
            max_quantity: 1,
            ..Default::default()
        };
        let menu = Menu {
            store_id: request.store_id.clone(),
            product: request.product,
            locale: request.locale.clone(),
            service_mode: request.service_mode,
            currency_code: "JPY".to_owned(),
            catalog_version: 7,
            categories: vec![MenuCategory {
                id: "grill".to_owned(),
                name: "串".to_owned(),
                item_ids: vec!["yakitori".to_owned()],
                ..Default::default()
            }],
            items: vec![item],
            modifier_groups: vec![MenuModifierGroup {
                id: "seasoning".to_owned(),
                name: "味".to_owned(),
                min_choices: 1,
                max_choices: 1,
                modifiers: vec![salt],
            }],
            ..Default::default()
        };
        Ok(Response::new(GetMenuResponse { menu: Some(menu), not_modified: false, etag, change_time: None }))
    }

    async fn get_catalog(&self, request: Request<GetCatalogRequest>) -> Result<Response<GetCatalogResponse>, Status> {
        check_store(&request.into_inner().store_id)?;
        let tables = [("t/1", "1"), ("t/2", "窓2")].map(|(id, name)| Table {
            id: id.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        });
        let catalog = Catalog { tables: tables.into(), ..Default::default() };
        Ok(Response::new(GetCatalogResponse { catalog: Some(catalog), not_modified: false }))
    }

    unused! {
        get_offer(GetOfferRequest) -> GetOfferResponse;
        set_availability(SetAvailabilityRequest) -> SetAvailabilityResponse;
        list_availability(ListAvailabilityRequest) -> ListAvailabilityResponse;
        list_catalog_versions(ListCatalogVersionsRequest) -> ListCatalogVersionsResponse;
        start_sync(StartSyncRequest) -> StartSyncResponse;
        get_sync_run(GetSyncRunRequest) -> GetSyncRunResponse;
        list_sync_runs(ListSyncRunsRequest) -> ListSyncRunsResponse;
        approve_snapshot(ApproveSnapshotRequest) -> ApproveSnapshotResponse;
        reject_snapshot(RejectSnapshotRequest) -> RejectSnapshotResponse;
        rollback_catalog(RollbackCatalogRequest) -> RollbackCatalogResponse;
        diff_catalogs(DiffCatalogsRequest) -> DiffCatalogsResponse;
        put_overlay(PutOverlayRequest) -> PutOverlayResponse;
        get_overlay(GetOverlayRequest) -> GetOverlayResponse;
        list_overlays(ListOverlaysRequest) -> ListOverlaysResponse;
        delete_overlay(DeleteOverlayRequest) -> DeleteOverlayResponse;
        list_items_to_review(ListItemsToReviewRequest) -> ListItemsToReviewResponse;
        review_items(ReviewItemsRequest) -> ReviewItemsResponse;
    }
}
