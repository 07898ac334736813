//! Several notices in one message: its subject, its order, its lines.

use innkeeper_core::alert::Cause;
use innkeeper_core::notice::{EventKind, Notice};

use crate::words;

/// What the reader has to hear first, and how it is counted in the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    AboutInnkeeper,
    Failed,
    Overdue,
    Overran,
    FailedAndBack,
    Back,
    Summary,
}

impl Group {
    const ALL: [Self; 7] = [
        Self::AboutInnkeeper,
        Self::Failed,
        Self::Overdue,
        Self::Overran,
        Self::FailedAndBack,
        Self::Back,
        Self::Summary,
    ];

    fn of(notice: &Notice) -> Self {
        match (notice.event, notice.alert.as_ref().map(|alert| alert.cause)) {
            (EventKind::Summary, _) => Self::Summary,
            (EventKind::Recovered, _) => Self::Back,
            (EventKind::OpenedAndRecovered, _) => Self::FailedAndBack,
            (EventKind::Opened | EventKind::Reminder, Some(Cause::Missed)) => Self::Overdue,
            (EventKind::Opened | EventKind::Reminder, Some(Cause::Overran)) => Self::Overran,
            (EventKind::Opened | EventKind::Reminder, Some(Cause::Failed)) => Self::Failed,
            (EventKind::Operator, _) | (EventKind::Opened | EventKind::Reminder, None) => {
                Self::AboutInnkeeper
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::AboutInnkeeper => "about Innkeeper",
            Self::Failed => "failed",
            Self::Overdue => "overdue",
            Self::Overran => "running too long",
            Self::FailedAndBack => "failed and back",
            Self::Back => "back",
            Self::Summary => "summary",
        }
    }
}

/// The subject: of one notice its headline, of several "[innkeeper] 37 alerts: 35 overdue, 2 back". One line.
pub(crate) fn headline(notices: &[Notice]) -> String {
    let headline = match notices {
        [] => String::new(),
        [notice] => notice.headline(),
        [first, ..] => {
            let counts: Vec<String> = Group::ALL
                .into_iter()
                .map(|group| (group, notices.iter().filter(|notice| Group::of(notice) == group).count()))
                .filter(|(_, count)| *count > 0)
                .map(|(group, count)| format!("{count} {}", group.word()))
                .collect();
            let noun =
                if notices.iter().all(|notice| notice.alert.is_some()) { "alerts" } else { "messages" };
            format!("[{}] {} {noun}: {}", first.instance, notices.len(), counts.join(", "))
        }
    };
    words::cut(&words::one_line(&headline), 500)
}

/// The worst first, and among equals the one that has lasted longest.
pub(crate) fn worst_first(notices: &[Notice]) -> Vec<&Notice> {
    let mut sorted: Vec<&Notice> = notices.iter().collect();
    sorted.sort_by_key(|notice| {
        (Group::of(notice), notice.alert.as_ref().map_or(notice.at, |alert| alert.since))
    });
    sorted
}

/// One notice of several on one line, in two parts: its subject, and the reason where it is still trouble.
pub(crate) fn line(notice: &Notice) -> (String, Option<String>) {
    let reason = notice
        .alert
        .as_ref()
        .filter(|_| Group::of(notice) < Group::FailedAndBack)
        .map(|alert| words::cut(&words::one_line(&alert.reason), 300));
    (words::cut(&words::one_line(&notice.subject), 400), reason)
}
