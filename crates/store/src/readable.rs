//! Reading reservations so that one row that cannot be read is reported, and the others are still
//! read.
//!
//! A row may hold NULL or text where a number belongs (in an SQLite file that was edited by hand),
//! or lie on a damaged page. SQLite reads text as the number 0, which would blame a healthy job.
//! Therefore the types of the values are checked.

use std::fmt::{self, Write as _};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};

use crate::connection::AnyConnection;
use crate::rows::{self, NamedRow, ReservationRow, StateRow};
use crate::schema::{reservations, states};
use crate::{Seldom, StoreError};

/// Rows beside the reservations that cannot be read.
static ODD_ROWS: Seldom = Seldom::new();

/// The rows that `read` can read. The others (a damaged file, a word of a newer version) are logged and left out: one of them must not
/// hide all.
pub(crate) fn readable<R, T>(rows: Vec<R>, read: impl Fn(R) -> Result<T, StoreError>) -> Vec<T> {
    rows.into_iter()
        .filter_map(|row| {
            read(row).inspect_err(|error| ODD_ROWS.error(format_args!("a row is left out: {error}"))).ok()
        })
        .collect()
}

/// The most ids in one statement.
const CHUNK: usize = 500;

/// The columns that hold numbers, beside those of the spec.
const NUMBERS: [&str; 19] = [
    "r.created_at",
    "s.last_checkin_at",
    "s.last_start_at",
    "s.last_fail_at",
    "s.last_exit_code",
    "s.last_seen_at",
    "s.runs_over_at",
    "s.checkins",
    "s.fails",
    "s.wake_at",
    "s.snoozed_until",
    "s.fails_seen",
    "s.checkins_seen",
    "s.fail_streak",
    "s.short_at",
    "s.unexpected_at",
    "s.unexpected_checkin",
    "s.accepted_from",
    "s.heard_at",
];

/// The most reservations that one line of the log, or one answer, names.
const NAMED: usize = 10;

/// A reservation that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its number.
    pub reservation_id: i64,
    /// Its app; empty where not even that can be read.
    pub app: String,
    /// Its component.
    pub component: String,
    /// Why it cannot be read.
    pub problem: String,
}

impl Unreadable {
    /// Its names, or its number.
    pub fn name(&self) -> String {
        match self.app.as_str() {
            "" => format!("reservation {}", self.reservation_id),
            app => format!("{app}/{}", self.component),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be read: {}", self.name(), self.problem)
    }
}

/// The reservations that are missing from a list because they cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The first of them.
    pub named: Vec<Unreadable>,
    /// How many there are.
    pub count: usize,
}

impl LeftOut {
    /// A line that names the first of them; none where nothing is left out.
    pub fn line(&self) -> Option<String> {
        if self.count == 0 {
            return None;
        }
        let named: Vec<String> = self.named.iter().map(ToString::to_string).collect();
        let more = match self.count - self.named.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(format!("{}{more}", named.join("; ")))
    }

    /// Adds a row of these names.
    pub(crate) fn add(&mut self, row: &ReservationRow, problem: &impl fmt::Display) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(Unreadable {
                reservation_id: row.id,
                app: row.app.clone(),
                component: row.component.clone(),
                problem: problem.to_string(),
            });
        }
    }

    /// Adds rows of which only the number is known, each with what is wrong with it.
    pub(crate) fn add_all(
        &mut self,
        connection: &mut AnyConnection,
        unreadable: Vec<(i64, String)>,
    ) -> Result<(), StoreError> {
        self.count += unreadable.len();
        for (id, problem) in unreadable.into_iter().take(NAMED - self.named.len()) {
            self.named.push(named(connection, id, problem)?);
        }
        Ok(())
    }

    /// Writes it to the log, but seldom, because pages are fetched every few seconds.
    pub(crate) fn say(&self) {
        static LEFT_OUT: Seldom = Seldom::new();
        if let Some(line) = self.line() {
            LEFT_OUT.error(format_args!("left out of a list: {line}"));
        }
    }
}

/// Names a reservation that cannot be read for this reason.
pub(crate) fn named(
    connection: &mut AnyConnection,
    id: i64,
    problem: String,
) -> Result<Unreadable, StoreError> {
    let (app, component) = names_of(connection, id)?;
    Ok(Unreadable { reservation_id: id, app, component, problem })
}

/// App and component from the table or, where that cannot be read, from the index of names. Empty
/// where neither can be read.
pub(crate) fn names_of(connection: &mut AnyConnection, id: i64) -> Result<(String, String), StoreError> {
    let of_table = apart(connection, |connection| {
        let names = reservations::table
            .filter(reservations::id.eq(id))
            .select((reservations::app, reservations::component));
        Ok::<Option<(String, String)>, StoreError>(names.first(connection).optional()?)
    });
    match of_table {
        Ok(names) => Ok(names.unwrap_or_default()),
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            log::debug!("the names of reservation {id}: {error}");
            let indexed = indexed_names(connection, &format!("id IN ({})", list(&[id])));
            let indexed = indexed.inspect_err(|error| log::debug!("the names of reservation {id}: {error}"));
            let first = indexed.unwrap_or_default().into_iter().next();
            Ok(first.map(|(_, app, component)| (app, component)).unwrap_or_default())
        }
    }
}

/// Numbers and names from the index of names, without reading the table: for an SQLite table with
/// damaged rows. Empty on Postgres, where an index alone cannot be read.
pub(crate) fn indexed_names(
    connection: &mut AnyConnection,
    which: &str,
) -> Result<Vec<(i64, String, String)>, StoreError> {
    let AnyConnection::Sqlite(connection) = connection else { return Ok(Vec::new()) };
    let names: Vec<NamedRow> = sql_query(format!(
        "SELECT id, app, component FROM reservations INDEXED BY sqlite_autoindex_reservations_2
         WHERE app >= '' AND {which}"
    ))
    .load(connection)?;
    Ok(names.into_iter().map(|row| (row.id, row.app, row.component)).collect())
}

/// Rows that could be read, and those that could not, with what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub rows: Vec<(ReservationRow, StateRow)>,
    pub unreadable: Vec<(i64, String)>,
}

/// The reservations `ids` with their states, in no order. Those that do not exist are left out.
/// Within a transaction on Postgres this fails when any row cannot be read, because a failing
/// statement aborts the transaction; see [`read_within`].
pub(crate) fn read(connection: &mut AnyConnection, ids: &[i64]) -> Result<Read, StoreError> {
    read_by(connection, ids, read_together)
}

/// Like [`read`], but works within a transaction on either database. On Postgres each attempt costs
/// a savepoint.
pub(crate) fn read_within(connection: &mut AnyConnection, ids: &[i64]) -> Result<Read, StoreError> {
    read_by(connection, ids, |connection, ids| apart(connection, |connection| read_together(connection, ids)))
}

/// Reads something so that the transaction survives a failure. Postgres needs a savepoint for this,
/// SQLite does not.
pub(crate) fn apart<T>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match connection {
        AnyConnection::Postgres(_) => connection.transaction(read),
        AnyConnection::Sqlite(_) => read(connection),
    }
}

type Attempt = fn(&mut AnyConnection, &[i64]) -> Result<(Rows, Vec<(i64, String)>), StoreError>;

fn read_by(connection: &mut AnyConnection, ids: &[i64], attempt: Attempt) -> Result<Read, StoreError> {
    let mut read = Read::default();
    for ids in ids.chunks(CHUNK) {
        read_apart(connection, ids, attempt, &mut read)?;
    }
    Ok(read)
}

/// Halves a set of ids that cannot be read, until the row at fault is alone.
fn read_apart(
    connection: &mut AnyConnection,
    ids: &[i64],
    attempt: Attempt,
    into: &mut Read,
) -> Result<(), StoreError> {
    match attempt(connection, ids) {
        Ok((rows, malformed)) => {
            into.rows.extend(rows);
            into.unreadable.extend(malformed);
            Ok(())
        }
        Err(error) if error.is_unavailable() || is_over(connection) => Err(error),
        Err(error) if ids.len() == 1 => {
            into.unreadable.extend(ids.iter().map(|id| (*id, error.to_string())));
            Ok(())
        }
        Err(_) => {
            let (first, second) = ids.split_at(ids.len() / 2);
            read_apart(connection, first, attempt, into)?;
            read_apart(connection, second, attempt, into)
        }
    }
}

/// Whether the open transaction is aborted, so that Postgres refuses every further statement.
pub(crate) fn is_over(connection: &mut AnyConnection) -> bool {
    let AnyConnection::Postgres(connection) = connection else { return false };
    connection.batch_execute("SELECT").is_err()
}

type Rows = Vec<(ReservationRow, StateRow)>;

fn read_together(
    connection: &mut AnyConnection,
    ids: &[i64],
) -> Result<(Rows, Vec<(i64, String)>), StoreError> {
    let malformed = malformed(connection, ids)?;
    let mut rows: Rows = reservations::table
        .inner_join(states::table)
        .filter(reservations::id.eq_any(ids))
        .select((ReservationRow::as_select(), StateRow::as_select()))
        .load(connection)?;
    if !malformed.is_empty() {
        rows.retain(|(row, _)| !malformed.iter().any(|one| one.id == row.id));
    }
    Ok((rows, malformed.into_iter().map(|one| (one.id, one.problem())).collect()))
}

/// A row with a value of another type where a number belongs.
pub(crate) struct Malformed {
    /// The reservation.
    pub id: i64,
    /// Whether the column is in `reservations`, not in `states`.
    pub is_in_terms: bool,
    column: String,
}

impl Malformed {
    /// What is wrong with it.
    pub fn problem(&self) -> String {
        let table = if self.is_in_terms { "reservations" } else { "states" };
        format!("{table}.{} is not a number", self.column)
    }
}

/// Rows with a value of another type where a number belongs. Always empty on Postgres, which
/// prevents that.
pub(crate) fn malformed(connection: &mut AnyConnection, ids: &[i64]) -> Result<Vec<Malformed>, StoreError> {
    let AnyConnection::Sqlite(connection) = connection else { return Ok(Vec::new()) };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (mut which, mut any) = (String::new(), String::new());
    let of_terms = rows::NUMBERS.iter().map(|column| format!("r.{column}"));
    for column in of_terms.chain(NUMBERS.iter().map(ToString::to_string)) {
        let wrong = format!("typeof({column}) NOT IN ('integer', 'null')");
        // Writing to a String does not fail.
        let _ = write!(which, " WHEN {wrong} THEN '{column}'");
        let _ = write!(any, "{}{wrong}", if any.is_empty() { "" } else { " OR " });
    }
    let rows: Vec<IdAndText> = sql_query(format!(
        "SELECT s.reservation_id AS id, CASE{which} END AS text
         FROM states s
         JOIN reservations r ON r.id = s.reservation_id
         WHERE s.reservation_id IN ({}) AND ({any})",
        list(ids)
    ))
    .load(connection)?;
    let malformed = |row: IdAndText| Malformed {
        id: row.id,
        is_in_terms: row.text.starts_with("r."),
        column: row.text[2..].to_owned(),
    };
    Ok(rows.into_iter().map(malformed).collect())
}

/// Ids as an SQL list.
pub(crate) fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// A row of a query that returns a number and a text.
#[derive(QueryableByName)]
pub(crate) struct IdAndText {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub text: String,
}
