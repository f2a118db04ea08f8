//! The POS of the simulation: speaks the simulator vendor's HTTP API, keeps its book across crashes, and has exactly the
//! properties that its descriptor claims.

pub(crate) mod book;
mod http;
mod mishap;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(crate) use book::{Book, Entry};
pub(crate) use mishap::Mishap;

use crate::{
    chance::{self, Dice},
    trace::Trace,
    world::{
        Now, Software,
        net::{HostId, Net},
    },
};

pub(crate) const PORT: u16 = 8070;
pub(crate) const API_KEY: &str = "key";

/// What a submit that was seen before comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotency {
    /// A second order.
    None,
    /// The same order for so long after it was recorded, then a second one.
    WindowMs(u64),
    /// The same order.
    Forever,
}

/// What the POS says of an order that it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// Nothing: it cannot be asked.
    None,
    /// Whether it has it.
    Authoritative,
    /// Whether it has it, but that it has not proves nothing.
    NotAuthoritative,
}

/// What a vendor's POS is like: drawn once for each seed, and told in the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) idempotency: Idempotency,
    pub(crate) find: Find,
    /// It may record so long after an attempt's `not_after`.
    pub(crate) max_apply_delay_ms: u64,
    /// Orders can be taken back there.
    pub(crate) cancels: bool,
    /// Its tickets are printed a while after it records; the store's success is the printed ticket.
    pub(crate) prints_late: bool,
    /// It tells how far the kitchen is.
    pub(crate) tells_progress: bool,
    /// It does not keep what its descriptor says.
    pub(crate) breaks_promises: bool,
    /// It can record an order without a ticket.
    pub(crate) leaves_ticket_out: bool,
    /// It is a printer beside the POS.
    pub(crate) is_printer: bool,
}

impl Profile {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(&[seed, chance::text("profile")]);
        let idempotency = *dice.pick(&[
            Idempotency::Forever,
            Idempotency::Forever,
            Idempotency::WindowMs(4_000),
            Idempotency::WindowMs(20_000),
            Idempotency::None,
            Idempotency::None,
        ]);
        // What nobody believes cannot be broken.
        let breaks_promises = dice.one_in(5);
        let find = match dice.between(0, 9) {
            _ if breaks_promises => Find::Authoritative,
            0 | 1 => Find::None,
            2 | 3 => Find::NotAuthoritative,
            _ => Find::Authoritative,
        };
        Self {
            idempotency,
            find,
            max_apply_delay_ms: *dice.pick(&[0, 0, 1_000, 3_000]),
            cancels: !dice.one_in(4),
            prints_late: dice.one_in(if breaks_promises { 2 } else { 4 }),
            tells_progress: breaks_promises || dice.one_in(2),
            breaks_promises,
            leaves_ticket_out: !dice.one_in(3),
            is_printer: false,
        }
    }

    /// A printer that stands in for the POS, in a part of the stores. What is at a POS that breaks its promises, nobody
    /// knows: such a store has none.
    fn printer_of_seed(seed: u64) -> Option<Self> {
        let mut dice = Dice::new(&[seed, chance::text("printer")]);
        if Self::of_seed(seed).breaks_promises || dice.one_in(2) {
            return None;
        }
        Some(Self {
            idempotency: *dice.pick(&[Idempotency::Forever, Idempotency::WindowMs(4_000), Idempotency::None]),
            find: *dice.pick(&[Find::Authoritative, Find::Authoritative, Find::NotAuthoritative, Find::None]),
            max_apply_delay_ms: *dice.pick(&[0, 0, 1_000]),
            cancels: dice.one_in(2),
            prints_late: false,
            tells_progress: false,
            breaks_promises: false,
            leaves_ticket_out: false,
            is_printer: true,
        })
    }
}

/// The POS as the simulation sees it from outside, or the printer beside it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pos {
    /// Its host's.
    pub(crate) name: &'static str,
    pub(crate) profile: Profile,
    book: Arc<Mutex<Book>>,
    control: Arc<Mutex<Control>>,
    seed: u64,
    trace: Trace,
}

/// What happens to it.
#[derive(Default)]
struct Control {
    /// Submits that have arrived.
    submits: u64,
    /// One in so many submits meets a mishap; 0: none.
    one_in: u64,
    /// Those that happened.
    happened: Vec<Mishap>,
    /// What must be done to hosts now.
    shocks: Vec<Shock>,
}

/// What a mishap does to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shock {
    /// The POS dies.
    PosCrashes,
    /// The replica dies that sends this order.
    SenderCrashes(String),
    /// The replica stands still that sends this order; suspended: its clocks, too.
    SenderStops { order_id: String, suspended: bool },
}

impl Pos {
    pub(crate) fn new(seed: u64, now: Now, trace: Trace) -> Self {
        Self::like("pos", Profile::of_seed(seed), seed, now, trace)
    }

    /// The printer that stands in for it, where the store has one.
    pub(crate) fn printer(seed: u64, now: Now, trace: Trace) -> Option<Self> {
        let profile = Profile::printer_of_seed(seed)?;
        Some(Self::like("printer", profile, chance::mix(&[seed, chance::text("printer")]), now, trace))
    }

    fn like(name: &'static str, profile: Profile, seed: u64, now: Now, trace: Trace) -> Self {
        let book = Arc::new(Mutex::new(Book::new(profile, now)));
        Self { name, profile, book, control: Arc::default(), seed, trace }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on one in so many submits meets a mishap; 0: none.
    pub(crate) fn set_mishaps(&self, one_in: u64) {
        self.control().one_in = one_in;
    }

    pub(crate) fn mishaps(&self) -> Vec<Mishap> {
        self.control().happened.clone()
    }

    /// What mishaps did to hosts since it was last asked.
    pub(crate) fn take_shocks(&self) -> Vec<Shock> {
        std::mem::take(&mut self.control().shocks)
    }

    /// What the POS's host runs.
    pub(crate) fn software(&self, net: &Net) -> impl FnOnce(HostId) -> Software + use<> {
        let (pos, net) = (self.clone(), net.clone());
        move |host| {
            Box::new(move || {
                let listener = net.listen(host, PORT);
                Box::pin(http::serve(pos.clone(), listener))
            })
        }
    }

    /// What shall happen to the submit or cancel that arrives now.
    fn mishap(&self) -> Option<Mishap> {
        let mut control = self.control();
        control.submits += 1;
        let mut dice = Dice::new(&[self.seed, chance::text("mishap"), control.submits]);
        if control.one_in == 0 || !dice.one_in(control.one_in) {
            return None;
        }
        let mishap = Mishap::draw(&mut dice, self.profile);
        control.happened.push(mishap);
        Some(mishap)
    }

    fn thinking(&self) -> Duration {
        let submits = self.control().submits;
        // A slow POS makes others wait for their turn.
        let most_ms = if self.profile.breaks_promises { 2_500 } else { 80 };
        Duration::from_millis(Dice::new(&[self.seed, chance::text("thinking"), submits]).between(5, most_ms))
    }

    fn shock(&self, shock: Shock) {
        self.control().shocks.push(shock);
    }
}
