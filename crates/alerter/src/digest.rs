//! Digests: several notices in one message, with a subject, sections and lines.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use askama::Template;
use innkeeper_core::alert::Cause;
use innkeeper_core::notice::{EventKind, Notice, SubjectForm};
use innkeeper_core::{duration, wording};
use strum::VariantArray;

use crate::letter::{Letter, own_of, rendered};
use crate::words;

/// A digest of at most this many notices shows each in full.
pub(crate) const MOST_WHOLE: usize = 10;
/// The most jobs that the subject names.
const NAMED: usize = 3;
/// The most rows of a longer digest's table. Notices with texts by people are shown beyond this limit.
const MOST_ROWS: usize = 200;

/// The parts of a digest, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
enum Section {
    AboutInnkeeper,
    New,
    Reminders,
    Back,
    CheckedOut,
    Withdrawn,
    Summary,
}

impl Section {
    fn of(notice: &Notice) -> Self {
        match notice.event {
            EventKind::Operator => Self::AboutInnkeeper,
            EventKind::Opened => Self::New,
            EventKind::Reminder => Self::Reminders,
            EventKind::Recovered | EventKind::OpenedAndRecovered => match &notice.alert {
                Some(alert) if alert.details.checked_out => Self::CheckedOut,
                Some(alert) if !alert.details.ending.is_empty() && !alert.details.answered => Self::Withdrawn,
                _ => Self::Back,
            },
            EventKind::Summary => Self::Summary,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::AboutInnkeeper => "About Innkeeper",
            Self::New => "New alerts",
            Self::Reminders => "Still down",
            Self::Back => "Back online",
            Self::CheckedOut => "Checked out",
            Self::Withdrawn => "Alerts withdrawn",
            Self::Summary => "Summary",
        }
    }
}

/// The significance of a message for its reader, shown as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A job is down.
    Trouble,
    /// Innkeeper itself has a problem.
    Warning,
    /// A job has recovered.
    Good,
    /// None of the others.
    Neutral,
}

impl Tone {
    /// The tone of this notice.
    pub fn of(notice: &Notice) -> Self {
        match Section::of(notice) {
            Section::AboutInnkeeper => Self::Warning,
            Section::New | Section::Reminders => Self::Trouble,
            Section::Back => Self::Good,
            Section::CheckedOut | Section::Withdrawn | Section::Summary => Self::Neutral,
        }
    }
}

/// A section with its messages.
pub(crate) struct Part {
    /// For example "New alerts (3)".
    pub title: String,
    /// The tone of its notices.
    pub tone: Tone,
    /// The messages that are shown, worst first.
    pub letters: Vec<Letter>,
    /// The number of messages that are not shown.
    pub more: usize,
}

/// Several notices as one message.
pub(crate) struct Digest {
    /// Whether each notice is shown in full.
    pub is_whole: bool,
    /// Its sections.
    pub parts: Vec<Part>,
}

#[derive(Template)]
#[template(path = "digest.txt")]
struct PlainText<'a> {
    digest: &'a Digest,
}

impl Digest {
    /// The digest of these notices.
    pub fn of(notices: &[Notice]) -> Self {
        Self::bounded(notices, MOST_ROWS)
    }

    /// The digest of these notices, with at most `most_rows` rows if it is a table.
    pub fn bounded(notices: &[Notice], most_rows: usize) -> Self {
        let is_whole = notices.len() <= MOST_WHOLE;
        let mut left = if is_whole { notices.len() } else { most_rows };
        let worst = worst_first(notices);
        let mut parts = Vec::new();
        for section in Section::VARIANTS.iter().copied() {
            let of_it: Vec<&Notice> =
                worst.iter().filter(|notice| Section::of(notice) == section).copied().collect();
            if of_it.is_empty() {
                continue;
            }
            let shown = of_it.len().min(left);
            left -= shown;
            let letter = |notice: &&Notice| if is_whole { Letter::of(notice) } else { Letter::row(notice) };
            let mut letters: Vec<Letter> = of_it[..shown].iter().map(letter).collect();
            // Texts that people wrote are never left out.
            letters.extend(of_it[shown..].iter().filter(|notice| !own_of(notice).is_empty()).map(letter));
            let more = of_it.len() - letters.len();
            let title = format!("{} ({})", section.title(), of_it.len());
            parts.push(Part { title, tone: Tone::of(of_it[0]), letters, more });
        }
        Self { is_whole, parts }
    }

    /// The digest as plain text.
    pub fn text(&self) -> String {
        rendered(&PlainText { digest: self })
    }
}

/// The subject, on one line. One notice gives its headline; several give the first three jobs and the number of further
/// ones: "DOWN shop/a, shop/b; BACK shop/c; and 7 more · innkeeper".
pub(crate) fn headline(notices: &[Notice]) -> String {
    let folded = match notices.first().map(|notice| notice.subject_form) {
        // Notices with classic subjects are not folded, since people filter by the words at the beginning of the
        // subject.
        Some(SubjectForm::Classic) => Cow::Borrowed(notices),
        _ => folded(notices),
    };
    let notices = &*folded;
    let headline = match notices {
        [] => String::new(),
        [notice] => notice.headline(),
        [first, ..] => {
            let subject = subject(notices);
            match first.subject_form {
                SubjectForm::Classic => format!("[{}] {subject}", first.instance),
                SubjectForm::Uniform | SubjectForm::Own => format!("{subject} · {}", first.instance),
            }
        }
    };
    words::cut(&words::one_line(&headline), 500)
}

/// The subject of a notice in two parts: its job, and the word for the state.
fn about(notice: &Notice) -> (String, String) {
    let Some(alert) = &notice.alert else { return (String::new(), words::cut(&notice.subject, 100)) };
    let job = format!("{}/{}", alert.app, alert.component);
    let state = match notice.subject_form {
        // Classic subjects begin with the words that people filter by; the job's name follows.
        SubjectForm::Classic => {
            notice.subject.strip_suffix(&format!(": {job}")).map(|words| format!("{words}:"))
        }
        SubjectForm::Uniform | SubjectForm::Own => None,
    };
    let usual = match (alert.details.checked_out, alert.details.ending.is_empty() || alert.details.answered) {
        (true, _) => "CHECKED OUT",
        (false, false) => "WITHDRAWN",
        (false, true) => wording::state(notice.event).unwrap_or(""),
    };
    (state.unwrap_or_else(|| usual.to_owned()), words::cut(&job, 100))
}

fn subject(notices: &[Notice]) -> String {
    let mut all = HashSet::new();
    let mut named: Vec<(String, String)> = Vec::new();
    for notice in worst_first(notices) {
        let one = about(notice);
        if named.len() < NAMED && !all.contains(&one) {
            named.push(one.clone());
        }
        all.insert(one);
    }
    let mut states: Vec<(&str, Vec<&str>)> = Vec::new();
    for (state, name) in &named {
        match states.last_mut().filter(|(known, _)| known == state) {
            Some((_, names)) => names.push(name),
            None => states.push((state, vec![name])),
        }
    }
    let groups: Vec<String> = states
        .iter()
        .map(|(state, names)| format!("{state} {}", names.join(", ")).trim().to_owned())
        .collect();
    let subject = groups.join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => subject,
        more if groups.len() > 1 => format!("{subject}; and {more} more"),
        more => format!("{subject} and {more} more"),
    }
}

/// Folds each incident that began and ended among these notices into its end, which also says what the trouble was.
pub(crate) fn folded(notices: &[Notice]) -> Cow<'_, [Notice]> {
    let mut ends = HashMap::new();
    for (n, notice) in notices.iter().enumerate().filter(|(_, notice)| notice.event == EventKind::Recovered) {
        ends.extend(incident(notice).map(|incident| (incident, n)));
    }
    let mut begun: HashMap<usize, Vec<&Notice>> = HashMap::new();
    let mut kept = Vec::new();
    for (n, notice) in notices.iter().enumerate() {
        let is_trouble = matches!(notice.event, EventKind::Opened | EventKind::Reminder);
        let end = incident(notice).filter(|_| is_trouble).and_then(|incident| ends.get(&incident));
        match end.filter(|end| **end > n) {
            Some(end) => begun.entry(*end).or_default().push(notice),
            None => kept.push(n),
        }
    }
    if begun.is_empty() {
        return Cow::Borrowed(notices);
    }
    let with_its_beginning = |n: usize| match begun.get(&n) {
        Some(begun) => joined(begun, &notices[n]),
        None => notices[n].clone(),
    };
    Cow::Owned(kept.into_iter().map(with_its_beginning).collect())
}

/// The incident of a notice; none if an older version wrote it.
fn incident(notice: &Notice) -> Option<(i64, &str, &str)> {
    let alert = notice.alert.as_ref().filter(|alert| alert.details.why.is_some())?;
    Some((alert.id, &alert.app, &alert.component))
}

/// The end of an incident, with what only its beginning contains: texts by people, the output, and the recipients that
/// it does not reach.
fn joined(begun: &[&Notice], end: &Notice) -> Notice {
    let mut joined = end.clone();
    let Some(alert) = &mut joined.alert else { return joined };
    let mut own: Vec<&str> = Vec::new();
    for (notice, begin) in begun.iter().filter_map(|notice| Some((notice, notice.alert.as_ref()?))) {
        let subject = (notice.subject_form == SubjectForm::Own).then_some(notice.subject.as_str());
        for text in subject.into_iter().chain([begin.details.own_text.as_str()]) {
            if !text.trim().is_empty() && !own.contains(&text) {
                own.push(text);
            }
        }
        if alert.notes.is_empty() && !alert.details.checked_out {
            alert.notes.clone_from(&begin.notes);
        }
        for line in &begin.details.undelivered {
            if !alert.details.undelivered.contains(line) {
                alert.details.undelivered.push(line.clone());
            }
        }
    }
    let last = std::mem::take(&mut alert.details.own_text);
    own.extend(Some(last.as_str()).filter(|text| !text.trim().is_empty()));
    alert.details.own_text = own.join("\n\n");
    joined
}

/// Sorts by section, then by severity, worst first, then by duration, longest first.
pub(crate) fn worst_first(notices: &[Notice]) -> Vec<&Notice> {
    let mut sorted: Vec<&Notice> = notices.iter().collect();
    sorted.sort_by_key(|notice| {
        let alert = notice.alert.as_ref();
        let failed_first = alert.map(|alert| match alert.cause {
            Cause::Failed => 0,
            Cause::Missed => 1,
            Cause::Overran => 2,
        });
        (Section::of(notice), failed_first, alert.map_or(notice.at, |alert| alert.since))
    });
    sorted
}

/// For example "and 7 messages more".
pub(crate) fn more(count: usize) -> String {
    format!("and {} more", duration::counted(i64::try_from(count).unwrap_or(i64::MAX), "message"))
}
