//! Mends rows that do not hold what the schema promises: NULL or text where a number belongs, or
//! bytes that are not UTF-8 text.
//!
//! SQLite takes any value into any column when a file is edited by hand. One such row in a table
//! that every node reads (blind windows, nodes, duties) would stop all heartbeats and sweeps. A
//! wrong value in a column that may be NULL becomes NULL. Otherwise a row of a table that fills
//! itself again is removed, and a row of `alerts` or `deliveries` is made readable; a message that
//! was waiting is given up. Reservations are not changed: those that cannot be judged are reported
//! (`unjudged.rs`). On Postgres none of this can happen.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::Connection as _;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Integer, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::migrate::make_tables;
use crate::readable::{IdAndText, list};
use crate::rows::ms;
use crate::{Store, StoreError};

/// Small tables, whose rows are written again when they are needed.
const SMALL: [&str; 11] = [
    "blind_windows",
    "nodes",
    "duties",
    "leases",
    "clock_steps",
    "ways",
    "outages",
    "unjudged",
    "checks",
    "refusals",
    "pacing",
];
/// Tables that may be large, and whose rows are kept.
const LARGE: [&str; 2] = ["alerts", "deliveries"];
/// The most rows whose texts are checked together.
const CHUNK: i64 = 500;
/// The most rows that one call mends. A file with more wrong rows needs several calls.
const MOST: usize = 1000;

/// Whether a row could not be read since [`Store::has_met_unreadable_rows`] was called last.
static MET: AtomicBool = AtomicBool::new(false);

/// Notes that a row could not be read.
pub(crate) fn met() {
    MET.store(true, Ordering::SeqCst);
}

/// In which tables rows are mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MendExtent {
    /// The small tables only.
    SmallTables,
    /// Also those that may be large.
    AllTables,
}

/// A column, as the schema declares it.
struct Column {
    name: String,
    is_text: bool,
    may_be_null: bool,
}

impl Column {
    /// An SQL condition: the column holds a value of another type.
    fn is_wrong(&self) -> String {
        let kind = if self.is_text { "text" } else { "integer" };
        let null = if self.may_be_null { ", 'null'" } else { "" };
        format!("typeof({}) NOT IN ('{kind}'{null})", self.name)
    }
}

/// A row, and which of its columns are wrong.
struct Wrong {
    row: i64,
    columns: Vec<usize>,
}

impl Store {
    /// Whether a row of the SQLite file could not be read since the last call.
    pub fn has_met_unreadable_rows(&self) -> bool {
        self.file().is_some() && MET.swap(false, Ordering::SeqCst)
    }

    /// Looks for rows that do not hold what the schema promises, and mends them. Returns a text for
    /// each row that says what was wrong and what became of it.
    ///
    /// # Errors
    /// The `StoreError` of the last table that failed, if no row of any table could be mended. A
    /// table that fails does not keep the others from being mended.
    pub fn mend_rows(&self, extent: MendExtent, now: Time) -> Result<Vec<String>, StoreError> {
        if self.file().is_none() {
            return Ok(Vec::new());
        }
        let (mut mended, mut failed) = (Vec::new(), None);
        for (table, columns) in
            promised()?.iter().filter(|(table, _)| extent == MendExtent::AllTables || SMALL.contains(table))
        {
            if let Err(error) = self.mend_table(table, columns, now, &mut mended) {
                log::warn!("the rows of {table} that cannot be read stay: {error}");
                failed = Some(error);
            }
        }
        if !mended.is_empty() {
            self.try_unjudged_again(now)?;
        }
        match failed {
            Some(error) if mended.is_empty() => Err(error),
            _ => Ok(mended),
        }
    }

    fn mend_table(
        &self,
        table: &'static str,
        columns: &[Column],
        now: Time,
        mended: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let wrong = find(&mut *self.get()?, table, columns)?;
        if wrong.is_empty() {
            return Ok(());
        }
        let words = self.write(|connection| {
            let mend = |wrong: &Wrong| mend(connection, table, columns, wrong, now);
            wrong.iter().map(mend).collect::<Result<Vec<_>, _>>()
        })?;
        for words in &words {
            log::error!("{words}");
        }
        mended.extend(words);
        Ok(())
    }
}

/// A table's name and its columns.
type Table = (&'static str, Vec<Column>);

/// The columns of the tables as the migrations make them. The schema in the file may have been
/// edited as well, so it is not used.
fn promised() -> Result<&'static [Table], StoreError> {
    static PROMISED: OnceLock<Vec<Table>> = OnceLock::new();
    if let Some(known) = PROMISED.get() {
        return Ok(known);
    }
    let mut pristine = SqliteConnection::establish(":memory:")?;
    make_tables(&mut pristine)?;
    let mut tables = Vec::new();
    for table in SMALL.into_iter().chain(LARGE) {
        let rows: Vec<ColumnRow> = sql_query(format!(
            "SELECT name, type = 'TEXT' AS is_text, \"notnull\" = 0 AND pk = 0 AS may_be_null
             FROM pragma_table_info('{table}')"
        ))
        .load(&mut pristine)?;
        let column = |row: ColumnRow| Column {
            name: row.name,
            is_text: row.is_text == 1,
            may_be_null: row.may_be_null == 1,
        };
        tables.push((table, rows.into_iter().map(column).collect()));
    }
    Ok(PROMISED.get_or_init(|| tables))
}

/// The rows that have wrong columns.
fn find(connection: &mut AnyConnection, table: &str, columns: &[Column]) -> Result<Vec<Wrong>, StoreError> {
    let conditions: Vec<String> = columns.iter().map(Column::is_wrong).collect();
    let which: Vec<String> = conditions
        .iter()
        .enumerate()
        .map(|(n, wrong)| format!("CASE WHEN {wrong} THEN '{n} ' ELSE '' END"))
        .collect();
    let rows: Vec<IdAndText> = sql_query(format!(
        "SELECT rowid AS id, {} AS text FROM {table} WHERE {} LIMIT {MOST}",
        which.join(" || "),
        conditions.join(" OR ")
    ))
    .load(connection)?;
    let numbers = |text: &str| text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let mut wrong: Vec<Wrong> =
        rows.into_iter().map(|row| Wrong { row: row.id, columns: numbers(&row.text) }).collect();
    // Of the messages only those that wait are read again.
    let which = if table == "deliveries" { "state = 'waiting' AND" } else { "" };
    for (n, column) in columns.iter().enumerate().filter(|(_, column)| column.is_text) {
        let mut after = i64::MIN;
        loop {
            let rows: Vec<Bytes> = sql_query(format!(
                "SELECT rowid AS id, CAST({name} AS BLOB) AS bytes
                 FROM {table}
                 WHERE {which} rowid > $1 AND typeof({name}) = 'text'
                 ORDER BY rowid LIMIT {CHUNK}",
                name = column.name
            ))
            .bind::<BigInt, _>(after)
            .load(connection)?;
            let no_text = rows.iter().filter(|row| std::str::from_utf8(&row.bytes).is_err());
            wrong.extend(no_text.map(|row| Wrong { row: row.id, columns: vec![n] }));
            match rows.last() {
                Some(last) if rows.len() as i64 == CHUNK => after = last.id,
                _ => break,
            }
        }
    }
    Ok(wrong)
}

/// Mends one row; returns what was wrong and what became of it.
fn mend(
    connection: &mut AnyConnection,
    table: &str,
    columns: &[Column],
    Wrong { row, columns: wrong }: &Wrong,
    now: Time,
) -> Result<String, StoreError> {
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote({})", column.name)).collect();
    let values: Vec<Bytes> = sql_query(format!(
        "SELECT rowid AS id, CAST({} AS BLOB) AS bytes FROM {table} WHERE rowid IN ({})",
        quoted.join(" || ', ' || "),
        list(&[*row])
    ))
    .load(connection)?;
    let values: String = values.iter().map(|row| String::from_utf8_lossy(&row.bytes)).collect();
    let wrong: Vec<&Column> = wrong.iter().filter_map(|n| columns.get(*n)).collect();
    let mut set: Vec<String> = Vec::new();
    for column in &wrong {
        let empty = match column {
            Column { may_be_null: true, .. } => "NULL",
            Column { is_text: true, .. } => "''",
            Column { .. } => "0",
        };
        set.push(format!("{} = {empty}", column.name));
    }
    let can_be_emptied = wrong.iter().all(|column| column.may_be_null);
    let keeps = can_be_emptied || LARGE.contains(&table);
    let which = format!("WHERE rowid IN ({})", list(&[*row]));
    if keeps {
        if table == "deliveries" && !can_be_emptied {
            set.retain(|assignment| {
                !assignment.starts_with("state ") && !assignment.starts_with("finished_at ")
            });
            set.push(format!(
                "state = CASE state WHEN 'delivered' THEN 'delivered' ELSE 'dead' END, finished_at = {0}, lease_until = NULL,
                 problem = 'its row could not be read'",
                ms(now)
            ));
        }
        sql_query(format!("UPDATE {table} SET {} {which}", set.join(", "))).execute(connection)?;
    } else {
        sql_query(format!("DELETE FROM {table} {which}")).execute(connection)?;
    }
    let names: Vec<&str> = wrong.iter().map(|column| column.name.as_str()).collect();
    let became = match (keeps, table) {
        (true, "deliveries") if !can_be_emptied => "the message is given up",
        (true, _) => "it is emptied there",
        (false, _) => "it is removed",
    };
    let values: String = values.chars().take(500).collect();
    Ok(format!("a row of {table} could not be read ({}), and {became}: {values}", names.join(", ")))
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Integer)]
    is_text: i32,
    #[diesel(sql_type = Integer)]
    may_be_null: i32,
}

#[derive(QueryableByName)]
struct Bytes {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Binary)]
    bytes: Vec<u8>,
}
