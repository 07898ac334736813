//! Plain tables without borders, as `ps` prints them, and instants in this machine's time zone.

use chrono::{DateTime, Local};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// Formats `rows` as a table below `headings`.
pub fn of(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    let last = headings.len().saturating_sub(1);
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if n == last { 0 } else { 2 }));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A value of the response as text; empty if it is null.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// An instant in this machine's time zone; empty if there is none.
pub fn instant(value: &Value) -> String {
    let given = value.as_str().unwrap_or_default();
    match DateTime::parse_from_rfc3339(given) {
        Ok(at) => at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => given.to_owned(),
    }
}

/// Replaces control characters, which a terminal would obey, by blanks.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_lines_and_obeys_nobody() {
        let rows =
            [vec!["shop/backup".to_owned(), "up".to_owned()], vec!["a\u{1b}[2J".to_owned(), String::new()]];
        assert_eq!(of(&["JOB", "STATE"], &rows), "JOB          STATE\nshop/backup  up\na [2J");
    }
}
