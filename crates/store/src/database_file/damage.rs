//! Damage within an SQLite file: pages whose content is invalid.
//!
//! Innkeeper goes on working with the rest. A statement that meets such a page fails; the whole file is then checked. It is also checked
//! at intervals, so that people hear of damage that no statement meets.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};

use crate::connection::AnyConnection;
use crate::{Store, StoreError};

/// Whether a statement of this process has met damage since somebody looked.
static MET: AtomicBool = AtomicBool::new(false);

/// The most findings that are told; a damaged file can have thousands.
const MOST: usize = 5;

/// Notes that a statement has met damage.
pub(crate) fn met() {
    MET.store(true, Ordering::SeqCst);
}

impl Store {
    /// Whether a statement of this process has met damage in its SQLite file since this was asked last.
    pub fn has_met_damage(&self) -> bool {
        self.file().is_some() && MET.swap(false, Ordering::SeqCst)
    }

    /// Reads through the whole SQLite file, table by table, and remembers what is damaged; none where all is well, and over Postgres. It
    /// takes as long as reading the file does; `go_on` is asked between tables.
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

    /// What the latest look has found damaged.
    pub fn damage(&self) -> Option<String> {
        self.file().and_then(|file| file.damage())
    }
}

/// What is damaged. A transaction for each table, so that the log can be emptied between them.
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
