//! Syncs that nobody asks for.

use std::time::Duration;

use posmesh_catalog::Config;
use posmesh_proto::catalog::v1::{ListSyncRunsRequest, SyncRun, SyncState, SyncTrigger};

use crate::{
    fixture::{catalog, yen},
    mesh::{Mesh, Pull, Replica, config, until},
};

async fn runs(replica: &Replica) -> Vec<SyncRun> {
    let request = ListSyncRunsRequest { store_id: "shibuya".to_owned(), ..Default::default() };
    replica.client.clone().list_sync_runs(request).await.unwrap().into_inner().runs
}

#[tokio::test]
async fn a_store_is_pulled_at_its_interval_by_one_replica_at_a_time_and_what_changed_is_sold() {
    let mesh = Mesh::start().await;
    mesh.world.sync_every(Duration::from_millis(100));
    let replicas = [mesh.replica().await, mesh.replica().await];
    let mut raised = catalog();
    raised.items[0].price = yen(600);
    mesh.world.next(Pull::Sends(catalog()));
    for _ in 0..1000 {
        mesh.world.next(Pull::Sends(raised.clone()));
    }
    // A replica plans the stores that it has heard of.
    for replica in &replicas {
        replica.menu_version().await;
    }
    until("the raised price is sold", async || replicas[0].menu_version().await == 2).await;
    until("it goes on", async || runs(&replicas[1]).await.len() >= 5).await;
    let mut runs = runs(&replicas[0]).await;
    assert!(runs.iter().all(|run| run.trigger() == SyncTrigger::Schedule), "{runs:#?}");
    runs.reverse();
    let states: Vec<_> = runs.iter().take(4).map(SyncRun::state).collect();
    assert_eq!(states, [SyncState::Published, SyncState::Published, SyncState::Unchanged, SyncState::Unchanged]);
    for pair in runs.windows(2).filter(|pair| pair[1].state() != SyncState::Running) {
        let (ended, started) = (pair[0].end_time.unwrap(), pair[1].start_time.unwrap());
        assert!((ended.seconds, ended.nanos) <= (started.seconds, started.nanos), "one at a time: {pair:#?}");
    }
}

#[tokio::test]
async fn only_so_many_runs_and_versions_are_kept() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica_with(Config { kept_versions: 2, kept_runs: 3, ..config() }).await;
    for price in [500, 550, 600, 650, 700] {
        let mut catalog = catalog();
        catalog.items[0].price = yen(price);
        mesh.world.next(Pull::Sends(catalog));
        replica.sync().await;
    }
    until("the oldest runs are gone", async || runs(&replica).await.len() == 3).await;
    let versions = crate::syncs::versions(&replica).await.versions;
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(replica.menu_version().await, 5);
}
