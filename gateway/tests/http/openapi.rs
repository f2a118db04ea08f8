use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::*;

async fn document() -> Value {
    body(gateway().await.get("/openapi.json").send().await.unwrap(), 200).await
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
        })
        .collect()
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_lists_every_route() {
    let document = document().await;
    assert!(text(&document["openapi"]).starts_with("3.1"), "{}", document["openapi"]);
    let listed: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "get /healthz",
        "get /readyz",
        "get /{product}/v1/stores/{store_id}/bootstrap",
        "get /{product}/v1/stores/{store_id}/menu",
        "post /table/v1/stores/{store_id}/checks",
        "get /table/v1/check",
        "post /table/v1/check/quote",
        "get /table/v1/check/rounds",
        "post /table/v1/check/rounds",
        "get /table/v1/check/rounds/{order_id}",
        "get /table/v1/check/rounds/{order_id}/events",
        "post /table/v1/check/rounds/{order_id}/cancel",
        "post /table/v1/check/bill",
        "post /table/v1/check/split",
        "post /togo/v1/stores/{store_id}/quote",
        "get /togo/v1/stores/{store_id}/pickup-slots",
        "post /togo/v1/stores/{store_id}/orders",
        "get /togo/v1/stores/{store_id}/orders/{order_id}",
        "get /togo/v1/stores/{store_id}/orders/{order_id}/events",
        "post /togo/v1/stores/{store_id}/orders/{order_id}/cancel",
        "post /kiosk/v1/stores/{store_id}/quote",
        "post /kiosk/v1/stores/{store_id}/orders",
        "get /kiosk/v1/stores/{store_id}/orders/{order_id}",
        "get /kiosk/v1/stores/{store_id}/orders/{order_id}/events",
        "post /kiosk/v1/stores/{store_id}/orders/{order_id}/cancel",
        "get /ops/v1/stores/{store_id}/table-codes",
        "post /ops/v1/stores/{store_id}/tables/{table_id}/release",
    ];
    assert_eq!(listed, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn every_operation_is_described_and_tells_its_problems() {
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document().await) {
        assert!(operation["summary"].is_string(), "{name}");
        assert!(ids.insert(text(&operation["operationId"])), "{name}: operationId {} twice", operation["operationId"]);
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|d| !d.is_empty()), "{name} {status}");
        }
        let other = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
        assert_eq!(other, "#/components/schemas/Problem", "{name}");
    }
}

#[tokio::test]
async fn placing_documents_its_idempotency_key() {
    let document = document().await;
    let placing = operations(&document)
        .into_iter()
        .filter(|(name, _)| name.starts_with("post") && (name.ends_with("/orders") || name.ends_with("/rounds")));
    let mut found = 0;
    for (name, operation) in placing {
        let parameters = operation["parameters"].as_array().unwrap();
        let key = parameters.iter().find(|parameter| parameter["name"] == "Idempotency-Key").expect(&name);
        assert_eq!((&key["required"], &key["schema"]["minLength"]), (&true.into(), &16.into()), "{name}");
        found += 1;
    }
    assert_eq!(found, 3);
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for (name, operation) in operations(&document) {
        for requirement in operation["security"].as_array().into_iter().flatten() {
            for scheme in requirement.as_object().unwrap().keys() {
                assert_eq!(document["components"]["securitySchemes"][scheme]["scheme"], "bearer", "{name}");
            }
        }
    }
}
