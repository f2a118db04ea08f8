//! What is wrong with a registration or a connection.

use std::collections::BTreeMap;

use posmesh_kit::{Violation, failure::check_id, time};
use posmesh_proto::{
    adapter::v1::AdapterDescriptor,
    common::v1::{Product, ServiceMode},
    router::v1::{Connection, ConnectionRole, RegisterAdapterRequest},
};

use super::schema;

const MAX_SETTINGS_BYTES: usize = 64 << 10;
const MAX_CREDENTIALS: usize = 32;
const MAX_CREDENTIAL_BYTES: usize = 16 << 10;
const MAX_SERVED_CONNECTIONS: usize = 10_000;

fn result(found: Vec<Violation>) -> Result<(), Vec<Violation>> {
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Everything that is wrong with a registration, but its endpoint. Returns the descriptor that it must bring.
pub(crate) fn check_registration(registration: &RegisterAdapterRequest) -> Result<&AdapterDescriptor, Vec<Violation>> {
    let mut found = Vec::new();
    if uuid::Uuid::try_parse(&registration.instance_id).is_err() {
        found.push(Violation::new("ID_INVALID", "instance_id", "make a UUID at the instance's start"));
    }
    if registration.connection_ids.len() > MAX_SERVED_CONNECTIONS {
        let message = format!("at most {MAX_SERVED_CONNECTIONS}; leave it empty to serve all of the vendor");
        found.push(Violation::new("TOO_MANY", "connection_ids", message));
    } else {
        let ids = registration.connection_ids.iter().enumerate();
        found.extend(ids.filter_map(|(i, id)| check_id(&format!("connection_ids[{i}]"), id)));
    }
    match &registration.descriptor {
        None => found.push(Violation::new("REQUIRED", "descriptor", "say what the adapter can do")),
        Some(descriptor) => check_descriptor(descriptor, &mut found),
    }
    match (&registration.descriptor, found.is_empty()) {
        (Some(descriptor), true) => Ok(descriptor),
        _ => Err(found),
    }
}

fn check_descriptor(descriptor: &AdapterDescriptor, found: &mut Vec<Violation>) {
    found.extend(check_id("descriptor.vendor", &descriptor.vendor));
    if let Err(problem) = schema::compile(&descriptor.settings_schema) {
        found.push(Violation::new("DESCRIPTOR_INVALID", "descriptor.settings_schema", problem));
    }
    if descriptor.max_apply_delay.as_ref().and_then(time::from_proto_duration).is_none() {
        let message = "say how long after not_after a write may still take effect; without it absence proves nothing";
        found.push(Violation::new("DESCRIPTOR_INVALID", "descriptor.max_apply_delay", message));
    }
    for (i, name) in descriptor.credential_names.iter().enumerate() {
        if !is_credential_name(name) {
            let field = format!("descriptor.credential_names[{i}]");
            found.push(Violation::new("DESCRIPTOR_INVALID", field, CREDENTIAL_NAME));
        }
    }
}

const CREDENTIAL_NAME: &str = "a credential's name is 1 to 64 of a-z, 0-9 and _";

fn is_credential_name(name: &str) -> bool {
    matches!(name.len(), 1..=64) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Everything that is wrong with a connection to be written, but its settings and credentials.
pub(crate) fn check_connection(connection: &Connection) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    if !connection.connection_id.is_empty() {
        found.extend(check_id("connection.connection_id", &connection.connection_id));
    }
    found.extend(check_id("connection.store_id", &connection.store_id));
    found.extend(check_id("connection.vendor", &connection.vendor));
    if connection.settings_json.len() > MAX_SETTINGS_BYTES {
        let message = format!("at most {MAX_SETTINGS_BYTES} bytes");
        found.push(Violation::new("SETTINGS_INVALID", "connection.settings_json", message));
    }
    let known_product = |value| Product::try_from(value).is_ok_and(|p| p != Product::Unspecified);
    check_values("connection.products", "PRODUCT", &connection.products, known_product, &mut found);
    let known_mode = |value| ServiceMode::try_from(value).is_ok_and(|m| m != ServiceMode::Unspecified);
    check_values("connection.service_modes", "SERVICE_MODE", &connection.service_modes, known_mode, &mut found);
    if ConnectionRole::try_from(connection.role).is_err() {
        let message = format!("{} is no role that is known here: PRIMARY (or none) or FALLBACK", connection.role);
        found.push(Violation::new("ROLE_UNKNOWN", "connection.role", message));
    }
    if connection.revision < -1 {
        let message = "a revision is that which is replaced, 0 to create, or -1 to replace whatever is there";
        found.push(Violation::new("REVISION_INVALID", "connection.revision", message));
    }
    result(found)
}

fn check_values(field: &str, what: &str, values: &[i32], known: impl Fn(i32) -> bool, found: &mut Vec<Violation>) {
    let (unknown, duplicate) = match what {
        "PRODUCT" => ("PRODUCT_UNKNOWN", "PRODUCT_DUPLICATE"),
        _ => ("SERVICE_MODE_UNKNOWN", "SERVICE_MODE_DUPLICATE"),
    };
    // More than the enum has values cannot be right; the first wrong one tells.
    for (i, value) in values.iter().enumerate() {
        if !known(*value) {
            let message = format!("{value} is none that is known here; leave the list empty for all");
            return found.push(Violation::new(unknown, format!("{field}[{i}]"), message));
        }
        if values[..i].contains(value) {
            return found.push(Violation::new(duplicate, format!("{field}[{i}]"), "stands there twice"));
        }
    }
}

/// Everything that is wrong with credentials that are given: their form, and which the adapter misses. `held` are the
/// names that the connection will hold.
pub(crate) fn check_credentials<'a>(
    given: &BTreeMap<String, String>,
    held: impl Iterator<Item = &'a str> + Clone,
    needed: &[String],
) -> Result<(), Vec<Violation>> {
    let wrong = |field: String, message: &str| Violation::new("SETTINGS_INVALID", field, message);
    if given.len() > MAX_CREDENTIALS {
        return Err(vec![wrong("credentials".to_owned(), &format!("at most {MAX_CREDENTIALS}"))]);
    }
    let mut found = Vec::new();
    for (name, value) in given {
        if !is_credential_name(name) {
            found.push(wrong("credentials".to_owned(), CREDENTIAL_NAME));
        } else if value.is_empty() {
            found.push(wrong(format!("credentials.{name}"), "is empty"));
        } else if value.len() > MAX_CREDENTIAL_BYTES {
            found.push(wrong(format!("credentials.{name}"), &format!("is longer than {MAX_CREDENTIAL_BYTES} bytes")));
        }
    }
    for name in needed.iter().filter(|name| !held.clone().any(|have| have == name.as_str())) {
        found.push(wrong(format!("credentials.{name}"), "is missing; the adapter needs it"));
    }
    found.sort_by(|a, b| a.field.cmp(&b.field));
    result(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn registration() -> RegisterAdapterRequest {
        RegisterAdapterRequest {
            instance_id: uuid::Uuid::now_v7().to_string(),
            endpoint: "http://10.0.0.7:50061".into(),
            descriptor: Some(AdapterDescriptor {
                vendor: "acme".into(),
                settings_schema: "{}".into(),
                max_apply_delay: Some(time::to_proto_duration(Duration::ZERO)),
                credential_names: vec!["api_key".into()],
                ..AdapterDescriptor::default()
            }),
            connection_ids: vec!["c-1".into()],
        }
    }

    fn wrong(change: impl FnOnce(&mut RegisterAdapterRequest)) -> Vec<String> {
        let mut registration = registration();
        change(&mut registration);
        check_registration(&registration).err().unwrap_or_default().into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn a_descriptor_that_could_mislead_the_services_is_refused() {
        assert_eq!(wrong(|_| {}), [""; 0]);
        assert_eq!(wrong(|r| r.instance_id = "7".into()), ["instance_id"]);
        assert_eq!(wrong(|r| r.connection_ids.push("C 1".into())), ["connection_ids[1]"]);
        assert_eq!(wrong(|r| r.descriptor = None), ["descriptor"]);
        let descriptor = |change: fn(&mut AdapterDescriptor)| wrong(|r| change(r.descriptor.as_mut().unwrap()));
        assert_eq!(descriptor(|d| d.vendor = "Acme Inc".into()), ["descriptor.vendor"]);
        assert_eq!(descriptor(|d| d.vendor = String::new()), ["descriptor.vendor"]);
        assert_eq!(descriptor(|d| d.settings_schema = "{".into()), ["descriptor.settings_schema"]);
        assert_eq!(descriptor(|d| d.max_apply_delay = None), ["descriptor.max_apply_delay"]);
        let negative = |d: &mut AdapterDescriptor| d.max_apply_delay.as_mut().unwrap().seconds = -1;
        assert_eq!(descriptor(negative), ["descriptor.max_apply_delay"]);
        assert_eq!(descriptor(|d| d.credential_names.push("API key".into())), ["descriptor.credential_names[1]"]);
    }

    #[test]
    fn every_wrong_field_of_a_connection_is_named() {
        let good =
            Connection { store_id: "s".into(), vendor: "acme".into(), products: vec![1, 2], ..Connection::default() };
        assert_eq!(check_connection(&good), Ok(()));
        let bad = Connection {
            connection_id: "C\0".into(),
            store_id: String::new(),
            vendor: "Acme".into(),
            settings_json: " ".repeat(MAX_SETTINGS_BYTES + 1),
            products: vec![1, 1],
            service_modes: vec![99],
            revision: -2,
            ..Connection::default()
        };
        let reasons: Vec<&str> = check_connection(&bad).unwrap_err().iter().map(|v| v.reason).collect();
        assert_eq!(
            reasons,
            [
                "ID_INVALID",
                "REQUIRED",
                "ID_INVALID",
                "SETTINGS_INVALID",
                "PRODUCT_DUPLICATE",
                "SERVICE_MODE_UNKNOWN",
                "REVISION_INVALID"
            ]
        );
    }

    #[test]
    fn missing_and_empty_credentials_are_named_and_no_value_is_repeated() {
        let needed = ["api_key".to_owned(), "shop".to_owned()];
        let given: BTreeMap<String, String> =
            [("api_key".to_owned(), String::new()), ("Bad".into(), "s3cret".into())].into();
        let found = check_credentials(&given, given.keys().map(String::as_str), &needed).unwrap_err();
        let fields: Vec<&str> = found.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["credentials", "credentials.api_key", "credentials.shop"]);
        assert!(!format!("{found:?}").contains("s3cret"));
        assert_eq!(check_credentials(&BTreeMap::new(), ["api_key", "shop", "more"].into_iter(), &needed), Ok(()));
    }
}
