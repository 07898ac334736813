//! What a job wrote before it failed: the end first, since the error is there.

use chrono_tz::Tz;
use innkeeper_core::Time;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::terminal::plain;
use innkeeper_store::Checkin;

use super::view::When;

/// What the end of an output has at most.
const LINES: usize = 20;
const CHARACTERS: usize = 4000;

/// The output of the latest check-in with any since the last success.
pub struct Output {
    /// The check-in, what it said, and its exit status.
    pub checkin_id: i64,
    pub kind: &'static str,
    pub exit_code: Option<i32>,
    pub at: When,
    /// Its last lines.
    pub end: String,
    /// All of it, where that is more.
    pub whole: Option<String>,
}

impl Output {
    /// The output to show first of a reservation with these check-ins, latest first: none unless it is down, or has
    /// failed since its last success.
    pub fn of(assessed: &Assessed, recent: &[Checkin], zone: Tz, now: Time) -> Option<Self> {
        // What was reported late stands where it belongs.
        let mut recent: Vec<&Checkin> = recent.iter().collect();
        recent.sort_by_key(|one| std::cmp::Reverse(one.at));
        let since: Vec<&Checkin> =
            recent.into_iter().take_while(|one| one.kind != CheckInKind::Success).collect();
        let has_failed = since.iter().any(|one| one.kind == CheckInKind::Fail);
        if assessed.open_alert.is_none() && !has_failed {
            return None;
        }
        let shown = |one: &Checkin| {
            let text = plain(&one.notes);
            let text = text.trim_end();
            (!text.trim().is_empty()).then(|| Self {
                checkin_id: one.id,
                kind: one.kind.as_str(),
                exit_code: one.exit_code.filter(|_| one.kind == CheckInKind::Fail),
                at: When::new(one.at, zone, now),
                end: end(text).to_owned(),
                whole: (end(text).len() < text.len()).then(|| text.to_owned()),
            })
        };
        since.into_iter().find_map(shown)
    }
}

/// The last lines of a text; of one that is too long, its end.
fn end(text: &str) -> &str {
    let line = text.rmatch_indices('\n').nth(LINES - 1).map_or(0, |(at, _)| at + 1);
    let character = text.char_indices().rev().nth(CHARACTERS - 1).map_or(0, |(at, _)| at);
    &text[line.max(character)..]
}

#[cfg(test)]
mod tests {
    use super::{CHARACTERS, LINES, end};

    #[test]
    fn the_end_is_what_is_last() {
        assert_eq!(end("one\ntwo"), "one\ntwo");
        let lines: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        assert_eq!(end(&lines.join("\n")), lines[50 - LINES..].join("\n"));
        let long = format!("é{}", "ü".repeat(CHARACTERS));
        assert_eq!(end(&long), "ü".repeat(CHARACTERS));
    }
}
