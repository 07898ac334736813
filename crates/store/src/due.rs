//! Everything that a conclusion about the claimed reservations needs, loaded in a few queries.

use std::collections::HashMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::alert::OpenAlert;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::facts::{Event, Run};
use innkeeper_core::reservation::{Reservation, Status, Window};
use innkeeper_core::sla::{Refused, View};

use crate::StoreError;
use crate::blind::Blind;
use crate::checkins::Refusals;
use crate::connection::AnyConnection;
use crate::history::{self, Checkin};
use crate::readable::{Read, read};
use crate::rows::{AlertRow, RunRow};
use crate::schema::{alerts, runs};
use crate::sites::Sites;

/// The most check-ins since the last look that are read for one conclusion.
const MOST_UNSEEN: i64 = 1000;
/// So many before them are read where a start was recorded after its end.
const MOST_BEFORE: i64 = 200;

/// A reservation that is due to be looked at, with what that takes.
#[derive(Debug)]
pub(crate) struct Due {
    pub reservation: Reservation,
    pub runs: Vec<Run>,
    pub unseen: Vec<Event>,
    pub anew: Option<Time>,
    pub alert: Option<KnownAlert>,
    pub behind_silent_site: bool,
    pub blind: Vec<Window>,
    pub refused: Option<Refused>,
}

/// The open alert and the key of its messages.
#[derive(Debug)]
pub(crate) struct KnownAlert {
    pub open: OpenAlert,
    pub dedup_key: String,
}

impl Due {
    pub fn view(&self) -> View<'_> {
        View {
            reservation: &self.reservation,
            runs: &self.runs,
            unseen: &self.unseen,
            anew: self.anew,
            open_alert: self.alert.as_ref().map(|alert| &alert.open),
            behind_silent_site: self.behind_silent_site,
            blind: &self.blind,
            refused: self.refused,
        }
    }
}

/// Ids of rows that cannot be read, with what is wrong with each.
pub(crate) type Problems = Vec<(i64, String)>;

/// Loads the reservations `ids`, whose states are locked. Returns also the ids of rows that cannot be read, with what is wrong.
pub(crate) fn load_due(
    connection: &mut AnyConnection,
    ids: &[i64],
    blind: &Blind,
    now: Time,
) -> Result<(Vec<Due>, Problems), StoreError> {
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
    let sites = Sites::of(connection, &found, now)?;
    let refusals = Refusals::of(connection, Some(ids), now)?;
    let mut due = Vec::with_capacity(found.len());
    for reservation in found {
        if corrupt.iter().any(|(id, _)| *id == reservation.id) {
            continue;
        }
        let (unseen, anew) = unseen(connection, &reservation)?;
        due.push(Due {
            runs: runs.remove(&reservation.id).unwrap_or_default(),
            unseen,
            anew,
            alert: alerts.remove(&reservation.id),
            behind_silent_site: sites.silent_for(&reservation),
            blind: [&blind.windows[..], &sites.silences_for(&reservation)].concat(),
            refused: refusals.of_one(&reservation, now),
            reservation,
        });
    }
    Ok((due, corrupt))
}

fn open_alerts(
    connection: &mut AnyConnection,
    found: &[Reservation],
    corrupt: &mut Vec<(i64, String)>,
) -> Result<HashMap<i64, KnownAlert>, StoreError> {
    let down: Vec<i64> =
        found.iter().filter(|found| found.conclusions.status == Status::Down).map(|found| found.id).collect();
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
        found.iter().filter(|found| found.terms.has_run_limits()).map(|found| found.id).collect();
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

/// The check-ins since the last look, where their order matters. The state is locked and every writer of history holds
/// that lock, so the last `n` rows are just those that the counts have grown by.
///
/// Where one of them is a start that was recorded after its end, and that end was seen, the row is to be counted anew: then also when
/// that run ended, and the check-ins back to a success before.
fn unseen(
    connection: &mut AnyConnection,
    reservation: &Reservation,
) -> Result<(Vec<Event>, Option<Time>), StoreError> {
    let Reservation { facts, conclusions, terms, .. } = reservation;
    let grown = (facts.checkins - conclusions.checkins_seen).min(MOST_UNSEEN);
    let matters =
        facts.fails > conclusions.fails_seen || conclusions.fail_streak > 0 || terms.min_run.is_some();
    if grown <= 0 || !matters {
        return Ok((Vec::new(), None));
    }
    let mut rows = history::latest(connection, reservation.id, grown)?;
    if let Some(least) = terms
        .min_run
        .filter(|_| (0..rows.len()).any(|place| is_late_start(&rows, place, facts.last_checkin_at)))
    {
        let all = history::latest(connection, reservation.id, grown + MOST_BEFORE)?;
        let (new, seen) = all.split_at(rows.len().min(all.len()));
        if let Some(anew) = began_late(new, seen, least) {
            let is_well = |row: &Checkin| {
                row.kind == CheckInKind::Success
                    && row.at < anew
                    && row.duration.is_none_or(|took| took >= least)
            };
            let before = seen.iter().position(is_well).map_or(all.len(), |place| rows.len() + place + 1);
            rows = all[..before].to_vec();
            return Ok((rows.into_iter().map(event).collect(), Some(anew)));
        }
    }
    Ok((rows.into_iter().map(event).collect(), None))
}

fn event(Checkin { at, kind, exit_code, duration, .. }: Checkin) -> Event {
    Event { at, kind, exit_code, duration }
}

/// Whether the end of a run may have been recorded before this start of it. Not where its end stands after it, as it should.
fn is_late_start(rows: &[Checkin], place: usize, last_checkin_at: Option<Time>) -> bool {
    let start = &rows[place];
    let ends_it = |row: &Checkin| {
        matches!(row.kind, CheckInKind::Success | CheckInKind::Fail) && row.run_id == start.run_id
    };
    start.kind == CheckInKind::Start
        && Some(start.at) <= last_checkin_at
        && !rows[..place].iter().any(ends_it)
}

/// When the earliest run ended that was too short by a start among `new`, and whose end is among `seen`.
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
