use posmesh_kit::cause;

use super::*;

const NOW_MS: i64 = 1_795_366_800_000;
const OPEN: Opening = Opening::Open { until_ms: None };
const SHUT: Opening = Opening::Closed { since_ms: Some(NOW_MS - 1000), until_ms: Some(NOW_MS + 1000) };

fn store(gate: GatePolicy) -> Store {
    let policy = |product: Product| ProductPolicy { product: product.into(), gate: Some(gate), ..Default::default() };
    Store {
        store_id: "shibuya".into(),
        lifecycle: StoreLifecycle::Live.into(),
        product_policies: [Product::Table, Product::ToGo, Product::Kiosk].map(policy).into(),
        ..Store::default()
    }
}

fn link(state: LinkState, hop: &str, cause: &str) -> Link {
    let since = Some(from_unix_ms(NOW_MS - 5000));
    Link { state: state.into(), failing_hop: hop.into(), cause: cause.into(), since, ..Link::default() }
}

fn away() -> Link {
    link(LinkState::Offline, "pos", cause::POS_APP_NOT_RUNNING)
}

fn facts<'a>(store: &'a Store, product: Product, link: &'a Link) -> Facts<'a> {
    let way = Way { link: Some(link), is_reopening: false, in_doubt: None, can_divert: false };
    Facts { store, product, opening: OPEN, way, load: Load::default(), pause: None, now_ms: NOW_MS }
}

fn gate(facts: &Facts<'_>) -> Gate {
    super::gate(facts, Asked::Now)
}

fn says(facts: &Facts<'_>) -> (GateState, GateReason) {
    let gate = gate(facts);
    (gate.state(), gate.reason())
}

fn online() -> Link {
    link(LinkState::Online, "", "")
}

const PRODUCTS: [Product; 3] = [Product::Table, Product::ToGo, Product::Kiosk];
const TAKEN: (GateState, GateReason) = (GateState::Open, GateReason::Unspecified);

#[test]
fn a_gate_is_open_while_nothing_speaks_against_it() {
    let (store, online) = (store(GatePolicy::default()), online());
    for product in PRODUCTS {
        let gate = gate(&facts(&store, product, &online));
        assert_eq!((gate.state(), gate.reason()), TAKEN);
        assert_eq!((gate.cause.as_str(), gate.message.as_str(), gate.since), ("", "", None));
    }
}

#[test]
fn what_a_store_does_not_sell_or_before_it_is_live_is_closed() {
    let (mut store, online) = (store(GatePolicy::default()), online());
    store.product_policies.retain(|policy| policy.product() != Product::Kiosk);
    assert_eq!(says(&facts(&store, Product::Kiosk, &online)), (GateState::Closed, GateReason::NotSold));
    store.set_lifecycle(StoreLifecycle::Suspended);
    assert_eq!(says(&facts(&store, Product::Table, &online)), (GateState::Closed, GateReason::NotSold));
}

#[test]
fn a_pause_closes_its_products_until_it_ends() {
    let (store, online) = (store(GatePolicy::default()), online());
    let until = |ms| Pause { until: Some(from_unix_ms(ms)), reason: "party".into(), ..Pause::default() };
    let paused = |pause: &Pause, product| gate(&Facts { pause: Some(pause), ..facts(&store, product, &online) });
    let now = paused(&until(NOW_MS + 1), Product::ToGo);
    assert_eq!((now.state(), now.reason(), now.message.as_str()), (GateState::Closed, GateReason::Paused, "party"));
    assert_eq!(now.open_time, Some(from_unix_ms(NOW_MS + 1)));
    assert_eq!(paused(&until(NOW_MS), Product::ToGo).state(), GateState::Open);
    let kiosk = Pause { products: vec![Product::Kiosk.into()], ..Pause::default() };
    assert_eq!(paused(&kiosk, Product::Kiosk).state(), GateState::Closed);
    assert_eq!(paused(&kiosk, Product::Table).state(), GateState::Open);
}

#[test]
fn outside_hours_only_what_is_picked_up_later_is_ordered() {
    let online = online();
    let at = |store: &Store, product| gate(&Facts { opening: SHUT, ..facts(store, product, &online) });
    let regular = store(GatePolicy::default());
    let table = at(&regular, Product::Table);
    assert_eq!((table.state(), table.reason()), (GateState::Closed, GateReason::OutsideHours));
    assert_eq!(table.since, Some(from_unix_ms(NOW_MS - 1000)));
    assert_eq!(table.open_time, Some(from_unix_ms(NOW_MS + 1000)));
    assert_eq!(at(&regular, Product::ToGo).state(), GateState::Open);
    let always = store(GatePolicy { ignores_opening_hours: true, ..GatePolicy::default() });
    assert_eq!(at(&always, Product::Table).state(), GateState::Open);
}

#[test]
fn while_the_pos_is_away_togo_is_held_and_others_are_refused_with_the_cause() {
    let (store, away) = (store(GatePolicy::default()), away());
    assert_eq!(says(&facts(&store, Product::ToGo, &away)), (GateState::Hold, GateReason::LinkOffline));
    assert_eq!(says(&facts(&store, Product::Kiosk, &away)), (GateState::Closed, GateReason::LinkOffline));
    let gate = gate(&facts(&store, Product::Table, &away));
    assert_eq!((gate.state(), gate.reason()), (GateState::Closed, GateReason::LinkOffline));
    assert_eq!((gate.cause.as_str(), gate.failing_hop.as_str()), (cause::POS_APP_NOT_RUNNING, "pos"));
    assert_eq!(gate.since, away.since);
}

#[test]
fn no_more_is_held_than_the_policy_says() {
    let (store, away) = (store(GatePolicy { max_held: 3, ..GatePolicy::default() }), away());
    let with = |held| {
        let load = Load { held, ..Load::default() };
        says(&Facts { load, ..facts(&store, Product::ToGo, &away) })
    };
    assert_eq!(with(2), (GateState::Hold, GateReason::LinkOffline));
    assert_eq!(with(3), (GateState::Closed, GateReason::LinkOffline));
}

#[test]
fn a_printer_that_fails_stops_only_who_counts_on_its_tickets() {
    let printer = link(LinkState::Degraded, PRINTER, cause::PRINTER_OUT_OF_PAPER);
    let mut store = store(GatePolicy::default());
    assert_eq!(says(&facts(&store, Product::Table, &printer)), TAKEN);
    for policy in &mut store.product_policies {
        policy.success_evidence = vec![EvidenceKind::Printed.into()];
    }
    assert_eq!(says(&facts(&store, Product::Table, &printer)), (GateState::Closed, GateReason::Printer));
    assert_eq!(says(&facts(&store, Product::ToGo, &printer)), (GateState::Hold, GateReason::Printer));
    let slow = link(LinkState::Degraded, "pos", cause::MASTER_UPDATING);
    assert_eq!(says(&facts(&store, Product::Table, &slow)), TAKEN);
    let take = GatePolicy { when_printer_fails: GateAction::Take.into(), ..GatePolicy::default() };
    store.product_policies.iter_mut().for_each(|policy| policy.gate = Some(take));
    assert_eq!(says(&facts(&store, Product::Table, &printer)), TAKEN);
}

#[test]
fn too_many_orders_in_doubt_or_waiting_close_the_gate() {
    let (store, online) = (store(GatePolicy { max_waiting: 7, ..GatePolicy::default() }), online());
    let with = |in_doubt, waiting| {
        let load = Load { in_doubt, waiting, held: 0 };
        says(&Facts { load, ..facts(&store, Product::ToGo, &online) })
    };
    assert_eq!(with(4, 6), TAKEN);
    assert_eq!(with(5, 7), (GateState::Closed, GateReason::TooManyInDoubt));
    assert_eq!(with(4, 7), (GateState::Closed, GateReason::TooManyWaiting));
}

#[test]
fn a_pos_that_was_away_is_on_probation() {
    let (store, online) = (store(GatePolicy::default()), online());
    for product in PRODUCTS {
        let way = Way { link: Some(&online), is_reopening: true, in_doubt: None, can_divert: false };
        let found = says(&Facts { way, ..facts(&store, product, &online) });
        assert_eq!(found, (GateState::Probation, GateReason::LinkReopening));
    }
}

#[test]
fn a_link_that_nobody_knows_is_the_policys_to_decide_and_orders_are_taken_by_default() {
    let dormant = link(LinkState::Dormant, "", "");
    let regular = store(GatePolicy::default());
    let close = store(GatePolicy { when_unknown: GateAction::Close.into(), ..GatePolicy::default() });
    for link in [None, Some(&dormant)] {
        let with = |store| {
            let way = Way { link, is_reopening: false, in_doubt: None, can_divert: false };
            says(&Facts { way, ..facts(store, Product::Table, &dormant) })
        };
        assert_eq!(with(&regular), TAKEN);
        assert_eq!(with(&close), (GateState::Closed, GateReason::LinkUnknown));
    }
}

#[test]
fn what_is_sent_later_or_was_taken_before_is_not_stopped_by_what_concerns_others() {
    let (store, away) = (store(GatePolicy::default()), away());
    let pause = Pause::default();
    let now = Facts { opening: SHUT, ..facts(&store, Product::Table, &away) };
    let paused = Facts { pause: Some(&pause), ..now };
    assert_eq!(super::gate(&now, Asked::Later).state(), GateState::Open);
    assert_eq!(super::gate(&paused, Asked::Later).reason(), GateReason::Paused);
    assert_eq!(super::gate(&paused, Asked::AtPos).reason(), GateReason::LinkOffline);
    let rehearsal = Store { lifecycle: StoreLifecycle::Rehearsal.into(), ..store.clone() };
    let online = online();
    let test = Facts { opening: SHUT, ..facts(&rehearsal, Product::Table, &online) };
    assert_eq!(super::gate(&test, Asked::AtPos).state(), GateState::Open);
    assert_eq!(super::gate(&test, Asked::Now).reason(), GateReason::NotSold);
}

/// Everything speaks against it at once; what is taken away again lets the next reason show.
#[test]
fn of_several_reasons_the_one_that_lasts_longest_is_told() {
    let close = GatePolicy { when_unknown: GateAction::Close.into(), ..GatePolicy::default() };
    let (store, away, unknown) = (store(close), away(), link(LinkState::Unknown, "", ""));
    let printer = link(LinkState::Degraded, PRINTER, cause::PRINTER_OFFLINE);
    let mut sold = store.clone();
    sold.product_policies.iter_mut().for_each(|p| p.success_evidence = vec![EvidenceKind::Kitchen.into()]);
    let not_sold = Store { product_policies: Vec::new(), ..store.clone() };
    let pause = Pause::default();
    let reopening = |link| Way { link: Some(link), is_reopening: true, in_doubt: None, can_divert: false };
    let all = Facts {
        store: &not_sold,
        product: Product::Table,
        opening: SHUT,
        way: reopening(&away),
        load: Load { in_doubt: 5, waiting: 100, held: 0 },
        pause: Some(&pause),
        now_ms: NOW_MS,
    };
    let is_sold = Facts { store: &sold, ..all };
    let resumed = Facts { pause: None, ..is_sold };
    let opened = Facts { opening: OPEN, ..resumed };
    let without_paper = Facts { way: reopening(&printer), ..opened };
    let reached = Facts { way: reopening(&unknown), ..opened };
    let settled = Facts { load: Load { in_doubt: 0, ..all.load }, ..reached };
    let sent = Facts { load: Load::default(), ..settled };
    let proven =
        Facts { way: Way { link: Some(&unknown), is_reopening: false, in_doubt: None, can_divert: false }, ..sent };
    let told =
        [all, is_sold, resumed, opened, without_paper, reached, settled, sent, proven].map(|f| gate(&f).reason());
    let expected = [
        GateReason::NotSold,
        GateReason::Paused,
        GateReason::OutsideHours,
        GateReason::LinkOffline,
        GateReason::Printer,
        GateReason::TooManyInDoubt,
        GateReason::TooManyWaiting,
        GateReason::LinkReopening,
        GateReason::LinkUnknown,
    ];
    assert_eq!(told, expected);
}

/// The store has a fallback that can be reached.
fn with_fallback<'a>(store: &'a Store, product: Product, link: &'a Link) -> Facts<'a> {
    let way = Way { link: Some(link), is_reopening: false, in_doubt: None, can_divert: true };
    Facts { way, ..facts(store, product, link) }
}

#[test]
fn while_the_pos_is_away_orders_go_to_the_fallback_that_the_store_has_unless_its_policy_says_otherwise() {
    let away = away();
    let says_of = |action: GateAction, product| {
        let store = store(GatePolicy { when_offline: action.into(), ..GatePolicy::default() });
        let both = [with_fallback(&store, product, &away), facts(&store, product, &away)];
        both.map(|facts| gate(&facts).state())
    };
    for action in [GateAction::Unspecified, GateAction::Divert] {
        assert_eq!(says_of(action, Product::Kiosk), [GateState::Diverted, GateState::Closed]);
        assert_eq!(says_of(action, Product::Table), [GateState::Diverted, GateState::Closed]);
        assert_eq!(says_of(action, Product::ToGo), [GateState::Diverted, GateState::Hold]);
    }
    assert_eq!(says_of(GateAction::Hold, Product::Kiosk), [GateState::Hold; 2]);
    assert_eq!(says_of(GateAction::Close, Product::ToGo), [GateState::Closed; 2]);
    let store = store(GatePolicy::default());
    let gate = gate(&with_fallback(&store, Product::Kiosk, &away));
    assert_eq!((gate.reason(), gate.cause.as_str()), (GateReason::LinkOffline, cause::POS_APP_NOT_RUNNING));
}

#[test]
fn a_fallback_prints_where_the_pos_cannot_and_the_kitchen_needs_its_ticket() {
    let printer = link(LinkState::Degraded, PRINTER, cause::PRINTER_OUT_OF_PAPER);
    let mut store = store(GatePolicy::default());
    assert_eq!(says(&with_fallback(&store, Product::Table, &printer)), TAKEN);
    for policy in &mut store.product_policies {
        policy.success_evidence = vec![EvidenceKind::Printed.into()];
    }
    assert_eq!(says(&with_fallback(&store, Product::Table, &printer)), (GateState::Diverted, GateReason::Printer));
}

#[test]
fn a_fallback_changes_nothing_about_a_pos_that_works_or_is_not_known() {
    let (store, online, unknown) = (store(GatePolicy::default()), online(), link(LinkState::Unknown, "", ""));
    for link in [&online, &unknown] {
        assert_eq!(says(&with_fallback(&store, Product::Table, link)), TAKEN);
    }
    let way = Way { link: Some(&online), is_reopening: true, in_doubt: None, can_divert: true };
    let reopening = says(&Facts { way, ..facts(&store, Product::Table, &online) });
    assert_eq!(reopening, (GateState::Probation, GateReason::LinkReopening));
}

#[test]
fn a_pos_that_died_before_its_store_closed_gets_nothing_until_it_is_back() {
    let store = store(GatePolicy::default());
    let died = link(LinkState::Dormant, "pos", cause::NETWORK_DOWN);
    let closed = Facts { opening: SHUT, ..facts(&store, Product::ToGo, &died) };
    for asked in [Asked::Now, Asked::AtPos] {
        let gate = super::gate(&closed, asked);
        assert_eq!((gate.state(), gate.reason()), (GateState::Hold, GateReason::LinkOffline));
    }
    let sleeps = link(LinkState::Dormant, "", "");
    let closed = Facts { opening: SHUT, ..facts(&store, Product::ToGo, &sleeps) };
    assert_eq!(super::gate(&closed, Asked::AtPos).state(), GateState::Open);
}

#[test]
fn the_order_that_keeps_a_pos_on_probation_is_named() {
    let (store, online) = (store(GatePolicy::default()), online());
    let mut facts = facts(&store, Product::Kiosk, &online);
    facts.way = Way { is_reopening: true, in_doubt: Some("o-7"), ..facts.way };
    let gate = gate(&facts);
    assert_eq!(gate.state(), GateState::Probation);
    assert!(gate.message.contains("o-7"), "{}", gate.message);
}
