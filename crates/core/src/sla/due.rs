//! When a job is due: what its schedule and its run limit ask for, and how far spans in which it could not have been heard move that.

use chrono::TimeDelta;

use super::View;
use crate::alert::Unobserved;
use crate::reservation::{Reservation, Window};
use crate::schedule::{EARLY, Schedule};
use crate::{Time, duration};

/// The most that a blind window gives to a job to be heard again, before its grace.
const MOST_RESPITE: TimeDelta = TimeDelta::hours(1);
/// So many whole respites are given to one silence, however many windows touch it.
const MOST_RESPITES: usize = 3;

/// What the schedule counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Creation,
    CheckIn,
    SnoozeEnd,
}

/// When the job was last heard of, or excused from being heard.
pub(super) fn heard(reservation: &Reservation) -> (Time, Heard) {
    let snooze = reservation.conclusions.snoozed_until.map(|at| (at, Heard::SnoozeEnd));
    let checkin = reservation.facts.last_end_at().map(|at| (at, Heard::CheckIn));
    [snooze, checkin].into_iter().flatten().fold((reservation.created_at, Heard::Creation), |latest, next| {
        if next.0 >= latest.0 { next } else { latest }
    })
}

/// One expected instant and its deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub expected_at: Time,
    pub deadline: Time,
    pub unobserved: Option<Unobserved>,
}

impl Due {
    /// Beyond the end of the calendar.
    pub fn never(now: Time) -> Self {
        let far = later(now, duration::LONGEST);
        Self { expected_at: far, deadline: far, unobserved: None }
    }
}

/// A deadline that blind windows move.
///
/// A window moves it to its end and a respite: the period, an hour at most, and the grace. All windows together move it by their
/// own lengths and [`MOST_RESPITES`] respites at most: what is left of these is used up bit by bit, so that several windows within
/// a minute cost little more than one. Without that bound, restarts more often than a job's period would silence it for ever.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Time,
    latest: Time,
    respite: TimeDelta,
    grace: TimeDelta,
    unobserved: Option<Unobserved>,
}

impl Deadline {
    /// The deadline at `at` of a job that is given `respite` and `grace` after a blind window.
    fn new(at: Time, period: TimeDelta, grace: TimeDelta) -> Self {
        let respite = period.min(MOST_RESPITE);
        let latest = (0..MOST_RESPITES).fold(at, |at, _| later(later(at, respite), grace));
        Self { at, latest, respite, grace, unobserved: None }
    }

    /// Whether the window begins in time to move it.
    fn is_reached_by(&self, window: &Window) -> bool {
        window.from <= self.at
    }

    /// Moves it for a window that touches it; to `at_least`, as far as the bound allows.
    fn move_for(&mut self, window: &Window, at_least: Time) {
        let after = later(later(window.until, self.respite), self.grace);
        self.latest = later(self.latest, window.until - window.from);
        self.at = self.at.max(after).max(at_least).min(self.latest);
        self.unobserved = Some(self.unobserved.map_or(Unobserved::from(*window), |known| known.and(*window)));
    }
}

/// Spans that overlap or follow each other at once as one, the earliest first; those that end before they begin left out.
fn merged(windows: impl Iterator<Item = Window>) -> Vec<Window> {
    let mut windows: Vec<Window> = windows.filter(|window| window.from <= window.until).collect();
    windows.sort_unstable_by_key(|window| (window.from, window.until));
    windows.dedup_by(|next, before| {
        let joined = next.from <= before.until;
        if joined {
            before.until = before.until.max(next.until);
        }
        joined
    });
    windows
}

/// The blind windows that matter, the earliest first: not those before the job was heard or made, since nothing of what was to come
/// after that can have been lost in them.
fn blind(view: &View<'_>) -> Vec<Window> {
    let (heard_at, by) = heard(view.reservation);
    let over = |window: &Window| by != Heard::SnoozeEnd && window.until <= heard_at;
    let refused = view.refused.map(|refused| refused.blind(view.reservation.facts.last_end_at()));
    merged(view.blind.iter().copied().chain(refused).filter(|window| !over(window)))
}

/// The expected instants since the job was last heard of, with their deadlines, first first. No deadline is earlier than the one
/// before it.
pub(super) fn deadlines<'a>(view: &View<'a>) -> impl Iterator<Item = Due> + use<'a> {
    let schedule = &view.reservation.terms.schedule;
    let grace = view.reservation.terms.grace;
    let blind = blind(view);
    let first = first_expected(view.reservation);
    std::iter::successors(first, |expected_at| schedule.following(*expected_at)).scan(
        None,
        move |before: &mut Option<Due>, expected_at| {
            let mut deadline = plain(schedule, expected_at, grace);
            for window in &blind {
                if !deadline.is_reached_by(window) {
                    break;
                }
                if later(window.until, EARLY) >= expected_at {
                    deadline.move_for(window, window.until);
                }
            }
            let mut due = Due { expected_at, deadline: deadline.at, unobserved: deadline.unobserved };
            if let Some(before) = before.filter(|before| before.deadline > due.deadline) {
                due.deadline = before.deadline;
                due.unobserved = due.unobserved.or(before.unobserved);
            }
            *before = Some(due);
            Some(due)
        },
    )
}

/// The deadline of this instant, before any window moves it.
fn plain(schedule: &Schedule, expected_at: Time, grace: TimeDelta) -> Deadline {
    let in_time = later(expected_at, schedule.leeway(expected_at));
    Deadline::new(later(in_time, grace), schedule.period_at(expected_at), grace)
}

/// The deadline at which the job has missed `missing` instants in a row.
///
/// Where several are asked for, the row begins anew after a blind window that touches it: the window moves all that lie in it
/// to its end, and one miss after it must not count as many. The bound of [`Deadline`] holds for the row as for one instant.
pub(super) fn alert_due(view: &View<'_>, missing: usize) -> Option<Due> {
    let Reservation { terms, .. } = view.reservation;
    let due = deadlines(view).nth(missing - 1)?;
    if terms.alert_after <= 1 {
        return Some(due);
    }
    let first = deadlines(view).next()?;
    let mut expected_at = due.expected_at;
    let mut deadline = plain(&terms.schedule, expected_at, terms.grace);
    for window in &blind(view) {
        if !deadline.is_reached_by(window) {
            break;
        }
        if later(window.until, EARLY) < first.expected_at {
            continue;
        }
        let anew = terms.schedule.expected_after(window.until, false);
        let anew = std::iter::successors(anew, |at| terms.schedule.following(*at)).nth(missing - 1);
        deadline.move_for(window, anew.map_or(Time::MAX_UTC, |at| later(at, terms.grace)));
        expected_at = anew.filter(|at| *at <= deadline.at).unwrap_or(expected_at);
    }
    Some(Due { expected_at, deadline: deadline.at.max(first.deadline), unobserved: deadline.unobserved })
}

/// The first expected instant since the job was last heard of, or excused.
fn first_expected(reservation: &Reservation) -> Option<Time> {
    let schedule = &reservation.terms.schedule;
    let (heard_at, by) = heard(reservation);
    let expected_at = schedule.expected_after(heard_at, by == Heard::CheckIn)?;
    match reservation.facts.last_end_at().filter(|_| by != Heard::CheckIn) {
        // A check-in shortly before the snooze's end may count for the instant shortly after it.
        Some(checkin) => Some(expected_at.max(schedule.expected_after(checkin, true)?)),
        None => Some(expected_at),
    }
}

/// Until when a run that is going must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunLimit {
    pub started_at: Time,
    pub max_run: TimeDelta,
    pub at: Time,
    pub unobserved: Option<Unobserved>,
}

/// The limits of the runs that are going. A snooze excuses a run until its end. A blind window in which its end may have been lost
/// moves its limit as it moves a deadline, and excuses it for good when the job is heard after it: then another run has begun
/// or ended, and nobody can say whether this one still goes.
pub(super) fn run_limits(view: &View<'_>) -> Vec<RunLimit> {
    let Reservation { terms, facts, conclusions, .. } = view.reservation;
    let Some(max_run) = terms.max_run else { return Vec::new() };
    let heard_at = facts.last_end_at().max(facts.last_start_at);
    // No end can have been refused of a run whose start was written after that.
    let refused = view.refused.map(|refused| refused.blind(heard_at));
    let blind = merged(view.blind.iter().copied().chain(refused));
    view.runs
        .iter()
        .filter_map(|run| run.going_since(facts))
        .filter_map(|started_at| {
            let counted_from = conclusions.snoozed_until.map_or(started_at, |until| until.max(started_at));
            let period = terms.schedule.period_at(started_at);
            let mut limit = Deadline::new(later(counted_from, max_run), period, terms.grace);
            for window in blind.iter().filter(|window| window.until >= started_at) {
                if !limit.is_reached_by(window) {
                    break;
                }
                if heard_at > Some(window.until) {
                    return None;
                }
                limit.move_for(window, window.until);
            }
            Some(RunLimit { started_at, max_run, at: limit.at, unobserved: limit.unobserved })
        })
        .collect()
}

/// `at` and `by` later, or the end of the calendar.
pub(super) fn later(at: Time, by: TimeDelta) -> Time {
    at.checked_add_signed(by).unwrap_or(Time::MAX_UTC)
}
