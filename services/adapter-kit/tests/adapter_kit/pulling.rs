use std::sync::atomic::Ordering;

use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{PullCatalogRequest, pull_catalog_response::Piece};

use crate::support::{Acme, context, serve, until};

fn pull(url: &str) -> PullCatalogRequest {
    PullCatalogRequest { context: context(url), ..PullCatalogRequest::default() }
}

#[tokio::test]
async fn a_catalog_comes_in_parts_and_ends_with_what_was_found_odd() {
    let mut served = serve(Acme::default()).await;
    let mut stream = served.client.pull_catalog(pull("up")).await.unwrap().into_inner();
    for _ in 0..3 {
        assert!(matches!(stream.message().await.unwrap().unwrap().piece, Some(Piece::Part(_))));
    }
    let last = stream.message().await.unwrap().unwrap().piece;
    assert!(matches!(last, Some(Piece::End(end)) if end.warnings == ["one item has no price"]));
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_pull_that_breaks_off_ends_with_its_cause_and_not_with_an_end() {
    let mut served = serve(Acme::default()).await;
    let mut stream = served.client.pull_catalog(pull("breaks")).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.piece;
    }
    assert!(matches!(last, Some(Piece::Failed(failed)) if failed.cause == cause::MASTER_UPDATING));
}

#[tokio::test]
async fn a_slow_reader_slows_the_pull_down_and_one_that_leaves_ends_it() {
    let mut served = serve(Acme::default()).await;
    let mut stream = served.client.pull_catalog(pull("endless")).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let sent = || served.acme.parts_sent.load(Ordering::SeqCst);
    // Windows and buffers hold a few MiB; then nothing moves until the reader reads.
    let mut before = sent();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = sent();
        assert!(now < 400, "25 MiB were pulled for a reader that read nothing");
        if now == before {
            break;
        }
        before = now;
    }
    drop(stream);
    until("the pull is given up", || served.acme.pulls_ended.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_pull_that_waits_for_its_pos_ends_when_its_caller_leaves() {
    let mut served = serve(Acme::default()).await;
    let stream = served.client.pull_catalog(pull("hangs")).await.unwrap().into_inner();
    until("it waits", || served.acme.parts_sent.load(Ordering::SeqCst) == 3).await;
    assert_eq!(served.acme.pulls_ended.load(Ordering::SeqCst), 0);
    drop(stream);
    until("the pull is given up", || served.acme.pulls_ended.load(Ordering::SeqCst) == 1).await;
}
