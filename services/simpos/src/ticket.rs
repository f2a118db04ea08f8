//! The text of slips.

use std::fmt::Write;

use crate::api::{ChargeTotal, Line, Modifier, ServiceMode, SubmitOrder, Tender, Ticket, Totals};
use crate::clock::local_time;

const RULE: &str = "--------------------------------\n";
/// What marks a slip that repeats another; kitchens must not cook from it.
const REPRINT: &str = "***** 再発行 REPRINT *****\n";

/// What marks a slip that came out too late to be sure.
const LATE: &str = "***** 遅延 LATE *****\n";
/// What marks a slip that takes back.
const VOID: &str = "***** 取消 VOID *****\n";

/// What stands above the lines of every slip.
pub(crate) struct Head<'a> {
    pub(crate) ticket_number: u32,
    pub(crate) check_number: u32,
    pub(crate) table: Option<&'a str>,
    pub(crate) at: i64,
}

/// The kitchen slip of an order.
pub(crate) fn order_slip(head: &Head<'_>, display_number: &str, request: &SubmitOrder, lines: &[Line]) -> String {
    let mut text = kitchen_head(head, &format!("No. {display_number}  [{}]", request.product));
    push_lines(&mut text, lines);
    for (label, value) in [("備考", &request.note), ("呼出", &request.pager)] {
        if let Some(value) = value {
            push(&mut text, format_args!("{label} {value}\n"));
        }
    }
    if let Some(pickup_at) = request.pickup_at {
        push(&mut text, format_args!("受取 {}\n", local_time(pickup_at)));
    }
    text
}

/// The kitchen slip of what staff keyed in.
pub(crate) fn staff_slip(head: &Head<'_>, by: &str, lines: &[Line]) -> String {
    let mut text = kitchen_head(head, by);
    push_lines(&mut text, lines);
    text
}

/// The bill of a check.
pub(crate) fn bill_slip<'a>(
    head: &Head<'_>,
    lines: impl IntoIterator<Item = &'a Line>,
    totals: &Totals,
    tenders: &[Tender],
) -> String {
    let mut text = format!("お会計 BILL #{:04}\n", head.ticket_number);
    push_place(&mut text, head);
    for line in lines.into_iter().filter(|line| line.voided < line.quantity) {
        let reduced = if line.tax_rate_percent < 10 { "※" } else { "" };
        push(&mut text, format_args!("{}{reduced} x{}  ¥{}\n", line.name, line.quantity - line.voided, line.total));
    }
    for ChargeTotal { charge, amount } in &totals.charges {
        push(&mut text, format_args!("{} {}%  ¥{amount}\n", charge.name, charge.percent));
    }
    text.push_str(RULE);
    push(&mut text, format_args!("合計 TOTAL ¥{}\n", totals.total));
    for tax in &totals.taxes {
        push(&mut text, format_args!("({}%対象 ¥{} 内税 ¥{})\n", tax.rate_percent, tax.gross, tax.tax));
    }
    for tender in tenders {
        push(&mut text, format_args!("{} ¥{}\n", tender.tender_id, tender.amount));
    }
    text
}

/// The void slip of an order: lines with the units that are not to be cooked any more.
pub(crate) fn void_slip(
    head: &Head<'_>,
    display_number: &str,
    by: &str,
    lines: &[Line],
    reason: Option<&str>,
) -> String {
    let mut text = format!("{VOID}{}", kitchen_head(head, &format!("No. {display_number}  {by}")));
    push_lines(&mut text, lines);
    if let Some(reason) = reason {
        push(&mut text, format_args!("理由 {reason}\n"));
    }
    text
}

/// The text of a slip that comes out late.
pub(crate) fn late(text: &str) -> String {
    format!("{LATE}{text}")
}

/// The text of a slip printed again.
pub(crate) fn reprint(original: &Ticket) -> String {
    format!("{REPRINT}{}", original.text.strip_prefix(REPRINT).unwrap_or(&original.text))
}

fn kitchen_head(head: &Head<'_>, title: &str) -> String {
    let mut text = format!("厨房伝票 KITCHEN #{:04}\n{title}\n", head.ticket_number);
    push_place(&mut text, head);
    text
}

fn push_place(text: &mut String, head: &Head<'_>) {
    let table = head.table.unwrap_or("-");
    push(text, format_args!("席 {table}  伝票 {}  {}\n", head.check_number, local_time(head.at)));
    text.push_str(RULE);
}

fn push_lines(text: &mut String, lines: &[Line]) {
    for line in lines {
        let takeaway = if line.service_mode == ServiceMode::Takeaway { "[持帰] " } else { "" };
        push(text, format_args!("{:>2} {takeaway}{}\n", line.quantity, line.name));
        push_modifiers(text, &line.modifiers, 2);
        if let Some(note) = &line.note {
            push(text, format_args!("     * {note}\n"));
        }
    }
    text.push_str(RULE);
}

fn push_modifiers(text: &mut String, modifiers: &[Modifier], depth: usize) {
    for modifier in modifiers {
        push(text, format_args!("{:indent$}- {}", "", modifier.name, indent = depth * 2 + 1));
        if modifier.quantity > 1 {
            push(text, format_args!(" x{}", modifier.quantity));
        }
        text.push('\n');
        push_modifiers(text, &modifier.modifiers, depth + 1);
    }
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(piece);
}
