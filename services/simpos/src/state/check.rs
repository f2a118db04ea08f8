//! A check as it stands.

use serde::{Deserialize, Serialize};

use crate::api::{Check, CheckLine, CheckState, Line, Tender};
use crate::journal::CheckHead;
use crate::pricing::totals;

/// A check as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckRecord {
    pub(crate) head: CheckHead,
    pub(crate) state: CheckState,
    pub(crate) opened_at: i64,
    pub(crate) closed_at: Option<i64>,
    pub(crate) merged_into: Option<u32>,
    pub(crate) split_from: Option<u32>,
    pub(crate) lines: Vec<CheckLine>,
    pub(crate) tenders: Vec<Tender>,
    /// The last bill slip, while it still says what the check holds.
    pub(crate) bill: Option<u32>,
    /// The entry of the journal that changed it last.
    pub(crate) touched: u64,
}

impl CheckRecord {
    pub(crate) fn new(head: CheckHead, opened_at: i64, touched: u64) -> Self {
        CheckRecord {
            head,
            state: CheckState::Open,
            opened_at,
            closed_at: None,
            merged_into: None,
            split_from: None,
            lines: Vec::new(),
            tenders: Vec::new(),
            bill: None,
            touched,
        }
    }

    /// Whether guests still sit at it, or the till waits for its money.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, CheckState::Open | CheckState::BillRequested)
    }

    /// The lines of the check, in the order of entry.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().map(|line| &line.line)
    }

    /// Sum of the payments.
    pub(crate) fn paid(&self) -> i64 {
        self.tenders.iter().map(|tender| tender.amount).sum()
    }

    /// Something was entered: the bill is out of date.
    pub(super) fn reopen(&mut self) {
        self.state = CheckState::Open;
        self.bill = None;
    }

    pub(super) fn end(&mut self, state: CheckState, at: i64) {
        self.state = state;
        self.closed_at = Some(at);
    }

    /// The check as the API answers it.
    pub(crate) fn view(&self) -> Check {
        let totals = totals(self.lines());
        Check {
            number: self.head.number,
            table: self.head.table.clone(),
            party_size: self.head.party_size,
            state: self.state,
            opened_by: self.head.opened_by.clone(),
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            merged_into: self.merged_into,
            split_from: self.split_from,
            due: totals.total - self.paid(),
            lines: self.lines.clone(),
            totals,
            tenders: self.tenders.clone(),
        }
    }
}

/// Makes units of a line void, and takes their price off.
pub(super) fn void_units(line: &mut Line, units: u32) {
    line.voided += units;
    line.total = line.unit_price * i64::from(line.quantity - line.voided);
}

/// Takes units off a line, those of another check from now on.
pub(super) fn take_units(line: &mut Line, units: u32) -> Line {
    let mut taken = line.clone();
    (taken.quantity, taken.voided) = (units, 0);
    taken.total = taken.unit_price * i64::from(units);
    line.quantity -= units;
    line.total = line.unit_price * i64::from(line.quantity - line.voided);
    taken
}
