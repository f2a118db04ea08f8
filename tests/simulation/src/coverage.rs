//! What occurred, and what should have.

use std::collections::{BTreeMap, BTreeSet};

use posmesh_proto::order::v1::OrderState;

use crate::{
    cluster::Cluster,
    database::Way,
    faults::{Fault, Plan},
    pos::Mishap,
};

/// How often each kind of fault occurred, and which ways orders went.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// Kinds of faults.
    pub faults: BTreeMap<&'static str, usize>,
    /// From which state to which.
    pub edges: BTreeMap<(i32, i32), usize>,
}

impl Coverage {
    pub(crate) fn of(cluster: &Cluster, plan: &Plan) -> Self {
        let mut coverage = Self::default();
        let mishaps = cluster.pos.mishaps();
        for kind in plan.begun.iter().copied().chain(mishaps.iter().map(|mishap| mishap.kind())) {
            *coverage.faults.entry(kind).or_default() += 1;
        }
        for versions in cluster.database.history().values() {
            for pair in versions.windows(2) {
                let (from, to) = (pair[0].1.state(), pair[1].1.state());
                if from != to {
                    *coverage.edges.entry((from.into(), to.into())).or_default() += 1;
                }
            }
        }
        coverage
    }

    /// Adds what occurred in another run.
    pub fn add(&mut self, other: &Self) {
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        other.edges.iter().for_each(|(edge, count)| *self.edges.entry(*edge).or_default() += count);
    }

    /// What never occurred.
    pub fn missing(&self) -> Vec<String> {
        let kinds: BTreeSet<&str> =
            Fault::KINDS.into_iter().chain(Way::FAULTS.map(|(_, name)| name)).chain(Mishap::KINDS).collect();
        let faults = kinds.into_iter().filter(|kind| !self.faults.contains_key(kind)).map(str::to_owned);
        faults.collect()
    }

    /// The ways that orders went, for people.
    pub fn edges(&self) -> Vec<String> {
        let name =
            |state: i32| OrderState::try_from(state).map_or("?", |s| s.as_str_name()).replace("ORDER_STATE_", "");
        self.edges.iter().map(|((from, to), count)| format!("{} → {}: {count}", name(*from), name(*to))).collect()
    }
}
