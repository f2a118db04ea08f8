#![allow(clippy::unwrap_used)]
use posmesh_kit::cause;
use posmesh_proto::{
    adapter::v1::{AdapterDescriptor, Limits},
    router::v1::{Connection, LinkState},
};

use super::*;
use crate::{
    domain::link::{Fault, Weight},
    snapshot::Snapshot,
    storage::{ChangedConnection, NewLink, StoredConnection},
};

const PROBE: LinkEvidenceKind = LinkEvidenceKind::Probe;
const CALL: LinkEvidenceKind = LinkEvidenceKind::Call;
const INTERVAL: Duration = Duration::from_secs(10);

fn snapshot(connections: &[Connection]) -> Snapshot {
    let mut all = Connections::default();
    for (change, connection) in (1..).zip(connections) {
        let stored = Some(StoredConnection { connection: connection.clone(), credentials: None });
        let (tenant_id, connection_id) = ("t".to_owned(), connection.connection_id.clone());
        all.apply(ChangedConnection { change, tenant_id, connection_id, stored });
    }
    Snapshot { connections: Arc::new(all), ..Snapshot::default() }
}

fn connections(count: usize) -> Vec<Connection> {
    let connection = |n: usize| Connection {
        connection_id: format!("c-{n}"),
        store_id: format!("s-{n}"),
        vendor: "acme".into(),
        revision: 1,
        pos_revision: 1,
        ..Connection::default()
    };
    (0..count).map(connection).collect()
}

/// The replica "a" with its links, beside other replicas.
fn table(interval: Duration, count: usize, others: &[&str]) -> Table {
    let mut table = Table::new("a", Pace { interval, timeout: Duration::from_millis(1500) });
    let replicas = others.iter().map(|id| (*id).to_owned()).collect();
    table.sync(&snapshot(&connections(count)), Some(replicas), Instant::now());
    table
}

fn well() -> Seen {
    Seen::Well { degraded: None, latency: None, version: String::new() }
}

fn failed(weight: Weight) -> Seen {
    Seen::Failed { fault: Fault::new("pos", cause::NETWORK_DOWN, "it failed"), weight }
}

impl Table {
    fn see(&mut self, key: &Key, kind: LinkEvidenceKind, seen: Seen) {
        let way = Arc::clone(&self.entries[key].way);
        self.saw(key, &way, kind, seen, 1, Instant::now());
    }

    /// What is under this key in the database after a write.
    fn read_back(&mut self, new: &NewLink, change: i64) {
        self.read(new.stored(change), Instant::now());
    }

    fn state(&self, key: &Key) -> LinkState {
        self.entries[key].tracker.link().state()
    }
}

fn take(table: &mut Table) -> (Vec<Key>, Vec<NewLink>) {
    table.take_dirty(10).into_iter().unzip()
}

#[test]
fn a_confirmed_failure_whose_write_came_second_is_looked_at_again_by_whoever_saw_it() {
    for told_first in [true, false] {
        let mut table = table(INTERVAL, 20, &["b"]);
        let key = table.entries.iter().find(|(_, entry)| !entry.mine).map(|(key, _)| key.clone()).unwrap();
        table.see(&key, PROBE, well());
        let (_, online) = take(&mut table);
        table.read_back(&online[0], 1);
        table.see(&key, CALL, failed(Weight::Call));
        table.see(&key, PROBE, failed(Weight::Told));
        assert_eq!(table.state(&key), LinkState::Offline);
        assert!(table.entries[&key].due.is_none(), "another replica probes it");
        let (keys, offline) = take(&mut table);
        assert_eq!(offline[0].link.state(), LinkState::Offline);
        // The one that probes it has counted a good probe meanwhile.
        let counted = Link { probes_passed: 2, ..online[0].link.clone() };
        let counted = NewLink { replaces: 1, link: counted, event: None, ..online[0].clone() };
        if told_first {
            table.written(&keys, &[None]);
        }
        table.read_back(&counted, 2);
        if !told_first {
            table.written(&keys, &[None]);
        }
        assert_eq!(table.state(&key), LinkState::Online);
        assert!(table.entries[&key].due.is_some(), "what was seen here is looked at at once");
        table.see(&key, PROBE, failed(Weight::Lost));
        let (_, again) = take(&mut table);
        assert_eq!((again[0].link.state(), again[0].replaces), (LinkState::Offline, 2));
    }
}

#[test]
fn an_own_write_that_is_read_back_undoes_nothing_that_was_seen_since() {
    let mut table = table(INTERVAL, 1, &[]);
    let key = Key::new("t", "c-0");
    table.see(&key, PROBE, well());
    let (keys, online) = take(&mut table);
    table.see(&key, CALL, failed(Weight::Call));
    table.see(&key, PROBE, failed(Weight::Told));
    table.written(&keys, &[Some(1)]);
    table.read_back(&online[0], 1);
    assert_eq!(table.state(&key), LinkState::Offline);
    let (keys, offline) = take(&mut table);
    assert_eq!((offline[0].link.state(), offline[0].replaces), (LinkState::Offline, 1));
    // It was written, and another replica has seen it come back since: nothing was lost.
    table.written(&keys, &[Some(2)]);
    let back = NewLink { replaces: 2, ..online[0].clone() };
    table.read_back(&back, 3);
    assert_eq!(table.state(&key), LinkState::Online);
    assert!(!table.entries[&key].tracker.is_suspected());
    assert!(take(&mut table).0.is_empty());
}

#[test]
fn where_a_vendor_allows_few_probes_those_that_decide_something_go_first_and_nobody_is_put_anew() {
    let limits = Limits { max_calls_per_second_in_all: 20.0, ..Limits::default() };
    let descriptor = AdapterDescriptor { limits: Some(limits), ..AdapterDescriptor::default() };
    let descriptors = [("acme".to_owned(), descriptor)].into();
    let mut table = Table::new("a", Pace { interval: INTERVAL, timeout: INTERVAL });
    let begun = Instant::now();
    table.sync(&Snapshot { descriptors, ..snapshot(&connections(1000)) }, None, begun);
    let due = |table: &Table, key: &Key| table.entries[key].due.map(|place| place.at);
    let probe = |table: &mut Table, now| {
        let key = table.pop_due(now)?;
        table.vendors.get_mut("acme").unwrap().spend(now).unwrap();
        Some(key)
    };
    // All are due by then, and it takes 200 s to ask them.
    let mut now = begun + Duration::from_secs(2);
    let mut last = None;
    for _ in 0..10 {
        let earliest = table.entries.values().filter_map(|entry| entry.due).map(|place| place.at).min();
        let first = table.entries.keys().find(|key| due(&table, key) == earliest).cloned();
        last = probe(&mut table, now);
        assert_eq!(last, first, "in their order");
        assert_eq!(probe(&mut table, now), None, "one of them");
        now += Duration::from_millis(200);
        assert_eq!(table.next_due(), Some(now));
    }
    let failing = table.entries.keys().max_by_key(|key| due(&table, key)).cloned().unwrap();
    assert!(last.is_some_and(|last| last != failing));
    table.see(&failing, CALL, failed(Weight::Call));
    assert_eq!(probe(&mut table, now), Some(failing));
    assert_eq!(table.entries.values().filter(|entry| entry.due.is_some()).count(), 989);
}

#[test]
fn where_a_vendor_allows_all_probes_a_link_that_fails_again_and_again_overtakes_nobody() {
    let mut table = table(INTERVAL, 2, &[]);
    let (failing, other) = (Key::new("t", "c-0"), Key::new("t", "c-1"));
    let now = Instant::now();
    table.put_off(&other, Some(now));
    table.see(&failing, CALL, failed(Weight::Call));
    let later = now + Duration::from_secs(1);
    assert_eq!((table.pop_due(later), table.pop_due(later)), (Some(other), Some(failing)));
}

#[test]
fn what_could_not_be_written_is_written_again_unless_its_connection_has_gone() {
    let mut table = table(INTERVAL, 2, &[]);
    for id in ["c-0", "c-1"] {
        table.see(&Key::new("t", id), PROBE, well());
    }
    let (keys, _) = take(&mut table);
    table.sync(&snapshot(&connections(1)), None, Instant::now());
    table.unwritten(keys);
    let (keys, _) = take(&mut table);
    assert_eq!(keys, [Key::new("t", "c-0")]);
}

#[test]
fn without_probes_what_is_offline_may_be_tried_after_a_while_unless_the_vendor_said_so() {
    let minute = Duration::from_secs(60);
    let mut table = table(Duration::ZERO, 2, &[]);
    let (key, said) = (Key::new("t", "c-0"), Key::new("t", "c-1"));
    table.see(&key, CALL, failed(Weight::Call));
    assert_eq!(table.next_due(), None, "nobody is asked");
    table.see(&key, CALL, failed(Weight::Call));
    table.see(&said, LinkEvidenceKind::Heartbeat, failed(Weight::Certain));
    assert_eq!((table.state(&key), table.state(&said)), (LinkState::Offline, LinkState::Offline));
    let (now, due) = (Instant::now(), table.next_due().unwrap());
    assert!((now + minute * 7..now + minute * 10).contains(&due), "{:?}", due - now);
    while let Some(key) = table.pop_due(now + minute * 10) {
        table.age(&key, 2, now + minute * 10);
    }
    assert_eq!((table.state(&key), table.state(&said)), (LinkState::Unknown, LinkState::Offline));
}

#[test]
fn a_connection_that_leads_elsewhere_shows_an_unknown_link_under_another_version() {
    let mut table = table(INTERVAL, 1, &[]);
    let key = Key::new("t", "c-0");
    table.see(&key, PROBE, well());
    let (_, online) = take(&mut table);
    table.read_back(&online[0], 1);
    let shown = table.shown(&key).unwrap();
    assert_eq!((shown.state(), &shown.version), (LinkState::Online, &online[0].event.as_ref().unwrap().version));
    let moved = Connection { revision: 2, pos_revision: 2, ..connections(1).remove(0) };
    table.sync(&snapshot(&[moved]), None, Instant::now());
    let anew = table.shown(&key).unwrap();
    assert_eq!(anew.state(), LinkState::Unknown);
    assert!(anew.version > shown.version);
    table.see(&key, PROBE, well());
    let (_, again) = take(&mut table);
    assert_eq!((again[0].link.version, again[0].event.is_some()), (anew.version + 1, true));
}

#[test]
fn a_confirming_probe_for_which_nobody_had_a_turn_waits_before_the_next_one() {
    let mut table = table(INTERVAL, 1, &[]);
    let (key, now) = (Key::new("t", "c-0"), Instant::now());
    table.see(&key, CALL, failed(Weight::Call));
    assert!(table.next_due().unwrap() <= Instant::now(), "an order has just failed");
    table.begin(&key, now).unwrap();
    let later = now + Duration::from_secs(2);
    table.turned_away(&key, later);
    table.end(&key, now);
    assert_eq!(table.next_due(), Some(later));
    table.see(&key, CALL, failed(Weight::Call));
    assert_eq!(table.next_due(), Some(later), "nor does another failure make it sooner");
}
