//! Gates: no order is taken that cannot be cooked, and none that was taken is lost while the POS is away.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{failure, time};
use posmesh_order::{
    Config,
    storage::{GateStorage as _, Storage},
};
use posmesh_proto::{
    adapter::v1::{NotHandedOver, Rejected, submit_outcome::Outcome},
    common::v1::Product,
    order::v1::{
        Gate, GateReason, GateState, GetGatesRequest, HoldReason, Order, OrderState, Pause, PauseStoreRequest,
        PlaceOrderRequest, ResumeStoreRequest, WatchGatesRequest,
    },
    router::v1::LinkState,
    store::v1::{GateAction, GatePolicy, OpeningHours, ProductPolicy},
};
use tokio::sync::Notify;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    fakes::{Act, OTHER_STORE, Pos, Replica, SAID_BY_ADAPTER, STORE, beer_to_go, config, replica},
    memory,
};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn kiosk_beer(request_id: &str) -> PlaceOrderRequest {
    PlaceOrderRequest { product: Product::Kiosk.into(), pickup_time: None, ..beer_to_go(request_id) }
}

impl Replica {
    pub(crate) async fn gate(&self, product: Product) -> Gate {
        let request = GetGatesRequest { store_id: STORE.into() };
        let gates = self.client.clone().get_gates(request).await.unwrap().into_inner().gates;
        gates.into_iter().find(|gate| gate.product() == product).unwrap()
    }

    pub(crate) async fn until_gate(&self, product: Product, state: GateState) -> Gate {
        let look = async {
            loop {
                let gate = self.gate(product).await;
                if gate.state() == state {
                    return gate;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(gate) => gate,
            Err(_) => panic!("the gate never was {state:?}: {:?}", self.gate(product).await),
        }
    }

    /// Waits until this replica has heard the last of the way to the POS while it is not open, and has looked at the
    /// storage after that.
    async fn until_known(&self, pos: &Pos) {
        let since =
            pos.links.borrow().as_ref().and_then(|links| links.iter().find(|link| link.connection_id == "till")?.since);
        let heard = async {
            while self.gate(Product::Kiosk).await.since != since {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
        let elsewhere = Some(Pause { store_id: OTHER_STORE.into(), ..Pause::default() });
        self.client.clone().pause_store(PauseStoreRequest { pause: elsewhere }).await.unwrap();
    }

    async fn pause(&self, pause: Pause) -> Result<Vec<Gate>, Status> {
        let pause = Some(Pause { store_id: STORE.into(), ..pause });
        Ok(self.client.clone().pause_store(PauseStoreRequest { pause }).await?.into_inner().gates)
    }
}

/// A replica that knows the link to be in this state.
pub(crate) async fn replica_on(storage: Arc<dyn Storage>, pos: &Pos, state: GateState) -> Replica {
    let replica = replica(storage, pos, &config());
    replica.until_gate(Product::Kiosk, state).await;
    replica
}

pub(crate) fn refusal(status: &Status) -> (Code, String, String) {
    let reason = failure::metadata(status, "gate_reason").unwrap_or_default();
    (status.code(), failure::reason(status), reason)
}

pub(crate) fn closed_for(reason: &str) -> (Code, String, String) {
    (Code::Unavailable, "GATE_CLOSED".into(), reason.into())
}

#[tokio::test]
async fn while_the_pos_is_away_an_order_is_refused_with_reason_and_time_and_nothing_is_sent() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    let refused = replica.place(kiosk_beer("r1")).await.unwrap_err();
    assert_eq!(refusal(&refused), closed_for("LINK_OFFLINE"));
    assert_eq!(failure::metadata(&refused, "cause").as_deref(), Some("POS_APP_NOT_RUNNING"));
    assert_eq!(failure::metadata(&refused, "failing_hop").as_deref(), Some("pos"));
    let retry = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((Duration::from_secs(1)..=Duration::from_secs(60)).contains(&retry), "{retry:?}");
    let for_guests = "the store's POS cannot be reached; nothing was taken";
    assert_eq!(refused.message(), for_guests, "what the adapter says is for the staff");
    assert_eq!(replica.gate(Product::Kiosk).await.message, SAID_BY_ADAPTER);
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn a_link_that_nobody_knows_keeps_no_order_back() {
    let pos = Pos::default();
    let unknown = replica(memory(), &pos, &config());
    assert_eq!(unknown.place(kiosk_beer("r1")).await.unwrap().state(), OrderState::Placed);
    pos.link(LinkState::Dormant, 0);
    assert_eq!(unknown.place(kiosk_beer("r2")).await.unwrap().state(), OrderState::Placed);
    assert_eq!(unknown.gate(Product::Kiosk).await.state(), GateState::Open);
}

#[tokio::test]
async fn what_was_taken_before_stays_taken_at_a_closed_gate() {
    let pos = Pos::default();
    pos.link(LinkState::Online, 3);
    let replica = replica_on(memory(), &pos, GateState::Open).await;
    let first = replica.place(kiosk_beer("r1")).await.unwrap();
    pos.link(LinkState::Offline, 0);
    replica.until_gate(Product::Kiosk, GateState::Closed).await;
    assert_eq!(replica.place(kiosk_beer("r1")).await.unwrap().order_id, first.order_id);
    assert_eq!(refusal(&replica.place(kiosk_beer("r2")).await.unwrap_err()), closed_for("LINK_OFFLINE"));
}

#[tokio::test]
async fn held_orders_go_once_and_in_order_when_the_pos_is_back() {
    let (pos, storage) = (Pos::default(), memory());
    pos.link(LinkState::Offline, 0);
    let one = replica_on(storage.clone(), &pos, GateState::Closed).await;
    let two = replica_on(storage, &pos, GateState::Closed).await;
    let mut held = Vec::new();
    for (i, replica) in [&one, &two, &one].into_iter().enumerate() {
        let order = replica.place(beer_to_go(&format!("r{i}"))).await.unwrap();
        assert_eq!((order.state(), order.hold_reason()), (OrderState::Held, HoldReason::Link));
        assert_eq!(order.awaited_connection_id, "till");
        let minutes = time::until(&order.deliver_by.unwrap()).as_secs() / 60;
        assert!((13..=15).contains(&minutes), "{minutes}");
        held.push(order.order_id);
        // Their times are told apart.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(pos.submits(), 0);
    pos.link(LinkState::Online, 1);
    for order_id in &held {
        one.until(order_id, OrderState::Placed).await;
    }
    let sent: Vec<String> = pos.state.lock().unwrap().submits.iter().map(|order| order.reference.clone()).collect();
    assert_eq!(sent, held);
    for replica in [one, two] {
        replica.until_gate(Product::Kiosk, GateState::Open).await;
    }
}

#[tokio::test]
async fn a_held_order_expires_when_the_pos_does_not_come_back_in_time() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let hold_for = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let gate = Some(GatePolicy { hold_for, ..GatePolicy::default() });
    pos.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    let order = replica.place(beer_to_go("r1")).await.unwrap();
    let expired = replica.until(&order.order_id, OrderState::Expired).await;
    assert_eq!((expired.hold_reason(), expired.awaited_connection_id.as_str()), (HoldReason::Unspecified, ""));
    assert_eq!(pos.submits(), 0);
}

#[tokio::test]
async fn no_more_is_held_than_the_policy_says() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let gate = Some(GatePolicy { max_held: 1, ..GatePolicy::default() });
    pos.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    replica.place(beer_to_go("r1")).await.unwrap();
    replica.until_gate(Product::ToGo, GateState::Closed).await;
    assert_eq!(refusal(&replica.place(beer_to_go("r2")).await.unwrap_err()), closed_for("LINK_OFFLINE"));
}

#[tokio::test]
async fn an_advance_order_is_taken_while_the_pos_is_away_and_waits_for_it_at_its_fire_time() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let preparation_time = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    pos.state.lock().unwrap().togo = ProductPolicy { preparation_time, ..ProductPolicy::default() };
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    let pickup_time = Some(time::from_unix_ms(time::now_unix_ms() + 600_500));
    let order = replica.place(PlaceOrderRequest { pickup_time, ..beer_to_go("r1") }).await.unwrap();
    assert_eq!(order.hold_reason(), HoldReason::FireTime);
    let waits = |order: &Order| order.hold_reason() == HoldReason::Link;
    let held = replica.until_it(&order.order_id, waits).await;
    assert!(time::until(&held.deliver_by.unwrap()) > Duration::from_secs(13 * 60));
    assert_eq!(pos.submits(), 0);
    pos.link(LinkState::Online, 1);
    replica.until(&order.order_id, OrderState::Placed).await;
    assert_eq!(pos.submits(), 1);
}

#[tokio::test]
async fn a_pos_that_was_away_gets_one_order_at_a_time_until_one_is_there_whichever_replica_takes_it() {
    let (pos, storage) = (Pos::default(), memory());
    pos.link(LinkState::Offline, 0);
    let one = replica_on(storage.clone(), &pos, GateState::Closed).await;
    let two = replica_on(storage, &pos, GateState::Closed).await;
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    pos.link(LinkState::Online, 1);
    for replica in [&one, &two] {
        let gate = replica.until_gate(Product::Kiosk, GateState::Probation).await;
        assert_eq!(gate.reason(), GateReason::LinkReopening);
    }
    let first = one.place(PlaceOrderRequest { wait: None, ..kiosk_beer("r1") }).await.unwrap();
    assert_eq!(first.state(), OrderState::Sending);
    for (replica, request_id) in [(&one, "r2"), (&two, "r3")] {
        let refused = replica.place(kiosk_beer(request_id)).await.unwrap_err();
        assert_eq!(refusal(&refused), closed_for("LINK_REOPENING"));
    }
    // Probes alone do not open what an order blocks.
    pos.link(LinkState::Online, 5);
    for replica in [&one, &two] {
        replica.until_known(&pos).await;
    }
    assert_eq!(refusal(&two.place(kiosk_beer("r4")).await.unwrap_err()), closed_for("LINK_REOPENING"));
    pos.submitted.notified().await;
    go.notify_one();
    one.until(&first.order_id, OrderState::Placed).await;
    for (replica, request_id) in [(&one, "r5"), (&two, "r6")] {
        replica.until_gate(Product::Kiosk, GateState::Open).await;
        assert_eq!(replica.place(kiosk_beer(request_id)).await.unwrap().state(), OrderState::Placed);
    }
    assert_eq!(pos.submits(), 3);
}

#[tokio::test]
async fn one_in_doubt_blocks_the_next_and_one_that_is_refused_does_not() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    let no = Rejected { cause: "ITEM_SOLD_OUT".into(), ..Rejected::default() };
    pos.script([Act::Answer(Outcome::Rejected(no)), Act::Lose]);
    pos.state.lock().unwrap().find_broken = true;
    pos.link(LinkState::Online, 1);
    replica.until_gate(Product::Kiosk, GateState::Probation).await;
    assert_eq!(replica.place(kiosk_beer("r1")).await.unwrap().state(), OrderState::Rejected);
    let doubtful = replica.place(PlaceOrderRequest { wait: None, ..kiosk_beer("r2") }).await.unwrap();
    replica.until(&doubtful.order_id, OrderState::InDoubt).await;
    assert_eq!(refusal(&replica.place(kiosk_beer("r3")).await.unwrap_err()), closed_for("LINK_REOPENING"));
    pos.link(LinkState::Online, 9);
    replica.until_known(&pos).await;
    let says = replica.gate(Product::Kiosk).await.message;
    assert!(says.contains(&doubtful.order_id), "which one is to be settled: {says}");
    assert_eq!(refusal(&replica.place(kiosk_beer("r4")).await.unwrap_err()), closed_for("LINK_REOPENING"));
    pos.state.lock().unwrap().find_broken = false;
    replica.until(&doubtful.order_id, OrderState::Pending).await;
    replica.until(&doubtful.order_id, OrderState::Placed).await;
    replica.until_gate(Product::Kiosk, GateState::Open).await;
}

#[tokio::test]
async fn without_any_order_good_probes_open_a_pos_that_was_away() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    pos.link(LinkState::Online, 2);
    replica.until_gate(Product::Kiosk, GateState::Probation).await;
    pos.link(LinkState::Online, 3);
    replica.until_gate(Product::Kiosk, GateState::Open).await;
}

#[tokio::test]
async fn a_replica_that_starts_later_knows_of_the_probation() {
    let (pos, storage) = (Pos::default(), memory());
    pos.link(LinkState::Offline, 0);
    let first = replica_on(storage.clone(), &pos, GateState::Closed).await;
    pos.link(LinkState::Online, 1);
    first.until_gate(Product::Kiosk, GateState::Probation).await;
    replica_on(storage, &pos, GateState::Probation).await;
}

#[tokio::test]
async fn too_many_orders_in_doubt_close_the_gate_until_they_are_settled() {
    let pos = Pos::default();
    let gate = Some(GatePolicy { max_in_doubt: 1, ..GatePolicy::default() });
    pos.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    pos.state.lock().unwrap().find_broken = true;
    let replica = replica(memory(), &pos, &config());
    pos.script([Act::Lose]);
    let doubtful = replica.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
    let gate = replica.until_gate(Product::ToGo, GateState::Closed).await;
    assert_eq!(gate.reason(), GateReason::TooManyInDoubt);
    assert_eq!(refusal(&replica.place(beer_to_go("r2")).await.unwrap_err()), closed_for("TOO_MANY_IN_DOUBT"));
    pos.state.lock().unwrap().find_broken = false;
    replica.until(&doubtful.order_id, OrderState::Placed).await;
    replica.until_gate(Product::ToGo, GateState::Open).await;
}

#[tokio::test]
async fn a_pause_of_the_staff_closes_the_gate_on_every_replica_until_it_ends() {
    let (pos, storage) = (Pos::default(), memory());
    let (one, two) = (replica(storage.clone(), &pos, &config()), replica(storage, &pos, &config()));
    let pause = || Pause { products: vec![Product::Kiosk.into()], reason: "party".into(), ..Pause::default() };
    let gates = one.pause(pause()).await.unwrap();
    let states: Vec<_> = gates.iter().map(|gate| (gate.product(), gate.state())).collect();
    let expected =
        [(Product::Table, GateState::Open), (Product::ToGo, GateState::Open), (Product::Kiosk, GateState::Closed)];
    assert_eq!(states.iter().filter(|state| expected.contains(state)).count(), 3, "{states:?}");
    let refused = one.place(kiosk_beer("r1")).await.unwrap_err();
    assert_eq!(refusal(&refused), closed_for("PAUSED"));
    assert!(refused.message().contains("party"), "{}", refused.message());
    assert_eq!(one.place(beer_to_go("r2")).await.unwrap().state(), OrderState::Placed);
    two.until_gate(Product::Kiosk, GateState::Closed).await;
    assert_eq!(refusal(&two.place(kiosk_beer("r3")).await.unwrap_err()), closed_for("PAUSED"));
    let resume = ResumeStoreRequest { store_id: STORE.into() };
    two.client.clone().resume_store(resume).await.unwrap();
    assert_eq!(two.place(kiosk_beer("r4")).await.unwrap().state(), OrderState::Placed);
    one.until_gate(Product::Kiosk, GateState::Open).await;
    // Without words of theirs none are put into their mouths.
    let gates = one.pause(Pause { reason: String::new(), ..pause() }).await.unwrap();
    let closed = gates.iter().find(|gate| gate.state() == GateState::Closed).unwrap();
    assert_eq!((closed.reason(), closed.message.as_str()), (GateReason::Paused, ""));
    let refused = one.place(kiosk_beer("r5")).await.unwrap_err();
    assert_eq!(refused.message(), "the staff take no orders for now; nothing was taken");
    // One with an end is over by itself.
    let soon = Some(time::from_unix_ms(time::now_unix_ms() + 300));
    one.pause(Pause { until: soon, ..pause() }).await.unwrap();
    one.until_gate(Product::Kiosk, GateState::Open).await;
}

#[tokio::test]
async fn a_pause_that_makes_no_sense_is_refused_by_its_field() {
    let replica = replica(memory(), &Pos::default(), &config());
    let past = Pause { until: Some(time::from_unix_ms(1)), ..Pause::default() };
    let unknown = Pause { products: vec![99], ..Pause::default() };
    let long = Pause { reason: "x".repeat(201), ..Pause::default() };
    for (pause, field) in [(past, "pause.until"), (unknown, "pause.products[0]"), (long, "pause.reason")] {
        let refused = replica.pause(pause).await.unwrap_err();
        assert_eq!((refused.code(), crate::field(&refused).as_str()), (Code::InvalidArgument, field));
    }
}

#[tokio::test]
async fn outside_its_hours_a_store_takes_no_kiosk_orders_and_says_when_it_opens() {
    let pos = Pos::default();
    // Open for a minute, half a day away from now.
    let local_ms = time::now_unix_ms() + 9 * 3_600_000 + 12 * 3_600_000;
    let minutes = i32::try_from(local_ms.div_euclid(60_000).rem_euclid(1440)).unwrap();
    let hours = (1..=7).map(|weekday| OpeningHours { weekday, open_minutes: minutes, close_minutes: minutes + 1 });
    pos.state.lock().unwrap().hours = hours.collect();
    let replica = replica(memory(), &pos, &config());
    let refused = replica.place(kiosk_beer("r1")).await.unwrap_err();
    assert_eq!(refusal(&refused), closed_for("OUTSIDE_HOURS"));
    let opens_in = time::until(&replica.gate(Product::Kiosk).await.open_time.unwrap());
    assert!(opens_in > Duration::from_secs(11 * 3600), "{opens_in:?}");
    assert_eq!(replica.gate(Product::ToGo).await.state(), GateState::Open);
}

#[tokio::test]
async fn who_watches_gates_sees_them_as_they_are_and_then_each_change() {
    let pos = Pos::default();
    pos.link(LinkState::Online, 3);
    let replica = replica_on(memory(), &pos, GateState::Open).await;
    let request = WatchGatesRequest { store_id: STORE.into() };
    let mut told = replica.client.clone().watch_gates(request).await.unwrap().into_inner();
    let mut next = async || tokio::time::timeout(PATIENCE, told.message()).await.unwrap().unwrap().unwrap();
    let all = next().await;
    assert_eq!((all.gates.len(), all.current), (3, true));
    pos.link(LinkState::Offline, 0);
    let changed = next().await.gates;
    let states: Vec<_> = changed.iter().map(|gate| (gate.product(), gate.state())).collect();
    assert_eq!(states.len(), 3, "{states:?}");
    assert!(states.contains(&(Product::ToGo, GateState::Hold)), "{states:?}");
    assert!(states.contains(&(Product::Table, GateState::Closed)), "{states:?}");
}

#[tokio::test]
async fn what_the_policy_says_of_a_link_that_is_unknown_is_done() {
    let pos = Pos::default();
    let gate = Some(GatePolicy { when_unknown: GateAction::Close.into(), ..GatePolicy::default() });
    pos.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    pos.link(LinkState::Unknown, 0);
    let replica = replica(memory(), &pos, &config());
    assert_eq!(refusal(&replica.place(beer_to_go("r1")).await.unwrap_err()), closed_for("LINK_UNKNOWN"));
}

#[tokio::test]
async fn a_pause_that_is_over_is_not_kept_for_ever() {
    let (pos, storage) = (Pos::default(), memory());
    let over = Pause { store_id: STORE.into(), until: Some(time::from_unix_ms(1)), ..Pause::default() };
    let goes_on = Pause { store_id: OTHER_STORE.into(), ..Pause::default() };
    let replica = replica(storage.clone(), &pos, &config());
    let tenant_id = posmesh_kit::call::identity().tenant_id;
    storage.put_pause(&tenant_id, &over).await.unwrap();
    storage.put_pause(&tenant_id, &goes_on).await.unwrap();
    let forgotten = async {
        while storage.gate_facts().await.unwrap().pauses != [(tenant_id.clone(), goes_on.clone())] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.unwrap();
    drop(replica);
}

#[tokio::test]
async fn what_a_store_has_no_connection_for_is_shown_as_not_sold() {
    let pos = Pos::default();
    pos.link(LinkState::Online, 3);
    pos.links.send_modify(|links| links.as_mut().unwrap()[0].products = vec![Product::Table.into()]);
    let replica = replica(memory(), &pos, &config());
    assert_eq!(replica.gate(Product::Table).await.state(), GateState::Open);
    let gate = replica.gate(Product::Kiosk).await;
    assert_eq!((gate.state(), gate.reason()), (GateState::Closed, GateReason::NotSold));
    // The connection serves it from now on.
    pos.links.send_modify(|links| links.as_mut().unwrap()[0].products.clear());
    replica.until_gate(Product::Kiosk, GateState::Open).await;
}

#[tokio::test]
async fn who_watches_gates_and_does_not_read_loses_its_place() {
    let pos = Pos::default();
    pos.link(LinkState::Online, 3);
    let config = Config { max_watchers: 1, watcher_max_lag: Duration::from_millis(50), ..config() };
    let replica = replica(memory(), &pos, &config);
    let request = || WatchGatesRequest { store_id: STORE.into() };
    let mut slow = replica.client.clone().watch_gates(request()).await.unwrap().into_inner();
    let refused = replica.client.clone().watch_gates(request()).await.unwrap_err();
    assert_eq!(failure::reason(&refused), "TOO_MANY_WATCHERS");
    let other = async {
        loop {
            match replica.client.clone().watch_gates(request()).await {
                Ok(told) => return told.into_inner(),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let mut other = tokio::time::timeout(PATIENCE, other).await.unwrap();
    assert!(other.message().await.unwrap().unwrap().current);
    let ended = async {
        while slow.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap_err();
    assert_eq!((ended.code(), failure::reason(&ended).as_str()), (Code::Aborted, "WATCHER_TOO_SLOW"));
}

#[tokio::test]
async fn a_held_order_goes_to_the_pos_that_takes_its_products_orders_by_now() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    let held = replica.place(beer_to_go("r1")).await.unwrap();
    assert_eq!(held.awaited_connection_id, "till");
    pos.state.lock().unwrap().moved = true;
    pos.links.send_modify(|links| links.as_mut().unwrap()[0].products = vec![Product::Table.into()]);
    pos.link_to("bar", LinkState::Online, 3);
    let placed = replica.until(&held.order_id, OrderState::Placed).await;
    assert_eq!(placed.attempts[0].connection_id, "bar");
}

/// A POS away, and Kiosk orders that were refused for the moment before that was known.
async fn kept_back(pos: &Pos, count: usize) -> (Replica, Vec<Order>) {
    pos.link(LinkState::Online, 3);
    let replica = replica_on(memory(), pos, GateState::Open).await;
    let refusal = || NotHandedOver { cause: "NETWORK_DOWN".into(), ..NotHandedOver::default() };
    pos.script((0..10_000).map(|_| Act::Answer(Outcome::NotHandedOver(refusal()))));
    let mut orders = Vec::new();
    for i in 0..count {
        let request = PlaceOrderRequest { wait: None, ..kiosk_beer(&format!("k{i}")) };
        orders.push(replica.place(request).await.unwrap());
    }
    pos.link(LinkState::Offline, 0);
    replica.until_gate(Product::Kiosk, GateState::Closed).await;
    for order in &orders {
        replica.until_it(&order.order_id, |order| order.state() == OrderState::Pending).await;
    }
    pos.state.lock().unwrap().script.clear();
    (replica, orders)
}

/// Waits as long as many retries take: until an order that is held for a second has expired.
async fn a_while(pos: &Pos, replica: &Replica) {
    let hold_for = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    assert_eq!(pos.state.lock().unwrap().togo.gate.unwrap().hold_for, hold_for, "set before the store is read");
    let held = replica.place(beer_to_go("a-while")).await.unwrap();
    replica.until(&held.order_id, OrderState::Expired).await;
}

#[tokio::test]
async fn what_is_to_be_sent_again_waits_until_the_pos_is_back_and_goes_one_at_a_time() {
    let pos = Pos::default();
    let hold_for = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let gate = Some(GatePolicy { hold_for, ..GatePolicy::default() });
    pos.state.lock().unwrap().togo = ProductPolicy { gate, ..ProductPolicy::default() };
    let (replica, orders) = kept_back(&pos, 4).await;
    let before = pos.submits();
    a_while(&pos, &replica).await;
    assert_eq!((pos.submits(), pos.orders()), (before, 0), "nothing is fired at a POS that is away");
    let go = Arc::new(Notify::new());
    pos.script([Act::Hang(Arc::clone(&go))]);
    pos.link(LinkState::Online, 1);
    let begun = async {
        while pos.submits() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    replica.until_known(&pos).await;
    assert_eq!(refusal(&replica.place(kiosk_beer("next")).await.unwrap_err()), closed_for("LINK_REOPENING"));
    assert_eq!(pos.submits(), before + 1, "the others wait beside it");
    go.notify_one();
    for order in &orders {
        replica.until(&order.order_id, OrderState::Placed).await;
    }
    assert_eq!((pos.submits(), pos.orders()), (before + 4, 4));
}

#[tokio::test]
async fn a_closed_gate_asks_nobody_where_the_order_would_go() {
    let pos = Pos::default();
    pos.link(LinkState::Offline, 0);
    let replica = replica_on(memory(), &pos, GateState::Closed).await;
    assert_eq!(refusal(&replica.place(kiosk_beer("r1")).await.unwrap_err()), closed_for("LINK_OFFLINE"));
    replica.pause(Pause::default()).await.unwrap();
    assert_eq!(refusal(&replica.place(kiosk_beer("r2")).await.unwrap_err()), closed_for("PAUSED"));
    assert_eq!(pos.state.lock().unwrap().resolves, 0);
}
