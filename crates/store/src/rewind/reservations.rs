//! Moves a batch of reservations. The facts, runs, open alert and history of each one move
//! together, and the sweep looks at it again.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::rewind::{Course, Rewind};

use crate::connection::AnyConnection;
use crate::readable::{Read, read};
use crate::reservation_rows::{lock_states, snooze_end};
use crate::rows::{AlertRow, RunRow, StateRow, ms, snoozes_text, time};
use crate::schema::{alerts, audit, checkins, reservations, runs, states};
use crate::{Seldom, StoreError};

/// The most reservations of one transaction.
pub(super) const MOST: i64 = 500;
/// Limits how often unreadable rows are logged: a pass that is repeated meets the same rows.
static UNREADABLE: Seldom = Seldom::new();

/// How far the order of the rows in the history may differ from the order of their times.
const DISORDER_MS: i64 = 60_000;

/// When a pass looks for stragglers, a node may have written conclusions by the old time this long
/// ago.
const LATELY_MS: i64 = 300_000;
/// A `wake_at` that is derived from the time of the conclusion is at most this much later.
const SOON_MS: i64 = 600_000;

/// Whether the sweep looks again at a reservation in which nothing has moved. In the first pass it
/// looks at all whose `wake_at` is to come. A later pass selects those that a node concluded by the
/// old time after the first pass had moved them. Times that such a conclusion derives from facts
/// are right. Those that it derives from its own time lie ahead by about the step. If a later pass
/// selected all reservations, each pass of each node would cost a sweep of everything.
fn is_woken(wake_at: i64, now: i64, by: i64, is_for_stragglers: bool) -> bool {
    let ahead = now.saturating_add(by);
    let is_straggler = wake_at >= ahead - LATELY_MS && wake_at <= ahead.saturating_add(SOON_MS);
    wake_at > now && (!is_for_stragglers || is_straggler)
}

/// Rewinds the next reservations after the id `after`. Returns the id of the last one, or `None` if
/// there was none left.
pub(super) fn rewind(
    connection: &mut AnyConnection,
    rewind: &Rewind,
    is_for_stragglers: bool,
    after: i64,
    most: i64,
) -> Result<Option<i64>, StoreError> {
    let (now, by) = (ms(rewind.now), rewind.by.num_milliseconds());
    let ids = lock(connection, after, most)?;
    let Some(last) = ids.last().copied() else { return Ok(None) };
    let Read { rows, unreadable } = read(connection, &ids)?;
    for (id, problem) in unreadable {
        UNREADABLE
            .warn(format_args!("the reservation {id} stays as it is, since it cannot be read: {problem}"));
    }
    let created: HashMap<i64, i64> = rows.iter().map(|(row, _)| (row.id, row.created_at)).collect();
    let mut rows: Vec<StateRow> = rows.into_iter().map(|(_, state)| state).collect();
    rows.sort_by_key(|row| row.reservation_id);
    let ids: Vec<i64> = rows.iter().map(|row| row.reservation_id).collect();
    let mut open: HashMap<i64, AlertRow> = alerts::table
        .filter(alerts::reservation_id.eq_any(&ids))
        .filter(alerts::closed_at.is_null())
        .select(AlertRow::as_select())
        .load(connection)?
        .into_iter()
        .map(|row| (row.reservation_id, row))
        .collect();
    let late_runs: HashSet<i64> = runs::table
        .filter(runs::reservation_id.eq_any(&ids))
        .filter(runs::started_at.gt(now).or(runs::ended_at.gt(now)))
        .select(runs::reservation_id)
        .load(connection)?
        .into_iter()
        .collect();
    let mut runs_of = runs_of(connection, &late_runs)?;
    let naps = naps(connection, &rows, rewind)?;

    let (mut courses, mut changed) = (HashMap::new(), Vec::new());
    for row in &mut rows {
        let id = row.reservation_id;
        let runs = runs_of.remove(&id).unwrap_or_default();
        let alert = open.remove(&id);
        let times = facts(row)
            .into_iter()
            .chain(created.get(&id).copied())
            .chain(runs.iter().flat_map(|run| run.started_at.into_iter().chain(run.ended_at)))
            .chain(alert.iter().flat_map(|alert| [alert.opened_at, alert.told_at]));
        let course = rewind.together(times);
        if course.is_none() && !naps.contains(&id) && !is_woken(row.wake_at, now, by, is_for_stragglers) {
            continue;
        }
        changed.push(id);
        if naps.contains(&id) {
            let back = |at: Time| if ms(at) > now { time(ms(at).saturating_sub(by).max(now)) } else { at };
            let snoozes = row.snoozes()?.mapped(back);
            (row.snoozes, row.snoozed_until) = (snoozes_text(&snoozes), snoozes.last_until().map(ms));
        }
        row.wake_at = row.wake_at.min(now);
        let Some(course) = course else { continue };
        move_facts(row, &course);
        if let Some(created_at) = created.get(&id).filter(|at| **at > now) {
            diesel::update(reservations::table.filter(reservations::id.eq(id)))
                .set(reservations::created_at.eq(course.of(*created_at)))
                .execute(connection)?;
        }
        for run in runs {
            diesel::update(
                runs::table.filter(runs::reservation_id.eq(id)).filter(runs::run_id.eq(&run.run_id)),
            )
            .set((
                runs::started_at.eq(run.started_at.map(|at| course.of(at))),
                runs::ended_at.eq(run.ended_at.map(|at| course.of(at))),
                runs::told_at.eq(run.told_at.map(|at| course.of(at))),
                runs::start_arrived_at.eq(run.start_arrived_at.map(|at| course.of(at))),
            ))
            .execute(connection)?;
        }
        if let Some(alert) = alert {
            diesel::update(alerts::table.filter(alerts::id.eq(alert.id)))
                .set((
                    alerts::opened_at.eq(course.of(alert.opened_at)),
                    alerts::told_at.eq(course.of(alert.told_at)),
                    alerts::success_before.eq(alert.success_before.map(|at| course.of(at))),
                    alerts::answered_until.eq(alert.answered_until.map(|at| course.of(at))),
                ))
                .execute(connection)?;
        }
        courses.insert(id, course);
    }
    rows.retain(|row| changed.binary_search(&row.reservation_id).is_ok());
    write(connection, &rows)?;
    rewind_history(connection, &courses, now)?;
    Ok(Some(last))
}

/// Locks the next states, in the order of their ids, as every writer does.
fn lock(connection: &mut AnyConnection, after: i64, most: i64) -> Result<Vec<i64>, StoreError> {
    let ids: Vec<i64> = states::table
        .filter(states::reservation_id.gt(after))
        .order(states::reservation_id)
        .limit(most)
        .select(states::reservation_id)
        .load(connection)?;
    lock_states(connection, &ids)?;
    Ok(ids)
}

fn facts(row: &StateRow) -> Vec<i64> {
    let facts = [
        row.last_checkin_at,
        row.last_start_at,
        row.last_fail_at,
        row.last_seen_at,
        row.runs_over_at,
        row.short_at,
        row.unexpected_at,
        row.heard_at,
    ];
    facts.into_iter().flatten().collect()
}

fn move_facts(row: &mut StateRow, course: &Course) {
    for fact in [
        &mut row.last_checkin_at,
        &mut row.last_start_at,
        &mut row.last_fail_at,
        &mut row.last_seen_at,
        &mut row.runs_over_at,
        &mut row.short_at,
        &mut row.unexpected_at,
        &mut row.heard_at,
    ] {
        *fact = fact.map(|at| course.of(at));
    }
}

/// Moves the facts of one state back until none is later than `now`. They are facts of a
/// reservation that was checked out while the clock was ahead.
pub(crate) fn bring_back(row: &mut StateRow, now: i64) {
    let times = facts(row);
    let Some(latest) = times.iter().max().filter(|latest| **latest > now) else { return };
    let by = TimeDelta::milliseconds(latest.saturating_sub(now));
    if let Some(course) = (Rewind { now: time(now), by }).together(times) {
        move_facts(row, &course);
    }
}

fn runs_of(
    connection: &mut AnyConnection,
    reservations: &HashSet<i64>,
) -> Result<HashMap<i64, Vec<RunRow>>, StoreError> {
    let mut by_reservation: HashMap<i64, Vec<RunRow>> = HashMap::new();
    if !reservations.is_empty() {
        let rows: Vec<RunRow> = runs::table
            .filter(runs::reservation_id.eq_any(reservations))
            .select(RunRow::as_select())
            .load(connection)?;
        for row in rows {
            by_reservation.entry(row.reservation_id).or_default().push(row);
        }
    }
    Ok(by_reservation)
}

/// Which of these reservations were snoozed while the clock was ahead, according to the audit log.
/// The end of such a snooze was counted from a time that is still to come. The end of a snooze that
/// began before is right.
fn naps(
    connection: &mut AnyConnection,
    rows: &[StateRow],
    rewind: &Rewind,
) -> Result<HashSet<i64>, StoreError> {
    let now = ms(rewind.now);
    let asleep: HashMap<i64, i64> = rows
        .iter()
        .filter_map(|row| Some((row.reservation_id, row.snoozed_until.filter(|until| *until > now)?)))
        .collect();
    if asleep.is_empty() {
        return Ok(HashSet::new());
    }
    // Compare the end of the snooze with the audit log, too: a snooze that was moved already must
    // not move again.
    let mut put_to_sleep: HashMap<String, Vec<String>> = HashMap::new();
    for (subject, detail) in audit::table
        .filter(audit::action.eq("snooze"))
        .filter(audit::at.gt(rewind.stays_ms()))
        .select((audit::subject, audit::detail))
        .load::<(String, String)>(connection)?
    {
        put_to_sleep.entry(subject).or_default().push(detail);
    }
    let named: Vec<(i64, String, String)> = reservations::table
        .filter(reservations::id.eq_any(asleep.keys()))
        .select((reservations::id, reservations::app, reservations::component))
        .load(connection)?;
    let napping = named.into_iter().filter_map(|(id, app, component)| {
        let end = snooze_end(time(*asleep.get(&id)?));
        let naps = put_to_sleep.get(&format!("{app}/{component}"))?;
        naps.iter().any(|detail| detail.contains(&end)).then_some(id)
    });
    Ok(napping.collect())
}

fn write(connection: &mut AnyConnection, rows: &[StateRow]) -> Result<(), StoreError> {
    let column = |of: fn(&StateRow) -> Option<i64>| rows.iter().map(of).collect::<Vec<_>>();
    match connection {
        AnyConnection::Postgres(connection) => {
            sql_query(
                "UPDATE states s
                 SET last_checkin_at = new.checkin, last_start_at = new.start, last_fail_at = new.fail, last_seen_at = new.seen,
                     runs_over_at = new.runs_over, short_at = new.short, snoozed_until = new.snoozed, wake_at = new.wake,
                     heard_at = new.heard, snoozes = new.snoozes, unexpected_at = new.unexpected
                 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                      AS new (id, checkin, start, fail, seen, runs_over, short, snoozed, wake, heard, snoozes, unexpected)
                 WHERE s.reservation_id = new.id",
            )
            .bind::<Array<BigInt>, _>(rows.iter().map(|row| row.reservation_id).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.last_checkin_at))
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.last_start_at))
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.last_fail_at))
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.last_seen_at))
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.runs_over_at))
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.short_at))
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.snoozed_until))
            .bind::<Array<BigInt>, _>(rows.iter().map(|row| row.wake_at).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.heard_at))
            .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|row| row.snoozes.as_deref()).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(column(|row| row.unexpected_at))
            .execute(connection)?;
        }
        AnyConnection::Sqlite(connection) => {
            for row in rows {
                diesel::update(states::table.filter(states::reservation_id.eq(row.reservation_id)))
                    .set((
                        states::last_checkin_at.eq(row.last_checkin_at),
                        states::last_start_at.eq(row.last_start_at),
                        states::last_fail_at.eq(row.last_fail_at),
                        states::last_seen_at.eq(row.last_seen_at),
                        states::runs_over_at.eq(row.runs_over_at),
                        states::short_at.eq(row.short_at),
                        states::unexpected_at.eq(row.unexpected_at),
                        states::snoozed_until.eq(row.snoozed_until),
                        states::wake_at.eq(row.wake_at),
                        states::heard_at.eq(row.heard_at),
                        states::snoozes.eq(&row.snoozes),
                    ))
                    .execute(connection)?;
            }
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Late {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    arrived_at: Option<i64>,
}

/// Moves the check-ins of these reservations. It follows the history from the latest check-in
/// backwards.
fn rewind_history(
    connection: &mut AnyConnection,
    courses: &HashMap<i64, Course>,
    now: i64,
) -> Result<(), StoreError> {
    if courses.is_empty() {
        return Ok(());
    }
    let listed = match connection {
        AnyConnection::Postgres(_) => "CAST(json_array_elements_text($1::json) AS BIGINT)",
        AnyConnection::Sqlite(_) => "value FROM json_each($1)",
    };
    let ids: Vec<i64> = courses.keys().copied().collect();
    let late: Vec<Late> = sql_query(format!(
        "WITH RECURSIVE back AS (
             SELECT c.id, c.reservation_id, c.at, c.arrived_at, c.number, c.previous_id
             FROM states s
             JOIN checkins c ON c.id = s.latest_checkin_id AND c.reservation_id = s.reservation_id
             WHERE s.reservation_id IN (SELECT {listed})
             UNION ALL
             SELECT c.id, c.reservation_id, c.at, c.arrived_at, c.number, c.previous_id
             FROM back
             JOIN checkins c
                 ON c.id = back.previous_id AND c.reservation_id = back.reservation_id AND c.number = back.number - 1
             WHERE COALESCE(back.arrived_at, back.at) > $2
         )
         SELECT id, reservation_id, at, arrived_at FROM back WHERE COALESCE(arrived_at, at) > $3"
    ))
    .bind::<Text, _>(serde_json::json!(ids).to_string())
    .bind::<BigInt, _>(now - DISORDER_MS)
    .bind::<BigInt, _>(now)
    .load(connection)?;
    let moved: Vec<(i64, i64, Option<i64>)> = late
        .iter()
        .filter_map(|row| {
            let course = courses.get(&row.reservation_id)?;
            Some((row.id, course.of(row.at), row.arrived_at.map(|at| course.of(at))))
        })
        .collect();
    match connection {
        AnyConnection::Postgres(connection) => {
            sql_query(
                "UPDATE checkins c SET at = new.at, arrived_at = new.arrived_at
                 FROM unnest($1, $2, $3) AS new (id, at, arrived_at)
                 WHERE c.id = new.id",
            )
            .bind::<Array<BigInt>, _>(moved.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(moved.iter().map(|(_, at, _)| *at).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(moved.iter().map(|(.., at)| *at).collect::<Vec<_>>())
            .execute(connection)?;
        }
        AnyConnection::Sqlite(connection) => {
            for (id, at, arrived_at) in moved {
                diesel::update(checkins::table.filter(checkins::id.eq(id)))
                    .set((checkins::at.eq(at), checkins::arrived_at.eq(arrived_at)))
                    .execute(connection)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_looked_at_again() {
        let (now, day) = (1_000_000_000, 86_400_000);
        let first = |wake_at| is_woken(wake_at, now, day, false);
        assert!(!first(now) && first(now + 1) && first(now + 9 * day));
        let later = |wake_at| is_woken(wake_at, now, day, true);
        assert!(!later(now + 1) && !later(now + day / 2) && !later(now + 9 * day));
        assert!(later(now + day - 60_000) && later(now + day + 1000));
        let short = |wake_at| is_woken(wake_at, now, 10_000, true);
        assert!(!short(now) && short(now + 1) && short(now + 11_000) && !short(now + 3_600_000));
    }
}
