//! File descriptors: the process takes as many as the system allows, and limits incoming connections so that they
//! never use up the descriptors of the database and the alerters.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Config;

/// The most connections of all listeners, whatever the descriptor limit: each connection takes memory too.
const MOST: u64 = 20_000;
/// Descriptors for everything else: standard streams, event loops, files that are read, the sweeper's own listener.
const OWN: u64 = 128;
/// Descriptors per database connection: SQLite opens a file, its WAL and its index, and some threads have connections
/// of their own.
const PER_DATABASE_CONNECTION: u64 = 8;
/// Descriptors per sender: a connection, or the pipes of a program.
const PER_SENDER: u64 = 4;

/// Raises the descriptor limit to the most that the system allows. A failure is logged, and the process continues.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => log::debug!("file descriptors: {} instead of {}", shown(maximum), shown(current)),
        Err(error) => log::warn!("the limit of file descriptors stays at {}: {error}", shown(current)),
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or("any number".to_owned(), |limit| limit.to_string())
}

/// The number of connections that all listeners of this process may have open.
pub fn for_connections(config: &Config) -> usize {
    let senders = config.sweeper.senders as u64 * config.alerters.len() as u64;
    share(getrlimit(Resource::Nofile).current, config.database.pool_size.into(), senders)
}

fn share(limit: Option<u64>, database: u64, senders: u64) -> usize {
    let limit = limit.unwrap_or(u64::MAX);
    let kept = OWN + PER_DATABASE_CONNECTION * database + PER_SENDER * senders;
    // If the limit is too low for everything, listeners get a quarter: an address that accepts no connection is
    // useless.
    let share = limit.saturating_sub(kept).max(limit / 4).clamp(1, MOST);
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_enough_for_the_database_and_the_senders() {
        for (limit, database, senders, connections) in [
            (Some(1024), 8, 8, 800),
            (Some(300), 8, 8, 76),
            (Some(300), 100, 8, 75),
            (Some(3), 8, 8, 1),
            (Some(1 << 30), 8, 8, 20_000),
            (None, 8, 8, 20_000),
        ] {
            assert_eq!(share(limit, database, senders), connections, "{limit:?}");
        }
    }
}
