//! From what the store knows to what templates show: words, relative times, rows that several pages have.

use chrono_tz::Tz;
use innkeeper_core::alert::stamp;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::sla::State;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_core::{Time, duration};
use innkeeper_store::{PastAlert, SentDelivery, Topic, Undelivered};

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

    /// When something is done that waits: "now" as soon as it may be.
    pub fn due(at: Time, zone: Tz, now: Time) -> Self {
        let when = Self::new(at, zone, now);
        if at > now { when } else { Self { words: "now".to_owned(), ..when } }
    }
}

/// A reservation in a list.
pub struct Row {
    pub id: i64,
    pub app: String,
    pub component: String,
    pub state: &'static str,
    pub schedule: String,
    /// The latest word of any kind, and which it was.
    pub last: Option<(&'static str, When)>,
    pub last_success: Option<When>,
    pub expected: When,
    pub owner: String,
    pub tags: Vec<String>,
    /// Why it is down; empty where it is not.
    pub reason: String,
    /// What about its messages is not as it should be, as sentences.
    pub warnings: Vec<String>,
}

impl Row {
    /// `zone`: the one that the reader chose.
    pub fn of(assessed: &Assessed, warnings: Vec<String>, zone: Option<Tz>, now: Time) -> Self {
        let Assessed { reservation, open_alert, evaluation, .. } = assessed;
        let (spec, facts) = (&reservation.spec, &reservation.facts);
        let zone = zone.unwrap_or_else(|| spec.schedule.zone());
        Self {
            id: reservation.id,
            app: spec.app.to_string(),
            component: spec.component.to_string(),
            state: evaluation.state.as_str(),
            schedule: match spec.grace.is_zero() {
                true => spec.schedule.in_words(),
                false => format!("{}, {} grace", spec.schedule.in_words(), duration::words(spec.grace)),
            },
            last: facts.last_word().map(|(kind, at)| (kind.as_str(), When::new(at, zone, now))),
            last_success: facts.last_checkin_at.map(|at| When::new(at, zone, now)),
            expected: When::new(evaluation.expected_at, zone, now),
            owner: spec.owner.clone(),
            tags: spec.tags.clone(),
            reason: open_alert.as_ref().map(|alert| alert.reason.sentence(zone)).unwrap_or_default(),
            warnings,
        }
    }
}

/// What about the messages of a reservation is not as it should be: `warnings` of where they go, and what of its latest alert did
/// not get through.
pub fn warnings(mut warnings: Vec<String>, undelivered: Option<&Undelivered>) -> Vec<String> {
    if let Some(Undelivered { given_up, waiting, problem }) = undelivered {
        let because = if problem.is_empty() { String::new() } else { format!(": {problem}") };
        let counted = |count: i64, one: &str, several: &str| match count {
            1 => format!("1 message about its latest alert {one}{because}"),
            _ => format!("{count} messages about its latest alert {several}{because}"),
        };
        if *given_up > 0 {
            warnings.push(counted(*given_up, "was given up", "were given up"));
        }
        if *waiting > 0 {
            let (one, several) = ("has waited for over ten minutes", "have waited for over ten minutes");
            warnings.push(counted(*waiting, one, several));
        }
    }
    warnings
}

/// The state of a reservation with its reason.
pub fn sentence(assessed: &Assessed, zone: Tz, now: Time) -> String {
    let Assessed { reservation, open_alert, evaluation, .. } = assessed;
    let at = |at: Time| stamp(at, zone);
    let (expected, deadline) = (at(evaluation.expected_at), at(evaluation.deadline));
    if let Some(alert) = open_alert {
        let since = duration::words(now - alert.opened_at);
        return format!("Down for {since}. {}", alert.reason.sentence(zone));
    }
    let (count, alert_after) = (evaluation.in_a_row, reservation.spec.alert_after);
    let row = match count > 0 && count < alert_after {
        true => format!("{count} of {alert_after} failures before an alert. "),
        false => String::new(),
    };
    match evaluation.state {
        State::New => format!("It has not checked in yet. Its first check-in is expected at {expected}."),
        State::Up if !row.is_empty() => format!("{row}The next check-in is expected at {expected}."),
        State::Up => format!("All is well. The next check-in is expected at {expected}."),
        State::Running => format!("{row}A run is active."),
        State::Late => format!("{row}Late: expected at {expected}. It has until {deadline}."),
        State::Overdue | State::Down => format!("{row}Overdue since {deadline}: expected at {expected}."),
        State::Snoozed => {
            let conclusions = &reservation.conclusions;
            let until = conclusions
                .snoozed_until(now)
                .map_or_else(String::new, |until| format!(" until {}", at(until)));
            let then = match conclusions.snooze_at(now).map(|snooze| snooze.mode) {
                Some(SnoozeMode::Skip) => "Check-ins that are due in that time are not expected.",
                Some(SnoozeMode::Quiet) | None => "Alerts that are still open then are sent.",
            };
            format!("Snoozed: no alerts are sent{until}. {then}")
        }
        State::Held => format!("Overdue since {deadline}, and held: its Internet gateway is silent."),
        State::Unobserved => format!(
            "{row}It was expected at {expected}, when no check-in could be recorded. It has until {deadline} to check in again."
        ),
    }
}

/// An alert.
pub struct AlertRow {
    pub reservation_id: i64,
    pub app: String,
    pub component: String,
    pub sentence: String,
    pub opened: When,
    pub closed: Option<When>,
    pub deliveries: Vec<DeliveryRow>,
}

impl AlertRow {
    pub fn of(alert: &PastAlert, deliveries: &[SentDelivery], zone: Tz, now: Time) -> Self {
        Self {
            reservation_id: alert.reservation_id,
            app: alert.app.clone(),
            component: alert.component.clone(),
            sentence: match &alert.ending {
                Some(ending) => format!("{} Closed: {ending}.", alert.sentence),
                None => alert.sentence.clone(),
            },
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
    pub id: i64,
    pub topic: Topic,
    pub state: &'static str,
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
            id: one.id,
            topic: one.topic.clone(),
            state: one.state.as_str(),
            event: one.event.replace('_', " "),
            way: format!("{}{to}", one.alerter),
            created: When::new(one.created_at, zone, now),
            next: (one.state == DeliveryState::Waiting).then(|| When::due(one.next_at, zone, now)),
            attempts: one.attempts,
            problem: one.problem.clone().unwrap_or_default(),
        }
    }
}
