//! Clocks that are set: what they say is believed when they have been steady for a while, and not before.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use posmesh_kit::{
    ambient::{self, Connecting, World},
    failure,
};
use posmesh_order::Config;
use posmesh_proto::{
    common::v1::EvidenceKind,
    order::v1::{CheckState, OrderState, PlaceOrderRequest},
    store::v1::ProductPolicy,
};

use crate::{
    checks::{stored, watchful},
    fakes::{Pos, beer_to_go, config, replica},
    memory,
};

const DAY_MS: i64 = 86_400_000;

/// The machine's world, but for its clock, which can be set.
#[derive(Default)]
struct SetClock {
    ahead_ms: Cell<i64>,
    randoms: Cell<u64>,
}

impl SetClock {
    fn jump(&self, ms: i64) {
        self.ahead_ms.set(self.ahead_ms.get() + ms);
    }
}

impl World for SetClock {
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap() + self.ahead_ms.get()
    }

    fn random(&self) -> u64 {
        self.randoms.set(self.randoms.get().wrapping_add(1));
        self.randoms.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(Vec::new())
    }

    fn connect(&self, _: SocketAddr) -> Connecting {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// Runs a test whose clock it can set.
fn with_a_clock_to_set<F: Future<Output = ()>>(test: impl FnOnce(Rc<SetClock>) -> F) {
    let clock = Rc::new(SetClock::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ambient::within(Rc::clone(&clock) as Rc<dyn World>, || runtime.block_on(test(clock)));
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

/// A clock that was set is believed after 8.1 s.
fn slowly_believed(config: Config) -> Config {
    Config { attempt_timeout: Duration::from_secs(8), ..config }
}

#[test]
fn a_day_that_only_a_set_clock_sees_ends_no_check_and_seats_nobody_on_a_check_that_may_be_others() {
    with_a_clock_to_set(async |clock| {
        let (pos, storage) = (Pos::default(), memory());
        let replica = replica(storage.clone(), &pos, &slowly_believed(watchful()));
        let (check, placed) = replica.dine("t1", "r1").await;
        let lists = || pos.state.lock().unwrap().till.lists;
        for jump_ms in [2 * DAY_MS, -2 * DAY_MS] {
            clock.jump(jump_ms);
            let enough = lists() + 3;
            until("the check is looked after all the same", || lists() >= enough).await;
            assert_eq!(stored(&storage, &check.check_id).await.state(), CheckState::Open);
            let seated = replica.sit_down("t1").await;
            if jump_ms > 0 {
                assert_eq!(failure::reason(&seated.unwrap_err()), "CLOCK_NOT_STEADY");
            } else {
                assert_eq!(seated.unwrap().0.check_id, check.check_id, "it is their day again");
            }
        }
        clock.jump(2 * DAY_MS);
        let completed = replica.until(&placed.order_id, OrderState::Completed).await;
        assert_eq!(completed.cause, "BUSINESS_DAY_ENDED", "nobody set it back");
    });
}

#[test]
fn a_clock_that_was_set_makes_no_evidence_late() {
    with_a_clock_to_set(async |clock| {
        let pos = Pos::default();
        let both = [EvidenceKind::Pos, EvidenceKind::Printed].map(i32::from).to_vec();
        pos.state.lock().unwrap().togo = ProductPolicy { success_evidence: both, ..ProductPolicy::default() };
        let replica = replica(memory(), &pos, &slowly_believed(config()));
        let order = replica.place(PlaceOrderRequest { wait: None, ..beer_to_go("r1") }).await.unwrap();
        let finds = || pos.state.lock().unwrap().finds;
        until("the POS is asked for the ticket", || finds() > 0).await;
        // It is to be delivered within ten seconds.
        clock.jump(20_000);
        let enough = finds() + 2;
        until("the POS is asked again", || finds() >= enough).await;
        assert!(replica.order(&order.order_id).await.attention.is_empty());
        let late = replica.until_it(&order.order_id, |order| !order.attention.is_empty()).await;
        assert_eq!(late.attention, ["EVIDENCE_MISSING"]);
    });
}
