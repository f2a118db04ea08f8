//! Splitting a check: whether what is asked for can be done to what stands on it.

use std::collections::BTreeMap;

use posmesh_kit::Failure;
use posmesh_proto::{
    adapter::v1::{PosCheckLine, PosLineShare, SplitByItem, SplitPart, split_check_request::How as PosHow},
    order::v1::{BillSplit, SplitCheckRequest, split_check_request::How},
};
use tonic::Code;

const MAX_PARTS: usize = 99;
const MAX_LINES: usize = 500;

/// What is asked for, as far as it can be checked without the POS, and the capability that it needs.
pub(crate) fn checked(request: &SplitCheckRequest) -> Result<&'static str, Failure> {
    match &request.how {
        None => Err(Failure::field("REQUIRED", "how", "give parts, or by_item")),
        Some(How::Parts(parts)) if usize::try_from(*parts).is_ok_and(|parts| (2..=MAX_PARTS).contains(&parts)) => {
            Ok("SPLIT_CHECK_EVENLY")
        }
        Some(How::Parts(_)) => Err(Failure::field("OUT_OF_RANGE", "parts", "must be 2 to 99")),
        Some(How::ByItem(split)) => check_parts(split).map(|()| "SPLIT_CHECK_BY_ITEM"),
    }
}

fn check_parts(split: &BillSplit) -> Result<(), Failure> {
    if split.parts.is_empty() || split.parts.len() >= MAX_PARTS {
        return Err(Failure::field("OUT_OF_RANGE", "by_item.parts", "must be 1 to 98 new checks"));
    }
    for (p, part) in split.parts.iter().enumerate() {
        let field = |l: usize, name: &str| format!("by_item.parts[{p}].lines[{l}].{name}");
        if part.lines.is_empty() || part.lines.len() > MAX_LINES {
            let message = "must be 1 to 500 lines that leave the check";
            return Err(Failure::field("OUT_OF_RANGE", format!("by_item.parts[{p}].lines"), message));
        }
        for (l, line) in part.lines.iter().enumerate() {
            if line.pos_line_reference.is_empty() {
                let message = "name the line as the bill does";
                return Err(Failure::field("REQUIRED", field(l, "pos_line_reference"), message));
            }
            if line.quantity_milli <= 0 {
                return Err(Failure::field("OUT_OF_RANGE", field(l, "quantity_milli"), "must be above zero"));
            }
            if part.lines[..l].iter().any(|before| before.pos_line_reference == line.pos_line_reference) {
                let message = "stands in this part already; add the quantities";
                return Err(Failure::field("INVALID", field(l, "pos_line_reference"), message));
            }
        }
    }
    Ok(())
}

/// Whether so much stands on the check, and something remains on it.
pub(crate) fn check_against(request: &SplitCheckRequest, lines: &[PosCheckLine]) -> Result<(), Failure> {
    let Some(How::ByItem(split)) = &request.how else { return Ok(()) };
    let mut left: BTreeMap<&str, i64> =
        lines.iter().map(|line| (line.pos_line_reference.as_str(), line.quantity_milli)).collect();
    for (p, part) in split.parts.iter().enumerate() {
        for (l, line) in part.lines.iter().enumerate() {
            let field = |name: &str| format!("by_item.parts[{p}].lines[{l}].{name}");
            let Some(left) = left.get_mut(line.pos_line_reference.as_str()) else {
                let message = "names no line of the bill; read the bill again";
                return Err(Failure::new(Code::InvalidArgument, "LINE_NOT_FOUND", message)
                    .violation(field("pos_line_reference"), message));
            };
            *left = left.saturating_sub(line.quantity_milli);
            if *left < 0 {
                let message = "is more than stands on the check; read the bill again";
                return Err(Failure::field("OUT_OF_RANGE", field("quantity_milli"), message));
            }
        }
    }
    if left.values().all(|left| *left == 0) {
        let message = "would leave nothing on the check; keep one part of it there";
        return Err(Failure::field("INVALID", "by_item.parts", message));
    }
    Ok(())
}

/// The same, as the POS is told.
pub(crate) fn to_pos(how: &How) -> PosHow {
    let share = |line: &posmesh_proto::order::v1::BillLineShare| PosLineShare {
        pos_line_reference: line.pos_line_reference.clone(),
        quantity_milli: line.quantity_milli,
    };
    match how {
        How::Parts(parts) => PosHow::Parts(*parts),
        How::ByItem(split) => PosHow::ByItem(SplitByItem {
            parts: split.parts.iter().map(|part| SplitPart { lines: part.lines.iter().map(share).collect() }).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use posmesh_proto::order::v1::{BillLineShare, BillPart};

    use super::*;

    fn by_item(parts: &[&[(&str, i64)]]) -> SplitCheckRequest {
        let share = |(line, quantity_milli): &(&str, i64)| BillLineShare {
            pos_line_reference: (*line).to_owned(),
            quantity_milli: *quantity_milli,
        };
        let part = |lines: &&[(&str, i64)]| BillPart { lines: lines.iter().map(share).collect() };
        let how = How::ByItem(BillSplit { parts: parts.iter().map(part).collect() });
        SplitCheckRequest { how: Some(how), ..SplitCheckRequest::default() }
    }

    fn evenly(parts: i32) -> SplitCheckRequest {
        SplitCheckRequest { how: Some(How::Parts(parts)), ..SplitCheckRequest::default() }
    }

    fn on_check(lines: &[(&str, i64)]) -> Vec<PosCheckLine> {
        let line = |(line, quantity_milli): &(&str, i64)| PosCheckLine {
            pos_line_reference: (*line).to_owned(),
            quantity_milli: *quantity_milli,
            ..PosCheckLine::default()
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_split_is_even_or_by_item_and_names_what_it_needs() {
        assert_eq!(checked(&evenly(2)).unwrap(), "SPLIT_CHECK_EVENLY");
        assert_eq!(checked(&by_item(&[&[("a", 1000)]])).unwrap(), "SPLIT_CHECK_BY_ITEM");
        for (request, reason) in [
            (SplitCheckRequest::default(), "REQUIRED"),
            (evenly(1), "OUT_OF_RANGE"),
            (evenly(100), "OUT_OF_RANGE"),
            (evenly(-3), "OUT_OF_RANGE"),
            (by_item(&[]), "OUT_OF_RANGE"),
            (by_item(&[&[]]), "OUT_OF_RANGE"),
            (by_item(&[&[("", 1000)]]), "REQUIRED"),
            (by_item(&[&[("a", 0)]]), "OUT_OF_RANGE"),
            (by_item(&[&[("a", 1), ("a", 1)]]), "INVALID"),
        ] {
            assert_eq!(checked(&request).unwrap_err().reason(), reason, "{request:?}");
        }
    }

    #[test]
    fn not_more_leaves_a_check_than_stands_on_it_and_something_remains() {
        let lines = on_check(&[("a", 2000), ("b", 1000)]);
        check_against(&by_item(&[&[("a", 1000)], &[("a", 1000)]]), &lines).unwrap();
        check_against(&evenly(3), &lines).unwrap();
        for (request, reason) in [
            (by_item(&[&[("c", 1000)]]), "LINE_NOT_FOUND"),
            (by_item(&[&[("a", 1500)], &[("a", 1000)]]), "OUT_OF_RANGE"),
            (by_item(&[&[("a", i64::MAX)], &[("a", i64::MAX)]]), "OUT_OF_RANGE"),
            (by_item(&[&[("a", 2000)], &[("b", 1000)]]), "INVALID"),
        ] {
            assert_eq!(check_against(&request, &lines).unwrap_err().reason(), reason, "{request:?}");
        }
    }
}
