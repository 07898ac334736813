//! Messages to the operator about reservations that were created or changed so that their messages reach nobody: the
//! first at once, those of the following minute together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::ways::DeadEnd;
use parking_lot::{Mutex, MutexGuard};

use super::Operator;

/// How long further reports are collected.
const EVERY: Duration = Duration::from_secs(60);
/// The most reservations that a message names.
pub const NAMED: usize = 10;
/// The most reservations that are remembered, so that each is reported once until it changes.
const REMEMBERED: usize = 10_000;

/// Collects such reservations and reports them. Clones share their state.
#[derive(Clone)]
pub struct DeadEndReporter {
    operator: Operator,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Default)]
struct Gathered {
    /// The dead ends of each reservation that were reported or will be.
    known: HashMap<String, Vec<DeadEnd>>,
    /// The first unreported reservations, in words.
    lines: Vec<String>,
    /// The number of unreported reservations.
    count: usize,
    told_at: Option<Instant>,
}

impl DeadEndReporter {
    /// A reporter that writes to `operator`.
    pub fn new(operator: Operator) -> Self {
        Self { operator, gathered: Arc::default() }
    }

    /// Reports the dead ends of `name` after it was created or changed; empty if all is well again.
    pub fn report(&self, name: &str, dead_ends: &[DeadEnd]) {
        self.report_all([(name.to_owned(), dead_ends.to_vec())]);
    }

    /// Like [`Self::report`], for several that were created or changed together.
    pub fn report_all(&self, all: impl IntoIterator<Item = (String, Vec<DeadEnd>)>) {
        let mut gathered = self.gathered();
        for (name, dead_ends) in all {
            gathered.add(name, dead_ends);
        }
        drop(gathered);
        self.flush_if_due();
    }

    /// Whether exactly this was reported of `name` before, or there is nothing to report and nothing was reported.
    pub fn knows(&self, name: &str, dead_ends: &[DeadEnd]) -> bool {
        self.gathered().known.get(name).map(Vec::as_slice).unwrap_or_default() == dead_ends
    }

    /// Marks this as reported: it has been so for a while, and the operator was told then.
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

/// A line with a reservation and its dead ends.
pub fn line(name: &str, dead_ends: &[DeadEnd]) -> String {
    let dead_ends: Vec<String> = dead_ends.iter().map(ToString::to_string).collect();
    format!("{name}: {}", dead_ends.join("; "))
}

/// The message about `count` reservations, the first of which are named.
#[derive(Template)]
#[template(path = "alerts_lead_nowhere.txt")]
pub struct LeadNowhere<'a> {
    /// The number of reservations.
    pub count: i64,
    /// The first reservations, each formatted by [`line`].
    pub lines: &'a [String],
    /// Whether they were just created or changed; otherwise they have been so for a while.
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
