//! Checks in the platform's form, and how they are split.

use posmesh_adapter_kit::{Unchanged, Unplaced};
use posmesh_kit::{cause, time};
use posmesh_proto::adapter::v1::{PosCheck, PosCheckLine, PosLineShare, SplitCheckRequest, split_check_request::How};

use crate::{order::money, wire};

pub(crate) fn to_contract(check: &wire::Check) -> PosCheck {
    let lines = check.lines.iter().filter(|line| line.line.voided < line.line.quantity).map(line);
    PosCheck {
        pos_check_reference: check.number.to_string(),
        table_ids: check.table.iter().cloned().collect(),
        open: check.state != wire::CheckState::Ended,
        party_size: check.party_size.and_then(|size| i32::try_from(size).ok()).unwrap_or(0),
        open_time: Some(time::from_unix_ms(check.opened_at)),
        lines: lines.chain(check.totals.charges.iter().map(charge)).collect(),
        total: Some(money(check.totals.total)),
        tax_total: Some(money(check.totals.taxes.iter().map(|tax| tax.tax).sum())),
        merged_into: check.merged_into.map(|number| number.to_string()).unwrap_or_default(),
    }
}

fn line(line: &wire::CheckLine) -> PosCheckLine {
    let wire::CheckLine { line_id, order_reference, line } = line;
    PosCheckLine {
        line_id: order_reference.as_ref().map(|_| line.reference.clone()).unwrap_or_default(),
        pos_line_reference: line_id.to_string(),
        item_id: line.item_id.clone(),
        name: line.name.clone(),
        quantity_milli: (i64::from(line.quantity) - i64::from(line.voided)) * 1000,
        total: Some(money(line.total)),
        note: line.note.clone().unwrap_or_default(),
    }
}

fn charge(charge: &wire::ChargeTotal) -> PosCheckLine {
    PosCheckLine {
        name: charge.name.clone(),
        quantity_milli: 1000,
        total: Some(money(charge.amount)),
        ..PosCheckLine::default()
    }
}

/// The split as the POS makes it.
pub(crate) fn to_wire(request: &SplitCheckRequest, not_after_ms: i64) -> Result<wire::SplitCheck, Unchanged> {
    let cannot = |message: String| Unchanged::Attempt(Unplaced::rejected(cause::NOT_SUPPORTED, message));
    let (parts, by_item) = match &request.how {
        Some(How::Parts(parts)) => {
            let parts = u32::try_from(*parts).map_err(|_| cannot(format!("{parts} parts are none")))?;
            (Some(parts), Vec::new())
        }
        Some(How::ByItem(split)) => {
            let part = |part: &[PosLineShare]| part.iter().map(share).collect::<Result<_, _>>();
            let parts = split.parts.iter().map(|p| Ok(wire::SplitPart { lines: part(&p.lines).map_err(cannot)? }));
            (None, parts.collect::<Result<_, Unchanged>>()?)
        }
        None => return Err(cannot("the split does not say how".to_owned())),
    };
    Ok(wire::SplitCheck { change_reference: request.change_reference.clone(), not_after: not_after_ms, parts, by_item })
}

/// The POS knows whole units alone.
fn share(share: &PosLineShare) -> Result<wire::LineShare, String> {
    let PosLineShare { pos_line_reference, quantity_milli } = share;
    let line_id = pos_line_reference.parse().map_err(|_| format!("{pos_line_reference:?} is no line of this POS"))?;
    let whole = (quantity_milli % 1000 == 0).then_some(quantity_milli / 1000);
    let quantity = whole.and_then(|units| u32::try_from(units).ok());
    let quantity = quantity.ok_or_else(|| format!("{quantity_milli} thousandths of a line are no whole units"))?;
    Ok(wire::LineShare { line_id, quantity })
}
