//! The warnings of `check-config`: the configuration is valid, yet some messages would reach nobody.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use innkeeper_store::StoreError;

use crate::config::DatabasePlace;
use crate::dead_ends::{self, AlreadyTold};
use crate::heartbeat::Operator;
use crate::print::print;
use crate::{Config, PathPrefix};
use crate::{alerters, exposed, startup};

/// The time allowed for each answer of the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most reservations named unless all are asked for. Each reload of the service runs this check, and a long list
/// would fill its journal.
const NAMED: usize = 50;

/// One result of examining the database.
enum Seen {
    /// A note about the database itself.
    Note(String),
    /// A reservation whose messages reach nobody.
    Line(String),
    /// The number of such reservations.
    Done(i64),
    /// The database could not be queried.
    Failed(String),
    /// The process would refuse to start with this database.
    Refused(String),
}

/// Prints all warnings: operators who cannot be reached, a `public_url` that clashes with a path of Innkeeper's own,
/// access of others to the database, unusable certificates, and the first reservations (or `all`) whose messages would
/// reach nobody, with their number. Returns whether a start would accept the database, as far as can be told.
pub(crate) fn print_all(config: &Config, all: bool) -> bool {
    for problem in Operator::unreached(config).into_iter().chain(PathPrefix::at(&config.public_url).twin()) {
        print(&format!("Warning: {problem}\n"));
    }
    for problem in alerters::parked(config)
        .into_iter()
        .chain(exposed::find(config))
        .chain(alerters::useless_certificates(config))
    {
        print(&format!("Warning: {problem}\n"));
    }
    if let DatabasePlace::Sqlite { path, .. } = &config.database.kind
        && !path.exists()
    {
        // Opening the database would create it.
        return true;
    }
    let (seen, sight) = sync_channel(1000);
    let (config, most) = (config.clone(), if all { usize::MAX } else { NAMED });
    // The thread is abandoned if the database does not answer; the process ends soon anyway.
    let looking = std::thread::Builder::new().name("check-config".to_owned()).spawn(move || {
        let done = look(&config, most, &mut |found| drop(seen.send(found)));
        drop(seen.send(done));
    });
    if let Err(error) = looking {
        print(&format!("Note: the database was not asked for reservations: {error}\n"));
        return true;
    }
    let mut named = 0;
    loop {
        let why = match sight.recv_timeout(PATIENCE) {
            Ok(Seen::Note(line)) => {
                print(&format!("Warning: {line}\n"));
                continue;
            }
            Ok(Seen::Line(line)) => {
                print(&format!("Warning: {line}\n"));
                named += 1;
                continue;
            }
            Ok(Seen::Done(0)) => return true,
            Ok(Seen::Done(1)) => {
                print("Messages about 1 reservation would not reach everyone it names.\n");
                return true;
            }
            Ok(Seen::Done(count)) => {
                let rest = match count > named {
                    true => format!(" The first {named} are named; `check-config --all` names each."),
                    false => String::new(),
                };
                print(&format!(
                    "Messages about {count} reservations would not reach everyone they name.{rest}\n"
                ));
                return true;
            }
            Ok(Seen::Refused(why)) => {
                print(&format!("A start would be refused: {why}\n"));
                return false;
            }
            Ok(Seen::Failed(why)) => why,
            Err(RecvTimeoutError::Timeout) => "it does not answer".to_owned(),
            Err(RecvTimeoutError::Disconnected) => return true,
        };
        print(&format!("Note: the database was not asked for reservations: {why}\n"));
        return true;
    }
}

fn look(config: &Config, most: usize, tell: &mut dyn FnMut(Seen)) -> Seen {
    let first_line = |error: StoreError| error.to_string().lines().next().unwrap_or_default().to_owned();
    let store = startup::connect(config, 2).and_then(|store| store.check_version().map(|()| store));
    let store = match store {
        Ok(store) => store,
        Err(error) if startup::is_waited_for(config, &error) => return Seen::Failed(first_line(error)),
        Err(error) => return Seen::Refused(first_line(error)),
    };
    if let Some(problem) = startup::speaks_otherwise(&store) {
        tell(Seen::Note(problem));
    }
    match dead_ends::find(&store, &config.ways_out(), AlreadyTold::default(), most, &mut |line| {
        tell(Seen::Line(line))
    }) {
        Ok(found) => Seen::Done(found.count),
        Err(error) => Seen::Failed(first_line(error)),
    }
}
