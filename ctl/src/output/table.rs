//! Tables in box-drawing lines: headers centred in upper case, cells to the right.
//!
//! Source: the output of etcdctl 3.7.1 (tablewriter 1.1).

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub header: &'static [&'static str],
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The rows alone, as the simple format has them.
    pub fn comma_lines(&self) -> String {
        self.rows.iter().map(|row| format!("{}\n", row.join(", "))).collect()
    }

    fn header_cells(&self) -> Vec<String> {
        self.header.iter().map(|name| name.to_uppercase().replace('_', " ")).collect()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn rule(widths: &[usize], left: char, middle: char, right: char) -> String {
    let cells: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    format!("{left}{}{right}\n", cells.join(&middle.to_string()))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header_cells();
        let column = |at: usize| self.rows.iter().map(move |row| width(&row[at])).max().unwrap_or(0);
        let widths: Vec<usize> =
            header.iter().enumerate().map(|(at, name)| width(name).max(column(at))).collect();
        let cells = |row: &[String], align: fn(&str, usize) -> String| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| align(cell, *width)).collect();
            format!("│ {} │\n", cells.join(" │ "))
        };
        f.write_str(&rule(&widths, '┌', '┬', '┐'))?;
        f.write_str(&cells(&header, |text, width| format!("{text:^width$}")))?;
        f.write_str(&rule(&widths, '├', '┼', '┤'))?;
        for row in &self.rows {
            f.write_str(&cells(row, |text, width| format!("{text:>width$}")))?;
        }
        f.write_str(&rule(&widths, '└', '┴', '┘'))
    }
}
