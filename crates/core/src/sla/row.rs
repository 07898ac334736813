//! The row of misses and failures that a job stands in.
//!
//! Each due instant counts once, missed or answered by its first failure; further failures count each; only a success ends the row.
//! What is silent counts too: only its telling waits for the snooze's end.

use super::View;
use super::due::{Anchor, missed};
use crate::Time;
use crate::alert::Reason;
use crate::checkin::CheckInKind;
use crate::facts::Event;
use crate::reservation::{MOST_ALERT_AFTER, Reservation};

/// The row as of the job's latest end.
pub(super) struct Row {
    /// Misses and failures up to then; none where that was a success.
    pub count: i64,
    /// Whether the latest end is a failure.
    pub bad: bool,
    /// Why an alert is due for failures that no success has followed.
    pub standing: Option<Reason>,
    /// Why one was due for failures that a success has followed since the last look.
    pub passed: Option<Reason>,
    /// The latest success that came too soon.
    pub short_at: Option<Time>,
}

/// A row while events are added to it.
struct Reader<'a> {
    view: &'a View<'a>,
    anchor: Anchor,
    count: i64,
    short_at: Option<Time>,
    /// The first reason to open an alert since the last look.
    crossed: Option<Reason>,
    /// A reason that waits for the end of a snooze.
    silent: Option<(Time, Reason)>,
    /// Whether no event since the last look is missing before the next one.
    is_complete: bool,
    /// What was before is no news.
    news_from: Option<Time>,
}

impl Row {
    /// Reads what has come since the last look.
    pub fn read(view: &View<'_>) -> Self {
        let Reservation { terms, facts, conclusions: before, .. } = view.reservation;
        let mut unseen = lost_failures(view);
        unseen.extend_from_slice(view.unseen);
        // Of one instant the failure comes first, as in the facts, where a success outdoes it.
        unseen.sort_by_key(|event| (event.at, event.kind != CheckInKind::Fail, event.exit_code));

        let (since, count, seen) = match view.anew {
            None => (before.heard_at, before.fail_streak, before.checkins_seen),
            Some(_) => (None, 0, 0),
        };
        let came = facts.checkins.saturating_sub(seen);
        let mut reader = Reader {
            view,
            anchor: Anchor::new(view.reservation, since),
            count,
            short_at: before.short_at,
            crossed: None,
            silent: waiting(view).filter(|_| view.anew.is_none()),
            is_complete: i64::try_from(view.unseen.len()).unwrap_or(i64::MAX) >= came,
            news_from: view.anew,
        };
        unseen.iter().for_each(|event| reader.add(event));
        let Reader { mut count, short_at, crossed, .. } = reader;

        // What is true now comes from the facts, which do not depend on the order of recording.
        let failed = facts.last_fail_at > facts.last_checkin_at;
        let latest = facts.last_end_at();
        let short = terms.min_run.is_some() && short_at.is_some() && short_at == latest;
        let bad = failed || short;
        // At least one: a success that is recorded late may precede the failure that was seen.
        count = if bad { count.max(1) } else { 0 };
        let is_standing = bad && count >= terms.alert_after;
        let known = || match latest? {
            at if failed => Some(Reason::Failed { at, exit_code: facts.last_exit_code, in_a_row: count }),
            at => Some(too_short(view, at)),
        };
        let (standing, passed) = match is_standing {
            true => (crossed.or_else(known), None),
            false => (None, crossed),
        };
        Self { count, bad, standing, passed, short_at }
    }
}

impl Reader<'_> {
    fn add(&mut self, event: &Event) {
        let terms = &self.view.reservation.terms;
        match (event.kind, event.duration, terms.min_run) {
            (CheckInKind::Fail, ..) => {
                let (at, exit_code) = (event.at, event.exit_code);
                self.failure(at, |in_a_row| Reason::Failed { at, exit_code, in_a_row });
            }
            (CheckInKind::Success, Some(took), Some(least)) if took < least => {
                self.short_at = self.short_at.max(Some(event.at));
                let reason = Reason::TooShort {
                    at: event.at,
                    took_ms: took.num_milliseconds(),
                    min_run_ms: least.num_milliseconds(),
                };
                self.failure(event.at, |_| reason);
            }
            (CheckInKind::Success, ..) => self.success(event.at),
            (CheckInKind::Start | CheckInKind::Log, ..) => {}
        }
    }

    fn success(&mut self, at: Time) {
        self.tell_what_waited(at);
        self.silent = None;
        if self.anchor.heard && at < self.anchor.at {
            // Recorded late: of what was counted, only the latest is known to have followed it.
            self.count = self.count.min(1);
            return;
        }
        (self.count, self.anchor, self.is_complete) = (0, Anchor { at, heard: true }, true);
    }

    fn failure(&mut self, at: Time, reason: impl FnOnce(i64) -> Reason) {
        self.tell_what_waited(at);
        let anchor = self.anchor;
        let succeeded = anchor.heard && self.count == 0;
        let in_a_row = if anchor.heard && (at < anchor.at || at == anchor.at && succeeded) {
            // Recorded late. One that a success has followed is no part of the row.
            let in_a_row = if succeeded { 1 } else { self.count.saturating_add(1) };
            self.count = if succeeded { 0 } else { in_a_row };
            in_a_row
        } else {
            let (missed, is_counted) = self.missed_until(at);
            self.count = self.count.saturating_add(missed).saturating_add(i64::from(!is_counted));
            (self.anchor, self.is_complete) = (Anchor { at, heard: true }, true);
            self.count
        };
        let alert_after = self.view.reservation.terms.alert_after;
        if in_a_row < alert_after || Some(at) < self.news_from {
            return;
        }
        // It is told of the failure that reaches it, or of the one after the misses that do.
        let in_a_row = in_a_row.min(alert_after);
        match self.view.reservation.conclusions.snoozed_until(at) {
            Some(until) if self.silent.is_none() => self.silent = Some((until, reason(in_a_row))),
            None if self.crossed.is_none() => self.crossed = Some(reason(in_a_row)),
            Some(_) | None => {}
        }
    }

    /// How many instants were missed since the anchor when a failure came at `at`, and whether one of them is what it answers.
    fn missed_until(&self, at: Time) -> (i64, bool) {
        let terms = &self.view.reservation.terms;
        // As far as any `alert_after` reaches, since it may be raised.
        let most = MOST_ALERT_AFTER.saturating_sub(self.count);
        if most <= 0 || !self.is_complete {
            return (0, false);
        }
        let most = usize::try_from(most).unwrap_or(1);
        let (missed, is_last) = missed(self.view, self.anchor, at, most, true);
        let is_early = terms.schedule.expected_after(at, true) != terms.schedule.following(at);
        (i64::try_from(missed).unwrap_or(i64::MAX), is_last && !is_early)
    }

    /// A reason that waited for the end of a snooze was told then, if nothing came before it.
    fn tell_what_waited(&mut self, now: Time) {
        if let Some((_, reason)) = self.silent.take_if(|(until, _)| *until <= now) {
            self.crossed.get_or_insert(reason);
        }
    }
}

/// The reason that waited for the end of a snooze at the last look.
fn waiting(view: &View<'_>) -> Option<(Time, Reason)> {
    let Reservation { terms, facts, conclusions: before, .. } = view.reservation;
    let at = before.heard_at.filter(|_| before.fail_streak >= terms.alert_after.max(1))?;
    let until = before.snoozed_until(at).filter(|_| view.open_alert.is_none())?;
    let exit_code = facts.last_exit_code.filter(|_| facts.last_fail_at == Some(at));
    Some((until, Reason::Failed { at, exit_code, in_a_row: before.fail_streak }))
}

/// The reason for the success at `at`, which came too soon after the start of its run.
fn too_short(view: &View<'_>, at: Time) -> Reason {
    let its_run = view.runs.iter().find(|run| run.ended_at == Some(at));
    let took = its_run.and_then(|run| run.started_at).map_or(0, |started| (at - started).num_milliseconds());
    let least = view.reservation.terms.min_run.unwrap_or_default();
    Reason::TooShort { at, took_ms: took.max(0), min_run_ms: least.num_milliseconds() }
}

/// The failures since the last look that the facts count and the history no longer has, as far as the facts
/// tell of them.
fn lost_failures(view: &View<'_>) -> Vec<Event> {
    let Reservation { facts, conclusions: before, .. } = view.reservation;
    let kept = view.unseen.iter().filter(|event| event.kind == CheckInKind::Fail).map(|event| event.at);
    // What is pruned is the oldest.
    let at = kept.clone().min().or(facts.last_fail_at);
    let kept = i64::try_from(kept.count()).unwrap_or(i64::MAX);
    let lost = facts.fails.saturating_sub(before.fails_seen).saturating_sub(kept);
    let lost = lost.clamp(0, MOST_ALERT_AFTER);
    let exit_code = facts.last_exit_code.filter(|_| kept == 0);
    let event = |at| Event { at, kind: CheckInKind::Fail, exit_code, duration: None };
    at.into_iter().flat_map(|at| (0..lost).map(move |_| event(at))).collect()
}
