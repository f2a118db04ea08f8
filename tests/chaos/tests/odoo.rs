//! The same audit against a real Odoo whose replies are cut after it has recorded.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use chaos::{
    REST_WITHIN,
    audit::{AtPos, Facts, audit},
    callers::{
        BRISK, World,
        party::{self, Seat},
        person,
    },
    facts::orders,
};
use posmesh_counterparts::{Odoo, RESTAURANT, free_port};
use posmesh_e2e::{
    Mesh, Options, Process, Proxy, Shape, binary,
    provision::{self, ANY_REVISION},
    table_code,
};
use posmesh_proto::{order::v1::Order, router::v1::Connection, store::v1::Store};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;
use tokio::time::sleep;

const STORE_ID: &str = "odoo-chaos";
/// Drinks of the demo, without choices.
const ITEMS: [&str; 3] = ["176", "177", "178"];
/// Odoo needs a second and more for an order on a busy machine.
const ATTEMPT_TIMEOUT_MS: u64 = 20_000;
const PERSONS: usize = 4;
const ORDERS_EACH: usize = 6;
/// In the path of each write to Odoo.
const WORD_OF_A_WRITE: &str = "sync_from_ui";
const LEAST_CUTS: usize = 5;

/// An Odoo, its adapter behind a wire that can be cut, and the mesh.
struct Restaurant {
    odoo: Odoo,
    wire: Arc<Proxy>,
    mesh: Mesh,
    adapter: Process,
    /// The last line at Odoo that is not of ours.
    last_of_others: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_real_odoo_whose_replies_are_cut_after_it_recorded_no_order_is_lost_or_duplicated() {
    let restaurant = Restaurant::open().await;
    let mesh = &restaurant.mesh;
    let world = World::new(mesh, STORE_ID, &ITEMS, "USD", 1, BRISK).await.unwrap();
    let cuts = tokio::spawn(cut_replies(Arc::clone(&restaurant.wire), world.dice(1000)));
    let mut guests: Vec<_> = (0..PERSONS).map(|at| tokio::spawn(a_few_orders(Arc::clone(&world), at as u64))).collect();
    for table in restaurant.free_tables(2).await {
        let code = table_code(&mesh.http().unwrap(), STORE_ID, &table).await;
        guests.push(tokio::spawn(one_visit(Arc::clone(&world), table, code)));
    }
    for guest in guests {
        guest.await.unwrap();
    }
    cuts.abort();
    let cuts = restaurant.wire.caught_in_all();
    restaurant.wire.forward().await;
    chaos::close(mesh, &world, REST_WITHIN).await;

    let facts = restaurant.facts(&world).await;
    let findings = audit(&world.book.read(), &facts);
    let lines: Vec<String> = findings.violations.iter().map(ToString::to_string).collect();
    println!("{} orders acknowledged {:?}, {cuts} replies cut", findings.acknowledged, findings.by_state);
    assert!(lines.is_empty(), "{}\n{}", lines.join("\n"), restaurant.adapter.log_end(0));
    assert!(findings.acknowledged >= PERSONS * ORDERS_EACH / 2 && cuts >= LEAST_CUTS, "{cuts} cuts, {findings:?}");
}

/// Every now and then a write is carried out and its reply lost.
async fn cut_replies(wire: Arc<Proxy>, mut dice: StdRng) {
    loop {
        wire.lose_answer_to(WORD_OF_A_WRITE);
        wire.caught().await;
        sleep(Duration::from_millis(dice.random_range(0..2000))).await;
    }
}

async fn a_few_orders(world: Arc<World>, caller: u64) {
    let mut dice = world.dice(caller);
    for _ in 0..ORDERS_EACH {
        person::order(&world, &mut dice).await;
    }
}

async fn one_visit(world: Arc<World>, table: String, code: String) {
    let mut dice = world.dice(500 + table.parse::<u64>().unwrap());
    let seat: Seat = party::sit_down(&world, &code).await.unwrap();
    party::eat(&world, &mut dice, &format!("{table}/1"), &seat).await;
}

impl Restaurant {
    async fn open() -> Self {
        let options = Options { attempt_timeout_ms: ATTEMPT_TIMEOUT_MS, ..Options::default() };
        let (odoo, mesh) = tokio::join!(Odoo::start(), Mesh::start(Shape::Postgres, options));
        let (odoo, mesh) = (odoo.unwrap(), mesh.unwrap());
        odoo.open_session().await.unwrap();
        let address: SocketAddr = odoo.base_url().strip_prefix("http://").unwrap().parse().unwrap();
        let wire = Arc::new(Proxy::before(address).await.unwrap());
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let settings = [("ROUTER", mesh.router_urls()), ("LISTEN", listen.to_string())];
        let settings = settings.map(|(key, value)| (format!("POSMESH__{key}"), value)).to_vec();
        let program = binary("adapter-odoo").unwrap();
        let none: Vec<OsString> = Vec::new();
        let adapter = Process::start("adapter-odoo", &program, none, settings, mesh.folder().path()).unwrap();

        let store = Store {
            time_zone: "America/New_York".into(),
            currency_code: "USD".into(),
            locales: vec!["en".into()],
            ..provision::store(STORE_ID, &[])
        };
        provision::put_store(&mesh, store).await.unwrap();
        let settings = json!({
            "base_url": wire.url(), "database": odoo.database(), "pos_config": RESTAURANT,
            "external_payment_method": "Card",
        });
        let connection = Connection {
            connection_id: "odoo-chaos-pos".into(),
            store_id: STORE_ID.into(),
            vendor: "odoo".into(),
            settings_json: settings.to_string(),
            revision: ANY_REVISION,
            ..Connection::default()
        };
        provision::put_connection(&mesh, connection, odoo.api_key()).await.unwrap();
        let run = provision::sync(&mesh, STORE_ID).await.unwrap();
        assert!(run.catalog_version > 0, "{run:?}");
        let last_of_others = number(&rows(&odoo, "SELECT coalesce(max(id), 0) FROM pos_order_line")[0][0]);
        Self { odoo, wire, mesh, adapter, last_of_others }
    }

    async fn free_tables(&self, count: usize) -> Vec<String> {
        let draft = json!([["state", "=", "draft"]]);
        let drafts = self.odoo.search_read("pos.order", draft, &["table_id"]).await.unwrap();
        let taken: Vec<i64> = drafts.iter().filter_map(|draft| draft["table_id"][0].as_i64()).collect();
        let tables = self.odoo.search_read("restaurant.table", json!([["floor_id", "=", 2]]), &[]).await.unwrap();
        let ids = tables.iter().filter_map(|table| table["id"].as_i64()).filter(|id| !taken.contains(id));
        ids.take(count).map(|id| id.to_string()).collect()
    }

    /// The platform's orders, and those of Odoo's own database.
    async fn facts(&self, world: &World) -> Facts {
        let mut facts = Facts::default();
        let mut by_line: HashMap<String, Order> = HashMap::new();
        for replica in &world.replicas {
            for order in orders(replica, STORE_ID, &[]).await.unwrap() {
                by_line.extend(order.lines.iter().map(|line| (line.line_id.clone(), order.clone())));
                facts.orders.entry(order.order_id.clone()).or_default().push(order);
            }
        }
        let mut records: HashMap<(String, String), (AtPos, BTreeSet<String>)> = HashMap::new();
        for row in self.lines() {
            let [id, uuid, pos_order, at_ms, amount, payments, state] = row.as_slice() else { panic!("{row:?}") };
            let ours = by_line.get(uuid);
            let reference = ours.map_or_else(|| format!("line {uuid}"), |order| order.order_id.clone());
            let fresh = || {
                let note = ours.map(|order| order.note.clone()).unwrap_or_default();
                // What several rounds have paid together has no share in one of them.
                let is_whole = ours.is_some_and(|order| order.check_id.is_empty());
                AtPos {
                    number: number(id),
                    at_ms: i64::try_from(number(at_ms)).unwrap(),
                    reference: reference.clone(),
                    check: pos_order.clone(),
                    total: is_whole.then(|| i64::try_from(number(amount)).unwrap()),
                    kitchen_tickets: 1,
                    tenders: vec![note.clone(); usize::try_from(number(payments)).unwrap()],
                    note,
                    voided_ms: (state == "cancel").then_some(0),
                }
            };
            let (_, uuids) =
                records.entry((reference.clone(), pos_order.clone())).or_insert_with(|| (fresh(), BTreeSet::new()));
            assert!(uuids.insert(uuid.clone()), "Odoo holds the line {uuid} twice");
        }
        for (record, uuids) in records.into_values() {
            let wanted = facts.orders.get(&record.reference).map_or(0, |tellings| tellings[0].lines.len());
            assert!(wanted == 0 || wanted == uuids.len(), "Odoo holds {} of {wanted} lines: {record:?}", uuids.len());
            facts.at_pos.push(record);
        }
        facts
    }

    /// What was entered since we came: id, uuid, order, when (ms), the order's total in cents, its payments, its state.
    fn lines(&self) -> Vec<Vec<String>> {
        let sql = format!(
            "SELECT l.id, l.uuid, o.id, floor(extract(epoch FROM l.create_date) * 1000)::bigint, \
             round(o.amount_total * 100)::bigint, (SELECT count(*) FROM pos_payment p WHERE p.pos_order_id = o.id), \
             o.state FROM pos_order_line l JOIN pos_order o ON o.id = l.order_id WHERE l.id > {} ORDER BY l.id",
            self.last_of_others
        );
        rows(&self.odoo, &sql)
    }
}

fn rows(odoo: &Odoo, sql: &str) -> Vec<Vec<String>> {
    let answer = odoo.postgres().query(odoo.database(), sql).unwrap();
    answer.lines().map(|row| row.split('|').map(str::to_owned).collect()).collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}
