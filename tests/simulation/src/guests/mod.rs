//! The guests and what they do: rounds at tables that two share, orders to go, kiosk orders; repeated by callers who got
//! no answer, with the same body or another; taken back at any moment; watched. And who works there.

mod caller;
mod kitchen;
pub(crate) mod operator;
mod script;
mod staff;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use posmesh_kit::Channel;

use crate::{
    chance::{self, Dice},
    cluster,
    pos::Pos,
    told::Told,
    trace::Trace,
    world::{Now, Software, net::HostId},
};

/// The one store.
pub(crate) const STORE: &str = "izakaya";
/// Parties at tables, and single orders, of one seed: at least and at most.
const PARTIES: (u64, u64) = (1, 3);
const SINGLES: (u64, u64) = (4, 10);

/// All who call. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Guests {
    pub(crate) told: Told,
    pos: Pos,
    /// What stands in for it.
    printer: Option<Pos>,
    seed: u64,
    /// The order service, whichever replica answers; and each replica.
    any_replica: Channel,
    replicas: Vec<Channel>,
    now: Now,
    trace: Trace,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    ready: AtomicBool,
    busy: AtomicUsize,
    asked: AtomicUsize,
    audit: AtomicBool,
    audited: AtomicBool,
}

impl Guests {
    pub(crate) fn new(seed: u64, replicas: usize, pos: Pos, printer: Option<Pos>, now: Now, trace: Trace) -> Self {
        let told = Told::new(now.clone(), trace.clone());
        let any_replica = cluster::channel("order");
        let replicas = (0..replicas).map(|n| cluster::channel(&format!("order-{n}"))).collect();
        Self { told, pos, printer, seed, any_replica, replicas, now, trace, progress: Arc::default() }
    }

    /// The store is set up, and guests come in.
    pub(crate) fn are_in(&self) -> bool {
        self.progress.ready.load(Ordering::Relaxed)
    }

    /// None of them wants anything more.
    pub(crate) fn are_done(&self) -> bool {
        self.are_in() && self.progress.busy.load(Ordering::Relaxed) == 0
    }

    /// Orders that they wanted.
    pub(crate) fn orders(&self) -> usize {
        self.progress.asked.load(Ordering::Relaxed)
    }

    /// Everybody asks every replica about every order once more.
    pub(crate) fn audit(&self) {
        self.progress.audit.store(true, Ordering::Relaxed);
    }

    fn is_audited(&self) -> bool {
        self.progress.audit.load(Ordering::Relaxed)
    }

    pub(crate) fn have_audited(&self) -> bool {
        self.progress.audited.load(Ordering::Relaxed)
    }

    /// What their host runs. It does not crash.
    pub(crate) fn software(&self) -> impl FnOnce(HostId) -> Software + use<> {
        let guests = self.clone();
        move |_| {
            Box::new(move || {
                let guests = guests.clone();
                Box::pin(async move { guests.run().await })
            })
        }
    }

    async fn run(self) {
        operator::set_up(&self).await;
        self.trace.tell("operator", || "the store is open".to_owned());
        let mut dice = Dice::new(&[self.seed, chance::text("guests")]);
        // Only what is at a table has a turn to wait for.
        let parties = if self.pos.profile.breaks_promises { 4 } else { dice.between(PARTIES.0, PARTIES.1) };
        let singles = dice.between(SINGLES.0, SINGLES.1);
        for party in 0..parties {
            self.begin(script::party(self.clone(), party));
        }
        for single in 0..singles {
            self.begin(script::single(self.clone(), single));
        }
        self.progress.ready.store(true, Ordering::Relaxed);
        tokio::spawn(operator::sync_again_and_again());
        tokio::spawn(staff::look_after_orders(self.clone()));
        if self.pos.profile.tells_progress {
            tokio::spawn(kitchen::cook(self.clone()));
        }
        while !self.is_audited() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        operator::audit(&self).await;
        self.progress.audited.store(true, Ordering::Relaxed);
    }

    /// Runs a script that counts as busy until its end.
    fn begin(&self, script: impl Future<Output = ()> + Send + 'static) {
        self.progress.busy.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::clone(&self.progress);
        tokio::spawn(async move {
            script.await;
            progress.busy.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn counts(&self) {
        self.progress.asked.fetch_add(1, Ordering::Relaxed);
    }

    fn dice(&self, kind: &str, number: u64) -> Dice {
        Dice::new(&[self.seed, chance::text(kind), number])
    }
}
