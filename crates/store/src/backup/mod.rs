//! Copies of an SQLite database: [`back_up`] makes one while Innkeeper runs, [`restore`] puts one in the place of the database.
//!
//! Both write under a name of their own and give the copy its name only when it is whole and on the disk, so that neither a crash
//! nor a full disk leaves a file that looks like a database but is not one. A copy gets an id of its own, so that a process that works
//! with one does not take the other for it.

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
    /// Reservations in it.
    pub reservations: i64,
    /// Check-ins in its history.
    pub checkins: i64,
    /// Its size.
    pub bytes: u64,
}

/// Writes a copy of the database, as of one moment, into the new file `target`. Those who work with the database go on meanwhile.
///
/// # Errors
/// No database, a target that is there already, what keeps the one from being read or the other from being written, and that
/// `copying` was abandoned.
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

/// Copies all of `source`, which is the file `from`, into `partial`. An error names the one of both that it is about.
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
        // An error about a lock is about the source, too: nobody else knows the copy.
        error => Err(refused(format!("{}: {error}", from.display()))),
    }
}

/// How many bytes there is room for, those included that it has by now. None where the file system does not tell.
fn room_for(partial: &Partial) -> Option<u64> {
    let room = rustix::fs::fstatvfs(&partial.file).ok()?;
    let written = partial.file.metadata().ok()?.blocks() * 512;
    Some(room.f_bavail.saturating_mul(room.f_frsize) + written)
}

/// A file that is being written; removed when dropped, unless it has become what it should be.
struct Partial<'a> {
    path: PathBuf,
    target: PathBuf,
    file: File,
    copying: &'a Copying,
}

impl<'a> Partial<'a> {
    /// An empty file, for its owner alone, that is to become `target`.
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

    /// That it cannot be written, under the name that it is to have.
    fn cannot(&self, error: &dyn Display) -> StoreError {
        refused(format!("{} cannot be written: {error}", self.target.display()))
    }

    /// Gives it its name, which nobody has, once it is on the disk.
    fn become_new(self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| self.cannot(&error))?;
        rename_to_new(&self.path, &self.target)?;
        sync_directory_of(&self.target)
    }

    /// Puts it in the place of its target in one step.
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

/// Removes a partial copy and what SQLite writes beside it. It is not there under this name any more when it has become what it should be.
fn remove_written(partial: &Path) {
    for path in [partial.to_owned(), beside(partial, "-journal")] {
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("{}: {error}", path.display());
        }
    }
}

/// Opens the database at `path` as it is; `mode` is SQLite's: `ro` or `rw`.
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

/// Opens a copy that nobody else knows of.
fn open_copy(path: &Path) -> ConnectionResult<SqliteConnection> {
    let mut copy = SqliteConnection::establish(&address(path, "rw"))?;
    // No journal: if anything goes wrong, the whole copy is thrown away.
    copy.batch_execute(
        "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL",
    )
    .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(copy)
}

fn give_new_id(copy: &mut SqliteConnection) -> QueryResult<()> {
    copy.batch_execute(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}", new_id()))
}

/// Reads all of it, and says what is damaged.
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

/// Gives a file a name that nobody has.
fn rename_to_new(from: &Path, to: &Path) -> Result<(), StoreError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it.
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

/// That a file is damaged, as SQLite says it: a heading, and a line for each finding.
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
