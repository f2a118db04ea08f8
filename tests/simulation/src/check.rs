//! What must hold in every run: the invariants of the design, checked against the POS's own book, against everything
//! that was ever durable, and against everything that any caller was ever told.

use std::collections::{BTreeMap, BTreeSet};

use posmesh_proto::order::v1::{Order, OrderState};

use crate::{cluster::Cluster, pos::Entry, told::Telling, trace::short};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, `I1` to `I6`.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

/// Orders, as the different witnesses know them.
struct Witnesses {
    /// Each order in each version, with the time of its commit.
    history: BTreeMap<String, Vec<(u64, Order)>>,
    /// The POS's book by order.
    book: BTreeMap<String, Vec<Entry>>,
    told: Vec<Telling>,
    violations: Vec<Violation>,
}

pub(crate) fn check(cluster: &Cluster) -> Vec<Violation> {
    let mut book: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in &cluster.pos.book().entries {
        book.entry(entry.reference().to_owned()).or_default().push(entry.clone());
    }
    let history = cluster.database.history();
    let told = cluster.guests.told.list().clone();
    let mut witnesses = Witnesses { history, book, told, violations: Vec::new() };
    witnesses.once();
    witnesses.none_lost();
    witnesses.truth();
    witnesses.money();
    witnesses.same_id();
    witnesses.rounds();
    witnesses.violations
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
        self.violations.push(Violation { invariant, what });
    }

    /// I1: at most one order at the POS for each order.
    fn once(&mut self) {
        let twice: Vec<String> = self
            .book
            .iter()
            .filter(|(_, entries)| entries.len() > 1)
            .map(|(id, entries)| format!("{} is {} times in the POS's book", short(id), entries.len()))
            .collect();
        twice.into_iter().for_each(|what| self.broken("I1", what));
        let unknown: Vec<String> = self
            .book
            .keys()
            .filter(|id| !self.history.contains_key(*id))
            .map(|id| format!("the POS has {}, which was never durable", short(id)))
            .collect();
        unknown.into_iter().for_each(|what| self.broken("I1", what));
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
            let entries = self.book.get(&order.order_id).map(Vec::as_slice).unwrap_or_default();
            if at_pos(state) && !entries.iter().any(|entry| entry.at_ms <= *at_ms) {
                found.push(format!("{to} was told at {at_ms} ms that {id} is {}: it is not", state.as_str_name()));
            }
            let there = entries.iter().any(|entry| entry.gone.is_none_or(|(gone_ms, _)| gone_ms > *at_ms));
            if not_at_pos(state) && there {
                found.push(format!("{to} was told at {at_ms} ms that {id} is {}: the POS has it", state.as_str_name()));
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

    /// I6: the rounds of a check reach the POS in order.
    fn rounds(&mut self) {
        let mut checks: BTreeMap<&str, Vec<(u64, u32, i32)>> = BTreeMap::new();
        for (id, entries) in &self.book {
            let Some((_, order)) = self.history.get(id).and_then(|versions| versions.last()) else { continue };
            if !order.check_id.is_empty() {
                let rounds = entries.iter().map(|entry| (entry.at_ms, entry.recorded.order_number, order.round));
                checks.entry(&order.check_id).or_default().extend(rounds);
            }
        }
        let mut found = Vec::new();
        for (check_id, mut rounds) in checks {
            rounds.sort_unstable();
            if !rounds.is_sorted_by_key(|(.., round)| *round) {
                let order: Vec<i32> = rounds.iter().map(|(.., round)| *round).collect();
                found.push(format!("rounds of {} reached the POS as {order:?}", short(check_id)));
            }
        }
        found.into_iter().for_each(|what| self.broken("I6", what));
    }
}
