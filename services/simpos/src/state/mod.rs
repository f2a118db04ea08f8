//! The state of the POS: a fold over its journal, and look-ups in it.
//!
//! What has not changed within the last [`State::keep`] entries is forgotten, so that a POS may run for ever.

mod apply;
mod check;
mod numbered;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use check::CheckRecord;
use numbered::Numbered;

use crate::api::control::{RecordedEntry, Settings};
use crate::api::{Menu, Order, OrderAnswer, OrderEvent, Progress, Ticket};
use crate::journal::{Conditions, SplitAsked};
use crate::pricing::totals;

/// Everything that the POS knows. What is skipped by serde is found again from the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) menu: Menu,
    pub(crate) conditions: Conditions,
    pub(crate) settings: Settings,
    /// Orders recorded before this moment may be forgotten.
    pub(crate) complete_since: Option<i64>,
    orders: Numbered<OrderRecord>,
    checks: BTreeMap<u32, CheckRecord>,
    last_check: u32,
    last_line: u32,
    tickets: Numbered<Arc<Ticket>>,
    events: Numbered<OrderEvent>,
    /// By the caller's reference of the change.
    changes: HashMap<String, Change>,
    last_entry: u64,
    #[serde(skip)]
    entries: Numbered<RecordedEntry>,
    /// Entries that something is remembered for.
    #[serde(skip)]
    keep: u64,
    #[serde(skip)]
    orders_by_reference: HashMap<String, Vec<u32>>,
    #[serde(skip)]
    open_checks: BTreeSet<u32>,
    #[serde(skip)]
    checks_by_age: BTreeSet<(u64, u32)>,
    #[serde(skip)]
    changes_by_age: BTreeSet<(u64, String)>,
    #[serde(skip)]
    waiting_tickets: BTreeSet<u32>,
    /// When orders move on by themselves.
    #[serde(skip)]
    due: BTreeSet<(i64, u32)>,
}

/// An order as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderRecord {
    pub(crate) order: Arc<Order>,
    pub(crate) progress: Progress,
    progressed_at: i64,
    pub(crate) cancelled_at: Option<i64>,
    /// Deleted without a trace.
    lost: bool,
    /// Checks that its lines are on, the one that it is on as a whole first.
    checks: Vec<u32>,
    /// Units of its lines that are void, by line reference.
    pub(crate) voided: BTreeMap<String, u32>,
    /// Its entry in the journal.
    recorded: u64,
}

/// A change that was made under a caller's reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) what: Changed,
    entry: u64,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Changed {
    /// The order of this reference was cancelled.
    Cancelled(String),
    /// Lines of the order of this reference were made void: by line reference, how much in all.
    Voided(String, BTreeMap<String, u32>),
    /// A check was split.
    Split {
        check_number: u32,
        asked: SplitAsked,
        /// The check's and those of the new ones.
        numbers: Vec<u32>,
    },
}

impl OrderRecord {
    /// Check that it is on now.
    pub(crate) fn check_number(&self) -> u32 {
        self.checks.first().copied().unwrap_or(self.order.check_number)
    }

    /// Units of a line that are void.
    pub(crate) fn voided(&self, line_reference: &str) -> u32 {
        self.voided.get(line_reference).copied().unwrap_or(0)
    }

    /// Yen of what is left of it.
    fn total(&self) -> i64 {
        if self.voided.is_empty() {
            return self.order.totals.total;
        }
        let mut lines = self.order.lines.clone();
        for line in &mut lines {
            line.total = line.unit_price * i64::from(line.quantity - self.voided(&line.reference));
        }
        totals(&lines).total
    }
}

impl State {
    /// Nothing has happened yet. `keep` is how many entries something is remembered for.
    pub(crate) fn new(menu: Menu, keep: u64) -> Self {
        State {
            menu,
            conditions: Conditions::default(),
            settings: Settings::default(),
            complete_since: None,
            orders: Numbered::default(),
            checks: BTreeMap::new(),
            last_check: 0,
            last_line: 0,
            tickets: Numbered::default(),
            events: Numbered::default(),
            changes: HashMap::new(),
            last_entry: 0,
            entries: Numbered::default(),
            keep,
            orders_by_reference: HashMap::new(),
            open_checks: BTreeSet::new(),
            checks_by_age: BTreeSet::new(),
            changes_by_age: BTreeSet::new(),
            waiting_tickets: BTreeSet::new(),
            due: BTreeSet::new(),
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.last_entry + 1
    }

    pub(crate) fn next_order_number(&self) -> u32 {
        self.orders.next() as u32
    }

    pub(crate) fn next_check_number(&self) -> u32 {
        self.last_check + 1
    }

    pub(crate) fn next_ticket_number(&self) -> u32 {
        self.tickets.next() as u32
    }

    /// The orders under a reference, oldest first: one, unless it was recorded more than once.
    pub(crate) fn orders(&self, reference: &str) -> impl DoubleEndedIterator<Item = &OrderRecord> {
        let numbers = self.orders_by_reference.get(reference).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|number| self.order(*number))
    }

    pub(crate) fn order(&self, number: u32) -> Option<&OrderRecord> {
        self.orders.get(number.into())
    }

    /// The order as it is answered now.
    pub(crate) fn answer(&self, record: &OrderRecord, duplicate: bool) -> OrderAnswer {
        let number = record.order.order_number;
        let copies = self.orders(&record.order.request.reference).map(|copy| copy.order.order_number);
        OrderAnswer {
            duplicate,
            printed: record.order.ticket_number.is_some_and(|ticket| !self.waiting_tickets.contains(&ticket)),
            progress: record.progress,
            cancelled_at: record.cancelled_at,
            check_number: record.check_number(),
            voided: record.voided.clone(),
            total: record.total(),
            copies: copies.filter(|copy| *copy != number).collect(),
            order: record.order.clone(),
        }
    }

    /// Orders after a number, oldest first.
    pub(crate) fn orders_after(&self, number: u32) -> impl Iterator<Item = &OrderRecord> {
        self.orders.after(number.into()).filter(|record| !record.lost)
    }

    /// The change that was made under a reference.
    pub(crate) fn change(&self, reference: &str) -> Option<&Changed> {
        self.changes.get(reference).map(|change| &change.what)
    }

    pub(crate) fn check(&self, number: u32) -> Option<&CheckRecord> {
        self.checks.get(&number)
    }

    /// Checks after a number, by number.
    pub(crate) fn checks_after(&self, number: u32) -> impl Iterator<Item = &CheckRecord> {
        self.checks.range(number.saturating_add(1)..).map(|(_, check)| check)
    }

    /// Checks that are not closed, by number.
    pub(crate) fn open_checks(&self) -> impl Iterator<Item = &CheckRecord> {
        self.open_checks.iter().filter_map(|number| self.check(*number))
    }

    pub(crate) fn ticket(&self, number: u32) -> Option<&Arc<Ticket>> {
        self.tickets.get(number.into())
    }

    /// Printed slips after a number. Slips print in the order of their numbers, so none can appear before it later.
    pub(crate) fn printed_after(&self, number: u32) -> impl Iterator<Item = &Arc<Ticket>> {
        self.tickets.after(number.into()).take_while(|ticket| ticket.printed_at.is_some())
    }

    /// Number of the last slip that came out of the printer.
    pub(crate) fn last_printed(&self) -> u32 {
        self.waiting_tickets.first().map_or(self.tickets.last() as u32, |waiting| waiting - 1)
    }

    pub(crate) fn waiting_tickets(&self) -> &BTreeSet<u32> {
        &self.waiting_tickets
    }

    /// Events after a number, oldest first; none if some of them are forgotten, or the number was never given.
    pub(crate) fn events_after(&self, number: u64) -> Option<impl Iterator<Item = &OrderEvent>> {
        self.events.continues_after(number).then(|| self.events.after(number))
    }

    /// Number of the last event.
    pub(crate) fn last_event(&self) -> u64 {
        self.events.last()
    }

    /// Entries after a number; none if some of them are forgotten.
    pub(crate) fn entries_after(&self, seq: u64) -> Option<impl Iterator<Item = &RecordedEntry>> {
        (self.entries.continues_after(seq) || seq > self.entries.last()).then(|| self.entries.after(seq))
    }

    /// Notes how long it took to make an entry durable.
    pub(crate) fn set_handling(&mut self, seq: u64, handling_us: u64) {
        if let Some(entry) = self.entries.get_mut(seq) {
            entry.handling_us = Some(handling_us);
        }
    }

    /// When the next order moves on by itself.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Orders that move on by themselves at that time, with how far they come; at most `limit`.
    pub(crate) fn due(&self, now: i64, limit: usize) -> Vec<(u32, Progress)> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).take(limit);
        due.filter_map(|(_, number)| Some((*number, next(self.order(*number)?.progress)?))).collect()
    }
}

/// The progress after one.
fn next(progress: Progress) -> Option<Progress> {
    match progress {
        Progress::Accepted => Some(Progress::InPreparation),
        Progress::InPreparation => Some(Progress::Ready),
        Progress::Ready => Some(Progress::Completed),
        Progress::Completed => None,
    }
}
