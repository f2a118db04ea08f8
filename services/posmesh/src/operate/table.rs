//! Columns for a terminal.

use std::fmt::Write as _;

/// Rows under a head, each column as wide as its widest cell; the last one is not padded.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let mut text = line(&head.map(str::to_owned), &widths);
    rows.iter().for_each(|row| text.push_str(&line(row, &widths)));
    text
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let mut text = String::new();
    for (i, (cell, widest)) in cells.iter().zip(widths).enumerate() {
        let padding = if i + 1 == N { 0 } else { widest - width(cell) + 2 };
        // Writing to a string cannot fail.
        let _ = write!(text, "{cell}{:padding$}", "");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// In cells of a terminal; Japanese, Korean and full-width characters take two.
fn width(text: &str) -> usize {
    let is_wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}')
    };
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_stands_in_them() {
        let rows = [["渋谷".to_owned(), "K1".to_owned()], ["ueno-park".to_owned(), "K22".to_owned()]];
        assert_eq!(table(["STORE", "NO."], &rows), "STORE      NO.\n渋谷       K1\nueno-park  K22\n");
    }
}
