//! One trace shows an order from the guest's tap to the adapter's call of the POS.

use std::{collections::HashMap, sync::Arc};

use posmesh_e2e::{Collector, Http, Mesh, Options, SeenSpan, Shape, Shop, eventually};
use serde_json::json;

use crate::orders::key;

posmesh_e2e::on_both_shapes!(one_trace_goes_from_the_guests_tap_to_the_call_of_the_pos);

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TAP_ID: &str = "00f067aa0ba902b7";
const SUBMIT: &str = "posmesh.adapter.v1.PosAdapterService/SubmitOrder";

async fn one_trace_goes_from_the_guests_tap_to_the_call_of_the_pos(shape: Shape) {
    let collector = Collector::start().unwrap();
    let otlp_endpoint = collector.endpoint();
    let options = Options { otlp_endpoint: &otlp_endpoint, ..Options::default() };
    let mesh = Arc::new(Mesh::start(shape, options).await.unwrap());
    let shop = Shop::open_in(mesh, &[], false).await.unwrap();

    let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
    let body = json!({ "lines": [{ "item_id": "yaki_onigiri", "quantity": 1 }], "service_mode": "eat_in",
        "expected_total": { "currency": "JPY", "amount": 250 } });
    let tap = shop.http.place(&path, &key(), &body).header("traceparent", format!("00-{TRACE_ID}-{TAP_ID}-01"));
    let placed = Http::send(tap).await.unwrap().ok();
    assert_eq!(placed["order"]["state"], "PLACED", "{placed:#}");

    let whole = async || way_to_the_pos(&collector.trace(TRACE_ID));
    let way = eventually("the spans from the tap to the adapter arrive", whole).await;
    let names: Vec<&str> = way.iter().map(|span| span.name.as_str()).collect();
    for part in ["posmesh.order.v1.OrderService/PlaceOrder", "order.dispatch"] {
        assert!(names.contains(&part), "{part} is missing among {names:?}");
    }
    if shape == Shape::Postgres {
        let services: Vec<&str> = way.iter().map(|span| span.service.split('-').next().unwrap()).collect();
        assert_eq!((services.first(), services.last()), (Some(&"gateway"), Some(&"adapter")), "{way:#?}");
        assert!(services.contains(&"order") && services.contains(&"router"), "{way:#?}");
    }
}

/// The spans from the guest's tap down to the innermost submit, if they are all there.
fn way_to_the_pos(spans: &[SeenSpan]) -> Option<Vec<SeenSpan>> {
    let by_id: HashMap<&str, &SeenSpan> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let up = |span: &SeenSpan| {
        let mut way = vec![span.clone()];
        while let Some(parent) = by_id.get(way.last()?.parent_span_id.as_str()) {
            way.push((*parent).clone());
        }
        (way.last()?.parent_span_id == TAP_ID).then(|| way.into_iter().rev().collect::<Vec<_>>())
    };
    let submits = spans.iter().filter(|span| span.name == SUBMIT).filter_map(up);
    // The router's and the adapter's own.
    let innermost = submits.max_by_key(Vec::len)?;
    (innermost.iter().filter(|span| span.name == SUBMIT).count() == 2).then_some(innermost)
}
