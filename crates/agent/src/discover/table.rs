//! Formats the search result as a table for people.

use chrono_tz::Tz;
use comfy_table::{ContentArrangement, Table};
use innkeeper_core::duration;

use super::command::WatchedBy;
use super::{DiscoveredJob, Inventory};

/// A comfy-table preset with a single line below the header.
const LINES: &str = "     ──            ";
/// Longest command that is shown in full, in characters.
const LONGEST: usize = 60;

/// The table, followed by notes and by the problems.
pub fn table(found: &Inventory) -> String {
    let mut text = String::new();
    if found.entries.is_empty() {
        text.push_str("Nothing is scheduled here.\n");
    } else {
        let mut table = Table::new();
        table.load_preset(LINES).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["Reservation", "What", "When", "Grace", "Next", "As", "Where", "Watched"]);
        for entry in &found.entries {
            table.add_row(row(entry, found.zone));
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    let notes: Vec<String> = found.entries.iter().flat_map(notes).collect();
    section(&mut text, "Notes", &notes);
    let problems = found.problems.iter().map(|problem| {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        printable(&format!("{}{line}: {}", problem.place, problem.problem))
    });
    section(&mut text, "Not read, or not run", &problems.collect::<Vec<_>>());
    text
}

fn row(entry: &DiscoveredJob, zone: Tz) -> [String; 8] {
    let (when, grace) = match &entry.schedule {
        Some(schedule) => (schedule.in_words(), duration::short(entry.grace)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let next = entry.next.map(|next| next.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string());
    [
        printable(&format!("{}/{}", entry.app, entry.component)),
        shortened(&printable(&entry.command)),
        when,
        grace,
        next.unwrap_or_else(|| "-".to_owned()),
        printable(&entry.user),
        printable(&entry.place()),
        match &entry.watched {
            WatchedBy::No => "no".to_owned(),
            WatchedBy::Discover => "yes".to_owned(),
            WatchedBy::ByHand => "yes, by hand".to_owned(),
            WatchedBy::Other(name) => format!("by {name}"),
        },
    ]
}

fn notes(entry: &DiscoveredJob) -> Vec<String> {
    let is_left = |reason: &&String| !entry.notes.contains(reason) && entry.watched != WatchedBy::Discover;
    let refusal = entry.refusal.iter().filter(is_left).map(|reason| format!("stays unchanged: {reason}"));
    let all = entry.notes.iter().cloned().chain(refusal);
    all.map(|note| printable(&format!("{}/{}: {note}", entry.app, entry.component))).collect()
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}:\n"));
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONGEST - 1).collect();
    format!("{start}…")
}

/// A crontab may contain any byte. Control characters must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
