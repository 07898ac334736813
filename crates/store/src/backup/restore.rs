//! Replaces the database by a backup.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};
use innkeeper_core::Time;
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::{
    Copying, Number, Partial, Words, about, check, copy_into, directory_of, give_new_id, named, number, open,
    open_copy, refused, rename_to_new, sync_directory_of,
};
use crate::StoreError;
use crate::database_file::{APPLICATION, aside, beside};
use crate::migrate::is_known_to_sqlite;
use crate::rows::time;

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many reservations the backup has.
    pub reservations: i64,
    /// How many messages waited to be sent when the backup was made. They are sent now, perhaps for
    /// the second time.
    pub waiting: i64,
    /// The time of the latest heartbeat in the backup. Everything that was recorded later is lost.
    pub as_of: Option<Time>,
    /// The path of the replaced database, if there was one.
    pub kept: Option<PathBuf>,
}

/// Tables that are emptied, because their rows concern only the processes, sessions and logins of
/// the time of the backup.
const OF_ITS_TIME: [&str; 8] = [
    "nodes",
    "leases",
    "sessions",
    "invitations",
    "totp_setups",
    "pending_logins",
    "ceremonies",
    "openid_logins",
];

/// The bytes of the database on which SQLite has its locks in every journal mode. They begin at 1
/// GiB (<https://www.sqlite.org/fileformat2.html#lockpage>).
const LOCKS_AT: u64 = 0x4000_0000;
const LOCKS: u64 = 512;

/// Replaces the database by a copy of the backup `from`, and keeps the old database under another
/// name. `from` is not changed.
///
/// # Errors
/// A `StoreError` if the backup is damaged, is no backup or was made by a newer Innkeeper; if
/// another process uses the database; if a file cannot be read or written; or if `copying` was
/// abandoned.
pub fn restore(database: &Path, from: &Path, copying: &Copying) -> Result<Restored, StoreError> {
    let backup = fs::metadata(from).map_err(|error| about(from, &error))?;
    if !backup.is_file() {
        return Err(refused(format!("{} is no file, and no backup", from.display())));
    }
    let replaced = fs::metadata(database).ok();
    if replaced
        .as_ref()
        .is_some_and(|replaced| (replaced.dev(), replaced.ino()) == (backup.dev(), backup.ino()))
    {
        return Err(refused(format!("{} is the database itself", from.display())));
    }
    nobody_uses(database)?;
    let path = beside(database, &format!(".restoring-{}", std::process::id()));
    let partial = Partial::new(path, database, copying)?;
    let mut source = open(from, "ro")?;
    check_that_it_is_ours(&mut source, from)?;
    check(&mut source, from)?;
    copy_into(&mut source, from, &partial)?;
    drop(source);

    let mut copy = open_copy(partial.path()).map_err(|error| partial.cannot(&error))?;
    give_new_id(&mut copy).map_err(|error| partial.cannot(&error))?;
    // The heartbeats of duties are stored seldom. The nodes have the latest ones, and are deleted
    // below.
    if has_table(&mut copy, "duties")? && has_table(&mut copy, "nodes")? {
        copy.batch_execute(
            "UPDATE duties SET beat_at = MAX(beat_at, COALESCE((SELECT MAX(beat_at) FROM nodes), 0))",
        )?;
    }
    for table in OF_ITS_TIME {
        if has_table(&mut copy, table)? {
            copy.batch_execute(&format!("DELETE FROM {table}"))?;
        }
    }
    let latest = match has_table(&mut copy, "duties")? {
        true => number(&mut copy, "SELECT COALESCE(MAX(beat_at), 0) AS number FROM duties")?,
        false => 0,
    };
    let mut restored = Restored {
        reservations: number(&mut copy, "SELECT COUNT(*) AS number FROM reservations")?,
        waiting: number(&mut copy, "SELECT COUNT(*) AS number FROM deliveries WHERE state = 'waiting'")?,
        as_of: (latest > 0).then(|| time(latest)),
        kept: None,
    };
    drop(copy);

    belong_to_whom_it_should(partial.path(), database, replaced.as_ref())?;
    // Check again, because copying may have taken long.
    nobody_uses(database)?;
    copying.finish()?;
    if replaced.is_some() {
        restored.kept = Some(keep(database)?);
    }
    partial.replace()?;
    Ok(restored)
}

/// Fails if another process has the database open, because that process would go on with the old
/// file.
fn nobody_uses(database: &Path) -> Result<(), StoreError> {
    let file = match File::options().read(true).write(true).open(database) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(about(database, &error)),
    };
    let lock = Flock {
        start: LOCKS_AT,
        length: LOCKS,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    match fcntl_getlk(&file, &lock).map_err(|error| about(database, &error.into()))? {
        None => Ok(()),
        Some(held) => {
            let who = held
                .pid
                .map_or("another process".to_owned(), |pid| format!("process {}", pid.as_raw_nonzero()));
            Err(refused(format!("{who} uses {}; stop Innkeeper first", database.display())))
        }
    }
}

fn check_that_it_is_ours(source: &mut SqliteConnection, from: &Path) -> Result<(), StoreError> {
    let marks = "SELECT application_id AS number FROM pragma_application_id";
    let application =
        sql_query(marks).get_result::<Number>(source).map_err(|error| named(from, error))?.number;
    let ours = [0, i64::from(APPLICATION)].contains(&application);
    for table in ["reservations", "states", "checkins", "deliveries", MIGRATIONS] {
        if !ours || !has_table(source, table)? {
            return Err(refused(format!("{} is no database of Innkeeper's", from.display())));
        }
    }
    let applied: Vec<Words> =
        sql_query(format!("SELECT version AS words FROM {MIGRATIONS} ORDER BY version"))
            .load(source)
            .map_err(|error| named(from, error))?;
    match applied.iter().find(|version| !is_known_to_sqlite(&version.words)) {
        None => Ok(()),
        Some(Words { words }) => Err(refused(format!(
            "{} was made by a newer Innkeeper (its migration {words} is not known here)",
            from.display()
        ))),
    }
}

const MIGRATIONS: &str = "__diesel_schema_migrations";

fn has_table(connection: &mut SqliteConnection, table: &str) -> Result<bool, StoreError> {
    let found: Number =
        sql_query("SELECT COUNT(*) AS number FROM sqlite_schema WHERE type = 'table' AND name = $1")
            .bind::<sql_types::Text, _>(table)
            .get_result(connection)?;
    Ok(found.number > 0)
}

/// Gives the copy the owner and mode of the file that it replaces. If there is none, the copy gets
/// the owner of the directory.
fn belong_to_whom_it_should(
    copy: &Path,
    database: &Path,
    replaced: Option<&fs::Metadata>,
) -> Result<(), StoreError> {
    let directory = directory_of(database);
    let owner = match replaced {
        Some(replaced) => replaced.clone(),
        None => fs::metadata(directory).map_err(|error| about(directory, &error))?,
    };
    let now = fs::metadata(copy).map_err(|error| about(copy, &error))?;
    if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
        std::os::unix::fs::chown(copy, Some(owner.uid()), Some(owner.gid())).map_err(|error| {
            refused(format!(
                "the database must belong to user {} and group {}: {error}; run this as root or as that user",
                owner.uid(),
                owner.gid()
            ))
        })?;
    }
    if let Some(replaced) = replaced {
        let mode = fs::Permissions::from_mode(replaced.permissions().mode() & 0o777);
        fs::set_permissions(copy, mode).map_err(|error| about(copy, &error))?;
    }
    Ok(())
}

/// Gives the existing database a second name, so that the first name can be given to the copy in
/// one step. Its log is written into it, or renamed with it.
fn keep(database: &Path) -> Result<PathBuf, StoreError> {
    let kept = aside(database, "replaced");
    // Closing the last connection writes the log into the file and removes it. With a damaged
    // database this may fail.
    match open(database, "rw") {
        Ok(mut old) => {
            if let Err(error) = old.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)") {
                log::warn!("{}: {error}", database.display());
            }
        }
        Err(error) => log::warn!("{error}"),
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        match fs::rename(beside(database, suffix), beside(&kept, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(about(database, &error));
            }
            _ => {}
        }
    }
    // A hard link instead of a rename, so that there is a database with the first name at every
    // moment.
    match fs::hard_link(database, &kept) {
        // Another restore at the same time has kept its file under this name. Do not overwrite it.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(about(&kept, &error)),
        // The file system has no hard links.
        Err(_) => rename_to_new(database, &kept)?,
        Ok(()) => {}
    }
    sync_directory_of(database)?;
    Ok(kept)
}
