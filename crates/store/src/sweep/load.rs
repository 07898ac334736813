//! Loads everything that the decisions about the claimed reservations need, in a few queries.

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::alert::{Cause, Reason};
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::expect::Expect;
use innkeeper_core::facts::{Event, Run};
use innkeeper_core::reservation::{AlertStatus, Reservation};
use innkeeper_core::sla::PastMiss;

use super::due::{DueBatch, DueReservation, HistoryRow, KnownAlert, NewCheckins, PastAlerts};
use crate::blind::Blindness;
use crate::checkins::Refusals;
use crate::connection::AnyConnection;
use crate::history::{self, Checkin};
use crate::readable::{Read, read};
use crate::rows::{AlertRow, RunRow, ms, time};
use crate::schema::{alerts, runs};
use crate::{Seldom, StoreError, recent, sites};

/// Closed alerts that cannot be read.
static UNREADABLE: Seldom = Seldom::new();

/// The most new check-ins of a reservation that are read at once.
const MOST_UNSEEN: i64 = 1000;
/// How many earlier check-ins are read in addition if the streak of failures has to be counted
/// anew.
const MOST_BEFORE: i64 = 200;
/// The most closed alerts of a reservation that are checked at once.
const MOST_PAST: i64 = 20;

/// The ids of reservations that cannot be read, and what is wrong with each.
pub(crate) type Problems = Vec<(i64, String)>;

/// Loads the reservations `ids`, whose states are locked. Also returns those that cannot be read.
pub(crate) fn load_due(
    connection: &mut AnyConnection,
    ids: &[i64],
    blindness: Blindness,
    now: Time,
) -> Result<(DueBatch, Problems), StoreError> {
    let Read { rows, unreadable: mut corrupt } = read(connection, ids)?;
    for id in ids {
        let is_known =
            rows.iter().any(|(row, _)| row.id == *id) || corrupt.iter().any(|(known, _)| known == id);
        if !is_known {
            corrupt.push((*id, "its reservation is missing".to_owned()));
        }
    }
    let mut found = Vec::with_capacity(rows.len());
    for (row, state) in &rows {
        match row.with(state) {
            Ok(reservation) => found.push(reservation),
            Err(error) => {
                corrupt.push((row.id, error.to_string()));
            }
        }
    }
    let mut alerts = open_alerts(connection, &found, &mut corrupt)?;
    let mut runs = known_runs(connection, &found)?;
    let sites = sites::of(connection, &found, now)?;
    let refusals = Refusals::of(connection, Some(ids), now)?;
    let has_news = |found: &&Reservation| found.facts.checkins > found.conclusions.checkins_seen;
    let expecting: Vec<(i64, &Expect)> =
        found.iter().filter(has_news).map(|found| (found.id, &found.spec.expect)).collect();
    let mut baselines = recent::baselines(connection, &expecting)?;
    let mut due = Vec::with_capacity(found.len());
    for reservation in found {
        if corrupt.iter().any(|(id, _)| *id == reservation.id) {
            continue;
        }
        let alert = alerts.remove(&reservation.id);
        let checkins = new_checkins(connection, &reservation, alert.as_ref())?;
        due.push(DueReservation {
            past_alerts: past_alerts(connection, &reservation, &checkins)?,
            runs: runs.remove(&reservation.id).unwrap_or_default(),
            baseline: baselines.remove(&reservation.id),
            refused: refusals.of_one(&reservation, now),
            alert,
            checkins,
            reservation,
        });
    }
    Ok((DueBatch { now, due, sites, blindness }, corrupt))
}

fn open_alerts(
    connection: &mut AnyConnection,
    found: &[Reservation],
    corrupt: &mut Problems,
) -> Result<HashMap<i64, KnownAlert>, StoreError> {
    let down: Vec<i64> = found
        .iter()
        .filter(|found| found.conclusions.status == AlertStatus::Down)
        .map(|found| found.id)
        .collect();
    if down.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<AlertRow> = alerts::table
        .filter(alerts::reservation_id.eq_any(down))
        .filter(alerts::closed_at.is_null())
        .select(AlertRow::as_select())
        .load(connection)?;
    let mut alerts = HashMap::new();
    for row in rows {
        match row.open_alert() {
            Ok(open) => {
                alerts.insert(row.reservation_id, KnownAlert { open, dedup_key: row.dedup_key });
            }
            Err(error) => {
                corrupt.push((row.reservation_id, error.to_string()));
            }
        }
    }
    Ok(alerts)
}

fn known_runs(
    connection: &mut AnyConnection,
    found: &[Reservation],
) -> Result<HashMap<i64, Vec<Run>>, StoreError> {
    let limited: Vec<i64> =
        found.iter().filter(|found| found.spec.has_run_limits()).map(|found| found.id).collect();
    let mut by_reservation: HashMap<i64, Vec<Run>> = HashMap::new();
    if !limited.is_empty() {
        let rows: Vec<RunRow> = runs::table
            .filter(runs::reservation_id.eq_any(limited))
            .select(RunRow::as_select())
            .load(connection)?;
        for row in rows {
            by_reservation.entry(row.reservation_id).or_default().push(row.run());
        }
    }
    Ok(by_reservation)
}

/// The check-ins since the last look. Empty if their order does not matter. Every writer of the
/// history locks the state first, and it is locked here. Therefore the new check-ins are the last
/// `n` rows, where `n` is the growth of the count.
///
/// In two cases earlier check-ins are needed too, because the streak of failures has to be counted
/// anew. First, a new start belongs to a run whose end the last look has seen already: then the
/// result also says when that run ended, and goes back to the success before it. Second, an end was
/// reported late that happened within the streak.
fn new_checkins(
    connection: &mut AnyConnection,
    reservation: &Reservation,
    alert: Option<&KnownAlert>,
) -> Result<NewCheckins, StoreError> {
    let Reservation { facts, conclusions, spec, .. } = reservation;
    let grown = (facts.checkins - conclusions.checkins_seen).min(MOST_UNSEEN);
    let matters = facts.fails > conclusions.fails_seen
        || conclusions.fail_streak > 0
        || spec.min_run.is_some()
        || !spec.expect.is_empty()
        || conclusions.reported_late
        || alert.is_some_and(|alert| alert.open.answered_until.is_some());
    if grown <= 0 || !matters {
        return Ok(NewCheckins::default());
    }
    let rows = history::latest(connection, reservation.id, grown)?;
    if let Some(least) = spec
        .min_run
        .filter(|_| (0..rows.len()).any(|place| is_late_start(&rows, place, facts.last_checkin_at)))
    {
        let mut all = history::latest(connection, reservation.id, grown + MOST_BEFORE)?;
        let (new, seen) = all.split_at(rows.len().min(all.len()));
        if let Some(anew) = began_late(new, seen, least) {
            let is_well = |row: &Checkin| {
                row.kind == CheckInKind::Success
                    && row.at < anew
                    && row.duration.is_none_or(|took| took >= least)
            };
            let new = new.len();
            let before = seen.iter().position(is_well).map_or(all.len(), |place| rows.len() + place + 1);
            all.truncate(before);
            return Ok(NewCheckins { rows: history_rows(all), new, anew: Some(anew), is_mended: false });
        }
    }
    let is_older_end = |row: &Checkin| {
        let is_end = matches!(row.kind, CheckInKind::Success | CheckInKind::Fail);
        is_end && row.arrived_at.is_some() && Some(row.at) <= conclusions.heard_at
    };
    let (new, is_mended) = (rows.len(), conclusions.fail_streak > 0 && rows.iter().any(is_older_end));
    let rows = match is_mended {
        true => history::latest(connection, reservation.id, grown + MOST_BEFORE)?,
        false => rows,
    };
    Ok(NewCheckins { rows: history_rows(rows), new, anew: None, is_mended })
}

/// Drops the parts of these check-ins that no decision needs. Their texts may be long.
fn history_rows(rows: Vec<Checkin>) -> Vec<HistoryRow> {
    let row = |Checkin { id, at, kind, exit_code, duration, arrived_at, figures, .. }| HistoryRow {
        event: Event {
            id,
            at,
            kind,
            exit_code,
            duration,
            late: arrived_at.is_some(),
            unexpected: None,
            seen: false,
        },
        figures,
    };
    rows.into_iter().map(row).collect()
}

/// Whether the check-in at `place` is a start whose end may have been recorded before it. It is not
/// if an end of the same run was recorded after it.
fn is_late_start(rows: &[Checkin], place: usize, last_checkin_at: Option<Time>) -> bool {
    let start = &rows[place];
    let ends_it = |row: &Checkin| {
        matches!(row.kind, CheckInKind::Success | CheckInKind::Fail) && row.run_id == start.run_id
    };
    start.kind == CheckInKind::Start
        && Some(start.at) <= last_checkin_at
        && !rows[..place].iter().any(ends_it)
}

/// Among the runs that are too short, and whose start is in `new` and whose end is in `seen`, the
/// time of the earliest end.
fn began_late(new: &[Checkin], seen: &[Checkin], least: TimeDelta) -> Option<Time> {
    let is_short = |end: &&Checkin| {
        let started = end.duration.filter(|took| *took < least).map(|took| end.at - took);
        let begins = |start: &Checkin| {
            start.kind == CheckInKind::Start && Some(start.at) == started && start.run_id == end.run_id
        };
        end.kind == CheckInKind::Success && new.iter().any(begins)
    };
    seen.iter().filter(is_short).map(|end| end.at).min()
}

/// Closed alerts for missed deadlines that may have been wrong. They opened after a success that
/// was reported late since the last look, and that happened before the last end of a run known
/// then.
fn past_alerts(
    connection: &mut AnyConnection,
    reservation: &Reservation,
    checkins: &NewCheckins,
) -> Result<PastAlerts, StoreError> {
    // If the streak is counted anew, none of its check-ins counts as seen.
    let new = if checkins.anew.is_some() { checkins.rows.len() } else { checkins.new };
    let heard_at = reservation.conclusions.heard_at;
    let is_late_success =
        |event: &&Event| event.kind == CheckInKind::Success && event.late && Some(event.at) < heard_at;
    let events = checkins.rows[..new].iter().map(|row| &row.event);
    let Some(first) = events.filter(is_late_success).map(|event| event.at).min() else {
        return Ok(PastAlerts::default());
    };
    let closed: Vec<AlertRow> = alerts::table
        .filter(alerts::reservation_id.eq(reservation.id))
        .filter(alerts::cause.eq(Cause::Missed.as_str()))
        .filter(alerts::opened_at.gt(ms(first)))
        .filter(alerts::closed_at.is_not_null())
        .filter(alerts::ending.is_null())
        .order(alerts::id.desc())
        .limit(MOST_PAST)
        .select(AlertRow::as_select())
        .load(connection)?;
    let mut misses = Vec::with_capacity(closed.len());
    for row in closed {
        let (id, closed_at) = (row.id, row.closed_at.map(time));
        let open = match row.open_alert() {
            Ok(open) => open,
            Err(error) => {
                // It is over, and no reason to judge nothing else of the job.
                UNREADABLE.error(format_args!(
                    "the closed alert {id} cannot be answered by a late report: {error}"
                ));
                continue;
            }
        };
        let (Reason::Missed { deadline, .. }, Some(closed_at)) = (open.reason, closed_at) else { continue };
        misses.push((id, PastMiss { deadline, success_before: open.success_before, closed_at }));
    }
    let grown = reservation.facts.checkins - reservation.conclusions.checkins_seen;
    let rows = match misses.is_empty() {
        true => Vec::new(),
        false => history_rows(history::latest(connection, reservation.id, grown.max(0) + MOST_BEFORE)?),
    };
    Ok(PastAlerts { misses, rows })
}
