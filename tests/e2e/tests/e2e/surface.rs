//! What anybody finds at the sockets without a file at hand: reflection, health, and `buf curl`.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use futures_util::StreamExt as _;
use posmesh_e2e::{Shape, Shop, line};
use posmesh_proto::{common::v1::Product, order::v1::OrderState};
use serde_json::{Value, json};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use crate::orders::{is_truly_placed, key};

posmesh_e2e::on_both_shapes!(
    every_process_lists_its_services_by_reflection_and_tells_the_health_of_each,
    buf_curl_places_an_order_with_no_file_at_hand,
);

async fn every_process_lists_its_services_by_reflection_and_tells_the_health_of_each(shape: Shape) {
    let shop = Shop::open(shape).await;
    for (address, services) in shop.mesh.grpc_servers() {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let expected: BTreeSet<String> =
            services.iter().chain(&["grpc.health.v1.Health"]).map(ToString::to_string).collect();

        let list = MessageRequest::ListServices(String::new());
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        let asked = tokio_stream::iter([request]);
        let mut answers =
            ServerReflectionClient::new(channel.clone()).server_reflection_info(asked).await.unwrap().into_inner();
        let answer = answers.next().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        let listed: BTreeSet<String> = list
            .service
            .into_iter()
            .map(|service| service.name)
            .filter(|name| !name.starts_with("grpc.reflection."))
            .collect();
        assert_eq!(listed, expected, "{address}");

        // The older one, which grpcurl speaks.
        let file = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(services[0].to_owned());
        let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(file) };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
        let answer = answers.next().await.unwrap().unwrap().message_response;
        let is_file =
            matches!(answer, Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)));
        assert!(is_file, "{address} {}: {answer:?}", services[0]);

        let mut health = HealthClient::new(channel);
        for service in services.iter().copied().chain([""]) {
            let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{address} {service}");
        }
        let unknown = health.check(HealthCheckRequest { service: "posmesh.no.v1.Such".into() }).await;
        assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    }
}

async fn buf_curl_places_an_order_with_no_file_at_hand(shape: Shape) {
    let shop = Shop::open(shape).await;
    let lines = [line("yaki_onigiri", 1)];
    let total = shop.total(Product::Kiosk, &lines).await;
    let order = json!({
        "request_id": key(), "store_id": shop.store_id, "product": "PRODUCT_KIOSK", "wait": "20s",
        "lines": [{ "item_id": "yaki_onigiri", "quantity": 1 }],
        "expected_total": { "currency_code": "JPY", "amount": total },
    });
    let server =
        shop.mesh.grpc_servers().into_iter().find(|(_, services)| services.contains(&"posmesh.order.v1.OrderService"));
    let url = format!("http://{}/posmesh.order.v1.OrderService/PlaceOrder", server.unwrap().0);
    let buf = buf();
    let run = move || {
        let mut command = Command::new(&buf);
        command.args(["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data"]).arg(order.to_string());
        command.arg(url).output()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["order"]["state"], "ORDER_STATE_PLACED", "{answer:#}");
    let order = shop.ends_up(1, answer["order"]["orderId"].as_str().unwrap(), OrderState::Placed).await;
    is_truly_placed(&shop, &order).await;
}

/// Where `tests/run` installs buf, else the one on the path.
fn buf() -> PathBuf {
    let cache = std::fs::read_dir(posmesh_counterparts::cache_dir().unwrap()).into_iter().flatten();
    let installed = cache.filter_map(|entry| Some(entry.ok()?.path().join("bin/buf"))).find(|buf| buf.is_file());
    installed.unwrap_or_else(|| "buf".into())
}
