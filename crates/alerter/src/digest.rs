//! Several notices in one message: its subject, its sections, its lines.

use askama::Template;
use innkeeper_core::alert::Cause;
use innkeeper_core::notice::{EventKind, Notice, SubjectForm};
use innkeeper_core::{duration, wording};

use crate::letter::{Letter, rendered};
use crate::words;

/// Up to so many notices a digest has the whole of each.
pub(crate) const MOST_WHOLE: usize = 10;
/// Jobs that the subject names.
const NAMED: usize = 3;
/// Rows of the table of more, at most; of the rest it has those with words of their own.
const MOST_ROWS: usize = 200;

/// The parts of a digest, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    AboutInnkeeper,
    New,
    Reminders,
    Back,
    Summary,
}

impl Section {
    const ALL: [Self; 5] = [Self::AboutInnkeeper, Self::New, Self::Reminders, Self::Back, Self::Summary];

    fn of(notice: &Notice) -> Self {
        match notice.event {
            EventKind::Operator => Self::AboutInnkeeper,
            EventKind::Opened => Self::New,
            EventKind::Reminder => Self::Reminders,
            EventKind::Recovered | EventKind::OpenedAndRecovered => Self::Back,
            EventKind::Summary => Self::Summary,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::AboutInnkeeper => "About Innkeeper",
            Self::New => "New alerts",
            Self::Reminders => "Still down",
            Self::Back => "Back online",
            Self::Summary => "Summary",
        }
    }
}

/// A section with its letters.
pub(crate) struct Part {
    /// "New alerts (3)"
    pub title: String,
    /// What its notices tell.
    pub event: EventKind,
    /// What happened, worst first.
    pub letters: Vec<Letter>,
    /// How many more there are.
    pub more: usize,
}

/// Several notices as one message.
pub(crate) struct Digest {
    /// Whether it has the whole of each.
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
    /// That of these notices.
    pub fn of(notices: &[Notice]) -> Self {
        Self::bounded(notices, MOST_ROWS)
    }

    /// The same with so many rows at most where it is a table.
    pub fn bounded(notices: &[Notice], most_rows: usize) -> Self {
        let is_whole = notices.len() <= MOST_WHOLE;
        let mut left = if is_whole { notices.len() } else { most_rows };
        let worst = worst_first(notices);
        let mut parts = Vec::new();
        for section in Section::ALL {
            let of_it: Vec<&Notice> =
                worst.iter().filter(|notice| Section::of(notice) == section).copied().collect();
            if of_it.is_empty() {
                continue;
            }
            let shown = of_it.len().min(left);
            left -= shown;
            let mut letters: Vec<Letter> = of_it[..shown].iter().map(|notice| Letter::of(notice)).collect();
            // What people wrote themselves is never left out.
            let rest = of_it[shown..].iter().map(|notice| Letter::of(notice));
            letters.extend(rest.filter(|letter| !letter.own.is_empty()));
            let more = of_it.len() - letters.len();
            let title = format!("{} ({})", section.title(), of_it.len());
            parts.push(Part { title, event: of_it[0].event, letters, more });
        }
        Self { is_whole, parts }
    }

    /// The whole of it as plain text.
    pub fn text(&self) -> String {
        rendered(&PlainText { digest: self })
    }
}

/// The subject: of one notice its headline; of several which jobs it is about, the first three and how many more:
/// "DOWN shop/a, shop/b; BACK shop/c; and 7 more · innkeeper". One line.
pub(crate) fn headline(notices: &[Notice]) -> String {
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

/// What a notice is about, and the word for its state.
fn about(notice: &Notice) -> (String, String) {
    let Some(alert) = &notice.alert else { return (String::new(), words::cut(&notice.subject, 100)) };
    let job = format!("{}/{}", alert.app, alert.component);
    let state = match notice.subject_form {
        // The words by which people filter stand before the name.
        SubjectForm::Classic => {
            notice.subject.strip_suffix(&format!(": {job}")).map(|words| format!("{words}:"))
        }
        SubjectForm::Uniform | SubjectForm::Own => None,
    };
    let usual = match (alert.details.checked_out, alert.details.ending.is_empty()) {
        (true, _) => "CHECKED OUT",
        (false, false) => "WITHDRAWN",
        (false, true) => wording::state(notice.event).unwrap_or(""),
    };
    (state.unwrap_or_else(|| usual.to_owned()), words::cut(&job, 100))
}

fn subject(notices: &[Notice]) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    for notice in worst_first(notices) {
        let one = about(notice);
        if !all.contains(&one) {
            all.push(one);
        }
    }
    let mut states: Vec<(&str, Vec<&str>)> = Vec::new();
    for (state, name) in all.iter().take(NAMED) {
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

/// By section, and in each the worst first, and among equals the one that has lasted longest.
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

/// "and 7 more"
pub(crate) fn more(count: usize) -> String {
    format!("and {} more", duration::counted(i64::try_from(count).unwrap_or(i64::MAX), "message"))
}
