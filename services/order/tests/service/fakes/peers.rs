//! Store, catalog, router and adapter behind one in-process server.

use std::pin::Pin;

use futures_util::{Stream, stream};
use posmesh_kit::{Failure, cause, server::Mounted};
use posmesh_proto::{
    adapter::v1::{pos_adapter_service_server::*, *},
    catalog::v1::{catalog_service_server::*, *},
    common::v1::{EvidenceKind, LocalizedText, Product, ServiceMode},
    router::v1::{router_service_server::*, *},
    store::v1::{store_service_server::*, *},
};
use tonic::{Code, Request, Response, Status, service::Routes};

use super::{Act, BEER, ChangeAct, OTHER_STORE, PRINTER, Pos, PosState, STORE, not_found, outcome, yen};

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(crate) fn mounted(pos: &Pos) -> Mounted {
    let routes = Routes::new(StoreServiceServer::new(pos.clone()))
        .add_service(CatalogServiceServer::new(pos.clone()))
        .add_service(RouterServiceServer::new(pos.clone()))
        .add_service(PosAdapterServiceServer::new(pos.clone()));
    Mounted::new("peers", routes, Vec::new())
}

fn unused<T>() -> Answer<T> {
    Err(Status::unimplemented("not part of this script"))
}

fn text(en: &str) -> Option<LocalizedText> {
    Some(LocalizedText { texts: [("en".to_owned(), en.to_owned())].into() })
}

fn store(pos: &Pos, store_id: &str) -> Store {
    let state = pos.state.lock().unwrap();
    let policy = |product: Product| {
        let given = match product {
            Product::ToGo => state.togo.clone(),
            Product::Table => state.table.clone(),
            _ => ProductPolicy::default(),
        };
        let deliver_within = given.deliver_within.or(Some(prost_types::Duration { seconds: 10, nanos: 0 }));
        ProductPolicy { product: product.into(), deliver_within, ..given }
    };
    Store {
        store_id: store_id.into(),
        time_zone: "Asia/Tokyo".into(),
        currency_code: "JPY".into(),
        locales: vec!["en".into()],
        opening_hours: state.hours.clone(),
        lifecycle: StoreLifecycle::Live.into(),
        product_policies: [Product::Table, Product::ToGo, Product::Kiosk].map(policy).to_vec(),
        revision: 1,
        ..Store::default()
    }
}

impl PosState {
    /// A page of one order, by the number of those before it.
    fn page(&self, request: &ListPosOrdersRequest) -> PosOrders {
        assert_eq!(request.from.is_some(), self.lists == ListOrders::ByTime, "asked in a way that it does not list");
        assert_eq!(request.business_date.is_empty(), self.lists == ListOrders::ByTime);
        let of_order = |order: &PosOrder| {
            let is_cancelled = self.cancelled.contains(&order.reference);
            super::record(order, if is_cancelled { PosOrderProgress::Cancelled } else { self.progress })
        };
        let instead = |record: &PosOrderRecord| {
            self.records.iter().any(|other| other.pos_order_reference == record.pos_order_reference)
        };
        let own = self.orders.values().map(of_order).filter(|record| !instead(record));
        let mut all: Vec<PosOrderRecord> = own.chain(self.records.iter().cloned()).collect();
        all.sort_by(|a, b| a.pos_order_reference.cmp(&b.pos_order_reference));
        let from: usize = request.page_token.parse().unwrap_or(0);
        let more = from + 1 < all.len();
        PosOrders {
            orders: all.into_iter().skip(from).take(1).collect(),
            next_page_token: if more { (from + 1).to_string() } else { String::new() },
        }
    }
}

impl Pos {
    /// What a connection leads to.
    fn behind(&self, connection_id: &str) -> &Self {
        if connection_id == PRINTER { self.printer() } else { self }
    }

    /// What a call is for.
    fn target(&self, target: Option<&PosTarget>) -> &Self {
        self.behind(target.map_or("", |target| target.connection_id.as_str()))
    }

    fn connection(&self, connection_id: &str) -> Connection {
        let revision = 1 + self.state.lock().unwrap().repointed;
        Connection {
            connection_id: connection_id.into(),
            store_id: STORE.into(),
            revision,
            pos_revision: revision,
            ..Connection::default()
        }
    }

    /// The way to where the connection led before it was changed is not kept.
    fn check_revision(&self, target: Option<&PosTarget>) -> Result<(), Status> {
        let asked = target.map_or(0, |target| target.connection_revision);
        if asked != 0 && asked != 1 + self.state.lock().unwrap().repointed {
            return Err(Failure::new(Code::FailedPrecondition, "REVISION_CHANGED", "it was changed since").into());
        }
        Ok(())
    }

    fn descriptor(&self) -> AdapterDescriptor {
        let state = self.state.lock().unwrap();
        let capability = |name: &str| {
            let cannot = state.cannot.get(name);
            let support = if cannot.is_some() { CapabilitySupport::Manual } else { CapabilitySupport::Native };
            Capability { name: name.into(), support: support.into(), note: cannot.cloned().unwrap_or_default() }
        };
        let idempotency = if state.recognizes { IdempotencyKind::Forever } else { IdempotencyKind::None };
        let find = if state.finds_nothing { FindKind::None } else { FindKind::ByReference };
        let mut capabilities = state.till.capabilities();
        capabilities.extend(["CANCEL_ORDER", "VOID_LINES"].map(capability));
        capabilities.extend(state.takes_entries.then(|| capability("SUBMIT_WITHOUT_TICKET")));
        capabilities.extend((state.lists as i32 > ListOrders::None as i32).then(|| capability("LIST_ORDERS")));
        capabilities.extend(state.poll_interval.map(|_| capability("POLL_EVENTS")));
        AdapterDescriptor {
            capabilities,
            evidence: vec![if state.prints { EvidenceKind::Printed } else { EvidenceKind::Pos }.into()],
            list_orders: state.lists.into(),
            min_poll_interval: state.poll_interval.map(posmesh_kit::time::to_proto_duration),
            limits: Some(Limits { max_note_chars: 20, charset: "shift_jis".into(), ..Limits::default() }),
            idempotency: Some(Idempotency { kind: idempotency.into(), window: None }),
            find: Some(Find { kind: find.into(), authoritative: !state.find_proves_nothing }),
            ..AdapterDescriptor::default()
        }
    }

    /// What comes of a cancel or void; `change` carries it out.
    async fn change(&self, change: impl FnOnce(&mut PosState)) -> Result<ChangeOutcome, Status> {
        let act = self.state.lock().unwrap().changes.pop_front();
        self.submitted.notify_one();
        let done = change_outcome::Outcome::Changed(Changed::default());
        let outcome = match act {
            Some(ChangeAct::Lose) => return Err(Status::unknown("connection reset")),
            Some(ChangeAct::Answer(answer)) => answer,
            Some(ChangeAct::DoAndLoseAnswer) => {
                change(&mut self.state.lock().unwrap());
                return Err(Status::unavailable("connection reset"));
            }
            Some(ChangeAct::Hang(go)) => {
                go.notified().await;
                change(&mut self.state.lock().unwrap());
                done
            }
            None => {
                change(&mut self.state.lock().unwrap());
                done
            }
        };
        Ok(ChangeOutcome { outcome: Some(outcome) })
    }

    fn catalog(&self) -> Catalog {
        let state = self.state.lock().unwrap();
        let price = if state.price == 0 { super::BEER_PRICE } else { state.price };
        Catalog {
            store_id: STORE.into(),
            version: 1 + price + i64::from(state.sold_out) + 10_000 * i64::from(state.gone),
            currency_code: "JPY".into(),
            tax_rounding: Some(TaxRounding {
                scope: TaxRoundingScope::Rate.into(),
                direction: TaxRoundingDirection::Down.into(),
            }),
            tax_classes: vec![TaxClass {
                id: "standard".into(),
                name: text("Standard"),
                included_in_price: true,
                rates: vec![TaxRate {
                    service_mode: ServiceMode::Unspecified.into(),
                    rate_ppm: 100_000,
                    ..TaxRate::default()
                }],
            }],
            items: vec![Item {
                id: if state.gone { "wine".into() } else { BEER.into() },
                name: text("Beer"),
                price: Some(yen(price)),
                tax_class_id: "standard".into(),
                available: !state.sold_out,
                menu_period_ids: state.beer_hours.iter().map(|_| "bar".to_owned()).take(1).collect(),
                ..Item::default()
            }],
            menu_periods: vec![MenuPeriod { id: "bar".into(), name: text("Bar"), hours: state.beer_hours.clone() }],
            tables: ["t1", "t2", "t3"].map(|id| Table { id: id.into(), name: id.into(), ..Table::default() }).into(),
            ..Catalog::default()
        }
    }
}

#[tonic::async_trait]
impl StoreService for Pos {
    type WatchStoresStream = Streamed<WatchStoresResponse>;

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Answer<GetStoreResponse> {
        let store_id = &request.get_ref().store_id;
        if store_id != STORE && store_id != OTHER_STORE {
            return Err(Failure::new(Code::NotFound, "STORE_NOT_FOUND", "no such store").into());
        }
        Ok(Response::new(GetStoreResponse { store: Some(store(self, store_id)) }))
    }
    async fn watch_stores(&self, _: Request<WatchStoresRequest>) -> Answer<Self::WatchStoresStream> {
        Ok(Response::new(Box::pin(stream::pending())))
    }
    async fn put_brand(&self, _: Request<PutBrandRequest>) -> Answer<PutBrandResponse> {
        unused()
    }
    async fn get_brand(&self, _: Request<GetBrandRequest>) -> Answer<GetBrandResponse> {
        unused()
    }
    async fn list_brands(&self, _: Request<ListBrandsRequest>) -> Answer<ListBrandsResponse> {
        unused()
    }
    async fn put_store(&self, _: Request<PutStoreRequest>) -> Answer<PutStoreResponse> {
        unused()
    }
    async fn list_stores(&self, _: Request<ListStoresRequest>) -> Answer<ListStoresResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl CatalogService for Pos {
    async fn get_offer(&self, request: Request<GetOfferRequest>) -> Answer<GetOfferResponse> {
        let catalog = self.catalog();
        let etag = catalog.version.to_string();
        let not_modified = request.get_ref().known_etag == etag;
        Ok(Response::new(GetOfferResponse { catalog: (!not_modified).then_some(catalog), not_modified, etag }))
    }
    async fn get_catalog(&self, _: Request<GetCatalogRequest>) -> Answer<GetCatalogResponse> {
        unused()
    }
    async fn set_availability(
        &self,
        _: Request<posmesh_proto::catalog::v1::SetAvailabilityRequest>,
    ) -> Answer<posmesh_proto::catalog::v1::SetAvailabilityResponse> {
        unused()
    }
    async fn list_availability(&self, _: Request<ListAvailabilityRequest>) -> Answer<ListAvailabilityResponse> {
        unused()
    }
    async fn get_menu(&self, _: Request<GetMenuRequest>) -> Answer<GetMenuResponse> {
        unused()
    }
    async fn list_catalog_versions(
        &self,
        _: Request<ListCatalogVersionsRequest>,
    ) -> Answer<ListCatalogVersionsResponse> {
        unused()
    }
    async fn start_sync(&self, _: Request<StartSyncRequest>) -> Answer<StartSyncResponse> {
        unused()
    }
    async fn get_sync_run(&self, _: Request<GetSyncRunRequest>) -> Answer<GetSyncRunResponse> {
        unused()
    }
    async fn list_sync_runs(&self, _: Request<ListSyncRunsRequest>) -> Answer<ListSyncRunsResponse> {
        unused()
    }
    async fn approve_snapshot(&self, _: Request<ApproveSnapshotRequest>) -> Answer<ApproveSnapshotResponse> {
        unused()
    }
    async fn reject_snapshot(&self, _: Request<RejectSnapshotRequest>) -> Answer<RejectSnapshotResponse> {
        unused()
    }
    type WatchCatalogStream = Streamed<WatchCatalogResponse>;

    async fn diff_catalogs(&self, _: Request<DiffCatalogsRequest>) -> Answer<DiffCatalogsResponse> {
        unused()
    }
    async fn watch_catalog(&self, _: Request<WatchCatalogRequest>) -> Answer<Self::WatchCatalogStream> {
        unused()
    }
    async fn rollback_catalog(&self, _: Request<RollbackCatalogRequest>) -> Answer<RollbackCatalogResponse> {
        unused()
    }
    async fn put_overlay(&self, _: Request<PutOverlayRequest>) -> Answer<PutOverlayResponse> {
        unused()
    }
    async fn get_overlay(&self, _: Request<GetOverlayRequest>) -> Answer<GetOverlayResponse> {
        unused()
    }
    async fn list_overlays(&self, _: Request<ListOverlaysRequest>) -> Answer<ListOverlaysResponse> {
        unused()
    }
    async fn delete_overlay(&self, _: Request<DeleteOverlayRequest>) -> Answer<DeleteOverlayResponse> {
        unused()
    }
    async fn list_items_to_review(&self, _: Request<ListItemsToReviewRequest>) -> Answer<ListItemsToReviewResponse> {
        unused()
    }
    async fn review_items(&self, _: Request<ReviewItemsRequest>) -> Answer<ReviewItemsResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl RouterService for Pos {
    async fn resolve_connection(
        &self,
        request: Request<ResolveConnectionRequest>,
    ) -> Answer<ResolveConnectionResponse> {
        self.state.lock().unwrap().resolves += 1;
        if request.get_ref().role() == ConnectionRole::Fallback {
            let none = || Failure::new(Code::NotFound, "CONNECTION_NOT_FOUND", "the store has none");
            let printer = self.printer.as_deref().ok_or_else(none)?;
            return Ok(Response::new(ResolveConnectionResponse {
                connection: Some(printer.connection(PRINTER)),
                descriptor: Some(printer.descriptor()),
            }));
        }
        if self.state.lock().unwrap().disconnected {
            return Err(Failure::new(Code::NotFound, "CONNECTION_NOT_FOUND", "it was deleted").into());
        }
        let connection_id = match request.get_ref().product() {
            Product::Kiosk if self.state.lock().unwrap().second_pos => "bar",
            Product::ToGo | Product::Unspecified if self.state.lock().unwrap().moved => "bar",
            _ => "till",
        };
        Ok(Response::new(ResolveConnectionResponse {
            connection: Some(self.connection(connection_id)),
            descriptor: Some(self.descriptor()),
        }))
    }
    async fn register_adapter(&self, _: Request<RegisterAdapterRequest>) -> Answer<RegisterAdapterResponse> {
        unused()
    }
    async fn deregister_adapter(&self, _: Request<DeregisterAdapterRequest>) -> Answer<DeregisterAdapterResponse> {
        unused()
    }
    async fn list_adapters(&self, _: Request<ListAdaptersRequest>) -> Answer<ListAdaptersResponse> {
        unused()
    }
    async fn put_connection(&self, _: Request<PutConnectionRequest>) -> Answer<PutConnectionResponse> {
        unused()
    }
    async fn get_connection(&self, request: Request<GetConnectionRequest>) -> Answer<GetConnectionResponse> {
        let connection_id = &request.get_ref().connection_id;
        let connection = self.behind(connection_id).connection(connection_id);
        Ok(Response::new(GetConnectionResponse { connection: Some(connection) }))
    }
    async fn list_connections(&self, _: Request<ListConnectionsRequest>) -> Answer<ListConnectionsResponse> {
        unused()
    }
    async fn delete_connection(&self, _: Request<DeleteConnectionRequest>) -> Answer<DeleteConnectionResponse> {
        unused()
    }

    async fn list_links(&self, _: Request<ListLinksRequest>) -> Answer<ListLinksResponse> {
        unused()
    }
    async fn list_link_events(&self, _: Request<ListLinkEventsRequest>) -> Answer<ListLinkEventsResponse> {
        unused()
    }
    type WatchLinksStream = Streamed<WatchLinksResponse>;

    async fn watch_links(&self, _: Request<WatchLinksRequest>) -> Answer<Self::WatchLinksStream> {
        let mut links = self.links.subscribe();
        links.mark_changed();
        let told = stream::unfold(links, |mut links| async {
            links.changed().await.ok()?;
            let told = links.borrow_and_update().clone();
            let item = match told {
                Some(links) => Ok(WatchLinksResponse { links, current: true, ..WatchLinksResponse::default() }),
                None => Err(Status::unimplemented("not part of this script")),
            };
            Some((item, links))
        });
        Ok(Response::new(Box::pin(told)))
    }
    async fn probe_connection(&self, _: Request<ProbeConnectionRequest>) -> Answer<ProbeConnectionResponse> {
        unused()
    }
    async fn report_links(&self, _: Request<ReportLinksRequest>) -> Answer<ReportLinksResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl PosAdapterService for Pos {
    type PullCatalogStream = Streamed<PullCatalogResponse>;

    async fn submit_order(&self, request: Request<SubmitOrderRequest>) -> Answer<SubmitOrderResponse> {
        let request = request.into_inner();
        let pos = self.target(request.target.as_ref());
        pos.check_revision(request.target.as_ref())?;
        let order = request.order.unwrap();
        let act = {
            let mut state = pos.state.lock().unwrap();
            state.submits.push(order.clone());
            let store_id = request.target.as_ref().map(|target| target.store_id.as_str());
            match state.refuses_once.take_if(|(refuses, _)| Some(refuses.as_str()) == store_id) {
                Some((_, status)) => Act::Fail(status),
                None => state.script.pop_front().unwrap_or(Act::Take),
            }
        };
        pos.submitted.notify_one();
        pos.hang(&request.target.clone().unwrap_or_default().store_id).await;
        match act {
            Act::Take => Ok(Response::new(outcome(pos.take(order)))),
            Act::TakeAndLoseAnswer => {
                pos.take(order);
                Err(Status::unavailable("connection reset"))
            }
            Act::Lose => Err(Status::unknown("connection reset")),
            Act::Answer(answer) => Ok(Response::new(outcome(answer))),
            Act::Fail(status) => Err(status),
            Act::Hang(go) => {
                go.notified().await;
                Ok(Response::new(outcome(pos.take(order))))
            }
        }
    }

    async fn find_order(&self, request: Request<FindOrderRequest>) -> Answer<FindOrderResponse> {
        let request = request.into_inner();
        let pos = self.target(request.target.as_ref());
        pos.check_revision(request.target.as_ref())?;
        pos.hang(&request.target.clone().unwrap_or_default().store_id).await;
        let reference = request.reference;
        let mut state = pos.state.lock().unwrap();
        state.finds += 1;
        if state.find_broken {
            let failed = FindFailed { cause: cause::NETWORK_DOWN.into(), message: "no answer".into() };
            return Ok(Response::new(FindOrderResponse { result: Some(find_order_response::Result::Failed(failed)) }));
        }
        let shown = if state.prints { super::printed } else { super::placed };
        let found = state.orders.get(&reference).map(|order| shown(order, 1));
        let progress = state.progress.into();
        Ok(Response::new(match found.map(|placed| Placed { progress, ..placed }) {
            Some(placed) if state.cancelled.contains(&reference) => {
                let cancelled = CancelledAtPos { placed: Some(placed), cancel_time: None };
                FindOrderResponse { result: Some(find_order_response::Result::Cancelled(cancelled)) }
            }
            Some(placed) => FindOrderResponse { result: Some(find_order_response::Result::Found(placed)) },
            None => not_found(!state.find_proves_nothing),
        }))
    }

    async fn list_checks(&self, request: Request<ListChecksRequest>) -> Answer<ListChecksResponse> {
        let result = self.state.lock().unwrap().list_checks(&request.get_ref().table_id);
        Ok(Response::new(ListChecksResponse { result: Some(result) }))
    }

    async fn get_check(&self, request: Request<GetCheckRequest>) -> Answer<GetCheckResponse> {
        let result = self.state.lock().unwrap().get_check(&request.get_ref().pos_check_reference);
        Ok(Response::new(GetCheckResponse { result: Some(result) }))
    }

    async fn describe_adapter(&self, request: Request<DescribeAdapterRequest>) -> Answer<DescribeAdapterResponse> {
        let descriptor = self.target(request.get_ref().target.as_ref()).descriptor();
        Ok(Response::new(DescribeAdapterResponse { descriptor: Some(descriptor) }))
    }
    async fn probe_link(&self, _: Request<ProbeLinkRequest>) -> Answer<ProbeLinkResponse> {
        unused()
    }
    async fn pull_catalog(&self, _: Request<PullCatalogRequest>) -> Answer<Self::PullCatalogStream> {
        unused()
    }
    async fn request_bill(&self, _: Request<RequestBillRequest>) -> Answer<RequestBillResponse> {
        unused()
    }

    async fn cancel_order(&self, request: Request<CancelOrderRequest>) -> Answer<CancelOrderResponse> {
        let request = request.into_inner();
        let pos = self.target(request.target.as_ref());
        pos.check_revision(request.target.as_ref())?;
        pos.state.lock().unwrap().cancels.push(request.clone());
        let reference = request.order.unwrap().reference;
        let outcome = pos.change(|state| {
            state.cancelled.insert(reference);
        });
        Ok(Response::new(CancelOrderResponse { outcome: Some(outcome.await?) }))
    }

    async fn void_lines(&self, request: Request<VoidLinesRequest>) -> Answer<VoidLinesResponse> {
        self.state.lock().unwrap().voids.push(request.into_inner());
        let outcome = self.change(|_| {});
        Ok(Response::new(VoidLinesResponse { outcome: Some(outcome.await?) }))
    }

    async fn list_pos_orders(&self, request: Request<ListPosOrdersRequest>) -> Answer<ListPosOrdersResponse> {
        let request = request.into_inner();
        let state = self.state.lock().unwrap();
        let result = if state.list_broken {
            let failed = ListFailed { cause: cause::NETWORK_DOWN.into(), message: "no answer".into() };
            list_pos_orders_response::Result::Failed(failed)
        } else {
            list_pos_orders_response::Result::Orders(state.page(&request))
        };
        Ok(Response::new(ListPosOrdersResponse { result: Some(result) }))
    }

    async fn poll_catalog(&self, _: Request<PollCatalogRequest>) -> Answer<PollCatalogResponse> {
        unused()
    }
    async fn set_availability(
        &self,
        _: Request<posmesh_proto::adapter::v1::SetAvailabilityRequest>,
    ) -> Answer<posmesh_proto::adapter::v1::SetAvailabilityResponse> {
        unused()
    }
    async fn poll_events(&self, request: Request<PollEventsRequest>) -> Answer<PollEventsResponse> {
        let cursor = request.into_inner().cursor;
        let mut state = self.state.lock().unwrap();
        state.polls.push((tokio::time::Instant::now(), cursor.clone()));
        let from = if cursor.is_empty() { state.events.len() } else { cursor.parse().unwrap() };
        let result = if from < state.oldest_cursor {
            let failed = PollFailed { cause: "CURSOR_TOO_OLD".into(), message: "begin again".into() };
            poll_events_response::Result::Failed(failed)
        } else {
            // One at a time, so that there is more.
            let events: Vec<PosEvent> = state.events.iter().skip(from).take(1).cloned().collect();
            let next = from + events.len();
            let more = next < state.events.len();
            poll_events_response::Result::Events(PosEvents { events, cursor: next.to_string(), more })
        };
        Ok(Response::new(PollEventsResponse { result: Some(result) }))
    }

    async fn split_check(&self, request: Request<SplitCheckRequest>) -> Answer<SplitCheckResponse> {
        self.state.lock().unwrap().split_check(request.get_ref()).map(Response::new)
    }
}
