//! Waiting for the database at the start, before any work begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::SystemClock;
use innkeeper_core::backoff::Backoff;
use innkeeper_store::{Store, StoreConfig, StoreError};

use crate::config::{Config, DatabasePlace};
use crate::heartbeat::away::AwayMark;
use crate::heartbeat::reachability::{Contact, Finding, LOOK, ReachabilityMonitor};
use crate::heartbeat::{AWAY, Operator};
use crate::shutdown::Shutdown;
use crate::{Role, SupervisedThread};

/// How often the log repeats that the database is unavailable.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// How long it waits between attempts to reach it.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// A stop was requested while the process waited. This is not a failure; the process ends with exit code 0.
    #[error("stopped while waiting for the database")]
    Stopped,
    /// The database did not answer in the time allowed.
    #[error("the database {url} has not answered for {waited_s} s")]
    Away {
        /// The database, without its password.
        url: String,
        /// The time waited, in seconds.
        waited_s: u64,
        /// The last error of the database.
        source: StoreError,
    },
    /// An error that waiting would not resolve.
    #[error("cannot use the database {url}")]
    Database {
        /// The database, without its password.
        url: String,
        /// The error of the database.
        source: StoreError,
    },
    /// The data directory cannot be created, or the configuration lacks something needed to start.
    #[error(transparent)]
    Configuration(#[from] crate::config::ConfigError),
}

/// Connects and applies missing migrations. While the database is unavailable, waits and logs that.
///
/// # Errors
/// Errors that waiting would not resolve, and [`StartupError::Stopped`].
pub fn wait_for_database(config: &Config, role: Role, shutdown: &Shutdown) -> Result<Store, StartupError> {
    let mark = AwayMark::new(config, role);
    open_marking(config, shutdown, None, Some(mark)).map(|(store, _)| store)
}

/// Like [`wait_for_database`], but gives up after `patience`: for commands whose user waits.
///
/// # Errors
/// Also [`StartupError::Away`].
pub fn reach_database(
    config: &Config,
    shutdown: &Shutdown,
    patience: Duration,
) -> Result<Store, StartupError> {
    open(config, shutdown, Some(patience)).map(|(store, _)| store)
}

/// Like [`wait_for_database`]; also returns the names of the applied migrations.
pub(crate) fn open(
    config: &Config,
    shutdown: &Shutdown,
    patience: Option<Duration>,
) -> Result<(Store, Vec<String>), StartupError> {
    open_marking(config, shutdown, patience, None)
}

/// The same for a service: `mark` records what the operator was last notified of.
fn open_marking(
    config: &Config,
    shutdown: &Shutdown,
    patience: Option<Duration>,
    mark: Option<AwayMark>,
) -> Result<(Store, Vec<String>), StartupError> {
    // A command that only reads may also open the standalone program's default file.
    let is_there = matches!(&config.database.kind, DatabasePlace::Sqlite { path } if path.exists());
    if patience.is_none() || !is_there {
        config.database.require()?;
    }
    let is_file = matches!(config.database.kind, DatabasePlace::Sqlite { .. });
    if is_file {
        config.create_data_dir()?;
    }
    let failed = |source| StartupError::Database { url: config.database.masked_url(), source };
    let store = connect(config, config.database.pool_size).map_err(failed)?;
    let begun = Instant::now();
    let mut alarm =
        Alarm { config, monitor: ReachabilityMonitor::new(Contact::default(), AWAY), raised: None, mark };
    let contact = alarm.monitor.contact();
    let applied = until_available(shutdown, is_file, || {
        let migrated = migrate(&store, &contact, shutdown, &mut || {
            if patience.is_none() {
                alarm.look();
            }
        });
        match migrated {
            Err(source)
                if source.is_unavailable()
                    && patience.is_some_and(|patience| begun.elapsed() >= patience) =>
            {
                let waited_s = begun.elapsed().as_secs();
                Ok(Err(StartupError::Away { url: config.database.masked_url(), waited_s, source }))
            }
            done => done.map(Ok),
        }
    })?
    .map_err(failed)??;
    contact.made();
    alarm.look();
    for name in &applied {
        log::info!("applied the migration {name}");
    }
    if let Some(problem) = speaks_otherwise(&store) {
        log::warn!("{problem}");
    }
    Ok((store, applied))
}

/// A warning with a remedy, if Postgres reports errors in another language than English. A failure to find out is
/// logged.
pub(crate) fn speaks_otherwise(store: &Store) -> Option<String> {
    match store.other_language() {
        Ok(said) => said.map(|said| {
            format!(
                "Postgres speaks another language ({said:?}), and this role may not choose: a lock that somebody holds or a \
                 disk that is full is then taken for a refusal. Have a superuser run once: ALTER ROLE … SET lc_messages = 'C'"
            )
        }),
        Err(error) => {
            log::debug!("the language of the database's messages is not known: {error}");
            None
        }
    }
}

/// Whether the database is unused: no process and no reservation is recorded. A failure to find out is logged.
pub fn is_unused(store: &Store) -> bool {
    let asked = store.nodes().and_then(|nodes| Ok(nodes.is_empty() && store.apps(1)?.is_empty()));
    asked.unwrap_or_else(|error| {
        log::warn!("it is not known whether this is the first start: {error}");
        false
    })
}

/// A store on the database of this configuration, through its pooler if it names one.
pub(crate) fn connect(config: &Config, pool_size: u32) -> Result<Store, StoreError> {
    let settings = StoreConfig { url: config.database.url().to_owned(), pool_size };
    let connect = if config.database.behind_pooler { Store::connect_through_pooler } else { Store::connect };
    let issuer = config.web.openid.as_ref().map(|openid| openid.issuer.as_str());
    Ok(connect(&settings)?.with_logins_at(issuer))
}

/// Applies the migrations on a thread of its own, so that a hanging database blocks neither the operator's
/// notification nor a stop: after a stop the thread is abandoned until the process ends. Calls `look` repeatedly
/// meanwhile.
fn migrate(
    store: &Store,
    contact: &Contact,
    shutdown: &Shutdown,
    look: &mut dyn FnMut(),
) -> Result<Vec<String>, StoreError> {
    let (done, result) = channel();
    // Migrations may take long; the database is not unavailable meanwhile.
    let applying = Arc::new(AtomicBool::new(false));
    let (store, begun) = (store.clone(), Arc::clone(&applying));
    let thread = std::thread::Builder::new().name("migrations".to_owned()).spawn(move || {
        // After a stop the receiver is gone.
        let _ = done.send(store.migrate_telling(&|| begun.store(true, Ordering::Relaxed)));
    });
    thread.map_err(|error| StoreError::Unavailable(format!("no thread to be had: {error}")))?;
    let migrated = loop {
        match result.recv_timeout(LOOK) {
            Ok(migrated) => break migrated,
            Err(RecvTimeoutError::Timeout) if shutdown.is_requested() => {
                break Err(StoreError::Unavailable("stopped while waiting".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Err(StoreError::Migration("the thread that applies them died".to_owned()));
            }
        }
        if applying.load(Ordering::Relaxed) {
            contact.made();
        }
        look();
    };
    if let Err(error) = &migrated {
        contact.failed(error);
        look();
    }
    migrated
}

/// A message to the operator about a start.
#[derive(Template)]
enum StartMessage<'a> {
    #[template(path = "start_waits.txt")]
    Waits { seconds: u64, problem: &'a str },
    #[template(path = "start_goes_on.txt")]
    GoesOn,
}

/// Notifies the operator that the start waits for the database.
struct Alarm<'a> {
    config: &'a Config,
    monitor: ReachabilityMonitor,
    /// The channel to the operator, once opened; `Some(None)` if there is none.
    raised: Option<Option<(Operator, SupervisedThread)>>,
    mark: Option<AwayMark>,
}

impl Alarm<'_> {
    fn look(&mut self) {
        match self.monitor.look(Instant::now()) {
            Some(Finding::OutOfReach(waited, problem)) => {
                // Not the process's own stop request: this thread must go on sending when the process is asked to
                // stop.
                let started =
                    Operator::start(self.config, Role::Standalone, Arc::new(SystemClock), &Shutdown::new());
                let way = self.raised.get_or_insert_with(|| {
                    started
                        .inspect_err(|error| {
                            log::error!("the operator cannot be told that the database is away: {error:#}");
                        })
                        .ok()
                });
                if let Some((operator, _)) = way {
                    operator.tell(StartMessage::Waits { seconds: waited.as_secs(), problem: &problem });
                    self.mark.iter().for_each(AwayMark::set);
                }
            }
            Some(Finding::BackAgain) => {
                // The thread sends its messages and ends; nothing waits for it.
                if let Some(Some((operator, _))) = &self.raised {
                    operator.tell(StartMessage::GoesOn);
                    self.mark.iter().for_each(AwayMark::clear);
                }
            }
            None => {}
        }
    }
}

/// Retries until it works, fails permanently, or the process is asked to stop. An SQLite file that cannot be opened
/// will not appear by itself, so with `is_file` only locks are waited for.
fn until_available<T>(
    shutdown: &Shutdown,
    is_file: bool,
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<Result<T, StoreError>, StartupError> {
    let mut backoff = BACKOFF;
    let mut said: Option<Instant> = None;
    loop {
        if shutdown.is_requested() {
            return Err(StartupError::Stopped);
        }
        match attempt() {
            Err(_) if shutdown.is_requested() => return Err(StartupError::Stopped),
            Err(error) if is_worth_waiting(is_file, &error) => {
                if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                    log::warn!("the database does not answer ({}); waiting", in_short(&error));
                    said = Some(Instant::now());
                }
            }
            done => {
                if said.is_some() && done.is_ok() {
                    log::info!("the database answers");
                }
                return Ok(done);
            }
        }
        if shutdown.wait_timeout(backoff.next_pause()) {
            return Err(StartupError::Stopped);
        }
    }
}

/// Whether a start waits after this error instead of failing.
pub(crate) fn is_waited_for(config: &Config, error: &StoreError) -> bool {
    is_worth_waiting(matches!(config.database.kind, DatabasePlace::Sqlite { .. }), error)
}

fn is_worth_waiting(is_file: bool, error: &StoreError) -> bool {
    error.is_unavailable() && (!is_file || error.is_busy())
}

/// The first line of the database's error, which is the part that varies.
fn in_short(error: &StoreError) -> String {
    let text = error.to_string();
    let said = ["is not available: ", "timed out waiting for connection: "]
        .iter()
        .filter_map(|before| text.rfind(before).map(|at| at + before.len()))
        .max()
        .unwrap_or_default();
    text[said..].trim().lines().next().unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> StoreError {
        StoreError::Unavailable("connection refused".to_owned())
    }

    #[test]
    fn an_absent_server_is_waited_for() {
        let mut tries = 0;
        let done = until_available(&Shutdown::new(), false, || {
            tries += 1;
            if tries < 3 { Err(away()) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap().unwrap(), 3);
    }

    #[test]
    fn what_waiting_does_not_mend_is_an_error_at_once() {
        let refuse = || -> Result<(), _> { Err(StoreError::Migration("no".to_owned())) };
        assert!(until_available(&Shutdown::new(), false, refuse).unwrap().is_err());
        let missing =
            || -> Result<(), _> { Err(StoreError::Unavailable("unable to open database file".to_owned())) };
        assert!(until_available(&Shutdown::new(), true, missing).unwrap().is_err());
    }

    #[test]
    fn a_slow_disk_is_waited_for() {
        let mut tries = 0;
        let done = until_available(&Shutdown::new(), true, || {
            tries += 1;
            let slow = StoreError::Busy("timed out waiting for connection".to_owned());
            if tries < 2 { Err(slow) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap().unwrap(), 2);
    }

    #[test]
    fn the_reason_is_one_line() {
        let said =
            "timed out waiting for connection: the database is not available: refused\n\tIs it running?\n";
        assert_eq!(in_short(&StoreError::Unavailable(said.to_owned())), "refused");
        assert_eq!(in_short(&StoreError::Unavailable(String::new())), "it does not say why");
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let shutdown = Shutdown::new();
        let stopping = shutdown.clone();
        let done = until_available(&shutdown, false, || -> Result<(), _> {
            stopping.request();
            Err(away())
        });
        assert!(matches!(done, Err(StartupError::Stopped)));
    }
}
