use std::time::Duration;

use posmesh_kit::telemetry::{LogFormat, Telemetry, TelemetryConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::*;

#[tokio::test]
async fn it_is_live_at_once_and_ready_while_its_peers_answer() {
    let mut gateway = gateway().await;
    assert_eq!(gateway.get("/healthz").send().await.unwrap().status(), 200);
    let ready = body(gateway.get("/readyz").send().await.unwrap(), 200).await;
    assert_eq!(ready["ready"], true);
    gateway.served.take();
    let gone = body(gateway.get("/readyz").send().await.unwrap(), 503).await;
    assert_eq!(gone["ready"], false);
    assert_eq!(gone["peers"]["order"], false);
    assert_eq!(gateway.get("/healthz").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached_is_told_with_the_proof_that_nothing_was_sent() {
    let mut gateway = gateway().await;
    gateway.served.take();
    // The connection that was open breaks with the first call; from then on none can be made.
    let due = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = gateway.place("/togo/v1/stores/shibuya/orders", KEY, &togo()).await;
        assert_eq!(answer.status().as_u16() / 100, 5);
        let told: serde_json::Value = answer.json().await.unwrap();
        assert!(!text(&told["detail"]).contains("127.0.0.1"), "{told}");
        if told["reason"] == "NOT_HANDED_OVER" {
            break;
        }
        assert!(tokio::time::Instant::now() < due, "{told}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_answer_ends_in_504_within_the_timeout() {
    let mut config = config();
    config.request_timeout = Duration::from_secs(1);
    let gateway = gateway_with(config).await;
    gateway.fakes.orders.hang();
    let begun = tokio::time::Instant::now();
    let lines = serde_json::json!({"lines": [{"item_id": "yakitori", "quantity": 1}]});
    problem(gateway.send("/togo/v1/stores/shibuya/quote", &lines).await, 504, "DEADLINE_EXCEEDED").await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    let placed = gateway.place("/togo/v1/stores/shibuya/orders", KEY, &togo()).await;
    problem(placed, 504, "OUTCOME_UNKNOWN").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_by_the_timeout() {
    let mut config = config();
    config.request_timeout = Duration::from_secs(1);
    let gateway = gateway_with(config).await;
    let head = "POST /togo/v1/stores/shibuya/quote HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n{";
    let answer = raw(&gateway, head).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("DEADLINE_EXCEEDED"), "{answer}");
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_shed() {
    let mut config = config();
    config.max_concurrent_requests = 1;
    let gateway = gateway_with(config).await;
    gateway.fakes.orders.hang();
    let lines = serde_json::json!({"lines": [{"item_id": "yakitori", "quantity": 1}]});
    let hanging = tokio::spawn(gateway.post("/togo/v1/stores/shibuya/quote").json(&lines).send());
    let due = tokio::time::Instant::now() + PATIENCE;
    while gateway.fakes.orders.metadata().is_empty() {
        assert!(tokio::time::Instant::now() < due, "the first request never arrived");
        tokio::task::yield_now().await;
    }
    let shed = gateway.get("/healthz").send().await.unwrap();
    assert_eq!(header(&shed, "retry-after"), "1");
    problem(shed, 503, "OVERLOADED").await;
    hanging.abort();
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let gateway = gateway().await;
    let path = "/togo/v1/stores/shibuya/menu";
    let from = |origin: &str| gateway.get(path).header("Origin", origin).send();
    let allowed = from("https://order.example.com").await.unwrap();
    assert_eq!(header(&allowed, "access-control-allow-origin"), "https://order.example.com");
    assert!(header(&allowed, "access-control-expose-headers").contains("etag"));
    let other = from("https://evil.example.com").await.unwrap();
    assert_eq!(header(&other, "access-control-allow-origin"), "");

    let preflight = gateway
        .request(reqwest::Method::OPTIONS, "/togo/v1/stores/shibuya/orders")
        .header("Origin", "https://order.example.com")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "idempotency-key,content-type,prefer");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), 200);
    assert!(header(&preflight, "access-control-allow-headers").contains("idempotency-key"));
}

#[tokio::test]
async fn without_configured_origins_there_are_no_cors_headers() {
    let mut config = config();
    config.cors_origins = String::new();
    let gateway = gateway_with(config).await;
    let answer = gateway.get("/healthz").header("Origin", "https://order.example.com").send().await.unwrap();
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let gateway = gateway().await;
    let own = gateway.get("/healthz").header("X-Request-Id", "web-7f3a").send().await.unwrap();
    assert_eq!(header(&own, "x-request-id"), "web-7f3a");
    let made = gateway.get("/nowhere").send().await.unwrap();
    assert_eq!(header(&made, "x-request-id").len(), 36);
}

#[tokio::test]
async fn the_callers_trace_goes_on_to_the_services() {
    let config = TelemetryConfig {
        log_filter: "posmesh_gateway=info".to_owned(),
        log_format: LogFormat::Human,
        otlp_endpoint: String::new(),
        service_name: "gateway".to_owned(),
    };
    let _telemetry = Telemetry::install(&config).unwrap();
    let gateway = gateway().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let lines = serde_json::json!({"lines": [{"item_id": "yakitori", "quantity": 1}]});
    let request =
        gateway.post("/togo/v1/stores/shibuya/quote").header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    body(request.json(&lines).send().await.unwrap(), 200).await;
    let metadata = gateway.fakes.orders.metadata().remove(0);
    let sent = metadata.get("traceparent").unwrap().to_str().unwrap();
    assert!(sent.contains(trace) && !sent.contains("b7ad6b7169203331"), "{sent}");
    assert!(metadata.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn a_shutdown_lets_the_running_request_end_and_takes_no_new_one() {
    let gateway = gateway().await;
    let orders = gateway.fakes.orders.clone();
    let waiting = gateway.post("/togo/v1/stores/shibuya/orders").header("Idempotency-Key", KEY);
    let waiting = tokio::spawn(waiting.header("Prefer", "wait=10").json(&togo()).send());
    let due = tokio::time::Instant::now() + PATIENCE;
    while orders.placed().is_empty() {
        assert!(tokio::time::Instant::now() < due, "the order never arrived");
        tokio::task::yield_now().await;
    }
    gateway.shutdown.cancel();
    // Refused once the listener is closed.
    while TcpStream::connect(gateway.address).await.is_ok() {
        assert!(tokio::time::Instant::now() < due, "still listening");
    }
    orders.advance("order-0", posmesh_proto::order::v1::OrderState::Placed, |_| ());
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(body(answer, 201).await["order"]["state"], "PLACED");
    timeout(PATIENCE, gateway.running).await.expect("the gateway does not end").unwrap();
}

#[tokio::test]
async fn a_request_that_outlasts_the_shutdown_grace_is_cut() {
    let mut config = config();
    config.shutdown_grace = Duration::from_millis(200);
    let gateway = gateway_with(config).await;
    gateway.fakes.orders.hang();
    let hanging = gateway.post("/togo/v1/stores/shibuya/orders").header("Idempotency-Key", KEY);
    let hanging = tokio::spawn(hanging.json(&togo()).send());
    let due = tokio::time::Instant::now() + PATIENCE;
    while gateway.fakes.orders.metadata().is_empty() {
        assert!(tokio::time::Instant::now() < due, "the order never arrived");
        tokio::task::yield_now().await;
    }
    gateway.shutdown.cancel();
    timeout(Duration::from_secs(3), gateway.running).await.expect("the gateway does not end").unwrap();
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_named() {
    let mount = |edit: fn(&mut posmesh_gateway::Config)| {
        let mut config = config();
        edit(&mut config);
        let channel = posmesh_kit::Channel::remote("peer", "http://127.0.0.1:1").unwrap();
        let peers = posmesh_gateway::Peers { order: channel.clone(), catalog: channel.clone(), store: channel };
        posmesh_gateway::mount(&config, peers).expect_err("it was taken").to_string()
    };
    assert!(mount(|c| c.signing_keys = posmesh_gateway::Secret::new("short")).contains("gateway.signing_keys"));
    assert!(mount(|c| c.ops_token = posmesh_gateway::Secret::new("short")).contains("gateway.ops_token"));
    assert!(mount(|c| c.cors_origins = "order.example.com".to_owned()).contains("gateway.cors_origins"));
    assert!(mount(|c| c.cors_origins = "https://a.example/path".to_owned()).contains("gateway.cors_origins"));
    assert!(mount(|c| c.table_code_window = Duration::ZERO).contains("gateway.table_code_window"));
    assert!(mount(|c| c.max_event_streams = 0).contains("gateway.max_event_streams"));
}

#[tokio::test]
async fn the_configuration_never_shows_its_secrets() {
    let shown = format!("{:?}", config());
    assert!(!shown.contains("AQEB") && !shown.contains(OPS_TOKEN), "{shown}");
}

/// What the gateway answers to these bytes.
pub async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, async {
        let mut buffer = [0; 4096];
        // The problem's body comes in one piece with its head or right after it.
        while !answer.contains("\"reason\"") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "the connection ended: {answer}");
            answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    })
    .await
    .expect("no answer came in time");
    answer
}
