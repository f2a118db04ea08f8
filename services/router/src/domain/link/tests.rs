#![allow(clippy::unwrap_used)]
use std::time::Duration;

use posmesh_kit::{cause, time};
use posmesh_proto::router::v1::{Connection, LinkEvidenceKind, LinkState};

use super::*;

const PROBE: LinkEvidenceKind = LinkEvidenceKind::Probe;
const CALL: LinkEvidenceKind = LinkEvidenceKind::Call;
const HEARTBEAT: LinkEvidenceKind = LinkEvidenceKind::Heartbeat;
const PACE: Pace = Pace { interval: Duration::from_secs(10), timeout: Duration::from_millis(1500) };

fn tracker() -> Tracker {
    Tracker::unknown(&Connection { connection_id: "c".into(), ..Connection::default() })
}

fn online() -> Tracker {
    let mut tracker = tracker();
    (0..5).for_each(|n| assert!(tracker.observe(PROBE, well(), n)));
    assert_eq!((state(&tracker), tracker.link().probes_passed), (LinkState::Online, 5));
    tracker
}

fn offline() -> Tracker {
    let mut tracker = online();
    let changed = [10, 11].map(|n| tracker.observe(PROBE, told(cause::NETWORK_DOWN), n));
    assert_eq!(changed, [false, true]);
    assert_eq!(state(&tracker), LinkState::Offline);
    tracker
}

fn state(tracker: &Tracker) -> LinkState {
    tracker.link().state()
}

fn well() -> Seen {
    Seen::Well { degraded: None, latency: Some(Duration::from_millis(40)), version: "POS 1".into() }
}

fn failed(cause: &str, weight: Weight) -> Seen {
    Seen::Failed { fault: Fault::new("pos", cause, "it failed"), weight }
}

fn told(cause: &str) -> Seen {
    failed(cause, Weight::Told)
}

fn lost() -> Seen {
    failed(cause::TIMED_OUT, Weight::Lost)
}

fn call() -> Seen {
    failed(cause::VENDOR_SERVICE_DOWN, Weight::Call)
}

#[test]
fn a_link_is_offline_when_its_failures_since_the_last_success_weigh_enough() {
    for failures in [vec![call(), lost()], vec![call(), call()], vec![told("X"), told("X")], vec![lost(); 4]] {
        let mut tracker = online();
        let (last, first) = failures.split_last().unwrap();
        first.iter().for_each(|seen| assert!(!tracker.observe(PROBE, seen.clone(), 20)));
        assert_eq!(state(&tracker), LinkState::Online);
        // A success in between clears all that came before.
        let mut cleared = tracker.clone();
        cleared.observe(PROBE, well(), 21);
        assert!(!cleared.observe(PROBE, last.clone(), 22));
        assert_eq!(state(&cleared), LinkState::Online);

        assert!(tracker.observe(PROBE, last.clone(), 30));
        assert_eq!(state(&tracker), LinkState::Offline);
        let link = tracker.link();
        assert_eq!((time::to_unix_ms(link.since.as_ref().unwrap()), link.version), (30, 2));
        assert_eq!((&link.healthy_since, link.probes_passed), (&None, 0));
    }
}

#[test]
fn the_cause_is_that_of_the_failure_that_says_most() {
    let mut tracker = online();
    tracker.observe(CALL, call(), 20);
    tracker.observe(PROBE, lost(), 21);
    assert_eq!(tracker.link().cause, cause::VENDOR_SERVICE_DOWN);
    // It is another one now: that too needs more than one answer.
    assert!(!tracker.observe(PROBE, told(cause::CREDENTIALS_REJECTED), 22));
    assert!(tracker.observe(PROBE, told(cause::CREDENTIALS_REJECTED), 23));
    assert_eq!(tracker.link().cause, cause::CREDENTIALS_REJECTED);
    assert_eq!((tracker.link().version, state(&tracker)), (3, LinkState::Offline));
}

#[test]
fn two_answered_probes_or_one_order_bring_it_back() {
    let mut tracker = offline();
    assert!(!tracker.observe(PROBE, well(), 100));
    assert_eq!(PACE.pause(&tracker), Duration::from_secs(1));
    assert!(!tracker.observe(PROBE, told(cause::NETWORK_DOWN), 150));
    assert!(!tracker.observe(PROBE, well(), 200));
    assert!(tracker.observe(PROBE, well(), 1200));
    let link = tracker.link();
    assert_eq!((link.state(), link.probes_passed, link.cause.as_str()), (LinkState::Online, 2, ""));
    assert_eq!(time::to_unix_ms(link.healthy_since.as_ref().unwrap()), 200, "since the first of the two");

    let mut tracker = offline();
    assert!(tracker.observe(CALL, Seen::Worked, 300));
    assert_eq!((state(&tracker), tracker.link().probes_passed), (LinkState::Online, 0));
}

#[test]
fn a_steady_link_writes_nothing() {
    let mut tracker = online();
    for n in 0..1000 {
        assert!(!tracker.observe(PROBE, well(), 20 + n));
        assert!(!tracker.observe(CALL, Seen::Worked, 20 + n));
        assert!(!tracker.observe(PROBE, lost(), 20 + n));
    }
    let mut dead = offline();
    assert!((0..1000).all(|n| !dead.observe(PROBE, told(cause::NETWORK_DOWN), 20 + n)));
}

#[test]
fn a_printer_that_fails_is_told_at_once_and_an_order_does_not_mend_it() {
    let mut tracker = online();
    let fault = Fault::new("printer", cause::PRINTER_OUT_OF_PAPER, "no paper");
    let degraded = Seen::Well { degraded: Some(fault), latency: None, version: String::new() };
    assert!(tracker.observe(PROBE, degraded, 20));
    assert_eq!((state(&tracker), tracker.link().failing_hop.as_str()), (LinkState::Degraded, "printer"));
    assert!(!tracker.observe(CALL, Seen::Worked, 21));
    assert_eq!(state(&tracker), LinkState::Degraded);
    assert!(tracker.observe(PROBE, well(), 22));
    assert_eq!(state(&tracker), LinkState::Online);
}

#[test]
fn a_pos_that_works_while_its_store_is_closed_is_dormant_and_one_that_does_not_says_why() {
    let mut tracker = online();
    assert!(tracker.set_awake(false, 20));
    assert_eq!((state(&tracker), tracker.link().healthy_since), (LinkState::Dormant, None));
    assert!(!tracker.observe(PROBE, well(), 30) && !tracker.observe(CALL, Seen::Worked, 30));
    assert!(PACE.pause(&tracker) > Duration::from_secs(400));
    tracker.observe(PROBE, told(cause::CREDENTIALS_REJECTED), 40);
    assert!(tracker.observe(PROBE, told(cause::CREDENTIALS_REJECTED), 41));
    let link = tracker.link();
    assert_eq!((link.state(), link.cause.as_str()), (LinkState::Dormant, cause::CREDENTIALS_REJECTED));
    assert!(tracker.set_awake(true, 50));
    assert_eq!(state(&tracker), LinkState::Offline);
}

#[test]
fn what_may_not_be_asked_is_unknown_and_never_stays_offline() {
    let mut tracker = tracker();
    assert!(!tracker.observe(PROBE, Seen::NotAskable, 1));
    assert_eq!(state(&tracker), LinkState::Unknown);
    assert!(tracker.observe(CALL, Seen::Worked, 2));
    assert!(!tracker.observe(PROBE, Seen::NotAskable, 3));
    tracker.observe(CALL, call(), 4);
    assert!(tracker.observe(CALL, call(), 5));
    assert_eq!(state(&tracker), LinkState::Offline);
    assert!(tracker.observe(PROBE, Seen::NotAskable, 6));
    assert_eq!(state(&tracker), LinkState::Unknown);
}

#[test]
fn what_another_replica_wrote_is_taken_over_and_what_was_seen_here_still_counts() {
    let mut here = online();
    here.observe(CALL, call(), 20);
    let mut there = online();
    there.observe(PROBE, lost(), 20);
    here.adopt(there.link().clone(), false);
    assert!(here.observe(PROBE, lost(), 21), "the order that failed here and the probe that confirms it");
    there.adopt(here.link().clone(), false);
    assert_eq!(state(&there), LinkState::Offline);
    assert!(!there.is_suspected(), "the doubt of an online link is no doubt of an offline one");
}

#[test]
fn a_pos_that_may_not_be_asked_is_not_asked_again_at_once_after_a_failed_order() {
    let mut tracker = online();
    tracker.observe(PROBE, Seen::NotAskable, 20);
    tracker.observe(CALL, call(), 21);
    assert!(PACE.pause(&tracker) > Duration::from_secs(400));
}

#[test]
fn what_the_vendor_itself_says_is_over_when_it_says_so_or_an_order_is_placed_and_not_before() {
    let silent = || {
        let mut tracker = tracker();
        tracker.observe(PROBE, Seen::NotAskable, 1);
        assert!(tracker.observe(HEARTBEAT, failed(cause::POS_APP_NOT_RUNNING, Weight::Certain), 2));
        assert_eq!(state(&tracker), LinkState::Offline);
        assert!(!tracker.observe(PROBE, Seen::NotAskable, 600_000) && !tracker.age(700_000));
        assert_eq!((state(&tracker), tracker.link().evidence.unwrap().kind()), (LinkState::Offline, HEARTBEAT));
        tracker
    };
    // Also by another replica, which has only read it.
    for mut tracker in [silent(), Tracker::new(silent().link().clone())] {
        assert!(!tracker.age(800_000));
        assert!(tracker.observe(HEARTBEAT, well(), 900_000));
        assert_eq!(state(&tracker), LinkState::Online);
    }
    let mut tracker = silent();
    assert!(tracker.observe(CALL, Seen::Worked, 900_000));
    assert_eq!(state(&tracker), LinkState::Online);

    // What was seen by calls alone, and the vendor confirms, rests on the vendor from then on.
    let mut tracker = tracker_offline_by_calls();
    assert!(tracker.observe(HEARTBEAT, call(), 20), "the others must know");
    assert!(!tracker.observe(HEARTBEAT, call(), 21) && !tracker.age(22));
    let mut tracker = tracker_offline_by_calls();
    assert!(tracker.age(30));
    assert_eq!(state(&tracker), LinkState::Unknown);
}

fn tracker_offline_by_calls() -> Tracker {
    let mut tracker = online();
    tracker.observe(CALL, call(), 10);
    tracker.observe(CALL, call(), 11);
    assert_eq!(state(&tracker), LinkState::Offline);
    tracker
}

#[test]
fn what_is_broken_keeps_its_cause_and_since_when_while_its_store_closes_and_opens() {
    let mut tracker = offline();
    let broken = tracker.link().clone();
    for (awake, state, now) in [(false, LinkState::Dormant, 1000), (true, LinkState::Offline, 2000)] {
        let version = tracker.link().version;
        assert!(tracker.set_awake(awake, now));
        let link = tracker.link();
        assert_eq!((link.state(), link.version, tracker.changed_ms()), (state, version + 1, now));
        assert_eq!((&link.cause, &link.failing_hop, &link.since), (&broken.cause, &broken.failing_hop, &broken.since));
    }
    // One that dies while it is closed is told as well.
    let mut tracker = online();
    tracker.set_awake(false, 3000);
    let version = tracker.link().version;
    tracker.observe(PROBE, told(cause::CREDENTIALS_REJECTED), 4000);
    assert!(tracker.observe(PROBE, told(cause::CREDENTIALS_REJECTED), 4001));
    let link = tracker.link();
    assert_eq!((link.state(), link.cause.as_str()), (LinkState::Dormant, cause::CREDENTIALS_REJECTED));
    assert_eq!((link.failing_hop.as_str(), link.version), ("pos", version + 1));
    assert_eq!(time::to_unix_ms(link.since.as_ref().unwrap()), 4001);
}

#[test]
fn a_link_under_an_id_that_led_elsewhere_or_was_deleted_has_a_greater_version_than_any_before() {
    let connection = |revision| Connection { revision, pos_revision: revision, ..Connection::default() };
    let mut before = Tracker::unknown(&connection(7));
    for n in 0..1000 {
        before.observe(CALL, call(), n);
        before.observe(CALL, Seen::Worked, n);
        before.observe(CALL, call(), n);
        before.observe(CALL, call(), n);
    }
    assert!(before.link().version < Tracker::unknown(&connection(8)).link().version);
}

/// One link whose probes are lost by chance, on simulated time. Returns how often it went OFFLINE.
fn week(seed: u64) -> usize {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut chance = move || {
        // xorshift64*: enough for a test.
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        (random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f64 / f64::from(1u32 << 24)
    };
    let (mut tracker, mut now, mut times) = (online(), Duration::ZERO, 0);
    while now < Duration::from_secs(7 * 24 * 3600) {
        let is_lost = chance() < 0.01;
        now += if is_lost { PACE.timeout(&tracker) } else { Duration::from_millis(40) };
        let was_offline = tracker.is_offline();
        tracker.observe(PROBE, if is_lost { lost() } else { well() }, now.as_millis() as i64);
        times += usize::from(!was_offline && tracker.is_offline());
        now += PACE.pause(&tracker);
    }
    times
}

#[test]
fn no_link_is_told_offline_in_a_week_in_which_one_probe_of_a_hundred_is_lost() {
    // Four in a row: 1e-8 of the probes that are due, 7e-4 in a link's week.
    assert_eq!((0..20).map(week).sum::<usize>(), 0);
}

#[test]
fn a_pos_that_dies_without_orders_is_offline_within_one_and_a_half_intervals() {
    for hard in [true, false] {
        for _ in 0..500 {
            // At worst it dies just after it answered.
            let (mut tracker, mut now) = (online(), Duration::ZERO);
            while !tracker.is_offline() {
                now += PACE.pause(&tracker);
                now += if hard { Duration::from_millis(5) } else { PACE.timeout(&tracker) };
                tracker.observe(PROBE, if hard { told(cause::NETWORK_DOWN) } else { lost() }, 20);
            }
            assert!(now <= Duration::from_secs(15), "{now:?}");
        }
    }
}

#[test]
fn a_failed_order_is_confirmed_at_once_and_within_a_second() {
    for seen in [lost(), told(cause::NETWORK_DOWN)] {
        let mut tracker = online();
        tracker.observe(CALL, call(), 20);
        assert_eq!(PACE.pause(&tracker), Duration::ZERO);
        assert!(PACE.timeout(&tracker) <= Duration::from_millis(800));
        assert!(tracker.observe(PROBE, seen, 21));
        assert_eq!(state(&tracker), LinkState::Offline);
    }
}

#[test]
fn a_dead_pos_is_asked_less_and_less_and_never_more_rarely_than_a_living_one() {
    let mut tracker = offline();
    let mut pauses = Vec::new();
    for n in 0..10 {
        pauses.push(PACE.pause(&tracker));
        tracker.observe(PROBE, told(cause::NETWORK_DOWN), 20 + n);
    }
    assert!(pauses[0] <= Duration::from_secs(1) && pauses[9] >= Duration::from_secs(5), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= PACE.interval), "{pauses:?}");
}

#[test]
fn what_is_said_of_the_same_fault_is_told_anew_at_once_while_it_is_new_and_then_once_a_minute_at_most() {
    let said =
        |words: &str| Seen::Failed { fault: Fault::new("pos", cause::NETWORK_DOWN, words), weight: Weight::Told };
    let minute = 60_000;
    let mut tracker = offline();
    let version = tracker.link().version;
    assert!(tracker.observe(PROBE, said("the router is out"), minute / 2));
    assert!(
        tracker.observe(PROBE, said("the switch is out"), minute),
        "in its first minute a fault is told as it unfolds"
    );
    assert!(tracker.observe(PROBE, said("the cable is out"), 10 * minute));
    assert_eq!(tracker.link().message, "the cable is out");
    assert!(!tracker.observe(PROBE, said("the cable is out"), 12 * minute), "the same words are no news");
    assert!(tracker.observe(PROBE, said("try 1"), 13 * minute));
    assert!(!tracker.observe(PROBE, said("try 2"), 14 * minute - 1));
    assert!(tracker.observe(PROBE, said("try 3"), 14 * minute));
    assert_eq!((tracker.link().message.as_str(), tracker.link().version), ("try 3", version), "it is no event");
    assert_eq!(time::to_unix_ms(tracker.link().since.as_ref().unwrap()), 11);
}
