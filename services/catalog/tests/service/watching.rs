//! What changed between versions, asked for and watched.

use std::time::Duration;

use posmesh_catalog::Config;
use posmesh_kit::failure;
use posmesh_proto::catalog::v1::{
    Catalog, DiffCatalogsRequest, DiffCatalogsResponse, RollbackCatalogRequest, WatchCatalogRequest,
    WatchCatalogResponse,
};
use tonic::{Code, Status, Streaming};

use crate::{
    fixture::{catalog, yen},
    mesh::{Mesh, Pull, Replica, config, until},
};

async fn sync(mesh: &Mesh, replica: &Replica, change: impl FnOnce(&mut Catalog)) {
    let mut catalog = catalog();
    change(&mut catalog);
    mesh.world.next(Pull::Sends(catalog));
    replica.sync().await;
}

async fn diff(replica: &Replica, from_version: i64, to_version: i64) -> Result<DiffCatalogsResponse, Status> {
    let request =
        DiffCatalogsRequest { store_id: "shibuya".to_owned(), from_version, to_version, locale: "en".to_owned() };
    Ok(replica.client.clone().diff_catalogs(request).await?.into_inner())
}

pub(crate) fn lines(changes: &[posmesh_proto::catalog::v1::CatalogChange]) -> Vec<&str> {
    changes.iter().map(|change| change.text.as_str()).collect()
}

pub(crate) async fn watch(replica: &Replica, resume_token: &str) -> Result<Streaming<WatchCatalogResponse>, Status> {
    let resume_token = resume_token.to_owned();
    let request = WatchCatalogRequest { store_id: "shibuya".to_owned(), resume_token, locale: "en".to_owned() };
    Ok(replica.client.clone().watch_catalog(request).await?.into_inner())
}

/// The next message, within 10 s.
pub(crate) async fn next(stream: &mut Streaming<WatchCatalogResponse>) -> Result<WatchCatalogResponse, Status> {
    let message = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.expect("no news");
    Ok(message?.expect("the stream ended"))
}

#[tokio::test]
async fn a_diff_says_in_one_line_each_what_changed() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    assert_eq!(failure::reason(&diff(&replica, 0, 0).await.unwrap_err()), "CATALOG_NOT_SYNCED");
    sync(&mesh, &replica, |_| ()).await;
    sync(&mesh, &replica, |c| c.items[0].price = yen(600)).await;
    sync(&mesh, &replica, |c| {
        c.items[0].price = yen(600);
        c.items[1].available = false;
    })
    .await;
    let latest = diff(&replica, 0, 0).await.unwrap();
    assert_eq!((latest.from_version, latest.to_version, latest.omitted_changes), (2, 3, 0));
    assert_eq!(lines(&latest.changes), ["Yakitori: sold out"]);
    let both = ["Draft beer: price 545 → 600", "Yakitori: sold out"];
    assert_eq!(lines(&diff(&replica, 1, 3).await.unwrap().changes), both);
    assert_eq!(lines(&diff(&replica, 3, 1).await.unwrap().changes), ["Draft beer: price 600 → 545", "Yakitori: back"]);
    let first = diff(&replica, 0, 1).await.unwrap();
    assert_eq!((first.from_version, lines(&first.changes)[0]), (0, "Draft beer: new, 545"));
    assert_eq!(failure::reason(&diff(&replica, 1, 4).await.unwrap_err()), "CATALOG_VERSION_NOT_FOUND");
    assert_eq!(failure::reason(&diff(&replica, -1, 1).await.unwrap_err()), "VERSION_INVALID");
}

#[tokio::test]
async fn what_one_replica_publishes_is_heard_on_the_other_with_what_changed() {
    let mesh = Mesh::start().await;
    let (publishing, listening) = (mesh.replica().await, mesh.replica().await);
    let mut stream = watch(&listening, "").await.unwrap();
    let nothing = next(&mut stream).await.unwrap();
    assert_eq!((nothing.version, nothing.content_hash.as_str()), (0, ""));

    sync(&mesh, &publishing, |_| ()).await;
    let first = next(&mut stream).await.unwrap();
    assert_eq!((first.version, first.from_version, first.content_hash.len(), first.changes.len()), (1, 0, 64, 0));
    sync(&mesh, &publishing, |c| c.items[0].price = yen(600)).await;
    let second = next(&mut stream).await.unwrap();
    assert_eq!((second.version, second.from_version), (2, 1));
    assert_eq!(lines(&second.changes), ["Draft beer: price 545 → 600"]);

    let back =
        RollbackCatalogRequest { store_id: "shibuya".into(), version: 1, by: "Aiko".into(), note: String::new() };
    publishing.client.clone().rollback_catalog(back).await.unwrap();
    let third = next(&mut stream).await.unwrap();
    assert_eq!((third.version, lines(&third.changes)), (3, vec!["Draft beer: price 600 → 545"]));
    assert_eq!(third.content_hash, first.content_hash);
}

#[tokio::test]
async fn who_comes_back_with_its_token_gets_what_it_missed_and_nothing_else() {
    let mesh = Mesh::start().await;
    let (replica, other) = (mesh.replica().await, mesh.replica().await);
    sync(&mesh, &replica, |_| ()).await;
    let token = next(&mut watch(&replica, "").await.unwrap()).await.unwrap().resume_token;
    sync(&mesh, &replica, |c| c.items[0].price = yen(600)).await;
    sync(&mesh, &replica, |c| c.items[1].price = yen(400)).await;
    let mut stream = watch(&other, &token).await.unwrap();
    let missed = next(&mut stream).await.unwrap();
    assert_eq!((missed.version, missed.from_version), (3, 1));
    assert_eq!(lines(&missed.changes), ["Yakitori: price 380 → 400"]);
    // Up to date, it hears of the next change alone.
    let mut stream = watch(&other, &missed.resume_token).await.unwrap();
    sync(&mesh, &replica, |c| c.items[1].price = yen(420)).await;
    assert_eq!(next(&mut stream).await.unwrap().from_version, 3);
    // A version that this database has never had: from the beginning.
    assert_eq!(next(&mut watch(&other, "99.shibuya").await.unwrap()).await.unwrap().from_version, 0);
    let bad = watch(&other, "1.ueno").await.unwrap_err();
    assert_eq!((bad.code(), failure::reason(&bad).as_str()), (Code::InvalidArgument, "RESUME_TOKEN_INVALID"));
}

#[tokio::test]
async fn watchers_have_a_bound_and_make_room_when_they_go() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica_with(Config { max_watchers: 1, ..config() }).await;
    let mut stream = watch(&replica, "").await.unwrap();
    next(&mut stream).await.unwrap();
    let refused = watch(&replica, "").await.unwrap_err();
    assert_eq!((refused.code(), failure::reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_WATCHERS"));
    drop(stream);
    until("there is room again", || async { watch(&replica, "").await.is_ok() }).await;
}

#[tokio::test]
async fn a_replica_that_stops_tells_its_watchers_to_come_again() {
    let mesh = Mesh::start().await;
    let replica = mesh.replica().await;
    let mut stream = watch(&replica, "").await.unwrap();
    next(&mut stream).await.unwrap();
    replica.shutdown.cancel();
    let ended = next(&mut stream).await.unwrap_err();
    assert_eq!((ended.code(), failure::reason(&ended).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
}
