//! Something else than simpos at the other end: proxies, firewalls, nobody.

use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{find_order_response, submit_outcome::Outcome};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{Adapter, context, order};

/// Answers each request with the same bytes and hangs up.
async fn impostor(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 << 10];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn an_answer_without_the_pos_own_proof_leaves_the_order_in_doubt() {
    for answer in [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let adapter = Adapter::before(&impostor(answer).await).await;
        match adapter.submit(order()).await {
            Outcome::InDoubt(doubt) => assert_eq!(doubt.cause, cause::VENDOR_SERVICE_DOWN, "{answer}"),
            other => panic!("{answer}: {other:?}"),
        }
        // And is no proof of absence either.
        match adapter.find(&order()).await {
            find_order_response::Result::Failed(failed) => assert_eq!(failed.cause, cause::VENDOR_SERVICE_DOWN),
            other => panic!("{answer}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_short_leaves_the_order_in_doubt() {
    let adapter = Adapter::before(&impostor("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"dup").await).await;
    assert!(matches!(adapter.submit(order()).await, Outcome::InDoubt(_)));
}

#[tokio::test]
async fn where_nobody_listens_the_order_is_not_handed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    match Adapter::before(&url).await.submit(order()).await {
        Outcome::NotHandedOver(proof) => assert_eq!(proof.cause, cause::NETWORK_DOWN),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn settings_and_credentials_that_cannot_work_are_found_before_anything_is_sent() {
    let mut adapter = Adapter::before("http://127.0.0.1:9").await;
    for (settings, key) in [
        (json!({"base_url": "127.0.0.1:80"}), "k"),
        (json!({"base_url": "ftp://x"}), "k"),
        (json!({"base_url": "http://127.0.0.1:9", "more": 1}), "k"),
        (json!({"base_url": "http://127.0.0.1:9"}), ""),
        (json!({"base_url": "http://127.0.0.1:9"}), "line\nbreak"),
    ] {
        adapter.context = context(&settings, key);
        match adapter.submit(order()).await {
            Outcome::NotHandedOver(proof) => assert_eq!(proof.cause, cause::MISCONFIGURED, "{settings} {key:?}"),
            other => panic!("{settings} {key:?}: {other:?}"),
        }
    }
}
