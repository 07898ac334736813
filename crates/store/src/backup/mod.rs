//! Copies of an SQLite database: [`back_up`] makes one while Innkeeper runs, [`restore`] replaces
//! the database by one.
//!
//! Both write to a file with a temporary name, and rename it only when it is complete and on the
//! disk. Thus neither a crash nor a full disk leaves a file that looks like a database but is not
//! one. A copy gets an id of its own, so that no process takes it for the original.

mod copying;
mod restore;

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::{
    ConnectionError, ConnectionResult, QueryResult, RunQueryDsl as _, SqliteConnection, sql_query, sql_types,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::StoreError;
use crate::database_file::{APPLICATION, address, beside, new_id, obstacle, vacuum_into};

pub use copying::Copying;
pub use restore::{Restored, restore};

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// How many reservations it has.
    pub reservations: i64,
    /// How many check-ins its history has.
    pub checkins: i64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Writes a copy of the database, as of one moment, into the new file `target`. Others can use the
/// database meanwhile.
///
/// # Errors
/// A `StoreError` if there is no database, if `target` exists already, if the database cannot be
/// read or `target` cannot be written, or if `copying` was abandoned.
pub fn back_up(database: &Path, target: &Path, copying: &Copying) -> Result<Backup, StoreError> {
    if let Err(error) = fs::metadata(database) {
        return Err(refused(format!("there is no database at {}: {error}", database.display())));
    }
    if fs::symlink_metadata(target).is_ok() {
        return Err(refused(format!(
            "{} is there already, and a backup overwrites nothing: give another name",
            target.display()
        )));
    }
    let path = beside(target, &format!(".partial-{}", std::process::id()));
    let partial = Partial::new(path, target, copying)?;
    let mut source = open(database, "rw")?;
    copy_into(&mut source, database, &partial)?;
    drop(source);
    let mut copy = open_copy(partial.path()).map_err(|error| partial.cannot(&error))?;
    give_new_id(&mut copy).map_err(|error| partial.cannot(&error))?;
    check(&mut copy, database)?;
    let made = Backup {
        reservations: number(&mut copy, "SELECT COUNT(*) AS number FROM reservations")?,
        checkins: number(&mut copy, "SELECT COUNT(*) AS number FROM checkins")?,
        bytes: fs::metadata(partial.path()).map_err(|error| partial.cannot(&error))?.len(),
    };
    drop(copy);
    copying.finish()?;
    partial.become_new()?;
    Ok(made)
}

/// Copies all of `source`, which is the file `from`, into `partial`. An error names the file that
/// it is about.
fn copy_into(source: &mut SqliteConnection, from: &Path, partial: &Partial) -> Result<(), StoreError> {
    let Err(error) = vacuum_into(source, partial.path()) else { return Ok(()) };
    match StoreError::from(error) {
        StoreError::Unavailable(error) | StoreError::Busy(error) => {
            let room = room_for(partial);
            let size = fs::metadata(from).map(|metadata| metadata.len());
            Err(match (room, size) {
                (Some(room), Ok(size)) if room < size => partial.cannot(&format!(
                    "{error}. {room} bytes were free there, and {} has {size}: make room, or choose another place",
                    from.display(),
                )),
                _ => partial.cannot(&error),
            })
        }
        StoreError::Damaged(error) => Err(damaged(from, &error.to_string())),
        // All other errors are about the source, also those about a lock, because no other process
        // uses the copy.
        error => Err(refused(format!("{}: {error}", from.display()))),
    }
}

/// How many bytes the partial file can have at most, including those already written. `None` if the
/// file system does not tell.
fn room_for(partial: &Partial) -> Option<u64> {
    let room = rustix::fs::fstatvfs(&partial.file).ok()?;
    let written = partial.file.metadata().ok()?.blocks() * 512;
    Some(room.f_bavail.saturating_mul(room.f_frsize) + written)
}

/// A file that is being written. Dropping it removes the file, unless it has been renamed to its
/// target.
struct Partial<'a> {
    path: PathBuf,
    target: PathBuf,
    file: File,
    copying: &'a Copying,
}

impl<'a> Partial<'a> {
    /// Creates an empty file that is to become `target`, with access for its owner only.
    fn new(path: PathBuf, target: &Path, copying: &'a Copying) -> Result<Self, StoreError> {
        if path.to_str().is_none() {
            return Err(refused(format!("{} is no name in UTF-8", target.display())));
        }
        let file = copying.begin(&path, || {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            made.map_err(|error| {
                let directory = directory_of(target);
                match error.kind() {
                    ErrorKind::NotFound | ErrorKind::NotADirectory if !directory.is_dir() => {
                        refused(format!(
                            "there is no directory {} for {} ({error}): make it, or choose another place",
                            directory.display(),
                            target.display()
                        ))
                    }
                    _ => {
                        let why = obstacle(target).map(|why| format!(": {why}")).unwrap_or_default();
                        refused(format!("{} cannot be written: {error}{why}", target.display()))
                    }
                }
            })
        })?;
        Ok(Self { path, target: target.to_owned(), file, copying })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// An error that says that the target cannot be written.
    fn cannot(&self, error: &dyn Display) -> StoreError {
        refused(format!("{} cannot be written: {error}", self.target.display()))
    }

    /// Syncs the file to the disk, and renames it to its target, which must not exist.
    fn become_new(self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| self.cannot(&error))?;
        rename_to_new(&self.path, &self.target)?;
        sync_directory_of(&self.target)
    }

    /// Syncs the file to the disk, and replaces its target by it in one step.
    fn replace(self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| self.cannot(&error))?;
        fs::rename(&self.path, &self.target).map_err(|error| self.cannot(&error))?;
        sync_directory_of(&self.target)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        self.copying.end();
        remove_written(&self.path);
    }
}

/// Removes a partial copy and SQLite's journal beside it. After it was renamed to its target, there
/// is nothing to remove.
fn remove_written(partial: &Path) {
    for path in [partial.to_owned(), beside(partial, "-journal")] {
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("{}: {error}", path.display());
        }
    }
}

/// Opens the database at `path` without changing it. `mode` is SQLite's `ro` or `rw`.
fn open(path: &Path, mode: &str) -> Result<SqliteConnection, StoreError> {
    let mut connection = SqliteConnection::establish(&address(path, mode)).map_err(|error| {
        let why = obstacle(path).map(|why| format!(": {why}")).unwrap_or_default();
        refused(format!("{}: {error}{why}", path.display()))
    })?;
    connection
        .batch_execute(
            "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; SELECT COUNT(*) FROM sqlite_schema",
        )
        .map_err(|error| named(path, error))?;
    Ok(connection)
}

/// Opens a copy that no other process uses.
fn open_copy(path: &Path) -> ConnectionResult<SqliteConnection> {
    let mut copy = SqliteConnection::establish(&address(path, "rw"))?;
    // No journal on the disk is needed: if anything fails, the whole copy is removed.
    copy.batch_execute(
        "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL",
    )
    .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(copy)
}

fn give_new_id(copy: &mut SqliteConnection) -> QueryResult<()> {
    copy.batch_execute(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}", new_id()))
}

/// Reads the whole database, and fails if it is damaged.
fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let found: Vec<Found> =
        sql_query("PRAGMA quick_check(1)").load(connection).map_err(|error| named(path, error))?;
    match found.first() {
        Some(Found { quick_check }) if quick_check != "ok" => Err(damaged(path, quick_check)),
        _ => Ok(()),
    }
}

fn number(connection: &mut SqliteConnection, sql: &str) -> Result<i64, StoreError> {
    Ok(sql_query(sql).get_result::<Number>(connection)?.number)
}

/// Renames a file, and fails if a file with the new name exists.
fn rename_to_new(from: &Path, to: &Path) -> Result<(), StoreError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system cannot do this in one step.
        Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(to).is_err() => {
            fs::rename(from, to).map_err(|error| about(to, &error))
        }
        done => done.map_err(|error| about(to, &error.into())),
    }
}

fn sync_directory_of(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| about(directory, &error))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An error that says that a file is damaged. `findings` is SQLite's report: a heading, and a line
/// for each finding.
fn damaged(path: &Path, findings: &str) -> StoreError {
    let findings: Vec<&str> = findings.lines().filter(|line| !line.starts_with("***")).collect();
    refused(format!(
        "{} is damaged ({}): only a database that can be read from end to end is copied",
        path.display(),
        findings.join("; ")
    ))
}

fn refused(text: String) -> StoreError {
    StoreError::File(text)
}

fn about(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::File(format!("{}: {error}", path.display()))
}

fn named(path: &Path, error: diesel::result::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Damaged(error) => damaged(path, &error.to_string()),
        StoreError::Unavailable(error) | StoreError::Busy(error) | StoreError::Locked(error) => {
            let why = obstacle(path).map(|why| format!(": {why}")).unwrap_or_default();
            refused(format!("{}: {error}{why}", path.display()))
        }
        error => refused(format!("{}: {error}", path.display())),
    }
}

#[derive(diesel::QueryableByName)]
struct Found {
    #[diesel(sql_type = sql_types::Text)]
    quick_check: String,
}

#[derive(diesel::QueryableByName)]
struct Words {
    #[diesel(sql_type = sql_types::Text)]
    words: String,
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = sql_types::BigInt)]
    number: i64,
}
