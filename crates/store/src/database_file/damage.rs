//! Damage within an SQLite file: pages whose content is invalid.
//!
//! Innkeeper goes on working with the rest. If a statement meets such a page, it fails, and the
//! whole file is checked. The file is also checked at intervals, to find damage that no statement
//! meets.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};

use crate::connection::AnyConnection;
use crate::{Store, StoreError};

/// Whether a statement of this process has met damage since [`Store::has_met_damage`] was last
/// called.
static MET: AtomicBool = AtomicBool::new(false);

/// The most findings that are reported. A damaged file can have thousands.
const MOST: usize = 5;

/// Notes that a statement has met damage.
pub(crate) fn met() {
    MET.store(true, Ordering::SeqCst);
}

impl Store {
    /// Whether a statement of this process has met damage in an SQLite file since the last call.
    pub fn has_met_damage(&self) -> bool {
        self.file().is_some() && MET.swap(false, Ordering::SeqCst)
    }

    /// Checks the whole SQLite file, table by table, and stores the damage that it finds. `None` if
    /// there is none, and on Postgres. This takes as long as reading the file. It ends early if
    /// `go_on` returns false between two tables.
    ///
    /// # Errors
    /// A `StoreError` when the file cannot be opened, is lost or is locked by another process.
    /// Damage is no error.
    pub fn look_for_damage(&self, go_on: &dyn Fn() -> bool) -> Result<Option<String>, StoreError> {
        let Some(file) = self.file() else { return Ok(None) };
        let mut connected = self.connect_for_batches(None)?;
        let AnyConnection::Sqlite(connection) = &mut *connected else { return Ok(None) };
        let findings = match find(connection, go_on) {
            Err(StoreError::Damaged(error)) => vec![error.to_string()],
            found => found?,
        };
        let words = (!findings.is_empty())
            .then(|| format!("{} is damaged: {}", file.path().display(), findings.join("; ")));
        file.note_damage(words.clone());
        Ok(words)
    }

    /// The damage that the latest check has found.
    pub fn damage(&self) -> Option<String> {
        self.file().and_then(|file| file.damage())
    }
}

/// Finds damage. Each table is checked in a transaction of its own, so that the log can be emptied
/// between them.
fn find(connection: &mut SqliteConnection, go_on: &dyn Fn() -> bool) -> Result<Vec<String>, StoreError> {
    let tables: Vec<Table> =
        sql_query("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name")
            .load(connection)?;
    let mut findings = Vec::new();
    for Table { name } in tables {
        if findings.len() >= MOST || !go_on() {
            break;
        }
        let look = sql_query(format!("PRAGMA quick_check(\"{}\")", name.replace('"', "\"\"")));
        let found: Vec<Found> = match look.load(connection).map_err(StoreError::from) {
            Err(StoreError::Damaged(error)) => vec![Found { quick_check: error.to_string() }],
            found => found?,
        };
        findings.extend(
            found
                .into_iter()
                .flat_map(|found| found.quick_check.lines().map(str::to_owned).collect::<Vec<_>>())
                .filter(|line| line != "ok" && !line.starts_with("***"))
                .map(|line| format!("{name}: {line}"))
                .take(MOST - findings.len()),
        );
    }
    Ok(findings)
}

#[derive(diesel::QueryableByName)]
struct Table {
    #[diesel(sql_type = sql_types::Text)]
    name: String,
}

#[derive(diesel::QueryableByName)]
struct Found {
    #[diesel(sql_type = sql_types::Text)]
    quick_check: String,
}
