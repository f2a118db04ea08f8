//! What occurred, and what should have.

use std::collections::{BTreeMap, BTreeSet};

use posmesh_proto::order::v1::{OrderState, PosEntry};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::Cluster,
    database::Way,
    faults::{Fault, Plan},
    pos::Mishap,
};

/// In the table, which has a word for everything, but on no order's way: the platform itself wishes back only what is in
/// doubt, and that is not sent again.
const NOWHERE: [(OrderState, OrderState); 1] = [(OrderState::Sending, OrderState::Expired)];

/// The ways of a diverted order into the POS.
const ENTRIES: [(PosEntry, PosEntry); 5] = [
    (PosEntry::Unspecified, PosEntry::NotDue),
    (PosEntry::NotDue, PosEntry::Unspecified),
    (PosEntry::NotDue, PosEntry::Due),
    (PosEntry::Due, PosEntry::Entered),
    (PosEntry::Due, PosEntry::ByStaff),
];

/// How often each kind of fault occurred, and which ways orders went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Kinds of faults.
    pub faults: BTreeMap<String, usize>,
    /// From which state to which.
    pub edges: BTreeMap<String, usize>,
}

impl Coverage {
    pub(crate) fn of(cluster: &Cluster, plan: &Plan) -> Self {
        let mut coverage = Self::default();
        let mishaps = cluster.mishaps();
        for kind in plan.begun.iter().copied().chain(mishaps.iter().map(|mishap| mishap.kind())) {
            *coverage.faults.entry(kind.to_owned()).or_default() += 1;
        }
        for versions in cluster.database.history().values() {
            for pair in versions.windows(2) {
                let (from, to) = (pair[0].1.state(), pair[1].1.state());
                if from != to {
                    *coverage.edges.entry(edge(from, to)).or_default() += 1;
                }
                let (from, to) = (pair[0].1.pos_entry(), pair[1].1.pos_entry());
                if from != to {
                    *coverage.edges.entry(entry_edge(from, to)).or_default() += 1;
                }
            }
        }
        coverage
    }

    /// Adds what occurred in another run.
    pub fn add(&mut self, other: &Self) {
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(kind.clone()).or_default() += count);
        other.edges.iter().for_each(|(edge, count)| *self.edges.entry(edge.clone()).or_default() += count);
    }

    /// What never occurred, and could have.
    pub fn missing(&self) -> Vec<String> {
        let kinds: BTreeSet<&str> =
            Fault::KINDS.into_iter().chain(Way::FAULTS.map(|(_, name)| name)).chain(Mishap::KINDS).collect();
        let faults = kinds.into_iter().filter(|kind| !self.faults.contains_key(*kind)).map(str::to_owned);
        let edges = posmesh_order::state_edges().into_iter().filter(|way| !NOWHERE.contains(way));
        let edges = edges.map(|(from, to)| edge(from, to));
        let entries = ENTRIES.map(|(from, to)| entry_edge(from, to));
        let edges = edges.chain(entries);
        faults.chain(edges.filter(|edge| !self.edges.contains_key(edge))).collect()
    }
}

fn entry_edge(from: PosEntry, to: PosEntry) -> String {
    let name = |entry: PosEntry| entry.as_str_name().trim_start_matches("POS_");
    format!("{} → {}", name(from), name(to))
}

fn edge(from: OrderState, to: OrderState) -> String {
    let name = |state: OrderState| state.as_str_name().trim_start_matches("ORDER_STATE_");
    format!("{} → {}", name(from), name(to))
}
