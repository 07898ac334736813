//! The row: the consecutive misses and failures of a job.
//!
//! A due instant counts once, as missed or as answered by its first failure. Each further failure
//! counts too. Only a success ends the row. Misses and failures during a snooze count too; only
//! their notification waits for the end of the snooze.

use super::View;
use super::due::{Anchor, missed};
use super::late::{is_failure, is_no_news};
use crate::Time;
use crate::alert::Reason;
use crate::checkin::CheckInKind;
use crate::expect::Unexpected;
use crate::facts::Event;
use crate::reservation::{MOST_ALERT_AFTER, Reservation};

/// The row at the latest end of a run.
pub(super) struct Row {
    /// The number of misses and failures up to that end; 0 if it was a success.
    pub count: i64,
    /// Whether the latest end is a failure.
    pub bad: bool,
    /// The reason for an alert about failures that no success has followed.
    pub standing: Option<Reason>,
    /// The reason that describes the latest end, if that is a failure.
    pub latest: Option<Reason>,
    /// The reason for an alert about failures that a success has followed since the last look.
    pub passed: Option<Reason>,
    /// The latest success that came sooner than `min_run` allows.
    pub short_at: Option<Time>,
    /// The latest success with unexpected figures.
    pub unexpected: Option<Unexpected>,
}

/// A row while events are added to it.
struct Reader<'a> {
    view: &'a View<'a>,
    anchor: Anchor,
    count: i64,
    short_at: Option<Time>,
    unexpected: Option<Unexpected>,
    /// The first reason to open an alert since the last look.
    crossed: Option<Reason>,
    /// A reason that waits for the end of a snooze, and that end.
    silent: Option<(Time, Reason)>,
    /// Whether all events between the last look and the next event to add are known.
    is_complete: bool,
    /// Failures before this time are no news.
    news_from: Option<Time>,
    /// Whether the row is being counted anew. Then events that were seen before or were reported
    /// late are no news.
    is_mending: bool,
}

impl Row {
    /// Computes the row from the events since the last look.
    pub fn read(view: &View<'_>) -> Self {
        let Reservation { spec, facts, conclusions: before, .. } = view.reservation;
        let mut unseen = lost_failures(view);
        unseen.extend(view.unseen.iter().filter(|event| !is_no_news(view, event)).cloned());
        // At the same instant a failure comes first and a success overrides it, as in the facts.
        unseen.sort_by_key(|event| (event.at, !is_failure(view, event), event.exit_code));

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
            unexpected: before.unexpected.clone(),
            crossed: None,
            silent: waiting(view).filter(|_| view.anew.is_none()),
            is_complete: new_events(view) >= came,
            news_from: view.anew,
            is_mending: false,
        };
        if view.is_mended && view.anew.is_none() {
            let later = unseen.partition_point(|event| Some(event.at) <= before.heard_at);
            reader.mend(&unseen[..later]);
            unseen.drain(..later);
        }
        unseen.iter().for_each(|event| reader.add(event));
        let Reader { mut count, short_at, unexpected, crossed, .. } = reader;

        // What is true now comes from the facts, which do not depend on the order of recording.
        let failed = facts.last_fail_at > facts.last_checkin_at;
        let latest = facts.last_end_at();
        let short = spec.min_run.is_some() && short_at.is_some() && short_at == latest;
        let other = unexpected.as_ref().filter(|last| !spec.expect.is_empty() && Some(last.at) == latest);
        let bad = failed || short || other.is_some();
        // The count is at least 1: a success that is recorded late may precede a failure that was
        // already seen.
        count = if bad { count.max(1) } else { 0 };
        let is_standing = bad && count >= spec.alert_after;
        let known = || match latest? {
            at if failed => Some(Reason::Failed { at, exit_code: facts.last_exit_code, in_a_row: count }),
            at if short => Some(too_short(view, at)),
            at => other.map(|last| Reason::Unexpected { at, figures: last.figures.clone() }),
        };
        let latest_end = known().filter(|_| bad);
        let (standing, passed) = match is_standing {
            true => (crossed.or_else(|| latest_end.clone()), None),
            false => (None, crossed),
        };
        let unexpected = unexpected.filter(|last| Some(last.at) == latest);
        Self { count, bad, standing, latest: latest_end, passed, short_at, unexpected }
    }
}

impl Reader<'_> {
    /// Counts the row up to the latest end at the last look anew, from these events, some of which
    /// were reported late. The count can grow only by the new failures: the last look knew more
    /// about snoozes and blind windows than is known now.
    fn mend(&mut self, events: &[Event]) {
        let view = self.view;
        let all = i64::try_from(view.unseen.len()).unwrap_or(i64::MAX);
        let is_whole = all >= view.reservation.facts.checkins;
        let mut mended = Reader {
            view,
            anchor: Anchor::new(view.reservation, None),
            count: 0,
            short_at: self.short_at,
            unexpected: self.unexpected.clone(),
            crossed: None,
            silent: None,
            is_complete: is_whole,
            news_from: None,
            is_mending: true,
        };
        events.iter().for_each(|event| mended.add(event));
        let new_fails = events.iter().filter(|event| !event.seen && is_failure(view, event)).count();
        let most = self.count.saturating_add(i64::try_from(new_fails).unwrap_or(i64::MAX));
        let is_good = |event: &Event| event.kind == CheckInKind::Success && !is_failure(view, event);
        let is_complete = is_whole || events.iter().any(is_good);
        let least = if is_complete { 0 } else { self.count };
        self.count = mended.count.max(least).min(most);
        (self.short_at, self.unexpected, self.crossed) = (mended.short_at, mended.unexpected, mended.crossed);
    }

    fn add(&mut self, event: &Event) {
        let spec = &self.view.reservation.spec;
        let is_news = !self.is_mending || !(event.seen || event.late);
        match (event.kind, event.duration, spec.min_run) {
            (CheckInKind::Fail, ..) => {
                let (at, exit_code) = (event.at, event.exit_code);
                self.failure(at, is_news, |in_a_row| Reason::Failed { at, exit_code, in_a_row });
            }
            (CheckInKind::Success, Some(took), Some(least)) if took < least => {
                self.short_at = self.short_at.max(Some(event.at));
                let reason = Reason::TooShort {
                    at: event.at,
                    took_ms: took.num_milliseconds(),
                    min_run_ms: least.num_milliseconds(),
                };
                self.failure(event.at, is_news, |_| reason);
            }
            (CheckInKind::Success, ..) => match &event.unexpected {
                Some(figures) => self.unexpected(event, figures, is_news),
                None => self.success(event.at),
            },
            (CheckInKind::Start | CheckInKind::Log, ..) => {}
        }
    }

    fn unexpected(&mut self, event: &Event, figures: &str, is_news: bool) {
        let at = event.at;
        if self.unexpected.as_ref().is_none_or(|known| known.at <= at) {
            self.unexpected = Some(Unexpected { at, checkin_id: event.id, figures: figures.to_owned() });
        }
        self.failure(at, is_news, |_| Reason::Unexpected { at, figures: figures.to_owned() });
    }

    fn success(&mut self, at: Time) {
        // A success at the very end of a snooze comes before the reason that waited for that end.
        self.tell_what_waited(|until| until < at);
        self.silent = None;
        // A success at the same instant overrides a bad one.
        self.unexpected.take_if(|last| last.at == at);
        self.short_at.take_if(|short_at| *short_at == at);
        if self.anchor.heard && at < self.anchor.at {
            // Recorded late: of what was counted, only the latest is known to have followed it.
            self.count = self.count.min(1);
            return;
        }
        (self.count, self.anchor, self.is_complete) = (0, Anchor { at, heard: true }, true);
    }

    fn failure(&mut self, at: Time, is_news: bool, reason: impl FnOnce(i64) -> Reason) {
        self.tell_what_waited(|until| until <= at);
        let anchor = self.anchor;
        let succeeded = anchor.heard && self.count == 0;
        let in_a_row = if anchor.heard && (at < anchor.at || at == anchor.at && succeeded) {
            // Recorded late. A failure that a success has followed is not part of the row.
            let in_a_row = if succeeded { 1 } else { self.count.saturating_add(1) };
            self.count = if succeeded { 0 } else { in_a_row };
            in_a_row
        } else {
            let (missed, is_counted) = self.missed_until(at);
            self.count = self.count.saturating_add(missed).saturating_add(i64::from(!is_counted));
            (self.anchor, self.is_complete) = (Anchor { at, heard: true }, true);
            self.count
        };
        let alert_after = self.view.reservation.spec.alert_after;
        if in_a_row < alert_after || Some(at) < self.news_from || !is_news {
            return;
        }
        // The alert names the failure that completes the row, or the first failure after the misses
        // that complete it.
        let in_a_row = in_a_row.min(alert_after);
        match self.view.reservation.conclusions.snoozed_until(at) {
            Some(until) if self.silent.is_none() => self.silent = Some((until, reason(in_a_row))),
            None if self.crossed.is_none() => self.crossed = Some(reason(in_a_row)),
            Some(_) | None => {}
        }
    }

    /// How many instants were missed between the anchor and a failure at `at`, and whether the
    /// failure answers one of them.
    fn missed_until(&self, at: Time) -> (i64, bool) {
        let spec = &self.view.reservation.spec;
        // Counts up to the greatest `alert_after`, because the present one may be raised.
        let most = MOST_ALERT_AFTER.saturating_sub(self.count);
        if most <= 0 || !self.is_complete {
            return (0, false);
        }
        let most = usize::try_from(most).unwrap_or(1);
        let (missed, is_last) = missed(self.view, self.anchor, at, most, true);
        let is_early = spec.schedule.expected_after_checkin(at) != spec.schedule.following(at);
        (i64::try_from(missed).unwrap_or(i64::MAX), is_last && !is_early)
    }

    /// If the snooze is over for which a reason waited, the reason becomes the first one to open an
    /// alert, unless there is one already.
    fn tell_what_waited(&mut self, is_over: impl FnOnce(Time) -> bool) {
        if let Some((_, reason)) = self.silent.take_if(|(until, _)| is_over(*until)) {
            self.crossed.get_or_insert(reason);
        }
    }
}

/// The reason that was waiting for the end of a snooze at the last look.
fn waiting(view: &View<'_>) -> Option<(Time, Reason)> {
    let Reservation { spec, facts, conclusions: before, .. } = view.reservation;
    let at = before.heard_at.filter(|_| before.fail_streak >= spec.alert_after.max(1))?;
    let until = before.snoozed_until(at).filter(|_| view.open_alert.is_none())?;
    if let Some(last) = before.unexpected.as_ref().filter(|last| last.at == at) {
        return Some((until, Reason::Unexpected { at, figures: last.figures.clone() }));
    }
    if before.short_at == Some(at) {
        return Some((until, too_short(view, at)));
    }
    let exit_code = facts.last_exit_code.filter(|_| facts.last_fail_at == Some(at));
    Some((until, Reason::Failed { at, exit_code, in_a_row: before.fail_streak }))
}

/// The reason for the success at `at`, which came too soon after the start of its run.
fn too_short(view: &View<'_>, at: Time) -> Reason {
    let its_run = view.runs.iter().find(|run| run.ended_at == Some(at));
    let took = its_run.and_then(|run| run.started_at).map_or(0, |started| (at - started).num_milliseconds());
    let least = view.reservation.spec.min_run.unwrap_or_default();
    Reason::TooShort { at, took_ms: took.max(0), min_run_ms: least.num_milliseconds() }
}

/// How many of the events came after the last look.
fn new_events(view: &View<'_>) -> i64 {
    let new = view.unseen.iter().filter(|event| !event.seen).count();
    i64::try_from(new).unwrap_or(i64::MAX)
}

/// The failures since the last look that the facts count but the history no longer contains, with
/// as many details as the facts have.
fn lost_failures(view: &View<'_>) -> Vec<Event> {
    let Reservation { facts, conclusions: before, .. } = view.reservation;
    let is_new_failure = |event: &&Event| event.kind == CheckInKind::Fail && !event.seen;
    let kept = view.unseen.iter().filter(is_new_failure).map(|event| event.at);
    // The oldest events are pruned first.
    let at = kept.clone().min().or(facts.last_fail_at);
    let kept = i64::try_from(kept.count()).unwrap_or(i64::MAX);
    let lost = facts.fails.saturating_sub(before.fails_seen).saturating_sub(kept);
    let lost = lost.clamp(0, MOST_ALERT_AFTER);
    let exit_code = facts.last_exit_code.filter(|_| kept == 0);
    let event = |at| Event {
        id: 0,
        at,
        kind: CheckInKind::Fail,
        exit_code,
        duration: None,
        unexpected: None,
        late: false,
        seen: false,
    };
    at.into_iter().flat_map(|at| (0..lost).map(move |_| event(at))).collect()
}
