//! What was reported late: whether it shows that a job was well of which an alert is open, and what is no news.
//!
//! A report that comes late is a fact with its own time, and deadlines are counted from it as from any other. What differs is what is
//! told: nobody is alarmed of a failure that is over, and an alert that should not have been opened is taken back with its reason.

use super::due::{Anchor, alert_due_after, later};
use super::{Correction, View};
use crate::Time;
use crate::alert::{OpenAlert, Reason};
use crate::checkin::CheckInKind;
use crate::facts::Event;
use crate::reservation::{MOST_ALERT_AFTER, Reservation};

/// An alert that reports answer which came late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub by: Correction,
    /// The latest of the successes that were all in time.
    pub until: Option<Time>,
}

/// Whether an event is no news: a failure that was reported late, and that a later success has followed.
pub(super) fn is_no_news(view: &View<'_>, event: &Event) -> bool {
    event.late
        && match event.kind {
            CheckInKind::Fail => Some(event.at) <= last_good(view),
            CheckInKind::Success => is_failure(view, event) && Some(event.at) < last_good(view),
            CheckInKind::Start | CheckInKind::Log => false,
        }
}

/// The latest success that was none but in name: that did not come too soon, and was as expected. As far as it is known: of those before
/// the last look only where the job stood well then.
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

/// Whether the success of this instant came too soon, or was other than expected, as far as it is known.
fn was_bad(view: &View<'_>, at: Time) -> bool {
    let before = &view.reservation.conclusions;
    let is_it =
        |event: &Event| event.at == at && event.kind == CheckInKind::Success && is_failure(view, event);
    before.short_at == Some(at)
        || before.unexpected.as_ref().is_some_and(|last| last.at == at)
        || view.unseen.iter().any(is_it)
}

/// Whether it is a failure: one that was reported, or a success that came too soon or is other than expected.
pub(super) fn is_failure(view: &View<'_>, event: &Event) -> bool {
    let least = view.reservation.spec.min_run;
    let is_short = event.duration.zip(least).is_some_and(|(took, least)| took < least);
    match event.kind {
        CheckInKind::Fail => true,
        CheckInKind::Success => is_short || event.unexpected.is_some(),
        CheckInKind::Start | CheckInKind::Log => false,
    }
}

/// Whether an event of this look is a failure that is no news.
pub(super) fn is_passed_over(view: &View<'_>, event: &Event) -> bool {
    let is_failure = event.kind == CheckInKind::Fail || event.unexpected.is_some();
    is_failure && !event.seen && is_no_news(view, event)
}

/// Whether an event of this look is a failure, and is news.
pub(super) fn is_new_failure(view: &View<'_>, event: &Event) -> bool {
    is_failure(view, event) && !event.seen && !is_no_news(view, event)
}

/// Whether what was reported late since the last look shows that the job was well when this alert opened, and since.
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

/// Whether a success that was reported late since the last look lies within the row for which this alert opened, so that the job stands
/// in a shorter one now, in which no success is newer than the trouble: it has never been in so long a row as an alert takes.
pub(super) fn shortened(view: &View<'_>, alert: &OpenAlert) -> Option<Correction> {
    let since = match alert.reason {
        Reason::Missed { deadline, .. } => deadline,
        Reason::Failed { at, .. } | Reason::TooShort { at, .. } | Reason::Unexpected { at, .. } => at,
        Reason::Overran { .. } => return None,
    };
    if last_good(view) > Some(since) {
        return None;
    }
    // Where that was none but in name, the one before it counts.
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

/// Each success since the job was last heard came before the deadline that followed the one before it.
fn no_deadline_was_missed(view: &View<'_>, alert: &OpenAlert, deadline: Time) -> Option<Answered> {
    let before = &view.reservation.conclusions;
    // Where it was heard too late in the meantime, the alert was right.
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

/// Whether these are successes, in their order, each before the alert was due that would have followed the end before it. The first
/// follows `heard`, when the job stood in a row of so many misses and failures.
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

/// An alert for a missed deadline that has closed.
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
    /// What shows that the job was well all the time, where the ends of its runs do by what is known now: some of them were reported when
    /// the alert had closed.
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
