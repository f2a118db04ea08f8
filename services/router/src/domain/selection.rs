//! Which of a store's connections serves a product and a service mode.

use std::cmp::Ordering;

use posmesh_proto::{
    common::v1::{Product, ServiceMode},
    router::v1::{Connection, ConnectionRole},
};

/// Whether two connections of one store would serve the same product and mode in the same role.
pub(crate) fn overlaps(a: &Connection, b: &Connection) -> bool {
    a.store_id == b.store_id
        && is_fallback(a) == is_fallback(b)
        && share(&a.products, &b.products)
        && share(&a.service_modes, &b.service_modes)
}

fn is_fallback(connection: &Connection) -> bool {
    connection.role() == ConnectionRole::Fallback
}

/// An empty list stands for everything.
fn share(a: &[i32], b: &[i32]) -> bool {
    a.is_empty() || b.is_empty() || a.iter().any(|value| b.contains(value))
}

/// The connection, of one store's, that serves the product and mode in this role. Where the caller leaves one of them unspecified,
/// several may: then the store's default is the one that serves most widely, by products before modes, and of equal ones
/// that with the least id.
pub(crate) fn select<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
    role: ConnectionRole,
    product: Product,
    service_mode: ServiceMode,
) -> Option<&'a Connection> {
    let serves = |connection: &&Connection| {
        let product_fits = product == Product::Unspecified || share(&connection.products, &[product.into()]);
        let mode_fits =
            service_mode == ServiceMode::Unspecified || share(&connection.service_modes, &[service_mode.into()]);
        is_fallback(connection) == (role == ConnectionRole::Fallback) && product_fits && mode_fits
    };
    connections.into_iter().filter(serves).min_by(|a, b| by_width(a, b))
}

fn by_width(a: &Connection, b: &Connection) -> Ordering {
    // Everything (an empty list) is the widest.
    let width = |values: &[i32]| if values.is_empty() { usize::MAX } else { values.len() };
    let products = width(&b.products).cmp(&width(&a.products));
    let modes = width(&b.service_modes).cmp(&width(&a.service_modes));
    products.then(modes).then_with(|| a.connection_id.cmp(&b.connection_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Product; 0] = [];
    const ANY: [ServiceMode; 0] = [];

    fn connection(id: &str, products: &[Product], modes: &[ServiceMode]) -> Connection {
        Connection {
            connection_id: id.into(),
            store_id: "s".into(),
            products: products.iter().map(|p| i32::from(*p)).collect(),
            service_modes: modes.iter().map(|m| i32::from(*m)).collect(),
            ..Connection::default()
        }
    }

    #[test]
    fn connections_overlap_only_where_both_product_and_mode_meet() {
        use Product::{Kiosk, Table, ToGo};
        use ServiceMode::{DineIn, Takeaway};
        let everything = connection("a", &ALL, &ANY);
        let table = connection("b", &[Table, Kiosk], &ANY);
        let to_go = connection("c", &[ToGo], &ANY);
        let kiosk_dine_in = connection("d", &[Kiosk], &[DineIn]);
        let kiosk_takeaway = connection("e", &[Kiosk], &[Takeaway]);
        assert!(overlaps(&everything, &to_go) && overlaps(&to_go, &everything));
        assert!(!overlaps(&table, &to_go));
        assert!(overlaps(&table, &kiosk_dine_in));
        assert!(!overlaps(&kiosk_dine_in, &kiosk_takeaway));
        let elsewhere = Connection { store_id: "other".into(), ..everything.clone() };
        assert!(!overlaps(&everything, &elsewhere));
    }

    #[test]
    fn a_product_and_mode_find_their_connection_and_nothing_else() {
        use Product::{Kiosk, Table, ToGo};
        use ServiceMode::{DineIn, Takeaway};
        let connections = [
            connection("bar", &[Table, Kiosk], &[DineIn]),
            connection("counter", &[Kiosk], &[Takeaway]),
            connection("web", &[ToGo], &ANY),
        ];
        let id = |product, mode| {
            select(&connections, ConnectionRole::Primary, product, mode).map(|c| c.connection_id.as_str())
        };
        assert_eq!(id(Kiosk, DineIn), Some("bar"));
        assert_eq!(id(Kiosk, Takeaway), Some("counter"));
        assert_eq!(id(ToGo, Takeaway), Some("web"));
        assert_eq!(id(Table, Takeaway), None);
    }

    #[test]
    fn without_a_product_the_widest_connection_is_the_stores_default() {
        use Product::{Kiosk, Table, ToGo};
        use ServiceMode::Unspecified;
        let id = |connections: &[Connection]| {
            select(connections, ConnectionRole::Unspecified, Product::Unspecified, Unspecified)
                .map(|c| c.connection_id.clone())
        };
        let (few, more) = (connection("a", &[ToGo], &ANY), connection("b", &[Table, Kiosk], &ANY));
        assert_eq!(id(&[few.clone(), more.clone()]).as_deref(), Some("b"));
        assert_eq!(id(&[few.clone(), connection("c", &ALL, &ANY), more]).as_deref(), Some("c"));
        assert_eq!(id(&[connection("z", &[Table], &ANY), few]).as_deref(), Some("a"));
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn a_fallback_stands_beside_the_pos_and_is_found_only_by_its_role() {
        let pos = connection("pos", &ALL, &ANY);
        let printer =
            Connection { role: ConnectionRole::Fallback.into(), ..connection("a-printer", &[Product::Table], &ANY) };
        assert!(!overlaps(&pos, &printer));
        let another = Connection { connection_id: "b-printer".into(), ..printer.clone() };
        assert!(overlaps(&printer, &another));
        let connections = [printer, pos];
        let id =
            |role, product| select(&connections, role, product, ServiceMode::DineIn).map(|c| c.connection_id.as_str());
        assert_eq!(id(ConnectionRole::Primary, Product::Table), Some("pos"));
        assert_eq!(id(ConnectionRole::Unspecified, Product::Unspecified), Some("pos"));
        assert_eq!(id(ConnectionRole::Fallback, Product::Table), Some("a-printer"));
        assert_eq!(id(ConnectionRole::Fallback, Product::Kiosk), None);
    }
}
