//! Copies of an SQLite database: [`back_up`] makes one while Innkeeper runs, [`restore`] puts one in the place of the database.
//!
//! Both write under a name of their own and give the copy its name only when it is whole and on the disk, so that neither a crash
//! nor a full disk leaves something that looks like a database and is none. A copy gets an id of its own: a process that works with
//! the one is not to take the other for it.

mod restore;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::StoreError;
use crate::database_file::{APPLICATION, address, beside, new_id, obstacle, vacuum_into};

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
/// No database, a target that is there already, what keeps the one from being read or the other from being written.
pub fn back_up(database: &Path, target: &Path) -> Result<Backup, StoreError> {
    if let Err(error) = fs::metadata(database) {
        return Err(refused(format!("there is no database at {}: {error}", database.display())));
    }
    if fs::symlink_metadata(target).is_ok() {
        return Err(refused(format!(
            "{} is there already, and a backup overwrites nothing",
            target.display()
        )));
    }
    let partial = Partial::new(partial_of(target))?;
    let mut source = open(database, "rw")?;
    vacuum_into(&mut source, partial.path()).map_err(|error| named(database, &error))?;
    drop(source);
    let mut copy = open_copy(partial.path())?;
    give_new_id(&mut copy)?;
    check(&mut copy, partial.path())?;
    let made = Backup {
        reservations: number(&mut copy, "SELECT COUNT(*) AS number FROM reservations")?,
        checkins: number(&mut copy, "SELECT COUNT(*) AS number FROM checkins")?,
        bytes: fs::metadata(partial.path()).map_err(|error| about(partial.path(), &error))?.len(),
    };
    drop(copy);
    partial.become_new(target)?;
    Ok(made)
}

/// Removes what a backup to `target` has written so far, where this process is stopped in its middle.
pub fn abandon_backup(target: &Path) {
    remove_written(&partial_of(target));
}

fn partial_of(target: &Path) -> PathBuf {
    beside(target, &format!(".partial-{}", std::process::id()))
}

/// A file that is being written; removed when dropped, unless it has become what it should be.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    /// An empty file, for its owner alone.
    fn new(path: PathBuf) -> Result<Self, StoreError> {
        if path.to_str().is_none() {
            return Err(refused(format!("{} is no name in UTF-8", path.display())));
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| about(&path, &error))?;
        Ok(Self { path, file })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, which nobody has, once it is on the disk.
    fn become_new(self, target: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| about(&self.path, &error))?;
        rename_to_new(&self.path, target)?;
        sync_directory_of(target)
    }

    /// Puts it in the place of `target` in one step.
    fn replace(self, target: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| about(&self.path, &error))?;
        fs::rename(&self.path, target).map_err(|error| about(target, &error))?;
        sync_directory_of(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
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
    let failed = |error: String| {
        let why = obstacle(path).map(|why| format!(": {why}")).unwrap_or_default();
        StoreError::File(format!("{}: {error}{why}", path.display()))
    };
    let mut connection =
        SqliteConnection::establish(&address(path, mode)).map_err(|error| failed(error.to_string()))?;
    connection
        .batch_execute(
            "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; SELECT COUNT(*) FROM sqlite_schema",
        )
        .map_err(|error| failed(error.to_string()))?;
    Ok(connection)
}

/// Opens a copy that nobody else knows of.
fn open_copy(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut copy = open(path, "rw")?;
    // No files beside it: what goes wrong with it is thrown away as a whole.
    copy.batch_execute("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL")
        .map_err(|error| named(path, &error))?;
    Ok(copy)
}

fn give_new_id(copy: &mut SqliteConnection) -> Result<(), StoreError> {
    let sql = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}", new_id());
    Ok(copy.batch_execute(&sql)?)
}

/// Reads all of it, and says what is damaged.
fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let found: Vec<Found> =
        sql_query("PRAGMA quick_check(1)").load(connection).map_err(|error| named(path, &error))?;
    match found.first() {
        Some(Found { quick_check }) if quick_check != "ok" => {
            Err(refused(format!("{} is damaged: {quick_check}", path.display())))
        }
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
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| about(directory, &error))
}

fn refused(text: String) -> StoreError {
    StoreError::File(text)
}

fn about(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::File(format!("{}: {error}", path.display()))
}

fn named(path: &Path, error: &diesel::result::Error) -> StoreError {
    StoreError::File(format!("{}: {error}", path.display()))
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
