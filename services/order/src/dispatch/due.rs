//! When an order shall be looked at again.

use std::time::Duration;

use posmesh_kit::{backoff, time};
use posmesh_proto::order::v1::{Attempt, AttemptOutcome, HoldReason, Order, OrderState};
use prost_types::Timestamp;

use super::Dispatcher;
use crate::domain::{
    lifecycle::{entry, is_enter, last_attempt_of, last_submit, open_change, submits},
    settling::open_change_attempt,
};

/// What a person has been told of is looked at this rarely in the end.
const RARELY: Duration = Duration::from_secs(3600);
/// After that it is not looked at any more: it is the person's.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

impl Dispatcher {
    /// When an order shall be looked at again; `None`: not by itself.
    pub(super) fn due(&self, order: &Order) -> Option<Duration> {
        self.due_after(order, Duration::ZERO)
    }

    /// [`Dispatcher::due`] of an order that the POS does not want to see again before some time has passed. Its deadline
    /// holds all the same.
    pub(super) fn due_after(&self, order: &Order, not_before: Duration) -> Option<Duration> {
        let until_late = order.deliver_by.as_ref().map_or(Duration::MAX, |by| self.until(by));
        match order.state() {
            OrderState::Pending => Some(self.retry_delay(order).max(not_before).min(until_late)),
            OrderState::Held => waits_until(order).map(|at| self.until(at)),
            OrderState::Sending | OrderState::InDoubt => match open_change_attempt(order).or(last_submit(order)) {
                Some(attempt) => self.settle_delay(order, attempt),
                None => Some(self.config.retry_cap),
            },
            _ => self.change_due(order, not_before).or_else(|| self.entry_due(order, not_before)),
        }
    }

    fn until(&self, at: &Timestamp) -> Duration {
        let left_ms = time::to_unix_ms(at).saturating_sub(self.clock.now_unix_ms());
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }

    fn retry_delay(&self, order: &Order) -> Duration {
        if last_submit(order).is_some_and(|last| last.outcome() == AttemptOutcome::Absent) {
            return Duration::ZERO;
        }
        let tries = u32::try_from(submits(order).count()).unwrap_or(u32::MAX);
        backoff::delay_after(self.config.retry_base, self.config.retry_cap, tries.saturating_sub(1))
    }

    /// When the wish that the POS decides shall be looked at again.
    fn change_due(&self, order: &Order, not_before: Duration) -> Option<Duration> {
        let change = open_change(order)?;
        if let Some(open) = open_change_attempt(order) {
            return self.settle_delay(order, open);
        }
        if last_attempt_of(order, &change.change_id).is_none() {
            // It is carried out at once by whoever wrote it; this is for the case that it dies first.
            return Some(self.config.retry_base);
        }
        let tries = order.attempts.iter().filter(|a| a.change_id == change.change_id).count();
        let tries = u32::try_from(tries).unwrap_or(u32::MAX).saturating_sub(1);
        Some(backoff::delay_after(self.config.retry_base, self.config.retry_cap, tries).max(not_before))
    }

    /// When the entry of a diverted order shall be looked at again.
    fn entry_due(&self, order: &Order, not_before: Duration) -> Option<Duration> {
        if !entry::is_pending(order) {
            return None;
        }
        if let Some(open) = entry::open_entry(order) {
            return self.settle_delay(order, open);
        }
        let tried = order.attempts.iter().filter(|attempt| is_enter(attempt)).count();
        let Some(before) = u32::try_from(tried).unwrap_or(u32::MAX).checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        Some(backoff::delay_after(self.config.retry_base, self.config.retry_cap, before).max(not_before))
    }

    /// Looks for what became of an attempt soon at first, then more and more rarely.
    fn settle_delay(&self, order: &Order, attempt: &Attempt) -> Option<Duration> {
        let begun_ms = attempt.begin_time.as_ref().map_or(0, time::to_unix_ms);
        let age = Duration::from_millis(u64::try_from(self.clock.now_unix_ms().saturating_sub(begun_ms)).unwrap_or(0));
        if age > GIVEN_UP_AFTER && !order.attention.is_empty() {
            return None;
        }
        let cap = (age / 10).clamp(self.config.retry_cap, RARELY.max(self.config.retry_cap));
        Some(backoff::delay_after((age / 2).max(self.config.retry_base), cap, 0))
    }
}

/// Until when an order waits that is HELD, if nothing lets it go before.
fn waits_until(order: &Order) -> Option<&Timestamp> {
    let fire_time = order.fire_time.as_ref().filter(|_| order.hold_reason() != HoldReason::Link);
    fire_time.or(order.deliver_by.as_ref())
}
