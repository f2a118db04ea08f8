use std::{net::SocketAddr, time::Duration};

use posmesh_adapter_kit::{
    Connection, Unplaced,
    http::{Answer, HttpClient, HttpConfig, HttpError},
};
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::PosContext;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

fn client() -> HttpClient {
    let config = HttpConfig {
        connect_timeout: Duration::from_millis(500),
        call_timeout: Duration::from_millis(1500),
        max_answer_bytes: 100,
        ..HttpConfig::default()
    };
    HttpClient::new(&config, &[]).unwrap()
}

async fn post(client: &HttpClient, url: &str) -> Result<Answer, HttpError> {
    let credentials = [("api_key".to_owned(), "s3cret".to_owned())].into();
    let connection = Connection::new(PosContext { credentials, ..PosContext::default() });
    client.send(client.request(Method::POST, url).body(r#"{"order":1}"#), &connection).await
}

/// Accepts one connection after the other; each is handled by the next step of the script.
async fn vendor(script: Vec<Step>) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut requests = 0;
        for step in script {
            let (socket, _) = listener.accept().await.unwrap();
            requests += play(socket, step).await;
        }
        requests
    });
    (address, task)
}

enum Step {
    CloseAtOnce,
    CloseAfterRequest,
    Hang,
    /// Answers as many requests on this connection as there are texts, then closes it.
    Answer(Vec<&'static str>),
    AnswerGarbage,
}

/// Returns the number of requests read.
async fn play(mut socket: TcpStream, step: Step) -> usize {
    match step {
        Step::CloseAtOnce => 0,
        Step::CloseAfterRequest => read_request(&mut socket).await,
        Step::Hang => {
            let read = read_request(&mut socket).await;
            // Until the client gives up.
            let _ = socket.read(&mut [0; 1]).await;
            read
        }
        Step::Answer(texts) => {
            let mut requests = 0;
            for text in texts {
                requests += read_request(&mut socket).await;
                socket.write_all(text.as_bytes()).await.unwrap();
            }
            requests
        }
        Step::AnswerGarbage => {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"this is no TLS\r\n").await;
            0
        }
    }
}

async fn read_request(socket: &mut TcpStream) -> usize {
    let mut read = Vec::new();
    let mut chunk = [0; 1024];
    while !read.ends_with(br#"{"order":1}"#) {
        match socket.read(&mut chunk).await.unwrap() {
            0 => return 0,
            n => read.extend_from_slice(&chunk[..n]),
        }
    }
    1
}

fn is_not_sent(result: &Result<Answer, HttpError>) -> bool {
    matches!(result, Err(HttpError::NotSent { cause, .. }) if *cause == cause::NETWORK_DOWN)
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = post(&client(), &format!("http://{address}/orders?key=s3cret")).await;
    assert!(is_not_sent(&result), "{result:?}");
    assert!(!result.unwrap_err().to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_proves_that_nothing_was_sent() {
    let result = post(&client(), "http://pos.invalid/orders").await;
    assert!(is_not_sent(&result), "{result:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_proves_that_nothing_was_sent() {
    let (address, _vendor) = vendor(vec![Step::AnswerGarbage]).await;
    let result = post(&client(), &format!("https://{address}/orders")).await;
    assert!(is_not_sent(&result), "{result:?}");
}

#[tokio::test]
async fn a_malformed_url_is_a_misconfiguration_and_nothing_is_sent() {
    let result = post(&client(), "http://[pos/orders").await;
    assert!(matches!(&result, Err(HttpError::NotSent { cause, .. }) if *cause == cause::MISCONFIGURED), "{result:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_after_it_was_made_leaves_the_call_in_doubt() {
    for step in [Step::CloseAtOnce, Step::CloseAfterRequest] {
        let (address, _vendor) = vendor(vec![step]).await;
        let result = post(&client(), &format!("http://{address}/orders")).await;
        assert!(matches!(&result, Err(HttpError::InDoubt { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_vendor_that_never_answers_leaves_the_call_in_doubt_after_the_timeout() {
    let (address, vendor) = vendor(vec![Step::Hang]).await;
    let result = post(&client(), &format!("http://{address}/orders")).await;
    assert!(matches!(&result, Err(HttpError::InDoubt { cause, .. }) if *cause == cause::TIMED_OUT), "{result:?}");
    assert_eq!(vendor.await.unwrap(), 1);
}

#[tokio::test]
async fn every_status_is_an_answer_and_a_redirect_is_not_followed() {
    let busy = "HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}";
    let moved = "HTTP/1.1 307 Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let broken = "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n";
    let (address, vendor) = vendor(vec![Step::Answer(vec![busy, moved, broken])]).await;
    let (client, url) = (client(), format!("http://{address}/orders"));
    let answer = post(&client, &url).await.unwrap();
    assert_eq!((answer.status, answer.retry_after()), (429, Some(Duration::from_secs(7))));
    assert_eq!(answer.json::<serde_json::Value>().unwrap(), serde_json::json!({}));
    assert_eq!(post(&client, &url).await.unwrap().status, 307);
    assert_eq!(post(&client, &url).await.unwrap().status, 500);
    // All three on the one connection that the script accepts.
    assert_eq!(vendor.await.unwrap(), 3);
}

#[tokio::test]
async fn an_answer_that_is_cut_or_too_long_leaves_the_call_in_doubt() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{";
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n\
        0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x";
    for text in [cut, long] {
        let (address, _vendor) = vendor(vec![Step::Answer(vec![text])]).await;
        let result = post(&client(), &format!("http://{address}/orders")).await;
        assert!(matches!(&result, Err(HttpError::InDoubt { .. })), "{result:?}");
    }
}

#[test]
fn only_the_first_write_of_an_order_can_prove_that_nothing_was_handed_over() {
    let not_sent = || HttpError::NotSent { cause: cause::NETWORK_DOWN, message: String::new() };
    let in_doubt = || HttpError::InDoubt { cause: cause::TIMED_OUT, message: String::new() };
    assert!(matches!(not_sent().before_any_write(), Unplaced::NotHandedOver(_)));
    assert!(matches!(in_doubt().before_any_write(), Unplaced::NotHandedOver(_)));
    assert!(matches!(not_sent().at_first_write(), Unplaced::NotHandedOver(_)));
    assert!(matches!(in_doubt().at_first_write(), Unplaced::InDoubt(_)));
    assert!(matches!(not_sent().after_a_write(), Unplaced::InDoubt(_)));
    assert!(matches!(in_doubt().after_a_write(), Unplaced::InDoubt(_)));
}

#[test]
fn a_connect_timeout_that_could_not_prove_anything_is_refused() {
    let config = HttpConfig { connect_timeout: Duration::from_secs(20), ..HttpConfig::default() };
    assert!(HttpClient::new(&config, &[]).unwrap_err().to_string().contains("http.connect_timeout"));
}
