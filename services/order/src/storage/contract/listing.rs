use posmesh_proto::order::v1::GuestContact;

use super::*;
use crate::storage::{Known, OrderFilter};

/// An order made so many seconds after noon.
fn at(request_id: &str, seconds: i64) -> NewOrder {
    let mut new = new_order(request_id);
    new.order.create_time = Some(from_unix_ms(NOON_MS + seconds * 1000));
    new
}

fn all() -> OrderFilter {
    OrderFilter { store_id: "shibuya".into(), limit: 100, ..OrderFilter::default() }
}

async fn ids(storage: &Subject, filter: &OrderFilter) -> Vec<String> {
    let orders = storage.orders(TENANT, filter).await.unwrap();
    orders.into_iter().map(|order| order.order_id.replace("order-of-", "")).collect()
}

pub(super) async fn orders_are_listed_newest_first_and_paged(storage: Subject) {
    // Two of the same moment: the greater id comes first.
    for new in [at("b", 1), at("a", 1), at("c", 0), at("d", 2)] {
        take(&storage, new).await;
    }
    let mut elsewhere = at("e", 1);
    elsewhere.order.store_id = "ueno".into();
    take(&storage, elsewhere).await;
    assert_eq!(ids(&storage, &all()).await, ["d", "b", "a", "c"]);
    let mut page = OrderFilter { limit: 2, ..all() };
    assert_eq!(ids(&storage, &page).await, ["d", "b"]);
    page.after = Some((NOON_MS + 1000, "order-of-b".into()));
    assert_eq!(ids(&storage, &page).await, ["a", "c"]);
    page.after = Some((NOON_MS, "order-of-c".into()));
    assert_eq!(ids(&storage, &page).await, [""; 0]);
}

pub(super) async fn orders_are_listed_by_state_time_and_check(storage: Subject) {
    let check = open(&storage, "t1").await;
    let mut round = new_round("c", &check.check_id);
    round.order.create_time = Some(from_unix_ms(NOON_MS + 2000));
    take(&storage, round).await;
    let placed = take(&storage, at("a", 0)).await;
    change(&storage, to(&placed, OrderState::Placed)).await;
    take(&storage, at("b", 1)).await;
    let states = |states: &[OrderState]| OrderFilter { states: states.to_vec(), ..all() };
    assert_eq!(ids(&storage, &states(&[OrderState::Placed])).await, ["a"]);
    assert_eq!(ids(&storage, &states(&[OrderState::Placed, OrderState::Sending])).await, ["c", "b", "a"]);
    let of_check = OrderFilter { check_id: check.check_id, ..all() };
    assert_eq!(ids(&storage, &of_check).await, ["c"]);
    let middle =
        OrderFilter { created_from_ms: Some(NOON_MS + 1000), created_before_ms: Some(NOON_MS + 2000), ..all() };
    assert_eq!(ids(&storage, &middle).await, ["b"]);
}

/// A change that raises or clears what a person must look at.
fn with_attention(order: &Order, flags: &[&str]) -> OrderChange {
    let mut change = to(order, OrderState::InDoubt);
    change.order.attention = flags.iter().map(|flag| (*flag).to_owned()).collect();
    change
}

async fn needs_person(storage: &Subject, limit: usize) -> Vec<(String, i64)> {
    let orders = storage.attention(TENANT, limit).await.unwrap();
    orders.into_iter().map(|(order_id, version)| (order_id.replace("order-of-", ""), version)).collect()
}

pub(super) async fn orders_that_need_a_person_are_found_until_they_need_nobody(storage: Subject) {
    let doubtful = take(&storage, at("a", 0)).await;
    take(&storage, at("b", 1)).await;
    let mut first = with_attention(&take(&storage, at("c", 2)).await, &["IN_DOUBT"]);
    first.order.attention_time = Some(from_unix_ms(NOON_MS));
    change(&storage, first).await;
    change(&storage, with_attention(&doubtful, &["IN_DOUBT", "TOTAL_DIFFERS"])).await;
    assert_eq!(needs_person(&storage, 10).await, [("a".to_owned(), 2), ("c".to_owned(), 2)]);
    assert_eq!(needs_person(&storage, 1).await, [("c".to_owned(), 2)], "who waits longest comes first");
    let listed = OrderFilter { needs_person: true, ..all() };
    assert_eq!(ids(&storage, &listed).await, ["c", "a"]);
    assert_eq!(ids(&storage, &OrderFilter { store_id: "ueno".into(), ..listed.clone() }).await, [""; 0]);
    assert!(storage.attention("other", 10).await.unwrap().is_empty());
    let settled = read(&storage, "order-of-a").await;
    change(&storage, with_attention(&settled, &[])).await;
    assert_eq!(needs_person(&storage, 10).await, [("c".to_owned(), 2)]);
    assert_eq!(ids(&storage, &listed).await, ["c"]);
}

pub(super) async fn only_what_is_newer_than_what_is_known_is_read(storage: Subject) {
    let known =
        |order: &Order, version| Known { tenant_id: TENANT.into(), order_id: order.order_id.as_str().into(), version };
    let (a, b, c) =
        (take(&storage, at("a", 0)).await, take(&storage, at("b", 1)).await, take(&storage, at("c", 2)).await);
    change(&storage, to(&b, OrderState::Placed)).await;
    let mut asked = vec![known(&a, 1), known(&b, 1), known(&c, 0)];
    asked.push(Known { tenant_id: "other".into(), ..known(&c, 0) });
    asked.push(Known { order_id: "unknown".into(), ..known(&c, 0) });
    let mut newer = storage.newer(&asked).await.unwrap();
    newer.sort_by(|a, b| a.order_id.cmp(&b.order_id));
    assert_eq!(newer, [read(&storage, "order-of-b").await, c]);
    assert_eq!(storage.newer(&[]).await.unwrap(), []);
}

pub(super) async fn a_contact_is_kept_apart_and_erased_when_it_is_old(storage: Subject) {
    let guest = GuestContact { name: "Hana".into(), phone: "+81312345678".into() };
    let mut new = NewOrder { contact: Some(guest.clone()), ..new_order("a") };
    new.order.guest_contact_id = "contact-a".into();
    let order = take(&storage, new).await;
    assert_eq!(storage.contact(TENANT, "contact-a").await.unwrap(), Some(guest.clone()));
    assert_eq!(storage.contact(TENANT, "contact-b").await.unwrap(), None);
    assert_eq!(storage.erase_contacts(LEASE).await.unwrap(), 0);
    assert_eq!(storage.contact(TENANT, "contact-a").await.unwrap(), Some(guest));
    assert_eq!(storage.erase_contacts(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(storage.contact(TENANT, "contact-a").await.unwrap(), None);
    assert_eq!(read(&storage, "order-of-a").await, order);
}

pub(super) async fn tenants_do_not_see_each_other(storage: Subject) {
    let guest = GuestContact { name: "Hana".into(), phone: "+81312345678".into() };
    let mut new = NewOrder { contact: Some(guest), ..new_order("a") };
    new.order.guest_contact_id = "contact-a".into();
    let order = take(&storage, new.clone()).await;
    let check = open(&storage, "t1").await;
    assert_eq!(storage.order("other", "order-of-a").await.unwrap(), None);
    assert_eq!(storage.order_by_request("other", "kiosk", "a").await.unwrap(), None);
    assert_eq!(storage.orders("other", &all()).await.unwrap(), []);
    assert_eq!(storage.contact("other", "contact-a").await.unwrap(), None);
    assert_eq!(storage.check("other", &check.check_id).await.unwrap(), None);
    assert!(!storage.has_round_in_flight("other", &check.check_id).await.unwrap());
    let of_other = OrderChange { tenant_id: "other".into(), ..to(&order, OrderState::Placed) };
    assert_eq!(change(&storage, of_other).await, Changed::Missing);
    let round = NewOrder { tenant_id: "other".into(), ..new_round("r", &check.check_id) };
    assert_eq!(place(&storage, round).await, Placement::CheckNotFound);
    let theirs = take(&storage, NewOrder { tenant_id: "other".into(), ..new }).await;
    assert_eq!(theirs.display_number, "001");
}
