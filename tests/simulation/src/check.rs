//! What must hold in every run: the invariants of the design, checked against the POS's own book, against everything
//! that was ever durable, and against everything that any caller was ever told.

use std::collections::{BTreeMap, BTreeSet};

use posmesh_proto::{
    common::v1::EvidenceKind,
    order::v1::{Order, OrderState, PosEntry, ResolutionKind},
};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::Cluster,
    heard::Yes,
    pos::{Entry, Pos},
    told::Telling,
    trace::short,
};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant, `I1` to `I6`.
    pub invariant: String,
    /// What happened.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &str, what: impl Into<String>) -> Self {
        Self { invariant: invariant.to_owned(), what: what.into() }
    }
}

/// A replica makes an answer durable within so long.
const RECORDED_WITHIN_MS: u64 = 10_000;

/// Orders, as the different witnesses know them.
struct Witnesses {
    /// Each order in each version, with the time of its commit.
    history: BTreeMap<String, Vec<(u64, Order)>>,
    /// The POS's book by order.
    book: BTreeMap<String, Vec<Entry>>,
    /// The printer's.
    printed: BTreeMap<String, Vec<Entry>>,
    told: Vec<Telling>,
    /// Yeses that a replica heard and had the time to make durable.
    heard: Vec<Yes>,
    /// Orders for which the POS did not keep what its descriptor says: what it says is what I1, I3 and I6 rest on. Such
    /// orders must be before a person.
    unpromised: BTreeSet<String>,
    violations: Vec<Violation>,
}

pub(crate) fn check(cluster: &Cluster) -> Vec<Violation> {
    let book = by_order(&cluster.pos);
    let printed = cluster.printer.as_ref().map(by_order).unwrap_or_default();
    let history = cluster.database.history();
    let told = cluster.guests.told.list().clone();
    let unpromised = book
        .iter()
        .filter(|(_, entries)| entries.iter().any(|entry| entry.breaks_promise))
        .map(|(id, _)| id.clone())
        .collect();
    // A replica tries for a while to make durable what it heard: longer than that, and it is settled by asking the POS.
    let was_kept = |yes: &Yes| {
        cluster.world.is_up_since(cluster.hosts.orders[yes.replica], yes.at_ms)
            && cluster.database.was_fine(yes.replica, yes.at_ms, yes.at_ms + RECORDED_WITHIN_MS)
    };
    let heard = cluster.heard.list().into_iter().filter(was_kept).collect();
    let mut witnesses = Witnesses { history, book, printed, told, heard, unpromised, violations: Vec::new() };
    witnesses.once();
    witnesses.none_lost();
    witnesses.entered();
    witnesses.truth();
    witnesses.told_to_a_person();
    witnesses.money();
    witnesses.same_id();
    witnesses.rounds();
    witnesses.violations
}

fn by_order(device: &Pos) -> BTreeMap<String, Vec<Entry>> {
    let mut book: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in &device.book().entries {
        book.entry(entry.reference().to_owned()).or_default().push(entry.clone());
    }
    book
}

fn at_pos(state: OrderState) -> bool {
    use OrderState as S;
    matches!(state, S::Placed | S::InPreparation | S::Ready | S::Completed)
}

fn not_at_pos(state: OrderState) -> bool {
    use OrderState as S;
    matches!(state, S::Rejected | S::Expired | S::Cancelled)
}

impl Witnesses {
    fn broken(&mut self, invariant: &'static str, what: String) {
        self.violations.push(Violation::new(invariant, what));
    }

    /// What both devices have of an order.
    fn records(&self, id: &str) -> impl Iterator<Item = &Entry> {
        self.book.get(id).into_iter().chain(self.printed.get(id)).flatten()
    }

    /// I1: at most one order at the POS for each order, and one ticket in the kitchen, whoever printed it.
    fn once(&mut self) {
        let mut found = Vec::new();
        for (device, book) in [("POS", &self.book), ("printer", &self.printed)] {
            for (id, entries) in book {
                if entries.len() > 1 && !self.unpromised.contains(id) {
                    found.push(format!("{} is {} times in the {device}'s book", short(id), entries.len()));
                }
                if !self.history.contains_key(id) {
                    found.push(format!("the {device} has {}, which was never durable", short(id)));
                }
            }
        }
        for id in self.printed.keys() {
            let tickets = self.records(id).filter(|entry| entry.recorded.ticket_number.is_some()).count();
            if tickets > 1 {
                found.push(format!("the kitchen has {tickets} tickets of {}", short(id)));
            }
        }
        found.into_iter().for_each(|what| self.broken("I1", what));
    }

    /// I1 and I2 of what the printer printed: the POS is told of it once, by the platform or by the staff, or it lies before
    /// the staff.
    fn entered(&mut self) {
        let mut found = Vec::new();
        for (id, versions) in &self.history {
            let Some((_, order)) = versions.last() else { continue };
            let (id, entry) = (short(id), order.pos_entry().as_str_name());
            if order.pos_entry() == PosEntry::Unspecified || !at_pos(order.state()) {
                continue;
            }
            let is_entered = self.book.contains_key(&order.order_id);
            let is_on_list = order.attention.iter().any(|mark| mark.starts_with("POS_ENTRY_"));
            let by_hand = order.resolutions.iter().any(|said| said.kind() == ResolutionKind::EnteredByStaff);
            match order.pos_entry() {
                PosEntry::Entered if !is_entered => {
                    found.push(("I3", format!("{id} is {entry}, and the POS lacks it")))
                }
                PosEntry::Due if !is_on_list => found.push(("I2", format!("{id} is {entry} for ever"))),
                PosEntry::NotDue => found.push(("I2", format!("the kitchen has {id}, which is {entry} for ever"))),
                _ if by_hand && is_entered => found.push(("I1", format!("{id} is on the bill twice: {entry}"))),
                _ => {}
            }
        }
        found.into_iter().for_each(|(invariant, what)| self.broken(invariant, what));
    }

    /// I2: each order that anybody was told of is there, and each has come to its end, or a person has been told.
    fn none_lost(&mut self) {
        let told: BTreeSet<&String> = self.told.iter().map(|telling| &telling.order.order_id).collect();
        let mut found: Vec<String> = told
            .into_iter()
            .filter(|id| !self.history.contains_key(*id))
            .map(|id| format!("{} was told and is nowhere", short(id)))
            .collect();
        for order in self.history.values().filter_map(|versions| versions.last().map(|(_, order)| order)) {
            let ended = at_pos(order.state()) || not_at_pos(order.state());
            if !ended && order.attention.is_empty() {
                found.push(format!("{} is {} for ever", short(&order.order_id), order.state().as_str_name()));
            }
        }
        found.into_iter().for_each(|what| self.broken("I2", what));
    }

    /// I3: what was told was durable, and agrees with the POS's book.
    fn truth(&mut self) {
        let mut found = Vec::new();
        for telling in &self.told {
            let Telling { at_ms, to, order, .. } = telling;
            let (id, state) = (short(&order.order_id), order.state());
            let versions = self.history.get(&order.order_id).map(Vec::as_slice).unwrap_or_default();
            let durable = versions.iter().find(|(_, known)| known.version == order.version);
            if durable.is_none_or(|(committed_ms, known)| committed_ms > at_ms || known != order) {
                found.push(format!(
                    "{to} was told {id} v{} {} at {at_ms} ms, which was never durable so",
                    order.version,
                    state.as_str_name()
                ));
            }
            if self.unpromised.contains(&order.order_id) {
                continue;
            }
            // A person's word stands in for the ticket.
            let by_staff = order.evidence.iter().any(|evidence| evidence.kind() == EvidenceKind::Staff);
            let needs_ticket = order.success_evidence.contains(&EvidenceKind::Printed.into()) && !by_staff;
            let proves = |entry: &Entry| entry.at_ms <= *at_ms && (!needs_ticket || entry.is_printed(*at_ms));
            if at_pos(state) && !self.records(&order.order_id).any(proves) {
                found.push(format!("{to} was told at {at_ms} ms that {id} is {}: it is not", state.as_str_name()));
            }
            let was_there = |entry: &Entry| entry.at_ms <= *at_ms;
            let is_entered = order.pos_entry() == PosEntry::Entered;
            if is_entered && !self.book.get(&order.order_id).is_some_and(|book| book.iter().any(was_there)) {
                found.push(format!("{to} was told at {at_ms} ms that {id} is entered: it is not"));
            }
            let gone_later = |entry: &Entry| entry.gone.is_none_or(|(gone_ms, _)| gone_ms > *at_ms);
            let there = self.records(&order.order_id).any(gone_later);
            if not_at_pos(state) && there {
                found.push(format!(
                    "{to} was told at {at_ms} ms that {id} is {}: the kitchen has it",
                    state.as_str_name()
                ));
            }
        }
        for yes in &self.heard {
            let last = self.history.get(&yes.order_id).and_then(|versions| versions.last());
            let is_known = |order: &Order| order.evidence.iter().any(|evidence| evidence.kind() != EvidenceKind::Staff);
            if last.is_none_or(|(_, order)| !is_known(order)) {
                let (id, replica) = (short(&yes.order_id), yes.replica);
                found.push(format!(
                    "order-{replica} heard at {} ms that the POS has {id}, and nobody knows it",
                    yes.at_ms
                ));
            }
        }
        found.into_iter().for_each(|what| self.broken("I3", what));
    }

    /// I3: what contradicts what a guest was told is before a person, or was.
    fn told_to_a_person(&mut self) {
        let mut found = Vec::new();
        for (id, versions) in &self.history {
            let Some((_, order)) = versions.last() else { continue };
            let is_there = self.records(id).any(|entry| entry.gone.is_none());
            let contradicted = not_at_pos(order.state()) && is_there && !order.evidence.is_empty();
            let is_twice = order.pos_order_references.len() > 1;
            if (contradicted || is_twice) && order.attention.is_empty() && order.resolutions.is_empty() {
                found.push(format!("{} is otherwise at the POS than was told, and no person knows", short(id)));
            }
        }
        found.into_iter().for_each(|what| self.broken("I3", what));
    }

    /// I4: a paid order is at the POS with exactly its payment.
    fn money(&mut self) {
        let mut found = Vec::new();
        for (id, entries) in &self.book {
            let Some((_, order)) = self.history.get(id).and_then(|versions| versions.last()) else { continue };
            let paid: Vec<(i64, &str)> = order
                .tenders
                .iter()
                .map(|t| (t.amount.as_ref().map_or(0, |a| a.amount), t.reference.as_str()))
                .collect();
            for entry in entries {
                let noted: Vec<(i64, &str)> = entry
                    .recorded
                    .request
                    .tenders
                    .iter()
                    .map(|t| (t.amount, t.external_reference.as_deref().unwrap_or_default()))
                    .collect();
                if noted != paid {
                    found.push(format!("{} was paid {paid:?}, the POS notes {noted:?}", short(id)));
                }
            }
        }
        found.into_iter().for_each(|what| self.broken("I4", what));
    }

    /// I5: one request_id, one order, and with its own body.
    fn same_id(&mut self) {
        let mut orders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut found = Vec::new();
        for telling in &self.told {
            let Some(asked) = &telling.request else { continue };
            orders.entry(&asked.request_id).or_default().insert(&telling.order.order_id);
            let lines: Vec<(String, i32)> =
                telling.order.lines.iter().map(|line| (line.item_id.clone(), line.quantity)).collect();
            // One that was cancelled before it was seen has no content.
            if !lines.is_empty() && lines != asked.lines {
                found.push(format!("{} was answered with another body's order", asked.request_id));
            }
        }
        found.extend(
            orders.iter().filter(|(_, ids)| ids.len() > 1).map(|(id, ids)| format!("{id} became {} orders", ids.len())),
        );
        found.into_iter().for_each(|what| self.broken("I5", what));
    }

    /// I6: the rounds of a check reach the POS in order, and the printer.
    fn rounds(&mut self) {
        let mut found = Vec::new();
        for (device, book) in [("POS", &self.book), ("printer", &self.printed)] {
            for (check_id, mut rounds) in self.rounds_in(book) {
                rounds.sort_unstable();
                if !rounds.is_sorted_by_key(|(.., round)| *round) {
                    let order: Vec<i32> = rounds.iter().map(|(.., round)| *round).collect();
                    found.push(format!("rounds of {} reached the {device} as {order:?}", short(check_id)));
                }
            }
        }
        found.into_iter().for_each(|what| self.broken("I6", what));
    }

    /// The rounds of each check, by when they were recorded.
    fn rounds_in<'a>(&'a self, book: &'a BTreeMap<String, Vec<Entry>>) -> BTreeMap<&'a str, Vec<(u64, u32, i32)>> {
        let mut checks: BTreeMap<&str, Vec<(u64, u32, i32)>> = BTreeMap::new();
        for (id, entries) in book {
            let Some((_, order)) = self.history.get(id).and_then(|versions| versions.last()) else { continue };
            // The store's policy lets rounds pass a doubtful one, marked so; a doubtful one that is passed comes late.
            let may_pass = order.passed_doubtful_round || self.is_passed(order) || self.unpromised.contains(id);
            if !order.check_id.is_empty() && !may_pass {
                let rounds = entries.iter().map(|entry| (entry.at_ms, entry.recorded.order_number, order.round));
                checks.entry(&order.check_id).or_default().extend(rounds);
            }
        }
        checks
    }

    /// Whether a later round of its check was let past it.
    fn is_passed(&self, order: &Order) -> bool {
        let passes = |other: &Order| {
            other.check_id == order.check_id && other.round > order.round && other.passed_doubtful_round
        };
        self.history.values().filter_map(|versions| versions.last()).any(|(_, other)| passes(other))
    }
}
