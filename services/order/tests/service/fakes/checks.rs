//! The checks of the scripted POS, and what its staff do with them.

use std::collections::HashMap;

use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{
    Capability, CapabilitySupport, CheckFailed, CheckSplit, PosCheck, PosCheckLine, PosChecks, PosOrder, Rejected,
    SplitCheckRequest, SplitCheckResponse, get_check_response, list_checks_response, split_check_request,
    split_check_response,
};
use tonic::Status;

use super::{PosState, yen};

/// What is known at the till besides the open checks.
#[derive(Default)]
pub(crate) struct Till {
    /// By reference, the check that it was joined into.
    merged: HashMap<String, String>,
    made: usize,
    /// Checks cannot be asked for.
    pub(crate) broken: bool,
    /// What the vendor cannot do.
    pub(crate) cannot: Vec<&'static str>,
    /// How often all checks were listed.
    pub(crate) lists: usize,
    /// How often one check was asked for.
    pub(crate) looks: usize,
    /// By change_reference.
    splits: HashMap<String, Vec<PosCheck>>,
    /// Every split that arrived.
    pub(crate) split_calls: usize,
    /// So many splits are made, and their answers lost.
    pub(crate) lose_splits: usize,
}

impl Till {
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        ["LIST_CHECKS", "GET_CHECK", "SPLIT_CHECK_EVENLY", "SPLIT_CHECK_BY_ITEM"]
            .map(|name| {
                let (support, note) = match self.cannot.contains(&name) {
                    true => (CapabilitySupport::Manual, "split it at the till"),
                    false => (CapabilitySupport::Native, ""),
                };
                Capability { name: name.into(), support: support.into(), note: note.into() }
            })
            .into()
    }
}

fn failed(cause: &str) -> CheckFailed {
    CheckFailed { cause: cause.into(), message: "says the script".into() }
}

fn line(name: &str, reference: &str) -> PosCheckLine {
    PosCheckLine {
        pos_line_reference: reference.into(),
        name: name.into(),
        quantity_milli: 1000,
        total: Some(yen(550)),
        ..PosCheckLine::default()
    }
}

impl PosState {
    /// A round goes on the check that it names, else on that of its table; a table without one gets one.
    pub(crate) fn put_on_check(&mut self, order: &mut PosOrder) -> Result<(), Rejected> {
        let (reference, known) = (order.reference.clone(), self.orders.get(&order.reference).cloned());
        let Some(check) = &mut order.check else { return Ok(()) };
        if let Some(known) = known.and_then(|known| known.check) {
            *check = known;
            return Ok(());
        }
        if check.pos_check_reference.is_empty() {
            let at_table = self.open_checks.iter().find(|c| c.table_ids.contains(&check.table_id));
            check.pos_check_reference = match at_table {
                Some(open) => open.pos_check_reference.clone(),
                None => self.open_by_staff(&check.table_id.clone()),
            };
        }
        match self.open_checks.iter_mut().find(|c| c.pos_check_reference == check.pos_check_reference) {
            Some(open) => {
                open.lines.push(line("Beer", &reference));
                Ok(())
            }
            None => Err(Rejected { cause: cause::CHECK_NOT_FOUND.into(), ..Rejected::default() }),
        }
    }

    /// The staff seat guests; returns the check's reference.
    pub(crate) fn open_by_staff(&mut self, table_id: &str) -> String {
        self.till.made += 1;
        let made = self.till.made;
        let reference =
            if made == 1 { format!("pos-check-{table_id}") } else { format!("pos-check-{table_id}-{made}") };
        self.open_checks.push(PosCheck {
            pos_check_reference: reference.clone(),
            table_ids: vec![table_id.into()],
            open: true,
            ..PosCheck::default()
        });
        reference
    }

    /// The staff enter something at the till.
    pub(crate) fn enter(&mut self, reference: &str, name: &str) {
        let check = self.open_checks.iter_mut().find(|c| c.pos_check_reference == reference).unwrap();
        check.lines.push(line(name, name));
    }

    pub(crate) fn move_check(&mut self, reference: &str, table_id: &str) {
        let check = self.open_checks.iter_mut().find(|c| c.pos_check_reference == reference).unwrap();
        check.table_ids = vec![table_id.into()];
    }

    pub(crate) fn merge_check(&mut self, reference: &str, into: &str) {
        self.close_check(reference);
        self.till.merged.insert(reference.into(), into.into());
    }

    pub(crate) fn close_check(&mut self, reference: &str) {
        self.open_checks.retain(|c| c.pos_check_reference != reference);
    }

    pub(crate) fn list_checks(&mut self, table_id: &str) -> list_checks_response::Result {
        if self.till.broken {
            return list_checks_response::Result::Failed(failed(cause::NETWORK_DOWN));
        }
        self.till.lists += usize::from(table_id.is_empty());
        let is_there =
            |c: &&PosCheck| table_id.is_empty() || c.table_ids.is_empty() || c.table_ids.iter().any(|t| t == table_id);
        let checks = self.open_checks.iter().filter(is_there).cloned().collect();
        list_checks_response::Result::Checks(PosChecks { checks })
    }

    pub(crate) fn get_check(&mut self, reference: &str) -> get_check_response::Result {
        use get_check_response::Result::{Check, Failed};
        if self.till.broken {
            return Failed(failed(cause::NETWORK_DOWN));
        }
        self.till.looks += 1;
        let open = self.open_checks.iter().find(|c| c.pos_check_reference == reference).cloned();
        match (open, self.till.merged.get(reference)) {
            (Some(open), _) => Check(open),
            (None, Some(into)) => Check(PosCheck {
                pos_check_reference: reference.into(),
                merged_into: into.clone(),
                ..PosCheck::default()
            }),
            (None, None) => Failed(failed(cause::CHECK_NOT_FOUND)),
        }
    }

    /// Known by its change_reference, a split splits nothing more.
    pub(crate) fn split_check(&mut self, request: &SplitCheckRequest) -> Result<SplitCheckResponse, Status> {
        self.till.split_calls += 1;
        if !self.till.splits.contains_key(&request.change_reference) {
            let Some(position) =
                self.open_checks.iter().position(|c| c.pos_check_reference == request.pos_check_reference)
            else {
                let result = Some(split_check_response::Result::Failed(failed(cause::CHECK_NOT_FOUND)));
                return Ok(SplitCheckResponse { result });
            };
            let table_ids = self.open_checks[position].table_ids.clone();
            let parts = match request.how.clone().unwrap() {
                split_check_request::How::Parts(parts) => vec![Vec::new(); parts as usize - 1],
                split_check_request::How::ByItem(split) => split
                    .parts
                    .into_iter()
                    .map(|part| part.lines.into_iter().map(|l| l.pos_line_reference).collect())
                    .collect(),
            };
            for (nth, leaving) in parts.into_iter().enumerate() {
                let from = &mut self.open_checks[position];
                let (lines, stays): (Vec<_>, Vec<_>) =
                    from.lines.drain(..).partition(|l| leaving.contains(&l.pos_line_reference));
                from.lines = stays;
                self.open_checks.push(PosCheck {
                    pos_check_reference: format!("{}-part-{}", request.pos_check_reference, nth + 1),
                    table_ids: table_ids.clone(),
                    open: true,
                    lines,
                    ..PosCheck::default()
                });
            }
            let is_part = |c: &&PosCheck| c.pos_check_reference.starts_with(&request.pos_check_reference);
            let checks = self.open_checks.iter().filter(is_part).cloned().collect();
            self.till.splits.insert(request.change_reference.clone(), checks);
        }
        if self.till.lose_splits > 0 {
            self.till.lose_splits -= 1;
            return Err(Status::unavailable("connection reset"));
        }
        let checks = self.till.splits[&request.change_reference].clone();
        Ok(SplitCheckResponse { result: Some(split_check_response::Result::Split(CheckSplit { checks })) })
    }
}
