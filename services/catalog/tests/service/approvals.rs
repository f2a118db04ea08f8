//! What waits for a person, and what a person takes back.

use posmesh_kit::failure;
use posmesh_proto::catalog::v1::{
    ApproveSnapshotRequest, Catalog, CatalogVersion, RejectSnapshotRequest, RollbackCatalogRequest, SyncRun, SyncState,
};
use tonic::{Code, Status};

use crate::{
    fixture::{catalog, item, yen},
    mesh::{Mesh, Pull, Replica, until},
    syncs::{run, versions},
};

/// A menu of so many items, each at a price.
fn menu(items: usize, price: i64) -> Catalog {
    let items = (0..items).map(|i| item(&format!("i{i:02}"), &format!("品{i}"), "x", price, "food", &["food"], &[]));
    Catalog { items: items.collect(), ..catalog() }
}

async fn sync(mesh: &Mesh, replica: &Replica, catalog: Catalog) -> SyncRun {
    mesh.world.next(Pull::Sends(catalog));
    replica.sync().await
}

async fn approve(replica: &Replica, sync_run_id: &str) -> Result<SyncRun, Status> {
    let request = ApproveSnapshotRequest {
        store_id: "shibuya".to_owned(),
        sync_run_id: sync_run_id.to_owned(),
        by: "Aiko".to_owned(),
        note: "the winter menu".to_owned(),
    };
    Ok(replica.client.clone().approve_snapshot(request).await?.into_inner().run.unwrap())
}

async fn reject(replica: &Replica, sync_run_id: &str) -> Result<SyncRun, Status> {
    let request = RejectSnapshotRequest {
        store_id: "shibuya".to_owned(),
        sync_run_id: sync_run_id.to_owned(),
        by: "Aiko".to_owned(),
        note: "the till was reset".to_owned(),
    };
    Ok(replica.client.clone().reject_snapshot(request).await?.into_inner().run.unwrap())
}

async fn roll_back(replica: &Replica, version: i64) -> Result<CatalogVersion, Status> {
    let request = RollbackCatalogRequest {
        store_id: "shibuya".to_owned(),
        version,
        by: "Aiko".to_owned(),
        note: "wrong prices".to_owned(),
    };
    Ok(replica.client.clone().rollback_catalog(request).await?.into_inner().version.unwrap())
}

async fn items(replica: &Replica) -> usize {
    replica.menu(|_| ()).await.unwrap().menu.unwrap().items.len()
}

#[tokio::test]
async fn a_pos_that_lost_its_menu_waits_and_the_old_one_sells_on_until_a_person_approves() {
    let mesh = Mesh::start().await;
    let (replica, other) = (mesh.replica().await, mesh.replica().await);
    sync(&mesh, &replica, menu(20, 500)).await;
    let waiting = sync(&mesh, &replica, menu(5, 500)).await;
    assert_eq!((waiting.state(), waiting.catalog_version), (SyncState::WaitingApproval, 0));
    assert_eq!(waiting.problems[0].reason, "MANY_ITEMS_GONE");
    assert_eq!(items(&replica).await, 20);
    // The next pull brings the same: nobody is asked twice.
    let again = sync(&mesh, &replica, menu(5, 500)).await;
    assert_eq!((again.state(), &again.waiting_sync_run_id), (SyncState::Unchanged, &waiting.sync_run_id));

    let approved = approve(&other, &waiting.sync_run_id).await.unwrap();
    assert_eq!((approved.state(), approved.catalog_version), (SyncState::Published, 2));
    assert_eq!(approved.decision.clone().map(|d| (d.by, d.note)), Some(("Aiko".into(), "the winter menu".into())));
    assert_eq!(items(&other).await, 5, "at once where it was approved");
    until("the other replica sells it", || async { items(&replica).await == 5 }).await;
    assert_eq!(approve(&replica, &waiting.sync_run_id).await.unwrap(), approved, "approving twice is harmless");
    let refused = reject(&replica, &waiting.sync_run_id).await.unwrap_err();
    assert_eq!(
        (refused.code(), failure::reason(&refused).as_str()),
        (Code::FailedPrecondition, "SNAPSHOT_NOT_WAITING")
    );
}

#[tokio::test]
async fn a_price_with_a_digit_too_many_waits() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    sync(&mesh, &replica, menu(20, 500)).await;
    let mut typo = menu(20, 500);
    typo.items[7].price = yen(5_000);
    let waiting = sync(&mesh, &replica, typo).await;
    assert_eq!((waiting.state(), waiting.problems.len()), (SyncState::WaitingApproval, 1));
    let problem = &waiting.problems[0];
    assert_eq!((problem.entity_name.as_str(), problem.field.as_str()), ("品7", "price"));
    assert_eq!(problem.message, "the price went from 500 to 5,000; more than 100 % waits for approval");
    assert_eq!(replica.menu_version().await, 1);
}

#[tokio::test]
async fn what_a_person_refused_stays_refused_until_the_pos_sends_something_else() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    sync(&mesh, &replica, menu(20, 500)).await;
    let waiting = sync(&mesh, &replica, menu(0, 500)).await;
    let refused = reject(&replica, &waiting.sync_run_id).await.unwrap();
    assert_eq!(refused.state(), SyncState::Rejected);
    assert_eq!(reject(&replica, &waiting.sync_run_id).await.unwrap(), refused, "refusing twice is harmless");
    let again = sync(&mesh, &replica, menu(0, 500)).await;
    assert_eq!((again.state(), again.decision.unwrap().by.as_str()), (SyncState::Rejected, "Aiko"));
    assert_eq!(items(&replica).await, 20);
    assert_eq!(sync(&mesh, &replica, menu(20, 510)).await.state(), SyncState::Published);
}

#[tokio::test]
async fn a_harmless_pull_takes_the_place_of_what_waits_and_the_older_one_never_comes_back() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    sync(&mesh, &replica, menu(20, 500)).await;
    let waiting = sync(&mesh, &replica, menu(5, 500)).await;
    let healed = sync(&mesh, &replica, menu(21, 500)).await;
    assert_eq!((healed.state(), healed.catalog_version), (SyncState::Published, 2));
    let kept = run(&replica, &waiting.sync_run_id).await;
    assert_eq!((kept.state(), &kept.superseded_by_run_id), (SyncState::Superseded, &healed.sync_run_id));
    let late = approve(&replica, &waiting.sync_run_id).await.unwrap_err();
    assert_eq!(failure::metadata(&late, "state").as_deref(), Some("SUPERSEDED"));
    assert_eq!(items(&replica).await, 21);
}

#[tokio::test]
async fn a_rollback_sells_at_once_and_the_next_pull_is_compared_with_it() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    for price in [500, 600] {
        sync(&mesh, &replica, menu(20, price)).await;
    }
    let version = roll_back(&replica, 1).await.unwrap();
    assert_eq!((version.version, version.restored_version), (3, 1));
    assert_eq!(version.decision.as_ref().map(|d| d.note.as_str()), Some("wrong prices"));
    assert_eq!(roll_back(&replica, 1).await.unwrap(), version, "rolling back twice is harmless");
    let price = replica.menu(|_| ()).await.unwrap().menu.unwrap().items[0].display_price.clone();
    assert_eq!(price, yen(500));
    // What was undone does not come back by itself; 1100 is too far from 500, not from 600.
    assert_eq!(sync(&mesh, &replica, menu(20, 600)).await.state(), SyncState::Rejected);
    assert_eq!(sync(&mesh, &replica, menu(20, 1100)).await.state(), SyncState::WaitingApproval);
    assert_eq!(sync(&mesh, &replica, menu(20, 550)).await.catalog_version, 4);
    let listed: Vec<_> = versions(&replica).await.versions.into_iter().map(|v| v.content_hash).collect();
    assert!(listed[1] == listed[3] && listed[0] != listed[1], "{listed:?}");
}

#[tokio::test]
async fn a_decision_needs_a_name_and_a_run_or_version_of_the_store() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let published = sync(&mesh, &replica, menu(3, 500)).await;
    let reason = |status: Status| failure::reason(&status);
    let nameless = RollbackCatalogRequest { store_id: "shibuya".to_owned(), version: 1, ..Default::default() };
    assert_eq!(reason(replica.client.clone().rollback_catalog(nameless).await.unwrap_err()), "REQUIRED");
    assert_eq!(reason(roll_back(&replica, 2).await.unwrap_err()), "CATALOG_VERSION_NOT_FOUND");
    assert_eq!(reason(roll_back(&replica, -1).await.unwrap_err()), "VERSION_INVALID");
    let elsewhere = ApproveSnapshotRequest {
        store_id: "ueno".to_owned(),
        sync_run_id: published.sync_run_id.clone(),
        by: "Aiko".to_owned(),
        note: String::new(),
    };
    assert_eq!(reason(replica.client.clone().approve_snapshot(elsewhere).await.unwrap_err()), "SYNC_RUN_NOT_FOUND");
    assert_eq!(reason(approve(&replica, &published.sync_run_id).await.unwrap_err()), "SNAPSHOT_NOT_WAITING");
}
