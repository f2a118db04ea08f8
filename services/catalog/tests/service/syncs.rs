//! Runs of syncs.

use std::{sync::Arc, time::Duration};

use posmesh_catalog::Config;
use posmesh_kit::{Failure, failure};
use posmesh_proto::{
    adapter::v1::{PullFailed, pull_catalog_response::Piece},
    catalog::v1::{
        Catalog, CatalogProblem, GetCatalogRequest, GetSyncRunRequest, ListCatalogVersionsRequest,
        ListCatalogVersionsResponse, ListSyncRunsRequest, ProblemEffect, StartSyncRequest, SyncRun, SyncState,
    },
};
use tokio::sync::Notify;
use tonic::{Code, Status};

use crate::{
    fixture::{catalog, yen},
    mesh::{Mesh, Pull, Replica, WARNING, config, piece, until},
};

fn changed(change: impl FnOnce(&mut Catalog)) -> Catalog {
    let mut catalog = catalog();
    change(&mut catalog);
    catalog
}

pub(crate) async fn versions(replica: &Replica) -> ListCatalogVersionsResponse {
    let request = ListCatalogVersionsRequest { store_id: "shibuya".to_owned(), ..Default::default() };
    replica.client.clone().list_catalog_versions(request).await.unwrap().into_inner()
}

pub(crate) async fn run(replica: &Replica, sync_run_id: &str) -> SyncRun {
    let request = GetSyncRunRequest { sync_run_id: sync_run_id.to_owned() };
    replica.client.clone().get_sync_run(request).await.unwrap().into_inner().run.unwrap()
}

#[tokio::test]
async fn a_sync_publishes_what_the_pos_has() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::Sends(catalog()));
    let run = replica.sync().await;
    assert_eq!((run.state(), run.catalog_version), (SyncState::Published, 1));
    let counts = run.counts.unwrap();
    assert_eq!((counts.categories, counts.items, counts.modifier_groups, counts.tables), (4, 2, 3, 1));
    assert_eq!(run.warnings, [WARNING], "what the POS could not express is told");

    let asked = &mesh.world.pulled()[0];
    assert_eq!(asked.target.as_ref().unwrap().store_id, "shibuya");
    assert!(asked.context.is_none(), "only the router sets the context");

    let request = GetCatalogRequest { store_id: "shibuya".to_owned(), ..Default::default() };
    let kept = replica.client.clone().get_catalog(request).await.unwrap().into_inner().catalog.unwrap();
    assert!(kept.publish_time.is_some());
    let expected = Catalog { version: 1, store_id: "shibuya".to_owned(), publish_time: kept.publish_time, ..catalog() };
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn unchanged_data_makes_no_version_whatever_its_order() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::Sends(catalog()));
    mesh.world.next(Pull::Sends(changed(|c| {
        c.items.reverse();
        c.modifier_groups.rotate_left(1);
    })));
    replica.sync().await;
    let again = replica.sync().await;
    assert_eq!((again.state(), again.catalog_version), (SyncState::Unchanged, 1));
    assert_eq!(versions(&replica).await.versions.len(), 1);
}

#[tokio::test]
async fn a_menu_in_other_money_changes_nothing_and_the_report_says_why() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::Sends(catalog()));
    replica.sync().await;
    let before = replica.menu(|_| ()).await.unwrap();

    mesh.world.next(Pull::Sends(changed(|c| c.currency_code = "USD".to_owned())));
    let run = replica.sync().await;
    assert_eq!((run.state(), run.catalog_version, run.counts.unwrap().items), (SyncState::Quarantined, 0, 2));
    assert_eq!(
        (run.problems[0].reason.as_str(), run.problems[0].effect()),
        ("CURRENCY_MISMATCH", ProblemEffect::Refused)
    );
    assert_eq!(replica.menu(|_| ()).await.unwrap(), before);
    assert_eq!(versions(&replica).await.versions.len(), 1);
}

#[tokio::test]
async fn a_wrong_item_is_left_out_alone_and_the_report_says_why_in_the_words_of_the_store() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::Sends(catalog()));
    replica.sync().await;

    let wrong = changed(|c| {
        c.items[0].category_ids = vec!["closed".to_owned()];
        c.items[1].price = yen(-1);
    });
    mesh.world.next(Pull::Sends(wrong.clone()));
    let run = replica.sync().await;
    assert_eq!((run.state(), run.catalog_version), (SyncState::Published, 2));
    assert_eq!((run.counts.unwrap().items, run.left_out.unwrap().items), (1, 1));
    let problem =
        |reason: &str, id: &str, name: &str, field: &str, message: &str, effect: ProblemEffect| CatalogProblem {
            reason: reason.to_owned(),
            entity: "item".to_owned(),
            entity_id: id.to_owned(),
            entity_name: name.to_owned(),
            field: field.to_owned(),
            message: message.to_owned(),
            effect: effect.into(),
        };
    assert_eq!(
        run.problems,
        [
            problem(
                "DANGLING_REFERENCE",
                "beer",
                "生ビール",
                "category_ids",
                "its category \"closed\" is not there; it stands without",
                ProblemEffect::Corrected,
            ),
            problem(
                "NEGATIVE_PRICE",
                "yakitori",
                "焼き鳥",
                "price",
                "the price is -1; it must not be negative",
                ProblemEffect::LeftOut,
            ),
        ]
    );
    let menu = replica.menu(|_| ()).await.unwrap().menu.unwrap();
    assert_eq!(menu.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["beer"]);
    // As long as it is wrong, it is told, and makes no version.
    mesh.world.next(Pull::Sends(wrong));
    let again = replica.sync().await;
    assert_eq!((again.state(), again.problems), (SyncState::Unchanged, run.problems));
}

#[tokio::test]
async fn a_pull_that_broke_off_publishes_nothing() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    mesh.world.next(Pull::BreaksOffAfter(catalog()));
    let run = replica.sync().await;
    assert_eq!((run.state(), run.failure.unwrap().cause.as_str()), (SyncState::Failed, "NETWORK_DOWN"));
    assert_eq!(replica.menu_version().await, 0);
}

#[tokio::test]
async fn a_pull_that_fails_is_told_with_its_cause() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let failed = PullFailed { cause: "MASTER_UPDATING".to_owned(), message: "reloading".to_owned() };
    let refused = |code, reason: &str| Pull::Refuses(Failure::new(code, reason, "no").into());
    let pulls = [
        (Pull::Says(vec![piece(Piece::Failed(failed))]), "MASTER_UPDATING"),
        (Pull::Refuses(Failure::not_handed_over("ADAPTER_DOWN", "no instance").into()), "ADAPTER_DOWN"),
        (refused(Code::NotFound, "CONNECTION_NOT_FOUND"), "MISCONFIGURED"),
        (refused(Code::InvalidArgument, "SETTINGS_INVALID"), "MISCONFIGURED"),
        (Pull::Refuses(Status::unimplemented("no menu")), "NOT_SUPPORTED"),
        (Pull::Refuses(Status::unavailable("gone")), "NETWORK_DOWN"),
        (Pull::Refuses(Status::internal("what?")), "UNKNOWN"),
    ];
    for (pull, cause) in pulls {
        mesh.world.next(pull);
        let run = replica.sync().await;
        assert_eq!((run.state(), run.failure.unwrap().cause.as_str()), (SyncState::Failed, cause));
    }
    assert_eq!(replica.menu_version().await, 0);
}

#[tokio::test]
async fn a_pos_that_never_answers_fails_the_run_in_time() {
    let mesh = Mesh::start().await;
    let config = Config { pull_timeout: Duration::from_millis(200), ..config() };
    let replica = mesh.replica_with(config).await;
    mesh.world.next(Pull::Hangs);
    let run = replica.sync().await;
    assert_eq!((run.state(), run.failure.unwrap().cause.as_str()), (SyncState::Failed, "TIMED_OUT"));
}

#[tokio::test]
async fn a_pull_that_is_too_large_is_quarantined() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica_with(Config { max_pull_bytes: 500, ..config() }).await;
    mesh.world.next(Pull::Sends(catalog()));
    let run = replica.sync().await;
    assert_eq!((run.state(), run.problems[0].reason.as_str()), (SyncState::Quarantined, "TOO_LARGE"));
}

#[tokio::test]
async fn two_syncs_at_once_on_two_replicas_are_one_run() {
    let mesh = Mesh::start().await;
    let (first, second) = (mesh.replica().await, mesh.replica().await);
    let may_send = Arc::new(Notify::new());
    mesh.world.next(Pull::SendsWhen(may_send.clone(), catalog()));

    let begun = first.start_sync(false).await.unwrap();
    assert_eq!(begun.state(), SyncState::Running);
    let joined = tokio::spawn(async move { second.start_sync(true).await.unwrap() });
    let also_joined = first.start_sync(false).await.unwrap();
    assert_eq!(also_joined.sync_run_id, begun.sync_run_id);
    may_send.notify_one();
    let ended = joined.await.unwrap();
    assert_eq!((ended.sync_run_id, ended.catalog_version), (begun.sync_run_id, 1));
    assert_eq!(mesh.world.pulled().len(), 1);
}

#[tokio::test]
async fn a_call_that_waits_answers_before_its_deadline_and_the_run_goes_on() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let may_send = Arc::new(Notify::new());
    mesh.world.next(Pull::SendsWhen(may_send.clone(), catalog()));

    let mut request = tonic::Request::new(StartSyncRequest { store_id: "shibuya".to_owned(), wait: true });
    request.set_timeout(Duration::from_secs(1));
    let begun = replica.client.clone().start_sync(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(begun.state(), SyncState::Running);
    may_send.notify_one();
    let ended = || async { run(&replica, &begun.sync_run_id).await.state() == SyncState::Published };
    until("the run ends", ended).await;
}

#[tokio::test]
async fn a_run_whose_caller_has_gone_ends_all_the_same() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let may_send = Arc::new(Notify::new());
    mesh.world.next(Pull::SendsWhen(may_send.clone(), catalog()));
    let mut client = replica.client.clone();
    let call = tokio::spawn(async move {
        client.start_sync(StartSyncRequest { store_id: "shibuya".to_owned(), wait: true }).await
    });
    until("the POS is asked", || async { mesh.world.pulled().len() == 1 }).await;
    call.abort();
    may_send.notify_one();
    until("the menu is there", || async { replica.menu_version().await == 1 }).await;
}

#[tokio::test]
async fn a_replica_that_stops_ends_its_run_as_interrupted() {
    let mesh = Mesh::start().await;
    let (mut stopping, other) = (mesh.replica().await, mesh.replica().await);
    mesh.world.next(Pull::Hangs);
    let begun = stopping.start_sync(false).await.unwrap();
    stopping.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), stopping.serving.take().unwrap()).await.unwrap().unwrap();
    let ended = run(&other, &begun.sync_run_id).await;
    assert_eq!((ended.state(), ended.failure.unwrap().cause.as_str()), (SyncState::Failed, "INTERRUPTED"));
    mesh.world.next(Pull::Sends(catalog()));
    assert_eq!(other.sync().await.state(), SyncState::Published);
}

#[tokio::test]
async fn too_many_syncs_at_once_are_refused_with_a_time_to_come_back() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica_with(Config { max_concurrent_syncs: 1, ..config() }).await;
    mesh.world.next(Pull::Hangs);
    let running = replica.start_sync(false).await.unwrap();
    assert_eq!(replica.start_sync(false).await.unwrap(), running, "joining is no further sync");
    let request = StartSyncRequest { store_id: "ueno".to_owned(), wait: false };
    let refused = replica.client.clone().start_sync(request).await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    let details = tonic_types::StatusExt::get_error_details(&refused);
    assert!(details.retry_info().is_some_and(|retry| retry.retry_delay > Some(Duration::ZERO)));
}

#[tokio::test]
async fn runs_and_versions_are_listed_newest_first_in_pages() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    for price in [100, 200, 300] {
        mesh.world.next(Pull::Sends(changed(|c| c.items[0].price = yen(price))));
        replica.sync().await;
    }
    let mut client = replica.client.clone();
    let (mut run_versions, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSyncRunsRequest { store_id: "shibuya".to_owned(), page_size: 2, page_token };
        let page = client.list_sync_runs(request).await.unwrap().into_inner();
        assert!((1..=2).contains(&page.runs.len()));
        run_versions.extend(page.runs.iter().map(|run| run.catalog_version));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(run_versions, [3, 2, 1]);

    let request = ListCatalogVersionsRequest { store_id: "shibuya".to_owned(), page_size: 2, ..Default::default() };
    let first = client.list_catalog_versions(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.versions.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 2]);
    let request = ListCatalogVersionsRequest { page_token: first.next_page_token, ..request };
    let last = client.list_catalog_versions(request).await.unwrap().into_inner();
    assert_eq!(last.versions.iter().map(|v| v.version).collect::<Vec<_>>(), [1]);
    assert!(last.next_page_token.is_empty());
}

#[tokio::test]
async fn an_older_version_can_still_be_read() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    for price in [100, 200] {
        mesh.world.next(Pull::Sends(changed(|c| c.items[0].price = yen(price))));
        replica.sync().await;
    }
    let get = async |version, known_version| {
        let request = GetCatalogRequest { store_id: "shibuya".to_owned(), version, known_version };
        replica.client.clone().get_catalog(request).await.map(tonic::Response::into_inner)
    };
    for (version, price) in [(1, 100), (2, 200), (0, 200)] {
        assert_eq!(get(version, 0).await.unwrap().catalog.unwrap().items[0].price, yen(price));
    }
    for (version, known, not_modified) in [(0, 2, true), (0, 1, false), (1, 1, true), (1, 2, false)] {
        let answer = get(version, known).await.unwrap();
        assert_eq!((answer.not_modified, answer.catalog.is_none()), (not_modified, not_modified));
    }
    assert_eq!(failure::reason(&get(3, 3).await.unwrap_err()), "CATALOG_VERSION_NOT_FOUND");
}
