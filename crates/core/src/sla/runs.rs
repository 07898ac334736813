//! Runs and their limit: which are over it, and which of them are to be told.
//!
//! The end of a run may be lost: then nothing will ever end it. So its limit is told once, and later runs let it go. What an alert
//! for another reason has kept from being told is told after that has closed.

use chrono::TimeDelta;
use uuid::Uuid;

use super::View;
use super::due::{Deadline, later, merged};
use crate::Time;
use crate::alert::{OpenAlert, Unobserved};
use crate::facts::Run;
use crate::reservation::Reservation;

/// Of a run whose start was reported late the end may be on the way, too: it has so long to arrive.
const END_ON_ITS_WAY: TimeDelta = TimeDelta::minutes(1);

/// A run that is going, and until when it must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunLimit<'a> {
    pub run: &'a Run,
    pub started_at: Time,
    pub max_run: TimeDelta,
    pub at: Time,
    pub unobserved: Option<Unobserved>,
}

impl RunLimit<'_> {
    /// Whether it was told that this limit is passed.
    pub fn is_told(&self) -> bool {
        self.run.told_at.is_some_and(|told| told >= later(self.started_at, self.max_run))
    }

    /// Whether a later run succeeded that began when this one had to be over: then it is, and its end was lost.
    fn is_over(&self, runs: &[Run]) -> bool {
        is_over(self.started_at, self.max_run, runs)
    }

    /// Whether it was noted, as told or as over without a word, and a run that began later has succeeded: it is let go for good,
    /// unless the alert that tells of it is open and the success was before.
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

    /// Whether it no longer keeps the alert open: a run that began later has succeeded after it.
    pub fn is_let_go(&self, alert: &OpenAlert, runs: &[Run]) -> bool {
        let since = alert.success_before.max(self.at.checked_sub_signed(TimeDelta::milliseconds(1)));
        let began_later =
            |run: &Run| run.started_at > Some(self.started_at) && run.ended_at >= run.started_at;
        runs.iter().any(|run| began_later(run) && run.ended_at > since)
    }
}

/// The limits of the runs that are going. A blind window in which its end may have been lost moves the limit of a run as it moves a
/// deadline, and excuses it for good when the job is heard after it: then another run has begun or ended, and nobody can say whether
/// this one still goes.
pub(super) fn run_limits<'a>(view: &View<'a>) -> Vec<RunLimit<'a>> {
    let Reservation { spec, facts, .. } = view.reservation;
    let Some(max_run) = spec.max_run else { return Vec::new() };
    let heard_at = facts.last_end_at().max(facts.last_start_at);
    // No end can have been refused of a run whose start was written after that.
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

/// Whether a run succeeded that began when one that began at `started_at` had to be over.
fn is_over(started_at: Time, max_run: TimeDelta, runs: &[Run]) -> bool {
    let allowed_until = later(started_at, max_run);
    runs.iter().any(|run| run.started_at >= Some(allowed_until) && run.ended_at >= run.started_at)
}

/// The runs that are over without a word and not yet noted as such, by their ids: a longer limit does not bring them back.
pub(super) fn over_without_a_word<'a>(view: &View<'a>) -> impl Iterator<Item = Option<Uuid>> + 'a {
    let Reservation { spec, facts, .. } = view.reservation;
    let (runs, max_run) = (view.runs, spec.max_run);
    runs.iter().filter_map(move |run| {
        let started_at = run.going_since(facts)?;
        let is_new = run.told_at.is_none_or(|noted| noted < started_at);
        (is_new && is_over(started_at, max_run?, runs)).then_some(run.run_id)
    })
}

/// Whether the run that began last is going: an earlier one whose end was lost is shown no more.
pub(super) fn is_running(view: &View<'_>) -> bool {
    let facts = &view.reservation.facts;
    let latest = view.runs.iter().filter_map(|run| run.going_since(facts)).max();
    latest.is_some_and(|started| facts.last_start_at.is_none_or(|last| last <= started))
}
