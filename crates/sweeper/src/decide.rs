//! The decisions of the sweep about reservations that are due. Everything here is pure.
//!
//! [`decide`] evaluates each reservation by the rules of [`innkeeper_core::sla`] and decides what happens to its alert.
//! The store loads and locks the due reservations, and writes the decisions. [`Rules`] combines the decisions with the
//! wording of the messages (`messages.rs`).

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::alert::{OutputOf, Reason};
use innkeeper_core::baseline::Baseline;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::facts::Event;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::{Reservation, Spec};
use innkeeper_core::sites::Sites;
use innkeeper_core::sla::{DueChange, Evaluation, PastMiss, View, evaluate};
use innkeeper_store::{
    AlertChange, AlertEvent, Blindness, Decider, Decision, DueBatch, DueReservation, Ending, HistoryRow,
    NewDelivery,
};

/// How soon a reservation is evaluated again while Innkeeper does not know whether its check-ins could be recorded, and
/// the minimum pause before the next evaluation while none could be recorded.
const AGAIN_WHILE_BLIND: TimeDelta = TimeDelta::seconds(1);

/// The [`Decider`] of the sweep: it decides by [`decide`], and words messages with the function that it holds.
pub struct Rules<C: Fn(&AlertEvent<'_>) -> Vec<NewDelivery>>(pub C);

impl<C: Fn(&AlertEvent<'_>) -> Vec<NewDelivery>> Decider for Rules<C> {
    fn decide<'b>(&self, batch: &'b DueBatch) -> Vec<Decision<'b>> {
        decide(batch)
    }

    fn compose(&self, event: &AlertEvent<'_>) -> Vec<NewDelivery> {
        (self.0)(event)
    }
}

/// Decides what is written for each reservation of the batch.
pub fn decide(batch: &DueBatch) -> Vec<Decision<'_>> {
    let sites = Sites::at(batch.now, &batch.sites);
    batch.due.iter().map(|due| decide_one(due, &batch.blindness, &sites, batch.now)).collect()
}

fn decide_one<'b>(
    due: &'b DueReservation,
    blindness: &Blindness,
    sites: &Sites<'_>,
    now: Time,
) -> Decision<'b> {
    let reservation = &due.reservation;
    let mut baseline = due.baseline.clone();
    let mut judged = Judged::of(reservation, &mut baseline, &due.checkins.rows, due.checkins.new);
    if due.checkins.anew.is_some() {
        judged.events.iter_mut().for_each(|event| event.seen = false);
    }
    let blind = [&blindness.windows[..], &sites.silences_for(reservation)].concat();
    let view = View {
        reservation,
        runs: &due.runs,
        unseen: &judged.events,
        anew: due.checkins.anew,
        is_mended: due.checkins.is_mended,
        open_alert: due.alert.as_ref().map(|alert| &alert.open),
        behind_silent_site: sites.is_silent_for(reservation),
        blind: &blind,
        refused: due.refused,
    };
    let (evaluation, is_in_doubt) = conclude(&view, blindness, now);
    let Evaluation { change, conclusions, told_runs, answered_until, passed_over, .. } = evaluation;
    let answered_alerts = answered_alerts(due, &view, &mut baseline, now);
    let (alert, output_of) = alert_change(due, change, now).unzip();
    Decision {
        due,
        conclusions,
        alert,
        output_of: output_of.unwrap_or(OutputOf::Latest),
        told_runs,
        unexpected: judged.unexpected,
        too_short: judged.too_short,
        answered_until,
        late_failures: passed_over,
        answered_alerts,
        is_in_doubt,
    }
}

/// Evaluates one reservation. Silence opens no alert while a check-in that arrived in time may still be on its way into
/// the database; such a reservation is evaluated again soon. The returned flag says whether this is the case.
fn conclude(view: &View<'_>, blindness: &Blindness, now: Time) -> (Evaluation, bool) {
    let mut evaluation = evaluate(view, now);
    let is_blamed = match &evaluation.change {
        DueChange::Open(Reason::Missed { .. } | Reason::Overran { .. }) => true,
        // A reminder at a fixed interval does not depend on check-ins that are still to come.
        DueChange::Remind(_) => view.reservation.spec.remind_every == Reminders::Each,
        DueChange::OpenAndRecover(_)
        | DueChange::Open(_)
        | DueChange::Recover
        | DueChange::Answer(_)
        | DueChange::Withdraw(_)
        | DueChange::None => false,
    };
    let mut is_unknown = false;
    if let Some(unknown) = blindness.unknown.filter(|_| is_blamed) {
        let blind = [view.blind, &[unknown]].concat();
        let with_it = evaluate(&View { blind: &blind, ..*view }, now);
        is_unknown = with_it.change != evaluation.change;
        evaluation = with_it;
    }
    let conclusions = &mut evaluation.conclusions;
    if blindness.goes_on(now) {
        // Once its respites are used up, a deadline moves along with the end of the blind window, at the distance that
        // it had from the window's beginning. That distance may be tiny, so there is a minimum pause.
        conclusions.wake_at = conclusions.wake_at.max(now + AGAIN_WHILE_BLIND);
    }
    if blindness.doubtful || is_unknown {
        // If the span turns out not to be a blind window, it excuses nothing; so the reservation is evaluated again
        // soon.
        conclusions.wake_at = conclusions.wake_at.min(now + AGAIN_WHILE_BLIND);
    }
    (evaluation, is_unknown)
}

/// The change to the alert, and the run whose output the messages about this change contain.
fn alert_change(due: &DueReservation, change: DueChange, now: Time) -> Option<(AlertChange, OutputOf)> {
    let open = due.alert.as_ref().map(|alert| &alert.open);
    Some(match change {
        DueChange::None => return None,
        DueChange::Open(reason) => {
            let output_of = reason.output_of();
            (AlertChange::Open(reason), output_of)
        }
        DueChange::OpenAndRecover(reason) => {
            let output_of = reason.output_of();
            (AlertChange::OpenAndClose(reason), output_of)
        }
        DueChange::Remind(news) => {
            let reason = news.unwrap_or(open?.reason.clone());
            let output_of = reason.output_of();
            (AlertChange::Remind(reason), output_of)
        }
        DueChange::Recover => (AlertChange::Close(None), OutputOf::Success),
        DueChange::Answer(answer) => {
            let words = answer.words(now, due.reservation.spec.schedule.zone());
            (AlertChange::Close(Some(Ending::Answered(words))), OutputOf::Success)
        }
        DueChange::Withdraw(because) => {
            (AlertChange::Close(Some(Ending::Withdrawn(because))), OutputOf::Latest)
        }
    })
}

/// The closed alerts that late reports have refuted: the job had been well all the time. No message is sent, since the
/// alert is closed.
fn answered_alerts(
    due: &DueReservation,
    view: &View<'_>,
    baseline: &mut Option<Baseline>,
    now: Time,
) -> Vec<(i64, String)> {
    let past = &due.past_alerts;
    if past.misses.is_empty() {
        return Vec::new();
    }
    let Judged { events, .. } = Judged::of(&due.reservation, baseline, &past.rows, 0);
    let zone = due.reservation.spec.schedule.zone();
    let answer = |(id, miss): &(i64, PastMiss)| Some((*id, miss.answer(view, &events)?.words(now, zone)));
    past.misses.iter().filter_map(answer).collect()
}

/// Check-ins as events, and the broken clauses of those that are successes.
#[derive(Default)]
struct Judged {
    events: Vec<Event>,
    unexpected: Vec<i64>,
    too_short: Vec<i64>,
}

impl Judged {
    /// Judges these check-ins, latest first. The first `new` of them have arrived since the last evaluation.
    fn of(
        reservation: &Reservation,
        baseline: &mut Option<Baseline>,
        rows: &[HistoryRow],
        new: usize,
    ) -> Self {
        let Spec { expect, min_run, .. } = &reservation.spec;
        let mut judged = Self::default();
        for (place, HistoryRow { event, figures }) in rows.iter().enumerate().rev() {
            let (seen, is_success) = (place >= new, event.kind == CheckInKind::Success);
            let is_short =
                is_success && event.duration.zip(*min_run).is_some_and(|(took, least)| took < least);
            let open = baseline
                .as_mut()
                .filter(|baseline| is_success && !(seen && baseline.is_known_to_count(event.id)));
            let unexpected = open.and_then(|baseline| baseline.judge(expect, event.id, figures));
            if is_short {
                judged.too_short.push(event.id);
                baseline.iter_mut().for_each(|baseline| baseline.exclude(event.id));
            } else if unexpected.is_some() {
                judged.unexpected.push(event.id);
            }
            judged.events.push(Event { seen, unexpected, ..event.clone() });
        }
        judged.events.reverse();
        judged
    }
}
