//! Two replicas on one PostgreSQL, in each order that their transactions can meet in: one is held in the middle, or at
//! its commit, until the other waits for it.

use std::sync::atomic::{AtomicBool, Ordering};

use posmesh_kit_db::Database;
use sqlx::{PgPool, Postgres, Row as _, Transaction};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::storage::{MIGRATIONS, PostgresStorage, postgres::CLAIM};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two replicas, each with its own connections, and a session of the test's own.
struct Replicas {
    one: Subject,
    two: Subject,
    session: PgPool,
}

async fn pool(url: &str) -> PgPool {
    let Database::Postgres(pool) = Database::open(&database(url.to_owned()), "order", MIGRATIONS).await.unwrap() else {
        panic!()
    };
    pool
}

async fn replicas() -> Replicas {
    let url = postgres_url().await;
    let subject = |pool| Arc::new(PostgresStorage::new(pool)) as Subject;
    Replicas { one: subject(pool(&url).await), two: subject(pool(&url).await), session: pool(&url).await }
}

impl Replicas {
    /// A claim of the second replica that has taken its orders and is not committed yet.
    async fn claim_halfway(&self) -> (Transaction<'static, Postgres>, usize) {
        let mut tx = self.session.begin().await.unwrap();
        let none: Vec<String> = Vec::new();
        let claim = sqlx::query(CLAIM).bind("replica-2").bind(60_000_i64).bind(10_i64);
        let claim = claim.bind(&none).bind(&none).bind(Vec::<i64>::new()).bind(10_i64).bind(10_i64);
        let claimed = claim.fetch_all(&mut *tx).await.unwrap().len();
        (tx, claimed)
    }

    /// Somebody's transaction that holds an order's row.
    async fn hold_order(&self, order_id: &str) -> Transaction<'static, Postgres> {
        let mut tx = self.session.begin().await.unwrap();
        let hold = sqlx::query("SELECT 1 FROM orders WHERE order_id = $1 FOR UPDATE").bind(order_id);
        hold.fetch_one(&mut *tx).await.unwrap();
        tx
    }

    async fn hold_check(&self, check_id: &str) -> Transaction<'static, Postgres> {
        let mut tx = self.session.begin().await.unwrap();
        let hold = sqlx::query("SELECT 1 FROM checks WHERE check_id = $1 FOR UPDATE").bind(check_id);
        hold.fetch_one(&mut *tx).await.unwrap();
        tx
    }

    /// Waits until so many sessions wait for a lock.
    async fn until_waiting(&self, count: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let begun = tokio::time::Instant::now();
        while sqlx::query(waiting).fetch_one(&self.session).await.unwrap().get::<i64, _>(0) != count {
            assert!(begun.elapsed() < PATIENCE, "nobody waits for a lock");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Begins a change, and returns once it waits as the `nth` for a lock.
    async fn begin_change(&self, storage: &Subject, order: OrderChange, nth: i64) -> JoinHandle<Changed> {
        let storage = Arc::clone(storage);
        let task = tokio::spawn(async move { change(&storage, order).await });
        self.until_waiting(nth).await;
        task
    }

    /// Begins to place a round, and returns once that waits as the `nth` for a lock.
    async fn begin_place(&self, storage: &Subject, round: NewOrder, nth: i64) -> JoinHandle<Order> {
        let storage = Arc::clone(storage);
        let task = tokio::spawn(async move { take(&storage, round).await });
        self.until_waiting(nth).await;
        task
    }
}

/// An order whose lease is over: anybody may claim it.
async fn take_due(storage: &Subject, request_id: &str) -> Order {
    take(storage, NewOrder { lease: Duration::ZERO, ..new_order(request_id) }).await
}

#[tokio::test]
async fn a_late_write_that_meets_a_claim_waits_for_it_and_is_refused() {
    let replicas = replicas().await;
    let order = take_due(&replicas.one, "a").await;
    let (claim, claimed) = replicas.claim_halfway().await;
    assert_eq!(claimed, 1);
    let late = replicas.begin_change(&replicas.one, to(&order, OrderState::Placed), 1).await;
    claim.commit().await.unwrap();
    let Changed::Conflict(now) = late.await.unwrap() else { panic!("the former owner wrote") };
    assert_eq!((now.version, now.state()), (2, OrderState::Sending));
}

#[tokio::test]
async fn a_late_write_that_meets_a_claim_that_fails_takes_effect() {
    let replicas = replicas().await;
    let order = take_due(&replicas.one, "a").await;
    let (claim, _) = replicas.claim_halfway().await;
    let late = replicas.begin_change(&replicas.one, to(&order, OrderState::Placed), 1).await;
    claim.rollback().await.unwrap();
    assert_eq!(late.await.unwrap(), Changed::Done { next_round: None });
    assert_eq!(replicas.two.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap(), []);
}

#[tokio::test]
async fn a_claim_passes_over_an_order_that_is_being_written_and_takes_the_others() {
    let replicas = replicas().await;
    let written = take_due(&replicas.one, "a").await;
    let left = take_due(&replicas.one, "b").await;
    let hold = replicas.hold_order(&written.order_id).await;
    let late = replicas.begin_change(&replicas.one, to(&written, OrderState::Placed), 1).await;
    let claimed = replicas.two.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap();
    assert_eq!(claimed.iter().map(|c| c.order.order_id.as_str()).collect::<Vec<_>>(), [left.order_id.as_str()]);
    hold.commit().await.unwrap();
    assert_eq!(late.await.unwrap(), Changed::Done { next_round: None });
    assert_eq!(replicas.two.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap(), []);
}

#[tokio::test]
async fn of_two_claims_that_meet_one_gets_the_order_and_the_other_does_not_wait() {
    let replicas = replicas().await;
    take_due(&replicas.one, "a").await;
    let (first, claimed) = replicas.claim_halfway().await;
    assert_eq!(claimed, 1);
    let room = Room::of(10);
    let second = tokio::time::timeout(PATIENCE, replicas.one.claim_due("replica-1", LEASE, &room));
    assert_eq!(second.await.expect("the second claim waits").unwrap(), []);
    // The first one died before its commit: the order is there for the next.
    first.rollback().await.unwrap();
    let again = replicas.one.claim_due("replica-1", LEASE, &Room::of(10)).await.unwrap();
    assert_eq!(again.iter().map(|c| c.order.version).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn putting_off_what_is_being_claimed_leaves_the_new_owners_lease_alone() {
    let replicas = replicas().await;
    let order = take_due(&replicas.one, "a").await;
    let (claim, _) = replicas.claim_halfway().await;
    let (storage, order_id) = (Arc::clone(&replicas.one), order.order_id.clone());
    let put_off = tokio::spawn(async move { storage.put_off(TENANT, &order_id, 1, Some(Duration::ZERO)).await });
    replicas.until_waiting(1).await;
    claim.commit().await.unwrap();
    assert!(!put_off.await.unwrap().unwrap());
    assert_eq!(replicas.two.claim_due("replica-3", LEASE, &Room::of(10)).await.unwrap(), []);
}

#[tokio::test]
async fn a_claim_passes_over_an_order_that_is_being_put_off() {
    let replicas = replicas().await;
    let order = take_due(&replicas.one, "a").await;
    let hold = replicas.hold_order(&order.order_id).await;
    let (storage, order_id) = (Arc::clone(&replicas.one), order.order_id.clone());
    let put_off = tokio::spawn(async move { storage.put_off(TENANT, &order_id, 1, Some(LEASE)).await });
    replicas.until_waiting(1).await;
    assert_eq!(replicas.two.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap(), []);
    hold.commit().await.unwrap();
    assert!(put_off.await.unwrap().unwrap());
    assert_eq!(replicas.two.claim_due("replica-2", LEASE, &Room::of(10)).await.unwrap(), []);
}

/// A check with a round in flight and two that wait.
async fn three_rounds(storage: &Subject) -> (String, [Order; 3]) {
    let check_id = open(storage, "t1").await.check_id;
    let mut rounds = Vec::new();
    for request_id in ["a", "b", "c"] {
        rounds.push(take(storage, new_round(request_id, &check_id)).await);
    }
    (check_id, rounds.try_into().unwrap())
}

fn is_sending(order: &Order) -> bool {
    order.state() == OrderState::Sending
}

#[tokio::test]
async fn a_round_that_is_let_go_while_it_is_taken_back_goes_and_the_taking_back_is_refused() {
    let replicas = replicas().await;
    let (check_id, [first, second, _]) = three_rounds(&replicas.one).await;
    let hold = replicas.hold_check(&check_id).await;
    let end = replicas.begin_change(&replicas.one, to(&first, OrderState::Placed), 1).await;
    let cancel = replicas.begin_change(&replicas.two, to(&second, OrderState::Cancelled), 2).await;
    hold.commit().await.unwrap();
    let Changed::Done { next_round: Some(next) } = end.await.unwrap() else { panic!("no round was let go") };
    assert_eq!((next.0.order_id.as_str(), next.0.state()), (second.order_id.as_str(), OrderState::Sending));
    let Changed::Conflict(now) = cancel.await.unwrap() else { panic!("a round under way was taken back") };
    assert!(is_sending(&now));
}

#[tokio::test]
async fn a_round_that_is_taken_back_while_it_would_be_let_go_is_passed_over() {
    let replicas = replicas().await;
    let (check_id, [first, second, third]) = three_rounds(&replicas.one).await;
    let hold = replicas.hold_check(&check_id).await;
    let cancel = replicas.begin_change(&replicas.two, to(&second, OrderState::Cancelled), 1).await;
    let end = replicas.begin_change(&replicas.one, to(&first, OrderState::Placed), 2).await;
    hold.commit().await.unwrap();
    assert_eq!(cancel.await.unwrap(), Changed::Done { next_round: None });
    let Changed::Done { next_round: Some(next) } = end.await.unwrap() else { panic!("no round was let go") };
    assert_eq!(next.0.order_id, third.order_id);
    assert_eq!(read(&replicas.one, &second.order_id).await.state(), OrderState::Cancelled);
}

#[tokio::test]
async fn a_waiting_round_that_is_being_claimed_is_let_go_as_claimed_and_its_claimer_is_fenced() {
    let replicas = replicas().await;
    let check_id = open(&replicas.one, "t1").await.check_id;
    let first = take(&replicas.one, new_round("a", &check_id)).await;
    let second = take(&replicas.one, NewOrder { hold: Duration::ZERO, ..new_round("b", &check_id) }).await;
    let (claim, claimed) = replicas.claim_halfway().await;
    assert_eq!(claimed, 1);
    let end = replicas.begin_change(&replicas.one, to(&first, OrderState::Placed), 1).await;
    claim.commit().await.unwrap();
    let Changed::Done { next_round: Some(next) } = end.await.unwrap() else { panic!("no round was let go") };
    assert_eq!((next.0.version, next.0.state()), (3, OrderState::Sending));
    // The claimer thinks that the round still waits, too late now.
    let claimed = Order { version: 2, ..second };
    let Changed::Conflict(now) = change(&replicas.two, to(&claimed, OrderState::Expired)).await else {
        panic!("a round under way expired")
    };
    assert_eq!(*now, next.0);
}

#[tokio::test]
async fn a_round_that_comes_while_the_last_one_ends_is_sent_or_let_go_and_never_forgotten() {
    let replicas = replicas().await;
    for (visit, end_first) in [(0, true), (1, false)] {
        let check_id = open(&replicas.one, &format!("t{visit}")).await.check_id;
        let first = take(&replicas.one, new_round(&format!("{visit}-a"), &check_id)).await;
        let new = new_round(&format!("{visit}-b"), &check_id);
        let hold = replicas.hold_check(&check_id).await;
        let placed = to(&first, OrderState::Placed);
        let (end, place) = if end_first {
            let end = replicas.begin_change(&replicas.one, placed, 1).await;
            (end, replicas.begin_place(&replicas.two, new, 2).await)
        } else {
            let place = replicas.begin_place(&replicas.two, new, 1).await;
            (replicas.begin_change(&replicas.one, placed, 2).await, place)
        };
        hold.commit().await.unwrap();
        let (ended, second) = (end.await.unwrap(), place.await.unwrap());
        let Changed::Done { next_round } = ended else { panic!("{ended:?}") };
        assert_eq!((is_sending(&second), next_round.is_some()), (end_first, !end_first));
        assert!(is_sending(&read(&replicas.one, &second.order_id).await));
    }
}

/// What ends the sessions of a storage while they wait for a lock.
const TERMINATE_WAITING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test]
async fn a_session_that_dies_before_its_commit_leaves_nothing_and_uses_up_no_place() {
    let replicas = replicas().await;
    let check_id = open(&replicas.one, "t1").await.check_id;
    let hold = replicas.hold_check(&check_id).await;
    let (storage, new) = (Arc::clone(&replicas.one), new_round("a", &check_id));
    let place = tokio::spawn(async move { storage.place_batch(vec![new]).await.remove(0) });
    replicas.until_waiting(1).await;
    assert_eq!(sqlx::query(TERMINATE_WAITING).fetch_all(&replicas.session).await.unwrap().len(), 1);
    // It could have been in the commit for all that the caller knows.
    assert!(matches!(place.await.unwrap(), Err(StorageError::Ambiguous(_))));
    hold.commit().await.unwrap();
    assert_eq!(replicas.two.order(TENANT, "order-of-a").await.unwrap(), None);
    assert_eq!(take(&replicas.two, new_round("a", &check_id)).await.round, 1);
}

#[tokio::test]
async fn a_session_that_dies_at_its_commit_leaves_nothing_and_says_that_nobody_knows() {
    let replicas = replicas().await;
    let check_id = open(&replicas.one, "t1").await.check_id;
    // The commit itself waits: a deferred constraint runs within it.
    let at_commit = "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION wait_at_commit()";
    sqlx::raw_sql(at_commit).execute(&replicas.session).await.unwrap();
    let mut hold = replicas.session.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *hold).await.unwrap();
    let (storage, new) = (Arc::clone(&replicas.one), new_round("a", &check_id));
    let place = tokio::spawn(async move { storage.place_batch(vec![new]).await.remove(0) });
    replicas.until_waiting(1).await;
    assert_eq!(sqlx::query(TERMINATE_WAITING).fetch_all(&replicas.session).await.unwrap().len(), 1);
    assert!(matches!(place.await.unwrap(), Err(StorageError::Ambiguous(_))));
    hold.commit().await.unwrap();
    assert_eq!(take(&replicas.two, new_round("a", &check_id)).await.round, 1);
}

/// Passes PostgreSQL's connections on. Once armed, a connection whose client has sent COMMIT breaks when the server has
/// answered that, and the answer is lost.
async fn cut_at_commit(server: String, armed: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(pass_on(client, server, Arc::clone(&armed)));
        }
    });
    port
}

async fn pass_on(client: TcpStream, server: TcpStream, armed: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                to_server.write_all(&asked[..count]).await.unwrap();
                let commits = asked[..count].windows(6).any(|word| word == b"COMMIT");
                if commits && armed.load(Ordering::Relaxed) {
                    // The answer is the server's word that it is durable; nobody hears it.
                    let _ = from_server.read(&mut answered).await;
                    return;
                }
            }
            read = from_server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                to_client.write_all(&answered[..count]).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_ambiguous_and_the_repeated_request_finds_its_order() {
    let url = postgres_url().await;
    let direct = Arc::new(PostgresStorage::new(pool(&url).await)) as Subject;
    let check_id = open(&direct, "t1").await.check_id;
    let (head, rest) = url.split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let port = cut_at_commit(address.to_owned(), Arc::clone(&armed)).await;
    let cut = PostgresStorage::new(pool(&format!("{head}@127.0.0.1:{port}/{name}")).await);
    armed.store(true, Ordering::Relaxed);
    let new = new_round("a", &check_id);
    let answer = cut.place_batch(vec![new.clone()]).await.remove(0);
    assert!(matches!(answer, Err(StorageError::Ambiguous(_))), "{answer:?}");
    let Placement::Known { order, same_request: true } = place(&direct, new).await else { panic!("it was lost") };
    assert_eq!((order.round, order.state()), (1, OrderState::Sending));
}
