//! What is done with the last connection to a file that was lost.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::{QueryResult, RunQueryDsl as _, SqliteConnection, sql_query, sql_types};

use super::identity::{Identity, named};
use super::progress::Progress;
use super::remains::{Remains, Way};

/// What was done with the remains.
pub(super) struct Settled {
    /// In a sentence what was saved, if anything was.
    pub saved: String,
    /// How far the database had come.
    pub progress: Option<Progress>,
    /// The files that have all of it without any log: what lies beside one of them as its log is another's.
    pub whole: Vec<Identity>,
}

/// Saves what it can and closes the rest. What cannot be saved yet is given back, with the reason in a sentence: to close it would be
/// its end.
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
        // Closing them would bring the log into a database that it does not belong to. They go with the process.
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
        // So that the file is whole wherever it is, and so that the log, whose name has stayed, is empty: SQLite would put it
        // into whatever database lies beside it.
        let emptied = empty_log(&mut super::lock(&remains.anchor));
        match emptied {
            // The number of a file that is deleted is free for another one.
            Ok(()) if remains.is_deleted => {}
            Ok(()) => whole.push(remains.main),
            // All that it held is in the copy.
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
    // Where the file has kept its name, closing the last connection brings the log, which is still open, into it.
    let Remains { anchor, reader, .. } = remains;
    drop(anchor);
    drop(reader);
    Ok(Settled { saved, progress, whole })
}

/// Brings all that the log holds into the file, and cuts the log off.
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

/// Gives logs of this process's own other names.
fn set_aside(logs: &[PathBuf]) {
    for own in logs {
        if let Err(error) = fs::rename(own, aside(own, "stale")) {
            log::warn!("{}: {error}", own.display());
        }
    }
}

/// Copies a deleted file's content, which goes with its last connection, to a name beside where it was, and returns that.
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

/// Copies what a file held whose end is gone, if all of it can still be read: what was written last is in the log.
fn rescue_cut(anchor: &mut SqliteConnection, reader: &File, path: &Path) -> Result<String, String> {
    // Somebody who copies another database over it begins by cutting it off: what follows is not its own.
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

/// Whether something could not be read, whenever it is tried again.
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

/// Writes a whole, compact copy into a file that is empty or not there, as of one moment.
pub(crate) fn vacuum_into(connection: &mut SqliteConnection, copy: &Path) -> QueryResult<()> {
    sql_query("VACUUM INTO $1")
        .bind::<sql_types::Text, _>(copy.to_string_lossy().into_owned())
        .execute(connection)
        .map(drop)
}

/// A name of its own beside `path`, which nothing has yet, nor with a suffix of SQLite's: `innkeeper.db.rescued-1764093600`, and
/// `innkeeper.db.rescued-1764093600-2` for the second in the same second.
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
