//! The words that all messages share: subjects, expectations, and the end of an output.
//!
//! The bodies are templates of the alerters.

use chrono::TimeDelta;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::alert::{Cause, Reason};
use crate::expect::ALSO;
use crate::notice::{EventKind, SubjectForm};
use crate::reservation::Spec;
use crate::schedule::KINDS;
use crate::{duration, terminal, word};

/// The most lines of an output that a message shows.
const MOST_LINES: usize = 20;
const MOST_CHARACTERS: usize = 2000;

/// The wording of subjects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum SubjectWords {
    /// State, job, what is wrong: "DOWN shop/backup: has not checked in".
    #[default]
    Uniform,
    /// The wording of GoTel and gocron, which people use in mail filters: "Job Failed to checkin: shop/backup", "Back
    /// online: shop/backup".
    Classic,
}

impl SubjectWords {
    /// Reads `uniform` or `classic`.
    ///
    /// # Errors
    /// The allowed words.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not known; write {}", word::quoted::<Self>()))
    }

    /// How subjects with this wording are combined with the instance.
    pub fn form(self) -> SubjectForm {
        match self {
            Self::Uniform => SubjectForm::Uniform,
            Self::Classic => SubjectForm::Classic,
        }
    }

    /// The subject for `job` with this event and reason, without the instance. `lasted` is how long the trouble has
    /// lasted.
    pub fn subject(self, event: EventKind, reason: &Reason, job: &str, lasted: TimeDelta) -> String {
        match self {
            Self::Uniform => uniform(event, reason, job, lasted),
            Self::Classic => classic(event, reason.cause(), job),
        }
    }

    /// The subject after a late report has shown that `job` was well: "BACK shop/backup: it had run at 02:00 on Wed 25
    /// Nov (UTC)".
    pub fn answered(self, job: &str, ending: &str) -> String {
        match self {
            Self::Uniform => format!("BACK {job}: {ending}"),
            Self::Classic => format!("Back online: {job}"),
        }
    }

    /// The subject after the alert of `job` closed without a success: "WITHDRAWN shop/backup: schedule changed: not
    /// overdue by it".
    pub fn withdrawn(self, job: &str, ending: &str) -> String {
        match self {
            Self::Uniform => format!("WITHDRAWN {job}: {ending}"),
            Self::Classic => format!("Alert withdrawn: {job}"),
        }
    }
}

/// The state that begins a subject: "DOWN", "STILL DOWN", "BACK". `None` if the event is not about a job.
pub fn state(event: EventKind) -> Option<&'static str> {
    match event {
        EventKind::Opened => Some("DOWN"),
        EventKind::Reminder => Some("STILL DOWN"),
        EventKind::Recovered | EventKind::OpenedAndRecovered => Some("BACK"),
        EventKind::Summary | EventKind::Operator => None,
    }
}

fn uniform(event: EventKind, reason: &Reason, job: &str, lasted: TimeDelta) -> String {
    let state = state(event).unwrap_or_default();
    let (trouble, lasted) = (trouble(reason), duration::words(lasted));
    match event {
        EventKind::Reminder => format!("{state} {job}: {trouble}, down for {lasted}"),
        EventKind::Recovered => format!("{state} {job}: after {lasted}"),
        EventKind::OpenedAndRecovered => format!("{state} {job}: {trouble}, and is back online"),
        EventKind::Opened | EventKind::Summary | EventKind::Operator => format!("{state} {job}: {trouble}"),
    }
}

/// What is wrong, in a few words: "failed with exit status 1".
fn trouble(reason: &Reason) -> String {
    let span = |ms: i64| duration::words(TimeDelta::try_milliseconds(ms).unwrap_or_default());
    match reason {
        Reason::Missed { .. } => "has not checked in".to_owned(),
        Reason::Overran { max_run_ms, .. } => format!("runs longer than {}", span(*max_run_ms)),
        Reason::Failed { exit_code: Some(code), .. } => format!("failed with exit status {code}"),
        Reason::Failed { exit_code: None, .. } => "failed".to_owned(),
        Reason::TooShort { took_ms, .. } => format!("ended too soon, after {}", span(*took_ms)),
        Reason::Unexpected { figures, .. } => first_sentence(figures).to_owned(),
    }
}

/// The first of several unexpected figures: a headline has no room for more.
fn first_sentence(figures: &str) -> &str {
    figures.split_once(ALSO).map_or(figures, |(first, _)| first)
}

fn classic(event: EventKind, cause: Cause, job: &str) -> String {
    let what = match cause {
        Cause::Missed => "Job Failed to checkin",
        Cause::Overran => "Job still running",
        Cause::Failed => "Job failed",
    };
    match event {
        EventKind::Reminder => format!("Reminder: {what}: {job}"),
        EventKind::Recovered => format!("Back online: {job}"),
        EventKind::OpenedAndRecovered => format!("Failed, and back online: {job}"),
        EventKind::Opened | EventKind::Summary | EventKind::Operator => format!("{what}: {job}"),
    }
}

fn is_kind(word: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == word)
}

/// When this spec expects check-ins, in words that follow "Expected": "each day at 03:00, with 1 hour of grace". Times
/// are in the schedule's zone.
pub fn expected(spec: &Spec) -> String {
    let words = spec.schedule.in_words();
    let words = words.strip_suffix(&format!(", {}", spec.schedule.zone())).unwrap_or(&words);
    let on_some_days = words.contains(" on ") || words.contains(" from ");
    let mut text = match (spec.schedule.period(), words.split_once(' ')) {
        (None, Some(("at", _))) if !on_some_days => format!("each day {words}"),
        // The expression itself, because no short words exist for it.
        (None, Some((kind, _))) if is_kind(kind) => format!("by {words}"),
        _ => words.to_owned(),
    };
    if spec.grace > TimeDelta::zero() {
        text.push_str(&format!(", with {} of grace", duration::words(spec.grace)));
    }
    text
}

/// The last lines of a job's output, as a terminal would show them: errors usually are at the end.
pub fn last_lines(output: &str) -> String {
    let plain = terminal::plain(output);
    let lines: Vec<&str> = plain.trim_end().lines().collect();
    let from = lines.len().saturating_sub(MOST_LINES);
    let mut text = lines[from..].join("\n");
    let surplus = text.chars().count().saturating_sub(MOST_CHARACTERS);
    if surplus > 0 {
        let end: String = text.chars().skip(surplus).collect();
        // Begins at the start of a line, if one is near.
        text = match end.split_once('\n') {
            Some((cut, rest)) if cut.chars().count() < MOST_CHARACTERS / 2 => rest.to_owned(),
            _ => format!("…{end}"),
        };
    }
    text.trim_start_matches('\n').to_owned()
}

/// The web links in a text for people, in order, each once.
pub fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (link, part) in parts(text) {
        if link && !found.contains(&part) {
            found.push(part);
        }
    }
    found
}

/// The text divided into web links (`true`) and the parts between them.
pub fn parts(text: &str) -> Vec<(bool, &str)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(begin) = ["https://", "http://"].iter().filter_map(|scheme| rest.find(scheme)).min() {
        let after = &rest[begin..];
        let ends = |c: char| c.is_whitespace() || c.is_control() || "<>\"'`{}|\\^".contains(c);
        let link = &after[..after.find(ends).unwrap_or(after.len())];
        // Punctuation or a closing bracket after a link belongs to the text.
        let mut link = link.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        while link.ends_with(')') && link.matches('(').count() < link.matches(')').count() {
            link = link[..link.len() - 1].trim_end_matches(['.', ',', ';', ':', '!', '?']);
        }
        let scheme = link.find("://").map_or(0, |at| at + 3);
        let is_link = link.len() > scheme && scheme > 0;
        let length = if is_link { link.len() } else { "http://".len() };
        if begin > 0 {
            parts.push((false, &rest[..begin]));
        }
        parts.push((is_link, &after[..length]));
        rest = &after[length..];
    }
    if !rest.is_empty() {
        parts.push((false, rest));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::names::{AppName, ComponentName};
    use crate::reservation::Patch;
    use crate::schedule::Schedule;

    #[test]
    fn a_subject_is_state_job_and_trouble() {
        let at = Time::UNIX_EPOCH;
        let failed = |exit_code| Reason::Failed { at, exit_code, in_a_row: 1 };
        let missed = Reason::Missed { expected_at: at, deadline: at, in_a_row: 1, unobserved: None };
        let overran = Reason::Overran { started_at: at, max_run_ms: 3_600_000, unobserved: None };
        let short = Reason::TooShort { at, took_ms: 2000, min_run_ms: 60_000 };
        let figures =
            "rows was 0; expected: rows > 0. Also, bytes is missing; expected: bytes > 0".to_owned();
        let unexpected = Reason::Unexpected { at, figures };
        use EventKind::*;
        for (event, reason, expected, classic) in [
            (Opened, failed(Some(1)), "DOWN a/b: failed with exit status 1", "Job failed: a/b"),
            (Opened, failed(None), "DOWN a/b: failed", "Job failed: a/b"),
            (Opened, missed.clone(), "DOWN a/b: has not checked in", "Job Failed to checkin: a/b"),
            (Opened, overran, "DOWN a/b: runs longer than 1 hour", "Job still running: a/b"),
            (Opened, short, "DOWN a/b: ended too soon, after 2 seconds", "Job failed: a/b"),
            (Opened, unexpected, "DOWN a/b: rows was 0; expected: rows > 0", "Job failed: a/b"),
            (
                Reminder,
                missed.clone(),
                "STILL DOWN a/b: has not checked in, down for 2 hours",
                "Reminder: Job Failed to checkin: a/b",
            ),
            (Recovered, missed, "BACK a/b: after 2 hours", "Back online: a/b"),
            (
                OpenedAndRecovered,
                failed(Some(2)),
                "BACK a/b: failed with exit status 2, and is back online",
                "Failed, and back online: a/b",
            ),
        ] {
            let lasted = TimeDelta::hours(2);
            assert_eq!(SubjectWords::Uniform.subject(event, &reason, "a/b", lasted), expected);
            assert_eq!(SubjectWords::Classic.subject(event, &reason, "a/b", lasted), classic);
        }
        assert_eq!(SubjectWords::parse("classic"), Ok(SubjectWords::Classic));
        assert!(SubjectWords::parse("old").unwrap_err().contains("\"uniform\" or \"classic\""));
    }

    #[test]
    fn what_was_expected_is_said_in_words() {
        let spec = |schedule: Schedule, grace| {
            let patch = Patch {
                schedule: Some((schedule, None)),
                grace: Some(TimeDelta::minutes(grace)),
                ..Patch::default()
            };
            let names = (AppName::parse("a").unwrap(), ComponentName::parse("b").unwrap());
            expected(&patch.into_spec(names.0, names.1).unwrap())
        };
        let cron = |text| Schedule::cron(text, "Europe/Berlin").unwrap();
        for (schedule, grace, said) in [
            (cron("0 3 * * *"), 60, "each day at 03:00, with 1 hour of grace"),
            (cron("0 3 * * 1"), 0, "at 03:00 on Mondays"),
            (cron("0 3 * * 1-5"), 0, "at 03:00 from Monday to Friday"),
            (Schedule::every(TimeDelta::minutes(5)).unwrap(), 1, "every 5 minutes, with 1 minute of grace"),
            (
                Schedule::calendar("Mon..Fri 02:00", Some("UTC")).unwrap(),
                5,
                "at 02:00 from Monday to Friday, with 5 minutes of grace",
            ),
            (Schedule::calendar("daily", Some("UTC")).unwrap(), 0, "each day at 00:00"),
            (Schedule::calendar("*-*~3", Some("UTC")).unwrap(), 0, "by calendar *-*~3"),
        ] {
            assert_eq!(spec(schedule, grace), said);
        }
    }

    #[test]
    fn the_end_of_an_output_is_kept_never_its_beginning() {
        let long: String = (0..5000).map(|n| format!("line {n}\n")).collect();
        let end = last_lines(&format!("{long}\u{1b}[31mERROR\u{1b}[0m disk full\n\n"));
        assert_eq!(end.lines().count(), 20);
        assert!(end.ends_with("line 4999\nERROR disk full"), "{end}");
        assert_eq!(last_lines(" 10 %\r 50 %\r100 %\r\nab\u{8}c\u{1b}]0;title\u{7}\n"), "100 %\nac");
        let one = last_lines(&format!("first{}last", "x".repeat(5000)));
        assert!(one.starts_with('…') && one.ends_with("xlast"), "{one}");
        let wide = last_lines(
            &"w".repeat(300).split("").map(|w| format!("{}\n", w.repeat(150))).collect::<String>(),
        );
        assert!(
            wide.chars().count() <= MOST_CHARACTERS && wide.lines().all(|line| line.len() == 150),
            "{wide}"
        );
        assert_eq!(last_lines("\n\n"), "");
    }

    #[test]
    fn links_are_found_in_prose() {
        let text = "See https://wiki.example.org/a_(b), or (http://x.example/?q=1&r=2). Not http:// nor ftp://y. \
                    https://wiki.example.org/a_(b)";
        assert_eq!(links(text), ["https://wiki.example.org/a_(b)", "http://x.example/?q=1&r=2"]);
        let joined: String = parts(text).iter().map(|(_, part)| *part).collect();
        assert_eq!(joined, text);
        assert!(links("<a href=\"https://a.example/\">").contains(&"https://a.example/"));
        assert!(links("https://").is_empty());
        assert!(links("http://").is_empty());
    }
}
