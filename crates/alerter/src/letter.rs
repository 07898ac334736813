//! A notice in words: its parts as people read them, for the templates of all alerters.

use askama::Template;
use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::alert::{Reason, day_and_time, moment};
use innkeeper_core::notice::{AlertNotice, EventKind, Notice};
use innkeeper_core::{Time, duration, wording};

use crate::words;

/// The most characters of one line, and of the reservation's own text or a description.
const LONGEST_LINE: usize = 500;
const LONGEST_TEXT: usize = 8000;

/// The parts of a message. Each is safe in any plain text.
#[derive(Debug)]
pub(crate) struct Letter {
    /// For example "DOWN shop/backup: failed with exit status 1".
    pub subject: String,
    /// The address of the job's page, or of the page that an operator's message is about.
    pub url: Option<String>,
    /// The reservation's own text; empty if there is none.
    pub own: String,
    /// What happened, and since when. If the notice is about no incident, its whole text.
    pub happened: String,
    /// What was expected; empty if that is not known.
    pub expected: String,
    /// The heading of the output if it is not the output of the failed run; otherwise empty.
    pub output_title: &'static str,
    /// The last lines of the job's output.
    pub output: String,
    /// The labelled lines, in the order of the message.
    pub facts: Vec<Fact>,
    /// The line below the subject in a digest: since when, and the owner.
    pub brief: String,
    /// Why the operator gets the message: one line for each recipient that it does not reach.
    pub undelivered: Vec<String>,
}

/// A labelled line of a message, for example "Owner: dba@example.org".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// The label.
    pub label: &'static str,
    /// The value.
    pub value: String,
}

impl Fact {
    /// The value, cut into links (`true`) and the text between them.
    pub fn parts(&self) -> Vec<(bool, &str)> {
        match self.label {
            "Runbook" if is_web(&self.value) => vec![(true, &self.value)],
            _ => wording::parts(&self.value),
        }
    }
}

#[derive(Template)]
#[template(path = "happened.txt")]
struct Happened<'a> {
    job: String,
    event: EventKind,
    why: &'a Reason,
    since: String,
    now: String,
    lasted: String,
    zone: Tz,
    is_checked_out: bool,
    ending: String,
    is_answered: bool,
    was: String,
    behind: String,
}

/// The trouble of an incident that has ended.
#[derive(Template)]
#[template(path = "was.txt")]
struct Was<'a> {
    why: &'a Reason,
    since: String,
}

#[derive(Template)]
#[template(path = "message.txt")]
struct PlainText<'a> {
    letter: &'a Letter,
}

impl Letter {
    /// The letter for `notice`.
    pub fn of(notice: &Notice) -> Self {
        let mut letter = Self {
            subject: words::cut(&words::one_line(&notice.subject), LONGEST_LINE),
            url: notice.url.as_deref().filter(|url| is_web(url)).map(words::one_line),
            own: String::new(),
            happened: words::lines(notice.text.trim()),
            expected: String::new(),
            output_title: "",
            output: String::new(),
            facts: Vec::new(),
            brief: words::cut(&words::one_line(notice.text.trim()), LONGEST_LINE),
            undelivered: Vec::new(),
        };
        if let Some(alert) = &notice.alert
            && let Some(why) = &alert.details.why
        {
            letter.tell(notice, alert, why);
        } else if let Some(alert) = &notice.alert {
            letter.brief = words::cut(&words::one_line(&alert.reason), LONGEST_LINE);
        }
        if letter.facts.is_empty()
            && let Some(url) = letter.url.clone().filter(|url| !letter.happened.contains(url))
        {
            letter.facts.push(Fact { label: "Open", value: url });
        }
        letter
    }

    /// The letter as a row of a table. If an older version wrote the notice of an incident, its text contains the words
    /// by people.
    pub fn row(notice: &Notice) -> Self {
        let mut letter = Self::of(notice);
        if notice.alert.as_ref().is_some_and(|alert| alert.details.why.is_none()) {
            letter.own = words::cut(&words::lines(own_of(notice)), LONGEST_TEXT);
            letter.brief = String::new();
        }
        letter
    }

    /// Fills in the parts of a message about an incident.
    fn tell(&mut self, notice: &Notice, alert: &AlertNotice, why: &Reason) {
        let details = &alert.details;
        let text = |text: &str| words::cut(&words::lines(text.trim_end()), LONGEST_TEXT);
        self.own = text(&details.own_text);
        self.happened = happened(notice, alert, why);
        let is_trouble = matches!(notice.event, EventKind::Opened | EventKind::Reminder);
        if !details.expected.is_empty() && is_trouble {
            self.expected = expected(notice, alert, why);
        }
        if !details.checked_out {
            self.output = text(&alert.notes);
        }
        if !self.output.is_empty() && is_unheard(notice, why) {
            self.output_title = "Its last output before that:";
        }
        self.facts = facts(notice, alert, why);
        self.brief = if is_trouble { brief(notice, alert) } else { String::new() };
        self.undelivered = details.undelivered.iter().map(|line| words::one_line(line)).collect();
    }

    /// The letter as plain text.
    pub fn text(&self) -> String {
        rendered(&PlainText { letter: self })
    }

    /// All facts but the link to the page.
    pub fn facts_beside_link(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(|fact| fact.label != "Open")
    }

    /// The output, each line indented by four spaces.
    pub fn output_moved_in(&self) -> String {
        let moved_in = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") };
        self.output.lines().map(moved_in).collect()
    }

    /// The paragraphs about what happened and what was expected, each as its lines.
    pub fn paragraphs(&self) -> Vec<Vec<&str>> {
        let own = self.own.split("\n\n");
        let told = self.happened.split("\n\n");
        let paragraphs = own.chain(told).filter(|text| !text.trim().is_empty());
        paragraphs.map(|text| text.trim_matches('\n').lines().collect()).collect()
    }
}

/// Renders a template. Rendering fails only if a formatter fails. Then the text is empty, and the message is still
/// sent.
pub fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        log::error!("a message is incomplete: {error}");
        String::new()
    })
}

/// The texts by people in a notice. If an older version wrote the notice of an incident, they are somewhere in its
/// text, so all of it counts.
pub(crate) fn own_of(notice: &Notice) -> &str {
    let own = notice.alert.as_ref().map(|alert| match alert.details.why {
        Some(_) => alert.details.own_text.trim_end(),
        None => notice.text.trim(),
    });
    own.filter(|own| !own.trim().is_empty()).unwrap_or_default()
}

/// Whether this is an HTTP or HTTPS link.
pub(crate) fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// The time zone for the times of this reservation.
fn zone(alert: &AlertNotice) -> Tz {
    alert.details.time_zone.parse().unwrap_or(Tz::UTC)
}

fn span(ms: i64) -> TimeDelta {
    TimeDelta::try_milliseconds(ms).unwrap_or_default()
}

fn happened(notice: &Notice, alert: &AlertNotice, why: &Reason) -> String {
    let zone = zone(alert);
    let moment = |at: Time| moment(at, notice.at, zone);
    let site = if alert.details.behind > 0 {
        duration::counted(alert.details.behind, "reservation")
    } else {
        String::new()
    };
    let since = moment(match why {
        Reason::Overran { started_at, .. } => *started_at,
        other => other.since(),
    });
    let text = rendered(&Happened {
        job: words::one_line(&format!("{}/{}", alert.app, alert.component)),
        event: notice.event,
        why,
        was: rendered(&Was { why, since: since.clone() }).trim().to_owned(),
        since,
        now: moment(notice.at),
        lasted: duration::words((notice.at - alert.since).max(TimeDelta::zero())),
        zone,
        is_checked_out: alert.details.checked_out,
        ending: alert.details.ending.clone(),
        is_answered: alert.details.answered,
        behind: site,
    });
    text.trim_end().to_owned()
}

/// Whether the alert is about a run that sent no check-in; then the known details of a run belong to an earlier one.
fn is_unheard(notice: &Notice, why: &Reason) -> bool {
    matches!(why, Reason::Missed { .. }) && !notice.is_resolution()
}

/// For example "Expected each day at 03:00, with 1 hour of grace; due on Wed 25 Nov at 03:00." The zone is that of the
/// preceding sentence.
fn expected(notice: &Notice, alert: &AlertNotice, why: &Reason) -> String {
    let mut text = format!("Expected {}", words::one_line(&alert.details.expected));
    if let Reason::Missed { expected_at, .. } = why {
        text.push_str("; due on ");
        text.push_str(&day_and_time(*expected_at, notice.at, zone(alert)));
    }
    text + "."
}

/// For example "Since Wed 25 Nov at 04:24 (Europe/Berlin). Owner: dba@example.org".
fn brief(notice: &Notice, alert: &AlertNotice) -> String {
    let since = format!("Since {}.", moment(alert.since, notice.at, zone(alert)));
    match alert.owner.as_str() {
        "" => since,
        owner => format!("{since} Owner: {}", words::one_line(owner)),
    }
}

fn facts(notice: &Notice, alert: &AlertNotice, why: &Reason) -> Vec<Fact> {
    let details = &alert.details;
    let zone = zone(alert);
    let mut facts = Vec::new();
    let mut add = |label, value: String| {
        if !value.is_empty() {
            facts.push(Fact { label, value: words::cut(&value, LONGEST_TEXT) });
        }
    };
    let one = |text: &str| words::one_line(text);
    // In a recovery the exit status is that of an earlier run.
    let exit_code = alert.exit_code.filter(|_| notice.event != EventKind::Recovered);
    add("Exit status", exit_code.map(|code| code.to_string()).unwrap_or_default());
    add("Host", one(&details.source));
    add("Run", run(notice, alert, why));
    let last = alert.last_checkin_at.map(|at| {
        format!("{}, {}", moment(at, notice.at, zone), duration::ago((notice.at - at).max(TimeDelta::zero())))
    });
    if !notice.is_resolution() {
        add("Last success", last.unwrap_or_else(|| "never".to_owned()));
    }
    add("Owner", one(&alert.owner));
    add("About", words::lines(alert.description.trim()));
    add("Tags", one(&alert.tags.join(", ")));
    add("Runbook", one(&details.runbook));
    add("Open", notice.url.as_deref().filter(|url| is_web(url)).map(one).unwrap_or_default());
    add("Also told", one(&details.also_told.join(", ")));
    if details.jobs > 0 {
        let others = details.others_down;
        add(
            "Also down now",
            match others {
                0 => "no other job".to_owned(),
                _ => format!("{others} of {}", duration::counted(details.jobs, "job")),
            },
        );
    }
    facts
}

/// The duration of the run, and the usual duration.
fn run(notice: &Notice, alert: &AlertNotice, why: &Reason) -> String {
    let details = &alert.details;
    let took = match why {
        Reason::Overran { started_at, .. } if !notice.is_resolution() => {
            Some(duration::words((notice.at - *started_at).max(TimeDelta::zero())) + " so far")
        }
        _ if is_unheard(notice, why) => None,
        _ => details.took_ms.map(|ms| duration::words(span(ms))),
    };
    match (took, details.usual_ms.map(|ms| duration::words(span(ms)))) {
        (Some(took), Some(usual)) => format!("{took}; usually {usual}"),
        (Some(took), None) => took,
        (None, Some(usual)) => format!("usually {usual}"),
        (None, None) => String::new(),
    }
}
