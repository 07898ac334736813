//! The rules: from a spec, facts and a time to a conclusion with its reason.
//!
//! [`evaluate`] is the one place where it is decided whether a job is overdue. The sweeper acts on its
//! [`DueChange`], the pages show its [`State`], so the two cannot disagree.
//!
//! | rule | statement |
//! |---|---|
//! | last heard | the later of: last success, last failure, creation |
//! | expected at | the first scheduled instant after the job was last heard of |
//! | overdue | `now ≥ expected_at + grace` |
//! | respite | a blind window that touches a deadline moves it to its end + min(period, 1 h) + grace; all windows together move it by their own lengths and three such respites at most |
//! | snooze | no alert opens and no reminder is sent; trouble that lasts until its end is notified then. `quiet`: instants due inside have until its end + min(period, 1 h) + grace. `skip`: instants due inside are not expected, and an interval starts anew at the end |
//! | threshold | the alert opens at the `alert_after`-th miss or failure in a row; a due instant counts once, as missed or as answered by its first failure; each further failure counts too; an instant that a blind window touches does not count; only a success ends the row |
//! | run limit | a run is over its limit if it has not ended `max_run` after its start; this is notified once; the respite applies here too |
//! | lost end | a run is over if a run has succeeded that began after the limit of this one |
//! | reminder | every `remind_every`; with `each`, at each further failure that is news and at each further missed instant, at most one a look; none while snoozed |
//! | too short | a success sooner than `min_run` after its start is a failure |
//! | unexpected | a success whose figures break the expectations is a failure |
//! | nothing swallowed | failures are counted, so a failure followed by a success is still notified |
//! | recovery | a success later than the trouble, and no other trouble; after a run limit, the success must end that run or be of a run that began later |
//! | reported late | a late report of a success that was in time closes the alert, because it should not have opened; so does one that leaves less than `alert_after` of the alert's row; a failure that a later success followed is no news |
//! | changed | after a change of the fields by which an alert opened, it closes if the new values do not justify it |
//!
//! A failure counts as heard: a job that fails each hour has run each hour and has missed none.
//!
//! Where to start: [`evaluate`]. `due.rs` has the deadlines and what moves them, `row.rs` the
//! threshold, `runs.rs` the run limits, and `late.rs` the late reports.

mod due;
mod late;
mod row;
mod runs;

use chrono::TimeDelta;
use chrono_tz::Tz;
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::alert::{Cause, OpenAlert, Reason, time_and_day};
use crate::facts::{Event, Run};
use crate::reminders::Reminders;
use crate::reservation::{AlertStatus, Conclusions, MOST_ALERT_AFTER, Reservation, Window};
use crate::schedule::Schedule;
use crate::{Invalid, Time, word};
use due::{Anchor, Due, alert_due, first, later, missed, missed_next, remembered};
use late::{Answered, answered, is_new_failure, is_passed_over, shortened};

pub use late::PastMiss;
use row::Row;
use runs::{RunLimit, is_running, over_without_a_word, run_limits};

/// The entry among the changed fields that means that a person has accepted unexpected figures.
pub const ACCEPTED: &str = "accepted";

/// How soon a held reservation is looked at again, in case its site is removed meanwhile.
const HELD_AGAIN: TimeDelta = TimeDelta::seconds(30);
/// How soon a reservation is looked at again whose alert has closed while one of its runs is over its limit without a
/// notification.
const AT_ONCE: TimeDelta = TimeDelta::milliseconds(1);
/// How soon a reservation is looked at again if nothing is due on it.
const SOME_TIME: TimeDelta = TimeDelta::days(1);

/// Everything that a conclusion is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The reservation, its facts and the last conclusions.
    pub reservation: &'a Reservation,
    /// Its runs; needed if it has run limits, and to show that a run is in progress.
    pub runs: &'a [Run],
    /// Its check-ins since the last look; needed if there are new failures, if it stands in a row of failures, or if
    /// `min_run` or `expect` is set.
    pub unseen: &'a [Event],
    /// When a run ended whose start was recorded only after the last look had seen that end. The row is then counted
    /// anew from the events in `unseen`, which reach back further.
    pub anew: Option<Time>,
    /// Whether a run's end was reported late that is before the last end known at the last look. The row is then
    /// counted anew from the events in `unseen`, which reach back further.
    pub is_mended: bool,
    /// The alert that is open on it.
    pub open_alert: Option<&'a OpenAlert>,
    /// Whether it stands behind a site that is silent.
    pub behind_silent_site: bool,
    /// Spans in which its check-ins could not be recorded, or could not arrive.
    pub blind: &'a [Window],
    /// The span in which its successes, and only they, were refused.
    pub refused: Option<RefusedSpan>,
}

impl<'a> View<'a> {
    /// A view of the reservation and its open alert alone.
    pub fn of(reservation: &'a Reservation, open_alert: Option<&'a OpenAlert>) -> Self {
        Self {
            reservation,
            runs: &[],
            unseen: &[],
            anew: None,
            is_mended: false,
            open_alert,
            behind_silent_site: false,
            blind: &[],
            refused: None,
        }
    }
}

/// The span in which the database refused successes of one job while it recorded the check-ins of
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedSpan {
    /// From the first to the last refused success.
    pub window: Window,
    /// When the next success would be expected if the last refused one had been recorded; at most now.
    pub next: Time,
}

impl RefusedSpan {
    /// The span with this window, of a job on this schedule, as known at `now`.
    pub fn new(window: Window, schedule: &Schedule, now: Time) -> Self {
        let next = schedule.expected_after_checkin(window.until).unwrap_or(window.until);
        Self { window, next: next.min(now).max(window.until) }
    }

    /// The blind window of this span, if the job was last heard at `heard`. It lasts until `next`,
    /// but if the job has been heard after the last refusal, only until that refusal.
    fn blind(&self, heard: Option<Time>) -> Window {
        let is_over = heard > Some(self.window.until);
        Window { until: if is_over { self.window.until } else { self.next }, ..self.window }
    }
}

/// What a reservation is shown as, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// An alert is open.
    Down,
    /// The deadline has passed; no alert is open yet.
    Overdue,
    /// Overdue behind a silent site.
    Held,
    /// It was due while no check-in could be recorded.
    Unobserved,
    /// Expected, and within its grace.
    Late,
    /// A run is in progress.
    Running,
    /// It has never checked in and is not yet due.
    New,
    /// Notifications are suppressed until a time.
    Snoozed,
    /// All is well.
    Up,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Reads the word; `field` names it in an error.
    pub fn parse(field: &'static str, word: &str) -> Result<Self, Invalid> {
        word.parse().map_err(|_| {
            Invalid::new(field, format!("{word:?} is not a state; allowed: {}", word::allowed::<Self>()))
        })
    }

    /// The rank of states that need action, the worst first (0); all other states share the last rank.
    pub fn severity(self) -> usize {
        let bad = [Self::Down, Self::Overdue, Self::Held, Self::Unobserved, Self::Late];
        bad.iter().position(|state| *state == self).unwrap_or(bad.len())
    }

    /// The word for it in JSON and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The action that the sweeper must take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueChange {
    /// Nothing.
    None,
    /// Open an alert and notify its opening.
    Open(Reason),
    /// Send a reminder of the open alert, with the new failure or miss if that is the cause of the reminder.
    Remind(Option<Reason>),
    /// Close the open alert and notify the recovery.
    Recover,
    /// Close the open alert, because a late report shows that the job was well; notify that, and when it had run.
    Answer(Correction),
    /// Open and close an alert, with one message: the trouble began and ended between two looks.
    OpenAndRecover(Reason),
    /// Close the open alert, because the fields by which it opened were changed and no longer
    /// justify it: "schedule changed: not overdue by it". Runs that were notified since it opened
    /// count as not notified.
    Withdraw(String),
}

/// The late report that shows that a job with an open alert was well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// A success at this time, which was in time.
    HadRun(Time),
    /// The end, at this time, of the run that the alert names, which was in time.
    HadEnded(Time),
}

impl Correction {
    /// As a clause: "it had run at 02:00 on Wed 25 Nov (Europe/Berlin)".
    pub fn words(self, now: Time, zone: Tz) -> String {
        match self {
            Self::HadRun(at) => format!("it had run at {}", time_and_day(at, now, zone)),
            Self::HadEnded(at) => format!("its run had ended at {}", time_and_day(at, now, zone)),
        }
    }
}

/// A conclusion with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The state to show.
    pub state: State,
    /// When the next check-in is due by the schedule.
    pub expected_at: Time,
    /// The latest time at which it counts as in time.
    pub deadline: Time,
    /// Whether the deadline has passed.
    pub overdue: bool,
    /// The number of consecutive misses and failures, at most `alert_after`.
    pub in_a_row: i64,
    /// The action to take.
    pub change: DueChange,
    /// The ids of the runs to mark as noted: the run over its limit that the alert names, and the
    /// runs that are over without a report of their end.
    pub told_runs: Vec<Option<Uuid>>,
    /// The new value of [`OpenAlert::answered_until`], if late reports have moved it.
    pub answered_until: Option<Time>,
    /// The times of failures that were reported late, after a later success. Only the summary
    /// mentions them.
    pub passed_over: Vec<Time>,
    /// The conclusions to store.
    pub conclusions: Conclusions,
}

impl Conclusions {
    /// The conclusions about a reservation of which only the spec is known.
    pub fn first(reservation: &Reservation, now: Time) -> Self {
        evaluate(&View::of(reservation, None), now).conclusions
    }
}

/// Draws the conclusion about one reservation at `now`.
pub fn evaluate(view: &View<'_>, now: Time) -> Evaluation {
    let Reservation { spec, facts, conclusions: before, .. } = view.reservation;
    let snoozed = before.snoozes.at(now).is_some();
    let row = Row::read(view);

    let first = first(view).unwrap_or(Due::never(now));
    let needed = spec.alert_after.saturating_sub(row.count).clamp(1, MOST_ALERT_AFTER) as usize;
    let alert_due = alert_due(view, needed).unwrap_or(Due::never(now));
    let missed_by_now = match spec.alert_after {
        ..=1 => i64::from(alert_due.deadline <= now),
        _ => missed(view, Anchor::latest(view.reservation), now, needed, false).0 as i64,
    };
    let in_a_row = row.count.saturating_add(missed_by_now).min(spec.alert_after);
    let overdue = first.deadline <= now || missed_by_now > 0;

    let limits = run_limits(view);
    let passed: Vec<&RunLimit<'_>> = limits.iter().filter(|limit| limit.at <= now).collect();
    let stuck = passed.iter().filter(|limit| !limit.is_told()).min_by_key(|limit| limit.at);
    let run_limit = limits.iter().map(|limit| limit.at).filter(|at| *at > now).min();

    let missed = (alert_due.deadline <= now).then_some(Reason::Missed {
        expected_at: alert_due.expected_at,
        deadline: alert_due.deadline,
        in_a_row: spec.alert_after,
        unobserved: alert_due.unobserved,
    });
    // If a success has come since, an alert may just have closed. This look notifies its end, and
    // the next one notifies the overrun.
    let is_next_look = |limit: &RunLimit<'_>| facts.last_checkin_at < Some(limit.at) || before.wake_at <= now;
    let is_to_be_told = |limit: &RunLimit<'_>| view.open_alert.is_none() && is_next_look(limit);
    let overran = stuck.filter(|limit| is_to_be_told(limit)).map(|limit| Reason::Overran {
        started_at: limit.started_at,
        max_run_ms: limit.max_run.num_milliseconds(),
        unobserved: limit.unobserved,
    });
    let is_borne_out = row.standing.is_some() || missed.is_some() || !passed.is_empty();
    let is_silent = missed.is_some() || overdue;
    // A failure report arrived through the site's network, so a silent site does not hold it.
    let silence = overran.or(missed);
    let is_missed_again = spec.remind_every == Reminders::Each && view.open_alert.is_some() && overdue;
    let is_held_back = view.behind_silent_site && !snoozed && !spec.is_site;
    let held = is_held_back && (silence.is_some() || is_missed_again);

    let answered = view.open_alert.filter(|_| !row.bad).and_then(|alert| answered(view, alert));
    let shortened = view
        .open_alert
        .filter(|_| (1..spec.alert_after).contains(&in_a_row))
        .filter(|alert| passed.iter().all(|limit| limit.is_let_go(alert, view.runs)))
        .and_then(|alert| shortened(view, alert));
    let change = match view.open_alert {
        Some(alert) if is_accepted(before, alert) && !row.bad && !is_silent => {
            DueChange::Withdraw("its figures were accepted as right from now on".to_owned())
        }
        Some(alert)
            if !row.bad
                && !is_silent
                && (facts.last_checkin_at > alert.success_before || answered.is_some())
                && passed.iter().all(|limit| limit.is_let_go(alert, view.runs)) =>
        {
            answered.map_or(DueChange::Recover, |answered| DueChange::Answer(answered.by))
        }
        Some(alert) => match &before.changed {
            Some(changed)
                if concerns(changed, alert) && !is_borne_out && !bears_out(view, alert, needed, now) =>
            {
                DueChange::Withdraw(withdrawn(alert, changed))
            }
            _ if snoozed => DueChange::None,
            _ => reminder(view, alert, &row, held, now),
        },
        None if snoozed => DueChange::None,
        None => match (row.standing, row.passed, silence) {
            (Some(reason), _, _) => DueChange::Open(reason),
            (None, Some(reason), None) if !row.bad => DueChange::OpenAndRecover(reason),
            (None, Some(reason), _) => DueChange::Open(reason),
            (None, None, Some(reason)) if !held => DueChange::Open(reason),
            (None, None, _) => DueChange::None,
        },
    };
    let change = shortened.map_or(change, DueChange::Answer);

    let down = match change {
        DueChange::Open(_) | DueChange::Remind(_) => true,
        DueChange::Recover | DueChange::Answer(_) | DueChange::OpenAndRecover(_) | DueChange::Withdraw(_) => {
            false
        }
        DueChange::None => view.open_alert.is_some(),
    };
    // An alert does not report a run that it does not name. If that run is still in progress when
    // the alert has closed, it is notified then.
    let named = match (&change, view.open_alert) {
        (DueChange::Open(reason), _) => reason.run(),
        (_, Some(alert)) if down => alert.reason.run(),
        (_, _) => None,
    };
    let told = passed.iter().filter(|limit| !limit.is_told() && named == Some(limit.started_at));
    let told_runs = in_order(told.map(|limit| limit.run.run_id).chain(over_without_a_word(view)).collect());
    let told_at = match change {
        DueChange::Open(_) | DueChange::Remind(_) => now,
        _ => view.open_alert.map_or(now, |alert| alert.told_at),
    };
    let reminder = match spec.remind_every {
        _ if !down || snoozed => None,
        Reminders::Never => None,
        Reminders::Every(every) => Some(later(told_at, every)),
        Reminders::Each => missed_next(view, told_at).map(|due| due.deadline),
    };
    let wake_at = [
        Some(alert_due.deadline).filter(|_| !down),
        run_limit.filter(|_| !down),
        reminder,
        before.snoozes.silent_until(now),
        held.then(|| later(now, HELD_AGAIN)),
        stuck.filter(|_| !down && !snoozed && !held).map(|_| later(now, AT_ONCE)),
        Some(later(now, SOME_TIME)),
    ]
    .into_iter()
    .flatten()
    .filter(|at| *at > now)
    .min()
    .unwrap_or(later(now, SOME_TIME));

    // A check-in can end a respite, and the next deadline may then be earlier than `wake_at`.
    let has_respite = [alert_due, first].iter().any(|due| due.unobserved.is_some() || due.snoozed);

    let state = match () {
        () if snoozed => State::Snoozed,
        () if down => State::Down,
        () if held => State::Held,
        () if overdue => State::Overdue,
        () if is_running(view) => State::Running,
        () if first.unobserved.is_some() && first.expected_at <= now => State::Unobserved,
        () if first.expected_at <= now => State::Late,
        () if facts.is_new() => State::New,
        () => State::Up,
    };
    let known = view.open_alert.and_then(|alert| alert.answered_until);
    let answered_until = answered
        .filter(|_| down)
        .and_then(|Answered { until, .. }| until)
        .filter(|until| Some(*until) != known);
    let passed_over =
        view.unseen.iter().filter(|event| is_passed_over(view, event)).map(|event| event.at).collect();
    let status = match (down, facts.is_new()) {
        (true, _) => AlertStatus::Down,
        (false, true) => AlertStatus::New,
        (false, false) => AlertStatus::Up,
    };
    Evaluation {
        state,
        expected_at: first.expected_at,
        deadline: first.deadline,
        overdue,
        in_a_row,
        change,
        told_runs,
        answered_until,
        passed_over,
        conclusions: Conclusions {
            status,
            wake_at,
            snoozes: remembered(view, now),
            changed: None,
            fails_seen: facts.fails,
            checkins_seen: facts.checkins,
            fail_streak: row.count,
            heard_at: facts.last_end_at(),
            short_at: row.short_at,
            unexpected: row.unexpected,
            // With `min_run` or `expect` any success may be a failure. A recorded start is not
            // needed for `min_run`, because a report may carry the duration of its run.
            eager: spec.min_run.is_some()
                || !spec.expect.is_empty()
                || (spec.max_run.is_some() && facts.last_start_at.is_some())
                || has_respite,
            reported_late: false,
        },
    }
}

/// The reminder that the alert needs, outside of snoozes. `held` says that the job is silent behind
/// a silent site.
fn reminder(view: &View<'_>, alert: &OpenAlert, row: &Row, held: bool, now: Time) -> DueChange {
    let Reservation { spec, facts, conclusions: before, .. } = view.reservation;
    match spec.remind_every {
        Reminders::Never => DueChange::None,
        Reminders::Every(every) if !held && later(alert.told_at, every) <= now => DueChange::Remind(None),
        Reminders::Every(_) => DueChange::None,
        Reminders::Each => {
            // A reminder that falls into a snooze waits for the end of the snooze.
            let was_silent = || {
                let until = facts.last_end_at().and_then(|at| before.snoozed_until(at));
                until > Some(alert.told_at)
            };
            let has_failed = || view.unseen.iter().any(|event| is_new_failure(view, event));
            if row.bad && (has_failed() || was_silent()) {
                return DueChange::Remind(row.latest.clone());
            }
            match missed_next(view, alert.told_at).filter(|due| !held && due.deadline <= now) {
                Some(due) => DueChange::Remind(missed_since(view, alert, row, due, now)),
                None => DueChange::None,
            }
        }
    }
}

/// The reason of a reminder for a missed instant; `None` if the alert already names that instant.
fn missed_since(view: &View<'_>, alert: &OpenAlert, row: &Row, due: Due, now: Time) -> Option<Reason> {
    if alert.reason.cause() == Cause::Missed && !row.bad {
        return None;
    }
    let most = MOST_ALERT_AFTER as usize;
    let since = missed(view, Anchor::latest(view.reservation), now, most, false).0 as i64;
    Some(Reason::Missed {
        expected_at: due.expected_at,
        deadline: due.deadline,
        in_a_row: row.count.saturating_add(since),
        unobserved: due.unobserved,
    })
}

/// The ids sorted, so that the result does not depend on the order of the rows.
fn in_order(mut ids: Vec<Option<Uuid>>) -> Vec<Option<Uuid>> {
    ids.sort_unstable();
    ids
}

/// Whether a person has accepted the figures for which this alert opened.
fn is_accepted(before: &Conclusions, alert: &OpenAlert) -> bool {
    let changed = before.changed.as_deref().unwrap_or_default();
    matches!(alert.reason, Reason::Unexpected { .. }) && changed.split(", ").any(|field| field == ACCEPTED)
}

/// Whether the changed fields include one by which this alert opened.
fn concerns(changed: &str, alert: &OpenAlert) -> bool {
    let spec: &[&str] = match alert.reason.cause() {
        Cause::Missed => &["schedule", "grace", "alert_after"],
        Cause::Overran => &["max_run"],
        Cause::Failed => &["alert_after", "min_run", "expect"],
    };
    changed.split(", ").any(|field| spec.contains(&field))
}

/// Whether the alert would be open by the present spec, from the facts known when it opened.
///
/// Three things do not count against it: a later start that hides the alert's run, a blind window
/// that became known later, and a snooze from an older version, which has no beginning of its own.
fn bears_out(view: &View<'_>, alert: &OpenAlert, needed: usize, now: Time) -> bool {
    match alert.reason {
        Reason::Overran { started_at, .. } => {
            let its_run = view.runs.iter().find(|run| run.started_at == Some(started_at));
            let ended_at = its_run.and_then(|run| run.ended_at).max(view.reservation.facts.runs_over_at);
            let until = ended_at.filter(|ended| *ended >= started_at).unwrap_or(now);
            view.reservation.spec.max_run.is_some_and(|max_run| later(started_at, max_run) <= until)
        }
        Reason::Missed { .. } => {
            let mut reservation = view.reservation.clone();
            let snoozes = &mut reservation.conclusions.snoozes;
            *snoozes = snoozes.iter().copied().filter(|snooze| !snooze.holds(alert.opened_at)).collect();
            let seeing = View { reservation: &reservation, blind: &[], refused: None, ..*view };
            alert_due(&seeing, needed).is_some_and(|due| due.deadline <= now)
        }
        Reason::Failed { .. } | Reason::TooShort { .. } | Reason::Unexpected { .. } => false,
    }
}

/// Why the alert closes after a change; `changed` names the changed fields.
fn withdrawn(alert: &OpenAlert, changed: &str) -> String {
    let why = match alert.reason.cause() {
        Cause::Missed => "not overdue by it",
        Cause::Overran => "no run is over its limit by it",
        Cause::Failed => "no alert is due by it",
    };
    format!("{changed} changed: {why}")
}
