//! The result of a run: a status, a line for people, and figures.

use std::collections::BTreeMap;
use std::time::Duration;

use innkeeper_core::terminal;

/// Longest summary, in characters.
const LONGEST_SUMMARY: usize = 300;
/// Most bytes of details that are kept.
const LONGEST_DETAILS: usize = 64 * 1024;
/// Most figures of one run.
pub const MOST_FIGURES: usize = 100;

/// The status of a target, with the values of monitoring plugins. Ordered by severity: unknown is worse than a
/// warning and better than critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeStatus {
    /// Everything is as expected.
    Ok,
    /// The target works but needs attention.
    Warning,
    /// The check could not be made.
    Unknown,
    /// The target does not work.
    Critical,
}

impl ProbeStatus {
    /// The status in capitals: `OK`, `WARNING`, `UNKNOWN`, `CRITICAL`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Unknown => "UNKNOWN",
            Self::Critical => "CRITICAL",
        }
    }

    /// The exit status of a monitoring plugin with this status.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

impl std::fmt::Display for ProbeStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of a run that is measured and may have a time limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the name.
    Dns,
    /// Opening the connection.
    Connect,
    /// The TLS handshake, including STARTTLS.
    Tls,
    /// From the request to the first byte of the response.
    FirstByte,
    /// The rest of the response.
    Body,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 5] = [Self::Dns, Self::Connect, Self::Tls, Self::FirstByte, Self::Body];

    /// The name in figures: `dns`, `connect`, `tls`, `first_byte`, `body`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::FirstByte => "first_byte",
            Self::Body => "body",
        }
    }

    /// What the phase does, for a message about its time limit.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Dns => "resolving the name",
            Self::Connect => "connecting",
            Self::Tls => "negotiating TLS",
            Self::FirstByte => "waiting for the answer",
            Self::Body => "reading the answer",
        }
    }
}

/// Duration of each phase, summed over all redirects; none if the run did not reach the phase or does not have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases([Option<Duration>; 5]);

impl Phases {
    /// Duration of `phase`.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    pub(crate) fn add(&mut self, phase: Phase, took: Duration) {
        *self.0[phase as usize].get_or_insert_default() += took;
    }

    /// The phases that took place, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

/// A measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeFigure {
    /// The value; finite.
    pub value: f64,
    /// The unit as it was written (`s`, `%`, `B`); may be empty.
    pub unit: String,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeOutcome {
    /// The status.
    pub status: ProbeStatus,
    /// One line for people, without control characters and secrets, at most 300 characters.
    pub summary: String,
    /// Further lines; may be empty.
    pub details: String,
    /// Duration of each phase.
    pub phases: Phases,
    /// The figures, by name.
    pub figures: BTreeMap<String, ProbeFigure>,
    /// Duration of the whole run.
    pub took: Duration,
}

impl ProbeOutcome {
    pub(crate) fn new(status: ProbeStatus, summary: impl AsRef<str>) -> Self {
        Self {
            status,
            summary: one_line(summary.as_ref()),
            details: String::new(),
            phases: Phases::default(),
            figures: BTreeMap::new(),
            took: Duration::ZERO,
        }
    }

    pub(crate) fn ok(summary: impl AsRef<str>) -> Self {
        Self::new(ProbeStatus::Ok, summary)
    }

    #[must_use]
    pub(crate) fn with_details(mut self, details: &str) -> Self {
        self.details = capped(&terminal::plain(details));
        self
    }

    #[must_use]
    pub(crate) fn figure(mut self, name: &str, value: f64, unit: &str) -> Self {
        if value.is_finite() && self.figures.len() < MOST_FIGURES {
            self.figures.insert(name.to_owned(), ProbeFigure { value, unit: unit.to_owned() });
        }
        self
    }

    /// Adds a finding. The worse status counts, and its text comes first.
    pub(crate) fn also(&mut self, status: ProbeStatus, what: &str) {
        let joined = match status > self.status {
            true => format!("{what}; {}", self.summary),
            false => format!("{}; {what}", self.summary),
        };
        self.summary = one_line(&joined);
        self.status = self.status.max(status);
    }

    /// The text of the report: the summary, the details, and the durations of the phases.
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.status, self.summary);
        if !self.details.is_empty() {
            text.push_str(&self.details);
            text.push_str(if self.details.ends_with('\n') { "" } else { "\n" });
        }
        let phases: Vec<String> =
            self.phases.iter().map(|(phase, took)| format!("{} {}", phase.as_str(), in_ms(took))).collect();
        if !phases.is_empty() {
            text.push_str(&format!("[{}; {} in all]\n", phases.join(", "), in_ms(self.took)));
        }
        text
    }
}

/// Why a run ended without a result from the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: ProbeStatus,
    pub what: String,
}

impl Failure {
    pub(crate) fn critical(what: impl Into<String>) -> Self {
        Self { status: ProbeStatus::Critical, what: what.into() }
    }

    pub(crate) fn unknown(what: impl Into<String>) -> Self {
        Self { status: ProbeStatus::Unknown, what: what.into() }
    }
}

/// A duration in milliseconds, as in reports: `12 ms`, `0.4 ms`.
pub(crate) fn in_ms(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// The text as one line without control characters, cut if it is too long.
pub(crate) fn one_line(text: &str) -> String {
    let plain = terminal::plain(text);
    let line = plain.split(['\n', '\r', '\t', '\u{2028}', '\u{2029}']).map(str::trim);
    let line = line.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_SUMMARY) {
        None => line,
        Some((_, _)) => {
            let kept: String = line.chars().take(LONGEST_SUMMARY - 1).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

fn capped(text: &str) -> String {
    if text.len() <= LONGEST_DETAILS {
        return text.to_owned();
    }
    let end = (0..=LONGEST_DETAILS).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}\n[... cut off after {end} bytes ...]", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_short_line() {
        assert_eq!(one_line("a\r\nb\u{1b}[31mc\0\n"), "a bc");
        assert_eq!(one_line(&"é".repeat(300)).chars().count(), 300);
        let long = one_line(&"é".repeat(301));
        assert!(long.ends_with('…') && long.chars().count() == 300);
    }

    #[test]
    fn the_worse_is_told_first_and_counts() {
        let mut outcome = ProbeOutcome::ok("status 200");
        outcome.also(ProbeStatus::Warning, "the certificate ends in 3 days");
        assert_eq!(
            (outcome.status, outcome.summary.as_str()),
            (ProbeStatus::Warning, "the certificate ends in 3 days; status 200")
        );
        outcome.also(ProbeStatus::Ok, "all read");
        assert_eq!(outcome.status, ProbeStatus::Warning);
        assert!(ProbeStatus::Critical > ProbeStatus::Unknown && ProbeStatus::Unknown > ProbeStatus::Warning);
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let outcome = ProbeOutcome::ok("x").with_details(&"é".repeat(40_000));
        assert!(outcome.details.ends_with("\n[... cut off after 65536 bytes ...]"));
        let outcome = ProbeOutcome::ok("x").figure("a", f64::NAN, "").figure("b", 1.0, "s");
        assert_eq!(outcome.figures.len(), 1);
    }
}
