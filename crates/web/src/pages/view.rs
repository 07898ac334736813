//! From what the store knows to what templates show: words, relative times, bars.

use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::alert::stamp;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::reservation::Window;
use innkeeper_core::sla::{Evaluation, State};
use innkeeper_core::{Time, duration};
use innkeeper_store::{BadGuest, Check, Checkin, KnownNode, Listed, PastAlert, SentDelivery};

/// The most check-ins that the bars show.
const BARS: usize = 30;
/// The height of the drawing.
const HIGH: i64 = 40;

/// An instant: exact, and how far away it is.
pub struct When {
    pub iso: String,
    pub exact: String,
    pub words: String,
}

impl When {
    pub fn new(at: Time, zone: Tz, now: Time) -> Self {
        let words =
            if at > now { format!("in {}", duration::words(at - now)) } else { duration::ago(now - at) };
        Self { iso: at.to_rfc3339(), exact: stamp(at, zone), words }
    }
}

/// A reservation in a list.
pub struct Row {
    pub id: i64,
    pub app: String,
    pub component: String,
    pub state: &'static str,
    pub schedule: String,
    pub last: Option<When>,
    pub expected: When,
    pub owner: String,
    pub tags: Vec<String>,
    /// Why it is down; empty where it is not.
    pub reason: String,
}

impl Row {
    pub fn of(listed: &Listed, evaluation: &Evaluation, now: Time) -> Self {
        let reservation = &listed.reservation;
        let (terms, facts) = (&reservation.terms, &reservation.facts);
        let zone = terms.schedule.zone();
        Self {
            id: reservation.id,
            app: terms.app.to_string(),
            component: terms.component.to_string(),
            state: evaluation.state.as_str(),
            schedule: match terms.grace.is_zero() {
                true => terms.schedule.to_string(),
                false => format!("{}, {} grace", terms.schedule, duration::words(terms.grace)),
            },
            last: facts.last_checkin_at.map(|at| When::new(at, zone, now)),
            expected: When::new(evaluation.expected_at, zone, now),
            owner: terms.owner.clone(),
            tags: terms.tags.clone(),
            reason: listed.open_alert.as_ref().map(|alert| alert.reason.sentence(zone)).unwrap_or_default(),
        }
    }
}

/// The state of a reservation with its reason.
pub fn sentence(listed: &Listed, evaluation: &Evaluation, now: Time) -> String {
    let zone = listed.reservation.terms.schedule.zone();
    let at = |at: Time| stamp(at, zone);
    let (expected, deadline) = (at(evaluation.expected_at), at(evaluation.deadline));
    if let Some(alert) = &listed.open_alert {
        let since = duration::words(now - alert.opened_at);
        return format!("Down for {since}. {}", alert.reason.sentence(zone));
    }
    match evaluation.state {
        State::New => format!("It has not checked in yet. Its first check-in is expected at {expected}."),
        State::Up => format!("All is well. The next check-in is expected at {expected}."),
        State::Running => "A run is going.".to_owned(),
        State::Late => format!("Late: expected at {expected}. It has until {deadline}."),
        State::Overdue | State::Down => format!("Overdue since {deadline}: expected at {expected}."),
        State::Snoozed => match listed.reservation.conclusions.snoozed_until {
            Some(until) => format!("Snoozed: nothing is told until {}.", at(until)),
            None => "Snoozed.".to_owned(),
        },
        State::Held => format!("Overdue since {deadline}, and held: its Internet gateway is silent."),
        State::Unobserved => format!(
            "It was expected at {expected}, when no check-in could be recorded. It has until {deadline} to be heard again."
        ),
    }
}

/// A check-in.
pub struct CheckinRow {
    pub at: When,
    pub what: String,
    pub took: String,
    pub source: String,
    pub notes: String,
}

impl CheckinRow {
    pub fn of(checkin: &Checkin, zone: Tz, now: Time) -> Self {
        let what = match (checkin.kind, checkin.exit_code) {
            (CheckInKind::Fail, Some(code)) => format!("fail, exit code {code}"),
            (kind, _) => kind.as_str().to_owned(),
        };
        Self {
            at: When::new(checkin.at, zone, now),
            what,
            took: checkin.duration.map(duration::words).unwrap_or_default(),
            source: checkin.source.clone(),
            notes: checkin.notes.clone(),
        }
    }
}

/// One check-in of the drawing: as high as its run was long, where that is known.
pub struct Bar {
    pub kind: &'static str,
    pub x: usize,
    pub y: i64,
    pub height: i64,
    pub title: String,
}

/// The latest check-ins as bars, oldest first, and what their height says.
pub fn bars(checkins: &[Checkin], max_run: Option<TimeDelta>, zone: Tz) -> (Vec<Bar>, &'static str) {
    let latest: Vec<&Checkin> = checkins.iter().take(BARS).collect();
    let longest = latest.iter().filter_map(|checkin| checkin.duration).chain(max_run).max();
    let height = |checkin: &Checkin| match (checkin.duration, longest) {
        (Some(took), Some(longest)) if longest > TimeDelta::zero() => {
            (took.num_milliseconds() * HIGH / longest.num_milliseconds()).clamp(3, HIGH)
        }
        _ => HIGH / 2,
    };
    let bars = latest.iter().rev().enumerate().map(|(place, checkin)| {
        let high = height(checkin);
        let took =
            checkin.duration.map(|took| format!(", took {}", duration::words(took))).unwrap_or_default();
        Bar {
            kind: checkin.kind.as_str(),
            x: place * 10 + 1,
            y: HIGH - high,
            height: high,
            title: format!("{} at {}{took}", checkin.kind.as_str(), stamp(checkin.at, zone)),
        }
    });
    let words = match (longest, max_run) {
        (Some(_), Some(_)) => "as high as the run was long, the whole height being the longest or its limit.",
        (Some(_), None) => "as high as the run was long.",
        (None, _) => "green for a success, red for a failure.",
    };
    (bars.collect(), words)
}

/// An alert.
pub struct AlertRow {
    pub reservation_id: i64,
    pub name: String,
    pub sentence: String,
    pub opened: When,
    pub closed: Option<When>,
    pub deliveries: Vec<DeliveryRow>,
}

impl AlertRow {
    pub fn of(alert: &PastAlert, deliveries: &[SentDelivery], zone: Tz, now: Time) -> Self {
        Self {
            reservation_id: alert.reservation_id,
            name: format!("{}/{}", alert.app, alert.component),
            sentence: alert.sentence.clone(),
            opened: When::new(alert.opened_at, zone, now),
            closed: alert.closed_at.map(|at| When::new(at, zone, now)),
            deliveries: deliveries
                .iter()
                .filter(|one| one.alert_id == Some(alert.id))
                .map(|one| DeliveryRow::of(one, zone, now))
                .collect(),
        }
    }
}

/// A message.
pub struct DeliveryRow {
    pub state: String,
    pub event: String,
    pub way: String,
    pub created: When,
    pub next: Option<When>,
    pub attempts: i64,
    pub problem: String,
}

impl DeliveryRow {
    pub fn of(one: &SentDelivery, zone: Tz, now: Time) -> Self {
        let to = if one.recipient.is_empty() { String::new() } else { format!(" to {}", one.recipient) };
        Self {
            state: one.state.clone(),
            event: one.event.replace('_', " "),
            way: format!("{}{to}", one.alerter),
            created: When::new(one.created_at, zone, now),
            next: (one.state == "waiting").then(|| When::new(one.next_at, zone, now)),
            attempts: one.attempts,
            problem: one.problem.clone().unwrap_or_default(),
        }
    }
}

/// A reservation with many alerts.
pub struct GuestRow {
    pub id: i64,
    pub name: String,
    pub alerts: i64,
    pub latest: When,
}

impl GuestRow {
    pub fn of(guest: &BadGuest, now: Time) -> Self {
        Self {
            id: guest.reservation_id,
            name: format!("{}/{}", guest.app, guest.component),
            alerts: guest.alerts,
            latest: When::new(guest.latest_at, chrono_tz::UTC, now),
        }
    }
}

/// A process.
pub struct NodeRow {
    pub state: &'static str,
    pub role: String,
    pub host: String,
    pub address: String,
    pub version: String,
    pub beat: When,
    pub started: When,
    pub offset_ms: i64,
    pub coordinator: bool,
}

impl NodeRow {
    pub fn of(known: &KnownNode, holder: Option<&str>, gone_after: TimeDelta, now: Time) -> Self {
        let node = &known.node;
        let state = known.state(gone_after, now);
        Self {
            state,
            role: node.role.clone(),
            host: node.host.clone(),
            address: node.address.clone(),
            version: node.version.clone(),
            beat: When::new(known.beat_at, chrono_tz::UTC, now),
            started: When::new(node.started_at, chrono_tz::UTC, now),
            offset_ms: node.offset.num_milliseconds(),
            coordinator: state == "alive" && holder == Some(node.id.as_str()),
        }
    }
}

/// A check of Innkeeper's own.
pub struct CheckRow {
    pub name: String,
    pub state: String,
    pub since: When,
    pub problem: String,
}

impl CheckRow {
    pub fn of(check: &Check, now: Time) -> Self {
        Self {
            name: check.name.clone(),
            state: check.state.clone(),
            since: When::new(check.since_at, chrono_tz::UTC, now),
            problem: check.problem.clone(),
        }
    }
}

/// A blind window.
pub struct WindowRow {
    pub from: When,
    pub until: When,
    pub long: String,
}

impl WindowRow {
    pub fn of(window: &Window, now: Time) -> Self {
        Self {
            from: When::new(window.from, chrono_tz::UTC, now),
            until: When::new(window.until, chrono_tz::UTC, now),
            long: duration::words(window.until - window.from),
        }
    }
}

/// What to paste into a job so that it checks in.
pub fn snippets(public_url: &str, listed: &Listed) -> Vec<(&'static str, String)> {
    let ping = format!("{public_url}/ping/{}", listed.reservation.key);
    vec![
        ("Crontab", format!("0 2 * * *  /usr/local/bin/job && curl -fsS -m 15 --retry 3 {ping}")),
        (
            "Shell, with its start and its exit code",
            format!("curl -fsS -m 15 {ping}/start; /usr/local/bin/job; curl -fsS -m 15 --retry 3 {ping}/$?"),
        ),
        (
            "systemd, in the unit of the job",
            format!("[Service]\nExecStartPost=/usr/bin/curl -fsS -m 15 --retry 3 {ping}"),
        ),
        ("Python", format!("import urllib.request\nurllib.request.urlopen(\"{ping}\", timeout=15)")),
        ("PowerShell", format!("Invoke-RestMethod -Uri {ping} -TimeoutSec 15")),
        (
            "Kubernetes CronJob, as the container's command",
            format!(
                "command: [\"/bin/sh\", \"-c\", \"/usr/local/bin/job && wget -q -T 15 -O /dev/null {ping}\"]"
            ),
        ),
    ]
}
