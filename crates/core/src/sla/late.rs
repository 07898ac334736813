//! Late reports: whether they show that a job with an open alert was well, and which failures are
//! no news.
//!
//! A late report is a fact with its own time, and deadlines are counted from it as from any other.
//! Only notifications differ: a failure that is over is not notified, and an alert that should not
//! have opened is closed with that reason.

use super::due::{Anchor, alert_due_after, later};
use super::{Correction, View};
use crate::Time;
use crate::alert::{OpenAlert, Reason};
use crate::checkin::CheckInKind;
use crate::facts::Event;
use crate::reservation::{MOST_ALERT_AFTER, Reservation};

/// How late reports answer an open alert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub by: Correction,
    /// The latest of the successes, all of which were in time.
    pub until: Option<Time>,
}

/// Whether an event is no news: a failure that was reported late and that a later success followed.
pub(super) fn is_no_news(view: &View<'_>, event: &Event) -> bool {
    event.late
        && match event.kind {
            CheckInKind::Fail => Some(event.at) <= last_good(view),
            CheckInKind::Success => is_failure(view, event) && Some(event.at) < last_good(view),
            CheckInKind::Start | CheckInKind::Log => false,
        }
}

/// The latest success that did not count as a failure, as far as is known. If the latest success
/// counted as a failure, the result is one of the unseen successes, or the last end before them if
/// the job was well then.
fn last_good(view: &View<'_>) -> Option<Time> {
    let Reservation { facts, conclusions: before, .. } = view.reservation;
    let latest = facts.last_checkin_at;
    let good = |event: &&Event| event.kind == CheckInKind::Success && !is_failure(view, event);
    let known = view.unseen.iter().filter(good).map(|event| event.at).max();
    match latest {
        Some(at) if known != latest && was_bad(view, at) => {
            known.max(before.heard_at.filter(|_| before.fail_streak == 0))
        }
        _ => latest,
    }
}

/// Whether the success at this instant counted as a failure, as far as is known.
fn was_bad(view: &View<'_>, at: Time) -> bool {
    let before = &view.reservation.conclusions;
    let is_it =
        |event: &Event| event.at == at && event.kind == CheckInKind::Success && is_failure(view, event);
    before.short_at == Some(at)
        || before.unexpected.as_ref().is_some_and(|last| last.at == at)
        || view.unseen.iter().any(is_it)
}

/// Whether the event is a failure: a reported one, or a success that was too short or had
/// unexpected figures.
pub(super) fn is_failure(view: &View<'_>, event: &Event) -> bool {
    let least = view.reservation.spec.min_run;
    let is_short = event.duration.zip(least).is_some_and(|(took, least)| took < least);
    match event.kind {
        CheckInKind::Fail => true,
        CheckInKind::Success => is_short || event.unexpected.is_some(),
        CheckInKind::Start | CheckInKind::Log => false,
    }
}

/// Whether an event since the last look is a failure but no news.
pub(super) fn is_passed_over(view: &View<'_>, event: &Event) -> bool {
    let is_failure = event.kind == CheckInKind::Fail || event.unexpected.is_some();
    is_failure && !event.seen && is_no_news(view, event)
}

/// Whether an event since the last look is a failure and is news.
pub(super) fn is_new_failure(view: &View<'_>, event: &Event) -> bool {
    is_failure(view, event) && !event.seen && !is_no_news(view, event)
}

/// What the late reports since the last look show, if they show that the job was well when this
/// alert opened, and since then.
pub(super) fn answered(view: &View<'_>, alert: &OpenAlert) -> Option<Answered> {
    match alert.reason {
        Reason::Missed { deadline, .. } => no_deadline_was_missed(view, alert, deadline),
        Reason::Overran { started_at, max_run_ms, .. } => {
            let run = view.runs.iter().find(|run| run.started_at == Some(started_at))?;
            let ended_at = run.ended_at.filter(|ended| *ended >= started_at)?;
            let is_in_time = ended_at <= later(started_at, chrono::TimeDelta::try_milliseconds(max_run_ms)?);
            let is_end = |event: &&Event| {
                event.late && !event.seen && event.at == ended_at && event.kind == CheckInKind::Success
            };
            let is_late = view.unseen.iter().any(|event| is_end(&event));
            (is_in_time && is_late).then_some(Answered { by: Correction::HadEnded(ended_at), until: None })
        }
        Reason::Failed { .. } | Reason::TooShort { .. } | Reason::Unexpected { .. } => None,
    }
}

/// The latest success that was reported late since the last look and lies within the row for which
/// this alert opened. The remaining row is too short for an alert, so the alert should not have
/// opened. `None` if a success is newer than the trouble: that is a recovery.
pub(super) fn shortened(view: &View<'_>, alert: &OpenAlert) -> Option<Correction> {
    let since = match alert.reason {
        Reason::Missed { deadline, .. } => deadline,
        Reason::Failed { at, .. } | Reason::TooShort { at, .. } | Reason::Unexpected { at, .. } => at,
        Reason::Overran { .. } => return None,
    };
    if last_good(view) > Some(since) {
        return None;
    }
    // If that success counted as a failure, the one before it is used.
    let success_before = alert.success_before.filter(|at| !was_bad(view, *at)).or_else(|| {
        let known = view.unseen.iter().filter(|event| event.seen && event.at <= since);
        known
            .filter(|event| event.kind == CheckInKind::Success && !is_failure(view, event))
            .map(|event| event.at)
            .max()
    });
    let is_news = |event: &&Event| event.late && !event.seen && Some(event.at) > success_before;
    let is_well = |event: &&Event| event.kind == CheckInKind::Success && !is_failure(view, event);
    let latest = view.unseen.iter().filter(is_news).filter(is_well).map(|event| event.at).max();
    latest.filter(|at| *at <= since).map(Correction::HadRun)
}

/// The answer to the alert, if each success since the job was last heard came before the deadline
/// that followed the previous one.
fn no_deadline_was_missed(view: &View<'_>, alert: &OpenAlert, deadline: Time) -> Option<Answered> {
    let before = &view.reservation.conclusions;
    // If the job was heard after the deadline and before these reports, the alert was right.
    let known = alert.answered_until.max(Some(deadline));
    if before.heard_at > known {
        return None;
    }
    let mut ends: Vec<&Event> = view
        .unseen
        .iter()
        .filter(|event| !event.seen && Some(event.at) > before.heard_at)
        .filter(|event| matches!(event.kind, CheckInKind::Success | CheckInKind::Fail))
        .filter(|event| !is_no_news(view, event))
        .collect();
    ends.sort_by_key(|event| event.at);
    if !are_in_time(view, before.heard_at, before.fail_streak, &ends) {
        return None;
    }
    let until = ends.last().map(|end| end.at).or(alert.answered_until)?;
    let is_late = alert.answered_until.is_some() || ends.iter().any(|end| end.late);
    let in_time = ends.iter().rfind(|end| end.at <= deadline).or(ends.first()).map(|end| end.at);
    let by = Correction::HadRun(alert.answered_until.or(in_time)?);
    is_late.then_some(Answered { by, until: Some(until) })
}

/// Whether all these ends are successes, each of which came before the alert that would have been
/// due after the previous end. The first end follows `heard`, when the job had `in_a_row` misses
/// and failures in a row.
fn are_in_time(view: &View<'_>, heard: Option<Time>, in_a_row: i64, ends: &[&Event]) -> bool {
    let alert_after = view.reservation.spec.alert_after;
    let missing = |in_a_row: i64| {
        usize::try_from(alert_after.saturating_sub(in_a_row).clamp(1, MOST_ALERT_AFTER)).unwrap_or(1)
    };
    let (mut heard, mut needed) = (heard, missing(in_a_row));
    ends.iter().all(|end| {
        let due = alert_due_after(view, Anchor::new(view.reservation, heard), needed);
        let is_in_time = due.is_some_and(|due| end.at <= due.deadline);
        (heard, needed) = (Some(end.at), missing(0));
        is_in_time && end.kind == CheckInKind::Success && end.unexpected.is_none()
    })
}

/// A closed alert for a missed deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastMiss {
    /// The deadline that had passed.
    pub deadline: Time,
    /// The latest success known when it opened.
    pub success_before: Option<Time>,
    /// When it closed.
    pub closed_at: Time,
}

impl PastMiss {
    /// The report that shows that the job was well all the time, if the ends of its runs that are
    /// known now show it. Some of them were reported after the alert had closed.
    pub fn answer(&self, view: &View<'_>, events: &[Event]) -> Option<Correction> {
        let mut ends: Vec<&Event> = events
            .iter()
            .filter(|event| matches!(event.kind, CheckInKind::Success | CheckInKind::Fail))
            .filter(|event| Some(event.at) > self.success_before && event.at <= self.closed_at)
            .filter(|event| !is_no_news(view, event))
            .collect();
        ends.sort_by_key(|event| event.at);
        let in_time = ends.iter().rfind(|end| end.late && end.at <= self.deadline)?;
        are_in_time(view, self.success_before, 0, &ends).then_some(Correction::HadRun(in_time.at))
    }
}
