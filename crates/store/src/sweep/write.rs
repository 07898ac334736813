//! Writes the decisions: conclusions, alerts, and the messages about alerts.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;
use innkeeper_core::alert::Reason;
use innkeeper_core::notice::EventKind;
use innkeeper_core::reservation::Conclusions;
use uuid::Uuid;

use super::decision::{AlertChange, Decider, Decision, Ending};
use super::outcome::SweepOutcome;
use crate::alert_event::{AlertEvent, count_behind};
use crate::blind::want_heartbeat;
use crate::bulk::{self, NewAlert};
use crate::connection::AnyConnection;
use crate::counts::LastCount;
use crate::rows::ms;
use crate::runs::{forget_told, note_told};
use crate::said::{Counted, Last, LastNotes};
use crate::schema::alerts;
use crate::{NewDelivery, StoreError, outbox, recent};

/// Writes the conclusions, and everything else in the decisions that does not open, close or repeat
/// an alert.
pub(super) fn conclusions(
    connection: &mut AnyConnection,
    decisions: &[Decision<'_>],
    now: Time,
) -> Result<(), StoreError> {
    if decisions.iter().any(|decision| decision.is_in_doubt) {
        want_heartbeat(connection, now)?;
    }
    let rows: Vec<(i64, &Conclusions)> =
        decisions.iter().map(|one| (one.due.reservation.id, &one.conclusions)).collect();
    bulk::write_conclusions(connection, &rows)?;
    for decision in decisions {
        let id = decision.due.reservation.id;
        if !decision.told_runs.is_empty() {
            note_told(connection, id, &decision.told_runs, now)?;
        }
        recent::note_bad(connection, id, &decision.unexpected, &decision.too_short)?;
        note_late(connection, decision, now)?;
    }
    Ok(())
}

/// Writes what late reports have shown.
fn note_late(connection: &mut AnyConnection, decision: &Decision<'_>, now: Time) -> Result<(), StoreError> {
    if let (Some(until), Some(alert)) = (decision.answered_until, &decision.due.alert) {
        diesel::update(alerts::table.filter(alerts::id.eq(alert.open.id)))
            .set(alerts::answered_until.eq(ms(until)))
            .execute(connection)?;
    }
    for at in &decision.late_failures {
        sql_query(
            "INSERT INTO late_failures (reservation_id, at, noted_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind::<BigInt, _>(decision.due.reservation.id)
        .bind::<BigInt, _>(ms(*at))
        .bind::<BigInt, _>(ms(now))
        .execute(connection)?;
    }
    for (id, ending) in &decision.answered_alerts {
        diesel::update(alerts::table.filter(alerts::id.eq(id)))
            .set((alerts::ending.eq(ending), alerts::answered_until.eq(alerts::closed_at)))
            .execute(connection)?;
    }
    Ok(())
}

/// A change of an alert that has been written.
pub(super) struct WrittenChange<'d> {
    decision: &'d Decision<'d>,
    kind: EventKind,
    reason: &'d Reason,
    ending: Option<&'d Ending>,
    alert_id: i64,
    dedup_key: String,
    opened_at: Time,
    /// How many reservations are behind it, if it is a site.
    behind: i64,
}

/// Opens and closes alerts, and marks those that are reported again.
pub(super) fn alerts<'d>(
    connection: &mut AnyConnection,
    decisions: &'d [Decision<'d>],
    now: Time,
) -> Result<Vec<WrittenChange<'d>>, StoreError> {
    let changes: Vec<(&Decision<'_>, &AlertChange)> =
        decisions.iter().filter_map(|decision| Some((decision, decision.alert.as_ref()?))).collect();
    let new = |(decision, change): &(&'d Decision<'d>, &'d AlertChange)| {
        let (reason, closed) = match change {
            AlertChange::Open(reason) => (reason, false),
            AlertChange::OpenAndClose(reason) => (reason, true),
            AlertChange::Remind(_) | AlertChange::Close(_) => return None,
        };
        let dedup_key = Uuid::new_v4().to_string();
        Some(NewAlert { reservation: &decision.due.reservation, reason, dedup_key, closed })
    };
    let new: Vec<NewAlert<'_>> = changes.iter().filter_map(new).collect();
    let ids = bulk::insert_alerts(connection, &new, now)?;
    let mut opened: HashMap<i64, (i64, String)> = new
        .into_iter()
        .filter_map(|alert| Some((alert.reservation.id, (*ids.get(&alert.dedup_key)?, alert.dedup_key))))
        .collect();
    let mut written = Vec::with_capacity(changes.len());
    for (decision, change) in changes {
        let reservation = &decision.due.reservation;
        let known = decision.due.alert.as_ref();
        let (kind, reason, ending) = match (change, known) {
            (AlertChange::Open(reason), _) => (EventKind::Opened, reason, None),
            (AlertChange::OpenAndClose(reason), _) => (EventKind::OpenedAndRecovered, reason, None),
            (AlertChange::Remind(reason), _) => (EventKind::Reminder, reason, None),
            (AlertChange::Close(ending), Some(alert)) => {
                (EventKind::Recovered, &alert.open.reason, ending.as_ref())
            }
            (AlertChange::Close(_), None) => continue,
        };
        let opened = opened.remove(&reservation.id).map(|(id, key)| (id, key, now));
        let known = known.map(|alert| (alert.open.id, alert.dedup_key.clone(), alert.open.opened_at));
        let Some((alert_id, dedup_key, opened_at)) = opened.or(known) else { continue };
        match change {
            AlertChange::Open(_) | AlertChange::OpenAndClose(_) => {}
            AlertChange::Remind(_) => {
                diesel::update(alerts::table.filter(alerts::id.eq(alert_id)))
                    .set(alerts::told_at.eq(ms(now)))
                    .execute(connection)?;
            }
            AlertChange::Close(ending) => {
                if let Some(Ending::Withdrawn(_)) = ending {
                    forget_told(connection, reservation.id, opened_at)?;
                }
                let answered = matches!(ending, Some(Ending::Answered(_))).then_some(ms(now));
                let ending = ending.as_ref().map(Ending::text);
                diesel::update(alerts::table.filter(alerts::id.eq(alert_id)))
                    .set((
                        alerts::closed_at.eq(Some(ms(now))),
                        alerts::ending.eq(ending),
                        answered.map(|until| alerts::answered_until.eq(until)),
                    ))
                    .execute(connection)?;
            }
        }
        let behind = count_behind(connection, reservation)?;
        written.push(WrittenChange {
            decision,
            kind,
            reason,
            ending,
            alert_id,
            dedup_key,
            opened_at,
            behind,
        });
    }
    Ok(written)
}

/// Has `decider` word the messages about these changes, puts them into the outbox, and counts the
/// changes and messages in `outcome`.
pub(super) fn messages(
    connection: &mut AnyConnection,
    changes: &[WrittenChange<'_>],
    (counted, last_count): (&Counted, &LastCount),
    now: Time,
    decider: &dyn Decider,
    outcome: &mut SweepOutcome,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let of = |kind: EventKind| changes.iter().filter(move |change| change.kind == kind);
    let spoken = changes.iter().map(|one| (&one.decision.due.reservation, one.decision.output_of));
    let said = LastNotes::of(connection, spoken)?;
    let over: Vec<i64> = of(EventKind::Recovered).map(|change| change.alert_id).collect();
    let reached = outbox::reached(connection, &over)?;
    // A job that recovers does not count the jobs that recover in the same pass as down.
    let (opened, closed) = (of(EventKind::Opened).count() as i64, over.len() as i64);
    let down = last_count.now(connection, counted, (opened, closed))?;
    let mut messages: Vec<(i64, NewDelivery)> = Vec::new();
    for change in changes {
        let due = change.decision.due;
        let Last { notes, took, usual } = said.by(due.reservation.id);
        let first_reason = due.alert.as_ref().map_or(change.reason, |alert| &alert.open.reason);
        let event = AlertEvent {
            kind: change.kind,
            reservation: &due.reservation,
            reason: change.reason,
            since: first_reason.since(),
            alert_id: change.alert_id,
            dedup_key: &change.dedup_key,
            opened_at: change.opened_at,
            notes,
            took: *took,
            usual: *usual,
            others_down: down.beside(matches!(change.kind, EventKind::Opened | EventKind::Reminder)),
            jobs: down.jobs,
            behind: change.behind,
            reached: reached.get(&change.alert_id).map_or(&[][..], Vec::as_slice),
            ending: change.ending.map(Ending::text),
            answered: matches!(change.ending, Some(Ending::Answered(_))),
            now,
        };
        messages.extend(decider.compose(&event).into_iter().map(|delivery| (change.alert_id, delivery)));
    }
    let count = |kind| of(kind).count();
    let came_and_went = count(EventKind::OpenedAndRecovered);
    outcome.opened = count(EventKind::Opened) + came_and_went;
    outcome.closed = count(EventKind::Recovered) + came_and_went;
    outcome.reminded = count(EventKind::Reminder);
    for (_, message) in &messages {
        *outcome.deliveries.entry(message.alerter.clone()).or_default() += 1;
    }
    outbox::put_all(connection, &messages, now)
}
