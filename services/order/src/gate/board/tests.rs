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
    board.open_by(&Order { order_id: "o-1".into(), ..Order::default() });
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

#[test]
fn an_order_that_was_sent_after_the_pos_came_back_opens_it_and_one_of_before_does_not() {
    let order = |begun_ms| {
        let attempt = Attempt {
            connection_id: "till".into(),
            begin_time: Some(time::from_unix_ms(begun_ms)),
            outcome: AttemptOutcome::Placed.into(),
            ..Attempt::default()
        };
        let state = OrderState::Placed.into();
        Order { order_id: "o-9".into(), store_id: "shibuya".into(), state, attempts: vec![attempt], ..Order::default() }
    };
    let board = back();
    let healthy_since = Some(time::from_unix_ms(1_000));
    board.hear(told([Link { healthy_since, ..link("till", LinkState::Online, 2, 1) }]));
    board.observe(&order(900));
    assert!(board.is_reopening("till"), "it was in doubt, and was found");
    board.observe(&order(1_100));
    assert!(!board.is_reopening("till"));
}

#[test]
fn that_a_pos_was_away_is_not_forgotten_while_the_router_is() {
    let mut board = Board::new(LEASE);
    assert!(board.has_lost_links(false) && !board.has_lost_links(true));
    board.hear(told([link("till", LinkState::Offline, 1, 0)]));
    assert!(!board.has_lost_links(false));
    board.lose();
    Arc::get_mut(&mut board.0).unwrap().links.get_mut().unwrap().lost = Instant::now().checked_sub(LINKS_LAST);
    assert!(board.link("till").is_none(), "too long ago");
    assert!(board.is_reopening("till") && board.has_lost_links(true));
}

#[test]
fn a_pos_that_dies_while_its_store_is_closed_comes_back_on_probation() {
    let board = Board::new(LEASE);
    let cause = "NETWORK_DOWN".to_owned();
    board.hear(told([Link { cause, ..link("till", LinkState::Dormant, 4, 0) }]));
    assert!(board.is_reopening("till"));
    board.hear(told([link("bar", LinkState::Dormant, 4, 0)]));
    assert!(!board.is_reopening("bar"), "it only sleeps");
}
