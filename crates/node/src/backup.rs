//! The commands `backup` and `restore`: copies of an SQLite database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono_tz::UTC;
use innkeeper_core::alert::stamp;
use innkeeper_store::{self as store, Copying, StoreError};

use crate::config::{Config, DatabasePlace};
use crate::shutdown::Shutdown;

/// How often a running copy checks whether it should stop.
const TICK: Duration = Duration::from_millis(100);

/// Backs the database up into `target`; returns the message for the user.
///
/// # Errors
/// The database is Postgres, which has its own tools, or the copy failed; an incomplete file is removed.
pub fn back_up(config: &Config, target: &Path, shutdown: &Shutdown) -> anyhow::Result<String> {
    let database = sqlite_file(config, "backup", "pg_dump")?;
    let to = target.to_owned();
    let backup = unless_stopped(shutdown, move |copying| store::back_up(&database, &to, copying))
        .context("no backup was made")?;
    Ok(format!(
        "{} holds {} and {}, {} bytes, as of now.\n",
        target.display(),
        count(backup.reservations, "reservation"),
        count(backup.checkins, "check-in"),
        backup.bytes
    ))
}

/// Runs a copy on its own thread: SQLite copies in one call, and a stop must not wait for it.
fn unless_stopped<T: Send + 'static>(
    shutdown: &Shutdown,
    copy: impl FnOnce(&Copying) -> Result<T, StoreError> + Send + 'static,
) -> anyhow::Result<T> {
    let copying = Arc::new(Copying::default());
    // Called by the thread that receives the signal, because a second signal ends the process at once.
    let at_stop = Arc::clone(&copying);
    shutdown.on_request(move || {
        at_stop.abandon();
    });
    let (done, made) = channel();
    let shared = Arc::clone(&copying);
    thread::Builder::new()
        .name("copy".to_owned())
        .spawn(move || done.send(copy(&shared)))
        .context("the system gives no thread")?;
    loop {
        match made.recv_timeout(TICK) {
            Ok(Ok(made)) => return Ok(made),
            Ok(Err(error)) if !shutdown.is_requested() => return Err(error.into()),
            // A complete copy cannot be abandoned: it still gets its name.
            Ok(Err(_)) | Err(RecvTimeoutError::Timeout) if shutdown.is_requested() && copying.abandon() => {
                bail!("stopped before the copy was complete; it was removed");
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("it ended without a result"),
        }
    }
}

/// Replaces the database with the backup `from`; returns the message for the user.
///
/// # Errors
/// The database is Postgres or in use, `from` is not a backup, or a stop was requested. The database is then
/// unchanged.
pub fn restore(config: &Config, from: &Path, shutdown: &Shutdown) -> anyhow::Result<String> {
    let database = sqlite_file(config, "restore", "pg_restore")?;
    if database.starts_with(&config.data_dir) {
        config.create_data_dir()?;
    }
    let (to, source) = (database.clone(), from.to_owned());
    let restored = unless_stopped(shutdown, move |copying| store::restore(&to, &source, copying))
        .context("nothing was restored")?;
    let mut text = format!(
        "{} holds {} again, as {} had it",
        database.display(),
        count(restored.reservations, "reservation"),
        from.display()
    );
    match restored.as_of {
        Some(as_of) => text.push_str(&format!(" at {}.\n", stamp(as_of, UTC))),
        None => text.push_str(".\n"),
    }
    if let Some(kept) = &restored.kept {
        text.push_str(&format!("The database before is kept in {}.\n", kept.display()));
    }
    if restored.waiting > 0 {
        text.push_str(&format!(
            "{} waited to be sent at that time, and will be sent now.\n",
            count(restored.waiting, "message")
        ));
    }
    text.push_str("Users, passwords and tokens are those of that time; everybody has to log in again.\n");
    Ok(text)
}

fn sqlite_file(config: &Config, command: &str, of_postgres: &str) -> anyhow::Result<PathBuf> {
    match &config.database.kind {
        DatabasePlace::Sqlite { path } => Ok(path.clone()),
        DatabasePlace::Postgres => bail!(
            "`{command}` is for an SQLite database; {} is Postgres's: use {of_postgres}",
            config.database.masked_url()
        ),
    }
}

fn count(number: i64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
