//! Telling the operator of reservations that were made or changed so that their messages lead nowhere: the first at once, and what
//! follows within a minute together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::ways::DeadEnd;
use parking_lot::{Mutex, MutexGuard};

use super::Operator;

/// How long what follows is gathered.
const EVERY: Duration = Duration::from_secs(60);
/// Reservations that a message names.
pub const NAMED: usize = 10;
/// Reservations that are remembered, so that each is told once as long as it stays as it is.
const REMEMBERED: usize = 10_000;

/// Gathers them. Clones share what they have gathered.
#[derive(Clone)]
pub struct DeadEndReporter {
    operator: Operator,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Default)]
struct Gathered {
    /// What was told, or will be, of each reservation.
    known: HashMap<String, Vec<DeadEnd>>,
    /// The first of those that are not told yet, in words.
    lines: Vec<String>,
    /// How many are not told yet.
    count: usize,
    told_at: Option<Instant>,
}

impl DeadEndReporter {
    /// Tells through `operator`.
    pub fn new(operator: Operator) -> Self {
        Self { operator, gathered: Arc::default() }
    }

    /// What of `name` leads nowhere now, after it was made or changed; nothing where all is well again.
    pub fn report(&self, name: &str, dead_ends: &[DeadEnd]) {
        self.report_all([(name.to_owned(), dead_ends.to_vec())]);
    }

    /// The same of several that were made or changed together.
    pub fn report_all(&self, all: impl IntoIterator<Item = (String, Vec<DeadEnd>)>) {
        let mut gathered = self.gathered();
        for (name, dead_ends) in all {
            gathered.add(name, dead_ends);
        }
        drop(gathered);
        self.flush_if_due();
    }

    /// Whether this was reported of `name` before, or nothing is where nothing was.
    pub fn knows(&self, name: &str, dead_ends: &[DeadEnd]) -> bool {
        self.gathered().known.get(name).map(Vec::as_slice).unwrap_or_default() == dead_ends
    }

    /// Takes this for reported: it has been so for a while, and the operator heard of it then.
    pub fn remember(&self, name: &str, dead_ends: &[DeadEnd]) {
        self.gathered().remember(name.to_owned(), dead_ends.to_vec());
    }

    /// Tells what has been gathered, if a minute has passed since the last time.
    pub fn flush_if_due(&self) {
        let gathered = self.gathered();
        if gathered.told_at.is_none_or(|at| at.elapsed() >= EVERY) {
            self.tell(gathered);
        }
    }

    /// Tells what has been gathered at once, before a stop.
    pub fn flush(&self) {
        self.tell(self.gathered());
    }

    fn tell(&self, mut gathered: MutexGuard<'_, Gathered>) {
        if gathered.count == 0 {
            return;
        }
        gathered.told_at = Some(Instant::now());
        let (count, lines) = (std::mem::take(&mut gathered.count), std::mem::take(&mut gathered.lines));
        drop(gathered);
        self.operator.tell(LeadNowhere { count: count as i64, lines: &lines, is_new: true });
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock()
    }
}

impl Gathered {
    fn add(&mut self, name: String, dead_ends: Vec<DeadEnd>) {
        if !dead_ends.is_empty() && self.known.get(&name) != Some(&dead_ends) {
            self.count += 1;
            if self.lines.len() < NAMED {
                self.lines.push(line(&name, &dead_ends));
            }
        }
        self.remember(name, dead_ends);
    }

    fn remember(&mut self, name: String, dead_ends: Vec<DeadEnd>) {
        if dead_ends.is_empty() {
            self.known.remove(&name);
            return;
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(name, dead_ends);
    }
}

/// A reservation and what of it leads nowhere, in a line.
pub fn line(name: &str, dead_ends: &[DeadEnd]) -> String {
    let dead_ends: Vec<String> = dead_ends.iter().map(ToString::to_string).collect();
    format!("{name}: {}", dead_ends.join("; "))
}

/// What the operator hears of `count` reservations, of which some are named.
#[derive(Template)]
#[template(path = "alerts_lead_nowhere.txt")]
pub struct LeadNowhere<'a> {
    /// How many there are.
    pub count: i64,
    /// The first, each as [`line`] has it.
    pub lines: &'a [String],
    /// Whether they were just made or changed; otherwise they have stood so for a while.
    pub is_new: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    #[test]
    fn one_and_many_are_told_apart() {
        let said =
            |count, lines: &[String]| OperatorMessage::from(LeadNowhere { count, lines, is_new: count > 1 });
        let lines = ["a/b: x".to_owned(), "a/c: y".to_owned()];
        let OperatorMessage { subject, text } = said(1, &lines[..1]);
        assert_eq!(subject, "Alerts of a reservation lead nowhere");
        assert_eq!(text, "The alerts of one reservation do not reach everyone it names:\n- a/b: x");
        let OperatorMessage { subject, text } = said(12, &lines);
        assert_eq!(subject, "Alerts of 12 reservations lead nowhere");
        assert_eq!(
            text,
            "The alerts of 12 reservations that were just made or changed do not reach everyone they name:\n- a/b: x\n- a/c: y\nand 10 more; \
             `check-config --all` names each."
        );
    }
}
