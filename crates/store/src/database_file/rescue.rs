//! Saves the content of a file that was lost, and closes the last connection to it.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::{QueryResult, RunQueryDsl as _, SqliteConnection, sql_query, sql_types};

use super::identity::{Identity, named};
use super::progress::Progress;
use super::remains::{Remains, Way};

/// The result of rescuing a lost file.
pub(super) struct Settled {
    /// A sentence that says what was saved. Empty if nothing was.
    pub saved: String,
    /// The progress of the database when it was lost.
    pub progress: Option<Progress>,
    /// The identities of files that hold all its content without a log. A log beside one of them
    /// belongs to another database.
    pub whole: Vec<Identity>,
}

/// Saves what can be saved, and closes the rest. If saving fails, the remains are returned with a
/// sentence that says why, because closing them would lose their content.
pub(super) fn settle(path: &Path, way: Way, remains: Remains) -> Result<Settled, (Remains, String)> {
    if way.is_final() {
        let saved = match way {
            Way::Cut => rescue_cut(&mut super::lock(&remains.anchor), &remains.reader, path),
            _ => Ok(String::new()),
        };
        let saved = match saved {
            Ok(saved) => saved,
            Err(problem) => return Err((remains, problem)),
        };
        let Remains { anchor, reader, beside, .. } = remains;
        set_aside(&beside);
        // Closing them would write the log into a database that it does not belong to. They stay
        // open until the process ends.
        std::mem::forget(anchor);
        std::mem::forget(reader);
        let log = "Its log was set aside, so that it cannot be put into what is there now.";
        let saved = format!("{saved} {log}").trim().to_owned();
        return Ok(Settled { saved, progress: None, whole: Vec::new() });
    }
    let rescued = remains.is_deleted.then(|| rescue(&mut super::lock(&remains.anchor), path));
    let (saved, copy) = match rescued {
        Some(Ok((saved, copy))) => (saved, Some(copy)),
        Some(Err(problem)) => return Err((remains, problem)),
        None => (String::new(), None),
    };
    let mut whole: Vec<Identity> = copy.iter().filter_map(|copy| named(copy)).collect();
    let progress = Progress::of(&mut super::lock(&remains.anchor));
    if way != Way::LogGone {
        // Write the log into the file, so that the file is complete wherever it is now. The log is
        // then empty. It has kept its name, and otherwise SQLite would write it into any database
        // that gets the file's name.
        let emptied = empty_log(&mut super::lock(&remains.anchor));
        match emptied {
            // The inode of a deleted file may be given to another file, so it does not identify
            // this one.
            Ok(()) if remains.is_deleted => {}
            Ok(()) => whole.push(remains.main),
            // The copy has everything that the log held.
            Err(error) if remains.is_deleted => {
                log::warn!("the log of {}: {error}", path.display());
                set_aside(&remains.beside);
            }
            Err(error) => {
                return Err((
                    remains,
                    format!(
                        "What its log holds cannot be brought into it yet ({error}). It is tried again until this process ends; \
                         leave the file and its log (-wal) where they are."
                    ),
                ));
            }
        }
    }
    // If only the log was lost, closing the last connection writes the log, which is still open,
    // into the file.
    let Remains { anchor, reader, .. } = remains;
    drop(anchor);
    drop(reader);
    Ok(Settled { saved, progress, whole })
}

/// Writes all of the log into the file, and empties the log.
fn empty_log(connection: &mut SqliteConnection) -> Result<(), String> {
    let done: QueryResult<Checkpoint> = sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(connection);
    match done {
        Ok(Checkpoint { busy: 0 }) => Ok(()),
        Ok(_) => Err("another process reads it or writes to it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(diesel::QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = sql_types::Integer)]
    busy: i32,
}

/// Renames the logs that this process has written.
fn set_aside(logs: &[PathBuf]) {
    for own in logs {
        if let Err(error) = fs::rename(own, aside(own, "stale")) {
            log::warn!("{}: {error}", own.display());
        }
    }
}

/// Copies the content of a deleted file to a new file beside its old path, and returns the path of
/// the copy. The content is lost when the last connection closes.
fn rescue(anchor: &mut SqliteConnection, path: &Path) -> Result<(String, PathBuf), String> {
    let copy = aside(path, "rescued");
    match copy_to(anchor, &copy) {
        Ok(()) => Ok((format!("All that it held is saved in {}.", copy.display()), copy)),
        Err(error) => {
            if let Err(error) = fs::remove_file(&copy) {
                log::debug!("{}: {error}", copy.display());
            }
            Err(format!(
                "What it held cannot be saved in {} yet ({error}). It is tried again until this process ends, and its content with it.",
                copy.display()
            ))
        }
    }
}

/// Copies the content of a file that was cut off, if all of it can still be read. What was written
/// last may be in the log.
fn rescue_cut(anchor: &mut SqliteConnection, reader: &File, path: &Path) -> Result<String, String> {
    // A program that copies another database over the file cuts it off first. If the file changes
    // meanwhile, the copy is not of this database.
    let state = || reader.metadata().and_then(|now| Ok((now.len(), now.modified()?)));
    let before = state();
    let copy = aside(path, "rescued");
    let copied = copy_to(anchor, &copy);
    let is_same = matches!((&before, state()), (Ok(before), Ok(after)) if *before == after);
    if copied.is_ok() && is_same {
        return Ok(format!("All that it held is saved in {}.", copy.display()));
    }
    if let Err(error) = fs::remove_file(&copy) {
        log::debug!("{}: {error}", copy.display());
    }
    match copied {
        Err(error) if is_same && !is_damage(&*error) => Err(format!(
            "What it held cannot be saved in {} yet ({error}). It is tried again until this process ends.",
            copy.display()
        )),
        _ => Ok("What it held cannot be read any more, and is not saved.".to_owned()),
    }
}

/// Whether the file cannot be read because it is damaged, so that trying again does not help.
fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    let text = error.to_string();
    ["malformed", "not a database"].iter().any(|damage| text.contains(damage))
}

fn copy_to(anchor: &mut SqliteConnection, copy: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy)?;
    vacuum_into(anchor, copy)?;
    file.sync_all()?;
    Ok(())
}

/// Writes a complete and compact copy, as of one moment, into a file that is empty or missing.
pub(crate) fn vacuum_into(connection: &mut SqliteConnection, copy: &Path) -> QueryResult<()> {
    sql_query("VACUUM INTO $1")
        .bind::<sql_types::Text, _>(copy.to_string_lossy().into_owned())
        .execute(connection)
        .map(drop)
}

/// A new name beside `path`. No file has it yet, neither alone nor with one of SQLite's suffixes.
/// For example, `innkeeper.db.rescued-1764093600`, and `innkeeper.db.rescued-1764093600-2` for
/// another file in the same second.
pub(crate) fn aside(path: &Path, why: &str) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut name = super::beside(path, &format!(".{why}-{now}"));
    let mut nth = 1;
    while ["", "-wal", "-shm", "-journal"]
        .iter()
        .any(|suffix| super::beside(&name, suffix).symlink_metadata().is_ok())
    {
        nth += 1;
        name = super::beside(path, &format!(".{why}-{now}-{nth}"));
    }
    name
}
