#![allow(clippy::unwrap_used)]

use super::*;
use crate::storage::Probation;

const LEASE: Duration = Duration::from_secs(5);

fn link(connection_id: &str, state: LinkState, version: i64, probes_passed: i32) -> Link {
    let (connection_id, store_id) = (connection_id.to_owned(), "shibuya".to_owned());
    Link { connection_id, store_id, state: state.into(), version, probes_passed, ..Link::default() }
}

fn told(links: impl IntoIterator<Item = Link>) -> WatchLinksResponse {
    WatchLinksResponse { links: links.into_iter().collect(), current: true, ..WatchLinksResponse::default() }
}

fn offline(version: i64) -> Offline {
    Offline { tenant_id: "brand".into(), connection_id: "till".into(), version }
}

fn holder(state: Option<OrderState>, age: Duration) -> Holder {
    Holder { order_id: "o-1".into(), version: 1, age, state }
}

fn facts(holder: Option<Holder>) -> GateFacts {
    let probation = Probation { offline: offline(1), opened_version: 0, holder };
    GateFacts { probations: vec![probation], ..GateFacts::default() }
}

/// One whose POS was away, and whose probes have passed since.
fn back() -> Board {
    let board = Board::new(LEASE);
    board.hear(told([link("till", LinkState::Offline, 1, 0)]));
    board.hear(told([link("till", LinkState::Online, 2, PROBES_TO_OPEN)]));
    board
}

/// What a look at the storage that finds this comes to.
fn look(board: &Board, facts: &GateFacts) -> bool {
    let shown_well = board.shown_well();
    board.learn(facts, &shown_well);
    !board.is_reopening("till")
}

#[test]
fn good_probes_open_a_connection_unless_an_order_that_was_let_through_is_under_way() {
    assert!(look(&back(), &facts(None)));
    let age = Duration::from_millis(10);
    for (state, opens) in [
        (None, false),
        (Some(OrderState::Sending), false),
        (Some(OrderState::InDoubt), false),
        (Some(OrderState::Rejected), true),
        (Some(OrderState::Placed), true),
    ] {
        assert_eq!(look(&back(), &facts(Some(holder(state, age)))), opens, "{state:?}");
    }
    assert!(look(&back(), &facts(Some(holder(None, LEASE)))), "one that never came does not last");
}

#[test]
fn probes_open_nothing_before_the_storage_was_asked_for_orders_that_were_let_through() {
    let board = back();
    assert!(board.is_reopening("till"), "another replica may have let one through a moment ago");
    let board = Board::new(LEASE);
    board.hear(told([link("till", LinkState::Offline, 1, 0)]));
    let shown_well = board.shown_well();
    board.hear(told([link("till", LinkState::Online, 2, PROBES_TO_OPEN)]));
    board.learn(&facts(None), &shown_well);
    assert!(board.is_reopening("till"), "the storage was read before the probes had passed");
    board.hear(told([link("till", LinkState::Offline, 3, 0)]));
    board.learn(&facts(None), &HashMap::from([("till".to_owned(), 1)]));
    assert!(board.is_reopening("till"), "it was away again since");
}

#[test]
fn an_order_that_is_there_opens_the_connection_that_it_was_let_through_to() {
    let board = back();
    board.hear(told([link("bar", LinkState::Offline, 1, 0)]));
    board.let_through(&offline(1), "o-1");
    let order = |order_id: &str| {
        let state = OrderState::Placed.into();
        Order { order_id: order_id.into(), store_id: "shibuya".into(), state, ..Order::default() }
    };
    board.observe(&order("o-2"));
    assert!(board.is_reopening("till"));
    board.observe(&order("o-1"));
    assert!(!board.is_reopening("till"));
    assert!(board.is_reopening("bar"));
}

#[test]
fn one_that_was_given_back_opens_nothing() {
    let board = back();
    board.let_through(&offline(1), "o-1");
    board.give_back("till", "o-1");
    board.open_by("o-1");
    assert!(board.is_reopening("till"));
}

#[test]
fn a_product_goes_over_the_connection_that_serves_it_and_never_over_a_fallback() {
    let board = Board::new(LEASE);
    let way = |product| board.way("shibuya", product, ServiceMode::Takeaway);
    assert_eq!(way(Product::Table), Way::Unknown, "nothing was told yet");
    let serving = |link: Link, products: &[Product]| Link {
        products: products.iter().map(|product| (*product).into()).collect(),
        ..link
    };
    let online = |connection_id| link(connection_id, LinkState::Online, 1, 0);
    let role = ConnectionRole::Fallback.into();
    board.hear(told([
        serving(online("bar"), &[Product::Table]),
        Link { role, ..online("printer") },
        Link { service_modes: vec![ServiceMode::DineIn.into()], ..serving(online("hall"), &[Product::ToGo]) },
        Link { service_modes: vec![ServiceMode::Takeaway.into()], ..serving(online("counter"), &[Product::ToGo]) },
    ]));
    assert_eq!(way(Product::Table), Way::Over("bar".into()));
    assert_eq!(way(Product::ToGo), Way::Over("counter".into()));
    assert_eq!(way(Product::Kiosk), Way::Nowhere);
    let fallback = board.fallback_of("shibuya", Product::Kiosk, ServiceMode::Takeaway);
    assert_eq!(fallback.unwrap().connection_id, "printer");
    assert_eq!(board.way("ueno", Product::Table, ServiceMode::DineIn), Way::Nowhere);
}

#[tokio::test]
async fn a_replica_that_starts_waits_for_what_it_does_not_know_but_not_for_ever() {
    let is_ready = async |waiting: &mut std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        tokio::time::timeout(Duration::from_millis(1), waiting).await.is_ok()
    };
    let board = Board::new(LEASE);
    let mut judging: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin({
        let board = board.clone();
        async move { board.until_judging().await }
    });
    let mut complete: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin({
        let board = board.clone();
        async move { board.until_complete().await }
    });
    assert!(!is_ready(&mut judging).await);
    board.learn(&GateFacts::default(), &HashMap::new());
    assert!(!is_ready(&mut judging).await, "the router was not asked yet");
    board.lose();
    assert!(is_ready(&mut judging).await, "a router that is away keeps no order back");
    assert!(!is_ready(&mut complete).await, "no link was told yet");
    board.hear(told([]));
    assert!(is_ready(&mut complete).await);
    let mut alone = Board::new(LEASE);
    Arc::get_mut(&mut alone.0).unwrap().started -= START_GRACE;
    assert!(tokio::time::timeout(Duration::from_secs(1), alone.until_complete()).await.is_ok());
}
