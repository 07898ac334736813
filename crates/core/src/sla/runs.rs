//! Run limits: which runs are over their limit, and which of them to notify.
//!
//! The report of a run's end may be lost, and then nothing ends the run. So its limit is notified
//! once, and it no longer matters once later runs succeed. While an alert is open for another
//! reason, the limit is not notified; it is notified after that alert has closed.

use chrono::TimeDelta;
use uuid::Uuid;

use super::View;
use super::due::{Deadline, later, merged};
use crate::Time;
use crate::alert::{OpenAlert, Unobserved};
use crate::facts::Run;
use crate::reservation::Reservation;

/// If the start of a run was reported late, the report of its end may be late too. It has this long
/// to arrive.
const END_ON_ITS_WAY: TimeDelta = TimeDelta::minutes(1);

/// A run in progress, and when it must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunLimit<'a> {
    pub run: &'a Run,
    pub started_at: Time,
    pub max_run: TimeDelta,
    pub at: Time,
    pub unobserved: Option<Unobserved>,
}

impl RunLimit<'_> {
    /// Whether it has been notified that this limit has passed.
    pub fn is_told(&self) -> bool {
        self.run.told_at.is_some_and(|told| told >= later(self.started_at, self.max_run))
    }

    /// Whether a run succeeded that began after the limit of this one. Then this one is
    /// over, and the report of its end was lost.
    fn is_over(&self, runs: &[Run]) -> bool {
        is_over(self.started_at, self.max_run, runs)
    }

    /// Whether the run was noted, as notified or as over without a report, and a run that began
    /// later has succeeded. Then it does not matter any more. While an alert is open that may name
    /// it, the success must also have come after the note.
    fn was_let_go(&self, view: &View<'_>) -> bool {
        let told = self.run.told_at.filter(|told| *told >= self.started_at);
        told.is_some_and(|told| {
            let is_open = view.open_alert.is_some_and(|alert| alert.opened_at <= told);
            view.runs.iter().any(|run| {
                run.started_at > Some(self.started_at)
                    && run.ended_at >= run.started_at
                    && (!is_open || run.ended_at > Some(told))
            })
        })
    }

    /// Whether it no longer keeps the alert open, because a run that began later has succeeded
    /// since.
    pub fn is_let_go(&self, alert: &OpenAlert, runs: &[Run]) -> bool {
        let since = alert.success_before.max(self.at.checked_sub_signed(TimeDelta::milliseconds(1)));
        let began_later =
            |run: &Run| run.started_at > Some(self.started_at) && run.ended_at >= run.started_at;
        runs.iter().any(|run| began_later(run) && run.ended_at > since)
    }
}

/// The limits of the runs in progress. A blind window in which the report of an end may have been
/// lost moves the limit of the run as it moves a deadline. If the job is heard after the window,
/// the limit no longer applies: another run has begun or ended by then, and it is unknown whether
/// this one is still in progress.
pub(super) fn run_limits<'a>(view: &View<'a>) -> Vec<RunLimit<'a>> {
    let Reservation { spec, facts, .. } = view.reservation;
    let Some(max_run) = spec.max_run else { return Vec::new() };
    let heard_at = facts.last_end_at().max(facts.last_start_at);
    // No end can have been refused of a run whose start was recorded after the refusals.
    let refused = view.refused.map(|refused| refused.blind(heard_at));
    let blind = merged(view.blind.iter().copied().chain(refused));
    view.runs
        .iter()
        .filter_map(|run| Some((run, run.going_since(facts)?)))
        .filter_map(|(run, started_at)| {
            let period = spec.schedule.period_at(started_at);
            let at_the_soonest = run.start_arrived_at.map(|arrived| later(arrived, END_ON_ITS_WAY));
            let at = at_the_soonest.max(Some(later(started_at, max_run))).unwrap_or(started_at);
            let mut limit = Deadline::new(at, period, spec.grace);
            for window in blind.iter().filter(|window| window.until >= started_at) {
                if !limit.is_reached_by(window) {
                    break;
                }
                if heard_at > Some(window.until) {
                    return None;
                }
                limit.move_for(window);
            }
            Some(RunLimit { run, started_at, max_run, at: limit.at, unobserved: limit.unobserved })
        })
        .filter(|limit| !limit.is_over(view.runs) && !limit.was_let_go(view))
        .collect()
}

/// Whether a run succeeded that began after the limit of the run that began at `started_at`.
fn is_over(started_at: Time, max_run: TimeDelta, runs: &[Run]) -> bool {
    let allowed_until = later(started_at, max_run);
    runs.iter().any(|run| run.started_at >= Some(allowed_until) && run.ended_at >= run.started_at)
}

/// The ids of the runs that are over without a report of their end and are not yet noted as such.
/// Once they are noted, a longer limit does not bring them back.
pub(super) fn over_without_a_word<'a>(view: &View<'a>) -> impl Iterator<Item = Option<Uuid>> + 'a {
    let Reservation { spec, facts, .. } = view.reservation;
    let (runs, max_run) = (view.runs, spec.max_run);
    runs.iter().filter_map(move |run| {
        let started_at = run.going_since(facts)?;
        let is_new = run.told_at.is_none_or(|noted| noted < started_at);
        (is_new && is_over(started_at, max_run?, runs)).then_some(run.run_id)
    })
}

/// Whether the run that began last is in progress. An earlier run whose end was lost is no longer
/// shown.
pub(super) fn is_running(view: &View<'_>) -> bool {
    let facts = &view.reservation.facts;
    let latest = view.runs.iter().filter_map(|run| run.going_since(facts)).max();
    latest.is_some_and(|started| facts.last_start_at.is_none_or(|last| last <= started))
}
