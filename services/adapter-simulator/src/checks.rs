//! Checks in the platform's form.

use posmesh_kit::time;
use posmesh_proto::adapter::v1::{PosCheck, PosCheckLine};

use crate::{order::money, wire};

pub(crate) fn to_contract(check: &wire::Check) -> PosCheck {
    PosCheck {
        pos_check_reference: check.number.to_string(),
        table_ids: check.table.iter().cloned().collect(),
        open: check.state != wire::CheckState::Closed,
        party_size: check.party_size.and_then(|size| i32::try_from(size).ok()).unwrap_or(0),
        open_time: Some(time::from_unix_ms(check.opened_at)),
        lines: check.lines.iter().map(line).collect(),
        total: Some(money(check.totals.total)),
        tax_total: Some(money(check.totals.taxes.iter().map(|tax| tax.tax).sum())),
        ..PosCheck::default()
    }
}

fn line(line: &wire::CheckLine) -> PosCheckLine {
    let wire::CheckLine { order_reference, line } = line;
    PosCheckLine {
        line_id: order_reference.as_ref().map(|_| line.reference.clone()).unwrap_or_default(),
        pos_line_reference: line.reference.clone(),
        item_id: line.item_id.clone(),
        name: line.name.clone(),
        quantity_milli: i64::from(line.quantity) * 1000,
        total: Some(money(line.total)),
        note: line.note.clone().unwrap_or_default(),
    }
}
