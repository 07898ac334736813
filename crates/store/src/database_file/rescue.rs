//! What is done with the last connection to a file that was lost.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::connection::SimpleConnection as _;
use diesel::{QueryResult, RunQueryDsl as _, SqliteConnection, sql_query, sql_types};

use super::loss::{Remains, Way};

/// Saves what it can and closes the rest. Returns in a sentence what was saved, if anything was.
pub(super) fn settle(path: &Path, way: Way, remains: Remains) -> String {
    let Remains { anchor, reader, is_deleted, beside } = remains;
    if way == Way::Overwritten {
        for own in beside {
            if let Err(error) = fs::rename(&own, aside(&own, "stale")) {
                log::warn!("{}: {error}", own.display());
            }
        }
        // Closing them would bring the log into a database that it does not belong to. They go with the process.
        std::mem::forget(anchor);
        std::mem::forget(reader);
        return "Its log was set aside, so that it cannot be put into what is there now.".to_owned();
    }
    let mut connection = super::lock(&anchor);
    let saved = if is_deleted { rescue(&mut connection, path) } else { String::new() };
    if way != Way::LogGone {
        // So that the file is whole wherever it is, and so that the log, whose name has stayed, is empty: SQLite would put it
        // into whatever database lies beside it.
        if let Err(error) = connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)") {
            log::debug!("the last checkpoint: {error}");
        }
    }
    // Where the file has kept its name, closing the last connection brings the log, which is still open, into it.
    drop(connection);
    drop(anchor);
    drop(reader);
    saved
}

/// Copies a deleted file's content, which goes with its last connection, to a name beside where it was.
fn rescue(anchor: &mut SqliteConnection, path: &Path) -> String {
    let copy = aside(path, "rescued");
    match copy_to(anchor, &copy) {
        Ok(()) => format!("All that it held is saved in {}.", copy.display()),
        Err(error) => {
            if let Err(error) = fs::remove_file(&copy) {
                log::debug!("{}: {error}", copy.display());
            }
            format!("What it held could not be saved in {}: {error}.", copy.display())
        }
    }
}

fn copy_to(anchor: &mut SqliteConnection, copy: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy)?;
    vacuum_into(anchor, copy)?;
    file.sync_all()?;
    Ok(())
}

/// Writes a whole, compact copy into a file that is empty or not there, as of one moment.
pub(crate) fn vacuum_into(connection: &mut SqliteConnection, copy: &Path) -> QueryResult<()> {
    sql_query("VACUUM INTO $1")
        .bind::<sql_types::Text, _>(copy.to_string_lossy().into_owned())
        .execute(connection)
        .map(drop)
}

/// A name of its own beside `path`: `innkeeper.db.rescued-1764093600`.
pub(crate) fn aside(path: &Path, why: &str) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    super::beside(path, &format!(".{why}-{now}"))
}
