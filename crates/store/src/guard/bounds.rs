//! The time that a statement may take, on the client and on the server.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{PgConnection, QueryResult};

use crate::language::ask_for_english;

/// The bounds of a connection's statements. The server's bounds are shorter than the client's, so
/// that a statement that only waits for a lock ends with an error of the server, and the connection
/// stays usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// After this time the client gives the connection up.
    pub here: Duration,
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

/// The server ends a session whose transaction is idle for this long. Its process was stopped, or
/// has ended without the server noticing.
pub(crate) const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

impl Bounds {
    /// For heartbeats, by which other nodes judge a node.
    pub const HEARTBEAT: Self = Self::new(4000, 3500, 3000);
    /// For writers of check-ins. A statement that hangs is given up early enough for a second
    /// attempt before the requests are answered with 503.
    pub const CHECK_INS: Self = Self::new(5000, 4500, 4000);
    /// For everything else.
    pub const WORK: Self = Self::new(10_000, 9000, 4000);

    const fn new(here_ms: u64, statement_ms: u64, lock_ms: u64) -> Self {
        let ms = Duration::from_millis;
        Self { here: ms(here_ms), statement: ms(statement_ms), lock: ms(lock_ms) }
    }

    /// Sets the timeouts of the session, unless the server's own are stricter. Also has the server
    /// check every two seconds that the client is still connected while a statement runs. Only
    /// Postgres 14 and later can do that, and not on every operating system.
    pub fn tell(self, connection: &mut PgConnection) -> QueryResult<()> {
        let (statement, lock) = (self.statement.as_millis(), self.lock.as_millis());
        let idle = IDLE_IN_TRANSACTION.as_millis();
        connection.batch_execute(&settings(&format!(
            "('statement_timeout', {statement}), ('lock_timeout', {lock}), ('idle_in_transaction_session_timeout', {idle})"
        )))?;
        if let Err(error) = connection.batch_execute(&settings("('client_connection_check_interval', 2000)"))
        {
            log::debug!("the server does not look whether anybody still waits for it: {error}");
        }
        // A refusal is not fatal: Innkeeper then works as with a server in another language, and
        // reports that at the start.
        if let Err(error) = ask_for_english(connection) {
            log::debug!("the server is not asked for English: {error}");
        }
        Ok(())
    }
}

/// SQL that sets those of the `wanted` settings (pairs of name and milliseconds) that the server
/// knows and has not set to a lower value itself.
fn settings(wanted: &str) -> String {
    format!(
        "SELECT set_config(s.name, CASE WHEN s.setting = '0' OR s.setting::BIGINT > b.ms THEN b.ms::TEXT ELSE s.setting END, false)
         FROM pg_settings s
         JOIN (VALUES {wanted}) AS b (name, ms) ON b.name = s.name"
    )
}

#[cfg(test)]
mod tests {
    use diesel::connection::Connection as _;
    use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types};
    use innkeeper_testing::database::TestDatabase;

    use super::*;

    #[derive(QueryableByName)]
    struct Shown {
        #[diesel(sql_type = sql_types::Text)]
        value: String,
    }

    /// The three timeouts of the session of a new connection.
    fn told(database: &TestDatabase) -> [String; 3] {
        let mut connection = PgConnection::establish(database.url()).unwrap();
        Bounds::WORK.tell(&mut connection).unwrap();
        ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"].map(|name| {
            let shown = sql_query(format!("SELECT current_setting('{name}') AS value"));
            shown.get_result::<Shown>(&mut connection).unwrap().value
        })
    }

    #[test]
    fn a_session_has_the_bounds_and_keeps_an_operators_own_where_they_are_stricter() {
        let database = TestDatabase::postgres();
        assert_eq!(told(&database), ["9s", "4s", "30s"]);
        let name = database.url().rsplit('/').next().unwrap();
        for setting in ["lock_timeout = '1s'", "idle_in_transaction_session_timeout = '10s'"] {
            database.execute(&format!("ALTER DATABASE {name} SET {setting}"));
        }
        database.execute(&format!("ALTER DATABASE {name} SET statement_timeout = '1min'"));
        assert_eq!(told(&database), ["9s", "1s", "10s"]);
    }
}
