//! What `check-config` says of a configuration that can be used and yet leaves somebody untold.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::Config;
use crate::cli::print;
use crate::config::DatabaseKind;
use crate::dead_ends;
use crate::heart::Operator;
use crate::startup;

/// How long the database may take for its next answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many reservations are named: each reload of the service runs this, and its journal must not drown in them.
const NAMED: usize = 50;

/// What a look into the database brings.
enum Seen {
    /// A reservation whose messages lead nowhere.
    Line(String),
    /// How many there are.
    Done(i64),
    /// It could not be asked.
    Failed(String),
}

/// Prints whom of the operator no way leads to, and the first reservations in the database whose messages would lead
/// nowhere, with the number of all.
pub(crate) fn print_all(config: &Config) {
    for problem in Operator::unreached(config) {
        print(&format!("Warning: {problem}\n"));
    }
    if let DatabaseKind::Sqlite { path, .. } = &config.database.kind
        && !path.exists()
    {
        // Looking would make it.
        return;
    }
    let (seen, sight) = sync_channel(1000);
    let config = config.clone();
    // On a thread that is left behind where the database does not answer: the process ends anyway.
    let looking = std::thread::Builder::new().name("check-config".to_owned()).spawn(move || {
        let done = look(&config, &mut |line| drop(seen.send(Seen::Line(line))));
        drop(seen.send(done));
    });
    if let Err(error) = looking {
        print(&format!("Note: the database was not asked for reservations: {error}\n"));
        return;
    }
    loop {
        let why = match sight.recv_timeout(PATIENCE) {
            Ok(Seen::Line(line)) => {
                print(&format!("Warning: {line}\n"));
                continue;
            }
            Ok(Seen::Done(0)) => return,
            Ok(Seen::Done(1)) => {
                print("Messages about 1 reservation would not reach everyone it names.\n");
                return;
            }
            Ok(Seen::Done(count)) => {
                print(&format!("Messages about {count} reservations would not reach everyone they name.\n"));
                return;
            }
            Ok(Seen::Failed(why)) => why,
            Err(RecvTimeoutError::Timeout) => "it does not answer".to_owned(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        print(&format!("Note: the database was not asked for reservations: {why}\n"));
        return;
    }
}

fn look(config: &Config, name: &mut dyn FnMut(String)) -> Seen {
    let found = startup::connect(config, 2)
        .and_then(|store| dead_ends::find(&store, &config.ways_out(), NAMED, name));
    match found {
        Ok(found) => Seen::Done(found.count),
        Err(error) => Seen::Failed(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}
