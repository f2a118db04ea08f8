//! Brings orders to their POS: one attempt at a time, each durable before its first byte, each with an outcome told
//! apart by proof. An order whose owner is gone is settled first, never sent again blindly.

mod attempt;
mod change;
mod divert;
mod due;
mod enter;
mod flow;
mod held;
mod settle;
mod sweep;

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Failure, backoff, cause, time};
use posmesh_proto::order::v1::{Attempt, AttemptKind, AttemptOutcome, Check, Order};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    checks::Checks,
    clock::Clock,
    config::Config,
    domain::{
        lifecycle::{Event, Outcome, Why, is_divert, is_enter, last_submit},
        settling::max_apply_delay,
    },
    errands::Waker,
    error::{Error, overloaded, store_busy},
    gate::Gates,
    ledger::{Applied, Ledger},
    peers::{Link, Reader},
    storage::{CheckChange, Known},
};

use self::flow::{Flow, Full};

pub(crate) use self::{
    attempt::with_connection,
    change::capability,
    flow::Place,
    held::{BEHIND_ENTRIES, round_wait},
};

/// An attempt that was committed by this replica, which now may carry it out.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) tenant_id: Arc<str>,
    /// Its last attempt is the one to carry out.
    pub(crate) order: Order,
    pub(crate) check: Option<Check>,
    /// For the slip.
    pub(crate) guest_name: String,
    /// Taken before the attempt was committed: the attempt's time runs from here by this replica's own clock.
    pub(crate) since: Instant,
    pub(crate) place: Option<Place>,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Dispatcher {
    ledger: Ledger,
    reader: Reader,
    checks: Checks,
    gates: Gates,
    config: Arc<Config>,
    replica: Arc<str>,
    in_flight: Flow,
    /// Places for what fell due, so that new orders cannot take them all.
    due: Flow,
    pub(crate) clock: Clock,
    /// Notes what follows from orders for their connections.
    waker: Waker,
    tasks: TaskTracker,
}

/// Orders that fell due and are taken up at once.
const MAX_DUE: usize = 256;
/// Of these, those of one store: a POS that hangs keeps each for a while.
const MAX_DUE_PER_STORE: usize = 16;

impl Dispatcher {
    pub(crate) fn new(
        ledger: Ledger,
        checks: Checks,
        gates: Gates,
        config: Arc<Config>,
        replica: Arc<str>,
        waker: Waker,
        tasks: TaskTracker,
    ) -> Self {
        let in_flight = Flow::new(config.max_in_flight, config.max_in_flight_per_store);
        let due = Flow::new(MAX_DUE, MAX_DUE_PER_STORE);
        let (reader, clock) = (gates.reader.clone(), checks.clock.clone());
        Self { ledger, reader, checks, gates, config, replica, in_flight, due, clock, waker, tasks }
    }

    /// A place among the orders in flight; refused when this replica has enough to do, in all or for the store.
    pub(crate) fn admit(&self, tenant_id: &Arc<str>, store_id: &str) -> Result<Place, Failure> {
        self.in_flight.enter(tenant_id, store_id).map_err(|full| match full {
            Full::Replica => overloaded(),
            Full::Store => store_busy(store_id),
        })
    }

    /// The next attempt of an order, and the lease that it needs.
    pub(crate) fn next_attempt(&self, number: i32, link: Option<&Link>) -> (Attempt, Duration) {
        let now_ms = self.clock.now_unix_ms();
        let timeout_ms = i64::try_from(self.config.attempt_timeout.as_millis()).unwrap_or(i64::MAX);
        let attempt = Attempt {
            number,
            kind: AttemptKind::Submit.into(),
            begin_time: Some(time::from_unix_ms(now_ms)),
            not_after: Some(time::from_unix_ms(now_ms.saturating_add(timeout_ms))),
            connection_id: link.map(|l| l.connection.connection_id.clone()).unwrap_or_default(),
            connection_revision: link.map(|l| l.connection.revision).unwrap_or_default(),
            adapter_version: link.map(|l| l.descriptor.adapter_version.clone()).unwrap_or_default(),
            replica: self.replica.to_string(),
            outcome: AttemptOutcome::Unspecified.into(),
            max_apply_delay: link.map(|l| time::to_proto_duration(max_apply_delay(&l.descriptor))),
            idempotency: link.and_then(|l| l.descriptor.idempotency),
            find: link.and_then(|l| l.descriptor.find),
            ..Attempt::default()
        };
        (attempt, self.lease())
    }

    /// How long an attempt belongs to its replica: until nobody writes for it any more. Whether it has taken effect by
    /// then is for settling to find out.
    pub(super) fn lease(&self) -> Duration {
        self.config.attempt_timeout + self.config.lease_margin
    }

    /// An attempt on the same connection as another one: of the same order, or of the round before it.
    pub(super) fn attempt_like(&self, other: &Attempt) -> (Attempt, Duration) {
        let (attempt, lease) = self.next_attempt(0, None);
        let attempt = Attempt {
            connection_id: other.connection_id.clone(),
            connection_revision: other.connection_revision,
            adapter_version: other.adapter_version.clone(),
            max_apply_delay: other.max_apply_delay,
            idempotency: other.idempotency,
            find: other.find,
            ..attempt
        };
        (attempt, lease)
    }

    /// How far clocks may differ.
    pub(crate) fn margin(&self) -> Duration {
        self.config.lease_margin
    }

    /// Whether what the clock says can be believed.
    pub(crate) fn is_clock_steady(&self) -> bool {
        self.clock.is_steady()
    }

    /// Those of these orders that are stored in a newer version.
    pub(crate) async fn newer(&self, known: &[Known]) -> Result<Vec<Order>, Error> {
        self.ledger.storage.newer(known).await.map_err(Error::Read)
    }

    /// Runs work to its end, whether or not its caller stays to hear of it.
    pub(crate) async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let task = self.tasks.spawn(tracing::Instrument::in_current_span(work));
        task.await.map_err(|error| Failure::internal("a write broke off", error).into())
    }

    /// Carries out a committed attempt in a task of its own: nobody's deadline or disconnect ends it.
    pub(crate) fn begin(&self, begun: Begun) {
        let dispatcher = self.clone();
        let span = tracing::info_span!(
            parent: None,
            "dispatch",
            otel.name = "order.dispatch",
            order.id = %begun.order.order_id,
            store.id = %begun.order.store_id,
        );
        posmesh_kit::telemetry::continue_trace(&span, &begun.order.traceparent);
        let work = async move { dispatcher.carry_out(begun).await };
        self.tasks.spawn(tracing::Instrument::instrument(work, span));
    }

    async fn carry_out(&self, begun: Begun) {
        let Begun { tenant_id, order, check, guest_name, since, place } = begun;
        let Some(attempt) = order.attempts.last().cloned() else {
            tracing::error!(order.id = %order.order_id, "an order without an attempt was to be sent");
            return;
        };
        let outcome = self.attempt(&order, &attempt, check.as_ref(), &guest_name, since).await;
        let why = outcome.why();
        tracing::info!(
            order.id = %order.order_id, attempt.number = attempt.number, kind = attempt.kind().as_str_name(),
            cause = why.map(|why| why.cause.as_str()), why = why.map(|why| why.message.as_str()),
            "attempt ended: {}", outcome.name()
        );
        self.record(&tenant_id, order, attempt.number, outcome).await;
        drop(place);
    }

    /// Makes an attempt's outcome durable. Tries until the lease is over: then another replica settles it by asking the
    /// POS.
    async fn record(&self, tenant_id: &Arc<str>, order: Order, number: i32, outcome: Outcome) {
        let begun = Instant::now();
        let mut failures = 0;
        if let (Outcome::Placed(placed), Some(attempt)) = (&outcome, attempt_of(&order, number).filter(|a| is_enter(a)))
        {
            self.note_check(tenant_id, &order, attempt, placed).await;
        }
        if is_check_gone(&order, number, &outcome) {
            // Before the turn passes on: the staff may have joined the check into another one.
            self.checks.is_gone(tenant_id, &order.check_id).await;
        }
        loop {
            let event = Event::Attempted { attempt: number, outcome: outcome.clone() };
            match self.apply(tenant_id, order.clone(), event).await {
                Ok(Applied::Changed { .. }) => return,
                // Somebody else's by now: when it is due is for its owner to say.
                Ok(Applied::Unchanged(current)) if current.version != order.version => return,
                Ok(Applied::Unchanged(current)) => return self.put_off(tenant_id, &current).await,
                Err(error) if begun.elapsed() < self.config.attempt_timeout * 2 => {
                    tracing::warn!(%error, order.id = %order.order_id, "an outcome could not be stored yet");
                    tokio::time::sleep(backoff::delay_after(
                        Duration::from_millis(50),
                        Duration::from_secs(2),
                        failures,
                    ))
                    .await;
                    failures += 1;
                }
                Err(error) => {
                    tracing::error!(%error, order.id = %order.order_id, "an outcome could not be stored; it will be settled");
                    return;
                }
            }
        }
    }

    /// Applies an event to an order, durably, and begins what follows from it: the round that it lets go, and the wish to
    /// take the order back that is the POS's to decide now.
    pub(crate) async fn apply(&self, tenant_id: &Arc<str>, order: Order, event: Event) -> Result<Applied, Error> {
        let since = Instant::now();
        let check = self.check_change(&order, &event);
        let not_before = match &event {
            Event::Attempted { outcome: Outcome::RefusedForNow(_, Some(retry_after)), .. } => *retry_after,
            _ => Duration::ZERO,
        };
        let due = |next: &Order| self.due_after(next, not_before);
        self.waker.before(tenant_id, &order, &event).await;
        let mut applied = self.ledger.apply(tenant_id, order, event, check, due).await?;
        if let Applied::Changed { order, next_round } = &mut applied {
            self.send_next_round(tenant_id, next_round.take(), since).await;
            self.pursue(tenant_id, order);
            self.waker.after(tenant_id, order);
        }
        Ok(applied)
    }

    /// Leaves an order that brought no news as it is, and looks at it again when it is due; one that is at rest, never.
    pub(super) async fn put_off(&self, tenant_id: &str, order: &Order) {
        let due_in = self.due(order);
        if let Err(error) = self.ledger.storage.put_off(tenant_id, &order.order_id, order.version, due_in).await {
            tracing::warn!(%error, order.id = %order.order_id, "an order could not be put off; its lease will end");
        }
    }

    async fn send_next_round(&self, tenant_id: &Arc<str>, next_round: Option<Box<(Order, Check)>>, since: Instant) {
        if let Some(round) = next_round {
            let (order, check) = *round;
            let guest_name = self.guest_name(tenant_id, &order).await;
            let tenant_id = Arc::clone(tenant_id);
            // It takes the turn of one that has just ended: it goes also where nothing new is let in.
            let place = self.admit(&tenant_id, &order.store_id).ok();
            self.begin(Begun { tenant_id, order, check: Some(check), guest_name, since, place });
        }
    }

    /// What an event means for the check of a round, if it ends the round.
    fn check_change(&self, order: &Order, event: &Event) -> CheckChange {
        if order.check_id.is_empty() {
            return CheckChange::default();
        }
        // What the fallback says is no word about the check at the POS.
        let Some(last) = last_submit(order).filter(|last| !is_divert(last)) else { return CheckChange::default() };
        // The next round goes where this one went, if somebody is there, and need not ask whether it may go alone.
        let is_there = matches!(event, Event::Attempted { outcome: Outcome::Placed(_), .. });
        let is_alone = !is_there && self.gates.is_on_probation(&last.connection_id);
        let goes_on = !is_alone && !self.gates.is_away(&last.connection_id);
        let mut change = CheckChange {
            connection_id: last.connection_id.clone(),
            next_attempt: goes_on.then(|| self.attempt_like(last)),
            ..CheckChange::default()
        };
        match event {
            Event::Attempted { outcome: Outcome::Placed(placed), .. }
            | Event::Reported(placed)
            | Event::SeenAtPos(placed) => change.pos_check_reference.clone_from(&placed.pos_check_reference),
            Event::Attempted { outcome, attempt } => change.closed_at_pos = is_check_gone(order, *attempt, outcome),
            _ => {}
        }
        change
    }

    async fn guest_name(&self, tenant_id: &str, order: &Order) -> String {
        if order.guest_contact_id.is_empty() {
            return String::new();
        }
        match self.ledger.storage.contact(tenant_id, &order.guest_contact_id).await {
            Ok(contact) => contact.map(|c| c.name).unwrap_or_default(),
            Err(error) => {
                // A slip without a name is better than a meal that is not cooked.
                tracing::warn!(%error, order.id = %order.order_id, "the guest's name could not be read");
                String::new()
            }
        }
    }
}

fn attempt_of(order: &Order, number: i32) -> Option<&Attempt> {
    order.attempts.iter().find(|attempt| attempt.number == number)
}

/// Whether the POS refused a round because its check is not there any more.
fn is_check_gone(order: &Order, attempt: i32, outcome: &Outcome) -> bool {
    let is_submit = last_submit(order).is_some_and(|last| last.number == attempt && !is_divert(last));
    let is_gone = |why: &Why| why.cause == cause::CHECK_NOT_FOUND;
    !order.check_id.is_empty() && is_submit && matches!(outcome, Outcome::Rejected(why) if is_gone(why))
}
