//! What messages contain beside the conclusion: the output of a run, how long runs take, how many
//! other jobs are down.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::alert::OutputOf;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::reservation::Reservation;
use parking_lot::Mutex;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::readable::{apart, is_over, list};
use crate::schema::{alerts, checkins, reservations};

/// The most check-ins of a reservation that are looked at: enough for a median of its runs.
const LOOKED_AT: i64 = 40;

/// The latest output of a job, and how long its runs take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Last {
    /// The notes of the run that the message is about: those of its end, or else the latest that it
    /// has.
    pub notes: String,
    /// How long that run took.
    pub took: Option<TimeDelta>,
    /// The median duration of the successful runs before it.
    pub usual: Option<TimeDelta>,
}

/// The latest output of several jobs.
pub(crate) struct LastNotes {
    by_id: HashMap<i64, Last>,
    nothing: Last,
}

/// A check-in without its notes.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    duration_ms: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    run_id: Option<String>,
    #[diesel(sql_type = BigInt)]
    has_notes: i64,
}

impl LastNotes {
    /// Reads the latest output of these jobs, in two queries for all of them.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn of<'a>(
        connection: &mut AnyConnection,
        reservations: impl Iterator<Item = (&'a Reservation, OutputOf)>,
    ) -> Result<Self, StoreError> {
        let heard = reservations.filter(|(reservation, _)| reservation.facts.checkins > 0);
        let runs: HashMap<i64, OutputOf> = heard.map(|(reservation, of)| (reservation.id, of)).collect();
        let ids: Vec<i64> = runs.keys().copied().collect();
        let mut said = Self { by_id: HashMap::new(), nothing: Last::default() };
        if ids.is_empty() {
            return Ok(said);
        }
        // Walks back from the latest check-in of each, along the same chain as `history.rs`.
        let rows: Vec<Row> = sql_query(format!(
            "WITH RECURSIVE back AS (
                 SELECT c.id, c.reservation_id, c.number, c.previous_id, c.at, c.kind, c.duration_ms, c.run_id,
                        CASE WHEN c.notes = '' THEN 0 ELSE 1 END AS has_notes, 1 AS depth
                 FROM states s
                 JOIN checkins c
                     ON c.id = s.latest_checkin_id AND c.reservation_id = s.reservation_id AND c.number = s.checkins
                 WHERE s.reservation_id IN ({})
                 UNION ALL
                 SELECT c.id, c.reservation_id, c.number, c.previous_id, c.at, c.kind, c.duration_ms, c.run_id,
                        CASE WHEN c.notes = '' THEN 0 ELSE 1 END AS has_notes, back.depth + 1 AS depth
                 FROM back
                 JOIN checkins c
                     ON c.id = back.previous_id AND c.reservation_id = back.reservation_id AND c.number = back.number - 1
                 WHERE back.depth < $1
             )
             SELECT id, reservation_id, kind, duration_ms, run_id, CAST(has_notes AS BIGINT) AS has_notes
             FROM back ORDER BY reservation_id, at DESC, number DESC",
            list(&ids)
        ))
        .bind::<BigInt, _>(LOOKED_AT)
        .load(connection)?;
        let mut wanted = Vec::new();
        for rows in rows.chunk_by(|one, next| one.reservation_id == next.reservation_id) {
            let of = runs.get(&rows[0].reservation_id).copied().unwrap_or(OutputOf::Latest);
            let (took, usual) = lengths(rows, of);
            said.by_id.insert(rows[0].reservation_id, Last { notes: String::new(), took, usual });
            wanted.extend(with_output(rows, of));
        }
        if wanted.is_empty() {
            return Ok(said);
        }
        let notes: Vec<(i64, String)> = checkins::table
            .filter(checkins::id.eq_any(wanted))
            .select((checkins::reservation_id, checkins::notes))
            .load(connection)?;
        for (id, notes) in notes {
            said.by_id.entry(id).or_default().notes = notes;
        }
        Ok(said)
    }

    /// The latest output of this reservation's job.
    pub fn by(&self, reservation_id: i64) -> &Last {
        self.by_id.get(&reservation_id).unwrap_or(&self.nothing)
    }
}

impl Row {
    fn is(&self, kind: CheckInKind) -> bool {
        self.kind == kind.as_str()
    }

    fn is_end(&self) -> bool {
        self.is(CheckInKind::Success) || self.is(CheckInKind::Fail)
    }

    /// Whether it ends a run of the kind that the message is about.
    fn ends(&self, of: OutputOf) -> bool {
        match of {
            OutputOf::Latest | OutputOf::Ended => self.is_end(),
            OutputOf::Failure => self.is(CheckInKind::Fail),
            OutputOf::Success => self.is(CheckInKind::Success),
        }
    }
}

/// The check-in whose notes are the output of the run that the message is about. `rows` are sorted
/// latest first.
fn with_output(rows: &[Row], of: OutputOf) -> Option<i64> {
    let is_log = |row: &Row| row.is(CheckInKind::Log);
    let its = rows.iter().find(|row| match of {
        OutputOf::Latest => !is_log(row),
        _ => row.ends(of),
    });
    let its = match of {
        OutputOf::Latest => its.or(rows.first())?,
        _ => its?,
    };
    // Log entries need not name their run.
    let is_of_run = |row: &&Row| row.run_id == its.run_id || (row.run_id.is_none() && is_log(row));
    let rows: Vec<&Row> = rows.iter().filter(is_of_run).collect();
    let at = rows.iter().position(|row| std::ptr::eq(*row, its))?;
    // Log entries after its end, or since its start.
    let newer = at - rows[..at].iter().rev().take_while(|row| is_log(row)).count();
    let mut all: Vec<&Row> = rows[newer..at].to_vec();
    all.insert(if its.is_end() { 0 } else { all.len() }, its);
    if !its.is(CheckInKind::Start) {
        for row in rows[at + 1..].iter().take_while(|row| !row.is_end()) {
            all.push(row);
            if row.is(CheckInKind::Start) {
                break;
            }
        }
    }
    all.into_iter().find(|row| row.has_notes != 0).map(|row| row.id)
}

/// How long the run that the message is about took, or else the latest that ended, and the median
/// of the successes before it.
fn lengths(rows: &[Row], of: OutputOf) -> (Option<TimeDelta>, Option<TimeDelta>) {
    let latest = rows.iter().position(|row| row.ends(of)).or_else(|| rows.iter().position(Row::is_end));
    let span = |ms: i64| TimeDelta::try_milliseconds(ms);
    let took = latest.and_then(|latest| rows[latest].duration_ms).and_then(span);
    let before = latest.map_or(rows, |latest| &rows[latest + 1..]);
    let successes = before.iter().filter(|row| row.kind == CheckInKind::Success.as_str());
    let mut lengths: Vec<i64> = successes.filter_map(|row| row.duration_ms).collect();
    lengths.sort_unstable();
    let usual = match lengths.len() {
        0 => None,
        n if n % 2 == 1 => Some(lengths[n / 2]),
        n => Some((lengths[n / 2 - 1] + lengths[n / 2]) / 2),
    };
    (took, usual.and_then(span))
}

/// From this number on, jobs are counted once in [`SELDOM`] only, because counting takes a scan.
const VERY_MANY: i64 = 20_000;
const SELDOM: Duration = Duration::from_secs(10);

/// When jobs were counted last, and how many there were.
#[derive(Default)]
pub(crate) struct Counted(Mutex<Option<(Instant, i64)>>);

/// How many jobs there are, and how many of them are down.
pub(crate) struct Down {
    /// Jobs.
    pub jobs: i64,
    down: i64,
}

impl Down {
    /// The counts in this transaction. Very many jobs are counted seldom; `counted` keeps their
    /// number in between. Where damaged pages prevent counting, both numbers are 0, and messages
    /// leave them out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn now(connection: &mut AnyConnection, counted: &Counted) -> Result<Self, StoreError> {
        match apart(connection, |connection| Self::count(connection, counted)) {
            Err(error) if !error.is_unavailable() && !is_over(connection) => {
                log::warn!("how many jobs are down cannot be counted: {error}");
                Ok(Self { jobs: 0, down: 0 })
            }
            down => down,
        }
    }

    fn count(connection: &mut AnyConnection, counted: &Counted) -> Result<Self, StoreError> {
        let down = alerts::table.filter(alerts::closed_at.is_null()).count().get_result(connection)?;
        let mut counted = counted.0.lock();
        let known = counted.filter(|(at, jobs)| *jobs >= VERY_MANY && at.elapsed() < SELDOM);
        let jobs = match known {
            Some((_, jobs)) => jobs,
            None => reservations::table.count().get_result(connection)?,
        };
        *counted = known.or(Some((Instant::now(), jobs)));
        Ok(Self { jobs, down })
    }

    /// How many other jobs are down, seen from one that is down itself or not.
    pub fn beside(&self, is_down: bool) -> i64 {
        (self.down - i64::from(is_down)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: CheckInKind, duration_ms: Option<i64>, has_notes: bool) -> Row {
        Row {
            id: 0,
            reservation_id: 1,
            kind: kind.as_str().to_owned(),
            duration_ms,
            run_id: None,
            has_notes: has_notes.into(),
        }
    }

    #[test]
    fn the_latest_run_is_measured_against_the_successes_before_it() {
        use CheckInKind::{Fail, Start, Success};
        let run = |kind, ms| [row(kind, Some(ms), false), row(Start, None, false)];
        let of = |runs: &[[Row; 2]]| {
            let rows: Vec<Row> = runs
                .iter()
                .flatten()
                .map(|one| Row { kind: one.kind.clone(), run_id: None, ..*one })
                .collect();
            let (took, usual) = lengths(&rows, OutputOf::Ended);
            (took.map(|span| span.num_milliseconds()), usual.map(|span| span.num_milliseconds()))
        };
        assert_eq!(
            of(&[run(Fail, 90), run(Success, 10), run(Fail, 500), run(Success, 30)]),
            (Some(90), Some(20))
        );
        assert_eq!(of(&[run(Success, 7)]), (Some(7), None));
        assert_eq!(of(&[]), (None, None));
    }

    #[test]
    fn the_output_is_that_of_the_run_that_is_spoken_of() {
        use CheckInKind::{Fail, Log, Start, Success};
        use OutputOf::{Ended, Failure, Latest};
        let of = |of, rows: &[(CheckInKind, bool)]| {
            let rows: Vec<Row> = (0i64..)
                .zip(rows)
                .map(|(id, (kind, has_notes))| Row { id, ..row(*kind, None, *has_notes) })
                .collect();
            with_output(&rows, of)
        };
        assert_eq!(of(Failure, &[(Fail, true), (Log, true)]), Some(0));
        assert_eq!(of(Failure, &[(Fail, false), (Log, true), (Start, false), (Success, true)]), Some(1));
        assert_eq!(of(Failure, &[(Fail, false), (Start, false), (Success, true)]), None);
        assert_eq!(of(Latest, &[(Success, true), (Success, true)]), Some(0));
        // In each of these, the notes belong to another run.
        assert_eq!(of(OutputOf::Success, &[(Success, false), (Fail, true)]), None, "back, without a word");
        assert_eq!(of(OutputOf::Success, &[(Success, false), (Start, true), (Fail, true)]), Some(1));
        assert_eq!(
            of(Failure, &[(Fail, false), (Start, false), (Fail, true)]),
            None,
            "killed without a word"
        );
        assert_eq!(of(Latest, &[(Start, false), (Fail, true)]), None, "it runs too long");
        assert_eq!(of(Latest, &[(Log, true), (Start, true), (Fail, true)]), Some(0), "it said so much");
        assert_eq!(of(Failure, &[(Fail, false), (Fail, true)]), None);
        // The failure counts, whatever came after it.
        assert_eq!(of(Failure, &[(Success, true), (Fail, true)]), Some(1));
        assert_eq!(of(Failure, &[(Start, true), (Fail, true), (Success, true)]), Some(1));
        assert_eq!(of(Failure, &[(Log, true), (Fail, false), (Start, false)]), Some(0));
        assert_eq!(of(Failure, &[(Log, true), (Fail, true), (Start, false)]), Some(1));
        assert_eq!(of(Ended, &[(Start, true), (Success, true), (Fail, true)]), Some(1));
        assert_eq!(of(Ended, &[(Start, true)]), None);
        assert_eq!(of(Latest, &[]), None);
    }

    #[test]
    fn a_run_with_an_id_has_its_own_output() {
        use CheckInKind::{Fail, Log, Start};
        let of = |rows: &[(CheckInKind, Option<&str>, bool)]| {
            let rows: Vec<Row> = (0i64..)
                .zip(rows)
                .map(|(id, (kind, run, has_notes))| Row {
                    id,
                    run_id: run.map(str::to_owned),
                    ..row(*kind, None, *has_notes)
                })
                .collect();
            with_output(&rows, OutputOf::Failure)
        };
        let (a, b) = (Some("a"), Some("b"));
        assert_eq!(of(&[(Fail, a, false), (Log, b, true), (Log, a, true), (Start, a, false)]), Some(2));
        assert_eq!(of(&[(Fail, a, false), (Fail, b, true), (Start, a, false), (Start, b, true)]), None);
        assert_eq!(of(&[(Fail, a, false), (Start, b, true), (Log, None, true), (Start, a, false)]), Some(2));
    }
}
